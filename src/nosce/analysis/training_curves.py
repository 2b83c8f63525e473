"""Measures over training: correlations of curves, peaks and phases.

A curve has one number for each kept checkpoint and seed, computed from the readings. A fixed rule decides where a phase
begins, so no phase boundary is read off a figure by eye.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl

from nosce.analysis.measures import RESAMPLING_SEED, Measure
from nosce.analysis.selection import Selection, scored_rows
from nosce.analysis.stats import time_series as curves
from nosce.analysis.stats.ranges import CORRELATION_RANGE, ValueRange
from nosce.errors import DataError
from nosce.records import Estimate
from nosce.store.spec import LATER

CurveStatistic = Literal["mean", "distinct", "commonest", "perplexity"]


@dataclass(frozen=True, kw_only=True)
class TrainingCurve:
    """One number for each checkpoint and seed.

    Args:
        selection: The readings, with `step="every"`.
        statistic: The mean of the values ("mean"), the number of different answers ("distinct"), the share of the most
            frequent answer ("commonest"), or the exponential of the mean, of nats a token ("perplexity").
        subtract: Readings whose statistic is subtracted point by point, e.g. a floor; None subtracts nothing.
        rises_from: Readings whose mean is where the curve's rise begins, e.g. the best constant reply; None: its first
            value. Only onsets read it.
    """

    selection: Selection
    statistic: CurveStatistic = "mean"
    subtract: Selection | None = None
    rises_from: Selection | None = field(default=None, metadata=LATER)

    def points(self, readings: pl.DataFrame) -> dict[int, tuple[list[int], list[float]]]:
        """Seed -> (steps, values), by ascending step.

        Raises:
            DataError: There are no readings.
        """
        values = self._values(self.selection, readings)
        if self.subtract is not None:
            floor = self._values(self.subtract, readings).rename({"number": "floor"})
            values = values.join(floor, on=["seed", "step"]).with_columns(number=pl.col("number") - pl.col("floor"))
        if values.is_empty():
            raise DataError(
                f"no reading is there for a curve of {self.selection.description}; run the evaluations it needs."
            )
        points = {}
        for (seed,), seed_values in values.sort("seed", "step").group_by("seed", maintain_order=True):
            points[seed] = seed_values["step"].to_list(), seed_values["number"].to_list()
        return points

    def onsets(self, readings: pl.DataFrame, rise_fraction: float) -> dict[int, float]:
        """Seed -> where the curve has made a share of its rise for good, as a share of the training.

        That is half-way between the last checkpoint before and the first after.

        Raises:
            DataError: There are no readings of the curve, none of where its rise begins, or the curve of a seed never
                rises: its onset is missing, and lies neither at the end of the training nor anywhere else.
        """
        floors: dict[int, float] = {}
        if self.rises_from is not None:
            rows = scored_rows(self.rises_from, readings)
            floors = dict(rows.group_by("seed").agg(pl.col("value").mean()).iter_rows())
        onsets = {}
        for seed, (steps, values) in self.points(readings).items():
            if self.rises_from is not None and seed not in floors:
                raise DataError(f"{self.rises_from.description} has no reading of seed {seed}; run this seed.")
            index = curves.onset_index(values, rise_fraction, floors.get(seed))
            if index >= len(steps):
                what = f"the curve of {self.selection.description} ({self.statistic})"
                raise DataError(f"{what} never rises in seed {seed}, so it has no onset; train for longer.")
            before = steps[index - 1] if index else steps[0]
            onsets[seed] = float(np.mean([before, steps[index]])) / steps[-1]
        return onsets

    def _values(self, selection: Selection, readings: pl.DataFrame) -> pl.DataFrame:
        statistic = {
            "mean": pl.col("value").mean(),
            "distinct": pl.col("answer").n_unique().cast(pl.Float64),
            "commonest": pl.col("answer").unique_counts().max() / pl.len(),
            "perplexity": pl.col("value").mean().exp(),
        }[self.statistic]
        return selection.rows(readings).group_by("seed", "step").agg(number=statistic)


@dataclass(frozen=True, kw_only=True)
class CurveCorrelation(Measure):
    """Pearson's correlation of two curves over their common checkpoints, or of their changes.

    Its sign counts: 1 where the curves rise together, -1 where one falls as the other rises.

    Args:
        a: The first curve.
        b: The second curve.
        detrended: Whether to correlate changes between neighbouring checkpoints, which removes a common trend.
        quantity: The name that the number is shown with.
    """

    a: TrainingCurve
    b: TrainingCurve
    detrended: bool = False
    quantity: str = "r"

    @property
    def value_range(self) -> ValueRange:
        """-1 to 1."""
        return CORRELATION_RANGE

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean over seeds, with an interval over them; see `time_series.curve_correlation`.

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
class Peak(Measure):
    """The largest value of a curve after its first checkpoint, in the seed where this is smallest.

    Args:
        curve: The curve.
        quantity: What the curve's values are.
    """

    curve: TrainingCurve
    quantity: str = "share"

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The value, which is exact: nothing is sampled, so the interval has no width.

        Raises:
            DataError: The curve is missing.
        """
        points = self.curve.points(readings)
        peaks = [max(values[1:] or values) for _, values in points.values()]
        return curves.exact_estimate(
            min(peaks), n=sum(len(v) for _, v in points.values()), seeds=len(points), unit=unit
        )


@dataclass(frozen=True, kw_only=True)
class PhaseDuration(Measure):
    """The share of a training that lies between the onsets of two curves.

    The onset of a curve is the first checkpoint from which it stays above a fraction of the way from where its rise
    begins to its highest value. E.g. arXiv:2305.11169 tells three phases by generative accuracy: babbling until about
    10 %, syntax until about 25 %, semantics until above 90 %. The phases are the paper's, the rule is ours.

    Args:
        start: The curve whose onset begins the phase. None: the phase begins with the training.
        end: The curve whose onset ends the phase.
        start_fraction: The fraction of the first curve's rise that counts as its onset.
        end_fraction: The same for the second curve.
    """

    start: TrainingCurve | None
    end: TrainingCurve
    start_fraction: float = 0.2
    end_fraction: float = 0.2

    @property
    def value_range(self) -> ValueRange:
        """-1 to 1, since the second onset may come before the first; of a phase of one curve 0 to 1."""
        return ValueRange(-1.0 if self.start not in (None, self.end) else 0.0, 1.0)

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean over seeds, with Student's t over them.

        Raises:
            DataError: A curve is missing, or never rises in a seed.
        """
        spans = self.phase_bounds(readings)
        shares = [end - start for start, end in spans.values()]
        checkpoints = min(len(steps) for steps, _ in self.end.points(readings).values())
        return curves.mean_over_seeds(shares, unit="seed", value_range=self.value_range, parts=checkpoints)

    def phase_bounds(self, readings: pl.DataFrame) -> dict[int, tuple[float, float]]:
        """Seed -> the onsets of both curves, as shares of the training.

        Raises:
            DataError: A curve is missing, or never rises in a seed.
        """
        end = self.end.onsets(readings, self.end_fraction)
        start = dict.fromkeys(end, 0.0) if self.start is None else self.start.onsets(readings, self.start_fraction)
        return {seed: (start[seed], end[seed]) for seed in sorted(start.keys() & end.keys())}
