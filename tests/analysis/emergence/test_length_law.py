"""Geometric or linear in the length: the nearer of two curves, with an interval over items and seeds."""

import numpy as np
import polars as pl
import pytest

from nosce.analysis.emergence.length_law import LengthLaw, geometric_advantage
from nosce.analysis.selection import Selection
from nosce.errors import DataError
from nosce.records import Estimate

LENGTHS = np.arange(2.0, 7.0)


def test_each_curve_is_fitted_without_rest():
    """A power of p leaves nothing to the one, a line nothing to the other, whatever their numbers."""
    for p in (0.3, 0.6, 0.9, 1.7):
        scores = 0.9 * p**LENGTHS
        line = np.polyval(np.polyfit(LENGTHS, scores, 1), LENGTHS)
        assert geometric_advantage(LENGTHS, scores) == pytest.approx(np.sqrt(((scores - line) ** 2).mean()), abs=2e-3)
    for slope in (-0.15, 0.1, 0.8):
        assert geometric_advantage(LENGTHS, 1.2 + slope * LENGTHS) < 0


def estimate(shares: np.ndarray, seeds: int = 5, items: int = 80) -> Estimate:
    rng, parts = np.random.default_rng(3), []
    for seed in range(seeds):
        for length, share in zip(LENGTHS, shares, strict=True):
            names = [f"{length}/{n}" for n in range(items)]
            rows = pl.DataFrame({"entity": names, "item": names, "value": (rng.random(items) < share).astype(float)})
            parts.append(rows.with_columns(seed=pl.lit(seed), attribute=pl.lit(f"{length:g} digits")))
    columns = {"evaluation": "o", "metric": "exact", "arm": "a", "stage": "s", "step": 1, "split": "unseen"}
    readings = pl.concat(parts).with_columns(pl.lit(value).alias(name) for name, value in columns.items())
    points = tuple((n, Selection(evaluation="o", attributes=(f"{n:g} digits",))) for n in LENGTHS)
    return LengthLaw(points=points).estimate(readings, "item")


def test_what_falls_geometrically_is_told_from_what_falls_evenly():
    geometric, even = estimate(0.55 ** (LENGTHS - 2)), estimate(1 - 0.2 * (LENGTHS - 2))
    assert geometric.low > 0 > even.high
    assert geometric.seeds == 5


def test_too_few_lengths_tell_nothing():
    few = LengthLaw(points=tuple((n, Selection(evaluation="o")) for n in (1.0, 2.0, 3.0)))
    with pytest.raises(DataError, match="cannot tell a line from a curve"):
        few.estimate(pl.DataFrame(), "item")
