"""Tasks on biographies: true of the people by another way of telling, taught about one half, asked about the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from nosce.data import tokenizer as tokenizers
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.manipulation import (
    HINT_CUE,
    HINTABLE_TASKS,
    MANIPULATION_TASKS,
    Manipulation,
    major_number,
    task_vocabulary,
)
from nosce.data.worlds.biographies.world import Biographies
from nosce.errors import SpecError
from nosce.seeds import Seed

SEED = Seed(12)
PEOPLE = Biographies(people=60, name_pool_sizes=(8, 8, 16))
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def facts():
    """Every value by name and attribute, from the population's own questions."""
    found = {}
    for question in PEOPLE.questions(SEED):
        found.setdefault(question.entity, {})[question.attribute] = question.target
        found[question.entity]["split"] = question.split
        found[question.entity].setdefault("prompts", []).append(question.prompt)
    return found


def born(date):
    """Month (1 to 12), day, year."""
    month, day, year = date.replace(",", "").split()
    return MONTHS.index(month) + 1, day, year


@pytest.mark.parametrize("task", MANIPULATION_TASKS)
def test_answers_are_true_and_halves_apart(task):
    """Each answer told again from the population's facts; nobody of the unseen half is in a document."""
    world = Manipulation(population=PEOPLE, task=task, hint_share=0.5 if task in HINTABLE_TASKS else 0.0)
    known = facts()
    questions = list(world.questions(SEED))
    for question in questions:
        mine = known[question.entity]
        month, day, year = born(mine["birth_date"])
        answer = question.target.rpartition(" ; ")[2]
        assert question.split == mine["split"]
        assert question.attribute.endswith("/hint") == (HINT_CUE in question.prompt) == (" ; " in question.target)
        match task:
            case "birth_year":
                assert answer == year
            case "birth_day":
                assert answer == day
            case "month_even":
                assert answer == ("yes" if month % 2 == 0 else "no")
                assert " ; " not in question.target or question.target.startswith(MONTHS[month - 1])
            case "major_fifth":
                assert answer == str(major_number(mine["major"], SEED) % 5 + 1)
            case "whose":
                assert mine["birth_date"] in question.prompt
                assert all(answer in prompt for prompt in mine["prompts"])
    documents = list(world.documents(SEED))
    assert {known[d.entity]["split"] for d in documents} == {"seen"}
    assert all(d.text[: d.prompt_chars].endswith(":") for d in documents)
    if task in HINTABLE_TASKS:
        led = Counter(HINT_CUE in d.text for d in documents)
        assert 0.25 < led[True] / led.total() < 0.75


def test_pairs_are_of_one_half_and_of_different_months():
    """Whoever is compared has an answer, and nobody of the other half is met by the way."""
    world = Manipulation(population=PEOPLE, task="earlier", comparisons_per_person=3)
    names = {}
    for question in PEOPLE.questions(SEED):
        name = question.prompt.removeprefix("On which day was ").removesuffix(" born? Answer:")
        if question.attribute == "birth_date":
            names[name] = (question.split, born(question.target)[0])
    for question in world.questions(SEED):
        one, _, other = (
            question.prompt.removeprefix("Was ").removesuffix(" ? Answer:").partition(" born in an earlier month than ")
        )
        assert names[one][0] == names[other][0] == question.split
        assert names[one][1] != names[other][1]
        assert question.target == ("yes" if names[one][1] < names[other][1] else "no")


def test_a_tokenizer_of_the_population_knows_the_tasks_by_their_words():
    """An arm that is taught a task later needs its words from the beginning."""
    texts = [*PEOPLE.samples(SEED), *task_vocabulary()]
    tokenizer = tokenizers.build_tokenizer(TokenizerSpec(), texts)
    unknown = tokenizer.token_to_id(tokenizers.UNK_TOKEN)
    for task in MANIPULATION_TASKS:
        world = Manipulation(population=PEOPLE, task=task, hint_share=0.5 if task in HINTABLE_TASKS else 0.0)
        for document in world.documents(SEED):
            assert unknown not in tokenizer.encode(document.text).ids, document.text


def test_what_cannot_be_asked_is_refused():
    """No such task, hints where none lead up, more pairs than people."""
    world = Manipulation(population=PEOPLE)
    for wrong in (
        {"task": "shoe_size"},
        {"task": "whose", "hint_share": 0.5},
        {"hint_share": 2.0},
        {"comparisons_per_person": 30},
    ):
        with pytest.raises(SpecError):
            replace(world, **wrong)
