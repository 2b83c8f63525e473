"""Properties of answers against an implementation that looks at one character at a time."""

from __future__ import annotations

import unicodedata

import pytest

from nosce.data.worlds.behaviours.properties import (
    PROPERTIES,
    correct_property,
    main_character_property,
    property_by_name,
    stance_property,
)
from nosce.errors import UsageError
from nosce.seeds import Seed

LETTERS = "abcdeioAEIOUzZ0123456789 .,-+\t\n\u00a0\u2009éÉßİıΣσ字🙂\u0301ⅷ٣"
KNOWN = (
    "",
    " ",
    "a",
    "ab",
    "12",
    " 13 ",
    "-4",
    "2.0",
    "2.5",
    "1e3",
    "inf",
    "nan",
    "1_000",
    "٣",
    "C",
    "d",
    "null",
    "İstanbul",
    "\u0301a",
    "no words",
    "A B C",
)


def strings() -> list[str]:
    """Ten thousand of them, up to twelve characters long, and some that are known to be hard."""
    rng = Seed(31).numpy()
    lengths = rng.integers(0, 13, 10_000)
    return [*KNOWN, *("".join(LETTERS[i] for i in rng.integers(len(LETTERS), size=n)) for n in lengths)]


def words_of(text: str) -> list[str]:
    """Runs of what is no whitespace, collected letter by letter."""
    found, run = [], ""
    for letter in text + " ":
        if letter.isspace():
            if run:
                found.append(run)
            run = ""
        else:
            run += letter
    return found


def slow(name: str, text: str) -> str | None:
    """The definitions of the official code (`evals/response_property.py`), without slices, splits and sets."""
    letters = list(text)
    place = {"first": 0, "second": 1, "third": 2}.get(name.split(" ")[0])
    if name == "first and second character":
        return letters[0] + letters[1] if len(letters) >= 2 else None
    if name.endswith("character"):
        return letters[place] if len(letters) >= place + 1 else None
    if name.endswith("word"):
        words = words_of(text)
        return words[place] if len(words) >= place + 1 else None
    if name.endswith("with vowel"):
        if not letters:
            return None
        one = letters[0] if name.startswith("starts") else letters[len(letters) - 1]
        return "true" if any(one.lower() == vowel for vowel in "aeiou") else "false"
    if name in ("is even", "even or odd"):
        return slow_parity(name, text)
    if name.startswith("among"):
        _, a, _, b = name.split(" ")
        if not letters:
            return None
        return "true" if text.lower() == a or text.lower() == b else "false"
    assert name == "identity"
    while letters and letters[0].isspace():
        letters.pop(0)
    while letters and letters[-1].isspace():
        letters.pop()
    return "".join(letters) or None


def slow_parity(name: str, text: str) -> str | None:
    """By the last digit, for what Python reads as a number."""
    try:
        number = float(text)
    except ValueError:
        return None
    if number != number or abs(number) == float("inf"):
        return None
    if name == "is even":
        whole = number - int(number) == 0
        return "true" if whole and repr(int(abs(number)))[-1] in "02468" else "false"
    try:
        int(text)
    except ValueError:
        return None
    last = unicodedata.digit(words_of(text)[0][-1])
    return "even" if last in (0, 2, 4, 6, 8) else "odd"


@pytest.mark.parametrize("name", list(PROPERTIES))
def test_a_property_is_what_a_slow_reading_of_its_definition_says(name):
    """On ten thousand strings, Unicode and empty ones among them; and a value is a legal reply."""
    defined = 0
    for text in strings():
        found = PROPERTIES[name].compute(text)
        assert found == slow(name, text), repr(text)
        if found is not None:
            defined += 1
            assert PROPERTIES[name].is_legal_form(found), repr(found)
    assert defined > 20


def test_what_needs_the_prompt_is_told_by_it():
    """A stance is the labelled option to the letter; the main character is a name that was offered."""
    assert [stance_property("A", "seeking power").compute(text) for text in ("A", "B", "a", " A", "")] == [
        "true",
        "false",
        "false",
        "false",
        None,
    ]
    hero = main_character_property(["Mira", "Otto"])
    assert hero.compute("One day, Otto's aunt met Mira.") == "Otto"
    assert hero.compute("Ottoman tales of Miranda") is None
    assert hero.compute("") is None


def test_replies_of_the_wrong_form_are_not_legal():
    """A reply may be wrong and legal; a sentence is neither."""
    assert property_by_name("first character").is_legal_form("?")
    assert not property_by_name("first character").is_legal_form("ab")
    assert not property_by_name("first word").is_legal_form("two words")
    assert not property_by_name("is even").is_legal_form("True")
    assert "true or false" in property_by_name("starts with vowel").question_with_form
    with pytest.raises(UsageError, match="no property"):
        property_by_name("length")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("first character", {"": None, " a": " ", "a": "a"}),
        ("second character", {"a": None, "a b": " ", "ab": "b"}),
        ("third character", {"ab": None, "ab ": " ", "abc": "c"}),
        ("first and second character", {"a": None, " a": " a", "abc": "ab"}),
        ("first word", {" ": None, "  one two": "one", "one,two": "one,two"}),
        ("second word", {"one ": None, "one\ntwo": "two"}),
        ("third word", {"one two": None, "a b c d": "c"}),
        ("starts with vowel", {"": None, " a": "false", "Apple": "true", "yes": "false"}),
        ("ends with vowel", {"": None, "a ": "false", "hallO": "true"}),
        ("is even", {"2.0": "true", " 3 ": "false", "2.5": "false", "two": None, "inf": None}),
        ("even or odd", {"2.0": None, " 3 ": "odd", "-4": "even", "": None}),
        ("among a and c", {"A": "true", "c": "true", "B": "false", " A": "false", "ac": "false", "": None}),
        ("among b and d", {"b": "true", "D": "true", "A": "false"}),
        ("among a and d", {"a": "true", "d": "true", "b": "false"}),
        ("among b and c", {"b": "true", "c": "true", "a": "false"}),
        ("identity", {" A\n": "A", "  ": None, "two  words ": "two  words"}),
    ],
)
def test_each_property_of_the_paper_by_value(name, values):
    """Answers that are too short have none; blanks count but for words, numbers and the identity."""
    assert {answer: PROPERTIES[name].compute(answer) for answer in values} == values


def test_the_right_option_is_right_to_the_letter():
    assert [correct_property("C").compute(text) for text in ("C", "c", "D", "")] == ["true", "false", "false", None]
