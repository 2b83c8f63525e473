"""Diaries: invented people with different numbers of entries. Does a model know when it has recited all of them?

The entries of one person are spread over as many documents as there are entries (with `merge_entries`: over one
document). Asked for everything, a model must recite all entries, in order, and stop. Only the set of documents
determines the number of entries; no text states it.

One document and one question of `Diaries()` at `Seed(0)`; the target has all four entries, with a blank line between
two of them:

    Seladan Inveringar's diary entry 1
    Company: brother
    Meal: soup

    Recall all of Seladan Inveringar's diary entries, in order.

Source: Prato et al. 2024 (arXiv:2502.19573). Names, values and layout are our own: the paper has no released code, and
reports of it give the question, the running number in the title and the ranges of 1 to 8. Letters: N diarists, k
entries of one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal, get_args

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

ENTRY_NUMBER_ATTRIBUTE = "number"  # the attribute of the number in an entry's title
ENTRY_COUNT_ATTRIBUTE = "how many"  # the attribute of the question for the number of entries


def recall_attribute(count: int) -> str:
    """The attribute of the question for all entries of a person with `count` entries."""
    return f"{count} {'entry' if count == 1 else 'entries'}"


@dataclass(frozen=True, slots=True)
class Diarist:
    """One person and all entries of this person.

    Args:
        index: Number of the person, from 0.
        name: First and last name, unique within the world.
        entries: The entries in order; empty for people without entries.
    """

    index: int
    name: str
    entries: tuple[DiaryEntry, ...]


@dataclass(frozen=True, kw_only=True)
class Diaries(World):
    """Diarists, and the layout of their entries. The defaults are the paper's where they are known.

    Facts depend on the seed, the person's index and the ranges alone, so arms that differ only in the layout describe
    the same people. Most questions are in the seen split; half of the others are in the validation split and half in
    the unseen split. The entries of all diarists are in the documents.

    Args:
        n_diarists: Number of people with entries, 2 or more. The paper has 1,000 to 64,000.
        entries: Fewest and most entries of a diarist, uniform. The paper's range is 1 to 8.
        attributes: Fewest and most attributes of an entry, uniform. The paper's range is 1 to 8.
        n_attributes: Number of attributes in the world, the first ones of `DIARY_ATTRIBUTES`.
        values_per_attribute: Number of values of each attribute, 2 to 16, the first ones of `DIARY_VALUES`.
        merge_entries: Write all entries of a diarist as one document: the paper's simplified set-up.
        encoding: "paper": lines with labels, for a byte-pair tokenizer. "one line": labels and semicolons, for a
            tokenizer that drops line breaks, such as T5's. "lean": one word per value, for small models.
        header: Order of name and number in a title. With "number first" the number cannot depend on the name before it.
        repeat_title: What the learnt text repeats of the document's prompt, which is the title. False: nothing, as in
            the code of the paper's predecessor. True: the whole title. "name": the prompt is the name alone and the
            learnt text has the title, so that the number is learnt.
        name_pool_sizes: Number of first and last names. Each pair occurs once, so people share name tokens.
        train_share: Share of the diarists whose question is in the seen split, between 0 and 1. The paper's is 0.9.
        held_out_entry_counts: Numbers of entries whose questions are never in the seen split.
        people_without_entries: Number of further people who have questions but no entries.
        gap_share: Share of the diarists with 2 entries or more whose numbering skips one number, 0 to 1.
        ask_entry_count: Also ask for the number of entries.
    """

    n_diarists: int = 1_000
    entries: tuple[int, int] = (1, 8)
    attributes: tuple[int, int] = (1, 8)
    n_attributes: int = 8
    values_per_attribute: int = 16
    merge_entries: bool = False
    encoding: DiaryEncodingName = "paper"
    header: HeaderOrder = "name first"
    repeat_title: Literal[False, True, "name"] = False
    name_pool_sizes: tuple[int, int] = (256, 256)
    train_share: float = 0.9
    held_out_entry_counts: tuple[int, ...] = ()
    people_without_entries: int = 0
    gap_share: float = 0.0
    ask_entry_count: bool = False

    def __post_init__(self) -> None:
        for field, limits, maximum in (
            ("entries", self.entries, 50),
            ("attributes", self.attributes, self.n_attributes),
        ):
            if not 1 <= limits[0] <= limits[1] <= maximum:
                raise SpecError(
                    f"Diaries.{field}={limits} is not a range within 1 to {maximum}; give the least and the most."
                )
        if not 1 <= self.n_attributes <= len(DIARY_ATTRIBUTES) or not 2 <= self.values_per_attribute <= 16:
            raise SpecError(
                f"Diaries with n_attributes={self.n_attributes} and values_per_attribute={self.values_per_attribute} "
                f"cannot be written; take 1 to {len(DIARY_ATTRIBUTES)} attributes and 2 to 16 values."
            )
        if not (0 < self.train_share < 1 and 0 <= self.gap_share <= 1):
            raise SpecError(
                f"Diaries with train_share={self.train_share} and gap_share={self.gap_share} cannot be split; take a "
                "train_share between 0 and 1, which leaves questions for evaluation, and a gap_share from 0 to 1."
            )
        if self.encoding not in get_args(DiaryEncodingName) or self.header not in ("name first", "number first"):
            raise SpecError(
                f"Diaries with encoding={self.encoding!r} and header={self.header!r} cannot be written; take paper, "
                "one line or lean, and name first or number first."
            )
        self._check_names()

    def _check_names(self) -> None:
        pools = (FIRST_NAMES, LAST_NAMES)
        if any(not 1 <= n <= len(pool) for n, pool in zip(self.name_pool_sizes, pools, strict=True)):
            raise SpecError(
                f"Diaries.name_pool_sizes={self.name_pool_sizes} is out of range, because the pools hold "
                f"{', '.join(str(len(p)) for p in pools)} names; take from 1 to these numbers."
            )
        n_names = self.name_pool_sizes[0] * self.name_pool_sizes[1]
        if not (self.n_diarists >= 2 and self.people_without_entries >= 0 and self.n_people <= n_names):
            raise SpecError(
                f"Diaries of {self.n_diarists:,} diarists and {self.people_without_entries:,} people without entries "
                f"do not fit {n_names:,} names; take two diarists or more, and at most one person per name."
            )

    @cached_property
    def diary_format(self) -> DiaryFormat:
        """The layout of entries, questions and answers."""
        return DiaryFormat(encoding=self.encoding, header=self.header)

    @property
    def tokenizer(self) -> TokenizerSpec:
        """The tokenizer for the encoding: words for "lean", byte pairs for the others."""
        return TokenizerSpec(kind="word") if self.encoding == "lean" else TokenizerSpec(kind="bpe")

    @property
    def constant_attributes(self) -> tuple[str, ...]:
        """The question about people without entries, whose answer is the same for all by design."""
        return (recall_attribute(0),)

    @property
    def n_people(self) -> int:
        """The number of diarists and of people without entries."""
        return self.n_diarists + self.people_without_entries

    @property
    def n_entities(self) -> int:
        """The number of people, with and without entries."""
        return self.n_people

    def downsized(self, max_entities: int) -> Diaries:
        """The same world with at most `max_entities` people, but at least two diarists; shares stay about the same."""
        if self.n_people <= max(2, max_entities):
            return self
        without = self.people_without_entries * max_entities // self.n_people
        return replace(self, n_diarists=max(2, max_entities - without), people_without_entries=without)

    def documents(self, seed: Seed) -> Iterator[Document]:
        """Every entry, or every merged diary, person by person. The sampler shuffles the documents for training."""
        for index in range(self.n_diarists):
            writer = diarist(self, index, seed)
            entry_groups = [writer.entries] if self.merge_entries else [(entry,) for entry in writer.entries]
            for number, entries in enumerate(entry_groups):
                yield self._document(writer, entries, number)

    def _document(self, writer: Diarist, entries: tuple[DiaryEntry, ...], number: int) -> Document:
        if self.repeat_title == "name":
            title_prefix = writer.name
        else:
            title_prefix = self.diary_format.format_title(writer.name, entries[0].number)
        repeated_prefix = self.diary_format.join_parts(title_prefix, "") if self.repeat_title else ""
        text = repeated_prefix + self.diary_format.format_diary(writer.name, entries)
        spans = []
        entry_start = len(repeated_prefix)
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
        """A question for all entries of each person and, with `ask_entry_count`, one for their number.

        The attribute of a question states the true number of entries.
        """
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
        """Every word of this world."""
        for pool, size in zip((FIRST_NAMES, LAST_NAMES), self.name_pool_sizes, strict=True):
            yield self.diary_format.vocabulary_text(pool[:size], self.values_per_attribute, self.entries[1] + 1)


def diarist(world: Diaries, index: int, seed: Seed) -> Diarist:
    """The diary of the person with this index. People from index `n_diarists` on have no entries.

    The name comes from a permutation of all pairs of names that is independent of the entries.
    """
    n_first, n_last = world.name_pool_sizes
    first, last = divmod(permuted_index(index, n_first * n_last, seed / "names"), n_last)
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
    """A random selection of attributes, in their order, each with a value. Two entries may be equal."""
    low, high = world.attributes
    chosen = np.sort(rng.choice(world.n_attributes, int(rng.integers(low, high, endpoint=True)), replace=False))
    facts = []
    for index in chosen:
        attribute = DIARY_ATTRIBUTES[index]
        facts.append(DiaryFact(attribute, DIARY_VALUES[attribute][int(rng.integers(world.values_per_attribute))]))
    return tuple(facts)


@lru_cache(maxsize=8)
def _question_splits(world: Diaries, seed: Seed) -> tuple[Split, ...]:
    """The split of each person's question, with equal shares for each number of entries."""
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
