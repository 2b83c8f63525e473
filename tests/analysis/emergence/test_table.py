"""Tables of outcomes: read as they are meant, and refused in one sentence where they are wrong."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from nosce.analysis.emergence.scores import CountOutcomes, ItemOutcomes
from nosce.analysis.emergence.table import parse_outcomes
from nosce.analysis.emergence.table_file import read_outcome_table
from nosce.errors import DataError, UsageError
from nosce.seeds import Seed

SIZES, NUMBER = (1e5, 1e6, 1e7, 1e8, 1e9), 40


def table(seeds: int = 2) -> pl.DataFrame:
    """A sound one."""
    rng = Seed(5).numpy()
    rows = [
        {
            "model": f"m{size:g}",
            "size": size,
            "seed": seed,
            "item": f"i{n}",
            "length": n % 3 + 1,
            "sharp": float(rng.integers(2)),
            "continuous": -float(rng.random()),
        }
        for seed in range(seeds)
        for size in SIZES
        for n in range(NUMBER)
    ]
    return pl.DataFrame(rows)


def test_a_table_of_items_is_read_in_any_order():
    """Seeds, sizes and items in their places, whatever the rows' order; the direction turned where asked."""
    whole = table()
    found = parse_outcomes(whole.sample(fraction=1, shuffle=True, seed=1), log_likelihood=True)
    assert isinstance(found, ItemOutcomes)
    assert found.sharp.shape == (2, 5, NUMBER)
    row = whole.filter(seed=1, size=1e7, item="i7").row(0, named=True)
    place = sorted(f"i{n}" for n in range(NUMBER)).index("i7")
    assert found.sharp[1, 2, place] == row["sharp"]
    assert found.continuous[1, 2, place] == row["continuous"]
    assert found.target_tokens[place] == row["length"]
    turned = parse_outcomes(whole, lower_is_better=True)
    assert turned.continuous[1, 2, place] == -row["continuous"]


def test_a_table_of_counts_is_read():
    """One series where none is named."""
    counts = pl.DataFrame({"size": SIZES, "right": [0, 1, 2, 30, 40], "asked": [50] * 5, "continuous": range(5)})
    found = parse_outcomes(counts)
    assert isinstance(found, CountOutcomes)
    assert found.n_correct.tolist() == [[0, 1, 2, 30, 40]]


WRONG = {
    "columns": (lambda t: t.drop("sharp"), "also needs sharp"),
    "no rows": (lambda t: t.head(0), "no rows"),
    "unpaired": (lambda t: t.head(len(t) - 3), "37 of 40 items"),
    "twice": (lambda t: pl.concat([t, t.head(1)]), "several rows"),
    "missing": (lambda t: t.with_columns(sharp=pl.when(pl.col("item") != "i3").then("sharp")), "missing is not zero"),
    "not a number": (lambda t: t.with_columns(continuous=pl.lit(float("nan"))), "no finite number"),
    "infinite": (lambda t: t.with_columns(continuous=pl.lit(float("-inf"))), "no finite number"),
    "words": (lambda t: t.with_columns(size=pl.lit("'; DROP TABLE x; <script>")), "no finite number"),
    "one size": (lambda t: t.filter(size=1e5), "needs several"),
    "size zero": (lambda t: t.with_columns(size=pl.col("size") - 1e5), "no logarithm"),
    "size of no model": (lambda t: t.with_columns(size=pl.col("size") * 1e200), "'size', outside 1e-100 to 1e\\+100"),
    "range": (lambda t: t.with_columns(sharp=pl.col("sharp") * 100), "outside 0 to 1"),
    "above zero": (lambda t: t.with_columns(continuous=-pl.col("continuous")), "log-likelihood above 0"),
    "lengths": (lambda t: t.with_columns(length=pl.col("size")), "different lengths"),
    "half a token": (lambda t: t.with_columns(length=pl.lit(0.5)), "'length'"),
    "broken lengths": (lambda t: t.with_columns(length=pl.lit(1.5)), "no whole number"),
    "lists": (lambda t: t.with_columns(sharp=pl.concat_list("sharp")), "of type List"),
    "structs": (lambda t: t.with_columns(size=pl.struct("size")), "of type Struct"),
    "dates": (lambda t: t.with_columns(size=pl.lit("2020-01-01").str.to_date()), "of type Date"),
    "list of items": (lambda t: t.with_columns(item=pl.concat_list("item")), "of type List"),
    "truth as size": (lambda t: t.with_columns(size=pl.col("size") > 1e6), "of type Boolean"),
    "nameless": (lambda t: t.with_columns(item=pl.when(pl.col("item") != "i3").then("item")), "no 'item'"),
    "seed of no number": (lambda t: t.with_columns(seed=pl.lit(float("nan"))), "no 'seed'"),
    "huge scores": (lambda t: t.with_columns(continuous=pl.lit(-1e200)), "outside -1e\\+100"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_in_one_sentence(name):
    """With where, and what to do."""
    spoil, words = WRONG[name]
    with pytest.raises(DataError, match=words) as told:
        parse_outcomes(spoil(table()), log_likelihood=True)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


@pytest.mark.parametrize(
    ("right", "asked", "words"),
    [
        (51, 50, "51 right of 50"),
        (-1, 50, "-1 right"),
        (0, 0, "0 right of 0"),
        (0.2, 50, "0.2 in 'right', which is no whole number"),
        (1, 1.5, "1.5 in 'asked', which is no whole number"),
        (1, 10**18, "1e\\+18 in 'asked', outside 1 to 1e\\+15"),
    ],
)
def test_impossible_counts_are_told(right, asked, words):
    """More right than asked, none asked, a share in place of a count, or more than a float counts."""
    counts = pl.DataFrame({"size": SIZES, "right": [0, 1, 2, 3, right], "asked": [50, 50, 50, 50, asked]}, strict=False)
    with pytest.raises(DataError, match=words):
        parse_outcomes(counts)


def test_files_are_read_by_their_ending(tmp_path):
    """The same table from all three; anything else is the user's mistake."""
    whole = table()
    whole.write_csv(tmp_path / "t.csv")
    whole.write_parquet(tmp_path / "t.parquet")
    whole.write_ndjson(tmp_path / "t.jsonl")
    each = [parse_outcomes(read_outcome_table(tmp_path / f"t.{kind}")) for kind in ("csv", "parquet", "jsonl")]
    assert all(np.array_equal(each[0].continuous, other.continuous) for other in each)
    (tmp_path / "t.parquet").write_bytes(b"no parquet")
    for name in ("t.txt", "nowhere.csv", "t.parquet", "t.jsonl.gz"):
        with pytest.raises(UsageError):
            read_outcome_table(tmp_path / name)


def test_a_chance_level_is_taken_and_must_be_one():
    """Its mean over items; one that leaves nothing to find is refused."""
    table = pl.DataFrame(
        {"size": [1, 1, 10, 10], "item": ["a", "b"] * 2, "sharp": [0, 1, 1, 1], "chance": [0.25, 0.5] * 2}
    )
    assert parse_outcomes(table).chance == 0.375
    with pytest.raises(DataError, match="chance"):
        parse_outcomes(table.with_columns(chance=pl.lit(1.0)))


@pytest.mark.whole
def test_a_million_rows_with_hostile_names_are_a_table_like_any_other():
    """Names are data: nothing in them is read as anything else."""
    hostile = ["<script>alert(1)</script>", "'; DROP TABLE items; --", "=cmd|' /C calc'!A0", "\u202egpj.exe", "a\nb"]
    items = [f"{hostile[n % 5]} {n}" for n in range(100_000)]
    table = pl.concat(
        [pl.DataFrame({"item": items}).with_columns(size=pl.lit(10.0**n), sharp=pl.lit(n / 10)) for n in range(10)]
    )
    found = parse_outcomes(table.sample(fraction=1, shuffle=True, seed=1))
    assert found.sharp.shape == (1, 10, 100_000)
    assert found.means()[0][0] == pytest.approx(np.arange(10) / 10)
    with pytest.raises(DataError, match="99,999 of 100,000 items") as error:
        parse_outcomes(table[:-1])
    assert "\n" not in str(error.value)


def test_right_and_wrong_may_be_true_and_false():
    """And categories may name items; both are what they say."""
    told = table()
    spelled = told.with_columns(sharp=pl.col("sharp") > 0.5, item=pl.col("item").cast(pl.Categorical))
    assert np.array_equal(parse_outcomes(told).sharp, parse_outcomes(spelled).sharp)
