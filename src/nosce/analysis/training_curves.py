"""Measures over training: curves that rise together, phases, and what was ever as low as nothing.

A curve is one number a kept checkpoint and seed, made from the readings. Where a phase begins follows from the
curves by a rule that is written here, and from nobody's eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from nosce.analysis.measures import RESAMPLING_SEED, Selection
from nosce.analysis.stats import time_series as curves
from nosce.errors import DataError
from nosce.records import Estimate

CurveStatistic = Literal["mean", "distinct", "commonest", "perplexity"]


@dataclass(frozen=True, kw_only=True)
class TrainingCurve:
    """One number a checkpoint of what is selected, whose `step` is "every".

    mean: of the values. distinct: different answers. commonest: the share that the most frequent answer has.
    perplexity: the exponential of the mean, of nats a token.
    `minus` is subtracted point by point where it is there, e.g. a floor.
    """

    selection: Selection
    statistic: CurveStatistic = "mean"
    subtract: Selection | None = None

    def points(self, readings: pl.DataFrame) -> dict[int, tuple[list[int], list[float]]]:
        """Seed -> (steps, values), in order.

        Raises:
            DataError: There is no reading.
        """
        values = self._values(self.selection, readings)
        if self.subtract is not None:
            floor = self._values(self.subtract, readings).rename({"number": "floor"})
            values = values.join(floor, on=["seed", "step"]).with_columns(number=pl.col("number") - pl.col("floor"))
        if values.is_empty():
            raise DataError(
                f"no reading is there for a curve of {self.selection.description}; run the read-outs it needs."
            )
        return {
            seed: (seed_values["step"].to_list(), seed_values["number"].to_list())
            for (seed,), seed_values in values.sort("seed", "step").group_by("seed", maintain_order=True)
        }

    def _values(self, selection: Selection, readings: pl.DataFrame) -> pl.DataFrame:
        statistic = {
            "mean": pl.col("value").mean(),
            "distinct": pl.col("answer").n_unique().cast(pl.Float64),
            "commonest": pl.col("answer").unique_counts().max() / pl.len(),
            "perplexity": pl.col("value").mean().exp(),
        }[self.statistic]
        return selection.rows(readings).group_by("seed", "step").agg(number=statistic)


@dataclass(frozen=True, kw_only=True)
class CurveCorrelation:
    """R² of one curve on another over the checkpoints both have, or where detrended the correlation of changes."""

    a: TrainingCurve
    b: TrainingCurve
    detrended: bool = False
    quantity: str = "R²"

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean over seeds, with an interval from blocks of checkpoints; see `analysis.stats.time_series.together`.

        Raises:
            DataError: A curve is missing, too short or flat.
        """
        points_a, points_b = self.a.points(readings), self.b.points(readings)
        pairs = []
        for seed in sorted(points_a.keys() & points_b.keys()):
            values_a, values_b = (dict(zip(*curve[seed], strict=True)) for curve in (points_a, points_b))
            steps = sorted(values_a.keys() & values_b.keys())
            pairs.append(([values_a[s] for s in steps], [values_b[s] for s in steps]))
        return curves.curve_correlation(
            [a for a, _ in pairs], [b for _, b in pairs], seed=RESAMPLING_SEED, detrended=self.detrended
        )


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The most that a curve ever was after its first checkpoint, in the seed where that is least."""

    curve: TrainingCurve
    quantity: str = "share"

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """A number that was counted: nothing is drawn, so its interval is itself.

        Raises:
            DataError: The curve is missing.
        """
        points = self.curve.points(readings)
        peaks = [max(values[1:] or values) for _, values in points.values()]
        return curves.exact_estimate(
            min(peaks), n=sum(len(v) for _, v in points.values()), seeds=len(points), unit=unit
        )


@dataclass(frozen=True, kw_only=True)
class PhaseDuration:
    """How much of a training lies between two beginnings: that of `first` and that of `second`.

    A curve begins at the first checkpoint behind which it stays more than `share` of the way from its first value
    to its highest. Babbling ends where distinct programs begin, semantics begins where accuracy does; between the
    two is syntax (arXiv:2305.11169, the three phases; the rule is ours). Steps are shares of the whole training.
    """

    start: TrainingCurve
    end: TrainingCurve
    rise_fraction: float = 0.2
    quantity: str = "share"

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean over seeds, with Student's t over them.

        Raises:
            DataError: A curve is missing.
        """
        spans = self.phase_bounds(readings)
        return curves.mean_over_seeds([second - first for first, second in spans.values()], unit="seed")

    def phase_bounds(self, readings: pl.DataFrame) -> dict[int, tuple[float, float]]:
        """Seed -> where the first and where the second curve begin, as shares of the training."""
        first, second = self.start.points(readings), self.end.points(readings)
        return {
            seed: (_onset(*first[seed], self.rise_fraction), _onset(*second[seed], self.rise_fraction))
            for seed in sorted(first.keys() & second.keys())
        }


def _onset(steps: list[int], values: list[float], rise_fraction: float) -> float:
    """Half-way between the last checkpoint before and the first behind, as nothing is known between them."""
    index = curves.onset_index(values, rise_fraction)
    if index >= len(steps):
        return 1.0
    before = steps[index - 1] if index else steps[0]
    return float(np.mean([before, steps[index]])) / steps[-1]
