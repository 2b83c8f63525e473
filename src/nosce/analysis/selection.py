"""Which rows of the readings a measure or figure is made of, as pure data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import polars as pl

from nosce.analysis.answer_numbers import NumberScore
from nosce.analysis.stats.ranges import QUANTITY_RANGES, UNBOUNDED, ValueRange
from nosce.analysis.stats.time_series import onset_index
from nosce.errors import DataError
from nosce.store.spec import LATER

CROSSED_SPLITS = {"validation": "unseen", "unseen": "validation"}  # for whom a half of the held-out items chooses
_TRAINING_COLUMNS = ["arm", "seed", "stage"]
NO_READING = "no reading is there"  # how the reason of a claim begins whose arms or evaluations were not run
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
    selected, e.g. those of the validation split; else the choice itself would raise the score. With `crossed` it may be
    about the same: each half of the held-out items is read at the step that the other half chooses (cross-fitting,
    Chernozhukov et al. 2018, Econometrics Journal 21), so that all of them are tested and none chooses for itself.

    Args:
        evaluation: Name of the evaluation that chooses.
        metric: Name of its metric; a higher one is better.
        crossed: The items of the splits "validation" and "unseen" choose for each other; those of other splits are read
            at the step that both choose together.
    """

    evaluation: str
    metric: str = "exact"
    crossed: bool = field(default=False, metadata=LATER)

    def choosing(self, selection: Selection) -> tuple[Selection, ...]:
        """The readings that choose the step of a selection."""
        arm, stage = selection.arm, selection.stage
        return (Selection(evaluation=self.evaluation, metric=self.metric, arm=arm, stage=stage, step="every"),)

    def chosen_rows(self, table: pl.DataFrame, readings: pl.DataFrame) -> pl.DataFrame:
        """The rows of a table at the step that is chosen for each.

        Raises:
            DataError: There is no reading to choose by, or one has no value.
        """
        if not self.crossed:
            return self._at_chosen_step(table, readings, None)
        parts = []
        for split, chooser in (*CROSSED_SPLITS.items(), (None, None)):
            is_part = pl.col("split") == split if split else ~pl.col("split").is_in(list(CROSSED_SPLITS))
            parts.append(self._at_chosen_step(table.filter(is_part), readings, chooser))
        return pl.concat(parts)

    def _at_chosen_step(self, rows: pl.DataFrame, readings: pl.DataFrame, chooser: str | None) -> pl.DataFrame:
        """The rows at the step that is best for the items of a split, or of all."""
        if rows.is_empty():
            return rows
        chosen = self._steps(readings, chooser, rows["arm"].unique().to_list())
        unchosen = rows.join(chosen, on=_TRAINING_COLUMNS, how="anti")
        if len(unchosen):
            arm, seed, stage = unchosen.select(_TRAINING_COLUMNS).row(0)
            raise DataError(self._no_choice("no reading", f" of {arm}, seed {seed}, {stage}"))
        return rows.join(chosen, on=[*_TRAINING_COLUMNS, "step"], how="semi")

    def _steps(self, readings: pl.DataFrame, split: str | None, arms: list[str]) -> pl.DataFrame:
        """The chosen step of each seed and stage of some arms, one row each, by the items of a split or of all."""
        rows = _SELECTION_CACHE.metric_rows(readings, self.evaluation, self.metric)
        rows = rows.filter(pl.col("arm").is_in(arms), *(() if split is None else (pl.col("split") == split,)))
        if rows.is_empty() or rows["value"].null_count():
            raise DataError(self._no_choice("a reading without a value" if len(rows) else "no reading", ""))
        means = rows.group_by(*_TRAINING_COLUMNS, "step").agg(pl.col("value").mean()).sort("value", "step")
        return means.group_by(_TRAINING_COLUMNS).agg(pl.col("step").last())

    def _no_choice(self, found: str, where: str) -> str:
        return (
            f"a step{where} is chosen by {self.evaluation} {self.metric}, of which there is {found}; run this "
            "evaluation on every kept step."
        )


@dataclass(frozen=True, kw_only=True)
class PhaseStep:
    """The last kept step of a phase of each arm, seed and stage, or a kept step before it.

    A phase ends when a curve takes off: at the first kept step from which its mean stays above a share of the way from
    its floor to its highest mean. So the border of a phase follows from a rule and is not read off a figure.

    Args:
        evaluation: Name of the evaluation whose mean is the curve, e.g. programs that a model writes.
        metric: Name of its metric.
        floor: Name of the evaluation whose mean of the same metric is the floor, e.g. the best constant reply. None:
            the curve's first value.
        rise_fraction: The share of the way at which the phase ends, e.g. 0.1.
        earlier: How many kept steps before the last one of the phase. 0 is the last one.
    """

    evaluation: str
    metric: str
    floor: str | None = None
    rise_fraction: float = 0.1
    earlier: int = 0

    def choosing(self, selection: Selection) -> tuple[Selection, ...]:
        """The readings of the curve, and those of its floor."""
        curve = Selection(
            evaluation=self.evaluation, metric=self.metric, arm=selection.arm, stage=selection.stage, step="every"
        )
        return (curve,) if self.floor is None else (curve, replace(curve, evaluation=self.floor))

    def steps(self, readings: pl.DataFrame, selection: Selection) -> pl.DataFrame:
        """The chosen step of each arm, seed and stage that the selection allows, one row each.

        Raises:
            DataError: There is no curve or floor, a value is missing, the curve never takes off, or too few steps were
                kept before.
        """
        rows = [scored_rows(one, readings) for one in self.choosing(selection)]
        floors = {}
        if self.floor is not None:
            floor_means = rows[1].group_by("arm", "seed", "stage").agg(pl.col("value").mean())
            floors = {tuple(key): value for *key, value in floor_means.iter_rows()}
        curves = rows[0].group_by("arm", "seed", "stage", "step").agg(pl.col("value").mean()).sort("step")
        chosen = []
        for key, curve in curves.group_by("arm", "seed", "stage", maintain_order=True):
            index = self._index(key, curve["value"].to_list(), floors.get(key))
            chosen.append({"arm": key[0], "seed": key[1], "stage": key[2], "step": curve["step"][index]})
        columns = ("arm", "seed", "stage", "step")
        return pl.DataFrame(chosen, schema={name: curves.schema[name] for name in columns})

    def _index(self, key: tuple[object, ...], values: list[float], floor: float | None) -> int:
        """The place of the chosen step among the kept ones."""
        what = f"{self.evaluation} {self.metric} of {key[0]}, seed {key[1]},"
        if self.floor is not None and floor is None:
            raise DataError(f"{what} has no floor {self.floor}, so its phase has no end; run this evaluation.")
        onset = onset_index(values, self.rise_fraction, floor)
        if onset == len(values):
            raise DataError(f"{what} never rises above its floor, so its phase has no end; train for longer.")
        index = onset - 1 - self.earlier
        if index < 0:
            raise DataError(
                f"{what} takes off at kept step {onset + 1}, and the step {self.earlier + 1} before that is asked for; "
                "keep more checkpoints of the beginning."
            )
        return index


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
        step: A number of optimizer steps, the last or every kept step of a stage, the one at which another evaluation
            is best, or the last one of a phase of training.
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
    step: int | Literal["last", "every"] | BestStep | PhaseStep = "last"
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
            DataError: A step is to be chosen by another evaluation, whose readings choose none.
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
            return self.step.chosen_rows(table, readings)
        if isinstance(self.step, PhaseStep):
            return table.join(self.step.steps(readings, self), on=[*_TRAINING_COLUMNS, "step"], how="semi")
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
        raise DataError(f"{NO_READING} for {selection.description}; run the arms and evaluations it needs.")
    return rows
