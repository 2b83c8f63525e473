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

from nosce.data.grammar import Grammar
from nosce.data.worlds.biographies.templates import FIRST_NAMES, LAST_NAMES
from nosce.data.worlds.diaries.templates import Entry, Fact, Fault, Other, Title, Unit, Written
from nosce.data.worlds.diaries.world import Diaries
from nosce.errors import SpecError
from nosce.records import Outcome, Question

Metric = tuple[float, Outcome | None]
FAULTS: tuple[Fault, ...] = get_args(Fault)


@dataclass(frozen=True, kw_only=True)
class Reader:
    """The judge of recited diaries (`nosce.evals.generation.Judge`)."""

    world: Diaries

    @property
    def _text(self) -> Written:
        return self.world.text

    def tokens(self, tokenizer: Tokenizer) -> int:
        """Room for the longest diary and two entries more, so that who runs on is not cut."""
        name = f"{max(FIRST_NAMES, key=len)} {max(LAST_NAMES, key=len)}"
        longest = self._text.longest(name, self.world.entries[1] + 2, self.world.attributes[1])
        return len(tokenizer.encode(longest, add_special_tokens=False).ids) + 1

    def grammar(self, tokenizer: Tokenizer) -> Grammar:
        """There is none: what may follow is what is asked for.

        Raises:
            SpecError: Always.
        """
        raise SpecError("diaries have no grammar to write under; read them with Written(masked=False).")

    def judge(
        self, questions: Sequence[Question], replies: Sequence[str], ended: Sequence[bool]
    ) -> Iterator[Mapping[str, Metric]]:
        """What can be said of each reply, by metric.

        exact: all entries, in order, and no more. fault/<class>: is that what went wrong first? One of them is 1 where
        the reply is not exact. readable: is there a title in it, or the word for nothing? Only then: count (as many
        titles as there are entries, and an end), recalled and off (how many, and how many too many), and content (the
        share of recalled entries, of those that exist, that are right in their place).
        """
        for question, reply, whole in zip(questions, replies, ended, strict=True):
            if question.id.startswith("how many"):
                yield self._number(question, reply)
            else:
                yield self._diary(question, reply, whole)

    def count(self, question: Question) -> int | None:
        """How many entries the true diary has; None where it is not asked for."""
        return None if question.id.startswith("how many") else len(_entries(_units(self._text, question.target)))

    def cuts(self, question: Question) -> list[int]:
        """Where in the true diary, in characters, each entry ends."""
        return self._text.cuts(*self._told(question))

    def further(self, question: Question) -> str:
        """The true diary and the title of an entry that does not exist."""
        name, entries = self._told(question)
        return self._text.further(question.target, self._text.title(name, entries[-1].number + 1))

    def retold(self, question: Question, other: Question) -> str:
        """The diary with the facts of another one's entries, begun again where that has fewer."""
        (name, entries), (_, others) = self._told(question), self._told(other)
        told = [Entry(entry.number, new.facts) for entry, new in zip(entries, cycle(others), strict=False)]
        return self._text.diary(name, told)

    def openings(self, question: Question) -> dict[str, str]:
        """The question, and a title up to the number."""
        name, _ = self._told(question)
        title = self._text.title(name, 1)
        return {"question": question.prompt, "title": title[: self._text.number_in(title)].rstrip() or title}

    def _told(self, question: Question) -> tuple[str, list[Entry]]:
        """Whose diary it is, and the true entries.

        Raises:
            SpecError: There are none.
        """
        name, entries = "", []
        for title, *facts in _entries(_units(self._text, question.target)):
            assert isinstance(title, Title)
            name = title.name
            entries.append(Entry(title.number, tuple(fact for fact in facts if isinstance(fact, Fact))))
        if not entries:
            raise SpecError(f"{question.id} asks for a diary without entries, of which nothing can be told.")
        return name, entries

    def _number(self, question: Question, reply: str) -> Mapping[str, Metric]:
        said = reply.strip()
        outcome: Outcome = "right" if said == question.target else "wrong" if said.isdigit() else "unreadable"
        found: dict[str, Metric] = {"exact": (float(outcome == "right"), outcome)}
        if said.isdigit():
            found |= {"recalled": (float(said), None), "off": (float(said) - float(question.target), None)}
        return found

    def _diary(self, question: Question, reply: str, ended: bool) -> Mapping[str, Metric]:
        true, said = (_units(self._text, text) for text in (question.target, reply))
        fault = _fault(true, said, ended)
        titled = any(isinstance(unit, Title) for unit in said)
        readable = titled or reply.strip() == self._text.nothing
        outcome: Outcome = "right" if fault is None else "wrong" if readable else "unreadable"
        found: dict[str, Metric] = {"exact": (float(fault is None), outcome)}
        found |= {f"fault/{name}": (float(name == fault), None) for name in FAULTS}
        found["readable"] = float(readable), None
        if readable:
            entries, told = _entries(true), _entries(said)
            number = sum(isinstance(unit, Title) for unit in said)
            same: Outcome = "right" if ended and number == len(entries) else "wrong"
            found |= {"count": (float(same == "right"), same), "recalled": (float(number), None),
                      "off": (float(number - len(entries)), None)}  # fmt: skip
            if held := list(zip(entries, told, strict=False)):
                found["content"] = (sum(a == b for a, b in held) / len(held), None)
        return found


def _units(text: Written, reply: str) -> list[Unit]:
    return [] if reply.strip() == text.nothing else text.units(reply)


def _entries(units: Sequence[Unit]) -> list[list[Unit]]:
    """Units by entry: each title with what follows it."""
    found: list[list[Unit]] = []
    for unit in units:
        if isinstance(unit, Title) or not found:
            found.append([])
        found[-1].append(unit)
    return found


def _fault(true: Sequence[Unit], said: Sequence[Unit], ended: bool) -> Fault | None:
    """The class of the first wrong unit; None where all is right."""
    for expected, found in zip_longest(true, said):
        if expected == found:
            continue
        if isinstance(found, Other):
            return "malformed" if ended or found is not said[-1] else "truncated"
        if found is None:
            if not ended:
                return "truncated"
            return "early stop" if isinstance(expected, Title) else "attribute"
        if expected is None:
            return "run-on" if isinstance(found, Title) else "attribute"
        if isinstance(expected, Title) and isinstance(found, Title):
            return "header"
        if isinstance(expected, Fact) and isinstance(found, Fact) and expected.attribute == found.attribute:
            return "value"
        return "attribute"  # one too many, one too few, or another
    return None if ended else "truncated"
