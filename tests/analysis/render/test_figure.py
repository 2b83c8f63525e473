"""Figures: what is drawn is what stands in the table, no more and no less."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import polars as pl
import pytest

from nosce.analysis.render.figure import FIGURE_COLUMNS, FigureData, figure_svg
from nosce.errors import DataError

BLUE, ORANGE = "#0072b2", "#e69f00"


def row(value, *, panel="", group="a", x=0.0, tick="t", low=None, high=None, baseline=False):
    return (panel, group, x, tick, value, low, high, 10, baseline)


def figure(*rows, kind="bars", **more):
    table = pl.DataFrame(list(rows), schema=FIGURE_COLUMNS, orient="row")
    words = {"id": "f", "title": "A title", "caption": "A caption", "x_label": "arm", "y_label": "right"}
    return FigureData(kind=kind, table=table, **(words | more))


def bars(svg):
    """The bars of a picture as (colour, height); the y axis of SVG points down."""
    found = []
    for group in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}g"):
        if group.get("id", "").startswith("bar-"):
            path = group.find("{http://www.w3.org/2000/svg}path")
            heights = [float(y) for y in re.findall(r"[ML] \S+ (\S+)", path.get("d"))]
            colour = re.search("fill: (#[0-9a-f]+)", path.get("style")).group(1)
            found.append((colour, max(heights) - min(heights)))
    return found


def test_equal_figures_give_equal_bytes_in_another_process_too():
    """Neither time nor hash seed nor process leaves a trace in the picture."""
    code = """
import polars as pl, sys
from nosce.analysis.render.figure import *
rows = [("p", group, x, "tick", x / 10, 0, 1, 3, False) for group in "abc" for x in (1, 2)]
table = pl.DataFrame(rows, schema=FIGURE_COLUMNS, orient="row")
print(figure_svg(FigureData(id="i", title="t", caption="c", kind="curves", x_label="x", y_label="y", table=table)))
assert "matplotlib.pyplot" not in sys.modules and "torch" not in sys.modules
"""
    made = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env={**os.environ, "PYTHONPATH": "src", "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]

    assert made[0] == made[1]
    assert b"<svg" in made[0]


def test_bars_are_as_high_as_their_values():
    """Twice the share is twice the height, in the colour of the group."""
    (first, low), (second, high) = bars(figure_svg(figure(row(0.3, group="a"), row(0.6, group="b"))))

    assert (first, second) == (BLUE, ORANGE)
    assert high == pytest.approx(2 * low, rel=1e-4)


def test_a_null_is_left_out_and_a_zero_is_not():
    """A missing value has no bar; a bar of height zero is there, and outlined to be seen."""
    missing = bars(figure_svg(figure(row(0.5), row(None, x=1.0, tick="u"))))
    zero = bars(figure_svg(figure(row(0.5), row(0.0, x=1.0, tick="u"))))

    assert len(missing) == 1
    assert len(zero) == 2
    assert zero[1][1] == 0.0


def test_a_missing_bar_keeps_its_place():
    """The neighbours of a missing bar stand where they stood, so no bar slips under another's name."""
    whole = figure_svg(figure(row(0.5, group="a"), row(0.4, group="b"), row(0.3, group="c")))
    gap = figure_svg(figure(row(0.5, group="a"), row(None, group="b"), row(0.3, group="c")))

    def path(svg, name):
        return re.search(rf'<g id="{name}">\s*<path d="([^"]*)"', svg).group(1)

    assert path(whole, "bar-0") == path(gap, "bar-0")
    assert path(whole, "bar-2") == path(gap, "bar-1")


def test_a_missing_interval_draws_no_error_bar():
    """An estimate without an interval is a bare bar; the picture shrinks by the error bar."""
    without, half, both = (
        figure_svg(figure(row(0.5, low=low, high=high), row(1.0, x=1.0, tick="u")))
        for low, high in ((None, None), (0.4, None), (0.4, 0.6))
    )

    assert without.count('<g id="line2d') == half.count('<g id="line2d') == both.count('<g id="line2d') - 1


def test_a_group_has_one_colour_in_every_panel():
    """The colour follows the order of first appearance, also where a panel lacks a group."""
    svg = figure_svg(
        figure(row(0.2, panel="p", group="a"), row(0.4, panel="p", group="b"), row(0.6, panel="q", group="b"))
    )

    assert [colour for colour, _ in bars(svg)] == [BLUE, ORANGE, ORANGE]


def test_the_majority_guess_is_no_bar_and_has_one_legend_entry():
    """Baselines are dashes over the bars of their tick, named once however many there are."""
    rows = [row(0.5, x=x, tick=str(x)) for x in (0.0, 1.0)]
    guess = [row(0.1, x=x, tick=str(x), group="majority guess", baseline=True) for x in (0.0, 1.0)]
    svg = figure_svg(figure(*rows, *guess))

    assert len(bars(svg)) == 2
    assert svg.count("<!-- majority guess -->") == 1


def test_a_curve_is_broken_where_its_value_is_null():
    """No point is drawn at a null, and no line bridges it."""
    points = [row(value, x=float(x), tick="") for x, value in enumerate((0.1, 0.2, None, 0.4, 0.5))]
    svg = figure_svg(figure(*points, kind="curves"))
    line = next(d for d in re.findall(r'<path d="([^"]*)"[^>]*stroke: #0072b2', svg) if "L" in d)

    assert line.count("M") == 2
    assert line.count("L") == 2


def test_text_is_shown_literally():
    """Mark-up, mathematics and the letters of any script are only text."""
    odd = "<script>alert('$x_1$')</script> & -- _ü 中文 \x00"
    svg = figure_svg(figure(row(0.5, panel=odd, group=odd, tick=odd), title=odd, x_label=odd, y_label=odd))

    ET.fromstring(svg)  # stays well-formed
    assert "<script" not in svg
    assert "&lt;script&gt;alert('$x_1$')&lt;/script&gt;" in svg
    assert "中文" in svg


@pytest.mark.parametrize("label", ["_hidden", "$", "$\\frac$", "a -- b", "W" * 300, "名" * 60, "é" * 5, ""])
@pytest.mark.parametrize("kind", ["bars", "curves"])
def test_any_label_can_be_drawn(kind, label):
    """No label makes a warning or an error, which -W error turns into a failure."""
    rows = [row(0.5, panel=label + end, group=label + end, tick=label, x=1.0 + len(end)) for end in ("", "'")]

    assert figure_svg(figure(*rows, kind=kind)).count("<svg") == 1


@pytest.mark.parametrize("kind", ["bars", "curves"])
def test_a_figure_without_a_value_can_be_drawn(kind):
    """Before anything is read, the frame is there and nothing stands in it."""
    assert bars(figure_svg(figure(kind=kind))) == []
    assert bars(figure_svg(figure(row(None), kind=kind))) == []


def test_the_reader_s_own_settings_neither_enter_nor_change():
    """A matplotlibrc of the reader changes no picture, and drawing changes none of its settings."""
    import matplotlib

    plain = figure_svg(figure(row(0.5)))
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30}):
        mine = dict(matplotlib.rcParams)
        assert figure_svg(figure(row(0.5))) == plain
        assert dict(matplotlib.rcParams) == mine


@pytest.mark.parametrize(
    ("rows", "more", "says"),
    [
        ([row(64.3)], {}, "divide percent by 100"),
        ([row(float("nan"))], {}, "leave it null"),
        ([row(0.1), row(0.2)], {}, "more than one value"),
        ([row(0.1, x=None)], {}, "without an x"),
        ([row(0.1)], {"kind": "curves", "x_scale": "log"}, "logarithmic"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_way_out(rows, more, says):
    """A table that would make a misleading picture is refused where it is made."""
    with pytest.raises(DataError, match=says):
        figure(*rows, **more)


def test_a_table_without_a_column_is_refused():
    """The sentence names the column that lacks."""
    whole = figure(row(0.5))
    with pytest.raises(DataError, match="baseline"):
        replace(whole, table=whole.table.drop("baseline"))


def test_panels_that_show_different_things_have_axes_of_their_own():
    """A small curve beside a large one is as high as its panel; on a shared axis it lies flat."""
    rows = [
        row(scale * x, panel=panel, x=float(x)) for panel, scale in (("small", 0.01), ("large", 100.0)) for x in (1, 2)
    ]

    def rises(**more):
        found = []
        for group in ET.fromstring(figure_svg(figure(*rows, kind="curves", unit="number", **more))).iter():
            path = group.get("d", "")
            if f"stroke: {BLUE}" in group.get("style", "") and path.count("L") == 1:
                heights = [float(y) for y in re.findall(r"[ML] \S+ (\S+)", path)]
                found.append(abs(heights[0] - heights[1]))
        return [rise for rise in found if rise > 0.5 or not more]

    own = rises(y_scales="own")
    assert min(own[:2]) > 50
    assert len([rise for rise in rises() if rise > 20]) == 1
