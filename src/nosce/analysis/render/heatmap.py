"""How a figure of the kind `matrix` is drawn: a square a cell, dark where the share is large, its percent in it."""

from __future__ import annotations

import math

from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle

from nosce.analysis.render.axes import Row, folded, shown
from nosce.analysis.render.figure import Figure

WIDTH, CELL = 576.0, 21.0  # points: of the figure, and a cell's height
DARK = (0.0, 0x72 / 255, 0xB2 / 255)  # the first of the curves' colours
INK = "#222222"


def matrices(figure: Figure, rows: list[Row]) -> Canvas:
    """One matrix a panel; the first group stands at the bottom. Cells without a value are left out."""
    panels: dict[str, list[Row]] = {}
    for row in rows:
        panels.setdefault(row["panel"], []).append(row)
    panels = panels or {"": []}
    groups = list(dict.fromkeys(row["group"] for row in rows))
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    height = lines * (len(groups) * CELL + 38) + 30
    canvas = Canvas(figsize=(WIDTH / 72, height / 72), layout="constrained")
    grid = canvas.subplots(lines, columns, squeeze=False, sharey=True)
    for spare in grid.flat[len(panels) :]:
        spare.remove()
    for axes, (panel, inside) in zip(grid.flat, panels.items(), strict=False):
        axes.set_title(folded(panel, int(WIDTH / columns / 6)))
        axes.grid(visible=False)
        ticks = sorted({(row["x"], row["tick"]) for row in inside})
        place = {tick: number for number, tick in enumerate(ticks)}
        for row in inside:
            if row["value"] is not None:
                at = place[row["x"], row["tick"]], groups.index(row["group"])
                share = min(max(row["value"], 0.0), 1.0) if figure.unit == "share" else 0.0
                colour = tuple(1 - share * (1 - part) for part in DARK)
                axes.add_patch(Rectangle((at[0] - 0.5, at[1] - 0.5), 1, 1, facecolor=colour, edgecolor="white"))
                text = f"{100 * row['value']:.0f}" if figure.unit == "share" else f"{row['value']:.2g}"
                if row["value"]:
                    axes.text(*at, text, ha="center", va="center", fontsize=7.5,
                              color="white" if share > 0.55 else INK)  # fmt: skip
        axes.set_xlim(-0.5, max(len(ticks), 1) - 0.5)
        axes.set_ylim(-0.5, max(len(groups), 1) - 0.5)
        axes.set_xticks(range(len(ticks)), [tick for _, tick in ticks])
        axes.set_yticks(range(len(groups)), groups)
        axes.tick_params(length=0)
    canvas.supxlabel(shown(figure.x_label), fontsize=9)
    canvas.supylabel(shown(figure.y_label), fontsize=9)
    return canvas
