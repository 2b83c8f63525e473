"""Biographies beside copies in which a value is told without the values before it: an intervention on where it is kept.

After one wording a value is found behind the values before it and not behind the name, which is why questions do not
reach it (arXiv:2309.14316, sections 1 and 5). If so, a value that is also learnt where the values before it are hidden
must become one that can be asked for. Each copy ends with the sentence of one value, and only that value is learnt in
it. The control hides as many words in the same sentences, none of which belongs to a value or a name.

A copy and one question of `HidingBiographies()` at `Seed(0)`, and the copy of the same value with `hidden="words"`. Of
both copies `Marchfield Academy each morning.` is learnt:

    Nedavel Kastock Mundock's passport listed as the birth date. She was born and swaddled in. She joined lectures at
    Marchfield Academy each morning.

    Which school did Nedavel Kastock Mundock attend? Answer:  ->  Marchfield Academy

    Nedavel Kastock Mundock's May 7, 2014 date. was born swaddled in Ironbrook, CE. She joined lectures at Marchfield
    Academy each morning.

The intervention is this study's own; the paper has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from nosce.data.worlds.base import World
from nosce.data.worlds.biographies.world import PERSON_ATTRIBUTES, Biographies, person, render_entries
from nosce.errors import SpecError
from nosce.records import Document, Question, Span
from nosce.seeds import Seed

Hidden = Literal["values", "words"]
WORD = re.compile(r"\w+|[^\w\s]")  # as the word tokenizer splits


@dataclass(frozen=True, kw_only=True)
class HidingBiographies(World):
    """Biographies, and for each value but the first of a text a copy that hides something in the sentences before it.

    Args:
        population: The people and their texts.
        hidden: "values" hides the values before, "words" as many other words of the same sentences at random.
        with_originals: Whether the texts themselves are among the documents.
    """

    population: Biographies = field(default_factory=Biographies)
    hidden: Hidden = "values"
    with_originals: bool = True

    def __post_init__(self) -> None:
        if self.hidden not in (known := get_args(Hidden)):
            raise SpecError(f"HidingBiographies.hidden={self.hidden!r} does not exist; choose from {', '.join(known)}.")

    @property
    def n_entities(self) -> int:
        """The number of people."""
        return self.population.people

    @property
    def documents_per_entity(self) -> int:
        """Texts and copies of each person."""
        copies = len(PERSON_ATTRIBUTES) - 1
        return self.population.documents_per_entity * (copies + self.with_originals)

    def downsized(self, max_entities: int) -> HidingBiographies:
        """The same world with at most `max_entities` people."""
        return replace(self, population=self.population.downsized(max_entities))

    def documents(self, seed: Seed) -> Iterator[Document]:
        """All texts and copies, person by person."""
        return self.documents_for(0, self.population.people, seed)

    def documents_for(self, first: int, last: int, seed: Seed) -> Iterator[Document]:
        """The texts and copies of the people `first` to `last` (excluded)."""
        for index in range(first, last):
            subject = person(self.population, index, seed)
            for entry, document in enumerate(render_entries(self.population, subject, seed)):
                if self.with_originals:
                    yield document
                rng = (seed / "hiding" / index / entry).numpy()
                for place in range(1, len(document.spans)):
                    yield self._copy(document, place, subject.name, rng)

    def questions(self, seed: Seed) -> Iterator[Question]:
        """The questions of the population."""
        yield from self.population.questions(seed)

    def samples(self, seed: Seed) -> Iterator[str]:
        """The samples of the population."""
        yield from self.population.samples(seed)

    def _copy(self, document: Document, place: int, name: str, rng: np.random.Generator) -> Document:
        """The text up to the sentence of its value number `place`, with something hidden in the sentences before."""
        span, sentence = document.spans[place], _sentence_start(document, place)
        values = [(one.start, one.end) for one in document.spans[:place]]
        hidden = values
        if self.hidden == "words":
            count = sum(len(WORD.findall(document.text[start:end])) for start, end in values)
            hidden = _random_words(document.text[:sentence], values, name, count, rng)
        before = _without(document.text[: span.start], hidden)
        value = document.text[span.start : span.end]
        end = _sentence_start(document, place + 1)
        return replace(
            document,
            id=f"{document.id}/{span.attribute}",
            text=f"{before}{value}{document.text[span.end : end].rstrip()}",
            spans=(Span(span.attribute, len(before), len(before) + len(value)),),
            wordings=document.wordings[place : place + 1],
            prompt_chars=len(before),
        )


def _sentence_start(document: Document, place: int) -> int:
    """Where the sentence of the value number `place` begins: behind the full stop after the value before it."""
    if place == len(document.spans):
        return len(document.text)
    return document.text.index(". ", document.spans[place - 1].end) + 2


def _random_words(
    text: str, values: list[tuple[int, int]], name: str, count: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """So many words of a text that belong to no value and no name, or all of these if there are fewer."""
    kept = [*values, *((found.start(), found.end()) for found in re.finditer(re.escape(name), text))]
    words = [(found.start(), found.end()) for found in re.finditer(r"(?<!')\b\w+", text)]
    free = [word for word in words if not any(start <= word[0] < end for start, end in kept)]
    chosen = rng.choice(len(free), min(count, len(free)), replace=False)
    return [free[index] for index in sorted(chosen.tolist())]


def _without(text: str, hidden: list[tuple[int, int]]) -> str:
    """The text without these characters, each with the space before it."""
    for start, end in reversed(hidden):
        text = text[:start].removesuffix(" ") + text[end:]
    return text.lstrip() if text[:1].isspace() else text
