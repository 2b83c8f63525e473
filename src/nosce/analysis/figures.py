"""Figures as pure data: which readings stand where; the numbers are estimated here and drawn by the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, Protocol, TypedDict

import polars as pl

from nosce.analysis.measures import RESAMPLING_SEED, Measure, Selection
from nosce.analysis.stats.intervals import nested_bootstrap
from nosce.analysis.training_curves import TrainingCurve
from nosce.errors import DataError


@dataclass(frozen=True, kw_only=True)
class ArmBarFigure:
    """A figure of bars: one group of them a facet and the mean, one bar an arm, baseline across."""

    id: str
    title: str
    caption: str
    y_label: str
    selection: Selection
    baseline: Selection | None = None
    arms: tuple[str, ...] = ()  # none: all of the study
    kind: Literal["bars"] = "bars"
    x_label: str = ""

    @property
    def unit(self) -> Literal["share", "number"]:
        """Whether the values are shares, to be shown as percent."""
        return "share" if self.selection.quantity == "share" else "number"

    def table(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> pl.DataFrame:
        """The figure's rows: one an arm and facet, and one for the mean of all facets."""
        rows = self.selection.rows(readings)
        attributes = rows["attribute"].unique(maintain_order=True).to_list()
        points = []
        for x, attribute in enumerate([*attributes, "mean"]):
            position: _PointPosition = {"x": x, "tick": attribute.replace("_", " "), "share": self.unit == "share"}
            for arm in self.arms or arms:
                points.append(_mean_point(_arm_rows(rows, arm, attribute), unit, group=arm, **position))
            if self.baseline is not None:
                # The guess is the same for all arms of a seed, so one arm's readings are all there is to know.
                baseline_rows = _arm_rows(self.baseline.rows(readings), (self.arms or arms)[0], attribute)
                points.append(_mean_point(baseline_rows, unit, group="majority guess", baseline=True, **position))
        return _figure_table(points)


@dataclass(frozen=True, kw_only=True)
class ArmCurveFigure:
    """A figure of curves: one panel a selection, one line an arm, along the optimizer's steps.

    `per_step` turns steps into the unit of `x_label`, e.g. exposures of each person.
    """

    id: str
    title: str
    caption: str
    x_label: str
    y_label: str
    panels: tuple[tuple[str, Selection], ...]
    x_per_step: float = 1.0
    arms: tuple[str, ...] = ()  # none: all of the study
    kind: Literal["curves"] = "curves"

    @property
    def unit(self) -> Literal["share", "number"]:
        """Whether the values are shares, to be shown as percent."""
        return "share" if self.panels[0][1].quantity == "share" else "number"

    def table(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> pl.DataFrame:
        """The figure's rows: one an arm, panel and kept step."""
        points = []
        for panel, select in self.panels:
            rows = select.rows(readings)
            for arm in self.arms or arms:
                arm_rows = rows.filter(pl.col("arm") == arm)
                for step in sorted(arm_rows["step"].unique().to_list()):
                    points.append(
                        _mean_point(
                            arm_rows.filter(pl.col("step") == step),
                            unit,
                            panel=panel,
                            group=arm,
                            x=step * self.x_per_step,
                            share=self.unit == "share",
                        )
                    )
        return _figure_table(points)


@dataclass(frozen=True, kw_only=True)
class TrainingCurveFigure:
    """A figure of curves that are named one by one: panel -> name -> curve, along the optimizer's steps.

    Means of selections carry intervals; counts of answers and perplexities, made of all readings at once, do not.
    """

    id: str
    title: str
    caption: str
    x_label: str
    y_label: str
    panels: tuple[tuple[str, tuple[tuple[str, TrainingCurve], ...]], ...]
    x_per_step: float = 1.0
    unit: Literal["share", "number"] = "share"
    arm: str | None = None  # of curves that name none themselves; None: the study's first
    x_scale: Literal["linear", "log"] = "linear"
    y_scales: Literal["shared", "own"] = "shared"
    kind: Literal["curves"] = "curves"

    def table(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> pl.DataFrame:
        """The figure's rows: one a panel, curve and kept step, over all seeds."""
        arm_readings = readings.filter(pl.col("arm") == (self.arm or arms[0]))
        points: list[dict[str, object]] = []
        for panel, curves in self.panels:
            for group, curve in curves:
                points += self._curve_points(
                    curve, readings if curve.selection.arm else arm_readings, unit, panel, group
                )
        return _figure_table(points)

    def _curve_points(
        self, curve: TrainingCurve, readings: pl.DataFrame, unit: str, panel: str, group: str
    ) -> list[dict[str, object]]:
        position: dict[str, Any] = {"panel": panel, "group": group}
        if curve.statistic == "mean" and curve.subtract is None:
            rows = curve.selection.rows(readings)
            steps = sorted(rows["step"].unique().to_list())
            return [
                _mean_point(
                    rows.filter(pl.col("step") == step),
                    unit,
                    x=step * self.x_per_step,
                    share=self.unit == "share",
                    **position,
                )
                for step in steps
            ]
        try:
            points = curve.points(readings)
        except DataError:  # nothing was read: an empty panel says so
            return []
        by_step: dict[int, list[float]] = {}
        for steps, values in points.values():
            for step, value in zip(steps, values, strict=True):
                by_step.setdefault(step, []).append(value)
        return [
            {
                **position,
                "x": step * self.x_per_step,
                "tick": "",
                "value": fmean(values),
                "low": min(values),
                "high": max(values),
                "n": len(values),
                "baseline": False,
            }
            for step, values in sorted(by_step.items())
        ]


@dataclass(frozen=True)
class BarCell:
    """One bar, or where `baseline` one dash: where it stands and what it measures."""

    tick: str
    group: str
    measure: Measure
    panel: str = ""
    baseline: bool = False


@dataclass(frozen=True, kw_only=True)
class BarFigure:
    """A figure of bars that are named one by one; or of cells, a row a group and a column a tick."""

    id: str
    title: str
    caption: str
    y_label: str
    cells: tuple[BarCell, ...]
    unit: Literal["share", "number"] = "share"
    kind: Literal["bars", "matrix"] = "bars"
    x_label: str = ""

    def table(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> pl.DataFrame:
        """The figure's rows: one a cell; without a value where nothing was read."""
        ticks = list(dict.fromkeys(cell.tick for cell in self.cells))
        points: list[dict[str, object]] = []
        for cell in self.cells:
            position = {
                "panel": cell.panel,
                "group": cell.group,
                "x": float(ticks.index(cell.tick)),
                "tick": cell.tick,
                "baseline": cell.baseline,
            }
            points.append(position | _estimate_columns(cell.measure, readings, unit))
        return _figure_table(points)


@dataclass(frozen=True)
class LinePoint:
    """One point of a curve: where it lies, as a number or as what that measures, and what it measures."""

    x: float | Measure
    group: str
    measure: Measure
    panel: str = ""
    baseline: bool = False


@dataclass(frozen=True, kw_only=True)
class LineFigure:
    """A figure of curves along a number that arms differ in, e.g. the model's size, point by point."""

    id: str
    title: str
    caption: str
    x_label: str
    y_label: str
    points: tuple[LinePoint, ...]
    unit: Literal["share", "number"] = "share"
    x_scale: Literal["linear", "log"] = "log"
    y_scales: Literal["shared", "own"] = "shared"  # own: panels show different things
    kind: Literal["curves"] = "curves"

    def table(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> pl.DataFrame:
        """The figure's rows: one a point; without a value where nothing was read."""
        return _figure_table(
            [
                {"panel": point.panel, "group": point.group, "x": x, "tick": "", "baseline": point.baseline}
                | _estimate_columns(point.measure, readings, unit)
                for point in self.points
                if (x := _resolved_x(point.x, readings, unit)) is not None
            ]
        )


@dataclass(frozen=True, kw_only=True)
class ConfusionMatrixFigure:
    """A figure of how often each number was told for each true one: a column a facet, a row a number, shares a column.

    What is selected has whole numbers as values; those above `most` are one row.
    """

    id: str
    title: str
    caption: str
    x_label: str
    y_label: str
    attributes: tuple[tuple[str, str], ...]  # (facet, the words under its column)
    max_count: int
    panels: tuple[tuple[str, Selection], ...]
    kind: Literal["matrix"] = "matrix"
    unit: Literal["share", "number"] = "share"

    def table(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> pl.DataFrame:
        """The figure's rows: one a panel, facet and number, all seeds together; no interval."""
        points: list[dict[str, object]] = []
        for panel, select in self.panels:
            rows = select.rows(readings).with_columns(pl.col("value").clip(upper_bound=self.max_count + 1))
            for x, (attribute, tick) in enumerate(self.attributes):
                values = rows.filter(pl.col("attribute") == attribute)["value"]
                for count in range(self.max_count + 2):
                    group = f"{count}" if count <= self.max_count else f"more than {self.max_count}"
                    share = float((values == count).mean()) if len(values) else None  # type: ignore[arg-type]
                    points.append(
                        {
                            "panel": panel,
                            "group": group,
                            "x": float(x),
                            "tick": tick,
                            "value": share,
                            "low": None,
                            "high": None,
                            "n": len(values),
                            "baseline": False,
                        }
                    )
        return _figure_table(points)


class Figure(Protocol):
    """What a study asks of a figure; one of a user's own may say `unit`, `x_scale` and `y_scales` too."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def caption(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def x_label(self) -> str: ...  # noqa: D102
    @property
    def y_label(self) -> str: ...  # noqa: D102

    def table(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> pl.DataFrame:
        """The figure's rows; arms are those of the study, and what `unit` is drawn independently."""
        ...


class _PointPosition(TypedDict):
    x: float
    tick: str
    share: bool


def _resolved_x(x: float | Measure, readings: pl.DataFrame, unit: str) -> float | None:
    """Where a point lies, None where that was not read."""
    value = x if isinstance(x, int | float) else _estimate_columns(x, readings, unit)["value"]
    return None if value is None else float(value)  # type: ignore[arg-type]


def _estimate_columns(measure: Measure, readings: pl.DataFrame, unit: str) -> dict[str, object]:
    """Value, interval and n; nulls where nothing was read."""
    try:
        estimate = measure.estimate(readings, unit)
    except DataError:
        return {"value": None, "low": None, "high": None, "n": 0}
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


def _arm_rows(rows: pl.DataFrame, arm: str, attribute: str) -> pl.DataFrame:
    """One arm's readings of one facet, or of all where the mean is meant."""
    part = rows.filter(pl.col("arm") == arm)
    return part if attribute == "mean" else part.filter(pl.col("attribute") == attribute)


def _mean_point(
    rows: pl.DataFrame,
    unit: str,
    *,
    group: str,
    x: float,
    tick: str = "",
    panel: str = "",
    baseline: bool = False,
    share: bool = True,
) -> dict[str, object]:
    """One bar or point; where there is nothing to estimate from, its value is null and never zero."""
    point: dict[str, object] = {"panel": panel, "group": group, "x": float(x), "tick": tick, "baseline": baseline}
    rows = rows.filter(pl.col("value").is_not_null())
    if rows.is_empty():
        return {**point, "value": None, "low": None, "high": None, "n": 0}
    value, clusters, train_seeds = rows["value"].to_numpy(), rows["entity"].to_list(), rows["seed"].to_list()
    try:
        estimate = nested_bootstrap(
            value,
            clusters,
            train_seeds,
            seed=RESAMPLING_SEED,
            unit=unit,
            resamples=1_000,
            bounds=(0.0, 1.0) if share else None,
        )
    except DataError:  # e.g. a single person: a value there is, and no interval
        return {**point, "value": float(value.mean()), "low": None, "high": None, "n": len(value)}
    return {**point, "value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


def _figure_table(points: list[dict[str, object]]) -> pl.DataFrame:
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
    return pl.DataFrame(points, schema=columns)
