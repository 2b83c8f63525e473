"""Scores a recited diary: is it complete and correct, and if not, what was the first error?

A reply is correct only if every entry is there, correct and in order, and nothing follows. A comparison of only as many
characters as the target has would hide entries that a model invents, which is the error under study. The first wrong
unit, a title or a fact, gives the class of an error.

For a target of two entries, a reply with a third title is the error "run-on", and a reply that ends after the first
entry is the error "early stop".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, zip_longest
from typing import get_args

from tokenizers import Tokenizer

from nosce.data.grammar import TokenGrammar
from nosce.data.worlds.biographies.templates import FIRST_NAMES, LAST_NAMES
from nosce.data.worlds.diaries.templates import (
    DiaryEntry,
    DiaryErrorClass,
    DiaryFact,
    DiaryFormat,
    DiaryUnit,
    EntryTitle,
    UnparsedText,
)
from nosce.data.worlds.diaries.world import Diaries
from nosce.errors import SpecError
from nosce.records import Outcome, Question

DiaryMetric = tuple[float, Outcome | None]
DIARY_ERROR_CLASSES: tuple[DiaryErrorClass, ...] = get_args(DiaryErrorClass)


@dataclass(frozen=True, kw_only=True)
class DiaryScorer:
    """Scores recited diaries (`nosce.evals.generation.Scorer`).

    Args:
        world: The world whose questions the replies answer.
    """

    world: Diaries

    @property
    def _diary_format(self) -> DiaryFormat:
        return self.world.diary_format

    def max_new_tokens(self, tokenizer: Tokenizer) -> int:
        """Tokens for the longest diary and two further entries, so that a reply with too many entries is not cut."""
        name = f"{max(FIRST_NAMES, key=len)} {max(LAST_NAMES, key=len)}"
        longest = self._diary_format.longest_diary(name, self.world.entries[1] + 2, self.world.attributes[1])
        return len(tokenizer.encode(longest, add_special_tokens=False).ids) + 1

    def grammar(self, tokenizer: Tokenizer, eos_id: int) -> TokenGrammar:
        """Always raises an error: a grammar that allows only the next correct unit would give the answer away.

        Raises:
            SpecError: Always.
        """
        raise SpecError("diaries have no grammar for constrained decoding; take GenerationEval(constrained=False).")

    def score(
        self, questions: Sequence[Question], replies: Sequence[str], ended: Sequence[bool]
    ) -> Iterator[Mapping[str, DiaryMetric]]:
        """The metrics of each reply.

        exact: 1 if all entries are there, in order, and nothing else. fault/<class>: 1 if the first error has this
        class; one of them is 1 unless the reply is exact. readable: 1 if the reply has a title or is the empty answer.
        Only for readable replies: count (1 if there are as many titles as entries, and an end), recalled (number of
        titles), off (number of titles too many), and content (share of the recalled entries, among the existing ones,
        that are correct at their position).
        In a world with people without entries: denied (1 if the reply is the empty answer). In a world with gaps:
        number/skipped (1 if the reply has a title with the number that the diary skips), number/there (share of the
        numbers between the first and the last that the reply has, of a diary of three entries or more that skips none),
        and exact/gap or exact/no gap (exact, of diaries of two entries or more).
        """
        for question, reply, is_complete in zip(questions, replies, ended, strict=True):
            if question.id.startswith("how many"):
                yield self._score_count(question, reply)
                continue
            metrics = self._score_diary(question, reply, is_complete)
            if self.world.people_without_entries:
                metrics["denied"] = float(reply.strip() == self._diary_format.empty_answer), None
            if self.world.gap_share:
                metrics |= self._score_numbers(question, reply, metrics["exact"])
            yield metrics

    def entry_count(self, question: Question) -> int | None:
        """The number of entries of the true diary; None for a question that does not ask for the diary."""
        if question.id.startswith("how many"):
            return None
        return len(_group_by_entry(_parse_reply(self._diary_format, question.target)))

    def entry_ends(self, question: Question) -> list[int]:
        """The end of each entry in the true diary, in characters."""
        return self._diary_format.entry_ends(*self._true_diary(question))

    def with_extra_entry(self, question: Question) -> str:
        """The true diary, followed by the title of an entry that does not exist."""
        name, entries = self._true_diary(question)
        return self._diary_format.with_extra_title(
            question.target, self._diary_format.format_title(name, entries[-1].number + 1)
        )

    def with_entries_of(self, question: Question, donor: Question) -> str:
        """The diary with the facts of another diary's entries, which repeat if the other diary has fewer entries."""
        (name, entries), (_, donor_entries) = self._true_diary(question), self._true_diary(donor)
        pairs = zip(entries, cycle(donor_entries), strict=False)
        mixed_entries = [DiaryEntry(entry.number, other.facts) for entry, other in pairs]
        return self._diary_format.format_diary(name, mixed_entries)

    def count_probe_texts(self, question: Question) -> dict[str, str]:
        """Texts at whose ends a probe looks for the number of entries: the question, and a title up to its number."""
        name, _ = self._true_diary(question)
        title = self._diary_format.format_title(name, 1)
        return {
            "question": question.prompt,
            "title": title[: self._diary_format.number_offset(title)].rstrip() or title,
        }

    def _true_diary(self, question: Question) -> tuple[str, list[DiaryEntry]]:
        """The name and the true entries.

        Raises:
            SpecError: The diary has no entries.
        """
        name, entries = "", []
        for title, *facts in _group_by_entry(_parse_reply(self._diary_format, question.target)):
            assert isinstance(title, EntryTitle)
            name = title.name
            entries.append(DiaryEntry(title.number, tuple(fact for fact in facts if isinstance(fact, DiaryFact))))
        if not entries:
            raise SpecError(f"{question.id} asks for a diary without entries; leave such questions out.")
        return name, entries

    def _score_count(self, question: Question, reply: str) -> Mapping[str, DiaryMetric]:
        answer = reply.strip()
        outcome: Outcome = "right" if answer == question.target else "wrong" if answer.isdigit() else "unreadable"
        metrics: dict[str, DiaryMetric] = {"exact": (float(outcome == "right"), outcome)}
        if answer.isdigit():
            metrics |= {"recalled": (float(answer), None), "off": (float(answer) - float(question.target), None)}
        return metrics

    def _score_numbers(self, question: Question, reply: str, exact: DiaryMetric) -> dict[str, DiaryMetric]:
        """Are numbers written that the diary has, and is the one written that it skips?"""
        true_numbers, written = (_numbers(_parse_reply(self._diary_format, text)) for text in (question.target, reply))
        if len(true_numbers) < 2:
            return {}
        skipped = set(range(1, true_numbers[-1])) - set(true_numbers)
        if skipped:
            return {"number/skipped": (float(bool(skipped & set(written))), None), "exact/gap": exact}
        metrics = {"exact/no gap": exact}
        if inner := true_numbers[1:-1]:
            metrics["number/there"] = sum(number in written for number in inner) / len(inner), None
        return metrics

    def _score_diary(self, question: Question, reply: str, ended: bool) -> dict[str, DiaryMetric]:
        true_units, reply_units = (_parse_reply(self._diary_format, text) for text in (question.target, reply))
        error_class = _first_error(true_units, reply_units, ended)
        titled = any(isinstance(unit, EntryTitle) for unit in reply_units)
        readable = titled or reply.strip() == self._diary_format.empty_answer
        outcome: Outcome = "right" if error_class is None else "wrong" if readable else "unreadable"
        metrics: dict[str, DiaryMetric] = {"exact": (float(error_class is None), outcome)}
        metrics |= {f"fault/{name}": (float(name == error_class), None) for name in DIARY_ERROR_CLASSES}
        metrics["readable"] = float(readable), None
        if readable:
            entries, recalled_entries = _group_by_entry(true_units), _group_by_entry(reply_units)
            n_titles = sum(isinstance(unit, EntryTitle) for unit in reply_units)
            count_outcome: Outcome = "right" if ended and n_titles == len(entries) else "wrong"
            metrics |= {
                "count": (float(count_outcome == "right"), count_outcome),
                "recalled": (float(n_titles), None),
                "off": (float(n_titles - len(entries)), None),
            }
            if entry_pairs := list(zip(entries, recalled_entries, strict=False)):
                metrics["content"] = (sum(a == b for a, b in entry_pairs) / len(entry_pairs), None)
        return metrics


def _parse_reply(text: DiaryFormat, reply: str) -> list[DiaryUnit]:
    return [] if reply.strip() == text.empty_answer else text.parse_units(reply)


def _numbers(units: Sequence[DiaryUnit]) -> list[int]:
    """The numbers of the titles, in order."""
    return [unit.number for unit in units if isinstance(unit, EntryTitle)]


def _group_by_entry(units: Sequence[DiaryUnit]) -> list[list[DiaryUnit]]:
    """Units by entry: each title with the units after it."""
    grouped: list[list[DiaryUnit]] = []
    for unit in units:
        if isinstance(unit, EntryTitle) or not grouped:
            grouped.append([])
        grouped[-1].append(unit)
    return grouped


def _first_error(
    true_units: Sequence[DiaryUnit], reply_units: Sequence[DiaryUnit], ended: bool
) -> DiaryErrorClass | None:
    """The class of the first wrong unit; None if all units are correct."""
    for expected, actual in zip_longest(true_units, reply_units):
        if expected == actual:
            continue
        if isinstance(actual, UnparsedText):
            return "malformed" if ended or actual is not reply_units[-1] else "truncated"
        if actual is None:
            if not ended:
                return "truncated"
            return "early stop" if isinstance(expected, EntryTitle) else "attribute"
        if expected is None:
            return "run-on" if isinstance(actual, EntryTitle) else "attribute"
        if isinstance(expected, EntryTitle) and isinstance(actual, EntryTitle):
            return "header"
        if isinstance(expected, DiaryFact) and isinstance(actual, DiaryFact) and expected.attribute == actual.attribute:
            return "value"
        return "attribute"  # a missing, an extra or another attribute
    return None if ended else "truncated"
