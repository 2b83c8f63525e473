"""What every world owes the laboratory, as a check that can be run on any of them.

A world is a frozen dataclass that is configuration and truth at once. Its documents and its
questions are both made from facts, never from each other, and equal worlds with equal seeds
give equal bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import islice
from typing import Protocol, runtime_checkable

from nosce.errors import SpecError
from nosce.records import Document, Question
from nosce.seeds import Seed


@runtime_checkable
class World(Protocol):
    """What `plan` and the step functions ask of a world.

    One whose documents are too many to go through text may have a method `encoded(seed, tokenizer, end)` too,
    which yields their tokens (`nosce.data.packing.TokenDataset`) in the same order; the first are held against
    the texts, and ids are then numbers behind a word, `record/0`.

    One that has `things`, `documents_per_thing` and a method `documents_about(first, last, seed)` is rendered on
    several cores at once where a step is given them. One that has `things` and a method `fewer(most)`, which gives the
    same world of no more than so many things, is priced by such a smaller one.
    """

    def documents(self, seed: Seed) -> Iterator[Document]:
        """The texts to learn from, one at a time, so that none need be held."""
        ...

    def questions(self, seed: Seed) -> Iterator[Question]:
        """The questions to ask, with their targets and the split of whom they are about."""
        ...

    def samples(self, seed: Seed) -> Iterator[str]:
        """Texts that a tokenizer is made from, equal for worlds that are to be compared."""
        ...


def check_world(world: World, seed: Seed, *, max_items: int = 2_000) -> None:
    """Raise unless the world keeps the contract on its first `max_items` documents and questions.

    Checked: equal seeds give equal documents and questions; ids are unique; spans lie in their text,
    in order and without overlap; a document states what a question about the same thing and attribute
    asks for; all questions about one thing are in one split; a world is a frozen dataclass.

    Raises:
        SpecError: What was broken, in one sentence.
    """
    name = type(world).__name__
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
