"""A table of a user's own facts: one row an entity, one column an attribute, every value as the file has it.

    product,color,price
    Lumo Lamp,Tannengrün,19.90

Read are .csv (also .csv.gz; cells parted by commas, semicolons or tabs), .tsv, .jsonl and .parquet. An empty cell is no
fact. What would make a question unanswerable, or answer it, is refused in one sentence that names the row.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import polars as pl

from nosce.errors import SpecError
from nosce.records import read_table
from nosce.store.table_text import csv_header, repeated_name, utf8_content

NAME_COLUMNS = ("name", "title", "entity", "product", "item", "label", "person", "subject")
NAME_ENDINGS = ("_name", " name", "_title", " title")
ID_COLUMNS = ("id", "key", "code")
MIN_ENTITIES = 8  # below, either half of the entities has too few to learn from or to judge by
MAX_BYTES = 2**31  # of a file of text
MAX_NAME_CHARS, MAX_VALUE_CHARS = 200, 300  # longer ones are texts and no answers
MAX_SHOWN = 8  # names that a message lists

READ_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)

Column = list[str | None]


@dataclass(frozen=True, eq=False)
class FactTable:
    """The facts of a file.

    Args:
        digest: SHA-256 of the file's bytes.
        name_column: The column of the names.
        name_reason: Why it is that column, for people.
        names: The name of each entity, E of them.
        values: Attribute -> value of each entity (E); None where the table has none.
        notes: What was left out or is missing, in sentences.
    """

    digest: str
    name_column: str
    name_reason: str
    names: tuple[str, ...]
    values: dict[str, tuple[str | None, ...]]
    notes: tuple[str, ...]

    @property
    def n_facts(self) -> int:
        """Number of values that are there."""
        return sum(len(self.names) - column.count(None) for column in self.values.values())


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        SpecError: The file is not there or cannot be read.
    """
    if not path.is_file():
        raise SpecError(f"a table of facts was asked for at {path}, which is no file; name one that is there.")
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise SpecError(f"the table {path} cannot be read ({error.strerror}); look at the file.") from None


def read_fact_table(path: Path, name_column: str = "", attributes: tuple[str, ...] = ()) -> FactTable:
    """The facts of a table, read once a process for equal bytes.

    Args:
        path: The file.
        name_column: The column of the names; empty: it is looked for.
        attributes: The columns that are attributes; empty: all others.

    Raises:
        SpecError: What is wrong with the table, in one sentence.
    """
    return _fact_table(path, file_digest(path), name_column, attributes)


def planned_fact_table(path: Path, digest: str, name_column: str, attributes: tuple[str, ...]) -> FactTable:
    """The facts of a table whose digest is known.

    Raises:
        SpecError: The file has changed.
    """
    if file_digest(path) != digest:
        raise SpecError(f"the table {path} has changed since the study was planned; plan again.")
    return _fact_table(path, digest, name_column, attributes)


@lru_cache(maxsize=4)
def _fact_table(path: Path, digest: str, name_column: str, attributes: tuple[str, ...]) -> FactTable:
    columns, notes = _named_columns(_read_columns(path))
    columns = _without_empty_rows(columns)
    n_rows = len(next(iter(columns.values()), []))
    if n_rows < MIN_ENTITIES:
        raise SpecError(
            f"the table {path} has {n_rows} rows with facts; half of the entities are asked about in training and the "
            f"others afterwards, so give {MIN_ENTITIES} or more."
        )
    name, reason = _find_name_column(path, columns, name_column)
    names = _checked_names(path, name, columns.pop(name))
    columns, more_notes = _chosen_attributes(path, columns, attributes)
    if not columns:
        raise SpecError(f"the table {path} has no column of facts besides the names in {name!r}; add one.")
    kept = [row for row in range(n_rows) if any(column[row] is not None for column in columns.values())]
    if len(kept) < n_rows:
        more_notes.append(f"{n_rows - len(kept):,} entities have no fact at all and are left out.")
    _check_values(path, names, columns)
    values = {attribute: tuple(column[row] for row in kept) for attribute, column in columns.items()}
    table = FactTable(digest, name, reason, tuple(names[row] for row in kept), values, (*notes, *more_notes))
    _check_enough(path, table)
    return table


def _read_columns(path: Path) -> dict[str, Column]:
    """All columns as texts."""
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    try:
        match kind.lower():
            case ".csv" | ".tsv":
                return _csv_columns(utf8_content(path, MAX_BYTES), "\t" if kind.lower() == ".tsv" else "")
            case ".jsonl" | ".ndjson":
                return _json_columns(utf8_content(path, MAX_BYTES).decode())
            case ".parquet":
                table = read_table(path, "parquet")
                return {name: [_as_text(value, name) for value in table[name].to_list()] for name in table.columns}
    except (*READ_ERRORS, OSError, ValueError, EOFError, zlib.error) as error:
        reason = "it is no UTF-8; save it as UTF-8" if isinstance(error, UnicodeError) else _first_line(error)
        raise SpecError(f"the table {path} cannot be read ({reason}); look at the file.") from None
    raise SpecError(f"a table of facts was asked for at {path}; take a file .csv, .tsv, .jsonl or .parquet.")


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0][:200]


def _csv_columns(content: bytes, separator: str) -> dict[str, Column]:
    """The columns by name; one without a name has the name ""."""
    content.decode()  # polars would say less about bytes that are no UTF-8
    if not content.strip():
        raise ValueError("it is empty")
    found, header = csv_header(content)
    names = [" ".join(name.split()) for name in header]
    if (repeated := repeated_name([name for name in names if name])) is not None:
        raise ValueError(f"it has the column {repeated!r} twice, so rename one")
    table = read_table(content, "csv", separator=separator or found, infer_types=False)
    columns: dict[str, Column] = {}
    for name, given in zip(names, table.columns, strict=True):  # where a name is missing, polars invents one
        values = table[given].to_list()
        if name or any(values):
            columns[name] = values
    return columns


def _json_columns(text: str) -> dict[str, Column]:
    """Numbers keep their digits: 1.50 stays 1.50."""
    rows: list[dict[str, str | None]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line, parse_float=str, parse_int=str, object_pairs_hook=_object)
            except RecursionError:
                raise ValueError(f"line {number} is nested too deeply") from None
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is no object of values by column")
            rows.append({name: _as_text(value, f"{name} of line {number}") for name, value in row.items()})
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if (repeated := repeated_name([name for name, _ in pairs])) is not None:
        raise ValueError(f"a line has {repeated!r} twice")
    return dict(pairs)


def _as_text(value: object, where: str) -> str | None:
    """A value of Parquet or JSON as text; None where there is none."""
    if value is None or value != value:  # not a number is missing
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict | bytes):
        raise ValueError(f"the value in {where} is a {type(value).__name__} and no plain value; leave the column out")
    return str(value)


def _named_columns(columns: dict[str, Column]) -> tuple[dict[str, Column], list[str]]:
    """The columns that have a name, with empty cells as None, and a sentence on those that have none."""
    named = {" ".join(name.split()): [_stripped(value) for value in column] for name, column in columns.items()}
    return named, ["A column without a name is left out."] if named.pop("", None) is not None else []


def _stripped(value: str | None) -> str | None:
    return (value.strip() or None) if value is not None else None


def _without_empty_rows(columns: dict[str, Column]) -> dict[str, Column]:
    kept = [row for row, cells in enumerate(zip(*columns.values(), strict=True)) if any(c is not None for c in cells)]
    return {name: [column[row] for row in kept] for name, column in columns.items()}


def _find_name_column(path: Path, columns: dict[str, Column], wanted: str) -> tuple[str, str]:
    """The column of the names, and why it is that one."""
    shown = ", ".join(list(columns)[:MAX_SHOWN])
    if wanted:
        if wanted not in columns:
            raise SpecError(f"the table {path} has no column {wanted!r}; name_column is one of {shown}.")
        return wanted, "as asked"
    by_lower = {name.lower(): name for name in reversed(columns)}
    for candidate in NAME_COLUMNS:
        if candidate in by_lower:
            return by_lower[candidate], f"since it is called {by_lower[candidate]}"
    for name in columns:
        if name.lower().endswith(NAME_ENDINGS):
            return name, f"since it is called {name}"
    for name, column in columns.items():
        if _is_unique_text(column) and name.lower() not in ID_COLUMNS:
            return name, "since it is the first column of texts that all differ"
    for candidate in ID_COLUMNS:
        if candidate in by_lower:
            return by_lower[candidate], f"since it is called {by_lower[candidate]}"
    raise SpecError(f"the table {path} has no column of unique names; give --set name_column=, one of {shown}.")


def _is_unique_text(column: Column) -> bool:
    texts = [value for value in column if value is not None and re.search(r"[^\W\d_]", value)]
    return len(set(texts)) == len(column)


def _checked_names(path: Path, column: str, values: Column) -> list[str]:
    names: list[str] = []
    rows: dict[str, int] = {}
    for row, name in enumerate(values, 1):
        if name is None:
            raise SpecError(f"row {row} of {path} has no name in {column!r}; name the entity or drop the row.")
        _check_text(path, row, column, name, MAX_NAME_CHARS)
        first = rows.setdefault(unicodedata.normalize("NFC", name), row)
        if first != row:
            raise SpecError(
                f"rows {first} and {row} of {path} both have the name {name[:60]!r} in {column!r}, so no question can "
                "tell them apart; give each entity one row and a name of its own."
            )
        names.append(name)
    return names


def _check_text(path: Path, row: int, column: str, text: str, max_chars: int) -> None:
    if len(text) > max_chars:
        raise SpecError(
            f"row {row} of {path} has {len(text):,} characters in {column!r}, and an answer has at most {max_chars}; "
            "shorten it, or leave the column out by --set columns=."
        )
    if not text.isprintable():
        raise SpecError(
            f"row {row} of {path} has a line break, a tab or a control character in {column!r}; take it out, or leave "
            "the column out by --set columns=."
        )


def _chosen_attributes(
    path: Path, columns: dict[str, Column], wanted: Sequence[str]
) -> tuple[dict[str, Column], list[str]]:
    """The columns of facts, and sentences on those left out or with missing values."""
    for name in wanted:
        if name not in columns:
            shown = ", ".join(list(columns)[:MAX_SHOWN])
            raise SpecError(f"the table {path} has no column of facts {name!r}; it has {shown}.")
    chosen = {name: columns[name] for name in wanted or columns}
    if bad := next((name for name in chosen if re.search(r"[{}]", name) or not name.isprintable()), None):
        raise SpecError(f"the column {bad!r} of {path} has a brace or a control character in its name; rename it.")
    empty = [name for name, column in chosen.items() if not any(column)]
    notes = [f"Columns without a value are left out: {', '.join(empty)}."] if empty else []
    chosen = {name: column for name, column in chosen.items() if name not in empty}
    missing = {name: column.count(None) for name, column in chosen.items() if None in column}
    if missing:
        shown = ", ".join(f"{count:,} of {name}" for name, count in missing.items())
        notes.append(f"Missing values are no facts and are not asked for: {shown}.")
    return chosen, notes


def _check_values(path: Path, names: Sequence[str], columns: dict[str, Column]) -> None:
    for attribute, column in columns.items():
        for row, (name, value) in enumerate(zip(names, column, strict=True), 1):
            if value is None:
                continue
            _check_text(path, row, attribute, value, MAX_VALUE_CHARS)
            if _stands_in(name, value) or _stands_in(value, name):
                what = "value contains the name" if name in value else "name contains the value"
                raise SpecError(
                    f"row {row} of {path}: the {what} ({name[:60]!r}, {attribute} {value[:60]!r}), so that the "
                    "question tells a part of its answer; change the row, or leave the column out by --set columns=."
                )


def _stands_in(part: str, whole: str) -> bool:
    """Does a text stand in another as a word of its own?  Scripts without spaces have no words to tell apart."""
    if part not in whole:
        return False
    if any(unicodedata.east_asian_width(sign) in "WF" for sign in part):
        return True
    return re.search(rf"(?<!\w){re.escape(part)}(?!\w)", whole) is not None


def _check_enough(path: Path, table: FactTable) -> None:
    for attribute, column in table.values.items():
        n_values = len(column) - column.count(None)
        if n_values < MIN_ENTITIES:
            others = ",".join(name for name in table.values if name != attribute)
            raise SpecError(
                f"the column {attribute!r} of {path} has {n_values} values, and {MIN_ENTITIES} or more are needed; "
                f"fill it, or leave it out by --set columns={others}."
            )


def readable_names(table: FactTable) -> Iterator[tuple[str, str]]:
    """Each attribute with its name as people write it: `birth_city` and `birthCity` become "birth city"."""
    for attribute in table.values:
        words = re.sub(r"(?<=[a-z\d])(?=[A-Z])", " ", re.sub(r"[_\-.]+", " ", attribute)).split()
        yield attribute, " ".join(w.lower() if w.isascii() and w.istitle() else w for w in words) or attribute
