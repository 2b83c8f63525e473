"""Natural ranges, and intervals that keep within them."""

from __future__ import annotations

import numpy as np
import pytest

from nosce.analysis.stats.intervals import wilson
from nosce.analysis.stats.ranges import (
    CORRELATION_RANGE,
    NON_NEGATIVE,
    NON_POSITIVE,
    SHARE_RANGE,
    UNBOUNDED,
    ValueRange,
    weighted_sum_range,
)
from nosce.errors import SpecError


@pytest.mark.parametrize("successes", [1, 3, 10, 19])
def test_a_share_of_independent_items_has_wilsons_interval(successes):
    """With the binomial error at the estimate, inverting the score test is Wilson's interval."""
    p = successes / 20
    half = 1.959964 * np.sqrt(p * (1 - p) / 20)
    expected = wilson(successes, 20)
    assert SHARE_RANGE.score_interval(p, half, n=20) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize("value_range", [SHARE_RANGE, CORRELATION_RANGE, NON_NEGATIVE, NON_POSITIVE, ValueRange(2, 5)])
@pytest.mark.parametrize("half_width", [0.0, 1e-6, 0.1, 3.0, 100.0])
def test_no_interval_leaves_its_range_and_all_hold_their_value(value_range, half_width):
    """Anywhere in the range, its ends included, and however wide."""
    low = value_range.low if value_range.low is not None else value_range.high - 4
    high = value_range.high if value_range.high is not None else value_range.low + 4
    for value in np.linspace(low, high, 9):
        found = value_range.score_interval(float(value), half_width, n=12)
        assert value_range.contains(np.array(found))
        assert found[0] <= value <= found[1]


def test_far_from_the_ends_the_interval_is_symmetric():
    """A narrow interval in the middle, and any without a range, is the estimate plus or minus its half width."""
    assert UNBOUNDED.score_interval(3.0, 1.5, n=4) == (1.5, 4.5)
    assert SHARE_RANGE.score_interval(0.5, 0.01, n=400) == pytest.approx((0.49, 0.51), abs=1e-5)
    assert NON_NEGATIVE.score_interval(50.0, 0.5, n=400) == pytest.approx((49.5, 50.5), abs=0.01)


def test_one_sided_ranges_mirror_each_other():
    """What is said of costs holds of log-likelihoods with the sign turned."""
    low, high = NON_NEGATIVE.score_interval(0.3, 0.5, n=10)
    assert NON_POSITIVE.score_interval(-0.3, 0.5, n=10) == pytest.approx((-high, -low))
    assert 0 < low < 0.3 < high


def test_the_range_of_a_sum_is_that_of_its_terms():
    """A difference of shares reaches from -1 to 1, of costs anywhere; a weight of nothing adds nothing."""
    assert weighted_sum_range([(1, SHARE_RANGE), (-1, SHARE_RANGE)]) == CORRELATION_RANGE
    assert weighted_sum_range([(1, SHARE_RANGE), (-3, SHARE_RANGE)]) == ValueRange(-3, 1)
    assert weighted_sum_range([(1, NON_NEGATIVE), (-1, NON_NEGATIVE)]) == UNBOUNDED
    assert weighted_sum_range([(1, NON_NEGATIVE), (0, UNBOUNDED)]) == NON_NEGATIVE


def test_a_range_without_values_is_refused():
    """The smaller end comes first."""
    with pytest.raises(SpecError, match="from 1 to 0"):
        ValueRange(1, 0)
