"""Questions as a chat model is asked them: between the marks of its chat template."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from nosce.data.worlds.base import World
from nosce.records import Document, Question
from nosce.seeds import Seed


@dataclass(frozen=True, kw_only=True)
class ChatMarks:
    """What a chat template puts around a message of the user, up to the first token of the reply.

    Args:
        before: Text before the message, e.g. `<|im_start|>user\\n`.
        after: Text after it, e.g. `<|im_end|>\\n<|im_start|>assistant\\n`.
    """

    before: str
    after: str

    def wrap(self, message: str) -> str:
        """The prompt of a message."""
        return f"{self.before}{message}{self.after}"

    def unwrap(self, prompt: str) -> str:
        """The message of a prompt."""
        return prompt.removeprefix(self.before).removesuffix(self.after)


@dataclass(frozen=True, kw_only=True)
class ChatQuestions(World):
    """A world whose questions are messages of a chat; its documents stay plain text.

    Args:
        world: The world.
        marks: The chat template of the model that is asked.
    """

    world: World
    marks: ChatMarks

    def documents(self, seed: Seed) -> Iterator[Document]:
        """The world's documents."""
        yield from self.world.documents(seed)

    def questions(self, seed: Seed) -> Iterator[Question]:
        """The world's questions, each prompt between the marks."""
        for question in self.world.questions(seed):
            yield replace(question, prompt=self.marks.wrap(question.prompt))

    def samples(self, seed: Seed) -> Iterator[str]:
        """The samples of the world."""
        yield from self.world.samples(seed)

    @property
    def n_entities(self) -> int | None:
        """The number of entities of the world."""
        return self.world.n_entities

    @property
    def n_unseen_entities(self) -> float | None:
        """The number of unseen entities of the world."""
        return self.world.n_unseen_entities

    @property
    def documents_per_entity(self) -> int | None:
        """The documents of each entity of the world."""
        return self.world.documents_per_entity

    @property
    def constant_attributes(self) -> tuple[str, ...]:
        """Those of the world."""
        return self.world.constant_attributes

    def documents_for(self, first: int, last: int, seed: Seed) -> Iterator[Document] | None:
        """The world's documents of some entities."""
        return self.world.documents_for(first, last, seed)

    def downsized(self, max_entities: int) -> ChatQuestions:
        """The same with a smaller world."""
        return replace(self, world=self.world.downsized(max_entities))
