"""A figure as data: a tidy table and the words around it; `figure_svg` makes the picture.

The figure computes nothing. Shares stay between 0 and 1 in the table and are shown as percent. A null value is left
out of the picture, which is not the same as a bar of height zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Literal

import polars as pl

from nosce.errors import DataError
from nosce.records import Estimate

#: The columns of every figure's table; `FigureRow` describes them.
FIGURE_COLUMNS: dict[str, pl.DataType] = {
    "panel": pl.String(),
    "group": pl.String(),
    "x": pl.Float64(),
    "tick": pl.String(),
    "value": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "n": pl.Int64(),
    "baseline": pl.Boolean(),
}


@dataclass(frozen=True, kw_only=True)
class FigureRow:
    """One bar, point or cell of a figure.

    Args:
        panel: The panel of the figure; "" where there is only one.
        group: What the colour distinguishes, e.g. the arm; in a matrix, the row.
        x: The position of a point on a curve; the order of the ticks of bars and matrices. A baseline of curves that
            holds over the whole panel has none.
        tick: The words under bars, or under a column of a matrix; "" for curves.
        value: The height; None where nothing was measured.
        low: The lower end of the interval; None where there is no interval.
        high: The upper end of the interval; None likewise.
        n: Number of readings.
        baseline: Whether the value is a reference that needs no knowledge, e.g. the majority guess.
    """

    panel: str = ""
    group: str
    x: float | None
    tick: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    baseline: bool = False

    def with_estimate(self, estimate: Estimate) -> FigureRow:
        """The row with the value, interval and number of readings of an estimate."""
        return replace(self, value=estimate.value, low=estimate.low, high=estimate.high, n=estimate.n)


def figure_table(rows: Iterable[FigureRow]) -> pl.DataFrame:
    """The rows as a table with the columns of `FIGURE_COLUMNS`."""
    return pl.DataFrame([asdict(row) for row in rows], schema=FIGURE_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class FigureHeader:
    """What is said of a figure beside its table.

    Args:
        id: Name of the figure, unique within the study, and of its files.
        title: The title, without a full stop.
        caption: What is shown, in whole sentences.
        kind: Bars, curves, or a matrix of cells.
        x_label: The words along the x axis.
        y_label: The words along the y axis.
        unit: Whether values are shares, shown as percent, or other numbers.
        x_scale: The scale of the x axis of curves.
        y_scales: Whether all panels share one y axis, or each has its own, e.g. since they show different things.
    """

    id: str
    title: str
    caption: str
    kind: Literal["bars", "curves", "matrix"]
    x_label: str = ""
    y_label: str = ""
    unit: Literal["share", "number"] = "share"
    x_scale: Literal["linear", "log"] = "linear"
    y_scales: Literal["shared", "own"] = "shared"

    def header(self) -> dict[str, str]:
        """The header alone, by field; `FigureData(**header, table=table)` is the figure with its numbers."""
        return {
            "id": self.id,
            "title": self.title,
            "caption": self.caption,
            "kind": self.kind,
            "x_label": self.x_label,
            "y_label": self.y_label,
            "unit": self.unit,
            "x_scale": self.x_scale,
            "y_scales": self.y_scales,
        }


@dataclass(frozen=True, kw_only=True)
class FigureData(FigureHeader):
    """One figure with its numbers: what it shows, in words and as one row a bar or point.

    Args:
        table: The numbers, with the columns of `FIGURE_COLUMNS`.

    Raises:
        DataError: A column is missing, a number is not finite, a share lies outside -1 to 1, a point
            occurs twice, or an `x` has no place on the axis.
    """

    table: pl.DataFrame

    @property
    def rows(self) -> pl.DataFrame:
        """The table with exactly the columns of `FIGURE_COLUMNS`, in their types."""
        return self.table.select(pl.col(name).cast(kind) for name, kind in FIGURE_COLUMNS.items())

    def __post_init__(self) -> None:
        lacking = [name for name in FIGURE_COLUMNS if name not in self.table.columns]
        if lacking:
            raise DataError(
                f"figure {self.id!r} needs the columns {list(FIGURE_COLUMNS)}, but {lacking} are not in its table; "
                "add them."
            )
        rows = self.rows
        for name in ("x", "value", "low", "high"):
            if not rows[name].is_finite().fill_null(True).all():
                raise DataError(
                    f"figure {self.id!r} has a number in {name!r} that is not finite; "
                    "leave it null where nothing was measured."
                )
        largest = rows["value"].abs().max()
        if self.unit == "share" and isinstance(largest, float) and largest > 1 + 1e-9:
            raise DataError(
                f"figure {self.id!r} shows shares, but one of its values is {largest:g} in size; "
                "divide percent by 100, or say unit='number'."
            )
        self._check_points(rows)

    def _check_points(self, rows: pl.DataFrame) -> None:
        x_optional = pl.col("baseline") if self.kind == "curves" else pl.lit(False)
        if rows.filter(pl.col("x").is_null() & ~x_optional).height:
            raise DataError(f"figure {self.id!r} has rows without an x, so without a place; give each its x.")
        if self.x_scale == "log" and rows.filter(pl.col("x") <= 0).height:
            raise DataError(
                f"figure {self.id!r} has an x of zero or less, which has no place on a logarithmic axis; "
                "drop those rows or say x_scale='linear'."
            )
        points = rows.filter(~pl.col("baseline")).select("panel", "group", "x", "tick")
        if (duplicates := points.filter(points.is_duplicated())).height:
            raise DataError(
                f"figure {self.id!r} has more than one value for {duplicates.row(0)}; "
                "it draws estimates and does not average, so give it one row a point."
            )


def figure_svg(figure: FigureData) -> str:
    """The figure as SVG text, 768 pixels wide; equal figures give equal bytes.

    Colours are those of Okabe and Ito (2008), in the order in which the groups first appear, and
    the same in every panel. The file holds the title for screen readers, but the picture does not show it:
    a page sets title and caption beside the picture.
    """
    from nosce.analysis.render.svg import render_svg  # matplotlib takes a third of a second, and few commands draw

    text: str = render_svg(figure)
    return text


def page_svg(figure: FigureData, *, narrow: bool = False) -> str:
    """The figure as SVG text for a page: letters as text, and colours that follow a dark screen.

    Args:
        figure: The figure.
        narrow: Draw it anew for a screen of 390 pixels: fewer panels side by side, the same size of letters.
    """
    from nosce.analysis.render.svg import FIGURE_WIDTH, NARROW_WIDTH, render_svg

    text: str = render_svg(figure, width=NARROW_WIDTH if narrow else FIGURE_WIDTH, for_page=True)
    return text
