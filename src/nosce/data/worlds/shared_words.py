"""A world whose tokenizer also knows the words of other worlds, for a model that reads several of them in turn.

`WithWords(world=Diaries(encoding="lean"), other_worlds=(Biographies(),))` has the documents and questions of the
diaries, and a vocabulary with the words of both: a model that first learns biographies can go on with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from nosce.data.worlds.base import World
from nosce.records import Document, Question
from nosce.seeds import Seed


@dataclass(frozen=True, kw_only=True)
class WithWords(World):
    """A world with the tokenizer samples of other worlds behind its own.

    Args:
        world: The world; documents and questions are its own.
        other_worlds: The worlds whose words the tokenizer knows too.
    """

    world: World
    other_worlds: tuple[World, ...]

    def documents(self, seed: Seed) -> Iterator[Document]:
        """The world's documents."""
        yield from self.world.documents(seed)

    def questions(self, seed: Seed) -> Iterator[Question]:
        """The world's questions."""
        yield from self.world.questions(seed)

    def samples(self, seed: Seed) -> Iterator[str]:
        """The samples of all worlds, in order."""
        yield from self.world.samples(seed)
        for other in self.other_worlds:
            yield from other.samples(seed)

    @property
    def n_entities(self) -> int | None:
        """That of the world."""
        return self.world.n_entities

    @property
    def constant_attributes(self) -> tuple[str, ...]:
        """Those of the world."""
        return self.world.constant_attributes

    def downsized(self, max_entities: int) -> WithWords:
        """A smaller world with the same words."""
        return replace(self, world=self.world.downsized(max_entities))
