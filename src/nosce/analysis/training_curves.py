"""Measures over training: curves that rise together, phases, and what was ever as low as nothing.

A curve is one number a kept checkpoint and seed, made from the readings. Where a phase begins follows from the
curves by a rule that is written here, and from nobody's eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from nosce.analysis.measures import RESAMPLING, Select
from nosce.analysis.stats import time_series as curves
from nosce.errors import DataError
from nosce.records import Estimate

Statistic = Literal["mean", "distinct", "commonest", "perplexity"]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One number a checkpoint of what is selected, whose `step` is "every".

    mean: of the values. distinct: different answers. commonest: the share that the most frequent answer has.
    perplexity: the exponential of the mean, of nats a token.
    `minus` is subtracted point by point where it is there, e.g. a floor.
    """

    select: Select
    statistic: Statistic = "mean"
    minus: Select | None = None

    def points(self, readings: pl.DataFrame) -> dict[int, tuple[list[int], list[float]]]:
        """Seed -> (steps, values), in order.

        Raises:
            DataError: There is no reading.
        """
        found = self._of(self.select, readings)
        if self.minus is not None:
            floor = self._of(self.minus, readings).rename({"number": "floor"})
            found = found.join(floor, on=["seed", "step"]).with_columns(number=pl.col("number") - pl.col("floor"))
        if found.is_empty():
            raise DataError(f"no reading is there for a curve of {self.select.words}; run the read-outs it needs.")
        return {
            seed: (part["step"].to_list(), part["number"].to_list())
            for (seed,), part in found.sort("seed", "step").group_by("seed", maintain_order=True)
        }

    def _of(self, select: Select, readings: pl.DataFrame) -> pl.DataFrame:
        number = {
            "mean": pl.col("value").mean(),
            "distinct": pl.col("answer").n_unique().cast(pl.Float64),
            "commonest": pl.col("answer").unique_counts().max() / pl.len(),
            "perplexity": pl.col("value").mean().exp(),
        }[self.statistic]
        return select.rows(readings).group_by("seed", "step").agg(number=number)


@dataclass(frozen=True, kw_only=True)
class Together:
    """R² of one curve on another over the checkpoints both have, or where detrended the correlation of changes."""

    one: Curve
    other: Curve
    detrended: bool = False
    quantity: str = "R²"

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean over seeds, with an interval from blocks of checkpoints; see `analysis.stats.time_series.together`.

        Raises:
            DataError: A curve is missing, too short or flat.
        """
        one, other = self.one.points(readings), self.other.points(readings)
        pairs = []
        for seed in sorted(one.keys() & other.keys()):
            left, right = (dict(zip(*curve[seed], strict=True)) for curve in (one, other))
            steps = sorted(left.keys() & right.keys())
            pairs.append(([left[s] for s in steps], [right[s] for s in steps]))
        return curves.together([a for a, _ in pairs], [b for _, b in pairs], seed=RESAMPLING, detrended=self.detrended)


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The most that a curve ever was after its first checkpoint, in the seed where that is least."""

    curve: Curve
    quantity: str = "share"

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """A number that was counted: nothing is drawn, so its interval is itself.

        Raises:
            DataError: The curve is missing.
        """
        points = self.curve.points(readings)
        most = [max(values[1:] or values) for _, values in points.values()]
        return curves.counted(min(most), n=sum(len(v) for _, v in points.values()), seeds=len(points), unit=unit)


@dataclass(frozen=True, kw_only=True)
class Phases:
    """How much of a training lies between two beginnings: that of `first` and that of `second`.

    A curve begins at the first checkpoint behind which it stays more than `share` of the way from its first value
    to its highest. Babbling ends where distinct programs begin, semantics begins where accuracy does; between the
    two is syntax (arXiv:2305.11169, the three phases; the rule is ours). Steps are shares of the whole training.
    """

    first: Curve
    second: Curve
    share: float = 0.2
    quantity: str = "share"

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean over seeds, with Student's t over them.

        Raises:
            DataError: A curve is missing.
        """
        spans = self.borders(readings)
        return curves.over_seeds([second - first for first, second in spans.values()], unit="seed")

    def borders(self, readings: pl.DataFrame) -> dict[int, tuple[float, float]]:
        """Seed -> where the first and where the second curve begin, as shares of the training."""
        first, second = self.first.points(readings), self.second.points(readings)
        return {
            seed: (_begins(*first[seed], self.share), _begins(*second[seed], self.share))
            for seed in sorted(first.keys() & second.keys())
        }


def _begins(steps: list[int], values: list[float], share: float) -> float:
    """Half-way between the last checkpoint before and the first behind, as nothing is known between them."""
    place = curves.leaves(values, share)
    if place >= len(steps):
        return 1.0
    before = steps[place - 1] if place else steps[0]
    return float(np.mean([before, steps[place]])) / steps[-1]
