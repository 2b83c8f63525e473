"""Two groups of seeds: seldom found in one, found where there are two, and nothing said of three seeds."""

import numpy as np
import pytest

from nosce.analysis.stats.paired import decide
from nosce.analysis.stats.ranges import SHARE_RANGE, UNBOUNDED, ValueRange
from nosce.analysis.stats.seed_groups import (
    SeedGroups,
    critical_share,
    decide_by_groups,
    seed_groups,
    within_group_share,
)
from nosce.analysis.stats.time_series import mean_over_seeds

DRAWS = 2_000
FEW_SEEDS = (5, 8, 12)


@pytest.mark.parametrize("n_seeds", [*FEW_SEEDS, 20])
def test_one_normal_group_is_called_two_in_at_most_five_percent(n_seeds):
    """Wherever it lies and however far it spreads; the limit is that of 2,000 draws at a rate of 5 %."""
    values = np.random.default_rng(n_seeds).normal(0.4, 0.07, (DRAWS, n_seeds))
    alarms = np.mean([seed_groups(row, UNBOUNDED) is not None for row in values])
    assert 0.03 < alarms < 0.05 + 3 * np.sqrt(0.05 * 0.95 / DRAWS)
    bounded = np.mean([seed_groups(row, SHARE_RANGE) is not None for row in values])
    assert bounded <= alarms  # groups of a share lie at least a tenth apart


@pytest.mark.parametrize("n_seeds", FEW_SEEDS)
@pytest.mark.parametrize("upper", [1, 2, 4])
def test_planted_groups_are_found_with_the_right_sizes(n_seeds, upper):
    """Trainings that learnt a task and trainings that did not: 2 and 97 % right of 1,000 problems."""
    rng, found = np.random.default_rng(upper), []
    for _ in range(200):
        shares = np.where(np.arange(n_seeds) < upper, 0.97, 0.02) + 0.015 * rng.normal(size=n_seeds)
        values = rng.binomial(1_000, np.clip(shares, 0, 1)) / 1_000
        groups = seed_groups(rng.permutation(values), SHARE_RANGE)
        found.append(groups is not None and (groups.n_low, groups.n_high) == (n_seeds - upper, upper))
    assert np.mean(found) > 0.99


@pytest.mark.parametrize("values", [[0.02, 0.98, 0.97], [0.0, 0.0, 1.0, 1.0], [0.5]])
def test_fewer_than_five_seeds_tell_nothing(values):
    assert seed_groups(values, SHARE_RANGE) is None


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 1.0, 1.0, 1.0, 0.99],  # one seed a little below an end
        [0.3] * 5,
        [0.1, 0.3, 0.5, 0.7, 0.9],
        [float("nan"), 0.0, 0.0, 1.0, 1.0],
    ],
)
def test_what_differs_little_or_evenly_is_one_group(values):
    assert seed_groups(values, SHARE_RANGE) is None


def test_numbers_far_from_zero_are_grouped_as_others():
    """Squares of large numbers leave no digits for their differences."""
    near = np.array([0.0, 0.1, 0.2, 5.0, 5.1, 5.3])
    far = seed_groups(near + 1e9, ValueRange(0.0, None))
    assert far is not None
    assert (far.n_low, far.n_high) == (3, 3)
    assert within_group_share(near + 1e9) == pytest.approx(within_group_share(near), rel=1e-4)


def test_more_seeds_need_less_distance():
    assert critical_share(5) < critical_share(8) < critical_share(12) < critical_share(40)


@pytest.mark.parametrize(
    ("groups", "threshold", "direction", "is_on_both"),
    [
        (SeedGroups(3, 2, 0.1, 0.9), 0.5, "above", True),
        (SeedGroups(3, 2, 0.1, 0.9), 0.5, "below", True),
        (SeedGroups(3, 2, 0.6, 0.9), 0.5, "above", False),
        (SeedGroups(3, 2, -0.01, 0.3), 0.05, "within", True),
        (SeedGroups(3, 2, -0.3, 0.3), 0.05, "within", True),
        (SeedGroups(3, 2, 0.1, 0.3), 0.05, "within", False),
        (SeedGroups(3, 2, -0.3, -0.1), 0.05, "within", False),
        (SeedGroups(3, 2, -0.03, 0.04), 0.05, "within", False),
    ],
)
def test_groups_on_both_sides_of_a_threshold(groups, threshold, direction, is_on_both):
    assert groups.on_both_sides(threshold, direction) == is_on_both


def test_groups_that_differ_in_opposite_ways_are_not_alike():
    """Half of 12 trainings at +0.3 and half at -0.3: the mean lies within 0.25 of 0, and no training does."""
    values = [0.3, -0.3] * 6
    estimate = mean_over_seeds(values, unit="seed")
    assert decide(estimate, 0.25, "within") == "holds"
    decision, groups = decide_by_groups(estimate, 0.25, "within", UNBOUNDED)
    assert (decision, groups.n_low, groups.n_high) == ("undecided", 6, 6)
