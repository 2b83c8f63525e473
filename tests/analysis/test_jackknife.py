"""Measures of many units at once, on tables with what was planted in them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from nosce.analysis.jackknife import Auc, Ranks, Rows, Together, Trend, _over_seeds
from nosce.analysis.measures import Select
from nosce.errors import DataError
from nosce.seeds import Seed

UNITS, SEEDS = 120, (0, 1, 2)


def select(metric: str) -> Select:
    """Readings of a metric."""
    return Select(readout="r", metric=metric)


def table(columns: dict[str, np.ndarray], facets: np.ndarray | None = None) -> pl.DataFrame:
    """Readings of metrics, (seeds, units) each, one a unit."""
    parts = []
    for metric, values in columns.items():
        for seed in SEEDS:
            count = values.shape[1]
            facet = ["f"] * count if facets is None else [f"{n} entries" for n in facets[seed][:count].tolist()]
            parts.append(pl.DataFrame({"metric": metric, "seed": seed, "about": [f"u{n}" for n in range(count)],
                                       "item": [f"u{n}" for n in range(count)], "facet": facet,
                                       "value": values[seed].astype(float)}))  # fmt: skip
    return pl.concat(parts).with_columns(readout=pl.lit("r"), arm=pl.lit("a"), split=pl.lit("unseen"),
                                         stage=pl.lit("s"), step=pl.lit(0))  # fmt: skip


def drawn(*shape: int) -> np.ndarray:
    """Numbers from 0 to 1."""
    return (Seed(7) / "joint" / str(shape)).numpy().random(shape)


def test_a_trend_is_the_slope_of_means():
    """Shares that rise by 0.2 a doubling; where they do not rise, the interval holds 0."""
    chance = drawn(4, len(SEEDS), UNITS)
    rising = table({f"at {n}": chance[n] < 0.1 + 0.2 * n for n in range(4)})
    points = tuple((float(n), select(f"at {n}")) for n in range(4))
    found = Trend(points=points).of(rising, "unit")
    means = [rising.filter(metric=f"at {n}")["value"].mean() for n in range(4)]
    assert found.value == pytest.approx(np.polyfit(range(4), means, 1)[0])
    assert found.low < 0.2 < found.high
    assert found.low > 0.1
    flat = Trend(points=points).of(table({f"at {n}": chance[n] < 0.4 for n in range(4)}), "unit")
    assert flat.low < 0 < flat.high


def test_units_in_common_are_left_out_together():
    """What a unit brings to both sides cancels; units that only look alike do not."""
    luck = drawn(len(SEEDS), UNITS)
    same = table({"one": luck, "other": luck + 0.1 + 1e-4 * drawn(len(SEEDS), UNITS, 1)[..., 0]})
    difference = Trend(points=((0.0, select("one")), (1.0, select("other"))))
    found = difference.of(same, "unit")
    assert found.value == pytest.approx(0.1, abs=1e-4)
    strangers = same.with_columns(about=pl.col("about") + pl.when(metric="one").then(pl.lit("")).otherwise(pl.lit("'")))
    wide = difference.of(strangers, "unit")
    assert wide.value == pytest.approx(found.value)
    assert wide.high - wide.low > 0.05
    assert found.high - found.low < 1e-4


def test_a_trend_of_differences():
    """The gap between two curves, along their common number."""
    columns = {f"{side} {n}": np.full((3, 20), 0.1 * n * (2 if side == "a" else 1)) + 0.001 * drawn(3, 20)
               for side in "ab" for n in range(3)}  # fmt: skip
    points = tuple((float(n), select(f"a {n}")) for n in range(3))
    found = Trend(points=points, minus=tuple(select(f"b {n}") for n in range(3))).of(table(columns), "unit")
    assert found.value == pytest.approx(0.1, abs=1e-3)
    with pytest.raises(DataError, match="one for each"):
        Trend(points=points, minus=(select("b 0"),)).of(table(columns), "unit")
    with pytest.raises(DataError, match="one number alone"):
        Trend(points=points[:1]).of(table(columns), "unit")


def test_an_area_is_the_field_s_auc():
    """As scikit-learn has it, ties included; told apart fully it is 1, not at all 0.5."""
    high, low = np.round(drawn(3, 90) + 0.2, 1), np.round(drawn(3, 110), 1)
    found = Auc(high=select("high"), low=select("low")).of(table({"high": high, "low": low}), "unit")
    each = [roc_auc_score([1] * 90 + [0] * 110, [*h, *o]) for h, o in zip(high, low, strict=True)]
    assert found.value == pytest.approx(np.mean(each))
    assert found.low < np.mean(each) < found.high
    apart = Auc(high=select("high"), low=select("low")).of(table({"high": high + 5, "low": low}), "unit")
    assert apart.value == 1
    blind = Auc(high=select("high"), low=select("low")).of(table({"high": drawn(3, 99), "low": drawn(3, 98)}), "unit")
    assert blind.low < 0.5 < blind.high


def test_ranks_are_spearman_s():
    """Of two selections, or of one and the number in its facet; labels dealt out anew correlate with nothing."""
    true = (drawn(3, UNITS) * 4).astype(int) + 1
    said = true + (drawn(3, UNITS + 1)[:, :UNITS] * 3).astype(int)
    told = table({"said": said, "true": true}, facets=true)
    expected = np.mean([stats.spearmanr(a, b).statistic for a, b in zip(said, true, strict=True)])
    for measure in (Ranks(one=select("said"), other=select("true")), Ranks(one=select("said"))):
        found = measure.of(told, "unit")
        assert found.value == pytest.approx(expected)
        assert found.low < expected < found.high
    shuffled = table({"said": said, "true": np.stack([Seed(3).numpy().permutation(row) for row in true])})
    found = Ranks(one=select("said"), other=select("true")).of(shuffled, "unit")
    assert found.low < 0 < found.high
    with pytest.raises(DataError, match="does not vary"):
        Ranks(one=select("said")).of(table({"said": np.ones((3, 9))}, facets=true), "unit")


def test_what_was_not_read_is_told():
    """A selection that is empty, or seeds that do not meet."""
    told = table({"a": drawn(3, 9), "b": drawn(3, 9)})
    with pytest.raises(DataError, match="no reading is there"):
        Auc(high=select("a"), low=select("c")).of(told, "unit")
    apart = told.filter((pl.col("metric") == "a") == (pl.col("seed") == 0))
    with pytest.raises(DataError, match="no seed has all"):
        Auc(high=select("a"), low=select("b")).of(apart, "unit")


def test_parts_that_come_together_are_told_from_parts_that_come_alone():
    """Three coins of one toss against three of their own."""
    rng = Seed(8).numpy()
    alone = (rng.random((4, 3, 400)) < 0.7).astype(float)
    same = np.repeat((rng.random((4, 1, 400)) < 0.7).astype(float), 3, 1)

    def told(tosses: np.ndarray) -> pl.DataFrame:
        parts = [pl.DataFrame({"seed": seed, "metric": name, "about": [f"p{n}" for n in range(400)], "value": value})
                 for seed in range(4) for name, value in
                 (("all", tosses[seed].min(0)), *((f"c{n}", tosses[seed, n]) for n in range(3)))]  # fmt: skip
        known = {"readout": "r", "arm": "a", "stage": "s", "split": "unseen", "facet": "f"}
        blank = {name: pl.lit(value) for name, value in known.items()}
        return pl.concat(parts).with_columns(step=pl.lit(1), item=pl.col("about"), **blank)

    measure = Together(whole=Select(readout="r", metric="all"),
                       parts=tuple(Select(readout="r", metric=f"c{n}") for n in range(3)))  # fmt: skip
    apart = measure.of(told(alone), "toss")
    assert apart.low < 0 < apart.high
    joined = measure.of(told(same), "toss")
    assert joined.value == pytest.approx(0.7 - 0.343, abs=0.04)
    assert joined.low > 0.25


def conditions() -> tuple[tuple[Select, Select], ...]:
    """Readings of five conditions, as metrics `x<n>` and `y<n>`."""
    return tuple((select(f"x{n}"), select(f"y{n}")) for n in range(5))


def test_an_order_of_conditions_is_found_and_a_shuffled_one_is_not():
    """Scores that rise together give 1 with a narrow interval; unrelated ones an interval around their own order."""
    noise = drawn(10, len(SEEDS), 60)
    level = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    rising = {f"x{n}": noise[n] < level[n] for n in range(5)} | {f"y{n}": noise[5 + n] < level[n] for n in range(5)}
    found = Rows(pairs=conditions()).of(table(rising), "person")
    assert found.value == pytest.approx(1.0, abs=0.05)
    assert found.low > 0.7
    assert (found.seeds, found.clusters) == (3, 180)
    order = [3, 0, 4, 1, 2]
    shuffled = rising | {f"y{n}": noise[5 + n] < level[order[n]] for n in range(5)}
    other = Rows(pairs=conditions()).of(table(shuffled), "person")
    expected = stats.spearmanr(np.arange(5), order).statistic
    assert other.value == pytest.approx(expected, abs=0.15)
    assert other.high < 0.7


def test_an_order_of_few_seeds_is_as_wide_as_the_seeds_allow():
    """Student's t over seeds that differ; the units' own error where seeds come out equal; percentiles of one alone."""
    seeds = np.array([0.6, 0.8, 1.0])
    low, high, _ = _over_seeds(seeds, np.repeat(seeds[:, None], 50, axis=1))
    half = stats.t.ppf(0.975, 2) * 0.2 / np.sqrt(3)
    assert (low, high) == (pytest.approx(0.8 - half), 1.0)
    drawn = 0.5 + 0.1 * np.tile([-1.0, 1.0], (3, 25))
    low, high, _ = _over_seeds(np.full(3, 0.5), drawn)
    assert high - low == pytest.approx(2 * stats.t.ppf(0.975, 2) * drawn[0].std(ddof=1) / np.sqrt(3))
    low, high, method = _over_seeds(np.array([0.9]), drawn[:1])
    assert (low, high) == (pytest.approx(0.4), 0.9)
    assert "nothing is said about other seeds" in method


def test_an_order_wants_conditions_and_units_in_common():
    """Three conditions have no order to speak of; neither have units that only some conditions were read of."""
    values = {f"{c}{n}": drawn(len(SEEDS), 8) for c in "xy" for n in range(5)}
    with pytest.raises(DataError, match="four or more"):
        Rows(pairs=conditions()[:3]).of(table(values), "person")
    apart = table(values).with_columns(
        about=pl.when(pl.col("metric") == "y4").then(pl.lit("nobody")).otherwise(pl.col("about"))
    )
    with pytest.raises(DataError, match="no unit"):
        Rows(pairs=conditions()).of(apart, "person")
