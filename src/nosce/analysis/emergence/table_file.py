"""The file of a table of outcomes: found, decoded and parsed. What cannot be read right is refused in one sentence.

CSV may be UTF-8 with or without a byte order mark, UTF-16 or UTF-32 with one; its cells may be parted by commas,
semicolons or tabs; `.csv.gz` is unpacked.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import polars as pl

from nosce.analysis.emergence.table import MAX_ROWS
from nosce.errors import UsageError
from nosce.records import TableKind, count_rows, read_table

MAX_TABLE_BYTES = 2**31  # of a file or what it unpacks to; more than MAX_ROWS rows of numbers need
SEPARATORS = ",;\t"
#: Longest marks first: that of UTF-16 begins that of UTF-32.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


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
    content = _utf8_content(file)
    if kind == "jsonl":
        table = read_table(content, kind)
        _refuse_repeated_keys(file, content, table)
        return table
    first_line = content[: 1 << 16].decode("utf-8", "replace").splitlines()[:1]
    header = first_line[0] if first_line else ""
    separator = next((mark for mark in SEPARATORS if mark in header), ",")
    _refuse_repeated(file, next(csv.reader([header], delimiter=separator), []))
    return read_table(content, kind, separator=separator)


def _utf8_content(file: Path) -> bytes:
    """The content of a text file in UTF-8 without a mark."""
    with gzip.GzipFile(file) if file.suffix == ".gz" else file.open("rb") as stream:
        content = stream.read(MAX_TABLE_BYTES + 1)
    if len(content) > MAX_TABLE_BYTES:
        raise ValueError(f"it has more than {MAX_TABLE_BYTES:,} bytes; audit a part of it")
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return content.decode(encoding).encode()
    if b"\0" in content:
        raise ValueError("it holds zero bytes, so it is no UTF-8; save it as UTF-8")
    return content


def _refuse_repeated(file: Path, names: Sequence[str]) -> None:
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise UsageError(f"the table {file} has the column {repeated[0]!r} twice; name which one is meant.")


def _refuse_repeated_keys(file: Path, content: bytes, table: pl.DataFrame) -> None:
    """Refuse a line that has a key twice; polars takes the first and says nothing."""
    # Parsing every line again takes seconds a million lines, so only a table whose bytes name a key more often than it
    # has values is: one line may lack the key that another has twice.
    if not any(content.count(json.dumps(name).encode()) > table[name].count() for name in table.columns):
        return
    for line in content.splitlines():
        if line.strip():
            json.loads(line, object_pairs_hook=lambda pairs: _refuse_repeated(file, [name for name, _ in pairs]))
