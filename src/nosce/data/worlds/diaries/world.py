"""Diaries: invented people, each with some number of entries; does a model know when it has told all of them?

What a person wrote lies scattered over as many documents as there are entries (or, where `merge_entries`, in one).
Asked for everything, a model must recite all entries, in order, and stop; nowhere but in which documents exist does
it say how many there are.

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
from nosce.data.worlds.base import World
from nosce.data.worlds.biographies.templates import FIRST_NAMES, LAST_NAMES
from nosce.data.worlds.biographies.world import permuted_index
from nosce.data.worlds.diaries.templates import (
    DIARY_ATTRIBUTES,
    DIARY_VALUES,
    DiaryEncodingName,
    DiaryEntry,
    DiaryFact,
    DiaryFormat,
    HeaderOrder,
)
from nosce.errors import SpecError
from nosce.records import Document, Question, Span, Split
from nosce.seeds import Seed

ENTRY_NUMBER_ATTRIBUTE = "number"  # the attribute of an entry's own number, in its title
ENTRY_COUNT_ATTRIBUTE = "how many"  # the attribute of the question for their number


def recall_attribute(count: int) -> str:
    """The attribute of the question for all entries of somebody with so many."""
    return f"{count} {'entry' if count == 1 else 'entries'}"


@dataclass(frozen=True, slots=True)
class Diarist:
    """One person and all that this person wrote."""

    index: int
    name: str
    entries: tuple[DiaryEntry, ...]


@dataclass(frozen=True, kw_only=True)
class Diaries(World):
    """Diarists and how their entries are told; the defaults are the paper's where it is known (the sheet, section 2).

    Facts depend on the seed, the person's number and the ranges alone, so that arms which differ in how things are
    told tell of the same people. Questions of most are "seen", a few are for choosing ("validation"), the rest are
    "unseen"; the entries of all are in the documents.
    """

    n_diarists: int = 1_000
    entries: tuple[int, int] = (1, 8)  # of a diarist, from and to, all numbers alike
    attributes: tuple[int, int] = (1, 8)  # of an entry
    n_attributes: int = 8  # attributes that there are, the first so many
    values_per_attribute: int = 16  # of each attribute, the first so many
    merge_entries: bool = False  # all entries of a diarist in one document: the paper's simplified set-up
    encoding: DiaryEncodingName = "paper"
    header: HeaderOrder = "name first"
    #: A document's title stands in what is to be learnt too: with True behind all of it, with "name" behind the name,
    #: so that the number is learnt and not given.
    repeat_title: Literal[False, True, "name"] = False
    name_pool_sizes: tuple[int, int] = (256, 256)  # sizes of the pools of first and last names
    train_share: float = 0.9  # of the diarists have their question in training; half of the rest is for validation
    held_out_entry_counts: tuple[int, ...] = ()  # numbers of entries of which no question is trained
    people_without_entries: int = 0  # further people who are asked about and wrote nothing
    gap_share: float = 0.0  # share of those with two entries or more whose numbers leave one out
    ask_entry_count: bool = False  # ask for the number of entries too

    def __post_init__(self) -> None:
        for field, maximum in (("entries", 50), ("attributes", self.n_attributes)):
            low, high = getattr(self, field)
            if not 1 <= low <= high <= maximum:
                raise SpecError(
                    f"Diaries.{field}={(low, high)} is not a range within 1 to {maximum}; give least and most."
                )
        if not 1 <= self.n_attributes <= len(DIARY_ATTRIBUTES) or not 2 <= self.values_per_attribute <= 16:
            raise SpecError(
                f"Diaries of {self.n_attributes} attributes with {self.values_per_attribute} values each cannot be "
                "written; there are "
                f"{len(DIARY_ATTRIBUTES)} attributes of 2 to 16 values."
            )
        pools = (FIRST_NAMES, LAST_NAMES)
        if any(not 1 <= n <= len(pool) for n, pool in zip(self.name_pool_sizes, pools, strict=True)):
            raise SpecError(
                f"Diaries.name_pool_sizes={self.name_pool_sizes} asks for more names than the pools hold "
                f"({', '.join(str(len(p)) for p in pools)}); take fewer."
            )
        if not (
            self.n_diarists >= 2
            and self.people_without_entries >= 0
            and self.n_people <= self.name_pool_sizes[0] * self.name_pool_sizes[1]
        ):
            raise SpecError(
                f"Diaries of {self.n_diarists:,} diarists and {self.people_without_entries:,} without entries do not "
                "fit "
                f"{self.name_pool_sizes[0] * self.name_pool_sizes[1]:,} names; take at least two, and no more than "
                "there are names."
            )
        if not (0 < self.train_share < 1 and 0 <= self.gap_share <= 1):
            raise SpecError(
                f"Diaries with train_share={self.train_share} and gap_share={self.gap_share} cannot be split; "
                "train_share lies between 0 and 1, so that some are asked about unprepared, and gap_share is a share."
            )
        if self.encoding not in ("paper", "lean") or self.header not in ("name first", "number first"):
            raise SpecError(
                f"Diaries with encoding={self.encoding!r} and header={self.header!r} are not known; take paper or "
                "lean, and name first or number first."
            )

    @cached_property
    def diary_format(self) -> DiaryFormat:
        """How it is written."""
        return DiaryFormat(encoding=self.encoding, header=self.header)

    @property
    def tokenizer(self) -> TokenizerSpec:
        """The tokenizer that the encoding is meant for: words, or pieces of them."""
        return TokenizerSpec(kind="word") if self.encoding == "lean" else TokenizerSpec(kind="bpe")

    @property
    def constant_attributes(self) -> tuple[str, ...]:
        """Attributes that have one answer for all: who wrote nothing is asked about to see who says so."""
        return (recall_attribute(0),)

    @property
    def n_people(self) -> int:
        """Diarists, and those who wrote nothing."""
        return self.n_diarists + self.people_without_entries

    def documents(self, seed: Seed) -> Iterator[Document]:
        """Every entry, or every merged diary, person by person; the order in training is the batches' own."""
        for index in range(self.n_diarists):
            writer = diarist(self, index, seed)
            entry_groups = [writer.entries] if self.merge_entries else [(entry,) for entry in writer.entries]
            for number, entries in enumerate(entry_groups):
                yield self._document(writer, entries, number)

    def _document(self, writer: Diarist, entries: tuple[DiaryEntry, ...], number: int) -> Document:
        text, spans = self.diary_format.format_diary(writer.name, entries), []
        title_prefix = (
            writer.name
            if self.repeat_title == "name"
            else self.diary_format.format_title(writer.name, entries[0].number)
        )
        repeated_prefix = self.diary_format.join_parts(title_prefix, "") if self.repeat_title else ""
        text, entry_start = repeated_prefix + text, len(repeated_prefix)  # of the entry
        for entry in entries:
            title = self.diary_format.format_title(writer.name, entry.number)
            entry_start = text.index(title, entry_start)
            value_start = entry_start + self.diary_format.number_offset(title)
            spans.append(Span(ENTRY_NUMBER_ATTRIBUTE, value_start, value_start + len(str(entry.number))))
            value_start = entry_start = entry_start + len(title)
            for attribute, value in entry.facts:
                value_text = self.diary_format.format_value(value)
                value_start = text.index(value_text, value_start)
                spans.append(Span(attribute, value_start, value_start := value_start + len(value_text)))
        return Document(
            f"{writer.index}/{number}", f"diarist/{writer.index}", text, tuple(spans), prompt_chars=len(title_prefix)
        )

    def questions(self, seed: Seed) -> Iterator[Question]:
        """For everything that somebody wrote, and where asked how much that is; the attribute is the true number."""
        splits = _question_splits(self, seed)
        for index in range(self.n_people):
            writer = diarist(self, index, seed)
            entity, split = f"diarist/{index}", splits[index]
            count = len(writer.entries)
            yield Question(
                f"recall/{index}",
                entity,
                recall_attribute(count),
                self.diary_format.recall_prompt(writer.name),
                self.diary_format.format_diary(writer.name, writer.entries),
                split,
            )
            if self.ask_entry_count:
                yield Question(
                    f"how many/{index}",
                    entity,
                    ENTRY_COUNT_ATTRIBUTE,
                    self.diary_format.count_prompt(writer.name),
                    self.diary_format.format_count(count),
                    split,
                )

    def samples(self, seed: Seed) -> Iterator[str]:
        """Every word that this world can use."""
        for pool, size in zip((FIRST_NAMES, LAST_NAMES), self.name_pool_sizes, strict=True):
            yield self.diary_format.vocabulary_text(pool[:size], self.values_per_attribute, self.entries[1] + 1)


def diarist(world: Diaries, index: int, seed: Seed) -> Diarist:
    """The diary of person number `index`; numbers from `n_diarists` on wrote nothing.

    The name comes from a permutation of all pairs of names that knows nothing of the entries.
    """
    first, last = divmod(
        permuted_index(index, world.name_pool_sizes[0] * world.name_pool_sizes[1], seed / "names"),
        world.name_pool_sizes[1],
    )
    name = f"{FIRST_NAMES[first]} {LAST_NAMES[last]}"
    if index >= world.n_diarists:
        return Diarist(index, name, ())
    rng = (seed / "diarist" / index).numpy()
    low, high = world.entries
    count = int(rng.integers(low, high, endpoint=True))
    facts = tuple(_draw_facts(world, rng) for _ in range(count))
    skipped_number = int(rng.integers(2, count, endpoint=True)) if count > 1 else 0
    if rng.random() >= world.gap_share:
        skipped_number = 0
    numbers = [n + (n >= skipped_number > 0) for n in range(1, count + 1)]
    return Diarist(index, name, tuple(DiaryEntry(n, f) for n, f in zip(numbers, facts, strict=True)))


def _draw_facts(world: Diaries, rng: np.random.Generator) -> tuple[DiaryFact, ...]:
    """Some of the attributes, in their order, each with a value; two entries may say the same."""
    low, high = world.attributes
    chosen = np.sort(rng.choice(world.n_attributes, int(rng.integers(low, high, endpoint=True)), replace=False))
    return tuple(
        DiaryFact(DIARY_ATTRIBUTES[a], DIARY_VALUES[DIARY_ATTRIBUTES[a]][int(rng.integers(world.values_per_attribute))])
        for a in chosen
    )


@lru_cache(maxsize=8)
def _question_splits(world: Diaries, seed: Seed) -> tuple[Split, ...]:
    """Whose question may be trained on: the same share of those with equally many entries."""
    by_count: dict[int, list[int]] = {}
    for index in range(world.n_people):
        by_count.setdefault(len(diarist(world, index, seed).entries), []).append(index)
    splits: list[Split] = ["unseen"] * world.n_people
    for count, members in by_count.items():
        order = (seed / "split" / count).numpy().permutation(members).tolist()
        n_seen = 0 if count in world.held_out_entry_counts else round(world.train_share * len(order))
        validation_end = n_seen + (len(order) - n_seen) // 2
        for rank, index in enumerate(order):
            splits[index] = "seen" if rank < n_seen else "validation" if rank < validation_end else "unseen"
    return tuple(splits)
