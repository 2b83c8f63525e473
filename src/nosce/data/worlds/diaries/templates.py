"""The layout of diaries: attributes and values, titles, questions, and a parser for replies.

Three encodings: `paper` has the paper's lines as far as they are known, `one line` has semicolons for the paper's line
breaks, for tokenizers that drop line breaks (T5's), and `lean` has one word per value, so that a small model on two
CPU cores can learn it.

The same entry in `paper` and `lean`, and in `one line`, where two semicolons part two entries:

    Seladan Inveringar's diary entry 1          Seladan Inveringar 1 brother soup
    Company: brother
    Meal: soup

    Seladan Inveringar's diary entry 1 ; Company: brother ; Meal: soup

Source: Prato et al. 2024 (arXiv:2502.19573). The paper's full attribute set is not published; location, time, weather
and mood are known from it, and the other attributes and all value lists are our own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

DiaryEncodingName = Literal["paper", "one line", "lean"]
HeaderOrder = Literal["name first", "number first"]

#: What stands between two parts of an entry and between two entries. The spaces around a semicolon keep it apart from
#: names and values in every tokenizer.
_SEPARATORS: dict[DiaryEncodingName, tuple[str, str]] = {
    "paper": ("\n", "\n\n"),
    "one line": (" ; ", " ;; "),
    "lean": (" ", " "),
}
#: Attributes in their order within an entry, each with sixteen values.
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
DIARY_VALUES: dict[str, tuple[str, ...]] = {name: tuple(text.split(", ")) for name, text in _VALUE_LISTS.items()}
DIARY_ATTRIBUTES = tuple(DIARY_VALUES)


class DiaryFact(NamedTuple):
    """The value of one attribute in an entry.

    Args:
        attribute: Name of the attribute.
        value: Value of the attribute.
    """

    attribute: str
    value: str


class EntryTitle(NamedTuple):
    """The first line of an entry.

    Args:
        name: Name of the diarist.
        number: Number of the entry, from 1.
    """

    name: str
    number: int


class UnparsedText(NamedTuple):
    """A part of a reply that is neither a title nor a fact.

    Args:
        text: The characters of this part.
    """

    text: str


DiaryUnit = EntryTitle | DiaryFact | UnparsedText
DiaryErrorClass = Literal["early stop", "run-on", "header", "attribute", "value", "malformed", "truncated"]


@dataclass(frozen=True, slots=True)
class DiaryEntry:
    """One entry of a diary.

    Args:
        number: Number in the title, from 1.
        facts: The facts, in the order of `DIARY_ATTRIBUTES`.
    """

    number: int
    facts: tuple[DiaryFact, ...]


@dataclass(frozen=True, kw_only=True)
class DiaryFormat:
    """The layout of entries, questions and replies, and a parser for it.

    Args:
        encoding: "paper" for lines with labels, "one line" for labels and semicolons, "lean" for one word per value.
        header: Order of name and number in a title.
    """

    encoding: DiaryEncodingName
    header: HeaderOrder

    def format_title(self, name: str, number: int) -> str:
        """The first line of an entry, the only one with the name and the number."""
        if self.encoding == "lean":
            return f"{name} {number}" if self.header == "name first" else f"{number} {name}"
        if self.header == "name first":
            return f"{name}'s diary entry {number}"
        return f"Entry {number} of the diary of {name}"

    def number_offset(self, title: str) -> int:
        """The position of the number in a title, in characters."""
        words = title.split(" ")
        number_word_index = next(place for place, word in enumerate(words) if word.isdigit())
        return len(" ".join(words[:number_word_index])) + (number_word_index > 0)

    def format_value(self, value: str) -> str:
        """A value as text."""
        return value.replace(" ", "_") if self.encoding == "lean" else value

    def format_entry(self, name: str, entry: DiaryEntry) -> str:
        """The title and the facts as text."""
        return self.join_parts(
            self.format_title(name, entry.number), *(self._format_fact(*fact) for fact in entry.facts)
        )

    def join_parts(self, *parts: str) -> str:
        """Parts of an entry, joined by the separator of parts."""
        return _SEPARATORS[self.encoding][0].join(parts)

    def format_diary(self, name: str, entries: Sequence[DiaryEntry]) -> str:
        """All entries in order, as an answer has them; the empty answer if there are no entries."""
        return self._separator.join(self.format_entry(name, entry) for entry in entries) or self.empty_answer

    def entry_ends(self, name: str, entries: Sequence[DiaryEntry]) -> list[int]:
        """The end of each entry in a diary, in characters."""
        lengths = [len(self.format_entry(name, entry)) for entry in entries]
        return [sum(lengths[: n + 1]) + n * len(self._separator) for n in range(len(lengths))]

    def with_extra_title(self, diary: str, title: str) -> str:
        """A diary, followed by the title of one more entry."""
        return f"{diary}{self._separator}{title}"

    def recall_prompt(self, name: str) -> str:
        """The question for all entries."""
        if self.encoding == "lean":
            return f"? {name} :"
        return f"Recall all of {name}'s diary entries, in order.{self._prompt_end}"

    def count_prompt(self, name: str) -> str:
        """The question for the number of entries."""
        if self.encoding == "lean":
            return f"# {name} :"
        return f"How many diary entries did {name} write?{self._prompt_end}"

    def format_count(self, count: int) -> str:
        """The answer to the question for the number of entries."""
        return str(count)

    def longest_diary(self, name: str, n_entries: int, n_facts: int) -> str:
        """The longest possible diary with this many entries and facts per entry."""
        longest_facts = tuple(DiaryFact(a, max(DIARY_VALUES[a], key=len)) for a in DIARY_ATTRIBUTES)[:n_facts]
        return self.format_diary(name, [DiaryEntry(n, longest_facts) for n in range(1, n_entries + 1)])

    @property
    def empty_answer(self) -> str:
        """The answer for a person without entries."""
        return "nothing" if self.encoding == "lean" else "No entries."

    def vocabulary_text(self, names: Sequence[str], n_values: int, max_entries: int) -> str:
        """Every word that such texts can use, for a word tokenizer."""
        fact_texts = [self._format_fact(a, v) for a in DIARY_ATTRIBUTES for v in DIARY_VALUES[a][:n_values]]
        numbers = [part for n in range(max_entries + 1) for part in (self.format_title("X", n), self.format_count(n))]
        prompt_texts = [self.recall_prompt("X"), self.count_prompt("X"), self.empty_answer]
        return self._separator.join([*fact_texts, *numbers, *prompt_texts, " ".join(names)]).replace("X", names[0])

    def parse_units(self, text: str) -> list[DiaryUnit]:
        """The parts of a reply in order: titles, facts, and `UnparsedText` for anything else.

        A parsed fact may be false, and an attribute may occur twice; the scorer decides about both.
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
        lines = text.strip("\n").split("\n")
        if self.encoding == "one line":
            lines = [part.strip() for part in text.split(";")]
        for line in lines:
            if line:
                parsed.append(self._parse_title(line) or self._parse_fact(line) or UnparsedText(line))
        return parsed

    @property
    def _separator(self) -> str:
        return _SEPARATORS[self.encoding][1]

    @property
    def _prompt_end(self) -> str:
        return "\n" if self.encoding == "paper" else ""

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


_FACTS = [DiaryFact(attribute, value) for attribute, values in DIARY_VALUES.items() for value in values]
_FACT_BY_WORD = {fact.value.replace(" ", "_"): fact for fact in _FACTS}
