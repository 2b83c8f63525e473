"""Measures of many units at once, on tables with what was planted in them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from nosce.analysis.jackknife import (
    Auc,
    ConditionRankCorrelation,
    JointExcess,
    Slope,
    SpearmanCorrelation,
)
from nosce.analysis.selection import Selection
from nosce.analysis.stats.time_series import half_width_over_seeds
from nosce.errors import DataError
from nosce.seeds import Seed

UNITS, SEEDS = 120, (0, 1, 2)


def select(metric: str) -> Selection:
    """Readings of a metric."""
    return Selection(evaluation="r", metric=metric)


def table(columns: dict[str, np.ndarray], attributes: np.ndarray | None = None) -> pl.DataFrame:
    """Readings of metrics, (seeds, units) each, one a unit."""
    parts = []
    for metric, values in columns.items():
        for seed in SEEDS:
            count = values.shape[1]
            attribute = (
                ["f"] * count if attributes is None else [f"{n} entries" for n in attributes[seed][:count].tolist()]
            )
            parts.append(
                pl.DataFrame(
                    {
                        "metric": metric,
                        "seed": seed,
                        "entity": [f"u{n}" for n in range(count)],
                        "item": [f"u{n}" for n in range(count)],
                        "attribute": attribute,
                        "value": values[seed].astype(float),
                    }
                )
            )
    return pl.concat(parts).with_columns(
        evaluation=pl.lit("r"), arm=pl.lit("a"), split=pl.lit("unseen"), stage=pl.lit("s"), step=pl.lit(0)
    )


def drawn(*shape: int) -> np.ndarray:
    """Numbers from 0 to 1."""
    return (Seed(7) / "joint" / str(shape)).numpy().random(shape)


def test_a_trend_is_the_slope_of_means():
    """Shares that rise by 0.2 a doubling; where they do not rise, the interval holds 0."""
    chance = drawn(4, len(SEEDS), UNITS)
    rising = table({f"at {n}": chance[n] < 0.1 + 0.2 * n for n in range(4)})
    points = tuple((float(n), select(f"at {n}")) for n in range(4))
    found = Slope(points=points).estimate(rising, "unit")
    means = [rising.filter(metric=f"at {n}")["value"].mean() for n in range(4)]
    assert found.value == pytest.approx(np.polyfit(range(4), means, 1)[0])
    assert found.low < 0.2 < found.high
    assert found.low > 0.1
    flat = Slope(points=points).estimate(table({f"at {n}": chance[n] < 0.4 for n in range(4)}), "unit")
    assert flat.low < 0 < flat.high


def test_units_in_common_are_left_out_together():
    """What a unit brings to both sides cancels; units that only look alike do not."""
    luck = drawn(len(SEEDS), UNITS)
    same = table({"one": luck, "other": luck + 0.1 + 1e-4 * drawn(len(SEEDS), UNITS, 1)[..., 0]})
    difference = Slope(points=((0.0, select("one")), (1.0, select("other"))))
    found = difference.estimate(same, "unit")
    assert found.value == pytest.approx(0.1, abs=1e-4)
    strangers = same.with_columns(
        entity=pl.col("entity") + pl.when(metric="one").then(pl.lit("")).otherwise(pl.lit("'"))
    )
    wide = difference.estimate(strangers, "unit")
    assert wide.value == pytest.approx(found.value)
    assert wide.high - wide.low > 0.05
    assert found.high - found.low < 1e-4


def test_a_trend_of_differences():
    """The gap between two curves, along their common number."""
    columns = {
        f"{side} {n}": np.full((3, 20), 0.1 * n * (2 if side == "a" else 1)) + 0.001 * drawn(3, 20)
        for side in "ab"
        for n in range(3)
    }
    points = tuple((float(n), select(f"a {n}")) for n in range(3))
    found = Slope(points=points, subtract=tuple(select(f"b {n}") for n in range(3))).estimate(table(columns), "unit")
    assert found.value == pytest.approx(0.1, abs=1e-3)
    with pytest.raises(DataError, match="one for each"):
        Slope(points=points, subtract=(select("b 0"),)).estimate(table(columns), "unit")
    with pytest.raises(DataError, match="one number alone"):
        Slope(points=points[:1]).estimate(table(columns), "unit")


def test_an_area_is_the_field_s_auc():
    """As scikit-learn has it, ties included; told apart fully it is 1, not at all 0.5."""
    high, low = np.round(drawn(3, 90) + 0.2, 1), np.round(drawn(3, 110), 1)
    found = Auc(positives=select("high"), negatives=select("low")).estimate(table({"high": high, "low": low}), "unit")
    each = [roc_auc_score([1] * 90 + [0] * 110, [*h, *o]) for h, o in zip(high, low, strict=True)]
    assert found.value == pytest.approx(np.mean(each))
    assert found.low < np.mean(each) < found.high
    apart = Auc(positives=select("high"), negatives=select("low")).estimate(
        table({"high": high + 5, "low": low}), "unit"
    )
    assert apart.value == 1
    blind = Auc(positives=select("high"), negatives=select("low")).estimate(
        table({"high": drawn(3, 99), "low": drawn(3, 98)}), "unit"
    )
    assert blind.low < 0.5 < blind.high


def test_ranks_are_spearman_s():
    """Of two selections, or of one and the number in its facet; labels dealt out anew correlate with nothing."""
    true = (drawn(3, UNITS) * 4).astype(int) + 1
    said = true + (drawn(3, UNITS + 1)[:, :UNITS] * 3).astype(int)
    told = table({"said": said, "true": true}, attributes=true)
    expected = np.mean([stats.spearmanr(a, b).statistic for a, b in zip(said, true, strict=True)])
    for measure in (SpearmanCorrelation(a=select("said"), b=select("true")), SpearmanCorrelation(a=select("said"))):
        found = measure.estimate(told, "unit")
        assert found.value == pytest.approx(expected)
        assert found.low < expected < found.high
    shuffled = table({"said": said, "true": np.stack([Seed(3).numpy().permutation(row) for row in true])})
    found = SpearmanCorrelation(a=select("said"), b=select("true")).estimate(shuffled, "unit")
    assert found.low < 0 < found.high
    with pytest.raises(DataError, match="does not vary"):
        SpearmanCorrelation(a=select("said")).estimate(table({"said": np.ones((3, 9))}, attributes=true), "unit")


def test_what_was_not_read_is_told():
    """A selection that is empty, or seeds that do not meet."""
    told = table({"a": drawn(3, 9), "b": drawn(3, 9)})
    with pytest.raises(DataError, match="no reading is there"):
        Auc(positives=select("a"), negatives=select("c")).estimate(told, "unit")
    apart = told.filter((pl.col("metric") == "a") == (pl.col("seed") == 0))
    with pytest.raises(DataError, match="no seed has all"):
        Auc(positives=select("a"), negatives=select("b")).estimate(apart, "unit")


def test_parts_that_come_together_are_told_from_parts_that_come_alone():
    """Three coins of one toss against three of their own."""
    rng = Seed(8).numpy()
    alone = (rng.random((4, 3, 400)) < 0.7).astype(float)
    same = np.repeat((rng.random((4, 1, 400)) < 0.7).astype(float), 3, 1)

    def told(tosses: np.ndarray) -> pl.DataFrame:
        parts = [
            pl.DataFrame({"seed": seed, "metric": name, "entity": [f"p{n}" for n in range(400)], "value": value})
            for seed in range(4)
            for name, value in (("all", tosses[seed].min(0)), *((f"c{n}", tosses[seed, n]) for n in range(3)))
        ]
        known = {"evaluation": "r", "arm": "a", "stage": "s", "split": "unseen", "attribute": "f"}
        blank = {name: pl.lit(value) for name, value in known.items()}
        return pl.concat(parts).with_columns(step=pl.lit(1), item=pl.col("entity"), **blank)

    measure = JointExcess(
        joint=Selection(evaluation="r", metric="all"),
        marginals=tuple(Selection(evaluation="r", metric=f"c{n}") for n in range(3)),
    )
    apart = measure.estimate(told(alone), "toss")
    assert apart.low < 0 < apart.high
    joined = measure.estimate(told(same), "toss")
    assert joined.value == pytest.approx(0.7 - 0.343, abs=0.04)
    assert joined.low > 0.25


def conditions() -> tuple[tuple[Selection, Selection], ...]:
    """Readings of five conditions, as metrics `x<n>` and `y<n>`."""
    return tuple((select(f"x{n}"), select(f"y{n}")) for n in range(5))


def test_an_order_of_conditions_is_found_and_a_shuffled_one_is_not():
    """Scores that rise together give 1 with a narrow interval; unrelated ones an interval around their own order."""
    noise = drawn(10, len(SEEDS), 60)
    level = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    rising = {f"x{n}": noise[n] < level[n] for n in range(5)} | {f"y{n}": noise[5 + n] < level[n] for n in range(5)}
    found = ConditionRankCorrelation(pairs=conditions()).estimate(table(rising), "person")
    assert found.value == pytest.approx(1.0, abs=0.05)
    assert found.low > 0.7
    assert (found.seeds, found.clusters) == (3, 180)
    order = [3, 0, 4, 1, 2]
    shuffled = rising | {f"y{n}": noise[5 + n] < level[order[n]] for n in range(5)}
    other = ConditionRankCorrelation(pairs=conditions()).estimate(table(shuffled), "person")
    expected = stats.spearmanr(np.arange(5), order).statistic
    assert other.value == pytest.approx(expected, abs=0.15)
    assert other.high < 0.7


def test_an_order_of_few_seeds_is_as_wide_as_the_seeds_allow():
    """Student's t over seeds that differ; the units' own error where seeds come out equal, and of one seed alone."""
    half, _ = half_width_over_seeds(np.array([0.6, 0.8, 1.0]), np.zeros(3), "people")
    assert half == pytest.approx(stats.t.ppf(0.975, 2) * 0.2 / np.sqrt(3))
    half, method = half_width_over_seeds(np.full(3, 0.5), np.full(3, 0.01), "people", least_level=0.95)
    assert half == pytest.approx(1.959964 * 0.1 / np.sqrt(3))
    assert "95 % interval over people is wider" in method
    half, method = half_width_over_seeds(np.array([0.9]), np.array([0.01]), "people")
    assert half == pytest.approx(1.959964 * 0.1)
    assert "nothing is said about other seeds" in method


def test_an_order_wants_conditions_and_units_in_common():
    """Three conditions have no order to speak of; neither have units that only some conditions were read of."""
    values = {f"{c}{n}": drawn(len(SEEDS), 8) for c in "xy" for n in range(5)}
    with pytest.raises(DataError, match="four or more"):
        ConditionRankCorrelation(pairs=conditions()[:3]).estimate(table(values), "person")
    apart = table(values).with_columns(
        entity=pl.when(pl.col("metric") == "y4").then(pl.lit("nobody")).otherwise(pl.col("entity"))
    )
    with pytest.raises(DataError, match="no unit"):
        ConditionRankCorrelation(pairs=conditions()).estimate(apart, "person")


LONE = {"high": drawn(3, 1) + 0.5, "low": drawn(3, 9)}  # one unit, and nine
OF_A_LONE_UNIT = (
    Slope(points=((0.0, select("low")), (1.0, select("high")))),
    Slope(points=((0.0, select("low")), (1.0, select("low"))), subtract=(select("high"), select("low"))),
    Auc(positives=select("high"), negatives=select("low")),
    JointExcess(joint=select("high"), marginals=(select("low"), select("low"))),
)


@pytest.mark.parametrize("measure", OF_A_LONE_UNIT, ids=lambda one: type(one).__name__)
def test_a_unit_that_stands_alone_in_a_selection_is_refused(measure):
    """Without it the selection is empty: no mean of nothing, no warning, but a sentence that says what to do."""
    with pytest.raises(DataError, match=r"u0 is the only unit of seed 0.*ask about more.*\.$"):
        measure.estimate(table(LONE), "unit")
    lone_in_one_seed = table({"high": drawn(3, 9) + 0.5, "low": drawn(3, 9)}).filter(
        (pl.col("metric") == "low") | (pl.col("seed") != 1) | (pl.col("entity") == "u0")
    )
    with pytest.raises(DataError, match="only unit of seed 1"):
        measure.estimate(lone_in_one_seed, "unit")


def test_a_rank_correlation_that_is_not_defined_is_not_zero():
    """Of values that are all equal but one, and of conditions that are all alike: neither orders anything."""
    said = np.ones((3, 9))
    said[:, 0] = 2.0
    with pytest.raises(DataError, match="rests on this unit"):
        SpearmanCorrelation(a=select("said"), b=select("true")).estimate(
            table({"said": said, "true": drawn(3, 9)}), "unit"
        )
    alike = {f"x{n}": np.zeros((3, 20)) for n in range(5)} | {f"y{n}": drawn(3, 20) + n for n in range(5)}
    with pytest.raises(DataError, match="the same in all 5 conditions"):
        ConditionRankCorrelation(pairs=conditions()).estimate(table(alike), "person")
