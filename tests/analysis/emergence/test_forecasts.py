"""Forecasts: what follows a law is foretold by it, intervals hold, and onsets are where they were planted."""

from __future__ import annotations

import numpy as np
import pytest

from nosce.analysis.emergence.forecasts import ScalingCurve, forecast_onsets, forecast_sizes, summarize_forecasts
from nosce.errors import DataError
from nosce.seeds import Seed

SIZES = 10.0 ** np.linspace(5, 8, 9)
U = np.log10(SIZES)


def power_law(number: int, *, items: int = 2_000, tokens: int = 6) -> ScalingCurve:
    """A product law: loss falls as a power, and all tokens must be right."""
    rng = (Seed(number) / "law").numpy()
    loss = tokens * 0.02 * 10 ** (0.7 * (8 - U)) * 10 ** rng.normal(0, 0.02, len(U))
    return ScalingCurve(
        SIZES,
        rng.binomial(items, np.exp(-loss)).astype(float),
        np.full(len(U), float(items)),
        -loss,
        log_likelihood=True,
    )


def logistic(number: int, *, chance: float = 0.0, items: int = 1_000) -> ScalingCurve:
    """A logistic curve in log size, with nothing beside it."""
    rng = (Seed(number) / "logistic").numpy()
    p = chance + (1 - chance) / (1 + np.exp(-2.5 * (U - 6.8)))
    return ScalingCurve(SIZES, rng.binomial(items, p).astype(float), np.full(len(U), float(items)), chance=chance)


def test_what_is_logistic_is_foretold_and_covered():
    """Directly, above chance too; who expects no change is wrong on the rise."""
    for chance in (0.0, 0.25):
        found = [f for n in range(40) for f in forecast_sizes(logistic(n, chance=chance), Seed(n))]
        direct = [f for f in found if f.method == "direct"]
        assert 0.85 <= np.mean([f.covered_95 for f in direct]) <= 1.0
        told = summarize_forecasts(tuple(found))
        assert told["direct"]["error"] < 0.05 < told["last"]["error"]
        assert told["direct"]["excess_nats"] < told["last"]["excess_nats"]


def test_a_product_law_is_foretold_through_its_likelihood():
    """Better than from exact match alone, and with intervals that hold."""
    found = tuple(f for n in range(30) for f in forecast_sizes(power_law(n), Seed(n)))
    told = summarize_forecasts(found)
    assert told["product"]["excess_nats"] < told["linked"]["excess_nats"] < told["last"]["excess_nats"]
    assert told["linked"]["covered_95"] > 0.8
    assert told["product"]["covered_95"] > 0.8
    assert {f.n_fit_sizes for f in found} == {4, 5, 6, 7, 8}
    assert all(f.low <= f.high for f in found)


def test_a_likelihood_of_something_else_foretells_nothing():
    """Shuffled continuous scores do worse than the true ones."""
    true, wrong = [], []
    for n in range(20):
        curve = power_law(n)
        dealt = ScalingCurve(
            curve.sizes, curve.n_correct, curve.n_total, (Seed(n) / "dealt").numpy().permutation(curve.continuous)
        )
        true += [f.excess_nats for f in forecast_sizes(curve, Seed(n)) if f.method == "linked"]
        wrong += [f.excess_nats for f in forecast_sizes(dealt, Seed(n)) if f.method == "linked"]
    assert np.mean(true) < 0.5 * np.mean(wrong)


def test_onsets_are_where_they_were_planted():
    """Within the interval mostly, in decades; none where the level is never reached."""
    found = [o for n in range(20) for o in forecast_onsets(logistic(n), Seed(n))]
    assert all(abs(o.observed - 6.8) < 0.15 for o in found)
    assert np.mean([o.covered for o in found]) > 0.8
    assert all(o.low <= o.predicted <= o.high for o in found)
    assert np.median([o.crps for o in found]) < 0.3
    flat = ScalingCurve(SIZES, np.zeros(9), np.full(9, 100.0))
    assert forecast_onsets(flat, Seed(0)) == ()


def test_nothing_right_so_far_is_no_error():
    """All-wrong sizes foretell little, and say so by a wide interval; nothing divides by zero."""
    right = np.array([0.0, 0, 0, 0, 0, 0, 0, 50, 900])
    found = forecast_sizes(ScalingCurve(SIZES, right, np.full(9, 1_000.0), -np.linspace(9, 0.2, 9)), Seed(0))
    assert all(np.isfinite([f.predicted, f.low, f.high, f.excess_nats]).all() for f in found)


@pytest.mark.parametrize("unit", [1.0, 1e8, 1e14])
def test_the_unit_of_the_smooth_score_does_not_matter(unit):
    """numpy compares a covariance with a fixed size, so that large numbers gave a warning, which is an error here."""
    curve, seed = logistic(1), Seed(0)
    smooth = np.random.default_rng(0).normal(5, 1, len(SIZES))
    sizes = np.array([1e-3, 10, 20, 40, 100, 1e4, 1e5, 1e6, 1e7])
    plain, scaled = (
        forecast_sizes(ScalingCurve(sizes, curve.n_correct, curve.n_total, smooth * by), seed) for by in (1.0, unit)
    )
    for one, other in zip(plain, scaled, strict=True):
        assert one.method == other.method
        assert other.predicted == pytest.approx(one.predicted, abs=0.02)


def test_equal_seeds_give_equal_forecasts_and_bad_curves_are_refused():
    """One sentence for each."""
    assert forecast_sizes(power_law(1), Seed(5)) == forecast_sizes(power_law(1), Seed(5))
    with pytest.raises(DataError, match="larger than the one before"):
        ScalingCurve(SIZES[::-1], np.zeros(9), np.ones(9))
    with pytest.raises(DataError, match="chance level"):
        ScalingCurve(SIZES, np.zeros(9), np.ones(9), chance=1.0)
