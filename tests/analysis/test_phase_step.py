"""The last step of a phase: each seed's own, by the rule that the study states, and by nothing that was read off."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from nosce.analysis.measures import Contrast, Mean
from nosce.analysis.needed_rows import needed_metrics
from nosce.analysis.selection import PhaseStep, Selection
from nosce.errors import DataError
from nosce.records import Reading, to_table

BABBLING = PhaseStep(evaluation="written", metric="correct", floor="constant", rise_fraction=0.1)
READ = Selection(evaluation="probed", metric="right", arm="a", step=BABBLING)
#: Seed -> programs that are right at steps 0, 10, ... One program is right for a fifth of the specifications.
WRITTEN = {0: (0.0, 0.2, 0.2, 0.25, 0.5, 1.0), 1: (0.1, 0.4, 0.2, 0.2, 0.2, 0.9)}


def reading(seed, evaluation, metric, step, person, value, arm="a"):
    return Reading(
        study="s",
        scale="smoke",
        arm=arm,
        seed=seed,
        stage="pretrain",
        step=step,
        evaluation=evaluation,
        split="unseen",
        item=str(person),
        entity=str(person),
        attribute="all",
        metric=metric,
        value=value,
        outcome=None,
        answer=None,
        target=None,
    )


def table_of(written):
    """Twenty specifications; probes read a share that grows with the step."""
    rows = []
    for seed, shares in written.items():
        rows += [reading(seed, "constant", "correct", 50, n, float(n < 4)) for n in range(20)]
        for place, share in enumerate(shares):
            rows += [reading(seed, "written", "correct", 10 * place, n, float(n < 20 * share)) for n in range(20)]
            rows += [reading(seed, "probed", "right", 10 * place, n, float(n < 3 * place)) for n in range(20)]
    return to_table(rows, Reading)


def steps(selection, readings):
    return set(selection.rows(readings).select("seed", "step").rows())


def test_a_phase_ends_where_the_curve_leaves_its_floor_for_good():
    """Seed 0 is above a tenth of the way (28 %) from step 40 on; seed 1 falls back once and leaves at step 50."""
    assert steps(READ, table_of(WRITTEN)) == {(0, 30), (1, 40)}


def test_a_share_of_the_way_and_earlier_steps():
    """Three quarters of the way (80 and 72 %) are made at the last step; two steps before are two steps before."""
    late = replace(READ, step=replace(BABBLING, rise_fraction=0.75))
    assert steps(late, table_of(WRITTEN)) == {(0, 40), (1, 40)}
    assert steps(replace(READ, step=replace(BABBLING, earlier=2)), table_of(WRITTEN)) == {(0, 10), (1, 20)}


def test_without_a_floor_the_way_begins_at_the_first_value():
    """Seed 0 begins at nothing, so that one program for all is a fifth of its way already."""
    assert steps(replace(READ, step=replace(BABBLING, floor=None)), table_of({0: WRITTEN[0]})) == {(0, 0)}


def test_a_change_since_a_phase_is_of_each_seed():
    """Planted: probes read 3 of 20 more at each step, so that seeds gain 30 and 15 points."""
    change = Contrast(terms=((1.0, replace(READ, step="last")), (-1.0, READ)))
    assert change.estimate(table_of(WRITTEN), "person").value == pytest.approx((0.3 + 0.15) / 2)


@pytest.mark.parametrize(
    ("written", "phase", "sentence"),
    [
        ({0: (0.0, 0.1, 0.2)}, BABBLING, "never rises above its floor"),
        ({0: WRITTEN[0], 1: (0.0, 0.1, 0.1)}, BABBLING, "of a, seed 1, never rises"),
        ({0: (0.0, 0.9, 1.0)}, replace(BABBLING, earlier=1), "takes off at kept step 2, and the step 2 before"),
        ({0: (0.9, 0.9, 1.0)}, BABBLING, "takes off at kept step 1"),
        ({0: WRITTEN[0]}, replace(BABBLING, floor="best"), "best correct"),
        ({0: WRITTEN[0]}, replace(BABBLING, evaluation="spoken"), "spoken correct"),
    ],
)
def test_a_phase_without_an_end_is_refused(written, phase, sentence):
    """A seed is not left out in silence, and the step of another is not taken for it."""
    with pytest.raises(DataError, match=sentence):
        Mean(selection=replace(READ, step=phase)).estimate(table_of(written), "person")


def test_an_arm_that_never_takes_off_does_not_disturb_another():
    """Only the selected arm's curve has to end its phase."""
    other = [reading(0, "written", "correct", step, 0, 0.0, arm="b") for step in (0, 10)]
    both = pl.concat([table_of(WRITTEN), to_table(other, Reading)])
    assert steps(READ, both) == {(0, 30), (1, 40)}


def test_the_readings_that_end_a_phase_are_kept_for_the_estimates():
    """A study that drops what nothing selects keeps curve and floor."""
    kept = needed_metrics((Mean(selection=READ),))
    assert kept == {"probed": {"right"}, "written": {"correct"}, "constant": {"correct"}}
