"""A step that other people choose: the best of theirs, whatever the tested people would have chosen."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

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
