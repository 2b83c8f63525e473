"""Figures as pure data: which readings are shown where. The rows are estimated here; `analysis.render` draws them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import ClassVar, Literal

import polars as pl

from nosce.analysis.measures import Measure
from nosce.analysis.render.figure import FigureHeader, FigureRow, figure_table
from nosce.analysis.selection import Selection
from nosce.analysis.stats.intervals import nested_interval
from nosce.analysis.stats.ranges import UNBOUNDED, ValueRange
from nosce.analysis.training_curves import TrainingCurve
from nosce.errors import DataError, SpecError
from nosce.records import Estimate


@dataclass(frozen=True, kw_only=True)
class Figure(FigureHeader, ABC):
    """What a study shows: a header and the series. A figure of your own inherits this class and writes `rows`."""

    derives_metrics: ClassVar[bool] = False
    """As in `Measure`."""

    @abstractmethod
    def rows(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> Iterable[FigureRow]:
        """The bars, points or cells, in the order in which they are drawn.

        Args:
            readings: The readings of the study.
            arms: Names of the study's arms.
            unit: Name of the study's independently drawn unit, e.g. "person".
        """

    def table(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> pl.DataFrame:
        """The rows as a table with the columns of `FIGURE_COLUMNS`; the arguments are those of `rows`."""
        return figure_table(self.rows(readings, arms, unit))


@dataclass(frozen=True, kw_only=True)
class ArmBarFigure(Figure):
    """A figure of bars: one group of bars for each attribute and one for their mean, one bar for each arm.

    Args:
        selection: The readings of the bars, without an arm.
        baseline: The readings of the reference that is drawn across each group; None draws none.
        arms: The arms to show; () shows all of the study.

    Raises:
        SpecError: The unit is a share, but the selection's quantity is not.
    """

    selection: Selection
    baseline: Selection | None = None
    arms: tuple[str, ...] = ()
    kind: Literal["bars"] = "bars"

    def __post_init__(self) -> None:
        _check_unit(self, self.selection)

    def rows(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> Iterator[FigureRow]:
        """One row an arm and attribute, and one an arm for the mean of all attributes."""
        selected = self.selection.rows(readings)
        attributes = selected["attribute"].unique(maintain_order=True).to_list()
        for x, attribute in enumerate([*attributes, "mean"]):
            tick = attribute.replace("_", " ")
            for arm in self.arms or arms:
                row = FigureRow(group=arm, x=float(x), tick=tick)
                yield _with_mean(row, _arm_rows(selected, arm, attribute), unit, _range_in(self, self.selection))
            if self.baseline is not None:
                # The guess is the same for all arms of a seed, so the readings of one arm are enough.
                baseline_rows = _arm_rows(self.baseline.rows(readings), (self.arms or arms)[0], attribute)
                row = FigureRow(group="majority guess", x=float(x), tick=tick, baseline=True)
                yield _with_mean(row, baseline_rows, unit, _range_in(self, self.baseline))


@dataclass(frozen=True, kw_only=True)
class ArmCurveFigure(Figure):
    """A figure of curves along the optimizer's steps: one panel for each selection, one line for each arm.

    Args:
        panels: The title of each panel, and its readings, without an arm and with `step="every"`.
        x_per_step: What turns steps into the unit of `x_label`, e.g. exposures of each person.
        arms: The arms to show; () shows all of the study.

    Raises:
        SpecError: The unit is a share, but the quantity of a selection is not.
    """

    panels: tuple[tuple[str, Selection], ...]
    x_per_step: float = 1.0
    arms: tuple[str, ...] = ()
    kind: Literal["curves"] = "curves"

    def __post_init__(self) -> None:
        for _, selection in self.panels:
            _check_unit(self, selection)

    def rows(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> Iterator[FigureRow]:
        """One row an arm, panel and kept step."""
        for panel, selection in self.panels:
            selected = selection.rows(readings)
            for arm in self.arms or arms:
                arm_rows = selected.filter(pl.col("arm") == arm)
                for step in sorted(arm_rows["step"].unique().to_list()):
                    row = FigureRow(panel=panel, group=arm, x=float(step * self.x_per_step))
                    step_rows = arm_rows.filter(pl.col("step") == step)
                    yield _with_mean(row, step_rows, unit, _range_in(self, selection))


@dataclass(frozen=True, kw_only=True)
class TrainingCurveFigure(Figure):
    """A figure of named curves along the optimizer's steps.

    Means carry intervals over units and seeds. Other statistics, e.g. perplexity, are computed from all readings of a
    seed at once; they carry the range over seeds.

    Args:
        panels: The title of each panel, and the name of each of its curves with the curve.
        x_per_step: What turns steps into the unit of `x_label`, e.g. exposures of each person.
        arm: The arm of curves whose selection has none; None takes the first arm of the study.
    """

    panels: tuple[tuple[str, tuple[tuple[str, TrainingCurve], ...]], ...]
    x_per_step: float = 1.0
    arm: str | None = None
    kind: Literal["curves"] = "curves"

    def rows(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> Iterator[FigureRow]:
        """One row a panel, curve and kept step, over all seeds."""
        arm_readings = readings.filter(pl.col("arm") == (self.arm or arms[0]))
        for panel, curves in self.panels:
            for group, curve in curves:
                curve_readings = readings if curve.selection.arm else arm_readings
                is_mean = curve.statistic == "mean" and curve.subtract is None
                points = (
                    self._mean_rows(curve, curve_readings, unit) if is_mean else self._range_rows(curve, curve_readings)
                )
                for row in points:
                    yield replace(row, panel=panel, group=group)

    def _mean_rows(self, curve: TrainingCurve, readings: pl.DataFrame, unit: str) -> Iterator[FigureRow]:
        """The mean of each step, with its interval over units and seeds."""
        selected = curve.selection.rows(readings)
        for step in sorted(selected["step"].unique().to_list()):
            row = FigureRow(group="", x=float(step * self.x_per_step))
            step_rows = selected.filter(pl.col("step") == step)
            yield _with_mean(row, step_rows, unit, _range_in(self, curve.selection))

    def _range_rows(self, curve: TrainingCurve, readings: pl.DataFrame) -> Iterator[FigureRow]:
        """The mean of the seeds at each step, with their range."""
        try:
            points = curve.points(readings)
        except DataError:  # without readings the curve stays empty
            return
        by_step: dict[int, list[float]] = {}
        for steps, values in points.values():
            for step, value in zip(steps, values, strict=True):
                by_step.setdefault(step, []).append(value)
        for step, values in sorted(by_step.items()):
            yield FigureRow(
                group="",
                x=float(step * self.x_per_step),
                value=fmean(values),
                low=min(values),
                high=max(values),
                n=len(values),
            )


@dataclass(frozen=True)
class BarCell:
    """One bar, one dash of a baseline, or one cell of a matrix.

    Args:
        tick: The words under the bar, or under the cell's column.
        group: What the colour distinguishes; in a matrix, the row.
        measure: The height.
        panel: The title of the panel; "" where there is only one.
        baseline: Whether a dash is drawn instead of a bar.
    """

    tick: str
    group: str
    measure: Measure
    panel: str = ""
    baseline: bool = False


@dataclass(frozen=True, kw_only=True)
class BarFigure(Figure):
    """A figure of named bars; with `kind="matrix"`, of cells: a row for each group and a column for each tick.

    Args:
        cells: The bars or cells, in the order in which ticks and groups are drawn.
    """

    cells: tuple[BarCell, ...]
    kind: Literal["bars", "matrix"] = "bars"

    def rows(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> Iterator[FigureRow]:
        """One row a cell; a cell without readings has no value."""
        ticks = list(dict.fromkeys(cell.tick for cell in self.cells))
        for cell in self.cells:
            row = FigureRow(
                panel=cell.panel,
                group=cell.group,
                x=float(ticks.index(cell.tick)),
                tick=cell.tick,
                baseline=cell.baseline,
            )
            yield _measured(row, cell.measure, readings, unit)


@dataclass(frozen=True)
class LinePoint:
    """One point of a curve.

    Args:
        x: The position along the axis: a number, or a measure of it.
        group: The name of the curve.
        measure: The height.
        panel: The title of the panel; "" where there is only one.
        baseline: Whether the point belongs to a reference, which is drawn dashed.
    """

    x: float | Measure
    group: str
    measure: Measure
    panel: str = ""
    baseline: bool = False


@dataclass(frozen=True, kw_only=True)
class LineFigure(Figure):
    """A figure of curves along a number in which arms differ, e.g. the model's size, point by point.

    Args:
        points: The points of all curves.
    """

    points: tuple[LinePoint, ...]
    x_scale: Literal["linear", "log"] = "log"
    kind: Literal["curves"] = "curves"

    def rows(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> Iterator[FigureRow]:
        """One row a point; a point without readings has no value, and one without a position is left out."""
        for point in self.points:
            x = point.x
            if isinstance(x, Measure):
                if (position := _estimate_or_none(x, readings, unit)) is None:
                    continue
                x = position.value
            row = FigureRow(panel=point.panel, group=point.group, x=float(x), baseline=point.baseline)
            yield _measured(row, point.measure, readings, unit)


@dataclass(frozen=True, kw_only=True)
class ConfusionMatrixFigure(Figure):
    """A figure of how often each number was reported for each true number; shares are of a column.

    Args:
        panels: The title of each panel, and its readings, whose values are whole numbers.
        attributes: The attribute of each column, i.e. the true number, and the words under the column.
        max_count: The largest number with a row of its own; larger ones share one row.
    """

    panels: tuple[tuple[str, Selection], ...]
    attributes: tuple[tuple[str, str], ...]
    max_count: int
    kind: Literal["matrix"] = "matrix"

    def rows(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> Iterator[FigureRow]:
        """One row a panel, attribute and number, pooled over seeds and without interval."""
        for panel, selection in self.panels:
            selected = selection.rows(readings).with_columns(pl.col("value").clip(upper_bound=self.max_count + 1))
            for x, (attribute, tick) in enumerate(self.attributes):
                values = selected.filter(pl.col("attribute") == attribute)["value"]
                for count in range(self.max_count + 2):
                    yield FigureRow(
                        panel=panel,
                        group=f"{count}" if count <= self.max_count else f"more than {self.max_count}",
                        x=float(x),
                        tick=tick,
                        value=_share_equal_to(values, count),
                        n=len(values),
                    )


def _share_equal_to(values: pl.Series, count: int) -> float | None:
    """The share of the values that are a number; None where there are no values."""
    shares = (values == count).cast(pl.Float64).drop_nulls().to_list()
    return fmean(shares) if shares else None


def _check_unit(figure: Figure, selection: Selection) -> None:
    if figure.unit == "share" and selection.quantity != "share":
        raise SpecError(
            f"figure {figure.id!r} shows shares, but {selection.description} is in {selection.quantity}; "
            "say unit='number'."
        )


def _range_in(figure: Figure, selection: Selection) -> ValueRange:
    """The natural range of what a figure shows; a figure of numbers may show a metric that nobody called a share."""
    return UNBOUNDED if figure.unit != "share" and selection.quantity == "share" else selection.value_range


def _estimate_or_none(measure: Measure, readings: pl.DataFrame, unit: str) -> Estimate | None:
    try:
        return measure.estimate(readings, unit)
    except DataError:
        paired = _common_seeds(measure, readings)
    if paired is None:
        return None
    try:
        return measure.estimate(paired, unit)
    except DataError:
        return None


def _common_seeds(measure: Measure, readings: pl.DataFrame) -> pl.DataFrame | None:
    """The readings of the seeds that all arms of a measure have; None where these are all seeds, or fewer than two.

    A run with looks extends arms that open claims read, so that one of a pair may have more seeds than the other.
    """
    from nosce.analysis.needed_rows import selections_in  # which knows figures

    arms = {selection.arm for selection, _ in selections_in((measure,)) or ()}
    if None in arms or len(arms) < 2:
        return None
    of_arms = [set(readings.filter(pl.col("arm") == arm)["seed"].unique()) for arm in sorted(map(str, arms))]
    common = set.intersection(*of_arms)
    if len(common) < 2 or all(seeds == common for seeds in of_arms):
        return None
    return readings.filter(pl.col("seed").is_in(sorted(common)))


def _measured(row: FigureRow, measure: Measure, readings: pl.DataFrame, unit: str) -> FigureRow:
    """The row with the measure's estimate, or as it is where the measure has none."""
    estimate = _estimate_or_none(measure, readings, unit)
    return row if estimate is None else row.with_estimate(estimate)


def _arm_rows(rows: pl.DataFrame, arm: str, attribute: str) -> pl.DataFrame:
    """One arm's readings of one attribute, or of all attributes for "mean"."""
    arm_rows = rows.filter(pl.col("arm") == arm)
    return arm_rows if attribute == "mean" else arm_rows.filter(pl.col("attribute") == attribute)


def _with_mean(row: FigureRow, readings: pl.DataFrame, unit: str, value_range: ValueRange) -> FigureRow:
    """The row with the mean of the readings; without readings its value stays None and never becomes zero."""
    scored = readings.filter(pl.col("value").is_not_null())
    if scored.is_empty():
        return row
    values = scored["value"].to_numpy()
    try:
        entities, seeds = scored["entity"].to_list(), scored["seed"].to_list()
        estimate = nested_interval(values, entities, seeds, unit=unit, value_range=value_range)
    except DataError:  # e.g. a single person: there is a value and no interval
        return replace(row, value=float(values.mean()), n=len(values))
    return row.with_estimate(estimate)
