"""A tidy table of outcomes by size, read and checked: one row an item, or one row a size with counts.

    items    model, size, item, sharp, continuous; and where known seed, length, chance
    counts   model, size, right, asked; and where known continuous, series, chance

What is wrong with a table is said in one sentence, with the first row that shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from nosce.analysis.emergence.scores import CountOutcomes, ItemOutcomes
from nosce.errors import DataError, UsageError

ITEM_COLUMNS = ("size", "item", "sharp")
COUNT_COLUMNS = ("size", "right", "asked")
MAX_ROWS = 50_000_000


def read_outcome_table(path: str | Path) -> pl.DataFrame:
    """The unchanged table of a .csv, .parquet or .jsonl file.

    Raises:
        UsageError: The file is not there, has another ending, or cannot be read.
    """
    file = Path(path)
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".csv": pl.read_csv,
        ".parquet": pl.read_parquet,
        ".jsonl": pl.read_ndjson,
    }
    kind = file.with_suffix("").suffix if file.suffix == ".gz" else file.suffix
    if kind not in readers or (file.suffix == ".gz" and kind != ".csv"):
        raise UsageError(f"a table was asked for at {file}, whose ending is not known; take .csv, .parquet or .jsonl.")
    if not file.is_file():
        raise UsageError(f"a table was asked for at {file}, which is no file; name one that is there.")
    try:
        return readers[kind](file)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        reason = str(error).split("\n", 1)[0][:200]
        raise UsageError(f"the table {file} cannot be read as {kind[1:]} ({reason}); look at the file.") from None


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
    table = _numeric_columns(table, ("size", "sharp"), ("continuous", "length", "chance"))
    table = _checked_sizes(table)
    keys: list[str] = [name for name in ("seed", "size", "item") if name in table.columns]
    _check_range(table, "sharp", 0, 1)
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
    table = _checked_sizes(_numeric_columns(table, COUNT_COLUMNS, ("continuous", "chance")))
    if (
        wrong := table.filter((pl.col("right") < 0) | (pl.col("right") > pl.col("asked")) | (pl.col("asked") < 1))
    ).height:
        row = wrong.row(0, named=True)
        raise DataError(f"{row['right']:g} right of {row['asked']:g} asked (size {row['size']:g}) cannot be; mend it.")
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
    )


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


def _checked_sizes(table: pl.DataFrame) -> pl.DataFrame:
    if (table["size"] <= 0).any():
        raise DataError("a size of zero or less has no logarithm; give parameters, tokens or steps above zero.")
    if table["size"].n_unique() < 2:
        raise DataError(f"all rows have the size {table['size'][0]:g}; an audit needs several.")
    return table


def _check_range(table: pl.DataFrame, name: str, low: float, high: float) -> None:
    outside = (table[name] < low) | (table[name] > high)
    if outside.any():
        row = int(outside.arg_max() or 0)
        raise DataError(f"row {row + 1} has {table[name][row]:g} in {name!r}, outside {low} to {high}; scale it.")


def _check_unique(table: pl.DataFrame, keys: list[str]) -> None:
    duplicated = table.select(pl.struct(keys).is_duplicated().alias("twice"))["twice"]
    if duplicated.any():
        row = table.row(int(duplicated.arg_max() or 0), named=True)
        key_text = ", ".join(f"{key} {str(row[key])[:40]!r}" for key in keys)
        raise DataError(f"there are several rows for {key_text}; give one (of several models of a size, tell 'seed').")
