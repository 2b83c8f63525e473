"""Outcomes by size: resampled in groups where items are many, and with the standard errors of means."""

from __future__ import annotations

import numpy as np
import pytest

from nosce.analysis.emergence import scores as module
from nosce.analysis.emergence.scores import CountOutcomes, ItemOutcomes
from nosce.seeds import Seed

SIZES = np.array([1.0, 10, 100])


def drawn(outcomes, resamples=2_000):
    parts = list(outcomes.resampled_curves(None, Seed(3), resamples))
    return tuple(np.concatenate([part[index] for part in parts]) for index in (0, 1))


def test_groups_of_items_vary_as_items_do(monkeypatch):
    """The mean and the standard error of 3,001 items, resampled one by one and in 1,000 groups of three."""
    rng = Seed(2).numpy()
    smooth = rng.normal(size=(1, 3, 3_001)) * np.array([1, 2, 3])[None, :, None]
    outcomes = ItemOutcomes(SIZES, (smooth > 0.5).astype(float), smooth)
    whole = drawn(outcomes)
    monkeypatch.setattr(module, "MAX_RESAMPLED_ITEMS", 1_001)
    grouped = drawn(outcomes)
    for one, other in zip(whole, grouped, strict=True):
        assert not np.array_equal(one, other)
        assert other.mean((0, 1)) == pytest.approx(one.mean((0, 1)), abs=0.01)
        assert other.std(0)[0] == pytest.approx(one.std(0)[0], rel=0.12)


def test_few_items_are_resampled_one_by_one(monkeypatch):
    """So that what was found before is found again."""
    outcomes = ItemOutcomes(SIZES, Seed(1).numpy().random((1, 3, 500)), None)
    before = drawn(outcomes, 50)[0]
    monkeypatch.setattr(module, "MAX_RESAMPLED_ITEMS", 500)
    assert np.array_equal(drawn(outcomes, 50)[0], before)


def test_a_mean_varies_by_its_standard_error():
    """Where one is known; else it counts as exact."""
    numbers = np.full((1, 3), 50.0)
    known = CountOutcomes(SIZES, numbers, 2 * numbers, -numbers, continuous_stderr=np.array([[0.0, 1.0, 2.0]]))
    assert drawn(known)[1].std(0)[0] == pytest.approx([0, 1, 2], rel=0.1)
    assert drawn(CountOutcomes(SIZES, numbers, 2 * numbers, -numbers))[1].std() == 0
