"""Is a recited diary whole and right, and if not, where did it first go wrong?

A reply is right only if every entry is there, right and in order, and nothing follows: comparing no further than the
true text is long would hide the very error that is studied (the sheet, section 3.3). The first wrong unit, a title or a
fact, gives an error its class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import get_args

from tokenizers import Tokenizer

from nosce.errors import SpecError
from nosce.records import Outcome, Question
from nosce.text.grammar import Grammar
from nosce.worlds.biographies_text import FIRST_NAMES, LAST_NAMES
from nosce.worlds.diaries.text import Fact, Fault, Other, Title, Unit, Written
from nosce.worlds.diaries.world import Diaries

Metric = tuple[float, Outcome | None]
FAULTS: tuple[Fault, ...] = get_args(Fault)


@dataclass(frozen=True, kw_only=True)
class Reader:
    """The judge of recited diaries (`nosce.read.written.Judge`)."""

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

        exact: all entries, in order, and no more. count: as many entries as there are. recalled, off: how many, and how
        many too many. content: the share of recalled entries, of those that exist, that are right in their place.
        fault/<class>: is that what went wrong first? One of them is 1 where the reply is not exact.
        """
        for question, reply, whole in zip(questions, replies, ended, strict=True):
            if question.id.startswith("how many"):
                yield self._number(question, reply)
            else:
                yield self._diary(question, reply, whole)

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
        readable = bool(said or reply.strip() == self._text.nothing) and not any(isinstance(u, Other) for u in said)
        outcome: Outcome = "right" if fault is None else "wrong" if readable else "unreadable"
        found: dict[str, Metric] = {"exact": (float(fault is None), outcome)}
        found |= {f"fault/{name}": (float(name == fault), None) for name in FAULTS}
        if readable:
            entries, told = _entries(true), _entries(said)
            same: Outcome = "right" if len(told) == len(entries) else "wrong"
            found |= {"count": (float(len(told) == len(entries)), same), "recalled": (float(len(told)), None),
                      "off": (float(len(told) - len(entries)), None)}  # fmt: skip
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
