"""Measures of reports: how far their probabilities lie from the answers', and which effect a comparison can detect.

Source: Binder et al. 2024 (arXiv:2410.13787), section 3.3 and appendix A.2.9 (mean absolute deviation; the binning
follows the authors' code) and appendix A.3.3 (matching labels). That 2.8 standard errors give 80 % power is textbook.
Letters: P pairs, B bins, N readings, K strata.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import polars as pl

from nosce.analysis.figures import Figure
from nosce.analysis.jackknife import ValueColumns, jackknife_selections, jackknife_values
from nosce.analysis.measures import Measure
from nosce.analysis.render.figure import FigureRow
from nosce.analysis.selection import Selection, scored_rows
from nosce.analysis.stats.arrays import FloatArray
from nosce.analysis.stats.ranges import SHARE_RANGE, ValueRange, weighted_sum_range
from nosce.errors import DataError
from nosce.records import Estimate

CALIBRATION_BINS = 10
Z_TWO_SIDED_95, Z_POWER_80 = 1.959964, 0.841621  # quantiles of a two-sided test at 5 %, and of 80 % power

AnswerProbability = Literal["answer", "drawn"]


@dataclass(frozen=True, kw_only=True)
class CalibrationMAD(Measure):
    """Mean absolute deviation of reported probabilities from the answers' probabilities, over bins; smaller is better.

    Pairs of all ranks are pooled and cut into ten bins of equal frequency by the answers' probability; equal edges
    merge. Each bin counts once, by the distance of its two means.

    Args:
        a: The reports. The measure replaces the metric by `report <rank>`, `answer <rank>` and `drawn <rank>`.
        b: Reports whose deviation is subtracted; None subtracts nothing.
        ranks: The answers to compare, 1 for the most probable one. Ranks that no answers have are left out.
        answer_source: The answers' probabilities: exact ("answer"), or frequencies of sampled answers ("drawn").
    """

    a: Selection
    b: Selection | None = None
    ranks: tuple[int, ...] = (1, 2, 3)
    answer_source: AnswerProbability = "answer"
    derives_metrics: ClassVar[bool] = True

    @property
    def is_difference(self) -> bool:
        """A difference if there is something to subtract."""
        return self.b is not None

    @property
    def value_range(self) -> ValueRange:
        """Of a deviation 0 to 1, of a difference of two -1 to 1."""
        return SHARE_RANGE if self.b is None else ValueRange(-1.0, 1.0)

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The deviation, 0 to 1, or the difference of two deviations.

        Raises:
            DataError: A selection is empty.
        """
        sides = [self.a] if self.b is None else [self.a, self.b]
        ranks = [rank for rank in self.ranks if self._has_rank(sides, rank, readings)] or self.ranks[:1]
        selections = [one for side in sides for one in _rank_selections(side, ranks, self.answer_source)]
        columns_per_side = 2 * len(ranks)

        def deviation(columns: ValueColumns) -> float:
            mad = calibration_mad(*_pooled(columns[:columns_per_side]))
            return mad if self.b is None else mad - calibration_mad(*_pooled(columns[columns_per_side:]))

        return jackknife_selections(selections, deviation, readings, unit, self.value_range)

    def _has_rank(self, sides: Sequence[Selection], rank: int, readings: pl.DataFrame) -> bool:
        """Whether any answers have so many labels; where all have one or two, e.g. yes and no, there is no third."""
        selections = [replace(side, metric=f"{self.answer_source} {rank}") for side in sides]
        return any(not selection.rows(readings).is_empty() for selection in selections)


def _rank_selections(
    selection: Selection, ranks: Sequence[int], answer_source: AnswerProbability
) -> Iterator[Selection]:
    """The answers' and the reports' probabilities of each rank in turn."""
    for rank in ranks:
        yield replace(selection, metric=f"{answer_source} {rank}")
        yield replace(selection, metric=f"report {rank}")


def _pooled(columns: ValueColumns) -> tuple[FloatArray, FloatArray]:
    """The probabilities of all ranks in one column: the answers', and the reports'."""
    return np.concatenate(columns[0::2]), np.concatenate(columns[1::2])


def calibration_mad(answers: FloatArray, reports: FloatArray) -> float:
    """The mean over equal-frequency bins of the distance between the means of two probabilities. Shapes: (P,)."""
    curve = calibration_bins(answers, reports)
    return float(np.abs(curve[:, 0] - curve[:, 1]).mean())


def calibration_bins(answers: FloatArray, reports: FloatArray) -> FloatArray:
    """Each bin's mean answer, mean report and number of pairs. Shape: (B, 3), B at most 10."""
    edges = np.unique(np.quantile(answers, np.linspace(0, 1, CALIBRATION_BINS + 1)))
    if len(edges) < 2:
        return np.array([[answers.mean(), reports.mean(), len(answers)]])
    bin_index = np.clip(np.searchsorted(edges, answers, side="left") - 1, 0, len(edges) - 2)
    counts = np.bincount(bin_index, minlength=len(edges) - 1)
    filled = counts > 0
    sums = [np.bincount(bin_index, weights=w, minlength=len(edges) - 1)[filled] for w in (answers, reports)]
    return np.stack([sums[0] / counts[filled], sums[1] / counts[filled], counts[filled]], 1)


@dataclass(frozen=True, kw_only=True)
class LabelMatchedContrast(Measure):
    """A weighted sum of conditions' means, weighted so that all have the same histogram of labels.

    For each attribute and label, every condition gets the weight of the one in which it is rarest. A remaining
    difference is then not due to one condition's labels being easier to guess. Weighting replaces subsampling.

    Args:
        terms: The weight of each selection, and the selection.
    """

    terms: tuple[tuple[float, Selection], ...]

    @property
    def quantity(self) -> str:
        """The quantity of the first selection."""
        return self.terms[0][1].quantity

    @property
    def is_difference(self) -> bool:
        """A difference if the weights sum to zero."""
        return abs(sum(weight for weight, _ in self.terms)) < 1e-9

    @property
    def value_range(self) -> ValueRange:
        """The range of the sum."""
        return weighted_sum_range((weight, selection.value_range) for weight, selection in self.terms)

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The sum.

        Raises:
            DataError: A selection is empty, or no label occurs in all.
        """
        tables = [scored_rows(selection, readings).sort("seed", "entity", "item") for _, selection in self.terms]
        strata = pl.concat([table.select("attribute", "target") for table in tables]).unique(maintain_order=True)
        strata = strata.with_row_index("kind")
        tables = [table.join(strata, on=["attribute", "target"], maintain_order="left") for table in tables]
        seeds = sorted(set.intersection(*(set(table["seed"].to_list()) for table in tables)))
        names = _listed([selection.description for _, selection in self.terms])
        if not seeds:
            raise DataError(f"no seed has {names}; run them on the same seeds.")
        values, entities = {}, {}
        for seed in seeds:
            seed_tables = [table.filter(pl.col("seed") == seed) for table in tables]
            values[seed] = [part.select("value", "kind").to_numpy().astype(float) for part in seed_tables]
            entities[seed] = [part["entity"].to_numpy() for part in seed_tables]
        weights = [weight for weight, _ in self.terms]

        def matched_sum(columns: ValueColumns) -> float:
            return _matched_sum(columns, weights, len(strata))

        if any(np.isnan(matched_sum(columns)) for columns in values.values()):
            raise DataError(f"{names} have no label in common, so none can be matched.")
        return jackknife_values(values, entities, matched_sum, unit, self.value_range)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _matched_sum(columns: ValueColumns, weights: Sequence[float], n_strata: int) -> float:
    """The weighted sum of tables (N, 2) of a value and its stratum; NaN where no stratum is in all."""
    counts = [np.bincount(side[:, 1].astype(int), minlength=n_strata) for side in columns]
    shared_counts = np.minimum.reduce(counts)
    if not shared_counts.sum():
        return float("nan")
    total = 0.0
    for weight, side, count in zip(weights, columns, counts, strict=True):
        sums = np.bincount(side[:, 1].astype(int), weights=side[:, 0], minlength=n_strata)
        total += weight * float((sums / np.maximum(1, count) * shared_counts).sum() / shared_counts.sum())
    return total


@dataclass(frozen=True, kw_only=True)
class LabelMatchedDifference(Measure):
    """The difference of two conditions' means, matched as `LabelMatchedContrast` matches them.

    Args:
        a: The readings whose mean is taken.
        b: The readings whose mean is subtracted.
    """

    a: Selection
    b: Selection

    @property
    def quantity(self) -> str:
        """The quantity of the first selection."""
        return self.a.quantity

    @property
    def is_difference(self) -> bool:
        """A difference; shares are shown in points."""
        return True

    @property
    def value_range(self) -> ValueRange:
        """Of a difference of shares -1 to 1."""
        return weighted_sum_range([(1.0, self.a.value_range), (-1.0, self.b.value_range)])

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference.

        Raises:
            DataError: A selection is empty, or no label occurs in both.
        """
        return LabelMatchedContrast(terms=((1.0, self.a), (-1.0, self.b))).estimate(readings, unit)


@dataclass(frozen=True, kw_only=True)
class MinimumDetectableEffect(Measure):
    """The smallest true effect whose interval would exclude zero in 80 % of repetitions, from an interval's width.

    Args:
        measure: The measure whose interval tells the standard error.
    """

    measure: Measure

    @property
    def quantity(self) -> str:
        """The quantity of the measure."""
        return self.measure.quantity

    @property
    def is_difference(self) -> bool:
        """An effect is a difference."""
        return True

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The effect, without an interval of its own.

        Raises:
            DataError: The measure has no estimate or no interval.
        """
        measured = self.measure.estimate(readings, unit)
        if measured.low is None or measured.high is None:
            raise DataError(
                "the detectable effect follows from the width of an interval, but the measure has none; add units."
            )
        error = (measured.high - measured.low) / (2 * Z_TWO_SIDED_95)
        return replace(
            measured,
            value=(Z_TWO_SIDED_95 + Z_POWER_80) * error,
            low=None,
            high=None,
            method="from the interval's width",
        )


@dataclass(frozen=True, kw_only=True)
class CalibrationFigure(Figure):
    """A figure of reported probabilities against the answers' probabilities, in bins; the diagonal is perfect.

    Args:
        curves: The name of each curve, and its reports.
        ranks: The answers to compare, 1 for the most probable one.
        answer_source: The answers' probabilities: exact ("answer"), or frequencies of sampled answers ("drawn").
    """

    curves: tuple[tuple[str, Selection], ...]
    ranks: tuple[int, ...] = (1, 2, 3)
    answer_source: AnswerProbability = "answer"
    derives_metrics: ClassVar[bool] = True
    x_label: str = "probability among the answers"
    y_label: str = "probability in the report"
    kind: Literal["curves"] = "curves"

    def rows(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> Iterator[FigureRow]:
        """One row a curve and bin, pooled over seeds and without interval, then the ends of the diagonal."""
        has_rows = False
        for name, selection in self.curves:
            columns = []
            for rank_selection in _rank_selections(selection, self.ranks, self.answer_source):
                columns.append(rank_selection.rows(readings).sort("seed", "entity", "item")["value"].to_numpy())
            answers, reports = _pooled(columns)
            if not len(answers):
                continue
            has_rows = True
            for x, y, n in calibration_bins(answers, reports).tolist():
                yield FigureRow(group=name, x=x, value=y, n=int(n))
        if has_rows:
            yield FigureRow(group="perfect", x=0.0, value=0.0, baseline=True)
            yield FigureRow(group="perfect", x=1.0, value=1.0, baseline=True)
