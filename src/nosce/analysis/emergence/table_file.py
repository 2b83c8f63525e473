"""The file of a table of outcomes: found, decoded and parsed. What cannot be read right is refused in one sentence.

Text may be UTF-8 with or without a byte order mark, UTF-16 or UTF-32 with one; cells may be parted by commas,
semicolons or tabs; `.gz` is unpacked.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from nosce.analysis.emergence.readers.base import load_json_file
from nosce.analysis.emergence.readers.numbers import decimal_sign
from nosce.analysis.emergence.table import MAX_ROWS
from nosce.errors import DataError, UsageError
from nosce.records import TableKind, count_rows, read_table
from nosce.store.table_text import csv_header, repeated_name, utf8_content

MAX_TABLE_BYTES = 2**31  # of a file or what it unpacks to; more than MAX_ROWS rows of numbers need
MAX_SHEET_BYTES = 2**29  # of a workbook, unpacked
FileKind = Literal[TableKind, "tsv", "json"]
ENDINGS: dict[str, FileKind] = {f".{kind}": kind for kind in get_args(FileKind)} | {".ndjson": "jsonl", ".txt": "tsv"}
PACKED = ("csv", "tsv", "jsonl", "json")  # which may end with .gz
KNOWN_ENDINGS = ".csv, .tsv, .parquet, .jsonl, .json or .xlsx"


@dataclass(frozen=True, eq=False)
class TableFile:
    """A table as it stands in its file.

    Args:
        table: Its columns; lines without a value are left out.
        decimal: The sign before decimals of its texts; None where only the writer knows.
    """

    table: pl.DataFrame
    decimal: Literal["comma", "point"] | None


def read_outcome_table(path: str | Path) -> pl.DataFrame:
    """The table of a .csv, .tsv, .parquet, .jsonl, .json or .xlsx file; lines without a value are left out.

    Raises:
        UsageError: The file is not there, has another ending, cannot be read, or has a column twice.
    """
    return read_table_file(path).table


def read_table_file(path: str | Path) -> TableFile:
    """The table of a file, and how its texts write decimals.

    Raises:
        UsageError: The file is not there, has another ending, cannot be read, or has a column twice.
    """
    file = Path(path)
    kind = table_kind(file)
    if kind is None:
        raise UsageError(f"a table was asked for at {file}, whose ending is not known; take {KNOWN_ENDINGS}.")
    try:
        if not file.is_file():
            raise UsageError(f"a table was asked for at {file}, which is no file; name one that is there.")
        found = _READERS[kind](file)
    except (
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
        OSError,
        ValueError,
        TypeError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = str(error).split("\n", 1)[0][:200]
        raise UsageError(f"the table {file} cannot be read as {kind} ({reason}); look at the file.") from None
    except DataError as error:
        raise UsageError(f"{file}: {error}") from None
    if not found.table.width:
        return found
    return TableFile(found.table.filter(~pl.all_horizontal(pl.all().is_null())), found.decimal)


def table_kind(file: Path) -> FileKind | None:
    """The format of a file by its ending; None for one that is no table's."""
    packed = file.suffix.lower() == ".gz"
    kind = ENDINGS.get((file.with_suffix("").suffix if packed else file.suffix).lower())
    return None if packed and kind not in PACKED else kind


def _read_parquet(file: Path) -> TableFile:
    if (n_rows := count_rows(file)) > MAX_ROWS:
        raise ValueError(f"it has {n_rows:,} rows, and at most {MAX_ROWS:,} are audited at once; cut it")
    return TableFile(read_table(file, "parquet"), "point")


def _read_lines(file: Path) -> TableFile:
    content = utf8_content(file, MAX_TABLE_BYTES)
    table = read_table(content, "jsonl")
    _refuse_repeated_keys(file, content, table)
    return TableFile(table, decimal_sign(table, ""))


def _read_separated(file: Path) -> TableFile:
    content = utf8_content(file, MAX_TABLE_BYTES)
    separator, names = csv_header(content)
    _refuse_repeated(file, names)
    table = read_table(content, "csv", separator=separator)
    decimal = decimal_sign(table, separator)
    if decimal == "comma":  # so that 1.234 beside 0,5 is no decimal: all cells as they stand
        table = read_table(content, "csv", separator=separator, infer_types=False)
        decimal = decimal_sign(table, separator)  # again, of columns that were taken for numbers too
    return TableFile(table, decimal)


def _read_json(file: Path) -> TableFile:
    value = load_json_file(file)
    table = frame_of_json(value)
    return TableFile(table, decimal_sign(table, ""))


def frame_of_json(value: object) -> pl.DataFrame:
    """A table from what JSON holds: a list of rows, columns by name, or columns and data apart.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, dict) and isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        names = [str(name) for name in value["columns"]]
        if (twice := repeated_name(names)) is not None:
            raise ValueError(f"it has the column {twice!r} twice; name which one is meant")
        return pl.DataFrame(value["data"], schema=names, orient="row", infer_schema_length=None, strict=False)
    if isinstance(value, dict):
        inner = [part for part in value.values() if isinstance(part, list) and part and isinstance(part[0], dict)]
        if len(inner) == 1 and len(value) <= 8:
            value = inner[0]
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return pl.DataFrame(value, infer_schema_length=None, strict=False)
    if isinstance(value, dict) and value and all(isinstance(column, list) for column in value.values()):
        return pl.DataFrame(value, strict=False)
    if isinstance(value, dict) and value and all(isinstance(column, dict) for column in value.values()):
        return _frame_of_indexed(value)
    raise ValueError("it holds no table: neither a list of rows nor columns by name")


def _frame_of_indexed(value: dict[str, dict[str, object]]) -> pl.DataFrame:
    """Columns that map row labels to values, as pandas writes them."""
    labels = list(dict.fromkeys(label for column in value.values() for label in column))
    columns = {name: [column.get(label) for label in labels] for name, column in value.items()}
    return pl.DataFrame(columns, strict=False)


def _read_workbook(file: Path) -> TableFile:
    content = file.read_bytes()
    with zipfile.ZipFile(BytesIO(content)) as parts:
        if sum(part.file_size for part in parts.infolist()) > MAX_SHEET_BYTES:
            raise ValueError(f"it unpacks to more than {MAX_SHEET_BYTES:,} bytes; save it as CSV")
    try:
        table = read_table(content, "xlsx")
    except ModuleNotFoundError:
        raise UsageError(
            f"the workbook {file} needs the package fastexcel; `pip install 'nosce[excel]'`, or save it as CSV."
        ) from None
    except Exception as error:  # fastexcel's own, which are known only where it is installed
        raise ValueError(str(error)) from None
    return TableFile(table, decimal_sign(table, ""))


_READERS: dict[FileKind, Callable[[Path], TableFile]] = {
    "parquet": _read_parquet,
    "jsonl": _read_lines,
    "csv": _read_separated,
    "tsv": _read_separated,
    "json": _read_json,
    "xlsx": _read_workbook,
}


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
