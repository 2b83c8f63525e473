"""What every world owes the laboratory, as a check that can be run on any of them.

A world is a frozen dataclass that is configuration and truth at once. Its documents and its
questions are both made from facts, never from each other, and equal worlds with equal seeds
give equal bytes.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from nosce.errors import SpecError
from nosce.records import Document, Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from nosce.data.packing import TokenDataset


class World(ABC):
    """A synthetic truth: a frozen dataclass that writes the documents to learn from and the questions to ask.

    Three methods are a world's own. The others have defaults that are right for a small world: a large one overrides
    them so that its documents are rendered on several cores, written as tokens, or priced by a smaller world like it.
    """

    @abstractmethod
    def documents(self, seed: Seed) -> Iterator[Document]:
        """The documents to learn from, one at a time, so that they need not fit into memory."""

    @abstractmethod
    def questions(self, seed: Seed) -> Iterator[Question]:
        """The questions to ask, with their targets and the split of the entity that each asks about."""

    @abstractmethod
    def samples(self, seed: Seed) -> Iterator[str]:
        """Texts that a tokenizer is made from; equal for worlds that are to be compared."""

    @property
    def n_entities(self) -> int | None:
        """How many entities the documents are about; None: not known before the documents are written."""
        return None

    @property
    def documents_per_entity(self) -> int | None:
        """How many documents each entity has; None: not the same number for all, or not known."""
        return None

    @property
    def constant_attributes(self) -> tuple[str, ...]:
        """Attributes of questions that have one and the same answer by design, so that guessing them is no leak."""
        return ()

    def documents_for(self, first: int, last: int, seed: Seed) -> Iterator[Document] | None:
        """The documents of entities `first` to `last` (excluded), so that several cores can render one world.

        None: the world is rendered on one core. A world that overrides this has `n_entities` and
        `documents_per_entity`, and its documents are those of all entities in order.
        """
        return None

    def encoded_documents(self, seed: Seed, tokenizer: Tokenizer, eos_id: int) -> Iterator[TokenDataset] | None:
        """The tokens of the documents, in the order of `documents`, for a world with too many documents for text.

        None: the documents are tokenized as text. The first documents of a world that overrides this are compared
        with their texts, and its document ids are numbers behind a word, e.g. `record/0`.
        """
        return None

    def downsized(self, max_entities: int) -> World:
        """A world like this one with at most so many entities, by which this one is priced; by default itself."""
        return self


def check_world(world: World, seed: Seed, *, max_items: int = 2_000) -> None:
    """Raise unless the world keeps the contract on its first `max_items` documents and questions.

    Checked: equal seeds give equal documents and questions; ids are unique; spans lie in their text,
    in order and without overlap; a document states what a question about the same thing and attribute
    asks for; all questions about one thing are in one split; a world is a frozen dataclass.

    Raises:
        SpecError: What was broken, in one sentence.
    """
    name = type(world).__name__
    if not isinstance(world, World):
        raise SpecError(f"the world {name} does not inherit from nosce.World; write `class {name}(World)`.")
    if not (dataclasses.is_dataclass(world) and type(world).__dataclass_params__.frozen):
        raise SpecError(f"the world {name} is not a frozen dataclass, so it cannot be hashed; freeze it.")
    documents = list(islice(world.documents(seed), max_items))
    questions = list(islice(world.questions(seed), max_items))
    if documents != list(islice(world.documents(seed), max_items)) or questions != list(
        islice(world.questions(seed), max_items)
    ):
        raise SpecError(f"the world {name} gives other texts when asked twice; take all draws from the seed.")
    _check_spans(name, documents)
    _check_questions(name, documents, questions)


def _check_spans(name: str, documents: list[Document]) -> None:
    if len({d.id for d in documents}) < len(documents):
        raise SpecError(f"the world {name} gives two documents one id; number them.")
    for document in documents:
        ends = [0]
        for span in document.spans:
            if not ends[-1] <= span.start < span.end <= len(document.text):
                raise SpecError(f"the world {name} marks {span} in {document.id!r}, which is not in its text.")
            ends.append(span.end)


def _check_questions(name: str, documents: list[Document], questions: list[Question]) -> None:
    if len({q.id for q in questions}) < len(questions):
        raise SpecError(f"the world {name} gives two questions one id; number them.")
    split_of_entity: dict[str, str] = {}
    for question in questions:
        if split_of_entity.setdefault(question.entity, question.split) != question.split:
            raise SpecError(f"the world {name} has {question.entity!r} on both sides of the split.")
    question_by_fact = {(q.entity, q.attribute): q for q in questions}
    for document in documents:
        for span in document.spans:
            matching_question = question_by_fact.get((document.entity, span.attribute))
            if matching_question is not None and document.text[span.start : span.end] != matching_question.target:
                raise SpecError(f"the world {name} answers {matching_question.id!r} otherwise than its documents do.")
