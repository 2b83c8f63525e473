"""The interface of every world, and a check that a world keeps its contract.

A world is a frozen dataclass: its fields are the configuration, and together with a seed they determine the facts.
Documents and questions are both made from the facts, never from each other. Equal worlds with equal seeds give equal
bytes.

The document `781+566=2580` and the question `781+566=` with the target `2580` are both made from the fact 187 + 665
(`nosce.data.worlds.arithmetic`, the shortest complete world).
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
    import numpy as np
    from tokenizers import Tokenizer

    from nosce.data.packing import TokenDataset


class World(ABC):
    """A synthetic world: a frozen dataclass that writes documents to learn from and questions to ask.

    A subclass must define `documents`, `questions` and `samples`. The other members have defaults that suit a small
    world. A large world overrides them, so that several cores render its documents, so that it writes tokens instead of
    text, or so that a smaller version of it predicts its cost.
    """

    @abstractmethod
    def documents(self, seed: Seed) -> Iterator[Document]:
        """The documents to learn from, one at a time, so that they need not fit into memory."""

    @abstractmethod
    def questions(self, seed: Seed) -> Iterator[Question]:
        """The questions to ask, with their targets and the split of the entity that each one is about."""

    @abstractmethod
    def samples(self, seed: Seed) -> Iterator[str]:
        """Texts to build a tokenizer from. Worlds that are to be compared give equal texts."""

    @property
    def n_entities(self) -> int | None:
        """The number of entities in the documents. None: unknown until the documents are written."""
        return None

    @property
    def documents_per_entity(self) -> int | None:
        """The number of documents of each entity. None: it varies or is unknown."""
        return None

    @property
    def n_questions(self) -> int | None:
        """The number of questions. None: unknown until they are written, or the same for every entity."""
        return None

    @property
    def n_unseen_entities(self) -> float | None:
        """The number of entities of the unseen split, by which the width of an interval is foreseen. Default: half.

        None: unknown, as `n_entities`.
        """
        return None if self.n_entities is None else self.n_entities / 2

    @property
    def constant_attributes(self) -> tuple[str, ...]:
        """Attributes whose questions all have the same answer by design, so that a constant guess is not leakage."""
        return ()

    def fresh_questions(
        self, rng: np.random.Generator, count: int
    ) -> Iterator[tuple[Question, tuple[str, ...]]] | None:
        """Questions drawn anew, as many as one likes, each with all prompts by which a document may state its answer.

        E.g. a sum with both orders of its operands. Some of them may have been trained on. None: the world has no
        questions beside those of `questions`.
        """
        return None

    def documents_for(self, first: int, last: int, seed: Seed) -> Iterator[Document] | None:
        """The documents of entities `first` to `last` (excluded), so that several cores can render one world.

        None: one core renders the world. A world that overrides this method must define `n_entities` and
        `documents_per_entity`, and its `documents` must be those of all entities in order.
        """
        return None

    def encoded_documents(self, seed: Seed, tokenizer: Tokenizer, eos_id: int) -> Iterator[TokenDataset] | None:
        """The tokens of the documents, in the order of `documents`, for a world with too many documents for text.

        None: the tokenizer reads the documents as text. If a world overrides this method, its first tokens are compared
        with its first texts, and its document ids must be a word and a number, e.g. `record/0`.
        """
        return None

    def downsized(self, max_entities: int) -> World:
        """A version of this world with at most `max_entities` entities, for estimating costs. Default: the world
        itself.
        """
        return self


def check_world(world: World, seed: Seed, *, max_items: int = 2_000) -> None:
    """Raise an error if the world breaks the contract in its first `max_items` documents and questions.

    The check covers: two calls with one seed give the same documents and questions; ids are unique; spans lie inside
    their text, in order and without overlap; a document states the target of the question about the same entity and
    attribute; all questions about one entity are in one split; the world is a frozen dataclass.

    Raises:
        SpecError: The first breach of the contract, in one sentence.
    """
    name = type(world).__name__
    if not isinstance(world, World):
        raise SpecError(f"the world {name} does not inherit from nosce.World; write `class {name}(World)`.")
    if not (dataclasses.is_dataclass(world) and type(world).__dataclass_params__.frozen):
        raise SpecError(
            f"the world {name} is not a frozen dataclass, so it cannot be hashed; add @dataclass(frozen=True)."
        )
    documents = list(islice(world.documents(seed), max_items))
    questions = list(islice(world.questions(seed), max_items))
    documents_again = list(islice(world.documents(seed), max_items))
    questions_again = list(islice(world.questions(seed), max_items))
    if documents != documents_again or questions != questions_again:
        raise SpecError(
            f"the world {name} gives different texts on a second call; take every random draw from the seed."
        )
    _check_spans(name, documents)
    _check_questions(name, documents, questions)


def _check_spans(name: str, documents: list[Document]) -> None:
    if len({d.id for d in documents}) < len(documents):
        raise SpecError(f"the world {name} gives two documents one id; number the documents.")
    for document in documents:
        ends = [0]
        for span in document.spans:
            if not ends[-1] <= span.start < span.end <= len(document.text):
                raise SpecError(
                    f"the world {name} marks {span} in {document.id!r}, which is not in its text; give spans in "
                    "order, without overlap."
                )
            ends.append(span.end)


def _check_questions(name: str, documents: list[Document], questions: list[Question]) -> None:
    if len({q.id for q in questions}) < len(questions):
        raise SpecError(f"the world {name} gives two questions one id; number the questions.")
    split_of_entity: dict[str, str] = {}
    for question in questions:
        if split_of_entity.setdefault(question.entity, question.split) != question.split:
            raise SpecError(
                f"the world {name} has {question.entity!r} on both sides of the split; choose the split by entity."
            )
    question_by_fact = {(q.entity, q.attribute): q for q in questions}
    for document in documents:
        for span in document.spans:
            matching_question = question_by_fact.get((document.entity, span.attribute))
            if matching_question is not None and document.text[span.start : span.end] != matching_question.target:
                raise SpecError(
                    f"the world {name} has a target for {matching_question.id!r} that contradicts its documents; make "
                    "both from the same fact."
                )
