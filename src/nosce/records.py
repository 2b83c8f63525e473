"""The records that pass between packages, and their conversion to Parquet and back.

A record is a frozen dataclass. A table is a polars frame with one row per record and one column per field, so pandas,
DuckDB and R read the same data without nosce.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, TypeVar

import polars as pl

from nosce.errors import DataError

Outcome = Literal["right", "wrong", "unreadable", "refused", "invalid"]
Split = Literal["seen", "validation", "unseen"]
AskedSplit = Literal["seen", "validation", "unseen", "held out"]  # "held out": validation and unseen together
Decision = Literal["holds", "fails", "undecided"]
TableKind = Literal["parquet", "csv", "jsonl", "xlsx"]


@dataclass(frozen=True, slots=True)
class Span:
    """The characters of a document that state a fact.

    Args:
        attribute: The attribute whose value the characters state.
        start: Position of the first character, counted from 0.
        end: Position behind the last character.
    """

    attribute: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Document:
    """A training text, with the spans of its values as they were rendered.

    Args:
        id: Name of the document, unique within its corpus.
        entity: The independently drawn unit that the text describes, e.g. a person. Intervals resample entities.
        text: The text as the tokenizer gets it.
        spans: The stated facts, in the order of the text.
        wordings: The wording of each span, in the order of `spans`. Empty where a world has only one.
        prompt_chars: Characters at the beginning that are a prompt, e.g. the specification of a program. They have
            `TrainingConfig.prompt_loss_weight` in the loss. 0: the whole text is learnt.
    """

    id: str
    entity: str
    text: str
    spans: tuple[Span, ...]
    wordings: tuple[str, ...] = ()
    prompt_chars: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and its correct answer, both made from the world's facts and never from a text.

    Args:
        id: Name of the question, unique within its world.
        entity: The independently drawn unit that the question is about.
        attribute: The attribute that the question asks for.
        prompt: The text shown to the model.
        target: The correct answer.
        split: "seen" questions may be trained on, "validation" questions choose a checkpoint or a setting,
            "unseen" questions only evaluate.
        metadata: What a scorer needs and the model does not see, e.g. further test cases for a program.
    """

    id: str
    entity: str
    attribute: str
    prompt: str
    target: str
    split: Split
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """One observation: a metric of one model, after one step, on one item.

    Args:
        study: Name of the study.
        scale: Name of the study's scale, e.g. "demo".
        arm: Name of the arm.
        seed: Training seed of the arm.
        stage: "pretrain", or the name of a later stage.
        step: Optimizer steps taken within the stage.
        evaluation: Name of the evaluation.
        split: Split of the item.
        item: Name of the item, e.g. a question's id.
        entity: The independently drawn unit that the item belongs to: the cluster of the intervals.
        attribute: The attribute that the item asks for.
        metric: Name of the metric.
        value: The metric's number; null where the metric is not defined.
        outcome: What became of the reply. An unreadable or refused reply is an outcome of its own, so it never counts
            as a wrong one by accident.
        answer: The model's answer.
        target: The correct answer.
    """

    study: str
    scale: str
    arm: str
    seed: int
    stage: str
    step: int
    evaluation: str
    split: str
    item: str
    entity: str
    attribute: str
    metric: str
    value: float | None
    outcome: Outcome | None
    answer: str | None
    target: str | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its confidence interval.

    Args:
        value: The point estimate.
        low: Lower end of the interval; null where no interval exists, and never equal to `value` for want of one.
        high: Upper end of the interval; null likewise.
        n: Number of observations.
        clusters: Number of independently drawn units.
        seeds: Number of training seeds, the level outside the clusters.
        unit: Name of the independently drawn unit, e.g. "person".
        method: How the interval was computed.
        level: Coverage of the interval; 0.95 is the field's convention.
        seed_values: The number of each training seed; empty where the measure has none.
        seed_note: What the measure knows of groups of seeds beside these numbers, in a sentence.
        units_error: Standard error of the value through units alone, for the training seeds that were run; null where
            the measure does not know it.
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
    seed_values: tuple[float, ...] = field(default=(), compare=False)
    seed_note: str = field(default="", compare=False)
    units_error: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ProbedFeature:
    """A feature of a program's state, and a probe's prediction of it from a model's hidden states.

    Args:
        what: Name of the feature.
        true: The feature's value.
        read: The value that the probe finds most likely.
        sure: The probe's probability of `read`, from 0 to 1.
    """

    what: str
    true: str
    read: str
    sure: float


@dataclass(frozen=True, slots=True)
class WalkthroughStep:
    """One generated token, with the state of the world behind it and the state that a probe predicts.

    Args:
        word: The token.
        picture: The true state behind the token, as rows of characters.
        believed: The state as the probe predicts it, as rows of characters; null where no probe was read.
        beliefs: The probed features.
    """

    word: str
    picture: tuple[str, ...]
    believed: tuple[str, ...] | None
    beliefs: tuple[ProbedFeature, ...]


@dataclass(frozen=True, slots=True)
class Walkthrough:
    """A text that a model generated, step by step beside what probes predict from its hidden states.

    Args:
        title: Heading of the page's section.
        caption: Text below the heading.
        frames: The steps, in the order of generation.
    """

    title: str
    caption: str
    frames: tuple[WalkthroughStep, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision about a claim, with the paper's number and the measured one.

    Args:
        id: Name of the claim.
        text: The claim in one sentence.
        source: The paper and the section that make the claim.
        criterion: The rule that decides, in words.
        paper_value: The paper's number; null where the paper gives none.
        estimate: The measured number; null where it could not be computed.
        low: Lower end of its confidence interval; null where no interval exists.
        high: Upper end of its confidence interval; null likewise.
        n: Number of observations.
        unit: Name of the independently drawn unit.
        verdict: "holds", "fails" or "undecided".
        why: The reason of the decision, in one sentence.
        is_difference: Whether the numbers are differences: shares are then shown in points, levels in percent.
        is_precondition: Whether other claims rest on it and it is no finding itself, e.g. that facts were memorised.
        seeds: Number of training seeds behind the estimate; 0 where it is not known.
        seed_groups: What can be said of groups of training seeds, in a sentence; empty where there is nothing to say.
    """

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
    is_difference: bool = False
    is_precondition: bool = False
    seeds: int = 0
    seed_groups: str = ""

    @property
    def is_of_one_model(self) -> bool:
        """Whether the decision is one about a single training, which says nothing of others."""
        return self.seeds == 1 and self.verdict != "undecided"


RecordT = TypeVar("RecordT")

_SCALAR_DTYPES: dict[type, pl.DataType] = {
    str: pl.String(),
    int: pl.Int64(),
    float: pl.Float64(),
    bool: pl.Boolean(),
}


# Annotations, and values of JSON and Parquet, are `Any` here, as `typing.get_type_hints`, `json` and polars type them.
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
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return pl.Struct(schema(annotation))
    raise TypeError(f"no column type for {annotation!r}")


def schema(record_type: type) -> dict[str, pl.DataType]:
    """The polars column types of a record's table, derived from the annotations of its fields."""
    hints = typing.get_type_hints(record_type)
    return {f.name: _column_type(hints[f.name]) for f in dataclasses.fields(record_type)}


def to_table(records: Iterable[object], record_type: type) -> pl.DataFrame:
    """A frame with one row per record; `record_type` types the columns, so an empty table has them too."""
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
    """Complete a table to all columns of a record: the given `columns`, and null for the others."""
    given_columns = {name: pl.lit(value) for name, value in columns.items()}
    table = table.with_columns(**given_columns)
    null_columns = {name: pl.lit(None) for name in schema(record_type) if name not in table.columns}
    casts = [pl.col(name).cast(column) for name, column in schema(record_type).items()]
    return table.with_columns(**null_columns).select(casts)


def _list_series(values: list[tuple[object, ...]], element_type: object, column: pl.List) -> pl.Series:
    """One tuple per row, built from one flat table of all elements: many times faster than row by row."""
    elements = [element for row in values for element in row]
    if isinstance(element_type, type) and dataclasses.is_dataclass(element_type):
        flat = to_table(elements, element_type).select(one=pl.struct(pl.all()))
    else:
        flat = pl.DataFrame({"one": pl.Series(elements, dtype=column.inner)})
    row_numbers = pl.Series("row", [number for number, row in enumerate(values) for _ in row], dtype=pl.Int64)
    lists = flat.with_columns(row_numbers).group_by("row", maintain_order=True).agg("one")
    all_rows = pl.DataFrame({"row": pl.Series(range(len(values)), dtype=pl.Int64)})
    return all_rows.join(lists, on="row", how="left", maintain_order="left")["one"].fill_null([])


def from_table(table: pl.DataFrame, record_type: type[RecordT]) -> list[RecordT]:
    """The records of a frame that `to_table` made; they equal the original records.

    Raises:
        DataError: The frame lacks a field of the record.
    """
    missing_columns = [n for n in schema(record_type) if n not in table.columns]
    if missing_columns:
        raise DataError(
            f"a table of {record_type.__name__} lacks the columns {missing_columns}; another program wrote it, so make "
            "it again."
        )
    hints = typing.get_type_hints(record_type)
    return [record_type(**{n: _record_value(row[n], hints[n]) for n in hints}) for row in table.iter_rows(named=True)]


def _record_value(value: Any, annotation: Any) -> Any:  # as `json`, polars and `typing` type them
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


def from_json(values: Iterable[object], record_type: type[RecordT]) -> tuple[RecordT, ...]:
    """The records that `dataclasses.asdict` and JSON wrote."""
    return tuple(_record_value(value, record_type) for value in values)


def write_parquet(records: Sequence[object], record_type: type, path: Path) -> None:
    """Write the records as a Parquet file with one row each."""
    to_table(records, record_type).write_parquet(path)


def read_parquet(path: Path, record_type: type[RecordT]) -> list[RecordT]:
    """The records of a Parquet file that `write_parquet` wrote."""
    return from_table(read_table(path), record_type)


def scan_table(path: Path) -> pl.LazyFrame:
    """The table of a Parquet file, of which only the rows and columns that are asked for are read.

    Raises:
        OSError: The file cannot be read.
        polars.exceptions.PolarsError: The content is not of this format; both may come later, when rows are collected.
    """
    return pl.scan_parquet(path.absolute(), glob=False, hive_partitioning=False)


def read_table(
    source: Path | bytes,
    kind: TableKind | None = None,
    *,
    columns: Sequence[str] | None = None,
    separator: str = ",",
    infer_types: bool = True,
) -> pl.DataFrame:
    """The table of a file. The path is taken as it stands: `*`, `?` and `[1]` are characters and no patterns.

    The types of CSV and JSON columns are inferred from all rows, so that a key or a decimal of a late row counts.

    Args:
        source: The file, or its content.
        kind: The format; None: the ending of the path.
        columns: The columns of a Parquet file to read; None: all.
        separator: The separator of a CSV file.
        infer_types: Whether the columns of a CSV file get types. False: they are texts, as they stand in the file.

    Raises:
        OSError: The file cannot be read.
        ModuleNotFoundError: It is a workbook, and fastexcel is not installed.
        ValueError: It is a workbook with several sheets that have rows, or with none.
        polars.exceptions.PolarsError: The content is not of this format.
    """
    format_ = kind or str(source).rpartition(".")[2]
    # An absolute path: polars expands `~`. Bytes: polars has no way to read JSON lines without expanding the path.
    file = BytesIO(source) if isinstance(source, bytes) else source.absolute()
    match format_:
        case "parquet":
            chosen = None if columns is None else [*columns]
            return pl.read_parquet(file, glob=False, hive_partitioning=False, columns=chosen)
        case "csv":
            return pl.read_csv(
                file, glob=False, infer_schema=infer_types, infer_schema_length=None, separator=separator
            )
        case "jsonl":
            return pl.read_ndjson(file if isinstance(file, BytesIO) else file.read_bytes(), infer_schema_length=None)
        case "xlsx":
            return _only_sheet(file if isinstance(file, BytesIO) else BytesIO(file.read_bytes()))
        case _:
            raise ValueError(f"{format_!r} is no format of a table")


def _only_sheet(workbook: BytesIO) -> pl.DataFrame:
    """Of a workbook the only one of its sheets that has rows."""
    sheets = pl.read_excel(workbook, sheet_id=0, engine="calamine", raise_if_empty=False)
    filled = {name: sheet for name, sheet in sheets.items() if len(sheet)}
    if len(filled) != 1:
        named = ", ".join(map(repr, list(filled)[:6])) or "none"
        raise ValueError(f"it has {len(filled)} sheets with rows, {named}; leave one, or save it as CSV")
    return next(iter(filled.values()))


def count_rows(path: Path) -> int:
    """The number of rows of a Parquet file, from its metadata: a few bytes can stand for billions of equal rows."""
    return int(pl.scan_parquet(path.absolute(), glob=False).select(pl.len()).collect().item())
