"""The questions of a checkpoint with its answers: their shares are those of the study's readings."""

from __future__ import annotations

import json

import polars as pl
import pytest

from nosce.errors import UsageError
from nosce.pipeline.exports.asked import AskedQuestion, AskedSet, asked_sets, slug, task_name
from nosce.pipeline.exports.target import find_target
from nosce.pipeline.plan import StudyRequest
from nosce.records import Question
from nosce.store.store import StepRecord, Store

HOSTILE = 'a "b" \' {{ 7*7 }} {% raw %} !function x\n---\r\u2028\u2029\x85</script> \\ é 🙂 """'


def smoke_target(store, arm="multi5+permute", stage=None):
    """A checkpoint of the store that all tests share."""
    return find_target(Store(store), StudyRequest(study="biographies_adamw", scale="smoke"), arm, None, stage, None)


def hostile_set(tmp_path) -> AskedSet:
    """Questions whose every text wants to be something else."""
    question = Question(HOSTILE, HOSTILE, HOSTILE, f"{HOSTILE} ", HOSTILE, "unseen")
    items = [AskedQuestion(question=question, answer=HOSTILE, correct=correct) for correct in (True, False, True)]
    record = StepRecord("evaluation-1", tmp_path, {}, {"made": "2026-01-02T03:04:05Z", "commit": "x", "versions": {}})
    return AskedSet(
        evaluation="questions",
        split="unseen",
        items=items,
        max_new_tokens=4,
        max_prompt_tokens=9,
        eos_token=HOSTILE,
        step_record=record,
    )


@pytest.mark.whole
def test_the_share_of_right_answers_is_that_of_the_readings(smoke_store):
    """Of all readings of the study, those of this arm, stage and checkpoint."""
    target = smoke_target(smoke_store)
    store = Store(smoke_store)
    (folder,) = smoke_store.glob("steps/estimates-*")
    readings = pl.read_parquet(folder / "readings.parquet").filter(
        arm="multi5+permute", stage=target.stage, step=target.checkpoint_step, evaluation="questions", metric="exact"
    )
    sets = asked_sets(target)
    assert [one.split for one in sets] == ["seen", "unseen"]
    for one in sets:
        ours = readings.filter(split=one.split)
        assert (len(one.items), one.accuracy) == (len(ours), ours["value"].mean())
        assert {item.question.id for item in one.items} == set(ours["item"])
        assert all(item.answer == item.question.target for item in one.items if item.correct)
        assert store.has(one.step_record.name)
    assert 0 < sum(one.numbers()["right"] for one in sets) < sum(len(one.items) for one in sets)


@pytest.mark.whole
def test_a_stage_without_exact_answers_is_refused_with_what_read_it(smoke_store):
    """After the first training nothing was asked that a task could be made from."""
    with pytest.raises(UsageError, match="was read by recall and was asked no questions with exact answers"):
        asked_sets(smoke_target(smoke_store, stage="pretrain"))


def test_no_character_of_a_question_ends_a_line(tmp_path):
    """JSON lines of ASCII, which every reader parts alike."""
    text = hostile_set(tmp_path).lines()
    assert text.isascii()
    assert [json.loads(line)["target"] for line in text.splitlines()] == [HOSTILE] * 3


@pytest.mark.parametrize(("text", "short"), [("multi5+permute", "multi5_permute"), ("A on A'", "a_on_a"), ("→", "x")])
def test_names_of_tasks_need_no_quotes(text, short, smoke_store):
    """Neither in a shell nor in YAML nor in a path."""
    assert slug(text) == short
    assert task_name(smoke_target(smoke_store)) == "nosce_biographies_adamw_smoke_multi5_permute"
