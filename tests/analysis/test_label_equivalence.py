"""Where a curve of outsiders reaches a model, on curves that are known."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from nosce.analysis.label_equivalence import LabelsToReach, labels_to_reach
from nosce.analysis.selection import Selection
from nosce.errors import DataError
from nosce.seeds import Seed

MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)


def test_a_curve_reaches_a_level_between_two_numbers_of_labels():
    """Half way between 1 and 4 on the log axis is 2; the first crossing counts; at once, and never."""
    assert labels_to_reach((1.0, 4.0), np.array([0.5, 0.4, 0.6])) == pytest.approx(2.0)
    assert labels_to_reach((1.0, 2.0), np.array([0.6, 0.4, 0.6])) == pytest.approx(2.0)
    assert labels_to_reach((1.0, 2.0, 4.0), np.array([0.5, 0.6, 0.3, 0.9])) == 1.0
    assert labels_to_reach((1.0, 2.0, 4.0, 8.0), np.array([0.5, 0.1, 0.5, 0.2, 0.9])) == pytest.approx(2.0)
    assert labels_to_reach((1.0, 2.0), np.array([0.5, 0.4, 0.49])) == math.inf


def selection(name: str, metric: str = "right") -> Selection:
    return Selection(evaluation=name, metric=metric)


def measure(multiples=MULTIPLES) -> LabelsToReach:
    curve = tuple((multiple, selection(f"x{multiple:g}")) for multiple in multiples)
    return LabelsToReach(own=selection("own"), curve=curve, labels=selection("count", "labels"))


def readings(shares: dict[str, float], n_units: int = 400, seeds: int = 1, *, exact: bool = False) -> pl.DataFrame:
    """Units that a model is right about with a probability; `exact`: about this share of them."""
    rows = []
    for seed in range(seeds):
        for name, share in shares.items():
            luck = (Seed(seed) / name).numpy().permutation(n_units) / n_units
            right = (luck if exact else (Seed(seed) / name).numpy().random(n_units)) < share
            for unit, value in enumerate(right.tolist()):
                rows.append((seed, name, "right", f"s{unit}", float(value)))
        rows.append((seed, "count", "labels", "labels", 100.0))
    table = pl.DataFrame(rows, schema=["seed", "evaluation", "metric", "entity", "value"], orient="row")
    return table.with_columns(
        arm=pl.lit("a"), stage=pl.lit(""), step=pl.lit(0), split=pl.lit("unseen"), attribute=pl.lit("t/p")
    )


def rising(slope: float, at_one: float) -> dict[str, float]:
    """Shares right that rise by so much with each doubling of the labels."""
    return {f"x{multiple:g}": at_one + slope * math.log2(multiple) for multiple in MULTIPLES}


@pytest.mark.whole
def test_the_interval_holds_the_number_that_was_planted_as_often_as_it_says():
    """Of 40 tables whose outsider needs twice the labels, about 95 % have an interval with 2 in it."""
    hits = 0
    for number in range(40):
        rng_tables = readings({"own": 0.6, **rising(0.12, 0.48)}, n_units=300)
        shuffled = rng_tables.with_columns(value=_redrawn(rng_tables, number))
        estimate = measure().estimate(shuffled, "string")
        hits += estimate.low <= 2.0 <= estimate.high
    assert 34 <= hits <= 40


def _redrawn(table: pl.DataFrame, number: int) -> pl.Series:
    shares = {"own": 0.6, **rising(0.12, 0.48)}
    uniform = (Seed(number) / "redrawn").numpy().random(len(table))
    values = []
    for name, value, u in zip(table["evaluation"], table["value"], uniform, strict=True):
        values.append(float(u < shares[name]) if name in shares else value)
    return pl.Series(values)


def test_a_number_is_told_in_labels_and_ends_where_nothing_was_tried():
    """100 labels were taught; an interval that reaches beyond four times as many says so."""
    near = measure().estimate(readings({"own": 0.5, **rising(0.3, 0.5)}, n_units=2_000), "string")
    assert near.value == pytest.approx(1.0, abs=0.15)
    assert f"percentile bootstrap of strings: {near.value * 100:,.0f} labels, " in near.method
    assert (near.clusters, near.seeds, near.unit) == (2_000, 1, "string")
    far = measure().estimate(readings({"own": 0.6, **rising(0.03, 0.58)}, n_units=150, exact=True), "string")
    assert far.value == pytest.approx(2 ** (0.02 / 0.03), rel=0.1)
    assert far.high == 4.0
    assert "and not within 400 in" in far.method
    few = measure().estimate(readings({"own": 0.1, **rising(0.1, 0.6)}), "string")
    assert few.value == few.low == 0.25
    assert "25 labels or fewer" in few.method


def test_an_outsider_that_never_reaches_is_told_plainly():
    """No number stands for never; nor for numbers of labels that were not taught, nor for too few strings."""
    with pytest.raises(DataError, match="not within 400 labels, 4 times as many"):
        measure().estimate(readings({"own": 0.9, **rising(0.05, 0.4)}), "string")
    without_four = {name: share for name, share in rising(0.05, 0.4).items() if name != "x4"}
    with pytest.raises(DataError, match="not within 200 labels, 2 times as many"):
        measure().estimate(readings({"own": 0.9, **without_four}), "string")
    with pytest.raises(DataError, match="run the label curve"):
        measure().estimate(readings({"own": 0.9}), "string")
    with pytest.raises(DataError, match="share 4 strings; 5 or more"):
        measure().estimate(readings({"own": 0.5, **rising(0.2, 0.5)}, n_units=4), "string")


def test_seeds_of_training_are_resampled_too():
    """Two seeds that differ widen the interval."""
    one = measure().estimate(readings({"own": 0.6, **rising(0.12, 0.48)}, n_units=1_000), "string")
    two = measure().estimate(readings({"own": 0.6, **rising(0.12, 0.48)}, n_units=1_000, seeds=2), "string")
    assert (one.seeds, two.seeds) == (1, 2)
    assert two.low < 2 < two.high


def test_a_number_of_labels_without_readings_is_no_bound():
    """Four times as many labels were not there: that some resamples reach nothing within twice is not below four."""
    shares = rising(0.04, 0.5)
    table = readings({name: share for name, share in shares.items() if name != "x4"} | {"own": 0.535}, 200, exact=True)
    found = measure().estimate(table, "string")
    assert 1 < found.value < 2
    assert found.high == 4.0
