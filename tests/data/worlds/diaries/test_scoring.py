"""Each way to recite a diary wrongly has its class, and only the whole truth is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nosce.data import tokenizer as tokenizers
from nosce.data.worlds.diaries import Diaries, diarist
from nosce.data.worlds.diaries.scoring import DIARY_ERROR_CLASSES, DiaryScorer
from nosce.data.worlds.diaries.templates import DiaryEntry, DiaryFact
from nosce.errors import SpecError
from nosce.records import Question
from nosce.seeds import Seed

WORLDS = [
    Diaries(encoding=encoding, header=header)
    for encoding in ("paper", "one line", "lean")
    for header in ("name first", "number first")
]
NAME = "Mira Holt"
ENTRIES = (
    DiaryEntry(1, (DiaryFact("Weather", "foggy"), DiaryFact("Activity", "chess"))),
    DiaryEntry(2, (DiaryFact("Location", "harbour"), DiaryFact("Time", "tea time"), DiaryFact("Mood", "proud"))),
    DiaryEntry(3, (DiaryFact("Meal", "soup"),)),
)


def with_fact(number, *facts):
    """The diary with the facts of one entry changed."""
    return tuple(replace(e, facts=facts) if e.number == number else e for e in ENTRIES)


REPLIES = {
    "perfect": (ENTRIES, None),
    "one too many": ((*ENTRIES, DiaryEntry(4, (DiaryFact("Meal", "rice"),))), "run-on"),
    "one missing": (ENTRIES[:2], "early stop"),
    "nothing but the first": (ENTRIES[:1], "early stop"),
    "swapped": ((ENTRIES[1], ENTRIES[0], ENTRIES[2]), "header"),
    "one wrong value": (
        with_fact(2, DiaryFact("Location", "harbour"), DiaryFact("Time", "noon"), ENTRIES[1].facts[2]),
        "value",
    ),
    "an attribute for another": (with_fact(3, DiaryFact("Mood", "shy")), "attribute"),
    "an attribute too few": (with_fact(2, DiaryFact("Location", "harbour"), DiaryFact("Mood", "proud")), "attribute"),
    "the last attribute missing": (with_fact(2, *ENTRIES[1].facts[:2]), "attribute"),
    "an attribute too many": (with_fact(3, DiaryFact("Meal", "soup"), DiaryFact("Music", "jazz")), "attribute"),
}


def judged(world, reply, ended=True, target=ENTRIES):
    """What is said of a reply about Mira Holt, who wrote three entries."""
    question = Question(
        "recall/0",
        "diarist/0",
        "3 entries",
        world.diary_format.recall_prompt(NAME),
        world.diary_format.format_diary(NAME, target),
        "unseen",
    )
    (found,) = DiaryScorer(world=world).score([question], [reply], [ended])
    faults = [name for name in DIARY_ERROR_CLASSES if found[f"fault/{name}"][0]]
    assert len(faults) == 1 - found["exact"][0]
    return found, faults[0] if faults else None


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: f"{w.encoding}, {w.header}")
@pytest.mark.parametrize("name", REPLIES)
def test_a_scripted_reply_gets_its_class(world, name):
    """The class of the first wrong unit; exact only where there is none."""
    entries, fault = REPLIES[name]
    found, first = judged(world, world.diary_format.format_diary(NAME, entries))
    assert first == fault
    assert found["exact"] == ((1.0, "right") if fault is None else (0.0, "wrong"))
    assert found["recalled"][0] == len(entries)
    assert found["off"][0] == len(entries) - 3
    assert found["count"] == (float(len(entries) == 3), "right" if len(entries) == 3 else "wrong")


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: f"{w.encoding}, {w.header}")
def test_content_counts_entries_that_are_right_in_their_place(world):
    """Of those recalled that exist; an invented one is the count's affair."""
    diary_format = world.diary_format
    assert judged(world, diary_format.format_diary(NAME, ENTRIES[:2]))[0]["content"][0] == 1
    assert judged(world, diary_format.format_diary(NAME, REPLIES["one too many"][0]))[0]["content"][0] == 1
    assert judged(world, diary_format.format_diary(NAME, REPLIES["one wrong value"][0]))[0]["content"][
        0
    ] == pytest.approx(2 / 3)
    assert judged(world, diary_format.format_diary(NAME, REPLIES["swapped"][0]))[0]["content"][0] == pytest.approx(
        1 / 3
    )


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: f"{w.encoding}, {w.header}")
def test_somebody_elses_diary_is_no_ones(world):
    """Another name in the title is wrong from the first unit on."""
    found, first = judged(world, world.diary_format.format_diary("Falanor Durnbeck", ENTRIES))
    assert first == "header"
    assert found["content"][0] == 0


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: f"{w.encoding}, {w.header}")
def test_a_reply_that_was_cut_is_wrong_and_counted_apart(world):
    """Even where every word so far is right, and even where all of them are there."""
    whole = world.diary_format.format_diary(NAME, ENTRIES)
    assert judged(world, whole, ended=False)[1] == "truncated"
    assert judged(world, world.diary_format.format_diary(NAME, ENTRIES[:2]), ended=False)[1] == "truncated"
    assert (
        judged(world, world.diary_format.format_diary(NAME, REPLIES["one wrong value"][0]), ended=False)[1] == "value"
    )


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: f"{w.encoding}, {w.header}")
@pytest.mark.parametrize("reply", ["", "I do not know.", "Mood Mood", "<unk> 7"], ids=repr)
def test_what_is_no_diary_is_unreadable_and_has_no_count(world, reply):
    """Unreadable is not wrong by so many entries."""
    found, first = judged(world, reply)
    assert found["exact"] == (0.0, "unreadable")
    assert not {"count", "off", "recalled", "content"} & set(found)
    assert first == ("early stop" if not reply else "malformed")


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: f"{w.encoding}, {w.header}")
def test_titles_are_counted_whatever_else_is_said(world):
    """A stray word spoils the diary and not its count; one that was cut has not said how many it would have told."""
    whole = world.diary_format.format_diary(NAME, ENTRIES)
    found, first = judged(world, world.diary_format.join_parts(whole, "Mood"))
    assert first == "malformed"
    assert found["exact"] == (0.0, "wrong")
    assert (found["count"], found["recalled"][0], found["readable"][0]) == ((1.0, "right"), 3, 1)
    found, _ = judged(world, whole, ended=False)
    assert found["count"] == (0.0, "wrong")
    assert judged(world, "Mood Mood")[0]["readable"][0] == 0


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: f"{w.encoding}, {w.header}")
def test_nothing_is_right_for_who_wrote_nothing_alone(world):
    """And an entry of theirs is one too many."""
    assert judged(world, world.diary_format.empty_answer, target=())[1] is None
    assert judged(world, world.diary_format.format_diary(NAME, ENTRIES[:1]), target=())[1] == "run-on"
    found, first = judged(world, world.diary_format.empty_answer)
    assert first == "early stop"
    assert found["recalled"][0] == 0


@pytest.mark.parametrize(("reply", "outcome"), [("3", "right"), ("4", "wrong"), ("some", "unreadable")])
def test_the_number_asked_for_directly_is_judged_as_a_number(reply, outcome):
    """By how much it is off, where it is one."""
    question = Question("how many/0", "diarist/0", "how many", "", "3", "unseen")
    (found,) = DiaryScorer(world=WORLDS[0]).score([question], [reply], [True])
    assert found["exact"] == (float(outcome == "right"), outcome)
    assert ("off" in found) == (outcome != "unreadable")


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: f"{w.encoding}, {w.header}")
def test_there_is_room_to_run_on(world):
    """The longest diary and an entry more fit into what a reply is given, for every diarist."""
    small = replace(world, n_diarists=60, name_pool_sizes=(30, 30))
    tokenizer = tokenizers.build_tokenizer(small.tokenizer, small.samples(Seed(0)))
    most = DiaryScorer(world=small).max_new_tokens(tokenizer)
    full = tuple(
        DiaryFact(a, "small hours" if a == "Time" else v)
        for a, v in (
            ("Location", "harbour"),
            ("Time", ""),
            ("Weather", "scorching"),
            ("Mood", "lonely"),
            ("Activity", "gardening"),
            ("Company", "grandmother"),
            ("Meal", "dumplings"),
            ("Music", "trumpet"),
        )
    )
    for index in range(60):
        name = diarist(small, index, Seed(0)).name
        reply = small.diary_format.format_diary(name, [DiaryEntry(n, full) for n in range(1, 10)])
        assert len(tokenizer.encode(reply, add_special_tokens=False).ids) < most


def test_blind_guesses_score_as_they_must():
    """Perfect content with a count drawn at random is right one time in eight and off by 2.625, the mean of |i - j|."""
    world = Diaries(n_diarists=1_500)
    rng = np.random.default_rng(0)
    people = [diarist(world, index, Seed(1)) for index in range(1_500)]
    questions = [
        Question(
            f"recall/{p.index}",
            f"diarist/{p.index}",
            "",
            "",
            world.diary_format.format_diary(p.name, p.entries),
            "unseen",
        )
        for p in people
    ]
    extra = DiaryEntry(9, (DiaryFact("Meal", "rice"),))
    guesses = [tuple([*p.entries, *[extra] * 8][: rng.integers(1, 9)]) for p in people]
    replies = [world.diary_format.format_diary(p.name, g) for p, g in zip(people, guesses, strict=True)]
    found = list(DiaryScorer(world=world).score(questions, replies, [True] * len(people)))
    assert np.mean([f["exact"][0] for f in found]) == pytest.approx(1 / 8, abs=0.03)
    assert np.mean([abs(f["off"][0]) for f in found]) == pytest.approx(2.625, abs=0.15)
    assert all(f["content"][0] == 1 for f in found)


def test_a_mask_is_refused():
    """What may follow is what is asked for."""
    with pytest.raises(SpecError, match="constrained=False"):
        DiaryScorer(world=WORLDS[0]).grammar(None, 0)


GAP = (ENTRIES[0], replace(ENTRIES[1], number=3), replace(ENTRIES[2], number=4))  # no entry has the number 2


def test_a_reply_that_says_nothing_is_told_from_one_that_is_wrong():
    """Denied is the empty answer alone, of people with entries and without; other worlds have no such metric."""
    world = Diaries(encoding="lean", n_diarists=10, people_without_entries=2)
    text = world.diary_format
    for target, reply, denied, exact in (
        ((), text.empty_answer, 1, 1),
        ((), text.format_diary(NAME, ENTRIES), 0, 0),
        (ENTRIES, text.empty_answer, 1, 0),
        (ENTRIES, text.format_diary(NAME, ENTRIES), 0, 1),
    ):
        found, _ = judged(world, reply, target=target)
        assert (found["denied"][0], found["exact"][0]) == (denied, exact)
    assert "denied" not in judged(Diaries(encoding="lean"), text.empty_answer)[0]


@pytest.mark.parametrize("encoding", ["paper", "lean"])
def test_a_number_that_the_diary_skips_is_looked_for_in_the_reply(encoding):
    """Planted: a reply that keeps the gap, one that fills it, and one that stops before it."""
    world = Diaries(encoding=encoding, gap_share=0.5)
    text = world.diary_format
    filled = tuple(replace(entry, number=n) for n, entry in enumerate((*GAP, GAP[0]), 1))
    for reply, skipped, exact in ((GAP, 0, 1), (filled, 1, 0), (GAP[:1], 0, 0)):
        found, _ = judged(world, text.format_diary(NAME, reply), target=GAP)
        assert (found["number/skipped"][0], found["exact/gap"][0]) == (skipped, exact)
        assert not {"number/there", "exact/no gap"} & set(found)
    for reply, there in ((ENTRIES, 1), (ENTRIES[:1], 0), (GAP, 0)):
        found, _ = judged(world, text.format_diary(NAME, reply))
        assert found["number/there"][0] == there
        assert not {"number/skipped", "exact/gap"} & set(found)
    one, _ = judged(world, text.format_diary(NAME, ENTRIES[:1]), target=ENTRIES[:1])  # nothing could be skipped
    assert not [metric for metric in one if metric.startswith(("number/", "exact/"))]
    assert not [metric for metric in judged(Diaries(), "")[0] if metric.startswith(("number/", "exact/"))]
