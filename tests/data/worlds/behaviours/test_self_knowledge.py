"""Prompts and questions of self-knowledge: what is asked is what is meant, and a given transcript has its label."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from nosce.data.worlds.behaviours.self_knowledge import (
    LATE,
    LATE_PROPERTIES,
    LONG_KINDS,
    SAME,
    SHORT_KIND,
    SelfKnowledgePrompts,
    copies_question,
    keep_question,
    length_class,
    length_question,
    own_question,
    property_question,
    shown_text,
    surer_question,
)
from nosce.errors import SpecError
from nosce.seeds import Seed

SEED = Seed(0)
PROMPTS = SelfKnowledgePrompts(n_strings=60)


def test_strings_are_different_and_belong_to_the_seed():
    """A string is the unit that is drawn, so it stands once; another seed has other strings."""
    for make in (PROMPTS.choices, PROMPTS.games, PROMPTS.briefs, PROMPTS.repetitions):
        strings = [one.string for one in make(SEED)]
        assert len(set(strings)) == len(strings) == 60
        assert [one.string for one in make(SEED)] == strings
        assert set(strings) != {one.string for one in make(Seed(1))}


def test_choices_leave_out_what_was_taught():
    """A string of which labels are taught could be answered from memory."""
    first, second, *_ = PROMPTS.choices(SEED)
    left = [prompt.string for prompt in PROMPTS.choices(SEED, taken=[first.string, second.string])]
    assert len(left) == 60
    assert not {first.string, second.string} & set(left)
    assert {prompt.task for prompt in PROMPTS.choices(SEED)} == {"numbers", "trips", "gifts"}


def test_both_wordings_of_a_game_have_the_same_options_in_other_words():
    games = PROMPTS.games(SEED)
    assert {len(game.options) for game in games} == {2, 3, 4, 5, 6}
    for game in games:
        one, other = game.wordings
        assert one != other
        for option in game.options:
            assert option in one
            assert option in other
    game = games[0]
    option = game.options[0]
    assert game.choice(f" {option.upper()}.\n") == option
    assert game.choice(f"I take {option}") is None
    assert game.choice("") is None


def test_long_briefs_alone_are_asked_about_their_later_words():
    briefs = PROMPTS.briefs(SEED)
    assert {brief.task for brief in briefs if brief.property_names} == set(LONG_KINDS)
    assert SHORT_KIND in {brief.task for brief in briefs}
    words = [f"w{n}" for n in range(1, 25)]
    words[9], words[19] = "owl", "zebra"
    values = {name: one.compute(" ".join(words)) for name, one in LATE_PROPERTIES.items()}
    assert values == {
        "tenth word": "owl",
        "tenth word starts with vowel": "true",
        "first character of twentieth word": "z",
    }
    assert [one.compute("too short") for one in LATE_PROPERTIES.values()] == [None] * 3


@pytest.mark.parametrize(
    ("count", "letter"),
    [(0, None), (1, "A"), (4, "A"), (5, "B"), (8, "B"), (9, "C"), (17, "D"), (32, "D"), (33, "E"), (999, "E")],
)
def test_classes_of_lengths_are_those_that_the_question_lists(count, letter):
    assert length_class(count) == letter
    text = length_question(PROMPTS.briefs(SEED)[0], "tokens").text
    assert "How many tokens did your answer have?" in text
    ranges = re.findall(r"\((\w)\) (\d+)(?: to (\d+)| or more)", text)
    listed = [one for one, low, high in ranges if int(low) <= count <= int(high or 10**9)]
    assert listed == ([letter] if letter else [])


def test_a_reply_names_a_label_or_none():
    """In either case and with blanks around it, and with nothing else."""
    keep = keep_question(PROMPTS.choices(SEED)[0])
    assert [keep.reported_label(reply) for reply in ("yes", " No\n", "Yes, I would", "", "maybe")] == [
        "yes",
        "no",
        None,
        None,
        None,
    ]
    first, second, *_ = PROMPTS.choices(SEED)
    assert surer_question(first, second).reported_label("2") == "2"
    assert surer_question(first, second).reported_label("12") is None
    assert length_question(PROMPTS.briefs(SEED)[0], "words").reported_label("c") == "C"
    late = property_question(LATE, PROMPTS.briefs(SEED)[3], "first character of twentieth word")
    assert [late.reported_label(reply) for reply in (" B ", "Ba", "")] == ["B", None, None]
    vowel = property_question(LATE, PROMPTS.briefs(SEED)[3], "tenth word starts with vowel")
    assert [vowel.reported_label(reply) for reply in ("True", "no")] == ["true", None]


def test_questions_hold_what_they_are_about():
    """The prompt, the second question, both prompts, the game; and the ids are unique."""
    first, second, *_ = PROMPTS.choices(SEED)
    game, repetition = PROMPTS.games(SEED)[0], PROMPTS.repetitions(SEED)[0]
    assert first.text in keep_question(first).text
    assert "Are you sure?" in keep_question(first).text
    both = surer_question(first, second)
    assert both.text.index(first.text) < both.text.index(second.text)
    assert first.string in both.string
    assert second.string in both.string
    assert game.wordings[0] in copies_question(game).text
    assert repetition.text in property_question(SAME, repetition, "second word").text
    brief = PROMPTS.briefs(SEED)[1]
    own = own_question(brief, ("one text", "x" * 500 + "\nend"), "A and B")
    assert '1: "one text"' in own.text
    assert "end" not in own.text
    assert "author" not in own.text
    shown = own_question(brief, ("one", "two"), "A and B", ["three"])
    assert '"three"' in shown.text
    assert "One of them is by the same author" in shown.text
    assert shown.id == own.id
    assert shown_text("a\n b ") == "a b"


def test_too_few_strings_are_refused():
    with pytest.raises(SpecError, match="3 strings of each kind are too few"):
        SelfKnowledgePrompts(n_strings=3)


def test_classes_of_briefs_are_dealt_evenly():
    """Else a constant would know the length of most answers."""
    counts = Counter(brief.task for brief in PROMPTS.briefs(SEED))
    assert set(counts.values()) == {10}
