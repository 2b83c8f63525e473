"""A figure as data: a tidy table and the words around it; `draw` makes the picture.

The figure computes nothing. Shares stay between 0 and 1 in the table and are shown as percent;
a null value is left out of the picture, which is not the same as a bar of height zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from nosce.errors import DataError

FIGURE_COLUMNS: dict[str, pl.DataType] = {
    "panel": pl.String(),  # which panel of the figure; "" where there is only one
    "group": pl.String(),  # what is told apart by colour; matrices: the row
    "x": pl.Float64(),  # bars, matrices: the order of the ticks; curves: where the point lies
    "tick": pl.String(),  # bars, matrices: the words under them; curves: ""
    "value": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "n": pl.Int64(),
    "baseline": pl.Boolean(),  # what is reached without knowing anything, e.g. the majority guess
}


@dataclass(frozen=True, kw_only=True)
class FigureData:
    """One figure: what it shows, in words and as one row a bar or point.

    A baseline row of a curve may have no `x`; it then holds over the whole panel.

    Raises:
        DataError: A column lacks, a number is not finite, a share lies outside -1 to 1, a point
            occurs twice, or an `x` has no place on the axis.
    """

    id: str
    title: str
    caption: str
    kind: Literal["bars", "curves", "matrix"]
    x_label: str
    y_label: str
    table: pl.DataFrame  # the columns of COLUMNS
    unit: Literal["share", "number"] = "share"  # a share is shown as percent
    x_scale: Literal["linear", "log"] = "linear"  # of curves
    y_scales: Literal["shared", "own"] = "shared"  # own: panels show different things, each on its own axis

    @property
    def rows(self) -> pl.DataFrame:
        """The table with exactly the columns of COLUMNS, in their types."""
        return self.table.select(*FIGURE_COLUMNS).cast(FIGURE_COLUMNS)  # type: ignore[arg-type]

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
    the same in every panel. The title stands in the file for those who listen, not in the picture:
    whoever shows the picture sets title and caption beside it.
    """
    from nosce.analysis.render.svg import render_svg  # matplotlib takes a third of a second, and few commands draw

    text: str = render_svg(figure)
    return text
