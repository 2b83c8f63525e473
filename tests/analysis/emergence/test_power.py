"""Designs: more decides more, and what cannot be tried is refused."""

from __future__ import annotations

import pytest

from nosce.analysis.emergence.power import (
    PowerEstimate,
    estimate_power,
    estimate_power_grid,
    power_advice,
    power_designs,
    power_sentence,
)
from nosce.errors import UsageError
from nosce.seeds import Seed


def test_more_items_and_sizes_decide_more():
    """A hundred items of five sizes against two thousand of eight: of breaks."""
    little = estimate_power("planted break", sizes=5, items=50, seeds=1, simulations=12, seed=Seed(1))
    much = estimate_power("planted break", sizes=12, items=1_000, seeds=1, simulations=12, seed=Seed(1))
    assert little.n_right < much.n_right
    assert much.n_wrong == 0
    low, high = much.interval
    assert low < much.power <= high


def test_designs_come_cheapest_first_and_repeat():
    """Both truths each; the same seed gives the same numbers; progress is told once a world."""
    told = []
    designs = power_designs([6, 5], [40], [1])
    assert designs == [(5, 40, 1), (6, 40, 1)]
    found = list(estimate_power_grid(designs, simulations=10, seed=Seed(2), on_world=lambda: told.append(1)))
    assert [(both[0].sizes, both[0].truth, both[1].truth) for both in found] == [
        (5, "power law", "planted break"),
        (6, "power law", "planted break"),
    ]
    assert len(told) == 2 * 2 * 10
    assert found == list(estimate_power_grid(designs, simulations=10, seed=Seed(2)))


def test_a_design_is_told_in_a_sentence():
    """Shares with exact intervals, singular and plural, and that five sizes never say "metric"."""
    metric = PowerEstimate("power law", 8, 1_000, 1, 40, 29, 0)
    broken = PowerEstimate("planted break", 8, 1_000, 1, 40, 39, 1)
    assert power_sentence((metric, broken)) == (
        "8 sizes, 1,000 items, 1 seed tell a metric's jump in 72 % [56, 85] and a break in 98 % [87, 100]; "
        "1 of 80 verdicts was wrong."
    )
    few = PowerEstimate("power law", 5, 1_000, 3, 40, 0, 0)
    assert 'fewer than 6 sizes never give "metric"' in power_sentence((few, broken))
    assert power_advice([(few, broken), (metric, broken)]).startswith(
        "None of these tells both in 90 % of the worlds; the best is 8 sizes, 1,000 items and 1 seed."
    )
    assert power_advice([(broken, broken)]).startswith("The cheapest of these that tells both in 90 % of the worlds: 8")


def test_five_sizes_never_say_metric():
    """With five sizes a break beside the second one looks as a law does; breaks are still told."""
    few = estimate_power("power law", sizes=5, items=1_000, seeds=1, simulations=10, seed=Seed(3))
    assert (few.n_right, few.n_wrong) == (0, 0)


def test_a_design_that_cannot_be_tried_is_refused():
    """Four sizes are never enough; noise is no truth to decide on; ten worlds at least, and no giants."""
    with pytest.raises(UsageError, match="5 sizes or more"):
        estimate_power("power law", sizes=4, items=100, seeds=1, simulations=10, seed=Seed(0))
    with pytest.raises(UsageError, match="'power law' or 'planted break'"):
        estimate_power("pure noise", sizes=8, items=100, seeds=1, simulations=10, seed=Seed(0))
    with pytest.raises(UsageError, match="5 sizes or more"):
        power_designs([8, 4], [100], [1])
    with pytest.raises(UsageError, match="too large"):
        power_designs([8], [10**7], [1])
    with pytest.raises(UsageError, match="too few to say how often"):
        list(estimate_power_grid([(8, 10, 1)], simulations=9, seed=Seed(0)))
