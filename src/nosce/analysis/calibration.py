"""Measures of reports: how far their probabilities lie from the answers', and what a comparison could have seen.

Source: Binder et al. 2024 (arXiv:2410.13787), section 3.3 and appendices A.2.9 (mean absolute deviation, computed as in
the released code) and A.3.3 (matching labels); a share of 2.8 standard errors for 80 % power is textbook.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from nosce.analysis.jackknife import ValueColumns, jackknife_selections, jackknife_values
from nosce.analysis.measures import Measure, Selection, scored_rows
from nosce.errors import DataError
from nosce.records import Estimate

CALIBRATION_BINS = 10
Z_TWO_SIDED_95, Z_POWER_80 = 1.959964, 0.841621  # quantiles of a two-sided test at 5 %, and of 80 % power


@dataclass(frozen=True, kw_only=True)
class CalibrationMAD:
    """Mean absolute deviation of reports' probabilities from the answers', over bins; of `other`, if any, subtracted.

    Pairs of the ranks are pooled and cut into ten bins of equally many by the answers' probability, equal edges
    dropped; each bin counts once, by how far its two means lie apart. Selections' metrics are put in here.
    """

    a: Selection
    b: Selection | None = None
    ranks: tuple[int, ...] = (1, 2, 3)
    answer_source: Literal["answer", "drawn"] = "answer"  # exact probabilities, or shares of draws
    quantity: str = "share"

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The deviation, 0 to 1, or the difference of two.

        Raises:
            DataError: A selection is empty.
        """
        selections = [self.a] if self.b is None else [self.a, self.b]
        metric_selections = [
            replace(side, metric=f"{source} {rank}")
            for side in selections
            for rank in self.ranks
            for source in (self.answer_source, "report")
        ]
        columns_per_side = 2 * len(self.ranks)

        def deviation(columns: ValueColumns) -> float:
            deviations = [
                calibration_mad(*_pooled(columns[first : first + columns_per_side]))
                for first in range(0, len(columns), columns_per_side)
            ]
            return deviations[0] if len(deviations) == 1 else deviations[0] - deviations[1]

        return jackknife_selections(metric_selections, deviation, readings, unit)


def _pooled(columns: ValueColumns) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(columns[0::2]), np.concatenate(columns[1::2])


def calibration_mad(answers: np.ndarray, reports: np.ndarray) -> float:
    """The mean over equal-frequency bins of how far the means of two probabilities lie apart. Shapes: (P,)."""
    curve = calibration_bins(answers, reports)
    return float(np.abs(curve[:, 0] - curve[:, 1]).mean())


def calibration_bins(answers: np.ndarray, reports: np.ndarray) -> np.ndarray:
    """Means of answers and reports, and how many, of each bin. Shape: (at most 10, 3)."""
    edges = np.unique(np.quantile(answers, np.linspace(0, 1, CALIBRATION_BINS + 1)))
    if len(edges) < 2:
        return np.array([[answers.mean(), reports.mean(), len(answers)]])
    bin_index = np.clip(np.searchsorted(edges, answers, side="left") - 1, 0, len(edges) - 2)
    counts = np.bincount(bin_index, minlength=len(edges) - 1)
    filled = counts > 0
    sums = [np.bincount(bin_index, weights=w, minlength=len(edges) - 1)[filled] for w in (answers, reports)]
    return np.stack([sums[0] / counts[filled], sums[1] / counts[filled], counts[filled]], 1)


@dataclass(frozen=True, kw_only=True)
class LabelMatchedDifference:
    """A difference of means between two conditions whose answers differ, with equal histograms of labels in both.

    Of each facet and label as many count on either side as the rarer side has: a difference that remains is not that
    one side's labels are easier to guess. Rows are weighted instead of drawn.
    """

    a: Selection
    b: Selection

    @property
    def quantity(self) -> str:
        """What the estimate is a number of."""
        return self.a.quantity

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference.

        Raises:
            DataError: A side is empty, or no label is on both.
        """
        tables = [scored_rows(select, readings).sort("seed", "entity", "item") for select in (self.a, self.b)]
        strata = pl.concat([table.select("attribute", "target") for table in tables]).unique(maintain_order=True)
        strata = strata.with_row_index("kind")
        tables = [table.join(strata, on=["attribute", "target"], maintain_order="left") for table in tables]
        seeds = sorted(set(tables[0]["seed"].to_list()) & set(tables[1]["seed"].to_list()))
        if not seeds:
            raise DataError(
                f"no seed has both {self.a.description} and {self.b.description}; run them on the same seeds."
            )
        values, entities = {}, {}
        for seed in seeds:
            seed_tables = [table.filter(pl.col("seed") == seed) for table in tables]
            values[seed] = [part.select("value", "kind").to_numpy().astype(float) for part in seed_tables]
            entities[seed] = [part["entity"].to_numpy() for part in seed_tables]
        n_strata = len(strata)

        def difference(columns: ValueColumns) -> float:
            return _matched_difference(columns, n_strata)

        if any(np.isnan(difference(columns)) for columns in values.values()):
            raise DataError(
                f"{self.a.description} and {self.b.description} have no label in common, so none can be matched."
            )
        return jackknife_values(values, entities, difference, unit)


def _matched_difference(columns: ValueColumns, n_strata: int) -> float:
    counts = [np.bincount(side[:, 1].astype(int), minlength=n_strata) for side in columns]
    shared_counts = np.minimum(*counts)
    if not shared_counts.sum():
        return float("nan")
    means = []
    for side, count in zip(columns, counts, strict=True):
        sums = np.bincount(side[:, 1].astype(int), weights=side[:, 0], minlength=n_strata)
        means.append(float((sums / np.maximum(1, count) * shared_counts).sum() / shared_counts.sum()))
    return means[0] - means[1]


@dataclass(frozen=True, kw_only=True)
class MinimumDetectableEffect:
    """The smallest true difference that a measure's interval would exclude zero for in 80 % of repetitions.

    From the interval's own width; where there is none, neither is this.
    """

    measure: Measure

    @property
    def quantity(self) -> str:
        """What the estimate is a number of."""
        return str(getattr(self.measure, "quantity", "share"))

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference, without an interval of its own.

        Raises:
            DataError: What the measure refuses, or it has no interval.
        """
        measured = self.measure.estimate(readings, unit)
        if measured.low is None or measured.high is None:
            raise DataError("what could have been seen was asked for, but there is no interval to tell it from.")
        error = (measured.high - measured.low) / (2 * Z_TWO_SIDED_95)
        return replace(
            measured,
            value=(Z_TWO_SIDED_95 + Z_POWER_80) * error,
            low=None,
            high=None,
            method="from the interval's width",
        )


@dataclass(frozen=True, kw_only=True)
class CalibrationFigure:
    """A figure of reports' probabilities against those of the answers, in bins; the diagonal is what is perfect."""

    id: str
    title: str
    caption: str
    curves: tuple[tuple[str, Selection], ...]
    ranks: tuple[int, ...] = (1, 2, 3)
    answer_source: Literal["answer", "drawn"] = "answer"
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
                answer_rows, report_rows = (
                    replace(select, metric=f"{source} {rank}").rows(readings).sort("seed", "entity", "item")
                    for source in (self.answer_source, "report")
                )
                pairs.append((answer_rows["value"].to_numpy(), report_rows["value"].to_numpy()))
            answers, reports = (np.concatenate(side) for side in zip(*pairs, strict=True))
            if not len(answers):
                continue
            rows += [
                {"group": name, "x": x, "value": y, "n": int(n), "baseline": False}
                for x, y, n in calibration_bins(answers, reports)
            ]
        rows += [{"group": "perfect", "x": x, "value": x, "n": 0, "baseline": True} for x in (0.0, 1.0) if rows]
        columns = {
            "panel": pl.String,
            "group": pl.String,
            "x": pl.Float64,
            "tick": pl.String,
            "value": pl.Float64,
            "low": pl.Float64,
            "high": pl.Float64,
            "n": pl.Int64,
            "baseline": pl.Boolean,
        }
        full_rows = [{"panel": "", "tick": "", "low": None, "high": None} | row for row in rows]
        return pl.DataFrame(full_rows, schema=columns)
