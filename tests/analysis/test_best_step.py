"""A step that other people choose: the best of theirs, whatever the tested people would have chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from nosce.analysis.bench.claim_bench import planted_table
from nosce.analysis.claims import Claim
from nosce.analysis.measures import Mean
from nosce.analysis.needed_rows import needed_metrics
from nosce.analysis.selection import BestStep, Selection
from nosce.errors import DataError
from nosce.records import Reading, to_table

TESTED = Selection(evaluation="written", arm="a", stage="pretrain", step=BestStep(evaluation="validated"))
SCORES = {
    ("a", 0, "validated"): {1: 0.5, 2: 1.0, 3: 0.5},  # seed 0 is best in the middle
    ("a", 0, "written"): {1: 1.0, 2: 0.5, 3: 0.0},  # where the tested people are not
    ("a", 1, "validated"): {1: 1.0, 2: 0.0, 3: 1.0},  # of equally good steps the last
    ("a", 1, "written"): {1: 0.0, 2: 0.0, 3: 1.0},
    ("b", 0, "validated"): {1: 1.0, 2: 0.0, 3: 0.0},  # another arm chooses its own
    ("b", 0, "written"): {1: 0.0, 2: 1.0, 3: 1.0},
}


def reading(arm, seed, evaluation, step, person, value):
    return Reading(
        study="s",
        scale="smoke",
        arm=arm,
        seed=seed,
        stage="pretrain",
        step=step,
        evaluation=evaluation,
        split="validation" if evaluation == "validated" else "unseen",
        item=f"{evaluation}/{person}",
        entity=f"{evaluation}/{person}",
        attribute="all",
        metric="exact",
        value=value,
        outcome=None,
        answer=None,
        target=None,
    )


@pytest.fixture
def readings():
    """Two people an evaluation; as many of them are right as the score says."""
    rows = []
    for (arm, seed, evaluation), scores in SCORES.items():
        for step, score in scores.items():
            rows += [reading(arm, seed, evaluation, step, n, float(n < 2 * score)) for n in range(2)]
    return to_table(rows, Reading)


def test_the_step_is_the_best_of_the_choosing_people_by_arm_and_seed(readings):
    """Planted: the tested people would have chosen other steps, and scores of 1 that are not theirs."""
    rows = TESTED.rows(readings)
    assert set(rows.select("seed", "step").rows()) == {(0, 2), (1, 3)}
    assert Mean(selection=TESTED).estimate(readings, "person").value == pytest.approx(0.75)
    assert set(replace(TESTED, arm="b").rows(readings)["step"]) == {1}


@pytest.mark.parametrize("change", ["none", "no value"])
def test_nothing_is_chosen_by_what_is_not_there(readings, change):
    """Missing is not zero: neither a missing evaluation nor a missing value chooses a step."""
    chooses = pl.col("evaluation") == "validated"
    broken = (
        readings.filter(~chooses)
        if change == "none"
        else readings.with_columns(value=pl.when(chooses).then(None).otherwise(pl.col("value")))
    )
    with pytest.raises(DataError, match=r"chosen by validated exact.*\.$"):
        Mean(selection=TESTED).estimate(broken, "person")


def test_the_choosing_readings_are_kept_for_the_estimates():
    """A study that drops what nothing selects keeps what a step is chosen by."""
    assert needed_metrics((TESTED,)) == {"written": {"exact"}, "validated": {"exact"}}


CROSSED = Selection(evaluation="written", arm="a", stage="pretrain", step=BestStep(evaluation="written", crossed=True))
#: Whole diaries of each half after each step: each half is best where the other is not.
HALVES = {
    "validation": {1: 0.0, 2: 1.0, 3: 0.5},
    "unseen": {1: 1.0, 2: 0.5, 3: 0.0},
}


@pytest.fixture
def halves():
    """Both halves of the held-out people in one evaluation, and people whose question was trained on in another."""
    rows = []
    for split, scores in HALVES.items():
        for step, score in scores.items():
            for n in range(2):
                row = reading("a", 0, "written", step, f"{split}/{n}", float(n < 2 * score))
                rows.append(replace(row, split=split))
    for step in (1, 2, 3):
        rows.append(replace(reading("a", 0, "trained", step, "seen", step / 10), split="seen"))
    return to_table(rows, Reading)


def test_each_half_is_read_where_the_other_is_best(halves):
    """Planted: a half that chose for itself would have 1.0; all held-out people are read, each at one step."""
    rows = CROSSED.rows(halves)
    assert set(rows.select("split", "step").rows()) == {("validation", 1), ("unseen", 2)}
    assert len(rows) == rows["entity"].n_unique() == 4
    assert Mean(selection=CROSSED).estimate(halves, "person").value == pytest.approx((0.0 + 0.5) / 2)


def test_people_of_neither_half_are_read_where_both_are_best(halves):
    """Means of both halves: 0.5, 0.75 and 0.25."""
    trained = replace(CROSSED, evaluation="trained")
    assert trained.rows(halves)["step"].to_list() == [2]


def test_a_half_without_the_other_has_no_step(halves):
    """Missing is not a choice."""
    alone = halves.filter(pl.col("split") == "unseen")
    with pytest.raises(DataError, match="there is no reading"):
        CROSSED.rows(alone)


@pytest.mark.parametrize("selection", [TESTED, CROSSED], ids=["other people", "each other"])
def test_a_training_without_a_choice_is_not_left_out_in_silence(selection, readings, halves):
    """Planted: one of two seeds has nothing to choose by; its tested people do not vanish."""
    table = readings if selection is TESTED else pl.concat([halves, halves.with_columns(seed=pl.col("seed") + 1)])
    chooses = (pl.col("evaluation") == selection.step.evaluation) & (pl.col("split") == "validation")
    with pytest.raises(DataError, match="of a, seed 1, pretrain is chosen by"):
        selection.rows(table.filter(~chooses | (pl.col("seed") == 0)))


def test_a_claim_at_crossed_steps_can_be_planted():
    """The bench plants both halves, whether the claim reads the choosing evaluation or another."""
    for selection in (CROSSED, replace(CROSSED, evaluation="stops", metric="nats", quantity="nats")):
        claim = Claim(id="c", text="t", source="ours", measure=Mean(selection=selection), threshold=0.4)
        for world in ("true", "false"):
            table = planted_table(claim, world, {}).draw(np.random.default_rng(0))
            assert claim.judge(table, "person").verdict == {"true": "holds", "false": "fails"}[world]
            assert set(selection.rows(table)["split"]) == {"validation", "unseen"}
