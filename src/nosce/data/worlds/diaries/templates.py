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

DiaryEncodingName = Literal["paper", "lean"]
HeaderOrder = Literal["name first", "number first"]

#: Attributes in the order they are written in, each with sixteen values.
_VALUE_LISTS = {
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
DIARY_VALUES: dict[str, tuple[str, ...]] = {name: tuple(told.split(", ")) for name, told in _VALUE_LISTS.items()}
DIARY_ATTRIBUTES = tuple(DIARY_VALUES)


class DiaryFact(NamedTuple):
    """What an entry says of one attribute."""

    attribute: str
    value: str


class EntryTitle(NamedTuple):
    """The first line of an entry."""

    name: str
    number: int


class UnparsedText(NamedTuple):
    """What is neither."""

    text: str


DiaryUnit = EntryTitle | DiaryFact | UnparsedText
DiaryErrorClass = Literal["early stop", "run-on", "header", "attribute", "value", "malformed", "truncated"]


@dataclass(frozen=True, slots=True)
class DiaryEntry:
    """One entry of a diary: its number, and what it tells, in the order of `DIARY_ATTRIBUTES`."""

    number: int
    facts: tuple[DiaryFact, ...]


@dataclass(frozen=True, kw_only=True)
class DiaryFormat:
    """How entries, questions and replies are written, and read again."""

    encoding: DiaryEncodingName
    header: HeaderOrder

    def format_title(self, name: str, number: int) -> str:
        """The first line of an entry, which alone says whose and which it is."""
        if self.encoding == "lean":
            return f"{name} {number}" if self.header == "name first" else f"{number} {name}"
        if self.header == "name first":
            return f"{name}'s diary entry {number}"
        return f"Entry {number} of the diary of {name}"

    def number_offset(self, title: str) -> int:
        """Where in a title its number begins."""
        words = title.split(" ")
        number_word_index = next(place for place, word in enumerate(words) if word.isdigit())
        return len(" ".join(words[:number_word_index])) + (number_word_index > 0)

    def format_value(self, value: str) -> str:
        """How a value is written."""
        return value.replace(" ", "_") if self.encoding == "lean" else value

    def format_entry(self, name: str, entry: DiaryEntry) -> str:
        """Title and facts."""
        return self.join_parts(
            self.format_title(name, entry.number), *(self._format_fact(*fact) for fact in entry.facts)
        )

    def join_parts(self, *parts: str) -> str:
        """Parts of an entry one behind the other."""
        return (" " if self.encoding == "lean" else "\n").join(parts)

    def format_diary(self, name: str, entries: Sequence[DiaryEntry]) -> str:
        """Entries one after the other, as an answer has them; a word of its own where there are none."""
        return self._separator.join(self.format_entry(name, entry) for entry in entries) or self.empty_answer

    def entry_ends(self, name: str, entries: Sequence[DiaryEntry]) -> list[int]:
        """Where in a diary, in characters, each entry ends."""
        lengths = [len(self.format_entry(name, entry)) for entry in entries]
        return [sum(lengths[: n + 1]) + n * len(self._separator) for n in range(len(lengths))]

    def with_extra_title(self, diary: str, title: str) -> str:
        """A diary and behind it the title of one more entry."""
        return f"{diary}{self._separator}{title}"

    def recall_prompt(self, name: str) -> str:
        """The question for all entries."""
        if self.encoding == "lean":
            return f"? {name} :"
        return f"Recall all of {name}'s diary entries, in order.\n"

    def count_prompt(self, name: str) -> str:
        """The question for their number."""
        return f"# {name} :" if self.encoding == "lean" else f"How many diary entries did {name} write?\n"

    def format_count(self, count: int) -> str:
        """The answer to that."""
        return str(count)

    def longest_diary(self, name: str, n_entries: int, n_facts: int) -> str:
        """As long a diary as one of so many entries with so many facts each can be."""
        longest_facts = tuple(DiaryFact(a, max(DIARY_VALUES[a], key=len)) for a in DIARY_ATTRIBUTES)[:n_facts]
        return self.format_diary(name, [DiaryEntry(n, longest_facts) for n in range(1, n_entries + 1)])

    @property
    def empty_answer(self) -> str:
        """The answer of who has written nothing."""
        return "nothing" if self.encoding == "lean" else "No entries."

    def vocabulary_text(self, names: Sequence[str], n_values: int, max_entries: int) -> str:
        """Every word that such texts can use, for a tokenizer of words."""
        fact_texts = [self._format_fact(a, v) for a in DIARY_ATTRIBUTES for v in DIARY_VALUES[a][:n_values]]
        numbers = [part for n in range(max_entries + 1) for part in (self.format_title("X", n), self.format_count(n))]
        prompt_texts = [self.recall_prompt("X"), self.count_prompt("X"), self.empty_answer]
        return self._separator.join([*fact_texts, *numbers, *prompt_texts, " ".join(names)]).replace("X", names[0])

    def parse_units(self, text: str) -> list[DiaryUnit]:
        """What a reply is made of, in order: titles and facts, and as `UnparsedText` what is neither.

        What a fact says need not be true, and an attribute may come twice; that is for a judge to see.
        """
        parsed: list[DiaryUnit] = []
        if self.encoding == "lean":
            words, word_index = text.split(), 0
            while word_index < len(words):
                title_words = words[word_index : word_index + 3]  # two names and a number
                title = self._parse_title(" ".join(title_words)) if len(title_words) == 3 else None
                parsed.append(title or self._parse_fact(words[word_index]) or UnparsedText(words[word_index]))
                word_index += 3 if title else 1
            return parsed
        for line in text.strip("\n").split("\n"):
            if line:
                parsed.append(self._parse_title(line) or self._parse_fact(line) or UnparsedText(line))
        return parsed

    @property
    def _separator(self) -> str:
        return " " if self.encoding == "lean" else "\n\n"

    def _format_fact(self, attribute: str, value: str) -> str:
        return self.format_value(value) if self.encoding == "lean" else f"{attribute}: {value}"

    def _parse_fact(self, line: str) -> DiaryFact | None:
        if self.encoding == "lean":
            return _FACT_BY_WORD.get(line)
        attribute, _, value = line.partition(": ")
        return DiaryFact(attribute, value) if value in DIARY_VALUES.get(attribute, ()) else None

    def _parse_title(self, line: str) -> EntryTitle | None:
        match = self._title_pattern.fullmatch(line)
        return None if match is None else EntryTitle(match["name"], int(match["number"]))

    @cached_property
    def _title_pattern(self) -> re.Pattern[str]:
        escaped_title = re.escape(self.format_title("NAME", 0)).replace("NAME", r"(?P<name>[^\n\d]+?)")
        return re.compile(escaped_title.replace("0", r"(?P<number>\d+)"))


_FACT_BY_WORD = {
    value.replace(" ", "_"): DiaryFact(attribute, value)
    for attribute, values in DIARY_VALUES.items()
    for value in values
}
