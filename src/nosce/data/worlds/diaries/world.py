"""Diaries: invented people, each with some number of entries; does a model know when it has told all of them?

What a person wrote lies scattered over as many documents as there are entries (or, where `merged`, in one). Asked for
everything, a model must recite all entries, in order, and stop; nowhere but in which documents exist does it say how
many there are.

Source: Prato et al. 2024 (arXiv:2502.19573), as the sheet has pieced it together; names and values are our own.
Letters: N diarists, k entries of one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.templates import FIRST_NAMES, LAST_NAMES
from nosce.data.worlds.biographies.world import shuffled
from nosce.data.worlds.diaries.templates import ATTRIBUTES, VALUES, Entry, Fact, Header, Name, Written
from nosce.errors import SpecError
from nosce.records import Document, Question, Span, Split
from nosce.seeds import Seed

NUMBER = "number"  # the facet of an entry's own number, in its title
HOW_MANY = "how many"  # the facet of the question for their number


def entries_of(count: int) -> str:
    """The facet of the question for all entries of somebody with so many."""
    return f"{count} {'entry' if count == 1 else 'entries'}"


@dataclass(frozen=True, slots=True)
class Diarist:
    """One person and all that this person wrote."""

    index: int
    name: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class Diaries:
    """Diarists and how their entries are told; the defaults are the paper's where it is known (the sheet, section 2).

    Facts depend on the seed, the person's number and the ranges alone, so that arms which differ in how things are
    told tell of the same people. Questions of most are "seen", a few are for choosing ("validation"), the rest are
    "unseen"; the entries of all are in the documents.
    """

    diarists: int = 1_000
    entries: tuple[int, int] = (1, 8)  # of a diarist, from and to, all numbers alike
    attributes: tuple[int, int] = (1, 8)  # of an entry
    offered: int = 8  # attributes that there are, the first so many
    values: int = 16  # of each attribute, the first so many
    merged: bool = False  # all entries of a diarist in one document: the paper's simplified set-up
    encoding: Name = "paper"
    header: Header = "name first"
    #: A document's title stands in what is to be learnt too: with True behind all of it, with "name" behind the name,
    #: so that the number is learnt and not given.
    repeated: Literal[False, True, "name"] = False
    names: tuple[int, int] = (256, 256)  # sizes of the pools of first and last names
    trained: float = 0.9  # of the diarists have their question in training; half of the rest is for validation
    unasked: tuple[int, ...] = ()  # numbers of entries of which no question is trained
    empty: int = 0  # further people who are asked about and wrote nothing
    gaps: float = 0.0  # share of those with two entries or more whose numbers leave one out
    how_many: bool = False  # ask for the number of entries too

    def __post_init__(self) -> None:
        for field, most in (("entries", 50), ("attributes", self.offered)):
            low, high = getattr(self, field)
            if not 1 <= low <= high <= most:
                raise SpecError(
                    f"Diaries.{field}={(low, high)} is not a range within 1 to {most}; give least and most."
                )
        if not 1 <= self.offered <= len(ATTRIBUTES) or not 2 <= self.values <= 16:
            raise SpecError(
                f"Diaries of {self.offered} attributes with {self.values} values each cannot be written; there are "
                f"{len(ATTRIBUTES)} attributes of 2 to 16 values."
            )
        pools = (FIRST_NAMES, LAST_NAMES)
        if any(not 1 <= n <= len(pool) for n, pool in zip(self.names, pools, strict=True)):
            raise SpecError(
                f"Diaries.names={self.names} asks for more names than the pools hold "
                f"({', '.join(str(len(p)) for p in pools)}); take fewer."
            )
        if not (self.diarists >= 2 and self.empty >= 0 and self.people <= self.names[0] * self.names[1]):
            raise SpecError(
                f"Diaries of {self.diarists:,} diarists and {self.empty:,} without entries do not fit "
                f"{self.names[0] * self.names[1]:,} names; take at least two, and no more than there are names."
            )
        if not (0 < self.trained < 1 and 0 <= self.gaps <= 1):
            raise SpecError(
                f"Diaries with trained={self.trained} and gaps={self.gaps} cannot be split; trained lies between 0 "
                "and 1, so that some are asked about unprepared, and gaps is a share."
            )
        if self.encoding not in ("paper", "lean") or self.header not in ("name first", "number first"):
            raise SpecError(
                f"Diaries with encoding={self.encoding!r} and header={self.header!r} are not known; take paper or "
                "lean, and name first or number first."
            )

    @cached_property
    def text(self) -> Written:
        """How it is written."""
        return Written(encoding=self.encoding, header=self.header)

    @property
    def tokenizer(self) -> TokenizerSpec:
        """The tokenizer that the encoding is meant for: words, or pieces of them."""
        return TokenizerSpec(kind="word") if self.encoding == "lean" else TokenizerSpec(kind="bpe")

    @property
    def guessable(self) -> tuple[str, ...]:
        """Facets that have one answer for all: who wrote nothing is asked about to see who says so."""
        return (entries_of(0),)

    @property
    def people(self) -> int:
        """Diarists, and those who wrote nothing."""
        return self.diarists + self.empty

    def documents(self, seed: Seed) -> Iterator[Document]:
        """Every entry, or every merged diary, person by person; the order in training is the batches' own."""
        for index in range(self.diarists):
            who = diarist(self, index, seed)
            told = [who.entries] if self.merged else [(entry,) for entry in who.entries]
            for number, entries in enumerate(told):
                yield self._document(who, entries, number)

    def _document(self, who: Diarist, entries: tuple[Entry, ...], number: int) -> Document:
        text, spans = self.text.diary(who.name, entries), []
        first = who.name if self.repeated == "name" else self.text.title(who.name, entries[0].number)
        before = self.text.joined(first, "") if self.repeated else ""
        text, begin = before + text, len(before)  # of the entry
        for entry in entries:
            title = self.text.title(who.name, entry.number)
            begin = text.index(title, begin)
            place = begin + self.text.number_in(title)
            spans.append(Span(NUMBER, place, place + len(str(entry.number))))
            place = begin = begin + len(title)
            for attribute, value in entry.facts:
                written = self.text.value(value)
                place = text.index(written, place)
                spans.append(Span(attribute, place, place := place + len(written)))
        return Document(f"{who.index}/{number}", f"diarist/{who.index}", text, tuple(spans), given=len(first))

    def questions(self, seed: Seed) -> Iterator[Question]:
        """For everything that somebody wrote, and where asked for how much that is; the facet is the true number."""
        splits = _splits(self, seed)
        for index in range(self.people):
            who = diarist(self, index, seed)
            about, split = f"diarist/{index}", splits[index]
            count = len(who.entries)
            yield Question(f"recall/{index}", about, entries_of(count), self.text.recall(who.name),
                           self.text.diary(who.name, who.entries), split)  # fmt: skip
            if self.how_many:
                yield Question(f"how many/{index}", about, HOW_MANY, self.text.how_many(who.name),
                               self.text.number(count), split)  # fmt: skip

    def samples(self, seed: Seed) -> Iterator[str]:
        """Every word that this world can use."""
        for pool, size in zip((FIRST_NAMES, LAST_NAMES), self.names, strict=True):
            yield self.text.words(pool[:size], self.values, self.entries[1] + 1)


def diarist(world: Diaries, index: int, seed: Seed) -> Diarist:
    """The diary of person number `index`; numbers from `diarists` on wrote nothing.

    The name comes from a permutation of all pairs of names that knows nothing of the entries.
    """
    first, last = divmod(shuffled(index, world.names[0] * world.names[1], seed / "names"), world.names[1])
    name = f"{FIRST_NAMES[first]} {LAST_NAMES[last]}"
    if index >= world.diarists:
        return Diarist(index, name, ())
    rng = (seed / "diarist" / index).numpy()
    low, high = world.entries
    count = int(rng.integers(low, high, endpoint=True))
    facts = tuple(_facts(world, rng) for _ in range(count))
    skipped = int(rng.integers(2, count, endpoint=True)) if count > 1 else 0
    if rng.random() >= world.gaps:
        skipped = 0
    numbers = [n + (n >= skipped > 0) for n in range(1, count + 1)]
    return Diarist(index, name, tuple(Entry(n, f) for n, f in zip(numbers, facts, strict=True)))


def _facts(world: Diaries, rng: np.random.Generator) -> tuple[Fact, ...]:
    """Some of the attributes, in their order, each with a value; two entries may say the same."""
    low, high = world.attributes
    chosen = np.sort(rng.choice(world.offered, int(rng.integers(low, high, endpoint=True)), replace=False))
    return tuple(Fact(ATTRIBUTES[a], VALUES[ATTRIBUTES[a]][int(rng.integers(world.values))]) for a in chosen)


@lru_cache(maxsize=8)
def _splits(world: Diaries, seed: Seed) -> tuple[Split, ...]:
    """Whose question may be trained on: the same share of those with equally many entries."""
    by_count: dict[int, list[int]] = {}
    for index in range(world.people):
        by_count.setdefault(len(diarist(world, index, seed).entries), []).append(index)
    found: list[Split] = ["unseen"] * world.people
    for count, members in by_count.items():
        order = (seed / "split" / count).numpy().permutation(members).tolist()
        seen = 0 if count in world.unasked else round(world.trained * len(order))
        held = seen + (len(order) - seen) // 2
        for place, index in enumerate(order):
            found[index] = "seen" if place < seen else "validation" if place < held else "unseen"
    return tuple(found)
