"""The level of intervals is 95 %, and another within a block that asks for it, for every kind of interval."""

import numpy as np
import pytest

from nosce.analysis.stats.intervals import (
    bca_interval,
    clustered_mean,
    influence_interval,
    interval_of_units,
    nested_interval,
    wilson,
)
from nosce.analysis.stats.level import at_level, interval_level, interval_tails
from nosce.analysis.stats.paired import paired_difference
from nosce.analysis.stats.time_series import curve_correlation, half_width_over_seeds, mean_over_seeds
from nosce.seeds import Seed

RNG = np.random.default_rng(0)
SCORES, SEEDS = RNG.normal(size=30), [n // 10 for n in range(30)]
PEOPLE = [n % 10 for n in range(30)]
CURVES = [(np.arange(9) + RNG.normal(size=9)).tolist() for _ in range(3)]
INTERVALS = {
    "wilson": lambda **at: wilson(3, 10, **at),
    "clustered": lambda **at: clustered_mean(SCORES, PEOPLE, **at),
    "bca": lambda **at: bca_interval(SCORES, PEOPLE, seed=Seed(0), resamples=499, **at),
    "nested": lambda **at: nested_interval(SCORES, PEOPLE, SEEDS, **at),
    "units": lambda **at: interval_of_units(SCORES.reshape(3, 10), **at),
    "influence": lambda **at: influence_interval(0.0, SCORES, PEOPLE, SEEDS, **at),
    "paired": lambda **at: paired_difference(SCORES, PEOPLE, SEEDS, SCORES[::-1], PEOPLE, SEEDS, **at),
    "correlation": lambda **at: curve_correlation(
        CURVES, CURVES[::-1], seed=Seed(0), detrended=False, resamples=50, **at
    ),
    "over seeds": lambda **at: mean_over_seeds([1.0, 2.0, 4.0], unit="seed", **at),
}


@pytest.mark.parametrize("interval", INTERVALS.values(), ids=INTERVALS)
def test_the_level_of_a_block_is_that_of_the_argument(interval):
    """Whoever asks for 99 % in a block has what the argument gives, and 95 % outside, which is narrower."""
    usual = interval()
    with at_level(0.99):
        inside = interval()

    assert inside == interval(level=0.99)
    assert (usual.level, inside.level) == (0.95, 0.99)
    assert inside.high - inside.low > usual.high - usual.low
    assert interval() == usual


def test_a_block_that_fails_leaves_the_level_as_it_was():
    with pytest.raises(ZeroDivisionError), at_level(0.8):
        _ = 1 / (interval_level() - 0.8)
    assert interval_level() == 0.95


def test_tails_of_the_usual_level_are_exact():
    """Percentiles at 0.025 exactly: equal readings give the bytes that they gave before there were levels."""
    assert interval_tails() == (0.025, 0.975)
    with at_level(0.9):
        assert interval_tails() == (0.05, 0.95)


def test_the_width_over_seeds_takes_the_level_too():
    values, within = np.array([1.0, 2.0, 4.0]), np.zeros(3)
    with at_level(0.99):
        assert half_width_over_seeds(values, within, "units") == half_width_over_seeds(values, within, "units", 0.99)
