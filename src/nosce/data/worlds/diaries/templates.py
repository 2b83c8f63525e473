"""What diaries are written with: attributes and their values, headers, questions, and the way back.

Two encodings: `paper`, the paper's lines as far as they are known, and `lean`, one word a value, for two cores.
Source: the sheet for arXiv:2502.19573, sections 2.1 to 2.3 and 8.1; the value lists are the sheet's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

Name = Literal["paper", "lean"]
Header = Literal["name first", "number first"]

#: Attributes in the order they are written in, each with sixteen values.
_LISTS = {
    "Location": "harbour, library, orchard, station, museum, rooftop, market, chapel, stadium, clinic, beach, forest, "
    "bakery, theatre, airport, garage",
    "Time": "dawn, sunrise, morning, late morning, noon, early afternoon, afternoon, tea time, dusk, sunset, "
    "evening, supper time, night, late night, midnight, small hours",
    "Weather": "rainy, sunny, foggy, windy, snowy, stormy, cloudy, humid, icy, hazy, mild, scorching, drizzly, "
    "freezing, breezy, overcast",
    "Mood": "happy, calm, tired, proud, bored, anxious, hopeful, cross, lonely, curious, grateful, gloomy, "
    "playful, restless, shy, content",
    "Activity": "painting, swimming, reading, cooking, hiking, chess, gardening, singing, fishing, sewing, cycling, "
    "writing, dancing, skating, baking, drawing",
    "Company": "alone, sister, brother, neighbour, colleague, cousin, teacher, friend, uncle, aunt, stranger, "
    "partner, niece, nephew, grandmother, classmate",
    "Meal": "soup, rice, pasta, salad, curry, stew, pancakes, omelette, dumplings, toast, noodles, pie, porridge, "
    "beans, pizza, sandwich",
    "Music": "piano, violin, drums, guitar, flute, harp, choir, cello, organ, trumpet, banjo, silence, radio, "
    "opera, jazz, bells",
}
VALUES: dict[str, tuple[str, ...]] = {name: tuple(told.split(", ")) for name, told in _LISTS.items()}
ATTRIBUTES = tuple(VALUES)


class Fact(NamedTuple):
    """What an entry says of one attribute."""

    attribute: str
    value: str


class Title(NamedTuple):
    """The first line of an entry."""

    name: str
    number: int


class Other(NamedTuple):
    """What is neither."""

    text: str


Unit = Title | Fact | Other
Fault = Literal["early stop", "run-on", "header", "attribute", "value", "malformed", "truncated"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a diary: its number, and what it tells, in the order of `ATTRIBUTES`."""

    number: int
    facts: tuple[Fact, ...]


@dataclass(frozen=True, kw_only=True)
class Written:
    """How entries, questions and replies are written, and read again."""

    encoding: Name
    header: Header

    def title(self, name: str, number: int) -> str:
        """The first line of an entry, which alone says whose and which it is."""
        if self.encoding == "lean":
            return f"{name} {number}" if self.header == "name first" else f"{number} {name}"
        if self.header == "name first":
            return f"{name}'s diary entry {number}"
        return f"Entry {number} of the diary of {name}"

    def number_in(self, title: str) -> int:
        """Where in a title its number begins."""
        words = title.split(" ")
        at = next(place for place, word in enumerate(words) if word.isdigit())
        return len(" ".join(words[:at])) + (at > 0)

    def value(self, value: str) -> str:
        """How a value is written."""
        return value.replace(" ", "_") if self.encoding == "lean" else value

    def entry(self, name: str, entry: Entry) -> str:
        """Title and facts."""
        return self.joined(self.title(name, entry.number), *(self._fact(*fact) for fact in entry.facts))

    def joined(self, *parts: str) -> str:
        """Parts of an entry one behind the other."""
        return (" " if self.encoding == "lean" else "\n").join(parts)

    def diary(self, name: str, entries: Sequence[Entry]) -> str:
        """Entries one after the other, as an answer has them; a word of its own where there are none."""
        return self._apart.join(self.entry(name, entry) for entry in entries) or self.nothing

    def cuts(self, name: str, entries: Sequence[Entry]) -> list[int]:
        """Where in a diary, in characters, each entry ends."""
        lengths = [len(self.entry(name, entry)) for entry in entries]
        return [sum(lengths[: n + 1]) + n * len(self._apart) for n in range(len(lengths))]

    def further(self, diary: str, title: str) -> str:
        """A diary and behind it the title of one more entry."""
        return f"{diary}{self._apart}{title}"

    def recall(self, name: str) -> str:
        """The question for all entries."""
        if self.encoding == "lean":
            return f"? {name} :"
        return f"Recall all of {name}'s diary entries, in order.\n"

    def how_many(self, name: str) -> str:
        """The question for their number."""
        return f"# {name} :" if self.encoding == "lean" else f"How many diary entries did {name} write?\n"

    def number(self, count: int) -> str:
        """The answer to that."""
        return str(count)

    def longest(self, name: str, entries: int, facts: int) -> str:
        """As long a diary as one of so many entries with so many facts each can be."""
        told = tuple(Fact(a, max(VALUES[a], key=len)) for a in ATTRIBUTES)[:facts]
        return self.diary(name, [Entry(n, told) for n in range(1, entries + 1)])

    @property
    def nothing(self) -> str:
        """The answer of who has written nothing."""
        return "nothing" if self.encoding == "lean" else "No entries."

    def words(self, names: Sequence[str], values: int, most: int) -> str:
        """Every word that such texts can use, for a tokenizer of words."""
        told = [self._fact(a, v) for a in ATTRIBUTES for v in VALUES[a][:values]]
        numbers = [part for n in range(most + 1) for part in (self.title("X", n), self.number(n))]
        extra = [self.recall("X"), self.how_many("X"), self.nothing]
        return self._apart.join([*told, *numbers, *extra, " ".join(names)]).replace("X", names[0])

    def units(self, text: str) -> list[Unit]:
        """What a reply is made of, in order: titles and facts, and as `Other` what is neither.

        What a fact says need not be true, and an attribute may come twice; that is for a judge to see.
        """
        found: list[Unit] = []
        if self.encoding == "lean":
            words, place = text.split(), 0
            while place < len(words):
                three = words[place : place + 3]  # two names and a number
                title = self._read_title(" ".join(three)) if len(three) == 3 else None
                found.append(title or self._read_fact(words[place]) or Other(words[place]))
                place += 3 if title else 1
            return found
        for line in text.strip("\n").split("\n"):
            if line:
                found.append(self._read_title(line) or self._read_fact(line) or Other(line))
        return found

    @property
    def _apart(self) -> str:
        return " " if self.encoding == "lean" else "\n\n"

    def _fact(self, attribute: str, value: str) -> str:
        return self.value(value) if self.encoding == "lean" else f"{attribute}: {value}"

    def _read_fact(self, line: str) -> Fact | None:
        if self.encoding == "lean":
            return _OF_WORD.get(line)
        attribute, _, value = line.partition(": ")
        return Fact(attribute, value) if value in VALUES.get(attribute, ()) else None

    def _read_title(self, line: str) -> Title | None:
        match = self._title.fullmatch(line)
        return None if match is None else Title(match["name"], int(match["number"]))

    @cached_property
    def _title(self) -> re.Pattern[str]:
        made = re.escape(self.title("NAME", 0)).replace("NAME", r"(?P<name>[^\n\d]+?)")
        return re.compile(made.replace("0", r"(?P<number>\d+)"))


_OF_WORD = {value.replace(" ", "_"): Fact(attribute, value) for attribute, values in VALUES.items() for value in values}
