"""Figures have a bar or point where something was read, and null where nothing was, never zero."""

from dataclasses import replace

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from nosce.analysis.figures import (
    ArmBarFigure,
    ArmCurveFigure,
    BarCell,
    BarFigure,
    ConfusionMatrixFigure,
    LineFigure,
    LinePoint,
    TrainingCurveFigure,
)
from nosce.analysis.measures import Difference, Mean
from nosce.analysis.render.figure import FIGURE_COLUMNS, FigureData, figure_svg
from nosce.analysis.selection import Selection
from nosce.analysis.training_curves import TrainingCurve
from nosce.errors import SpecError
from nosce.records import Reading, schema, to_table
from nosce.seeds import Seed

ARMS, SEEDS, PEOPLE, FACETS = ("old", "new"), (0, 1), 20, ("city", "job")
ASKED = Selection(evaluation="questions", split="unseen", stage="finetune")
EMPTY = pl.DataFrame(schema=schema(Reading))


def readings():
    """Answers of two arms to two questions a person after 10 and 20 steps, right as often as a coin says."""
    rng = Seed(0).numpy()
    return to_table(
        (
            Reading(
                study="s",
                scale="smoke",
                arm=arm,
                seed=seed,
                stage="finetune",
                step=step,
                evaluation="questions",
                split="unseen",
                item=f"{attribute}/{person}",
                entity=f"person/{person}",
                attribute=attribute,
                metric="exact",
                value=float(rng.integers(2)),
                outcome=None,
                answer=None,
                target=None,
            )
            for arm in ARMS
            for seed in SEEDS
            for step in (10, 20)
            for person in range(PEOPLE)
            for attribute in FACETS
        ),
        Reading,
    )


TABLE = readings()


BARS = ArmBarFigure(
    id="b",
    title="t",
    caption="c",
    y_label="y",
    selection=ASKED,
    baseline=Selection(evaluation="majority", split="unseen"),
)
PANELS = (("asked", replace(ASKED, step="every")), ("told", replace(ASKED, evaluation="recall")))
CURVES = ArmCurveFigure(id="c", title="t", caption="c", x_label="x", y_label="y", panels=PANELS, x_per_step=0.5)


def test_bars_stand_for_each_facet_and_for_their_mean():
    """One bar an arm and facet, then one for the mean, with the interval of its people and seeds."""
    table = BARS.table(TABLE, ARMS, "person")
    bars = table.filter(~pl.col("baseline"))
    last = TABLE.filter(step=20)

    assert dict(table.schema) == FIGURE_COLUMNS
    assert bars["tick"].to_list() == ["city", "city", "job", "job", "mean", "mean"]
    for row in bars.iter_rows(named=True):
        rows = last.filter(arm=row["group"])
        rows = rows if row["tick"] == "mean" else rows.filter(attribute=row["tick"])
        assert row["value"] == pytest.approx(rows["value"].mean())
        assert row["low"] <= row["value"] <= row["high"]
        assert row["n"] == len(rows)


def test_where_nothing_was_read_a_bar_is_null_and_not_zero():
    """A baseline that was never read, an arm that was not run, and an empty table give null with n = 0."""
    one = BARS.table(TABLE.filter(arm="old"), ARMS, "person")
    none = BARS.table(EMPTY, ARMS, "person")

    for rows in (one.filter(pl.col("baseline") | (pl.col("group") == "new")), none):
        assert len(rows)
        assert rows.select("value", "low", "high").null_count().row(0) == (len(rows),) * 3
        assert rows["n"].to_list() == [0] * len(rows)
    assert one.filter(group="old")["value"].null_count() == 0


def test_readings_without_a_value_leave_a_bar_null():
    """Where all values of an arm are missing its bar is null, like one that was never read."""
    holes = TABLE.with_columns(value=pl.when(pl.col("arm") == "old").then(pl.col("value")))
    table = BARS.table(holes, ARMS, "person")

    assert table.filter(group="new")["value"].null_count() == 3
    assert table.filter(group="old")["value"].null_count() == 0


def test_curves_have_a_point_where_something_was_read_and_none_where_not():
    """One point an arm and step in the unit of the axis; a panel that nothing was read for stays empty."""
    table = CURVES.table(TABLE, ARMS, "person")

    assert dict(table.schema) == FIGURE_COLUMNS
    assert table["x"].to_list() == [5.0, 10.0] * 2
    assert set(table["panel"]) == {"asked"}
    assert table["value"].null_count() == 0
    assert CURVES.table(EMPTY, ARMS, "person").height == 0


@pytest.mark.parametrize("figure", [BARS, CURVES], ids=["bars", "curves"])
@pytest.mark.parametrize("rows", [TABLE, TABLE.filter(arm="old"), EMPTY], ids=["all", "one arm", "none"])
def test_every_table_can_be_drawn(figure, rows):
    """What is computed here the report takes as it is, with all readings, with some, and with none."""
    drawn = FigureData(**figure.header(), table=figure.table(rows, ARMS, "person"))

    assert figure_svg(drawn).rstrip().endswith("</svg>")


def test_what_is_no_share_is_drawn_in_its_own_unit():
    """Nats are not cut at one, and the figure says that it shows numbers."""
    nats = replace(BARS, selection=replace(ASKED, metric="nats", quantity="nats"), unit="number")
    table = nats.table(TABLE.with_columns(metric=pl.lit("nats"), value=pl.col("value") + 3), ARMS, "person")

    assert table.filter(pl.col("value") > 3)["high"].min() > 3
    with pytest.raises(SpecError, match="unit='number'"):
        replace(nats, unit="share")
    with pytest.raises(SpecError, match="unit='number'"):
        replace(CURVES, panels=(("", nats.selection),))


def test_one_person_in_a_figure_does_not_end_the_study():
    """A bar of a single person is drawn without an interval, or not at all; the other bars are drawn as ever."""
    alone = TABLE.filter((pl.col("attribute") == "city") | (pl.col("entity") == "person/0"))
    table = BARS.table(alone, ARMS, "person")

    assert table.filter(tick="city", baseline=False)["low"].null_count() == 0
    assert table.filter(tick="job", baseline=False)["low"].null_count() == 2


def phased():
    """Two seeds, three checkpoints, four things: values rise, answers become many."""
    rows = [
        {
            "evaluation": "w",
            "metric": "m",
            "arm": "a",
            "seed": seed,
            "stage": "pretrain",
            "step": step,
            "split": "unseen",
            "attribute": "f",
            "entity": f"{seed}/{item}",
            "value": float(item < step) if seed or item else 0.0,
            "answer": str(item) if step == 4 else "same",
        }
        for seed in (0, 1)
        for step in (0, 2, 4)
        for item in range(4)
    ]
    return pl.DataFrame(rows)


EVERY = Selection(evaluation="w", metric="m", arm="a", step="every")


def test_lines_are_named_one_by_one():
    """Means carry intervals over things and seeds; what is made of all readings at once carries the range of seeds."""
    figure = TrainingCurveFigure(
        id="x",
        title="t",
        caption="c",
        x_label="x",
        y_label="y",
        x_per_step=10.0,
        panels=(
            (
                "p",
                (
                    ("mean", TrainingCurve(selection=EVERY)),
                    ("common", TrainingCurve(selection=EVERY, statistic="commonest")),
                    ("above", TrainingCurve(selection=EVERY, subtract=EVERY)),
                ),
            ),
        ),
    )
    table = figure.table(phased(), ("a",), "thing")
    mean, common, above = (table.filter(group=name) for name in ("mean", "common", "above"))
    assert mean["x"].to_list() == common["x"].to_list() == [0.0, 20.0, 40.0]
    assert mean["value"].to_list() == [0.0, 0.375, 0.875]
    assert common["value"].to_list() == [1.0, 1.0, 0.25]
    assert common["low"].to_list() == common["high"].to_list() == [1.0, 1.0, 0.25]
    assert above["value"].to_list() == [0.0] * 3
    assert figure.table(phased().filter(arm="b"), ("b",), "thing").is_empty()


def test_columns_hold_any_measure_and_leave_out_what_was_not_read():
    """A cell without readings has no value, which is not zero."""
    last = Selection(evaluation="w", metric="m", arm="a", step=4)
    cells = (
        BarCell("one", "g", Mean(selection=last)),
        BarCell("two", "g", Mean(selection=Selection(evaluation="nowhere"))),
        BarCell("one", "floor", Mean(selection=Selection(evaluation="w", metric="m", step=0)), baseline=True),
    )
    table = BarFigure(id="x", title="t", caption="c", y_label="y", cells=cells).table(phased(), ("a",), "thing")
    assert table["value"].to_list() == [0.875, None, 0.0]
    assert table["x"].to_list() == [0.0, 1.0, 0.0]
    assert table["baseline"].to_list() == [False, False, True]


def test_a_pair_is_compared_at_the_seeds_that_both_have():
    """Looks give one arm of a pair more seeds; the figure shows what it showed before, and no gap."""
    pair = Difference(a=replace(ASKED, arm="new"), b=replace(ASKED, arm="old"))
    figure = BarFigure(id="x", title="t", caption="c", y_label="y", cells=(BarCell("one", "g", pair),))
    more = TABLE.filter(arm="new").with_columns(seed=pl.col("seed") + 7)
    before = figure.table(TABLE, ARMS, "person")
    assert before["value"].null_count() == 0
    assert_frame_equal(figure.table(pl.concat([TABLE, more]), ARMS, "person"), before)
    alone = TABLE.filter((pl.col("arm") == "new") | (pl.col("seed") == 0))
    assert figure.table(alone, ARMS, "person")["value"].to_list() == [None], "one seed in common is no pair of arms"


COUNTED = TABLE.with_columns(
    evaluation=pl.lit("written"),
    metric=pl.lit("recalled"),
    attribute=pl.col("attribute").replace({"city": "1 entry", "job": "2 entries"}),
)


def test_rungs_lie_where_the_arms_do():
    """A point a measure, by hand; what was not read is null."""
    points = tuple(
        LinePoint(size, "all", Mean(selection=replace(ASKED, arm=arm))) for size, arm in ((1e3, "old"), (1e4, "new"))
    )
    lost = LinePoint(1e5, "all", Mean(selection=replace(ASKED, arm="lost")))
    rungs = LineFigure(id="r", title="t", caption="c", x_label="x", y_label="y", points=(*points, lost))
    table = rungs.table(TABLE, ARMS, "person")
    assert table["x"].to_list() == [1e3, 1e4, 1e5]
    assert table["value"].to_list()[2] is None
    assert table["value"][0] == pytest.approx(TABLE.filter(arm="old", step=20)["value"].mean())
    assert figure_svg(FigureData(**rungs.header(), table=table)).startswith("<?xml")


def test_a_matrix_has_shares_that_sum_to_one_in_every_column():
    """One column a facet; a panel that was not read has no values; more than the most is one row."""
    select = Selection(evaluation="written", metric="recalled")
    attributes = (("1 entry", "1"), ("2 entries", "2"))
    matrix = ConfusionMatrixFigure(
        id="m",
        title="t",
        caption="c",
        x_label="x",
        y_label="y",
        attributes=attributes,
        max_count=0,
        panels=(("read", select), ("not read", replace(select, arm="lost"))),
    )
    table = matrix.table(COUNTED, ARMS, "person")
    read = table.filter(panel="read")
    assert read["group"].unique(maintain_order=True).to_list() == ["0", "more than 0"]
    assert read.group_by("tick").agg(pl.col("value").sum())["value"].to_list() == [1.0, 1.0]
    assert table.filter(panel="not read")["value"].null_count() == 4
    assert "</svg>" in figure_svg(FigureData(**matrix.header(), table=table))


def test_a_figure_of_some_arms_has_these_alone():
    """Bars and curves of the arms that are named, in their order, whatever arms the study has."""
    for chart in (replace(BARS, arms=("new",)), replace(CURVES, arms=("new",))):
        table = chart.table(TABLE, ARMS, "person")
        assert set(table.filter(~pl.col("baseline"))["group"]) == {"new"}


def test_cells_can_stand_in_a_matrix():
    """Rows are groups, columns ticks; what was not read is left out of the picture and null in the table."""
    cells = tuple(
        BarCell(tick, group, Mean(selection=replace(ASKED, arm=group, attributes=(tick,))))
        for tick in (*FACETS, "no")
        for group in ARMS
    )
    chart = BarFigure(id="m", title="t", caption="c", y_label="", cells=cells, kind="matrix", x_label="x")
    table = chart.table(TABLE, ARMS, "person")
    figure = FigureData(id="m", title="t", caption="c", kind="matrix", x_label="x", y_label="", table=table)
    assert table.filter(tick="no")["value"].null_count() == 2
    assert figure_svg(figure).count("<path") > 4
