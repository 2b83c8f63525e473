"""The file of a table of outcomes: found, decoded and parsed. What cannot be read right is refused in one sentence.

CSV may be UTF-8 with or without a byte order mark, UTF-16 or UTF-32 with one; its cells may be parted by commas,
semicolons or tabs; `.csv.gz` is unpacked.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import polars as pl

from nosce.analysis.emergence.table import MAX_ROWS
from nosce.errors import UsageError
from nosce.records import TableKind, count_rows, read_table
from nosce.store.table_text import csv_header, repeated_name, utf8_content

MAX_TABLE_BYTES = 2**31  # of a file or what it unpacks to; more than MAX_ROWS rows of numbers need


def read_outcome_table(path: str | Path) -> pl.DataFrame:
    """The table of a .csv, .csv.gz, .parquet or .jsonl file; lines without a value are left out.

    Raises:
        UsageError: The file is not there, has another ending, cannot be read, or has a column twice.
    """
    file = Path(path)
    kind = _table_kind(file)
    try:
        if not file.is_file():
            raise UsageError(f"a table was asked for at {file}, which is no file; name one that is there.")
        table = _read_parquet(file) if kind == "parquet" else _read_text(file, kind)
    except (
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
        OSError,
        ValueError,
        EOFError,
        zlib.error,
    ) as error:
        reason = str(error).split("\n", 1)[0][:200]
        raise UsageError(f"the table {file} cannot be read as {kind} ({reason}); look at the file.") from None
    if not table.width:
        return table
    return table.filter(~pl.all_horizontal(pl.all().is_null()))


def _table_kind(file: Path) -> TableKind:
    ending = file.with_suffix("").suffix if file.suffix == ".gz" else file.suffix
    for kind in get_args(TableKind):
        if ending == f".{kind}" and (file.suffix != ".gz" or kind == "csv"):
            return kind  # type: ignore[no-any-return]
    raise UsageError(f"a table was asked for at {file}, whose ending is not known; take .csv, .parquet or .jsonl.")


def _read_parquet(file: Path) -> pl.DataFrame:
    if (n_rows := count_rows(file)) > MAX_ROWS:
        raise ValueError(f"it has {n_rows:,} rows, and at most {MAX_ROWS:,} are audited at once; cut it")
    return read_table(file)


def _read_text(file: Path, kind: TableKind) -> pl.DataFrame:
    content = utf8_content(file, MAX_TABLE_BYTES)
    if kind == "jsonl":
        table = read_table(content, kind)
        _refuse_repeated_keys(file, content, table)
        return table
    separator, names = csv_header(content)
    _refuse_repeated(file, names)
    return read_table(content, kind, separator=separator)


def _refuse_repeated(file: Path, names: Sequence[str]) -> None:
    repeated = repeated_name(names)
    if repeated is not None:
        raise UsageError(f"the table {file} has the column {repeated!r} twice; name which one is meant.")


def _refuse_repeated_keys(file: Path, content: bytes, table: pl.DataFrame) -> None:
    """Refuse a line that has a key twice; polars takes the first and says nothing."""
    # Parsing every line again takes seconds a million lines, so only a table whose bytes name a key more often than it
    # has values is: one line may lack the key that another has twice.
    if not any(content.count(json.dumps(name).encode()) > table[name].count() for name in table.columns):
        return
    for line in content.splitlines():
        if line.strip():
            json.loads(line, object_pairs_hook=lambda pairs: _refuse_repeated(file, [name for name, _ in pairs]))
