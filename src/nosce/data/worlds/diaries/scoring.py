"""Is a recited diary whole and right, and if not, where did it first go wrong?

A reply is right only if every entry is there, right and in order, and nothing follows: comparing no further than the
true text is long would hide the very error that is studied (the sheet, section 3.3). The first wrong unit, a title or a
fact, gives an error its class.
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
    """The judge of recited diaries (`nosce.evals.generation.Scorer`)."""

    world: Diaries

    @property
    def _diary_format(self) -> DiaryFormat:
        return self.world.diary_format

    def max_new_tokens(self, tokenizer: Tokenizer) -> int:
        """Room for the longest diary and two entries more, so that who runs on is not cut."""
        name = f"{max(FIRST_NAMES, key=len)} {max(LAST_NAMES, key=len)}"
        longest = self._diary_format.longest_diary(name, self.world.entries[1] + 2, self.world.attributes[1])
        return len(tokenizer.encode(longest, add_special_tokens=False).ids) + 1

    def grammar(self, tokenizer: Tokenizer) -> TokenGrammar:
        """There is none: what may follow is what is asked for.

        Raises:
            SpecError: Always.
        """
        raise SpecError("diaries have no grammar to write under; read them with GenerationEval(constrained=False).")

    def score(
        self, questions: Sequence[Question], replies: Sequence[str], ended: Sequence[bool]
    ) -> Iterator[Mapping[str, DiaryMetric]]:
        """What can be said of each reply, by metric.

        exact: all entries, in order, and no more. fault/<class>: is that what went wrong first? One of them is 1 where
        the reply is not exact. readable: is there a title in it, or the word for nothing? Only then: count (as many
        titles as there are entries, and an end), recalled and off (how many, and how many too many), and content (the
        share of recalled entries, of those that exist, that are right in their place).
        """
        for question, reply, is_complete in zip(questions, replies, ended, strict=True):
            if question.id.startswith("how many"):
                yield self._score_count(question, reply)
            else:
                yield self._score_diary(question, reply, is_complete)

    def entry_count(self, question: Question) -> int | None:
        """How many entries the true diary has; None where it is not asked for."""
        return (
            None
            if question.id.startswith("how many")
            else len(_group_by_entry(_parse_reply(self._diary_format, question.target)))
        )

    def entry_ends(self, question: Question) -> list[int]:
        """Where in the true diary, in characters, each entry ends."""
        return self._diary_format.entry_ends(*self._true_diary(question))

    def with_extra_entry(self, question: Question) -> str:
        """The true diary and the title of an entry that does not exist."""
        name, entries = self._true_diary(question)
        return self._diary_format.with_extra_title(
            question.target, self._diary_format.format_title(name, entries[-1].number + 1)
        )

    def with_entries_of(self, question: Question, donor: Question) -> str:
        """The diary with the facts of another one's entries, begun again where that has fewer."""
        (name, entries), (_, donor_entries) = self._true_diary(question), self._true_diary(donor)
        mixed_entries = [
            DiaryEntry(entry.number, new.facts) for entry, new in zip(entries, cycle(donor_entries), strict=False)
        ]
        return self._diary_format.format_diary(name, mixed_entries)

    def count_probe_texts(self, question: Question) -> dict[str, str]:
        """The question, and a title up to the number."""
        name, _ = self._true_diary(question)
        title = self._diary_format.format_title(name, 1)
        return {
            "question": question.prompt,
            "title": title[: self._diary_format.number_offset(title)].rstrip() or title,
        }

    def _true_diary(self, question: Question) -> tuple[str, list[DiaryEntry]]:
        """Whose diary it is, and the true entries.

        Raises:
            SpecError: There are none.
        """
        name, entries = "", []
        for title, *facts in _group_by_entry(_parse_reply(self._diary_format, question.target)):
            assert isinstance(title, EntryTitle)
            name = title.name
            entries.append(DiaryEntry(title.number, tuple(fact for fact in facts if isinstance(fact, DiaryFact))))
        if not entries:
            raise SpecError(f"{question.id} asks for a diary without entries, of which nothing can be told.")
        return name, entries

    def _score_count(self, question: Question, reply: str) -> Mapping[str, DiaryMetric]:
        answer = reply.strip()
        outcome: Outcome = "right" if answer == question.target else "wrong" if answer.isdigit() else "unreadable"
        metrics: dict[str, DiaryMetric] = {"exact": (float(outcome == "right"), outcome)}
        if answer.isdigit():
            metrics |= {"recalled": (float(answer), None), "off": (float(answer) - float(question.target), None)}
        return metrics

    def _score_diary(self, question: Question, reply: str, ended: bool) -> Mapping[str, DiaryMetric]:
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


def _group_by_entry(units: Sequence[DiaryUnit]) -> list[list[DiaryUnit]]:
    """Units by entry: each title with what follows it."""
    grouped: list[list[DiaryUnit]] = []
    for unit in units:
        if isinstance(unit, EntryTitle) or not grouped:
            grouped.append([])
        grouped[-1].append(unit)
    return grouped


def _first_error(
    true_units: Sequence[DiaryUnit], reply_units: Sequence[DiaryUnit], ended: bool
) -> DiaryErrorClass | None:
    """The class of the first wrong unit; None where all is right."""
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
        return "attribute"  # one too many, one too few, or another
    return None if ended else "truncated"
