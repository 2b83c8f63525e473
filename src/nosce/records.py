"""The records that pass between layers, and their way to Parquet and back.

A record is a frozen dataclass; a table is a polars frame with one row a record and one column
a field, so that whoever has no nosce reads the same data with pandas, DuckDB or R.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import polars as pl

from nosce.errors import DataError

Outcome = Literal["right", "wrong", "unreadable", "refused", "invalid"]
Split = Literal["seen", "validation", "unseen"]
Decision = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True, slots=True)
class Span:
    """Where a document says a fact: characters `start` to `end` (excluded) state `attribute`."""

    attribute: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Document:
    """A text to learn from, with the spans of its values as they were rendered."""

    id: str
    entity: str  # what was drawn independently and is described here, e.g. a person
    text: str
    spans: tuple[Span, ...]
    wordings: tuple[str, ...] = ()  # which wording each span was said in, in the order of `spans`
    prompt_chars: int = 0  # characters at its beginning that are a specification, to be read more than to be learnt


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and the reply that the world's facts demand, made from facts and never from text."""

    id: str
    entity: str
    attribute: str  # what is asked, e.g. an attribute
    prompt: str
    target: str
    split: Split  # may be trained on ("seen"), is for choosing ("validation"), or only to be asked ("unseen")
    metadata: str = ""  # what a judge needs and the model is not shown, e.g. further cases to test a program on


@dataclass(frozen=True, slots=True)
class Reading:
    """One observation: this model, after this step, on this item, measured this way.

    `value` is the metric's number, null where none was taken; `outcome` says what became of the
    reply, so that an unreadable or refused one is never counted as a wrong one by accident.
    """

    study: str
    scale: str
    arm: str
    seed: int
    stage: str  # "pretrain" or the name of a later stage
    step: int  # optimizer steps taken within the stage
    evaluation: str
    split: str
    item: str
    entity: str  # the cluster: what was drawn independently
    attribute: str
    metric: str
    value: float | None
    outcome: Outcome | None
    answer: str | None
    target: str | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its uncertainty: the interval `low` to `high` at `level`.

    `n` counts observations, `clusters` what was drawn independently (`unit`), `seeds` the
    training seeds outside them. `method` names how the interval was made. Where no interval
    exists, `low` and `high` are null, never equal to the value.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    clusters: int
    seeds: int
    unit: str
    method: str
    level: float = 0.95


@dataclass(frozen=True, slots=True)
class ProbedFeature:
    """One thing that is so, and what was read of it from a model: its most likely value, and how likely."""

    what: str
    true: str
    read: str
    sure: float  # 0 to 1


@dataclass(frozen=True, slots=True)
class WalkthroughStep:
    """One step of something written: the word, how the world looks behind it, and as it is believed to look."""

    word: str
    picture: tuple[str, ...]  # rows of characters
    believed: tuple[str, ...] | None  # the same, where there is a belief
    beliefs: tuple[ProbedFeature, ...]


@dataclass(frozen=True, slots=True)
class Walkthrough:
    """Something that a model wrote, to be stepped through beside what is read from its hidden states."""

    title: str
    caption: str
    frames: tuple[WalkthroughStep, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a claim: what the paper says, what was measured, and the decision."""

    id: str
    text: str
    source: str
    criterion: str
    paper_value: float | None
    estimate: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    verdict: Decision
    why: str


RecordT = TypeVar("RecordT")

_SCALAR_DTYPES: dict[type, pl.DataType] = {
    str: pl.String(),
    int: pl.Int64(),
    float: pl.Float64(),
    bool: pl.Boolean(),
}


def _column_type(annotation: Any) -> pl.DataType:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if annotation in _SCALAR_DTYPES:
        return _SCALAR_DTYPES[annotation]
    if origin is Literal:
        return pl.String()
    if origin in (typing.Union, types.UnionType):
        return _column_type(next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        return pl.List(_column_type(arguments[0]))
    if dataclasses.is_dataclass(annotation):
        return pl.Struct(schema(annotation))  # type: ignore[arg-type]
    raise TypeError(f"no column type for {annotation!r}")


def schema(record_type: type) -> dict[str, pl.DataType]:
    """The polars column types of a record's table, from the annotations of its fields."""
    hints = typing.get_type_hints(record_type)
    return {f.name: _column_type(hints[f.name]) for f in dataclasses.fields(record_type)}


def to_table(records: Iterable[Any], record_type: type) -> pl.DataFrame:
    """A frame with one row a record; typed by `record_type`, so that no record still gives the columns."""
    record_list, types, hints = list(records), schema(record_type), typing.get_type_hints(record_type)
    columns = {}
    for name, column in types.items():
        values = [getattr(r, name) for r in record_list]
        if isinstance(column, pl.List):
            columns[name] = _list_series(values, typing.get_args(hints[name])[0], column)
        else:
            columns[name] = pl.Series(values, dtype=column)
    return pl.DataFrame(columns, schema=types)


def fill_columns(table: pl.DataFrame, record_type: type, **columns: object) -> pl.DataFrame:
    """A table with some of a record's columns as one with all: those given, and null where nothing is known."""
    given_columns = {name: pl.lit(value) for name, value in columns.items()}
    table = table.with_columns(**given_columns)
    null_columns = {name: pl.lit(None) for name in schema(record_type) if name not in table.columns}
    return table.with_columns(**null_columns).select(
        pl.col(name).cast(column) for name, column in schema(record_type).items()
    )


def _list_series(values: list[tuple[Any, ...]], element_type: Any, column: pl.List) -> pl.Series:
    """A tuple in every row, made from one flat table of all that is in them: many times faster than one by one."""
    elements = [one for row_numbers in values for one in row_numbers]
    if dataclasses.is_dataclass(element_type):
        flat = to_table(elements, element_type).select(one=pl.struct(pl.all()))  # type: ignore[arg-type]
    else:
        flat = pl.DataFrame({"one": pl.Series(elements, dtype=column.inner)})
    row_numbers = pl.Series("row", [number for number, many in enumerate(values) for _ in many], dtype=pl.Int64)
    lists = flat.with_columns(row_numbers).group_by("row", maintain_order=True).agg("one")
    all_rows = pl.DataFrame({"row": pl.Series(range(len(values)), dtype=pl.Int64)})
    return all_rows.join(lists, on="row", how="left", maintain_order="left")["one"].fill_null([])


def from_table(table: pl.DataFrame, record_type: type[RecordT]) -> list[RecordT]:
    """The records of a frame that `to_table` made, equal to those that went in.

    Raises:
        DataError: The frame lacks a field of the record.
    """
    missing_columns = [n for n in schema(record_type) if n not in table.columns]
    if missing_columns:
        raise DataError(
            f"a table of {record_type.__name__} was asked for, but the columns {missing_columns} are not in it; "
            "it was written by something else, so make it again."
        )
    hints = typing.get_type_hints(record_type)
    return [record_type(**{n: _record_value(row[n], hints[n]) for n in hints}) for row in table.iter_rows(named=True)]


def _record_value(value: Any, annotation: Any) -> Any:
    if value is None:
        return None
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _record_value(value, next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        return tuple(_record_value(v, arguments[0]) for v in value)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        hints = typing.get_type_hints(annotation)
        return annotation(**{name: _record_value(value[name], hints[name]) for name in hints})
    return value


def from_json(values: Iterable[Any], record_type: type[RecordT]) -> tuple[RecordT, ...]:
    """The records of what `dataclasses.asdict` made of them and JSON kept."""
    return tuple(_record_value(value, record_type) for value in values)


def write_parquet(records: Sequence[Any], record_type: type, path: Path) -> None:
    """The records as a Parquet file with one row each."""
    to_table(records, record_type).write_parquet(path)


def read_parquet(path: Path, record_type: type[RecordT]) -> list[RecordT]:
    """The records of a Parquet file that `write_parquet` wrote."""
    return from_table(pl.read_parquet(path), record_type)
