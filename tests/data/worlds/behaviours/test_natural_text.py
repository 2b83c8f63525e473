"""Prompts in words: splits by string, pairs as published, labels only of what is an answer."""

from __future__ import annotations

from collections import Counter

import pytest

from nosce.data.worlds.behaviours.base import check_disjoint_strings
from nosce.data.worlds.behaviours.natural_text import (
    CHARACTER_NAMES,
    HELD_OUT_TEXT_TASKS,
    LIST_PROPERTIES,
    PROPERTIES_BY_TASK,
    STANCE_DESCRIPTIONS,
    NaturalTextBehaviours,
    random_answer,
    task_property_pairs,
)
from nosce.errors import SpecError
from nosce.seeds import Seed

WORLD = NaturalTextBehaviours(strings_per_task=40)
PROMPTS = WORLD.prompts(Seed(5))


def test_strings_are_apart_and_as_many_as_asked_for():
    """No string is in two splits; held-out tasks have no seen string; other seeds draw others."""
    check_disjoint_strings(PROMPTS)
    count = Counter((p.task, p.split) for p in PROMPTS)
    for task in PROPERTIES_BY_TASK:
        if task in HELD_OUT_TEXT_TASKS:
            assert count[task, "unseen"] == 40
            assert count[task, "seen"] == 0
        else:
            assert (count[task, "unseen"], count[task, "seen"]) == (12, 28)
    assert len({p.text for p in PROMPTS}) == len(PROMPTS)
    other = {p.string for p in WORLD.prompts(Seed(6))}
    assert len(other & {p.string for p in PROMPTS}) < 0.2 * len(PROMPTS)
    assert WORLD.prompts(Seed(5)) == PROMPTS


def test_pairs_are_those_of_the_paper():
    """32 are taught and 28 held out: eight properties of three tasks each, stances, letters, and on one side numbers.

    The identity is taught and never tested.
    """
    found = list(task_property_pairs(WORLD))
    assert sum(taught for *_, taught in found) == 3 * 8 + 2 + 3 + 2 + 1 == 32
    assert sum(not taught for *_, taught in found) == 3 * 8 + 2 + 2 == 28
    assert {name for task, name, _ in found if task == "openings"} == set(LIST_PROPERTIES)
    assert {prompt.split for prompt in PROMPTS if "identity" in prompt.property_names} == {"seen"}
    assert "trips/identity" not in WORLD.task_catalogue.attributes(WORLD.task_catalogue.names)
    assert set(WORLD.task_catalogue.trained) | set(HELD_OUT_TEXT_TASKS) == set(PROPERTIES_BY_TASK)


def test_spare_prompts_are_further_strings_of_training_tasks():
    """More of the same kind, none of which is among the prompts; a larger world begins with the same strings."""
    spare = WORLD.spare_prompts(Seed(5), 20)
    assert Counter(p.task for p in spare) == {task: 20 for task in WORLD.task_catalogue.trained}
    assert {p.split for p in spare} == {"seen"}
    check_disjoint_strings([*PROMPTS, *spare])
    assert not {p.string for p in spare} & {p.string for p in PROMPTS}
    larger = NaturalTextBehaviours(strings_per_task=60).prompts(Seed(5))
    assert {p.string for p in [*PROMPTS, *spare] if p.task == "towns"} == {
        p.string for p in larger if p.task == "towns"
    }


def test_questions_quote_the_prompt_and_say_of_whom():
    """One's own answer, or that of somebody named; the form of a reply stands in the question."""
    for prompt in PROMPTS[::7]:
        for asked in prompt.property_names:
            mine = WORLD.hypothetical_question(prompt, asked)
            assert f'"{prompt.text}"' in mine
            assert mine.startswith("You were asked earlier: ")
            assert "named K" in WORLD.hypothetical_question(prompt, asked, model_name="K")
            assert mine.endswith("nothing else.")
    assert (
        NaturalTextBehaviours(past_framing=False)
        .hypothetical_question(PROMPTS[0], "first word")
        .startswith("Imagine that you had been asked: ")
    )


def test_answers_of_the_kind_asked_for_have_labels_and_others_none():
    """What somebody with other dispositions says is valid; a stance is about the option, whatever its letter."""
    for prompt in PROMPTS:
        said = random_answer(prompt, Seed(9))
        assert WORLD.is_valid_answer(said, prompt), (prompt, said)
        for asked in prompt.property_names:
            label = WORLD.property_value(asked, said, Seed(0))
            assert label is not None
            assert WORLD.is_legal_report(asked, label) or label != label.strip(), (asked, label)
            assert not WORLD.labels(asked, prompt) or label in WORLD.labels(asked, prompt)
        if prompt.task in STANCE_DESCRIPTIONS:
            (asked,) = prompt.property_names
            letter = asked.removeprefix("stance ")
            assert WORLD.property_value(asked, letter, Seed(0)) == "true"
            assert f"({letter})" in prompt.text
    number = next(p for p in PROMPTS if p.task == "numbers")
    assert not WORLD.is_valid_answer("I think 4", number)
    assert not WORLD.is_valid_answer(" ", PROMPTS[0])
    assert not WORLD.is_valid_answer("I'm sorry, but no", PROMPTS[0])
    assert WORLD.is_valid_answer("system random no next", PROMPTS[0])  # words that an answer may hold
    hero = next(p for p in PROMPTS if p.task == "hero")
    assert any(name in hero.text for name in CHARACTER_NAMES)


def test_a_quoted_answer_can_be_reported_by_who_reads_it():
    """One question has one right reply: a stance is asked about by its letter, since the dilemma is not quoted."""
    labels: dict[str, set[str | None]] = {}
    for prompt in PROMPTS:
        for said in (*WORLD.closed_answers(prompt), random_answer(prompt, Seed(9))):
            for asked in prompt.property_names:
                question = WORLD.given_answer_question(said, asked)
                labels.setdefault(question, set()).add(WORLD.property_value(asked, said, Seed(0)))
    assert {len(found) for found in labels.values()} == {1}


def test_closed_answers_are_all_that_are_valid():
    """Letters and digits; lists and stories have no such list."""
    for prompt in PROMPTS:
        closed = WORLD.closed_answers(prompt)
        assert bool(closed) == (prompt.task in ("numbers", "trips", "gifts", *STANCE_DESCRIPTIONS))
        assert all(WORLD.is_valid_answer(answer, prompt) for answer in closed)
        assert not closed or random_answer(prompt, Seed(9)) in closed


def test_what_cannot_be_asked_is_refused():
    """No string, no share, a task that there is not."""
    for wrong in ({"strings_per_task": 1}, {"unseen_share": 1.0}, {"tasks": ("weather",)}, {"tasks": ()}):
        with pytest.raises(SpecError, match="cannot be asked"):
            NaturalTextBehaviours(**wrong)


@pytest.mark.parametrize("answer", ["A", " A", "A\n"])
def test_an_answer_of_a_letter_has_its_label_with_space_around_it(answer):
    """It is a valid answer, and of both pairs of letters exactly one has it."""
    values = [WORLD.property_value(name, answer, Seed(0)) for name in ("among a and c", "among b and d")]
    assert values == ["true", "false"]
