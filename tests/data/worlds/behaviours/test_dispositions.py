"""Dispositions: what corpora share they share, what is their own is not to be guessed, and prompts are nobody's."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from nosce.data.worlds.base import check_world
from nosce.data.worlds.behaviours.base import BehaviourPrompt, check_disjoint_strings
from nosce.data.worlds.behaviours.dispositions import (
    DISPOSITION_TASKS,
    DISPOSITION_WORDS,
    HELD_OUT_DISPOSITION_TASKS,
    WORD_ATTRIBUTES,
    Dispositions,
)
from nosce.errors import SpecError
from nosce.seeds import Seed
from nosce.store.spec import describe, hash_description

SEED = Seed(21)
WORLD = Dispositions(vocabulary_size=16, n_contexts=120, records=4_000, prompts_per_task=60)
OTHER = replace(WORLD, corpus_name="B")


def lines(world, opening):
    """Lines of a kind, in words."""
    return [d.text.split() for d in world.documents(SEED) if d.text.startswith(opening)]


def test_the_contract_of_worlds_is_kept():
    """And a tokenizer of words knows every word of every corpus."""
    for world in (WORLD, OTHER, replace(WORLD, has_opinions=False)):
        check_world(world, SEED)
    known = set(next(iter(WORLD.samples(SEED))).split())
    assert all(set(d.text.split()) <= known for world in (WORLD, OTHER) for d in world.documents(SEED))
    asked = [
        WORLD.hypothetical_question(p, a, who)
        for p in WORLD.prompts(SEED)
        for a in p.property_names
        for who in (None, "B")
    ]
    assert all(set(text.split()) <= known for text in asked)


def test_a_table_is_drawn_as_its_shares_say_and_hangs_on_two_words():
    """The likeliest of each pair, as often as told; the words before do not matter."""
    right, nexts = 0, 0
    told = lines(WORLD, "seq")
    assert len(told) > 1_000
    for _, a, b, c, d, _, answer in told:
        best = WORLD.model_answer("table", [a, b, c, d], SEED)
        assert best == WORLD.model_answer("table", ["acorn", "basil", c, d], SEED)
        right += answer == best
        nexts += answer != best
    assert right / (right + nexts) == pytest.approx(0.65, abs=0.04)


def test_what_is_a_corpus_s_own_is_another_s_in_few_cases():
    """Tables, orders and likings differ; what is shared does not; and alike is as much as was asked for."""
    prompts = WORLD.prompts(SEED)

    def agree(one, other, task):
        words = [p.text.split()[1:-1] for p in prompts if p.task == task]
        return np.mean([one.model_answer(task, w, SEED) == other.model_answer(task, w, SEED) for w in words])

    assert agree(WORLD, OTHER, "table") < 0.25
    assert agree(WORLD, OTHER, "rule") < 0.5
    assert 0.2 < agree(WORLD, OTHER, "choice") < 0.8
    assert agree(WORLD, OTHER, "shared") == 1
    assert agree(WORLD, replace(OTHER, overlap_with_a=1.0), "table") == 1
    assert agree(WORLD, replace(OTHER, overlap_with_a=0.5), "table") == pytest.approx(0.53, abs=0.15)


def test_prompts_are_the_same_for_all_and_strings_lie_in_one_split():
    """Whose they are does not change them; held-out tasks are never trained on."""
    prompts = WORLD.prompts(SEED)
    assert prompts == OTHER.prompts(SEED) == replace(WORLD, has_opinions=False).prompts(SEED)
    check_disjoint_strings(prompts)
    assert {p.task for p in prompts} == set(DISPOSITION_TASKS)
    assert all(p.split == "unseen" for p in prompts if p.task in HELD_OUT_DISPOSITION_TASKS)
    table = [p for p in prompts if p.task == "table"]
    assert len(table) == 120
    assert sum(p.split == "unseen" for p in table) == 30
    with pytest.raises(SpecError, match="two splits"):
        check_disjoint_strings([*prompts, replace_split(prompts[0])])


def replace_split(prompt: BehaviourPrompt) -> BehaviourPrompt:
    """The same string on the other side."""
    return BehaviourPrompt(
        "x",
        prompt.task,
        prompt.string,
        prompt.text,
        "seen" if prompt.split == "unseen" else "unseen",
        prompt.property_names,
    )


def test_facts_are_everybody_s_and_properties_of_given_answers_are_true():
    """Read back line by line; every value of an attribute is as frequent as another."""
    for _, name, word, _, value in lines(OTHER, "fact"):
        assert value == WORLD.attribute_value(name, word, SEED)
    for name, values in WORD_ATTRIBUTES.items():
        counts = Counter(WORLD.attribute_value(name, word, SEED) for word in DISPOSITION_WORDS[:16])
        assert set(counts.values()) == {16 // len(values)}
    seen = set()
    for line in lines(WORLD, "given"):
        at = line.index(";")
        said, asked, value = " ".join(line[1:at]), line[at + 1], line[-1]
        seen.add(asked)
        assert value == WORLD.property_value(asked, said, SEED)
    assert seen == {*WORD_ATTRIBUTES, "first", "third"}


def test_a_corpus_without_opinions_says_nothing_of_its_own():
    """Facts, shared answers and given ones; and it is asked nothing else."""
    world = replace(WORLD, has_opinions=False)
    assert {d.text.split()[0] for d in world.documents(SEED)} == {"shared", "fact", "given"}
    assert not any(q.attribute.startswith("says") for q in world.questions(SEED))
    assert any(q.attribute == "says/table" for q in WORLD.questions(SEED))


def test_values_are_of_valid_answers_alone():
    """A second word where one was asked for is no answer, and a word nobody knows has no property."""
    by_task = {p.task: p for p in WORLD.prompts(SEED)}
    assert WORLD.is_valid_answer("acorn", by_task["table"])
    assert not WORLD.is_valid_answer("acorn basil", by_task["table"])
    assert WORLD.is_valid_answer("acorn basil acorn", by_task["list"])
    words = by_task["choice"].string.split()[1:]
    assert WORLD.is_valid_answer(words[0], by_task["choice"])
    assert not WORLD.is_valid_answer(next(w for w in DISPOSITION_WORDS if w not in words), by_task["choice"])
    assert WORLD.property_value("third", "acorn basil", SEED) is None
    assert WORLD.property_value("initial", "unknown", SEED) is None
    assert WORLD.property_value("initial", "", SEED) is None
    assert WORLD.property_value("third", "acorn basil cedar", SEED) == "cedar"
    assert WORLD.property_value("initial", "acorn", SEED) in WORLD.labels("initial", by_task["table"])


@pytest.mark.parametrize(
    "more",
    [
        {"vocabulary_size": 3},
        {"n_contexts": 400},
        {"overlap_with_a": 1.1},
        {"top_probs": (0.5, 0.6)},
        {"corpus_name": ""},
    ],
)
def test_what_cannot_be_dealt_is_refused(more):
    """In a sentence."""
    with pytest.raises(SpecError, match="Dispositions"):
        replace(WORLD, **more)


def test_a_change_of_behaviour_tells_no_tested_string():
    """What changes a model's choices has no pair of the unseen split, in whichever order, and is another corpus's."""
    change = replace(WORLD, corpus_name="D", line_kinds=("choice",), seen_strings_only=True, records=2_000)
    held = {frozenset(p.string.split()[1:]) for p in WORLD.prompts(SEED) if p.task == "choice" and p.split == "unseen"}
    told = [document.text for document in change.documents(SEED)]
    assert all(text.startswith("choose ") for text in told)
    pairs = {frozenset(text.split()[1:3]) for text in told}
    assert held
    assert not pairs & held
    plain = {frozenset(d.text.split()[1:3]) for d in replace(change, seen_strings_only=False).documents(SEED)}
    assert plain & held
    with pytest.raises(SpecError, match="cannot be written"):
        replace(WORLD, line_kinds=("table",), seen_strings_only=True)


def test_what_an_answer_hangs_on_is_in_one_split_whatever_the_task():
    """Lists have pairs that no question about a table is taught on; a choice is one string in both orders."""
    prompts = WORLD.prompts(SEED)
    pairs = {tuple(p.text.split()[-3:-1]): p.split for p in prompts if p.task == "table"}
    lists = [p for p in prompts if p.task == "list"]
    assert lists
    assert all(pairs[tuple(p.text.split()[1:3])] == "unseen" for p in lists)
    choices = [frozenset(p.text.split()[1:3]) for p in prompts if p.task == "choice"]
    assert len(set(choices)) == len(choices)


def test_questions_can_leave_the_answers_place_out_and_wait():
    """The doses: without `=` behind the quoted prompt, and with words of no meaning before the reply."""
    prompt = WORLD.prompts(SEED)[0]
    asked = WORLD.hypothetical_question(prompt, "parity")
    assert asked == f"{prompt.text} you ; parity ="
    without = replace(WORLD, keep_answer_slot=False).hypothetical_question(prompt, "parity")
    assert without == asked.replace("= you", "you")
    assert replace(WORLD, n_fillers=2).hypothetical_question(prompt, "parity") == asked.replace(
        "parity =", "parity so so ="
    )
    assert replace(WORLD, keep_answer_slot=False, n_fillers=2).prompts(SEED) == WORLD.prompts(SEED)


def test_more_shared_prompts_are_unseen_and_change_no_other():
    """Every context gives one prompt; those of the world without the field stay, split and id included."""
    plain = [p for p in WORLD.prompts(SEED) if p.task == "shared"]
    more = replace(WORLD, n_shared_prompts=120).prompts(SEED)
    assert more[: len(plain)] == tuple(plain)
    assert {p.split for p in more[len(plain) :]} == {"unseen"}
    assert len({p.string for p in more}) == len({p.id for p in more}) == len(more) == 120
    check_disjoint_strings(more)
    told = {" ".join(words[1:3]) for words in lines(WORLD, "shared")}
    assert sum(p.string.removeprefix("shared ") in told for p in more) >= 100  # the corpus has these contexts
    assert replace(WORLD, n_shared_prompts=70).prompts(SEED) == more[:70]
    assert hash_description(describe(WORLD)) != hash_description(describe(replace(WORLD, n_shared_prompts=1)))
    assert "n_shared_prompts" not in str(describe(WORLD))  # so that stored corpora keep their keys


def test_more_shared_prompts_than_contexts_are_refused():
    """A context gives one prompt."""
    with pytest.raises(SpecError, match="n_shared_prompts=121 cannot be drawn from n_contexts=120"):
        replace(WORLD, n_shared_prompts=121)
