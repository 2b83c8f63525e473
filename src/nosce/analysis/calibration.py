"""Measures of reports: how far their probabilities lie from the answers', and what a comparison could have seen.

Source: Binder et al. 2024 (arXiv:2410.13787), section 3.3 and appendices A.2.9 (mean absolute deviation, as the sheet
has it from the code) and A.3.3 (matching labels); a share of 2.8 standard errors for 80 % power is textbook.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from nosce.analysis.jackknife import Columns, jackknifed, resampled
from nosce.analysis.measures import Measure, Select, scored
from nosce.errors import DataError
from nosce.records import Estimate

BINS = 10
NORMAL, POWER = 1.959964, 0.841621  # quantiles of a two-sided test at 5 %, and of 80 % power


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Mean absolute deviation of reports' probabilities from the answers', over bins; of `other`, if any, subtracted.

    Pairs of the ranks are pooled and cut into ten bins of equally many by the answers' probability, equal edges
    dropped; each bin counts once, by how far its two means lie apart. Selections' metrics are put in here.
    """

    one: Select
    other: Select | None = None
    ranks: tuple[int, ...] = (1, 2, 3)
    answers: Literal["answer", "drawn"] = "answer"  # exact probabilities, or shares of draws
    quantity: str = "share"

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The deviation, 0 to 1, or the difference of two.

        Raises:
            DataError: A selection is empty.
        """
        sides = [self.one] if self.other is None else [self.one, self.other]
        selects = [replace(side, metric=f"{what} {rank}") for side in sides for rank in self.ranks
                   for what in (self.answers, "report")]  # fmt: skip
        each = 2 * len(self.ranks)

        def deviation(columns: Columns) -> float:
            found = [apart(*_pooled(columns[first : first + each])) for first in range(0, len(columns), each)]
            return found[0] if len(found) == 1 else found[0] - found[1]

        return jackknifed(selects, deviation, readings, unit)


def _pooled(columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(columns[0::2]), np.concatenate(columns[1::2])


def apart(answers: np.ndarray, reports: np.ndarray) -> float:
    """The mean over equal-frequency bins of how far the means of two probabilities lie apart. Shapes: (P,)."""
    curve = binned(answers, reports)
    return float(np.abs(curve[:, 0] - curve[:, 1]).mean())


def binned(answers: np.ndarray, reports: np.ndarray) -> np.ndarray:
    """Means of answers and reports, and how many, of each bin. Shape: (at most 10, 3)."""
    edges = np.unique(np.quantile(answers, np.linspace(0, 1, BINS + 1)))
    if len(edges) < 2:
        return np.array([[answers.mean(), reports.mean(), len(answers)]])
    place = np.clip(np.searchsorted(edges, answers, side="left") - 1, 0, len(edges) - 2)
    counts = np.bincount(place, minlength=len(edges) - 1)
    filled = counts > 0
    sums = [np.bincount(place, weights=w, minlength=len(edges) - 1)[filled] for w in (answers, reports)]
    return np.stack([sums[0] / counts[filled], sums[1] / counts[filled], counts[filled]], 1)


@dataclass(frozen=True, kw_only=True)
class Matched:
    """A difference of means between two conditions whose answers differ, with equal histograms of labels in both.

    Of each facet and label as many count on either side as the rarer side has: a difference that remains is not that
    one side's labels are easier to guess. Rows are weighted instead of drawn.
    """

    one: Select
    other: Select

    @property
    def quantity(self) -> str:
        """What the estimate is a number of."""
        return self.one.quantity

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference.

        Raises:
            DataError: A side is empty, or no label is on both.
        """
        tables = [scored(select, readings).sort("seed", "about", "item") for select in (self.one, self.other)]
        kinds = pl.concat([table.select("facet", "target") for table in tables]).unique(maintain_order=True)
        kinds = kinds.with_row_index("kind")
        tables = [table.join(kinds, on=["facet", "target"], maintain_order="left") for table in tables]
        seeds = sorted(set(tables[0]["seed"].to_list()) & set(tables[1]["seed"].to_list()))
        if not seeds:
            raise DataError(f"no seed has both {self.one.words} and {self.other.words}; run them on the same seeds.")
        values, names = {}, {}
        for seed in seeds:
            parts = [table.filter(pl.col("seed") == seed) for table in tables]
            values[seed] = [part.select("value", "kind").to_numpy().astype(float) for part in parts]
            names[seed] = [part["about"].to_numpy() for part in parts]
        count = len(kinds)

        def difference(columns: Columns) -> float:
            return _matched(columns, count)

        if any(np.isnan(difference(columns)) for columns in values.values()):
            raise DataError(f"{self.one.words} and {self.other.words} have no label in common, so none can be matched.")
        return resampled(values, names, difference, unit)


def _matched(columns: Columns, kinds: int) -> float:
    counts = [np.bincount(side[:, 1].astype(int), minlength=kinds) for side in columns]
    least = np.minimum(*counts)
    if not least.sum():
        return float("nan")
    means = []
    for side, count in zip(columns, counts, strict=True):
        sums = np.bincount(side[:, 1].astype(int), weights=side[:, 0], minlength=kinds)
        means.append(float((sums / np.maximum(1, count) * least).sum() / least.sum()))
    return means[0] - means[1]


@dataclass(frozen=True, kw_only=True)
class Detectable:
    """The smallest true difference that a measure's interval would exclude zero for in 80 % of repetitions.

    From the interval's own width; where there is none, neither is this.
    """

    measure: Measure

    @property
    def quantity(self) -> str:
        """What the estimate is a number of."""
        return str(getattr(self.measure, "quantity", "share"))

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference, without an interval of its own.

        Raises:
            DataError: What the measure refuses, or it has no interval.
        """
        found = self.measure.of(readings, unit)
        if found.low is None or found.high is None:
            raise DataError("what could have been seen was asked for, but there is no interval to tell it from.")
        error = (found.high - found.low) / (2 * NORMAL)
        return replace(found, value=(NORMAL + POWER) * error, low=None, high=None, method="from the interval's width")


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """A figure of reports' probabilities against those of the answers, in bins; the diagonal is what is perfect."""

    id: str
    title: str
    caption: str
    curves: tuple[tuple[str, Select], ...]
    ranks: tuple[int, ...] = (1, 2, 3)
    answers: Literal["answer", "drawn"] = "answer"
    x_label: str = "probability among the answers"
    y_label: str = "probability in the report"
    unit: Literal["share", "number"] = "share"
    x_scale: Literal["linear", "log"] = "linear"
    kind: Literal["curves"] = "curves"

    def table(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> pl.DataFrame:
        """The figure's rows: one a curve and bin, all seeds together; no interval."""
        rows: list[dict[str, object]] = []
        for name, select in self.curves:
            pairs = []
            for rank in self.ranks:
                told, said = (replace(select, metric=f"{what} {rank}").rows(readings).sort("seed", "about", "item")
                              for what in (self.answers, "report"))  # fmt: skip
                pairs.append((told["value"].to_numpy(), said["value"].to_numpy()))
            answers, reports = (np.concatenate(side) for side in zip(*pairs, strict=True))
            if not len(answers):
                continue
            rows += [{"group": name, "x": x, "value": y, "n": int(n), "baseline": False}
                     for x, y, n in binned(answers, reports)]  # fmt: skip
        rows += [{"group": "perfect", "x": x, "value": x, "n": 0, "baseline": True} for x in (0.0, 1.0) if rows]
        kinds = {"panel": pl.String, "group": pl.String, "x": pl.Float64, "tick": pl.String, "value": pl.Float64,
                 "low": pl.Float64, "high": pl.Float64, "n": pl.Int64, "baseline": pl.Boolean}  # fmt: skip
        whole = [{"panel": "", "tick": "", "low": None, "high": None} | row for row in rows]
        return pl.DataFrame(whole, schema=kinds)
