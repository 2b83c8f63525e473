"""How a figure becomes SVG: panels, bars, curves and legend, with matplotlib's object interface.

Nothing global is left changed: settings hold inside `svg` only, and pyplot is never imported.
Lengths are in points (72 an inch), as in the SVG.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from nosce.analysis.render.axes import Row, depth, fitted, folded, letters, name_ticks, number_x, number_y, shown
from nosce.analysis.render.figure import Figure
from nosce.analysis.render.heatmap import matrices

# Okabe and Ito 2008, without black (the baseline) and with yellow last, as it is weak on white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, FAINT, GRID = "#222222", "#767676", "#e2e2e2"
WIDTH, MARGIN = 576.0, 60.0  # of the figure, and what of it the y axis takes
BAR = 40.0  # no bar is wider, however few there are
DASHED: dict[str, Any] = {"color": FAINT, "linewidth": 1.0, "linestyle": (0, (4, 3))}
LOOK: dict[str, Any] = {
    "font.family": ["DejaVu Sans", "sans-serif"],  # comes with matplotlib, so it is the same everywhere
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a $ is a $
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "ytick.left": False,
    "hatch.linewidth": 0.8,
    "hatch.color": "white",
    "svg.hashsalt": "nosce",
}


def svg(figure: Figure) -> str:
    """The figure as SVG text; see `nosce.analysis.render.figure.draw`."""
    text = ("panel", "group", "tick")
    rows = [{**row, **{name: shown(row[name] or "") for name in text}} for row in figure.rows.to_dicts()]
    words = shown(figure.x_label + figure.y_label) + "".join(row[name] for row in rows for name in text)
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph ")
        matplotlib.rcdefaults()  # whatever the reader's own matplotlibrc says
        # Outlines look the same everywhere; letters that the font lacks are left to the viewer's fonts.
        known = get_font(findfont("DejaVu Sans")).get_charmap()
        kind = "path" if set(map(ord, words)) <= set(known) else "none"
        settings: Any = {**LOOK, "svg.fonttype": kind}
        matplotlib.rcParams.update(settings)
        buffer = io.BytesIO()
        about = {"Date": None, "Creator": None, "Type": None, "Title": shown(figure.title)}
        canvas = matrices(figure, rows) if figure.kind == "matrix" else _canvas(figure, rows)
        canvas.savefig(buffer, format="svg", metadata=about)
    return re.sub(r"<!DOCTYPE[^>]*>\n", "", buffer.getvalue().decode())  # it names a file on the network


def _canvas(figure: Figure, rows: list[Row]) -> Canvas:
    panels: dict[str, list[Row]] = {}
    for row in rows:
        panels.setdefault(row["panel"], []).append(row)
    panels = panels or {"": []}
    groups = list(dict.fromkeys(row["group"] for row in rows if not row["baseline"]))
    bars = figure.kind == "bars"
    most = _columns(list(panels.values())) if bars else min(4, len(panels))
    lines = math.ceil(len(panels) / most)
    columns = math.ceil(len(panels) / lines)
    wide = (WIDTH - MARGIN) / columns

    ticks = [_ticks(inside) for inside in panels.values()]
    names = [fitted([tick for _, tick in here], wide) for here in ticks]
    shared = bars and all(here == ticks[0] for here in ticks)
    below = max(depth(*name) for name in names) if bars else 14.0
    tall = 190.0 if lines == 1 else 120.0 if lines < 4 else 95.0  # of the axes alone
    titles = [folded(panel, int(wide / 6)) for panel in panels]
    above = 6.0 + 13 * max(title.count("\n") + bool(title) for title in titles)
    legend, across = _legend(figure, rows, groups)
    key = 15 * math.ceil(len(legend) / across) * max((_lines(entry) for entry in legend), default=1)
    height = lines * (tall + above) + (1 if shared else lines) * below + key + 34

    canvas = Canvas(figsize=(WIDTH / 72, height / 72), layout="constrained")
    grid = canvas.subplots(lines, columns, sharey=figure.y_scales == "shared", squeeze=False)
    for spare in grid.flat[len(panels) :]:
        spare.remove()
    for place, (axes, inside) in enumerate(zip(grid.flat, panels.values(), strict=False)):
        axes.set_title(titles[place])
        if bars:
            _bars(axes, inside, groups, slot=wide / max(len(ticks[place]), 1))
            name_ticks(axes, *names[place], hidden=shared and place + columns < len(panels))
        else:
            _curves(axes, inside, groups)
            number_x(axes, inside, figure.x_scale)
        if figure.y_scales == "own":
            number_y(axes, inside, figure, few=tall < 100)
    if figure.y_scales == "shared":
        number_y(grid[0, 0], rows, figure, few=tall < 100)
    canvas.supxlabel(shown(figure.x_label), fontsize=9)
    canvas.supylabel(shown(figure.y_label), fontsize=9)
    for number, bar in enumerate(bar for axes in canvas.axes for box in axes.containers for bar in box):
        bar.set_gid(f"bar-{number}")
    if legend:
        canvas.legend(
            handles=legend, loc="outside upper left", ncols=across, frameon=False, fontsize=9,
            handlelength=1.4, columnspacing=1.6, borderpad=0.2,
        )  # fmt: skip
    return canvas


def _ticks(rows: list[Row]) -> list[tuple[float, str]]:
    return sorted({(row["x"], row["tick"]) for row in rows if row["x"] is not None})


def _columns(panels: list[list[Row]]) -> int:
    """How many panels of bars fit side by side before the bars get too thin to see."""
    bars = max(sum(not row["baseline"] for row in rows) for rows in panels)
    ticks = max(len(_ticks(rows)) for rows in panels)
    return max(1, min(4, len(panels), int((WIDTH - MARGIN) / max(120, 8 * bars + 8 * ticks))))


def _bars(axes: Axes, rows: list[Row], groups: list[str], *, slot: float) -> None:
    """Bars beside each other at each tick; a row without a value keeps its place and stays empty."""
    order = {group: number for number, group in enumerate(groups)}
    at: dict[tuple[float, str], list[Row]] = {tick: [] for tick in _ticks(rows)}
    for row in rows:
        at[row["x"], row["tick"]].append(row)
    most = max((sum(not row["baseline"] for row in here) for here in at.values()), default=0) or 1
    width = min(0.8 / most, BAR / slot)
    for place, here in enumerate(at.values()):
        bars = sorted((row for row in here if not row["baseline"]), key=lambda row: order[row["group"]])
        for number, row in enumerate(bars):
            centre = place + (number - (len(bars) - 1) / 2) * width
            if row["value"] is not None:
                # The outline keeps a bar of height zero visible, which a missing one is not.
                axes.bar(centre, row["value"], width * 0.88, linewidth=0.8, **_fill(order[row["group"]]))
                _interval(axes, centre, row, INK)
        reach = max(len(bars), 1) * width / 2 + min(0.04, 4 / slot)
        for row in here:
            if row["baseline"] and row["value"] is not None:
                casing = [withStroke(linewidth=3.0, foreground="white")]
                line = axes.hlines(row["value"], place - reach, place + reach, "black", linewidth=1.6, zorder=4)
                line.set(path_effects=casing, clip_on=False)
    if any((row["value"] or 0) < 0 for row in rows):
        axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.set_xlim(-0.55, max(len(at), 1) - 0.45)


def _curves(axes: Axes, rows: list[Row], groups: list[str]) -> None:
    """A line with its band for each group; where a value is null the line is broken."""
    for number, group in enumerate(groups):
        points = [row for row in rows if row["group"] == group and not row["baseline"]]
        points.sort(key=lambda row: row["x"])
        sure = [None not in (row["value"], row["low"], row["high"]) for row in points]
        x = [row["x"] for row in points]
        y = [math.nan if row["value"] is None else row["value"] for row in points]
        low = [row["low"] if known else math.nan for row, known in zip(points, sure, strict=True)]
        high = [row["high"] if known else math.nan for row, known in zip(points, sure, strict=True)]
        if any(sure):
            axes.fill_between(x, low, high, color=_colour(number), alpha=0.18, linewidth=0)
        if points:
            axes.plot(x, y, **_line(number))
        for place, row in enumerate(points):  # a band needs two neighbours; alone, the interval is a bar
            if sure[place] and not any(sure[max(place - 1, 0) : place] + sure[place + 1 : place + 2]):
                _interval(axes, row["x"], row, _colour(number))
    known_rows = [row for row in rows if row["baseline"] and row["value"] is not None]
    for group in dict.fromkeys(row["group"] for row in known_rows):
        mine = [row for row in known_rows if row["group"] == group]
        placed = sorted((row["x"], row["value"]) for row in mine if row["x"] is not None)
        if len(placed) > 1:
            axes.plot([x for x, _ in placed], [value for _, value in placed], zorder=1.5, **DASHED)
        else:
            for row in mine:
                axes.axhline(row["value"], zorder=1.5, **DASHED)


def _interval(axes: Axes, x: float, row: Row, colour: str) -> None:
    if row["low"] is not None and row["high"] is not None:
        ends = [row["low"], row["high"]]
        axes.plot([x, x], ends, color=colour, linewidth=1, marker="_", markersize=4, zorder=3, clip_on=False)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _fill(number: int) -> dict[str, Any]:
    hatch = None if number < len(COLOURS) else "////"  # more groups than colours: a second round, hatched
    return {"facecolor": _colour(number), "edgecolor": _colour(number), "hatch": hatch}


def _line(number: int) -> dict[str, Any]:
    dashes = "-" if number < len(COLOURS) else "--"
    look = {"color": _colour(number), "marker": MARKERS[number % len(MARKERS)], "linestyle": dashes}
    return {**look, "markersize": 4.5, "linewidth": 1.6, "clip_on": False}


def _lines(entry: Patch | Line2D) -> int:
    return 1 + str(entry.get_label()).count("\n")


def _legend(figure: Figure, rows: list[Row], groups: list[str]) -> tuple[list[Patch | Line2D], int]:
    """What the colours mean, one entry for all baselines, and in how many columns it fits."""
    curves = figure.kind == "curves"
    named = [(number, folded(group, 80)) for number, group in enumerate(groups) if group]
    entries: list[Patch | Line2D] = []
    for number, label in named:
        entries.append(Line2D([], [], label=label, **_line(number)) if curves else Patch(label=label, **_fill(number)))
    baselines = dict.fromkeys(row["group"] for row in rows if row["baseline"] and row["value"] is not None)
    if baselines:
        label = folded(", ".join(name for name in baselines if name and name not in groups), 80) or "baseline"
        style = DASHED if curves else {"color": "black", "linewidth": 1.6}
        entries.append(Line2D([], [], label=label, **style))
    widths = [5.6 * max(map(letters, str(entry.get_label()).split("\n"))) + 38 for entry in entries]
    if sum(widths) <= WIDTH:
        return entries, max(1, len(entries))
    return entries, max(1, int(WIDTH / max(widths)))
