"""What is written along the axes of a panel: words folded to fit, and numbers that end round."""

from __future__ import annotations

import math
import re
from typing import Any
from unicodedata import east_asian_width

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from nosce.analysis.render.figure import FigureData

DrawnRow = dict[str, Any]  # a row of `FigureData.rows`, as polars gives it

CHAR_WIDTH = 5.3  # mean width in points of a letter of a tick label


def rows_by_panel(rows: list[DrawnRow]) -> dict[str, list[DrawnRow]]:
    """The rows of each panel, in the order in which panels first appear; a figure without rows has one empty panel."""
    panels: dict[str, list[DrawnRow]] = {}
    for row in rows:
        panels.setdefault(row["panel"], []).append(row)
    return panels or {"": []}


def printable_text(text: str) -> str:
    """The text as one line, without the characters that XML cannot hold."""
    legal = re.sub("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]", "\ufffd", text)
    return " ".join(legal.split())


def display_width(text: str) -> int:
    """The width of one line in letters; those of East Asian scripts and emoji count double."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def wrapped(text: str, max_width: int) -> str:
    """The text in lines of about `most` letters, broken after a space or a joining sign."""
    lines = [""]
    for piece in re.findall(r"[\u2e80-\U0010ffff]|[^\s+_/\-\u2e80-\U0010ffff]{0,30}[\s+_/-]?", text):
        if lines[-1] and display_width(lines[-1]) + display_width(piece.rstrip()) > max_width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def fitted_tick_labels(names: list[str], width: float) -> tuple[list[str], bool]:
    """The names of ticks folded to share a width, and whether they have to be tilted instead."""
    max_width = int(width / max(len(names), 1) / CHAR_WIDTH)
    wrapped_names = [wrapped(name, max_width).split("\n") for name in names]
    if all(len(lines) <= 3 and max(map(display_width, lines)) <= max_width for lines in wrapped_names):
        return ["\n".join(lines) for lines in wrapped_names], False
    return [wrapped(name, 30) for name in names], True


def tick_label_height(names: list[str], tilted: bool) -> float:
    """How far the names of ticks reach below the axis, in points."""
    lines = [name.split("\n") for name in names]
    longest = max((display_width(line) for name in lines for line in name), default=0)
    height = 12.0 * max(map(len, lines), default=1) + 6
    return height + (longest * CHAR_WIDTH * 0.6 if tilted else 0)


def set_tick_labels(axes: Axes, names: list[str], tilted: bool, *, hidden: bool) -> None:
    """Write the names under their bars, tilted where they do not fit; hidden where a panel below has them."""
    axes.set_xticks(range(len(names)), [""] * len(names) if hidden else names, fontsize=8.5)
    axes.tick_params(axis="x", length=0)
    if tilted:
        for label in axes.get_xticklabels():
            label.set(rotation=35, ha="right", rotation_mode="anchor")


def label_canvas(canvas: Canvas, figure: FigureData) -> None:
    """Write the words along both axes, once for all panels."""
    width, height = canvas.get_size_inches() * 72
    canvas.supxlabel(wrapped(printable_text(figure.x_label), int(width / CHAR_WIDTH)), fontsize=9)
    label = printable_text(figure.y_label) + (" (points)" if shows_differences(figure) else "")
    canvas.supylabel(wrapped(label, int(height / CHAR_WIDTH)), fontsize=9)


def shows_differences(figure: FigureData) -> bool:
    """Whether shares are shown of which one is below zero: these are differences, whose unit is points and not %."""
    smallest = figure.rows["value"].min()
    return figure.unit == "share" and isinstance(smallest, float) and smallest < 0


def format_x_axis(axes: Axes, rows: list[DrawnRow], scale: str) -> None:
    """The x axis of curves; a logarithmic one with few places names exactly those."""
    ticks = sorted({row["x"] for row in rows if row["x"] is not None})
    if scale == "log":
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_locator(FixedLocator(ticks) if len(ticks) <= 5 else LogLocator(numticks=6))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short_number(value)))


def format_y_axis(axes: Axes, rows: list[DrawnRow], figure: FigureData, *, few_ticks: bool) -> None:
    """The shared y axis: of shares and bars it starts at zero and ends at a round number."""
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3 if few_ticks else 5, steps=[1, 2, 2.5, 5, 10]))
    share = figure.unit == "share"
    sign = "" if shows_differences(figure) else " %"
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g}{sign}" if share else _short_number(v)))
    known = [row[name] for row in rows for name in ("value", "low", "high") if row[name] is not None]
    if not share and (figure.kind == "curves" or not known):
        return
    low, high = _round_up(-min([0.0, *known])), _round_up(max([0.0, *known]))
    if share and known and max(known) > 1:  # an interval may reach beyond what a share can be
        high = max(known)
    low, high = (low, high) if low or high else (0.0, 1.0)
    margin = 0.03 * (low + high)
    axes.set_ylim(-low - (margin if low or figure.kind == "curves" else 0), high + margin)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10 times a power of ten; zero stays zero."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power * (1 + 1e-9))


def _short_number(value: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= max(size, 1e4):
            return f"{value / size:.3g}{letter}"
    return f"{value:g}"
