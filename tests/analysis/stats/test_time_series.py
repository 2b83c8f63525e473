"""Curves that rise together by chance are told from those that move together."""

from __future__ import annotations

import numpy as np
import pytest

from nosce.analysis.stats.ranges import SHARE_RANGE
from nosce.analysis.stats.time_series import curve_correlation, exact_estimate, mean_over_seeds, onset_index
from nosce.errors import DataError
from nosce.seeds import Seed

SEED = Seed(9)


def rising(rng: np.random.Generator, count: int = 30) -> np.ndarray:
    """A curve that rises, with noise of its own."""
    return np.linspace(0, 1, count) + 0.1 * rng.normal(size=count)


def test_two_rising_curves_agree_plainly_and_not_once_detrended():
    """Independent noise around one trend: r is high, the one of changes has zero in its interval."""
    plain, changes = [], []
    for number in range(20):
        rng = np.random.default_rng(number)
        pair = [rising(rng) for _ in range(3)], [rising(rng) for _ in range(3)]
        plain.append(curve_correlation(*pair, seed=SEED, detrended=False, resamples=300))
        changes.append(curve_correlation(*pair, seed=SEED, detrended=True, resamples=300))
    assert min(found.value for found in plain) > 0.6
    assert np.mean([found.low < 0 < found.high for found in changes]) > 0.8


def test_shared_noise_is_found_once_detrended():
    """A planted common movement is there in the changes."""
    rng = np.random.default_rng(1)
    shared = [rising(rng) for _ in range(3)]
    other = [2 * curve + 0.02 * rng.normal(size=len(curve)) for curve in shared]
    found = curve_correlation(shared, other, seed=SEED, detrended=True, resamples=300)
    assert found.low > 0.5
    assert found.seeds == 3


@pytest.mark.parametrize("detrended", [True, False])
def test_one_curve_upside_down_has_a_negative_sign(detrended):
    """A curve that falls where the other rises does not rise together with it."""
    curve = rising(np.random.default_rng(2))
    found = curve_correlation([curve], [-curve], seed=SEED, detrended=detrended, resamples=100)
    assert found.value == pytest.approx(-1)
    assert found.high < 0
    assert found.low == -1


def test_a_perfect_correlation_is_no_certainty():
    """Three seeds of eight points each on straight lines: the interval has a width and stays within [-1, 1]."""
    found = curve_correlation([range(8)] * 3, [range(8)] * 3, seed=SEED, detrended=False, resamples=100)
    assert found.value == pytest.approx(1)
    assert 0.9 < found.low < 1
    assert found.high == pytest.approx(1)


@pytest.mark.parametrize(
    "pair",
    [
        ([], []),
        ([[1, 2, 3]], [[1, 2, 3]]),
        ([[1] * 9], [list(range(9))]),
        ([[1, 2, 3, 4, np.nan]], [[1, 2, 3, 4, 5]]),
        ([range(5)], [range(6)]),
    ],
)
def test_curves_that_say_nothing_are_refused(pair):
    """None, too few points, flat, not numbers, unequal."""
    with pytest.raises(DataError):
        curve_correlation(*pair, seed=SEED, detrended=False)


def test_numbers_a_seed_have_students_t():
    """Three seeds by hand; one seed has no interval; a missing one is refused."""
    found = mean_over_seeds([0.1, 0.2, 0.3], unit="seed")
    assert (found.value, found.seeds) == (pytest.approx(0.2), 3)
    assert found.high - found.value == pytest.approx(4.3027 * 0.1 / np.sqrt(3), rel=1e-4)
    assert mean_over_seeds([0.5], unit="seed").low is None
    assert 0 < mean_over_seeds([0.0, 0.1, 0.2], unit="seed", value_range=SHARE_RANGE).low < 0.1
    with pytest.raises(DataError):
        mean_over_seeds([0.1, float("nan")], unit="seed")


def test_seeds_that_agree_are_not_known_without_doubt():
    """Shares of a training are told to half a step between checkpoints; where nothing says how finely, not at all."""
    alike = mean_over_seeds([0.3] * 3, unit="seed", value_range=SHARE_RANGE, parts=10)
    assert alike.low < 0.26
    assert alike.high > 0.34
    unknown = mean_over_seeds([0.3] * 3, unit="seed", value_range=SHARE_RANGE)
    assert (unknown.low, unknown.high, unknown.method) == (None, None, "no interval: all 3 seeds are equal")


def test_what_is_counted_is_its_own_interval():
    """Nothing was drawn, so nothing is uncertain."""
    found = exact_estimate(3, n=10, seeds=2, unit="item")
    assert found.low == found.value == found.high == 3


@pytest.mark.parametrize(
    ("curve", "place"),
    [
        ([0, 0, 0, 1, 1], 3),
        ([0, 0.5, 0, 0.5, 1], 3),  # a spike that is lost again is no beginning
        ([1, 0, 0, 0], 4),  # falls from its beginning, so it never leaves
        ([0, 1, 0, 0], 1),  # what comes behind the highest value does not matter
    ],
)
def test_a_curve_leaves_its_beginning_where_it_stays_above(curve, place):
    """By hand."""
    assert onset_index(curve, 0.2) == place


def test_a_draw_in_which_a_curve_stands_still_has_no_correlation():
    """Curves that change in the first and the last step alone: most draws of blocks hold no change, and no r of 0."""
    still = [0.0, 1, *[1] * 18, 2]
    with pytest.raises(DataError, match="changes so seldom that"):
        curve_correlation([still], [still], seed=SEED, detrended=True)


def test_curves_that_move_as_one_have_a_correlation_of_one_in_every_draw():
    """Six of seven changes: a draw without any must not widen the interval as if it were a correlation of 0."""
    steps = [0.0, 1, 2, 2, 2, 2, 3, 4]
    found = curve_correlation([steps], [steps], seed=SEED, detrended=True)
    assert found.low > 0.8
