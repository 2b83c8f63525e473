"""The truth about a model is taken from what it did, and is not known where it did nothing that can be read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fixtures.self_minds import KNOWLEDGE, SEED, WORLD, SelfMind, self_readings

from nosce.errors import SpecError
from nosce.models.api.base import ChatResponse
from nosce.pipeline.context import StepContext
from nosce.studies.introspection.prompted_requests import Questioner, RequestLimits
from nosce.studies.introspection.prompted_self import SelfItems, SelfKnowledge, has_certainty
from nosce.studies.introspection.prompted_self_run import self_knowledge_parts
from nosce.studies.introspection.prompted_self_truths import BehaviourRecorder
from nosce.studies.replies import ReplyProgress, RunResources

A, B = SelfMind(letter="A"), SelfMind(letter="B")
ITEMS = SelfItems(KNOWLEDGE, SEED)


@pytest.fixture
def recorder(tmp_path):
    resources = RunResources(StepContext(folder=tmp_path), SEED)
    return BehaviourRecorder(ITEMS, Questioner(WORLD, [], RequestLimits(), SEED, ReplyProgress(resources, 0)))


def said(text: str, finish: str = "stop", n_tokens: int | None = None, **more) -> ChatResponse:
    return ChatResponse(text=text, finish_reason=finish, completion_tokens=n_tokens, **more)


def test_truths_are_what_was_done(recorder):
    """The mind's own account of itself, which does not use this code."""
    behaviour = recorder.record("A", A, 20)
    truths = recorder.truths(behaviour)
    assert list(truths) == A.book.items_of("tokens")
    for item, label in truths.items():
        if label is not None:
            assert label == A.truth(A.book.question(item)), item
    known = sum(label is not None for label in truths.values())
    assert known > 0.85 * len(truths)


def test_an_answer_that_is_invalid_before_or_after_is_neither_kept_nor_changed(recorder):
    behaviour = recorder.record("A", A, 20)
    prompt = ITEMS.choices[0]
    first = behaviour.answers[prompt.id].text
    for second, label in ((said(f" {first}\n"), "yes"), (said("I am sure."), None), (said(first, "refused"), None)):
        other = replace(behaviour, second_answers={**behaviour.second_answers, prompt.id: second})
        assert recorder.truths(other)[f"keep/{prompt.id}"] == label
    babbling = replace(behaviour, answers={**behaviour.answers, prompt.id: said("Well, seven")})
    assert recorder.truths(babbling)[f"surer/{prompt.id}+{ITEMS.choices[1].id}"] is None


def test_equal_certainty_is_no_truth(recorder):
    """By log-probabilities within the margin, and by draws where there are none."""
    one, other = ITEMS.choice_pairs[0]
    item = f"surer/{one.id}+{other.id}"
    behaviour = recorder.record("A", A, 0)
    valid = {prompt.id: WORLD.closed_answers(prompt)[0] for prompt in (one, other)}
    draws = {prompt.id: [said(valid[prompt.id])] * 3 for prompt in (one, other)}
    same = replace(behaviour, choice_draws={**behaviour.choice_draws, **draws})
    assert recorder.truths(same)[item] is None
    draws[one.id] = [said(valid[one.id]), said("what?"), said("")]
    unsure = replace(behaviour, choice_draws={**behaviour.choice_draws, **draws})
    assert recorder.truths(unsure)[item] == "2"


@pytest.mark.parametrize(
    ("first", "second", "label"),
    [
        (["x", "x", "x"], ["x", "x", "x"], "yes"),
        (["x", "x", "x"], ["y", "y", "x"], "no"),
        (["x", "x", "y"], ["x", "y", "y"], "no"),
        (["x", "x", "?"], ["x", "x", "x"], "yes"),
        (["x", "?", "?"], ["x", "x", "x"], None),
        (["x", "y", "?"], ["x", "x", "x"], None),
    ],
)
def test_copies_choose_alike_where_most_pairs_of_draws_do(first, second, label, recorder):
    """One draw of each wording; half of the pairs is neither, and so are wordings without choices."""
    game = ITEMS.games[0]
    words = {"x": game.options[0], "y": game.options[1], "?": "I cannot choose"}
    draws = tuple([said(words[one]) for one in side] for side in (first, second))
    behaviour = recorder.record("A", A, 20)
    behaviour = replace(behaviour, game_draws={**behaviour.game_draws, game.id: draws})
    assert recorder.truths(behaviour)[f"copies/{game.id}"] == label


def test_a_length_is_unknown_where_the_answer_was_cut_before_the_last_class(recorder):
    """Or where there is none; in words where the endpoint does not count tokens."""
    behaviour = recorder.record("A", A, 20)
    brief = ITEMS.briefs[0]
    item = f"length/tokens/{brief.id}"
    for answer, label in (
        (said("one two", n_tokens=5), "B"),
        (said("one two", "length", 5), None),
        (said("one two", "length", 64), "E"),
        (said("", n_tokens=0), None),
        (said("I cannot do this", n_tokens=4), None),
    ):
        other = replace(behaviour, answers={**behaviour.answers, brief.id: answer})
        assert recorder.length_unit(other) == "tokens"
        assert recorder.truths(other)[item] == label
    silent = replace(behaviour, answers={**behaviour.answers, brief.id: said("one two three four five")})
    assert recorder.length_unit(silent) == "words"
    assert recorder.truths(silent)[f"length/words/{brief.id}"] == "B"


@pytest.mark.parametrize("minds", [(A, B), (replace(A, top_logprobs=0), B), (A, B, replace(A, letter="C"))])
def test_as_many_replies_as_were_expected(minds, tmp_path, monkeypatch):
    """So that progress and prices are right; equal questions are asked once."""
    counted = []
    monkeypatch.setattr(ReplyProgress, "begin", lambda self, model, requests: counted.append(len(requests)))
    self_readings(tmp_path, *minds)
    parts = self_knowledge_parts(ITEMS, {mind.letter: mind for mind in minds}, ())
    assert sum(counted) == sum(parts.values())
    assert len(counted) == len(parts)


@pytest.mark.parametrize(
    "fault",
    [{"n_self_draws": -1}, {"max_long_tokens": 32}, {"n_self_given": 1}, {"truths_unlike": 1}, {"n_self_strings": 2}],
    ids=str,
)
def test_sizes_that_ask_nothing_are_refused(fault):
    with pytest.raises(SpecError, match=r"cannot be asked|between 0 and 1|too few"):
        SelfKnowledge(**fault)


def test_certainty_is_known_by_log_probabilities_or_by_two_draws():
    assert has_certainty(SelfKnowledge(n_self_draws=0), 5)
    assert has_certainty(SelfKnowledge(n_self_draws=2), 0)
    assert not has_certainty(SelfKnowledge(n_self_draws=1), 0)
