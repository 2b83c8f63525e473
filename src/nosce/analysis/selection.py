"""Which rows of the readings a measure or figure is made of, as pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from nosce.analysis.answer_numbers import NumberScore
from nosce.analysis.stats.ranges import QUANTITY_RANGES, UNBOUNDED, ValueRange
from nosce.errors import DataError
from nosce.store.spec import LATER

CACHE_MIN_ROWS = 200_000  # from this size on, filtering the whole table takes most of the time


class _SelectionCache:
    """The rows of each evaluation and metric of one large table: a study selects the same few hundreds of times."""

    def __init__(self) -> None:
        self._readings = pl.DataFrame()
        self._rows_by_metric: dict[tuple[str, str], pl.DataFrame] = {}
        self._is_complete = False

    def metric_rows(self, readings: pl.DataFrame, evaluation: str, metric: str) -> pl.DataFrame:
        """The rows of one evaluation and metric. The cache holds one table, recognised by object identity."""
        chosen = pl.col("evaluation") == evaluation, pl.col("metric") == metric
        if len(readings) < CACHE_MIN_ROWS:
            return readings.filter(*chosen)
        if self._readings is not readings:
            slices = _metric_slices(readings)
            self._readings, self._rows_by_metric, self._is_complete = readings, slices or {}, slices is not None
        if (evaluation, metric) not in self._rows_by_metric:
            self._rows_by_metric[evaluation, metric] = (
                readings.clear() if self._is_complete else readings.filter(*chosen)
            )
        return self._rows_by_metric[evaluation, metric]


def _metric_slices(readings: pl.DataFrame) -> dict[tuple[str, str], pl.DataFrame] | None:
    """The rows of each evaluation and metric without copying them; None where they do not lie side by side."""
    pair = readings.select("evaluation", "metric")
    changes = pair.select(pl.any_horizontal(pl.all().ne_missing(pl.all().shift()))).to_series()
    starts = [0, *(start for start in changes.arg_true().to_list() if start)]
    names = pair[starts].rows()
    if len(set(names)) < len(names):
        return None
    ends = [*starts[1:], len(readings)]
    return {name: readings[start:end] for name, start, end in zip(names, starts, ends, strict=True)}


_SELECTION_CACHE = _SelectionCache()


@dataclass(frozen=True, kw_only=True)
class BestStep:
    """The kept step of each arm, seed and stage at which another evaluation is best: its highest mean.

    Of equally good steps the last one is taken. The other evaluation must be about other items than those that are
    selected, e.g. those of the validation split; else the choice itself would raise the score.

    Args:
        evaluation: Name of the evaluation that chooses.
        metric: Name of its metric; a higher one is better.
    """

    evaluation: str
    metric: str = "exact"

    def choosing(self, selection: Selection) -> Selection:
        """The readings that choose the step of a selection."""
        return Selection(
            evaluation=self.evaluation, metric=self.metric, arm=selection.arm, stage=selection.stage, step="every"
        )

    def steps(self, readings: pl.DataFrame) -> pl.DataFrame:
        """The chosen step of each arm, seed and stage, one row each.

        Raises:
            DataError: There is no reading to choose by, or one has no value.
        """
        rows = _SELECTION_CACHE.metric_rows(readings, self.evaluation, self.metric)
        if rows.is_empty() or rows["value"].null_count():
            found = "a reading without a value" if len(rows) else "no reading"
            raise DataError(
                f"a step is chosen by {self.evaluation} {self.metric}, of which there is {found}; run this evaluation "
                "on every kept step."
            )
        means = rows.group_by("arm", "seed", "stage", "step").agg(pl.col("value").mean()).sort("value", "step")
        return means.group_by("arm", "seed", "stage").agg(pl.col("step").last())


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rows of the readings whose columns have these values; None or () selects every value.

    Args:
        evaluation: Name of the evaluation.
        metric: Name of the metric.
        arm: Name of the arm.
        split: The items that the arm was trained on ("seen"), was not ("unseen"), or was taught to answer ("taught").
        attributes: Names of the attributes.
        stage: Name of the training stage.
        step: A number of optimizer steps, the last or every kept step of a stage, or the one at which another
            evaluation is best.
        quantity: What the metric's value is: a share from 0 to 1, or its unit, e.g. "nats".
        limits: The least and largest value of the metric, where these are not the usual ones of its quantity, e.g. of
            a log-likelihood, whose nats are 0 or below.
        rescore: A score of the numbers in answers and targets that takes the place of the metric's value. The metric
            must keep its answers, as `exact` does.
    """

    evaluation: str
    metric: str = "exact"
    arm: str | None = None
    split: Literal["seen", "unseen", "taught"] | None = None
    attributes: tuple[str, ...] = ()
    stage: str | None = None
    step: int | Literal["last", "every"] | BestStep = "last"
    quantity: str = "share"
    limits: ValueRange | None = field(default=None, metadata=LATER)
    rescore: NumberScore | None = field(default=None, metadata=LATER)

    @property
    def value_range(self) -> ValueRange:
        """The natural range of the metric."""
        return QUANTITY_RANGES.get(self.quantity, UNBOUNDED) if self.limits is None else self.limits

    def rows(self, readings: pl.DataFrame) -> pl.DataFrame:
        """The selected rows; there may be none.

        Raises:
            DataError: A step is to be chosen by another evaluation, which has no readings.
        """
        rows = self._metric_rows(readings)
        return rows if self.rescore is None else self.rescore.applied(rows)

    def _metric_rows(self, readings: pl.DataFrame) -> pl.DataFrame:
        """The selected rows with the metric's own values."""
        column_values = {"arm": self.arm, "split": self.split, "stage": self.stage}
        table = _SELECTION_CACHE.metric_rows(readings, self.evaluation, self.metric)
        table = table.filter(*(pl.col(name) == value for name, value in column_values.items() if value is not None))
        if self.attributes:
            table = table.filter(pl.col("attribute").is_in(self.attributes))
        if self.step == "last":
            return table.filter(pl.col("step") == pl.col("step").max().over("arm", "seed", "stage"))
        if isinstance(self.step, BestStep):
            return table.join(self.step.steps(readings), on=["arm", "seed", "stage", "step"], how="semi")
        return table if self.step == "every" else table.filter(pl.col("step") == self.step)

    @property
    def description(self) -> str:
        """The selection in words, for messages."""
        shown_attributes = (
            self.attributes if len(self.attributes) < 4 else (self.attributes[0], f"{len(self.attributes) - 1} more")
        )
        score = self.metric if self.rescore is None else f"{self.rescore.kind} of numbers"
        parts = [self.arm, self.stage, self.split, self.evaluation, score, " + ".join(shown_attributes)]
        return " ".join(p for p in parts if p)


def scored_rows(selection: Selection, readings: pl.DataFrame) -> pl.DataFrame:
    """The selected rows, every one with a value.

    Raises:
        DataError: There is no row, or a value is missing (a missing value is not zero).
    """
    rows = selected_rows(selection, readings)
    missing = rows["value"].null_count()
    if missing:
        raise DataError(
            f"{missing:,} of {len(rows):,} readings for {selection.description} have no value, and missing is not "
            "zero; take a metric that every item has."
        )
    return rows


def selected_rows(selection: Selection, readings: pl.DataFrame) -> pl.DataFrame:
    """The selected rows, at least one.

    Raises:
        DataError: There is no row.
    """
    rows = selection.rows(readings)
    if rows.is_empty():
        raise DataError(f"no reading is there for {selection.description}; run the arms and evaluations it needs.")
    return rows
