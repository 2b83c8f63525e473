"""Designs: more decides more, and what cannot be tried is refused."""

from __future__ import annotations

import pytest

from nosce.analysis.emergence.power import estimate_power, estimate_power_grid
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
    """Both truths each; the same seed gives the same numbers."""
    found = list(estimate_power_grid([6, 5], [40], [1], simulations=3, seed=Seed(2)))
    assert [(both[0].sizes, both[0].truth, both[1].truth) for both in found] == [
        (5, "power law", "planted break"),
        (6, "power law", "planted break"),
    ]
    assert found == list(estimate_power_grid([5, 6], [40], [1], simulations=3, seed=Seed(2)))


def test_a_design_that_cannot_be_tried_is_refused():
    """Four sizes are never enough; noise is no truth to decide on."""
    with pytest.raises(UsageError, match="5 sizes or more"):
        estimate_power("power law", sizes=4, items=100, seeds=1, simulations=10, seed=Seed(0))
    with pytest.raises(UsageError, match="'power law' or 'planted break'"):
        estimate_power("pure noise", sizes=8, items=100, seeds=1, simulations=10, seed=Seed(0))
