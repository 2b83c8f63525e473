"""How a figure of the kind `matrix` is drawn: a square a cell, dark where the share is large, its percent in it."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle

from nosce.analysis.render.axes import DrawnRow, label_canvas, rows_by_panel, wrapped
from nosce.analysis.render.figure import FigureData

CELL_HEIGHT, MIN_MATRIX_WIDTH = 21.0, 190.0  # points: of a cell, and of a panel
FULL_CELL_COLOR = (0.0, 0x72 / 255, 0xB2 / 255)  # the first of the curves' colours
CELL_TEXT_COLOR = "#1c1c1c"  # not the ink of other texts, which is light on a dark screen; a cell keeps its colour


def draw_matrices(figure: FigureData, rows: list[DrawnRow], width: float) -> Canvas:
    """One matrix a panel; the first group stands at the bottom. Cells without a value are left out."""
    panels = rows_by_panel(rows)
    groups = list(dict.fromkeys(row["group"] for row in rows))
    n_columns = min(3, max(1, int(width // MIN_MATRIX_WIDTH)), len(panels))
    n_rows = math.ceil(len(panels) / n_columns)
    height = n_rows * (len(groups) * CELL_HEIGHT + 38) + 30
    canvas = Canvas(figsize=(width / 72, height / 72), layout="constrained")
    grid = canvas.subplots(n_rows, n_columns, squeeze=False, sharey=True)
    for spare in grid.flat[len(panels) :]:
        spare.remove()
    for axes, (panel, panel_rows) in zip(grid.flat, panels.items(), strict=False):
        axes.set_title(wrapped(panel, int(width / n_columns / 6)))
        axes.grid(visible=False)
        ticks = sorted({(row["x"], row["tick"]) for row in panel_rows})
        column_of_tick = {tick: number for number, tick in enumerate(ticks)}
        for row in panel_rows:
            if row["value"] is not None:
                position = column_of_tick[row["x"], row["tick"]], groups.index(row["group"])
                _draw_cell(axes, *position, row["value"], is_share=figure.unit == "share")
        axes.set_xlim(-0.5, max(len(ticks), 1) - 0.5)
        axes.set_ylim(-0.5, max(len(groups), 1) - 0.5)
        axes.set_xticks(range(len(ticks)), [tick for _, tick in ticks])
        axes.set_yticks(range(len(groups)), groups)
        axes.tick_params(length=0)
    label_canvas(canvas, figure)
    return canvas


def _draw_cell(axes: Axes, x: int, y: int, value: float, *, is_share: bool) -> None:
    """A square as dark as its share, with the percent in it; the square of another number is white."""
    share = min(max(value, 0.0), 1.0) if is_share else 0.0
    colour = tuple(1 - share * (1 - part) for part in FULL_CELL_COLOR)
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="white"))
    if value:
        text = f"{100 * value:.0f}" if is_share else f"{value:.2g}"
        text_colour = "white" if share > 0.55 else CELL_TEXT_COLOR
        axes.text(x, y, text, ha="center", va="center", fontsize=7.5, color=text_colour)
