"""Measures over training, on tables made by hand."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from nosce.analysis.claims import Claim
from nosce.analysis.measures import Contrast, Difference, Mean, MinOf
from nosce.analysis.selection import Selection
from nosce.analysis.training_curves import CurveCorrelation, Peak, PhaseDuration, TrainingCurve
from nosce.errors import DataError


def table(rows: list[dict]) -> pl.DataFrame:
    """Readings with these columns; the others are the same for all."""
    whole = {
        "evaluation": "w",
        "metric": "m",
        "arm": "a",
        "seed": 0,
        "stage": "pretrain",
        "step": 0,
        "split": "unseen",
        "attribute": "f",
        "entity": "x",
        "value": 0.0,
        "answer": "go",
    }
    return pl.DataFrame([whole | row for row in rows])


EVERY = Selection(evaluation="w", metric="m", arm="a", step="every")


def phased() -> pl.DataFrame:
    """Two seeds of ten checkpoints: answers differ from the fourth on, values rise from the eighth on."""
    rows = []
    for seed in (0, 1):
        for step in range(10):
            for item in range(8):
                answer = str(item) if step >= 4 else "same"
                rows.append(
                    {"seed": seed, "step": step, "entity": f"i{item}", "answer": answer, "value": float(step >= 8)}
                )
    return table(rows)


def test_statistics_of_a_curve():
    """Mean, different answers, the commonest one's share, perplexity."""
    found = phased()
    steps, values = TrainingCurve(selection=EVERY).points(found)[1]
    assert steps == list(range(10))
    assert values == [0.0] * 8 + [1.0] * 2
    assert TrainingCurve(selection=EVERY, statistic="distinct").points(found)[0][1] == [1] * 4 + [8] * 6
    assert TrainingCurve(selection=EVERY, statistic="commonest").points(found)[0][1] == [1] * 4 + [1 / 8] * 6
    assert TrainingCurve(selection=EVERY, statistic="perplexity").points(found)[0][1][-1] == pytest.approx(math.e)
    assert TrainingCurve(selection=EVERY, subtract=EVERY).points(found)[0][1] == [0] * 10


def test_phases_lie_where_they_were_planted():
    """Diversity begins between steps 3 and 4, accuracy between 7 and 8 of 9."""
    phases = PhaseDuration(
        start=TrainingCurve(selection=EVERY, statistic="distinct"), end=TrainingCurve(selection=EVERY)
    )
    assert phases.phase_bounds(phased()) == {seed: (pytest.approx(3.5 / 9), pytest.approx(7.5 / 9)) for seed in (0, 1)}
    assert phases.estimate(phased(), "item").value == pytest.approx(4 / 9)
    assert Peak(curve=TrainingCurve(selection=EVERY, statistic="commonest")).estimate(phased(), "item").value == 1.0


def test_a_phase_of_one_curve_lies_between_two_shares_of_its_rise():
    """Planted: one program is right for a fifth; accuracy stays there, then at a third, then at nearly all."""
    rows = [{"metric": "floor", "value": 0.2, "step": 9, "seed": seed} for seed in (0, 1)]
    levels = (0.0, 0.2, 0.2, 0.2, 0.33, 0.33, 0.33, 0.9, 1.0, 1.0)
    for seed in (0, 1):
        rows += [{"seed": seed, "step": step, "value": level} for step, level in enumerate(levels)]
    curve = TrainingCurve(selection=EVERY, rises_from=Selection(evaluation="w", metric="floor", arm="a"))
    babbling = PhaseDuration(start=None, end=curve, end_fraction=0.1)
    syntax = PhaseDuration(start=curve, end=curve, start_fraction=0.1, end_fraction=0.25)
    semantics = PhaseDuration(start=curve, end=curve, start_fraction=0.25, end_fraction=0.9)
    for measure, place in ((babbling, (0, 3.5)), (syntax, (3.5, 6.5)), (semantics, (6.5, 7.5))):
        assert measure.phase_bounds(table(rows))[0] == pytest.approx(tuple(at / 9 for at in place))
        assert measure.value_range.low == 0
    with pytest.raises(DataError, match="floor"):
        babbling.estimate(table(rows[2:]), "item")
    with pytest.raises(DataError, match="seed 1"):
        babbling.estimate(table([row for row in rows if row != rows[1]]), "item")


def test_a_curve_that_never_rises_has_no_onset():
    """A missing onset is not the end of the training: else a phase before it would hold of a model that learns nothing.

    In one seed of three is enough, and a curve that rises from its own beginning may stay flat too.
    """
    rising = [{"seed": seed, "step": step, "value": float(step > 3)} for seed in (0, 1) for step in range(10)]
    flat = [{"seed": 2, "step": step, "value": 0.0} for step in range(10)]
    curve = TrainingCurve(selection=EVERY)
    assert set(curve.onsets(table(rising), 0.2)) == {0, 1}
    with pytest.raises(DataError, match="never rises in seed 2, so it has no onset"):
        curve.onsets(table(rising + flat), 0.2)
    for phase in (PhaseDuration(start=None, end=curve), PhaseDuration(start=curve, end=curve, end_fraction=0.9)):
        claim = Claim(id="phase", text="It waits", source="ours", measure=phase, threshold=0.25)
        verdict = claim.judge(table(rising + flat), "item")
        assert (verdict.verdict, verdict.estimate) == ("undecided", None)
        assert "never rises in seed 2" in verdict.why


def test_curves_are_held_together_where_both_have_points():
    """A checkpoint that only one of them has is left out."""
    rows = [
        {"step": step, "metric": metric, "value": float(step)}
        for step in range(12)
        for metric in ("m", "n")
        if metric == "m" or step > 3
    ]
    found = CurveCorrelation(
        a=TrainingCurve(selection=EVERY), b=TrainingCurve(selection=Selection(evaluation="w", metric="n", step="every"))
    )
    estimate = found.estimate(table(rows), "item")
    assert (estimate.value, estimate.n) == (pytest.approx(1), 8)
    with pytest.raises(DataError):
        found.estimate(table(rows[:3]), "item")


def rising_with(direction: float) -> pl.DataFrame:
    """Three seeds of ten checkpoints: `m` rises, and `n` moves so much with it, each with a little noise."""
    rows = []
    for seed in range(3):
        noise = np.random.default_rng(seed).normal(size=(2, 10)) * 0.02
        for step in range(10):
            rows.append({"seed": seed, "step": step, "metric": "m", "value": step / 10 + noise[0, step]})
            rows.append({"seed": seed, "step": step, "metric": "n", "value": direction * step / 10 + noise[1, step]})
    return table(rows)


@pytest.mark.parametrize(("direction", "verdict"), [(1.0, "holds"), (-1.0, "fails")])
def test_curves_rise_together_only_with_the_right_sign(direction, verdict):
    """Three curves that fall as the other rises refute that the two rise together."""
    other = TrainingCurve(selection=Selection(evaluation="w", metric="n", step="every"))
    claim = Claim(
        id="together",
        text="Both rise together",
        source="ours",
        measure=CurveCorrelation(a=TrainingCurve(selection=EVERY), b=other),
        threshold=0.71,
    )
    found = claim.judge(rising_with(direction), "item")
    assert found.verdict == verdict
    assert -1 <= found.low < found.high <= 1


def contrasted() -> pl.DataFrame:
    """For each of 40 things, four metrics: b is a - 0.25 on the whole, d is c - 0.125."""
    rows = []
    for item in range(40):
        for metric, value in (("a", 0.75), ("b", 0.5), ("c", 0.5), ("d", 0.375)):
            rows.append({"entity": f"i{item}", "metric": metric, "value": value + 0.1 * (item % 3 - 1)})
    return table(rows)


def one(metric: str) -> Selection:
    """The rows of a metric."""
    return Selection(evaluation="w", metric=metric)


def test_a_contrast_is_the_weighted_sum_of_paired_means():
    """(a - b) - (c - d); what all share cancels, so there is no spread at all."""
    found = Contrast(terms=((1, one("a")), (-1, one("b")), (-1, one("c")), (1, one("d")))).estimate(
        contrasted(), "item"
    )
    assert found.value == pytest.approx(0.125)
    assert found.clusters == 40
    assert found.n == 160
    with pytest.raises(DataError):
        Contrast(terms=((1, one("a")), (-1, one("nowhere")))).estimate(contrasted(), "item")
    few = contrasted().filter((pl.col("metric") == "a") | pl.col("entity").is_in(["i0", "i7", "i9"]))
    assert Contrast(terms=((1, one("a")), (-1, one("b")))).estimate(few, "item").n == 6


def test_a_contrast_of_two_is_a_difference():
    """The same number and the same interval."""
    noisy = contrasted().with_columns(value=pl.col("value") + pl.col("entity").hash(3) % 97 / 500)
    noisy = noisy.with_columns(value=pl.when(pl.col("metric") == "a").then(pl.col("value") * 1.3).otherwise("value"))
    paired = Difference(a=one("a"), b=one("b")).estimate(noisy, "item")
    terms = Contrast(terms=((1, one("a")), (-1, one("b")))).estimate(noisy, "item")
    assert terms.value == pytest.approx(paired.value)
    assert (terms.low, terms.high) == (pytest.approx(paired.low), pytest.approx(paired.high))


def test_the_least_of_several_is_the_one_that_begins_lowest():
    """All must lie above: one that does not decides."""
    least = MinOf(measures=(Mean(selection=one("a")), Mean(selection=one("d")), Mean(selection=one("b"))))
    assert least.estimate(contrasted(), "item").value == pytest.approx(0.375, abs=0.01)
    with pytest.raises(DataError):
        MinOf(measures=(Mean(selection=one("a")), Mean(selection=one("nowhere")))).estimate(contrasted(), "item")
