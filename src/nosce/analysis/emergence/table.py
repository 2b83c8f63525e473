"""A tidy table of outcomes by size, checked: one row an item, or one row a size with counts.

    items    model, size, item, sharp, continuous; and where known seed, length, chance
    counts   model, size, right, asked; and where known continuous, continuous_stderr, series, chance

What is wrong with a table is said in one sentence, with the first row that shows it.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from nosce.analysis.emergence.scores import CountOutcomes, ItemOutcomes
from nosce.analysis.stats.arrays import FloatArray
from nosce.errors import DataError

ITEM_COLUMNS = ("size", "item", "sharp")
COUNT_COLUMNS = ("size", "right", "asked")
TEXT_TYPES = (pl.String, pl.Categorical, pl.Enum, pl.Null)  # whose values may spell numbers
MAX_ROWS = 50_000_000
MAX_COUNT = 10**15  # larger counts are no longer exact in a float
MAX_SCORE = 1e100  # larger continuous scores overflow when they are squared
MAX_SIZE = 1e100  # nothing is counted in more; an axis of 1e308 overflows at its margin
MAX_LENGTH = 1e9  # tokens of a target


def parse_outcomes(
    table: pl.DataFrame, *, lower_is_better: bool = False, log_likelihood: bool = False
) -> ItemOutcomes | CountOutcomes:
    """What the mirage test takes, from a table of items or of counts.

    Args:
        lower_is_better: Of the continuous score, e.g. an edit distance.
        log_likelihood: The continuous score is the natural log of the probability of the whole target.

    Raises:
        DataError: What is wrong with the table, in one sentence.
    """
    if not len(table):
        raise DataError("the table has no rows, so there is nothing to audit.")
    if len(table) > MAX_ROWS:
        raise DataError(f"the table has {len(table):,} rows; at most {MAX_ROWS:,} are audited at once, so cut it.")
    if set(ITEM_COLUMNS) <= set(table.columns):
        return _item_outcomes(table, lower_is_better, log_likelihood)
    if set(COUNT_COLUMNS) <= set(table.columns):
        return _count_outcomes(table, lower_is_better, log_likelihood)
    lacking = [name for name in ITEM_COLUMNS if name not in table.columns]
    raise DataError(
        f"the table has the columns {', '.join(map(repr, table.columns[:12]))}; a table of items also needs "
        f"{', '.join(lacking)} (a table of counts: {', '.join(COUNT_COLUMNS)})."
    )


def _item_outcomes(table: pl.DataFrame, lower_is_better: bool, log_likelihood: bool) -> ItemOutcomes:
    table = _key_columns(table, ("seed", "item"))
    table = _numeric_columns(table, ("size", "sharp"), ("continuous", "length", "chance"))
    table = _checked_sizes(table)
    keys: list[str] = [name for name in ("seed", "size", "item") if name in table.columns]
    _check_range(table, "sharp", 0, 1)
    _check_scores(table)
    if "length" in table.columns:
        _check_range(table, "length", 1, MAX_LENGTH)
        _check_whole(table, "length")
    _check_unique(table, keys)
    table = table.with_columns(*([] if "seed" in table.columns else [pl.lit(0).alias("seed")])).sort(
        "seed", "size", "item"
    )
    sizes = table["size"].unique().sort()
    seeds = table["seed"].unique().sort()
    items = table["item"].unique().sort()
    expected = len(sizes) * len(seeds) * len(items)
    if len(table) != expected:
        each = table.group_by("seed", "size").len().sort("len")
        row = each.row(0, named=True)
        raise DataError(
            f"size {row['size']:g} of seed {row['seed']} has {row['len']:,} of {len(items):,} items; every item must "
            "be there at every size and seed, so drop those that are not."
        )
    shape = (len(seeds), len(sizes), len(items))
    continuous = table["continuous"].to_numpy().reshape(shape) if "continuous" in table.columns else None
    if continuous is not None and log_likelihood and (continuous > 1e-9).any():
        raise DataError("a log-likelihood above 0 was found in 'continuous'; give natural logs of probabilities.")
    length = table["length"].to_numpy().reshape(shape) if "length" in table.columns else None
    if length is not None and (length != length[:1, :1]).any():
        raise DataError("an item has different lengths at different sizes; a target has one length.")
    return ItemOutcomes(
        sizes=sizes.to_numpy().astype(float),
        sharp=table["sharp"].to_numpy().reshape(shape).astype(float),
        continuous=None if continuous is None else (-continuous if lower_is_better else continuous).astype(float),
        target_tokens=None if length is None else length[0, 0].astype(np.int64),
        log_likelihood=log_likelihood,
        chance=_chance(table),
    )


def _count_outcomes(table: pl.DataFrame, lower_is_better: bool, log_likelihood: bool) -> CountOutcomes:
    table = _key_columns(table, ("series",))
    table = _checked_sizes(_numeric_columns(table, COUNT_COLUMNS, ("continuous", "continuous_stderr", "chance")))
    for name in ("right", "asked"):
        _check_whole(table, name)
    _check_scores(table)
    if (
        wrong := table.filter((pl.col("right") < 0) | (pl.col("right") > pl.col("asked")) | (pl.col("asked") < 1))
    ).height:
        row = wrong.row(0, named=True)
        raise DataError(f"{row['right']:g} right of {row['asked']:g} asked (size {row['size']:g}) cannot be; mend it.")
    _check_range(table, "asked", 1, MAX_COUNT)
    table = table.with_columns(*([] if "series" in table.columns else [pl.lit("").alias("series")])).sort(
        "series", "size"
    )
    _check_unique(table, ["series", "size"])
    sizes, series = table["size"].unique().sort(), table["series"].unique().sort()
    if len(table) != len(sizes) * len(series):
        raise DataError(
            f"{len(series)} series of {len(sizes)} sizes have {len(table)} rows; every series must have every size."
        )
    shape = (len(series), len(sizes))
    values = {name: table[name].to_numpy().reshape(shape).astype(float) for name in ("right", "asked")}
    continuous = table["continuous"].to_numpy().reshape(shape).astype(float) if "continuous" in table.columns else None
    return CountOutcomes(
        sizes=sizes.to_numpy().astype(float),
        n_correct=values["right"],
        n_total=values["asked"],
        continuous=None if continuous is None else -continuous if lower_is_better else continuous,
        log_likelihood=log_likelihood,
        chance=_chance(table),
        continuous_stderr=_continuous_stderr(table, shape),
    )


def _continuous_stderr(table: pl.DataFrame, shape: tuple[int, int]) -> FloatArray | None:
    """The standard errors of the continuous scores (S, J), where a column says them."""
    if not {"continuous", "continuous_stderr"} <= set(table.columns):
        return None
    _check_range(table, "continuous_stderr", 0, MAX_SCORE)
    return table["continuous_stderr"].to_numpy().reshape(shape).astype(float)


def _chance(table: pl.DataFrame) -> float:
    """What guessing gets on average, 0 where no column says it."""
    if "chance" not in table.columns:
        return 0.0
    _check_range(table, "chance", 0, 1 - 1e-9)
    return float(table["chance"].to_numpy().mean())


def _numeric_columns(table: pl.DataFrame, required: tuple[str, ...], optional: tuple[str, ...]) -> pl.DataFrame:
    """The table with these columns as numbers; what is none, missing or not finite is refused."""
    for name in (*required, *(name for name in optional if name in table.columns)):
        column = table[name]
        is_truth = name == "sharp" and column.dtype == pl.Boolean  # right or wrong may be said as true or false
        if not (column.dtype.is_numeric() or column.dtype in TEXT_TYPES or is_truth):
            raise DataError(f"the column {name!r} is of type {_type_name(column)}; give numbers.")
        number = column.cast(pl.Float64, strict=False)
        wrong = number.is_null() | number.is_nan() | number.is_infinite()
        if wrong.any():
            row = int(wrong.arg_max() or 0)
            raise DataError(
                f"row {row + 1} has {str(column[row])[:40]!r} in {name!r}, which is no finite number; missing is "
                "not zero, so drop the row or mend it."
            )
        table = table.with_columns(number.alias(name))
    return table


def _type_name(column: pl.Series) -> str:
    """The type of a column as polars prints it, cut where a nested one is long."""
    return str(column.dtype)[:60]


def _key_columns(table: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    """The table with these columns, where it has them, as names or whole numbers that can be told apart."""
    for name in [name for name in names if name in table.columns]:
        column = table[name]
        if not (column.dtype.is_integer() or column.dtype.is_float() or column.dtype in (*TEXT_TYPES, pl.Boolean)):
            raise DataError(f"the column {name!r} is of type {_type_name(column)}; give names or numbers.")
        missing = column.is_null() | (column.is_nan() if column.dtype.is_float() else False)
        if missing.any():
            raise DataError(f"row {int(missing.arg_max() or 0) + 1} has no {name!r}; name it or drop the row.")
        if column.dtype in TEXT_TYPES:
            table = table.with_columns(column.cast(pl.String))
    return table


def _check_whole(table: pl.DataFrame, name: str) -> None:
    broken = table[name] != table[name].floor()
    if broken.any():
        row = int(broken.arg_max() or 0)
        raise DataError(
            f"row {row + 1} has {table[name][row]:g} in {name!r}, which is no whole number; give counts and no shares."
        )


def _check_scores(table: pl.DataFrame) -> None:
    if "continuous" in table.columns:
        _check_range(table, "continuous", -MAX_SCORE, MAX_SCORE)


def _checked_sizes(table: pl.DataFrame) -> pl.DataFrame:
    if (table["size"] <= 0).any():
        raise DataError("a size of zero or less has no logarithm; give parameters, tokens or steps above zero.")
    _check_range(table, "size", 1 / MAX_SIZE, MAX_SIZE)
    if table["size"].n_unique() < 2:
        raise DataError(f"all rows have the size {table['size'][0]:g}; an audit needs several.")
    return table


def _check_range(table: pl.DataFrame, name: str, low: float, high: float) -> None:
    outside = (table[name] < low) | (table[name] > high)
    if outside.any():
        row = int(outside.arg_max() or 0)
        raise DataError(f"row {row + 1} has {table[name][row]:g} in {name!r}, outside {low:g} to {high:g}; scale it.")


def _check_unique(table: pl.DataFrame, keys: list[str]) -> None:
    duplicated = table.select(pl.struct(keys).is_duplicated().alias("twice"))["twice"]
    if duplicated.any():
        row = table.row(int(duplicated.arg_max() or 0), named=True)
        key_text = ", ".join(f"{key} {str(row[key])[:40]!r}" for key in keys)
        raise DataError(f"there are several rows for {key_text}; give one (of several models of a size, tell 'seed').")
