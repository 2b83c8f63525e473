"""Calibration, matching and what could have been seen, on readings whose truth is known."""

from __future__ import annotations

import itertools
import statistics

import numpy as np
import polars as pl
import pytest

from nosce.analysis.calibration import (
    CalibrationFigure,
    CalibrationMAD,
    LabelMatchedContrast,
    LabelMatchedDifference,
    MinimumDetectableEffect,
    calibration_bins,
    calibration_mad,
)
from nosce.analysis.measures import Difference, Mean
from nosce.analysis.selection import Selection
from nosce.errors import DataError
from nosce.records import Reading, fill_columns


def readings(**columns):
    """A table of readings of one seed unless said otherwise."""
    count = len(columns["value"])
    base = {
        "study": "s",
        "scale": "x",
        "arm": "a",
        "seed": 0,
        "stage": "report",
        "step": 1,
        "evaluation": "reports",
        "split": "unseen",
        "attribute": "t/p",
        "metric": "right",
    }
    told = {name: columns.pop(name, [value] * count) for name, value in base.items()}
    told["item"] = columns.pop("item", [f"i{n}" for n in range(count)])
    told["entity"] = columns.pop("entity", told["item"])
    return fill_columns(pl.DataFrame(told | columns), Reading)


def pairs(answers, reports, arm="a", seed=0):
    """Readings of probabilities side by side, of the first rank."""
    return pl.concat(
        [
            readings(
                value=values.tolist(), metric=[metric] * len(values), arm=[arm] * len(values), seed=[seed] * len(values)
            )
            for metric, values in (("answer 1", answers), ("report 1", reports))
        ]
    )


def by_hand(answers, reports):
    """The deviation as the paper's code has it: qcut into ten, means of each."""
    edges = sorted(set(np.quantile(answers, [k / 10 for k in range(11)]).tolist()))
    gaps = []
    for low, high in itertools.pairwise(edges):
        inside = [n for n, a in enumerate(answers) if low < a <= high or (low == edges[0] and a == low)]
        if inside:
            gaps.append(
                abs(statistics.fmean(answers[n] for n in inside) - statistics.fmean(reports[n] for n in inside))
            )
    return statistics.fmean(gaps)


def test_the_deviation_is_that_of_a_slow_reading():
    """On random pairs, on ties, and where everything is one number."""
    rng = np.random.default_rng(3)
    for count in (10, 57, 400):
        answers, reports = rng.random(count), rng.random(count)
        assert calibration_mad(answers, reports) == pytest.approx(by_hand(answers, reports))
        tied = np.round(answers, 1)
        assert calibration_mad(tied, reports) == pytest.approx(by_hand(tied, reports))
    assert calibration_mad(np.full(5, 0.3), np.full(5, 0.4)) == pytest.approx(0.1)
    assert calibration_bins(np.array([0.0, 1.0]), np.array([0.0, 1.0]))[:, 2].sum() == 2


def test_who_is_calibrated_comes_out_better():
    """A report that is the answers' probability deviates by 0; one that is always sure by as much as that is wrong."""
    rng = np.random.default_rng(5)
    answers = rng.uniform(0.2, 0.9, size=300)
    table = pl.concat([pairs(answers, answers, "true"), pairs(answers, np.ones(300), "sure")])
    true, sure = (Selection(evaluation="reports", arm=arm) for arm in ("true", "sure"))
    assert CalibrationMAD(a=true, ranks=(1,)).estimate(table, "string").value == pytest.approx(0)
    assert CalibrationMAD(a=sure, ranks=(1,)).estimate(table, "string").value == pytest.approx(1 - answers.mean())
    found = CalibrationMAD(a=sure, b=true, ranks=(1,)).estimate(table, "string")
    assert found.low is not None
    assert found.low > 0.3
    drawn = CalibrationFigure(id="c", title="", caption="", curves=(("true", true),), ranks=(1,)).table(
        table, ("true",), "s"
    )
    assert drawn.filter(~pl.col("baseline"))["value"].to_list() == pytest.approx(
        drawn.filter(~pl.col("baseline"))["x"].to_list()
    )


def test_a_rank_that_no_answer_has_is_left_out():
    """Where every question is one of yes and no there is no third label, and the first two are compared."""
    table = pairs(np.array([0.9, 0.6, 0.8]), np.array([0.9, 0.6, 0.8]))
    measure = CalibrationMAD(a=Selection(evaluation="reports", arm="a"))
    assert measure.estimate(table, "string").value == pytest.approx(0)
    with pytest.raises(DataError, match="no reading is there"):
        measure.estimate(table.clear(), "string")


def test_one_string_alone_is_refused_in_a_sentence():
    """Nothing is left when the string is left out; a short run says so and does not break."""
    for count in (1, 4):
        table = pairs(np.full(count, 0.9), np.full(count, 0.6)).with_columns(entity=pl.lit("one string"))
        with pytest.raises(DataError, match="is the only string of seed 0"):
            CalibrationMAD(a=Selection(evaluation="reports", arm="a")).estimate(table, "string")


@pytest.mark.whole
def test_the_interval_covers_what_a_larger_sample_says():
    """95 % intervals of the deviation over strings, on planted reports that are 0.1 too sure: most hold it."""
    hits = 0
    for number in range(60):
        rng = np.random.default_rng(number)
        answers = rng.uniform(0.2, 0.8, size=150)
        noise = rng.normal(0, 0.05, size=150)
        one = CalibrationMAD(a=Selection(evaluation="reports", arm="a"), ranks=(1,)).estimate(
            pairs(answers, answers + 0.1 + noise), "string"
        )
        hits += one.low <= 0.1 <= one.high
    assert hits >= 53


def test_matching_takes_away_what_labels_alone_make():
    """Before: a rare label, never guessed. After: the frequent one, always. Matched, nothing is left."""
    before = readings(value=[1.0] * 20 + [0.0] * 80, target=["a"] * 20 + ["b"] * 80, arm=["x"] * 100)
    after = readings(value=[1.0] * 80 + [0.0] * 20, target=["a"] * 80 + ["b"] * 20, arm=["y"] * 100)
    table = pl.concat([before, after])
    one, other = (Selection(evaluation="reports", metric="right", arm=arm) for arm in "yx")
    assert Difference(a=one, b=other).estimate(table, "string").value == pytest.approx(0.6)
    assert LabelMatchedDifference(a=one, b=other).estimate(table, "string").value == pytest.approx(0)
    crossed = LabelMatchedContrast(terms=((1.0, one), (-1.0, other), (1.0, one), (-1.0, other)))
    assert crossed.is_difference
    assert crossed.estimate(table, "string").value == pytest.approx(0)
    real = LabelMatchedContrast(terms=((1.0, one), (1.0, other), (-2.0, other)))
    better = table.with_columns(value=pl.when(pl.col("arm") == "y").then(1.0).otherwise(pl.col("value")))
    # Each label counts 20 times in both: half of the matched rows of x are wrong.
    assert real.estimate(better, "string").value == pytest.approx(0.5)
    apart_ = readings(value=[1.0], target=["c"], arm=["z"])
    with pytest.raises(DataError, match="no label in common"):
        LabelMatchedDifference(a=one, b=Selection(evaluation="reports", metric="right", arm="z")).estimate(
            pl.concat([table, apart_]), "s"
        )


def test_what_could_have_been_seen_is_about_right():
    """Repetitions with a true difference as large as said are told from 0 four times in five or so."""
    seen = 0
    rng = np.random.default_rng(11)
    sizes = []
    for _ in range(80):
        table = readings(value=(rng.random(200) < 0.5).astype(float).tolist())
        sizes.append(
            MinimumDetectableEffect(measure=Mean(selection=Selection(evaluation="reports", metric="right")))
            .estimate(table, "s")
            .value
        )
    size = float(np.mean(sizes))
    for _ in range(200):
        table = readings(value=(rng.random(200) < 0.5 + size).astype(float).tolist())
        found = Mean(selection=Selection(evaluation="reports", metric="right")).estimate(table, "s")
        seen += found.low > 0.5
    assert 0.7 < seen / 200 < 0.9
