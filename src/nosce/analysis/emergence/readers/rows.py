"""What a row of a table is, an item or a size, and the table that the mirage test takes from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from nosce.analysis.emergence.readers.base import ColumnChoice
from nosce.errors import DataError, UsageError

AGGREGATES_NOTE = (
    "Without items it cannot be known whether one link holds item by item; it is fitted to the sizes, and "
    "the answers of a size count as independent."
)


def exact_note(continuous: str) -> str:
    """What has to be said of a mean without a standard error."""
    return f"`{continuous}` has no standard error, so it counts as exact."


@dataclass(frozen=True, eq=False)
class TableRows:
    """The rows of one task in numbers.

    Args:
        rows: A column a role, and `__row__`, the row in the file.
        names: Role -> column of the file.
    """

    rows: pl.DataFrame
    names: Mapping[str, str]


def outcome_rows(table: TableRows, source: str, choice: ColumnChoice) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The rows as a table of items or of counts, and what has to be said of it.

    Raises:
        DataError: Something is wrong with the rows.
        UsageError: It is open what a row is.
    """
    rows, names = table.rows, table.names
    if {"right", "asked"} <= set(rows.columns):
        keep = [name for name in ("size", "right", "asked", "continuous", "series", "chance") if name in rows.columns]
        return _with_seed_as_series(rows, keep, names)
    _check_shares(rows, names, source, choice)
    item_is_guess = choice.item is None and names.get("item") != "item"
    if "item" in rows.columns and item_is_guess and _is_row_number(rows):
        rows = rows.drop("item")
    if "item" in rows.columns:
        return _item_table(rows, names)
    keys = [name for name in ("size", "seed", "series") if name in rows.columns]
    if not rows.select(pl.struct(keys).is_duplicated().any()).item():
        return _aggregates(rows, names, source, choice)
    is_outcome = rows["sharp"].is_in([0.0, 1.0]).all() and not {"asked", "stderr"} & set(rows.columns)
    if not is_outcome or _has_models_alike(rows, keys):
        raise UsageError(_several_rows(rows, keys, names, source, choice))
    return _counted_items(rows, keys, names)


def _has_models_alike(rows: pl.DataFrame, keys: Sequence[str]) -> bool:
    """Whether rows of several models would be counted as the items of one."""
    return "model" in rows.columns and (rows.group_by(keys).agg(pl.col("model").n_unique())["model"] > 1).any()


def _several_rows(
    rows: pl.DataFrame, keys: Sequence[str], names: Mapping[str, str], source: str, choice: ColumnChoice
) -> str:
    """The sentence that asks what several rows of one size are."""
    size = rows.filter(pl.struct(keys).is_duplicated())["size"][0]
    items = choice.command(source, "--item", "COLUMN")
    if "seed" in rows.columns:
        return (
            f"there are several rows for the size {size:g} of one `{names['seed']}` in {source}; leave one of them, "
            f"or if they are items, name their column: {items}."
        )
    seed = choice.command(source, "--seed", names.get("model", "COLUMN"))
    return (
        f"there are several rows for the size {size:g} in {source}; if they are trainings, name their column: {seed}; "
        f"if they are items: {items}."
    )


def _check_shares(rows: pl.DataFrame, names: Mapping[str, str], source: str, choice: ColumnChoice) -> None:
    """Refuse a sharp score outside 0 to 1; from 1 to 100 it may be in percent, which is asked."""
    sharp = rows["sharp"]
    outside = (sharp < 0) | (sharp > 1 + 1e-9)
    if not outside.any():
        return
    value = sharp.filter(outside)[0]
    if (sharp >= 0).all() and (sharp <= 100).all() and (sharp > 1).any() and not choice.percent:
        raise UsageError(
            f"`{names['sharp']}` of {source} goes up to {_maximum(sharp):g}; if it is in percent, say so: "
            f"{choice.command(source, '--percent')}."
        )
    row = rows.filter(outside)["__row__"][0]
    raise DataError(f"row {row} has {value:g} in {names['sharp']!r}, outside 0 to 1; scale it.")


def _maximum(column: pl.Series) -> float:
    return float(np.max(column.to_numpy()))


def _is_row_number(rows: pl.DataFrame) -> bool:
    """Whether every row has a name of its own in the column, so that no item is asked of two sizes."""
    return rows["item"].n_unique() == len(rows) and rows["size"].n_unique() > 1


def _item_table(rows: pl.DataFrame, names: Mapping[str, str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    keep = [n for n in ("size", "item", "sharp", "continuous", "seed", "length", "chance") if n in rows.columns]
    table = rows.select(keep)
    if "seed" not in table.columns:
        return table, ()
    notes = []
    if _is_nested(table, "seed", "size"):
        table = table.with_columns(seed=pl.col("seed").rank("dense").over("size").cast(pl.Int64))
        notes.append(f"Each size has its own names in `{names['seed']}`, so they are numbered within a size.")
    if _is_nested(table, "item", "seed") and _same_items_at_sizes(table):
        table = table.with_columns(item=pl.col("item").rank("dense").over("seed").cast(pl.Int64))
        notes.append("Each seed was asked its own items, so they are numbered within a seed.")
    return table, tuple(notes)


def _is_nested(table: pl.DataFrame, inner: str, outer: str) -> bool:
    """Whether every value of `inner` belongs to one value of `outer` alone, and all of these have equally many."""
    pairs = table.select(inner, outer).unique()
    if pairs[outer].n_unique() < 2 or pairs[inner].n_unique() != len(pairs):
        return False
    each = pairs[outer].value_counts()["count"]
    return each.n_unique() == 1


def _same_items_at_sizes(table: pl.DataFrame) -> bool:
    items = table.group_by("seed", "size").agg(pl.col("item").n_unique()).get_column("item")
    return items.n_unique() == 1 and table.select("seed", "item").n_unique() * table["size"].n_unique() == len(table)


def _with_seed_as_series(
    rows: pl.DataFrame, keep: Sequence[str], names: Mapping[str, str]
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The columns of a table of counts, in which seeds are series."""
    notes = [AGGREGATES_NOTE]
    extra = [name for name in ("continuous_stderr",) if name in rows.columns]
    if "continuous" in rows.columns and not extra:
        notes.append(exact_note(names["continuous"]))
    if "series" in rows.columns or "seed" not in rows.columns:
        return rows.select(*keep, *extra), tuple(notes)
    table = rows.select(*keep, *extra, "seed")
    if _is_nested(table, "seed", "size"):
        table = table.with_columns(seed=pl.col("seed").rank("dense").over("size"))
        notes.append("Each size has its own seeds, so they are numbered within a size.")
    return table.rename({"seed": "series"}).with_columns(pl.col("series").cast(pl.String)), tuple(notes)


def _aggregates(
    rows: pl.DataFrame, names: Mapping[str, str], source: str, choice: ColumnChoice
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Means of sizes as counts: from the number of items, or from the standard error."""
    notes: list[str] = []
    if "asked" not in rows.columns:
        if "stderr" not in rows.columns:
            raise UsageError(
                f"{source} has `{names['sharp']}` by size and neither of how many items nor a standard error; "
                f"say the number: {choice.command(source, '--n', '500')}."
            )
        rows, note = with_items_of_stderr(rows, source, choice)
        notes.append(note)
    asked = rows["asked"].round()
    if (asked < 1).any() or (rows["asked"] - asked).abs().gt(1e-9).any():
        place = int(((asked < 1) | (rows["asked"] != asked)).arg_max() or 0)
        raise DataError(
            f"row {rows['__row__'][place]} has {rows['asked'][place]:g} items, which is no number of items."
        )
    rows = rows.with_columns(asked=asked, right=(pl.col("sharp") * asked).round())
    keep = [name for name in ("size", "right", "asked", "continuous", "series", "chance") if name in rows.columns]
    table, more = _with_seed_as_series(rows, keep, names)
    return table, (*notes, *more)


def with_items_of_stderr(rows: pl.DataFrame, source: str, choice: ColumnChoice) -> tuple[pl.DataFrame, str]:
    """The rows with `asked`, the number of items whose share has such a standard error, p (1 - p) / se^2.

    Raises:
        UsageError: No row has a standard error above 0.
    """
    p, se = rows["sharp"].to_numpy(), rows["stderr"].to_numpy()
    if (se > 0.5).any():
        raise UsageError(
            f"{source} has a standard error of {se.max():g}, and that of a share is at most 0.5; divide it by 100 "
            f"if it is in percent, or say the number: {choice.command(source, '--n', '500')}."
        )
    usable = (se > 0) & (p > 0) & (p < 1)
    if not usable.any():
        command = choice.command(source, "--n", "500")
        raise UsageError(f"no standard error of {source} is above 0, so they do not tell how many items: {command}.")
    n = np.full(len(p), np.nan)
    n[usable] = np.maximum(1, np.round(p[usable] * (1 - p[usable]) / se[usable] ** 2))
    n[~usable] = round(float(np.median(n[usable])))
    note = f"The number of items, about {np.median(n):,.0f}, is that of the standard errors."
    return rows.with_columns(asked=pl.Series(n)), note


def _counted_items(
    rows: pl.DataFrame, keys: Sequence[str], names: Mapping[str, str]
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Right and wrong answers without names, counted."""
    sums = [pl.col("sharp").sum().alias("right"), pl.len().cast(pl.Float64).alias("asked")]
    if "continuous" in rows.columns:
        sums.append(pl.col("continuous").mean())
        sums.append(pl.col("continuous").std().alias("__spread__"))
    if "chance" in rows.columns:
        sums.append(pl.col("chance").mean())
    counted = _with_stderr(rows.group_by(keys, maintain_order=True).agg(sums))
    keep = [name for name in counted.columns if name not in ("seed", "continuous_stderr")]
    table, notes = _with_seed_as_series(counted, keep, names)
    return table, ("No column names the items, so they are counted; `--item COLUMN` pairs them.", *notes)


def _with_stderr(counted: pl.DataFrame) -> pl.DataFrame:
    """`continuous_stderr` from the spread of the answers; where one answer has none, from the mean spread elsewhere."""
    spread = counted["__spread__"] if "__spread__" in counted.columns else None
    if spread is None or (elsewhere := spread.mean()) is None:
        return counted.drop("__spread__", strict=False)
    errors = pl.col("__spread__").fill_null(elsewhere) / pl.col("asked").sqrt()
    return counted.with_columns(continuous_stderr=errors).drop("__spread__")
