"""Measures along sizes: steps are steep, lines are not, links that hold do not drift."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from nosce.analysis.claims import Claim
from nosce.analysis.emergence.measures import ForecastFigure, ForecastSkill, LinkDrift, Steepness
from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec, audit_scaling_curve
from nosce.analysis.emergence.simulation import simulate_outcomes
from nosce.analysis.selection import Selection
from nosce.errors import DataError
from nosce.records import Estimate
from nosce.seeds import Seed

SIZES = 10.0 ** np.linspace(4, 8, 9)
SCALING = ScalingCurveSpec(
    id="s",
    title="t",
    x_label="weights",
    points=tuple((float(size), f"arm {n}") for n, size in enumerate(SIZES)),
    sharp=Selection(evaluation="r"),
    continuous=(Selection(evaluation="r", metric="nats", quantity="nats"),),
    target_tokens=4.0,
)


def readings(sharp: np.ndarray, smooth: np.ndarray, *, steps: bool = False) -> pl.DataFrame:
    """Outcomes (S, J, N) as readings; sizes are arms, or steps of one."""
    parts = []
    for seed in range(sharp.shape[0]):
        for place in range(sharp.shape[1]):
            for metric, table in (("exact", sharp), ("nats", -smooth)):
                parts.append(
                    pl.DataFrame(
                        {
                            "arm": "one" if steps else f"arm {place}",
                            "seed": seed,
                            "evaluation": "r",
                            "metric": metric,
                            "step": 10 * place if steps else 9,
                            "entity": [f"i{n:04}" for n in range(sharp.shape[2])],
                            "value": table[seed, place],
                        }
                    )
                )
    return pl.concat(parts).with_columns(split=pl.lit("unseen"), stage=pl.lit("s"), attribute=pl.lit("f"))


def outcomes(curve: np.ndarray, seeds: int = 3, items: int = 300) -> pl.DataFrame:
    """Shares (J,) drawn as outcomes; the continuous score is the share itself, per item."""
    rng = Seed(1).numpy()
    sharp = (rng.random((seeds, len(curve), items)) < curve[None, :, None]).astype(float)
    return readings(sharp, np.broadcast_to(np.log(np.clip(curve, 1e-3, 1))[None, :, None], sharp.shape))


def test_a_step_is_steep_and_a_line_is_not():
    """All of a step, a quarter of a line, with intervals."""
    step = Steepness(scaling=SCALING, score="sharp").estimate(outcomes(np.repeat([0.02, 0.97], [5, 4])), "item")
    assert step.low > 0.9
    line = Steepness(scaling=SCALING, score="sharp").estimate(outcomes(np.linspace(0.02, 0.97, 9)), "item")
    assert line.low < 0.27 < line.high < 0.5
    assert line.seeds == 3
    assert line.n == 3 * 9 * 300


def test_what_does_not_rise_is_not_called_smooth():
    """A flat curve has no steepest part."""
    with pytest.raises(DataError, match="too little to be steep"):
        Steepness(scaling=SCALING, score="sharp").estimate(outcomes(np.full(9, 0.3)), "item")
    alone = replace(SCALING, continuous=())
    with pytest.raises(DataError, match="no continuous score"):
        Steepness(scaling=alone, score="continuous").estimate(outcomes(np.linspace(0, 1, 9)), "item")


def by_seed(*curves: np.ndarray, items: int = 300) -> pl.DataFrame:
    """Shares of each seed (J,) drawn as outcomes; the continuous score is their logarithm, per item."""
    shares = np.stack(curves)[..., None]
    sharp = (Seed(1).numpy().random((*shares.shape[:2], items)) < shares).astype(float)
    return readings(sharp, np.broadcast_to(np.log(shares), sharp.shape))


@pytest.mark.parametrize("score", ["sharp", "continuous"])
def test_a_seed_that_never_rises_has_no_steepness(score):
    """A missing share is not zero: two seeds that jump and one that learns nothing are not two thirds of a jump."""
    step, flat = np.repeat([0.02, 0.97], [5, 4]), np.full(9, 0.02)
    measure = Steepness(scaling=SCALING, score=score)
    with pytest.raises(DataError, match=r"in seed 2 of 3, counted from 1, rises by .* too little to be steep"):
        measure.estimate(by_seed(step, flat, step), "item")
    claim = Claim(id="jumps", text="It jumps", source="ours", measure=measure, threshold=0.5)
    verdict = claim.judge(by_seed(step, flat, step), "item")
    assert (verdict.verdict, verdict.estimate) == ("undecided", None)
    assert "in seed 2 of 3" in verdict.why
    assert claim.judge(by_seed(step, step, step), "item").verdict == "holds"


def test_a_curve_that_never_rises_has_no_link():
    """Where nothing rises, nothing drifts; that is no link that holds."""
    with pytest.raises(DataError, match="too little to be linked"):
        LinkDrift(scaling=SCALING).estimate(by_seed(*[np.full(9, 0.02)] * 3), "item")


def test_a_link_that_holds_does_not_drift():
    """A product law's is near 0; with a continuous score of something else it is not."""
    law = simulate_outcomes("power law", sizes=9, items=500, seeds=3, seed=Seed(6))
    told = readings(law.sharp, law.continuous)
    held = LinkDrift(scaling=SCALING).estimate(told, "item")
    assert held.high < 0.25
    other = readings(law.sharp, (Seed(2) / "x").numpy().permuted(law.continuous, axis=1))
    assert LinkDrift(scaling=SCALING).estimate(other, "item").low > 0.25


def test_steps_of_a_training_are_sizes_too():
    """The same curve, told by steps of one arm."""
    law = simulate_outcomes("power law", sizes=9, items=100, seeds=2, seed=Seed(6))
    along = replace(SCALING, points=tuple((float(s), "one") for s in SIZES), steps=tuple(range(0, 90, 10)))
    found = along.outcomes(readings(law.sharp, law.continuous, steps=True))
    assert np.array_equal(found.sharp, law.sharp)
    assert np.array_equal(found.continuous, law.continuous)


@pytest.mark.whole
def test_what_was_foreseen_is_drawn_and_weighed():
    """A row a size and rival, and the one that knows the law costs less than the one that expects no change."""
    nats = 0.3 * 10 ** (0.6 * (8 - np.log10(SIZES)))
    smooth = -nats[None, :, None] * np.exp((Seed(3) / "hard").numpy().normal(0, 0.2, (3, 1, 800)))
    told = readings(((Seed(3) / "right").numpy().random(smooth.shape) < np.exp(smooth)).astype(float), smooth)
    table = ForecastFigure(id="f", title="t", caption="c", x_label="x", y_label="y", scaling_curves=(SCALING,)).table(
        told, [], "i"
    )
    assert table.filter(group="observed").height == 9
    assert table.filter(group="from the continuous one").height == 5
    found = ForecastSkill(scaling=SCALING, method="last", reference="product").estimate(told, "item")
    assert found.low > 0
    assert found.clusters == 3 * 800
    assert "mean error at 5 fixed sizes" in found.method
    said, _ = audit_scaling_curve(SCALING, told)
    assert {"smooth", "threshold", "product", "eta", "best"} <= set(said["thresholds"])
    assert said["onsets"]
    nothing = ForecastFigure(id="f", title="t", caption="c", x_label="x", y_label="y", scaling_curves=(SCALING,))
    assert nothing.table(told.head(0), [], "i").is_empty()


def forecast_readings(rng: np.random.Generator, seeds: int, items: int = 200) -> pl.DataFrame:
    """A power law whose sizes and seeds scatter around it, as trainings do."""
    at = np.linspace(0, 1, len(SIZES))[None] + 0.05 * rng.normal(size=(seeds, len(SIZES)))
    nats = -12 * 100.0 ** -(at + 0.02 * rng.normal(size=(seeds, 1)))
    sharp = (rng.random((seeds, len(SIZES), items)) < np.exp(nats)[..., None]).astype(float)
    smooth = nats[..., None] * rng.gamma(100.0, 0.01, sharp.shape)
    return readings(sharp, smooth)


def skill(table: pl.DataFrame) -> Estimate:
    return ForecastSkill(scaling=SCALING, method="direct", reference="linked").estimate(table, "item")


def test_sizes_are_fixed_and_are_not_what_forecasts_vary_by():
    """Items without noise and equal seeds leave nothing to vary by, however much the sizes' errors differ."""
    (one,) = np.random.default_rng(4).spawn(1)
    table = forecast_readings(one, 1)
    five = pl.concat([table.with_columns(seed=pl.lit(n)) for n in range(5)])
    found = skill(five)
    # Each seed draws its forecasts anew, by which errors differ in the third decimal.
    assert found.high - found.low < 0.03
    assert found.seeds == 5
    assert len(found.seed_values) == 5


@pytest.mark.parametrize("seeds", [1, 3])
def test_few_seeds_take_items_into_the_interval(seeds):
    """One seed has items alone; more items make it narrower."""
    few, many = (skill(forecast_readings(np.random.default_rng(5), seeds, items)) for items in (50, 2_000))
    assert few.low < few.value < few.high
    if seeds == 1:
        assert many.high - many.low < few.high - few.low
        assert "1 seed, so nothing is said about other seeds" in many.method


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 8, 12])
def test_the_interval_of_a_forecasts_error_covers(seeds):
    """New seeds and items at the same sizes: between 92 and 98.5 % of 300 nominal 95 % intervals hold the truth."""
    truth = np.mean([skill(forecast_readings(np.random.default_rng(n), 12)).value for n in range(10_000, 10_060)])
    found = [skill(forecast_readings(np.random.default_rng(1_000 * seeds + n), seeds)) for n in range(300)]
    assert 0.92 < np.mean([one.low <= truth <= one.high for one in found]) < 0.985


def test_seeds_in_two_groups_at_a_size_are_told_beside_the_steepness():
    """At the fifth size two of five trainings learn the task: the mean rises by how many do."""
    learnt = np.array([[0.02] * 4 + [share] + [0.97] * 4 for share in (0.02, 0.97, 0.02, 0.97, 0.02)])
    rng = Seed(8).numpy()
    sharp = (rng.random((5, 9, 400)) < learnt[..., None]).astype(float)
    smooth = np.broadcast_to(np.log(learnt)[..., None], sharp.shape)
    mixed = Steepness(scaling=SCALING, score="sharp").estimate(readings(sharp, smooth), "item")
    assert "form two groups at 1 of 9 sizes (3 at 0.02" in mixed.seed_note
    assert "at size 1,000,000" in mixed.seed_note
    even = Steepness(scaling=SCALING, score="sharp").estimate(outcomes(np.linspace(0.02, 0.97, 9), seeds=5), "item")
    assert even.seed_note == ""
