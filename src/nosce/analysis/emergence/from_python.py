"""The mirage test from Python: `nosce.audit` takes a table or a path, and gives an object that a notebook shows."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import polars as pl

from nosce.analysis.emergence.audit import TableAudit, audit_figure, audit_tasks, check_resamples
from nosce.analysis.emergence.figure_file import figure_bytes, write_figure
from nosce.analysis.emergence.readers.any_table import read_any_table
from nosce.analysis.emergence.readers.base import FRAME, ColumnChoice
from nosce.analysis.emergence.readers.find import read_tasks
from nosce.analysis.emergence.readers.numbers import decimal_sign, parse_number
from nosce.analysis.emergence.table_file import TableFile
from nosce.analysis.emergence.test import DEFAULT_RESAMPLES, EmergenceVerdict
from nosce.errors import DataError, UsageError
from nosce.store.text import printable


@runtime_checkable
class _Arrow(Protocol):
    """A table of another library that gives its columns through Arrow, e.g. of pandas or pyarrow."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


@runtime_checkable
class _Pandas(Protocol):
    """A frame of pandas without pyarrow."""

    def to_dict(self, orient: str) -> dict[str, list[object]]: ...


@dataclass(frozen=True, eq=False)
class MirageAudit:
    """An audited table: the verdict, the numbers and the figure; a notebook shows all three.

    Args:
        audits: The audit of each task.
    """

    audits: tuple[TableAudit, ...]

    @property
    def verdict(self) -> EmergenceVerdict:
        """The verdict of the only task.

        Raises:
            DataError: There are several; `table` has the verdict of each.
        """
        return self._only.verdict

    @property
    def answer(self) -> str:
        """The answer of the only task in four lines: what, why, how sure, and what would change it."""
        return "\n".join(self._only.answer.lines)

    @property
    def columns(self) -> str:
        """Which columns were read as what."""
        return self.audits[0].scores.columns_text

    @property
    def _only(self) -> TableAudit:
        if len(self.audits) > 1:
            raise DataError(f"there are {len(self.audits)} tasks, each with its verdict; look at `.table`.")
        return self.audits[0]

    @cached_property
    def table(self) -> pl.DataFrame:
        """One row a task with its verdict and numbers."""
        rows = []
        for audit in self.audits:
            result = audit.result
            rows.append(
                {
                    "task": audit.scores.title,
                    "verdict": audit.verdict,
                    "share": max(result.frequencies.values()),
                    "sizes": result.sizes,
                    "seeds": result.seeds,
                    "items": result.items,
                    "sharp_rise": result.sharp_rise,
                    "sharp_window_share": result.sharp_window_share,
                    "continuous_window_share": result.continuous_window_share,
                    "jump_size": result.jump_size,
                    "p_linear": result.p_linear,
                    "q_linear": audit.q,
                }
            )
        optional = {"continuous_window_share": pl.Float64, "q_linear": pl.Float64}
        return pl.DataFrame(rows, schema_overrides=optional)

    @cached_property
    def figure(self) -> str:
        """The figure as SVG text."""
        return figure_bytes(audit_figure(self.audits), ".svg").decode()

    def save_figure(self, path: str | Path) -> Path:
        """Write the figure as .svg or .png.

        Raises:
            UsageError: Another file is there, the ending is another, or it cannot be written.
        """
        return write_figure(audit_figure(self.audits), Path(path))

    def __repr__(self) -> str:
        if len(self.audits) == 1:
            return self.answer
        return "\n".join(f"{audit.scores.title}: {audit.verdict}" for audit in self.audits)

    def _repr_svg_(self) -> str:
        return self.figure

    def _repr_html_(self) -> str:
        """The answer, the columns and the picture; every text is escaped, and the picture is data of an image."""
        lines = [*repr(self).splitlines(), f"Read: {self.columns}"]
        text = "<br>".join(html.escape(printable(line)) for line in lines)
        picture = base64.b64encode(self.figure.encode()).decode()
        return f'<div><p>{text}</p><img alt="both scores by size" src="data:image/svg+xml;base64,{picture}"></div>'


def audit(
    table: object,
    *,
    size: str | None = None,
    sharp: str | None = None,
    continuous: str | None = None,
    item: str | None = None,
    seed: str | None = None,
    n: str | int | None = None,
    chance: str | float | None = None,
    task: str | None = None,
    model_sizes: Mapping[str, float | str] | None = None,
    percent: bool = False,
    decimal: Literal["comma", "point"] | None = None,
    log_likelihood: bool = False,
    lower_is_better: bool = False,
    resamples: int = DEFAULT_RESAMPLES,
) -> MirageAudit:
    """Is a jump with size in the ability or in the metric?  The mirage test of a table or of an evaluation's logs.

        nosce.audit(frame, size="params", sharp="acc", continuous="nll")
        nosce.audit("lm_eval_output/")

    Args:
        table: A path, a frame of polars or pandas, columns by name, or a list of rows. As a path also a folder of
            lm-evaluation-harness, inspect_ai, HELM, BIG-bench or lighteval.
        size: The column of the size; None finds it by its header, as with all columns.
        sharp: The column of the sharp score, from 0 to 1.
        continuous: The column of the continuous score of the same answers; "none" for none.
        item: The column that names the item.
        seed: The column that names the training seed.
        n: The number of items of an aggregate, or its column.
        chance: The score of guessing, or its column.
        task: The one task that is audited.
        model_sizes: Model -> size, for logs that do not note it.
        percent: Whether the sharp score is in percent.
        decimal: The sign before decimals, where texts leave it open.
        log_likelihood: Whether the continuous score is the natural log of the whole target's probability.
        lower_is_better: Whether smaller continuous scores are better.
        resamples: Number of resamplings of items and seeds.

    Raises:
        UsageError: Something cannot be read, is wrong or open; the sentence says what to do.
    """
    check_resamples(resamples)
    choice = ColumnChoice(
        size=size,
        sharp=sharp,
        continuous=continuous,
        item=item,
        seed=seed,
        n=None if n is None else str(n),
        chance=None if chance is None else str(chance),
        task=task,
        model_sizes={model: _size(model, value) for model, value in (model_sizes or {}).items()},
        percent=percent,
        decimal=decimal,
        log_likelihood=log_likelihood,
        lower_is_better=lower_is_better,
    )
    return _audited(table, choice, resamples)


def _audited(table: object, choice: ColumnChoice, resamples: int) -> MirageAudit:
    if isinstance(table, str | Path):
        return MirageAudit(tuple(audit_tasks(read_tasks(Path(table), choice), resamples=resamples)))
    frame = _frame(table)
    try:
        tasks = read_any_table(TableFile(frame, decimal_sign(frame, "")), FRAME, choice)
    except DataError as error:
        raise UsageError(str(error)) from None
    return MirageAudit(tuple(audit_tasks(tasks, resamples=resamples)))


def _size(model: str, value: float | str) -> float:
    size = parse_number(value) if isinstance(value, str) else float(value)
    if size is None or not size > 0:
        raise UsageError(f"the size {value!r} of {model!r} is no number above 0; write it as 1.3e9 or '1.3B'.")
    return size


def _frame(table: object) -> pl.DataFrame:
    """A frame of polars from what people have in a notebook."""
    try:
        if isinstance(table, pl.DataFrame):
            return table
        if isinstance(table, pl.LazyFrame):
            return table.collect()
        if isinstance(table, Mapping):
            return pl.DataFrame({str(name): list(values) for name, values in table.items()}, strict=False)
        if isinstance(table, Sequence) and table and all(isinstance(row, Mapping) for row in table):
            return pl.DataFrame([dict(row) for row in table], infer_schema_length=None, strict=False)
        if isinstance(table, _Arrow):
            return pl.DataFrame(table)
        if isinstance(table, _Pandas):
            return pl.DataFrame(table.to_dict("list"), strict=False)
    except (pl.exceptions.PolarsError, TypeError, ValueError, ImportError) as error:
        reason = str(error).split("\n", 1)[0][:200]
        raise UsageError(f"the table of type {type(table).__name__} cannot be read ({reason}); give a frame.") from None
    raise UsageError(
        f"a table was asked for, and this is of type {type(table).__name__}; give a path, a frame of polars or pandas, "
        "columns by name or a list of rows."
    )
