"""How a figure becomes SVG: panels, bars, curves and legend, with matplotlib's object interface.

Nothing global is left changed: settings hold inside `svg` only, and pyplot is never imported.
Lengths are in points (72 an inch), as in the SVG.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from nosce.analysis.render.axes import (
    DrawnRow,
    display_width,
    fitted_tick_labels,
    format_x_axis,
    format_y_axis,
    label_canvas,
    printable_text,
    rows_by_panel,
    set_tick_labels,
    tick_label_height,
    wrapped,
)
from nosce.analysis.render.figure import FigureData
from nosce.analysis.render.heatmap import draw_matrices
from nosce.analysis.render.palette import DARK_SCREEN_STYLE, FAINT, GRID, INK, SERIES

PALETTE = SERIES
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FIGURE_WIDTH, NARROW_WIDTH = 576.0, 270.0  # of the figure, and of one that is drawn anew for a telephone
Y_AXIS_WIDTH = 60.0  # what of the width the y axis takes
MIN_PANEL_WIDTH, LEGEND_CHAR_WIDTH = 140.0, 5.6  # of a panel of curves, and of a letter of the legend in the mean
MAX_BAR_WIDTH = 40.0  # no bar is wider, however few there are
DrawingStyle = dict[str, Any]  # keyword arguments of matplotlib, which take values of many types
BASELINE_STYLE: DrawingStyle = {"color": FAINT, "linewidth": 1.0, "linestyle": (0, (4, 3))}
LEGEND_STYLE: DrawingStyle = {
    "loc": "outside upper left",
    "frameon": False,
    "fontsize": 9,
    "handlelength": 1.4,
    "columnspacing": 1.6,
    "borderpad": 0.2,
}
RC_PARAMS: DrawingStyle = {
    "font.family": ["DejaVu Sans", "sans-serif"],  # comes with matplotlib, so it is the same everywhere
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a $ is a $
    "axes.facecolor": "none",
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


PNG_DPI = 144  # two pixels a point


def render_svg(figure: FigureData, *, width: float = FIGURE_WIDTH, for_page: bool = False) -> str:
    """The figure as SVG text; see `nosce.analysis.render.figure.figure_svg` and `page_svg`."""
    metadata = {"Date": None, "Creator": None, "Type": None, "Title": printable_text(figure.title)}
    svg = _rendered(figure, "svg", metadata, width, outlines=not for_page).decode()
    svg = re.sub(r"<!DOCTYPE[^>]*>\n", "", svg)  # it names a file on the network
    return svg.replace("<defs>", f"<style>{DARK_SCREEN_STYLE}</style>\n <defs>", 1) if for_page else svg


def render_png(figure: FigureData, software: str) -> bytes:
    """The figure as PNG, with the program that made it in its metadata."""
    return _rendered(figure, "png", {"Software": software}, FIGURE_WIDTH)


def _rendered(
    figure: FigureData, format_: str, metadata: Mapping[str, str | None], width: float, *, outlines: bool = True
) -> bytes:
    text = ("panel", "group", "tick")
    rows = [{**row, **{name: printable_text(row[name] or "") for name in text}} for row in figure.rows.to_dicts()]
    words = printable_text(figure.x_label + figure.y_label) + "".join(row[name] for row in rows for name in text)
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph ")
        matplotlib.rcdefaults()  # whatever the reader's own matplotlibrc says
        # Outlines look the same everywhere; letters that the font lacks are left to the viewer's fonts.
        font_chars = get_font(findfont("DejaVu Sans")).get_charmap()
        font_type = "path" if outlines and set(map(ord, words)) <= set(font_chars) else "none"
        settings: Any = {**RC_PARAMS, "svg.fonttype": font_type}  # matplotlib wants its own literal names as keys
        matplotlib.rcParams.update(settings)
        buffer = io.BytesIO()
        draw = draw_matrices if figure.kind == "matrix" else _draw_panels
        canvas = draw(figure, rows, width)
        canvas.savefig(buffer, format=format_, metadata=metadata, dpi=PNG_DPI if format_ == "png" else "figure")
    return buffer.getvalue()


def _draw_panels(figure: FigureData, rows: list[DrawnRow], width: float) -> Canvas:
    panels = rows_by_panel(rows)
    groups = list(dict.fromkeys(row["group"] for row in rows if not row["baseline"]))
    bars = figure.kind == "bars"
    max_columns = _max_panel_columns(list(panels.values()), width, bars=bars)
    n_rows = math.ceil(len(panels) / max_columns)
    n_columns = math.ceil(len(panels) / n_rows)
    panel_width = (width - Y_AXIS_WIDTH) / n_columns

    ticks = [_ticks(inside) for inside in panels.values()]
    names = [fitted_tick_labels([tick for _, tick in here], panel_width) for here in ticks]
    shared = bars and all(here == ticks[0] for here in ticks)
    tick_height = max(tick_label_height(*name) for name in names) if bars else 14.0
    axes_height = 190.0 if n_rows == 1 else 120.0 if n_rows < 4 else 95.0  # of the axes alone
    titles = [wrapped(panel, int(panel_width / 6)) for panel in panels]
    title_height = 6.0 + 13 * max(title.count("\n") + bool(title) for title in titles)
    legend, legend_columns = _legend(figure, rows, groups, width)
    legend_height = 15 * math.ceil(len(legend) / legend_columns) * max(map(_line_count, legend), default=1)
    height = n_rows * (axes_height + title_height) + (1 if shared else n_rows) * tick_height + legend_height + 34

    canvas = Canvas(figsize=(width / 72, height / 72), layout="constrained")
    grid = canvas.subplots(n_rows, n_columns, sharey=figure.y_scales == "shared", squeeze=False)
    for spare in grid.flat[len(panels) :]:
        spare.remove()
    for panel_index, (axes, inside) in enumerate(zip(grid.flat, panels.values(), strict=False)):
        axes.set_title(titles[panel_index])
        if bars:
            _draw_bars(axes, inside, groups, slot=panel_width / max(len(ticks[panel_index]), 1))
            set_tick_labels(axes, *names[panel_index], hidden=shared and panel_index + n_columns < len(panels))
        else:
            _draw_curves(axes, inside, groups)
            format_x_axis(axes, inside, figure.x_scale)
        if figure.y_scales == "own":
            format_y_axis(axes, inside, figure, few_ticks=axes_height < 100)
    if figure.y_scales == "shared":
        format_y_axis(grid[0, 0], rows, figure, few_ticks=axes_height < 100)
    label_canvas(canvas, figure)
    for number, bar in enumerate(bar for axes in canvas.axes for box in axes.containers for bar in box):
        bar.set_gid(f"bar-{number}")
    if legend:
        canvas.legend(handles=legend, ncols=legend_columns, **LEGEND_STYLE)
    return canvas


def _ticks(rows: list[DrawnRow]) -> list[tuple[float, str]]:
    return sorted({(row["x"], row["tick"]) for row in rows if row["x"] is not None})


def _max_panel_columns(panels: list[list[DrawnRow]], width: float, *, bars: bool) -> int:
    """How many panels fit side by side before bars get too thin to see, or curves too narrow to follow."""
    if not bars:
        return max(1, min(4, int(width // MIN_PANEL_WIDTH), len(panels)))
    most = max(sum(not row["baseline"] for row in rows) for rows in panels)
    ticks = max(len(_ticks(rows)) for rows in panels)
    return max(1, min(4, len(panels), int((width - Y_AXIS_WIDTH) / max(120, 8 * most + 8 * ticks))))


def _draw_bars(axes: Axes, rows: list[DrawnRow], groups: list[str], *, slot: float) -> None:
    """Bars beside each other at each tick; a row without a value keeps its place and stays empty."""
    order = {group: number for number, group in enumerate(groups)}
    at: dict[tuple[float, str], list[DrawnRow]] = {tick: [] for tick in _ticks(rows)}
    for row in rows:
        at[row["x"], row["tick"]].append(row)
    max_bars = max((sum(not row["baseline"] for row in tick_rows) for tick_rows in at.values()), default=0) or 1
    width = min(0.8 / max_bars, MAX_BAR_WIDTH / slot)
    for tick_index, tick_rows in enumerate(at.values()):
        bars = sorted((row for row in tick_rows if not row["baseline"]), key=lambda row: order[row["group"]])
        for number, row in enumerate(bars):
            centre = tick_index + (number - (len(bars) - 1) / 2) * width
            if row["value"] is not None:
                # The outline keeps a bar of height zero visible, which a missing one is not.
                axes.bar(centre, row["value"], width * 0.88, linewidth=0.8, **_bar_style(order[row["group"]]))
                _draw_interval(axes, centre, row, INK)
        half_length = max(len(bars), 1) * width / 2 + min(0.04, 4 / slot)
        for row in tick_rows:
            if row["baseline"] and row["value"] is not None:
                casing = [withStroke(linewidth=3.0, foreground="white")]
                line = axes.hlines(
                    row["value"], tick_index - half_length, tick_index + half_length, "black", linewidth=1.6, zorder=4
                )
                line.set(path_effects=casing, clip_on=False)
    if any((row["value"] or 0) < 0 for row in rows):
        axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.set_xlim(-0.55, max(len(at), 1) - 0.45)


def _draw_curves(axes: Axes, rows: list[DrawnRow], groups: list[str]) -> None:
    """A line with its band for each group; where a value is null the line is broken."""
    for number, group in enumerate(groups):
        points = [row for row in rows if row["group"] == group and not row["baseline"]]
        points.sort(key=lambda row: row["x"])
        has_interval = [None not in (row["value"], row["low"], row["high"]) for row in points]
        x = [row["x"] for row in points]
        y = [math.nan if row["value"] is None else row["value"] for row in points]
        low = [row["low"] if known else math.nan for row, known in zip(points, has_interval, strict=True)]
        high = [row["high"] if known else math.nan for row, known in zip(points, has_interval, strict=True)]
        if any(has_interval):
            axes.fill_between(x, low, high, color=_color(number), alpha=0.18, linewidth=0)
        if points:
            axes.plot(x, y, **_line_style(number))
        for index, row in enumerate(points):  # a band needs two neighbours; alone, the interval is a bar
            if has_interval[index] and not any(
                has_interval[max(index - 1, 0) : index] + has_interval[index + 1 : index + 2]
            ):
                _draw_interval(axes, row["x"], row, _color(number))
    known_rows = [row for row in rows if row["baseline"] and row["value"] is not None]
    for group in dict.fromkeys(row["group"] for row in known_rows):
        group_rows = [row for row in known_rows if row["group"] == group]
        baseline_points = sorted((row["x"], row["value"]) for row in group_rows if row["x"] is not None)
        if len(baseline_points) > 1:
            axes.plot(
                [x for x, _ in baseline_points], [value for _, value in baseline_points], zorder=1.5, **BASELINE_STYLE
            )
        else:
            for row in group_rows:
                axes.axhline(row["value"], zorder=1.5, **BASELINE_STYLE)


def _draw_interval(axes: Axes, x: float, row: DrawnRow, colour: str) -> None:
    if row["low"] is not None and row["high"] is not None:
        ends = [row["low"], row["high"]]
        axes.plot([x, x], ends, color=colour, linewidth=1, marker="_", markersize=4, zorder=3, clip_on=False)


def _color(number: int) -> str:
    return PALETTE[number % len(PALETTE)]


def _bar_style(number: int) -> DrawingStyle:
    hatch = None if number < len(PALETTE) else "////"  # more groups than colours: a second round, hatched
    return {"facecolor": _color(number), "edgecolor": _color(number), "hatch": hatch}


def _line_style(number: int) -> DrawingStyle:
    dashes = "-" if number < len(PALETTE) else "--"
    look = {"color": _color(number), "marker": MARKERS[number % len(MARKERS)], "linestyle": dashes}
    return {**look, "markersize": 4.5, "linewidth": 1.6, "clip_on": False}


def _line_count(entry: Patch | Line2D) -> int:
    return 1 + str(entry.get_label()).count("\n")


def _legend(
    figure: FigureData, rows: list[DrawnRow], groups: list[str], width: float
) -> tuple[list[Patch | Line2D], int]:
    """What the colours mean, one entry for all baselines, and in how many columns it fits."""
    curves = figure.kind == "curves"
    letters = min(80, int((width - 38) / LEGEND_CHAR_WIDTH))
    labels = [(number, wrapped(group, letters)) for number, group in enumerate(groups) if group]
    entries: list[Patch | Line2D] = []
    for number, label in labels:
        entries.append(
            Line2D([], [], label=label, **_line_style(number)) if curves else Patch(label=label, **_bar_style(number))
        )
    baselines = dict.fromkeys(row["group"] for row in rows if row["baseline"] and row["value"] is not None)
    if baselines:
        label = wrapped(", ".join(name for name in baselines if name and name not in groups), letters) or "baseline"
        style = BASELINE_STYLE if curves else {"color": "black", "linewidth": 1.6}
        entries.append(Line2D([], [], label=label, **style))
    widths = [LEGEND_CHAR_WIDTH * max(map(display_width, str(entry.get_label()).split("\n"))) + 38 for entry in entries]
    if sum(widths) <= width:
        return entries, max(1, len(entries))
    return entries, max(1, int(width / max(widths)))
