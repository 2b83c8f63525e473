"""What the readers of one log a model and task have in common: sizes of models, and one table a task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from nosce.analysis.emergence.readers.any_table import given_chance
from nosce.analysis.emergence.readers.base import ColumnChoice, TaskScores, json_number, size_of_model
from nosce.analysis.emergence.readers.columns import is_lower_better
from nosce.analysis.emergence.readers.rows import AGGREGATES_NOTE
from nosce.errors import DataError, UsageError

Row = dict[str, object]


@dataclass(frozen=True, eq=False, kw_only=True)
class TaskLog:
    """What a tool logged of one model on one task.

    Args:
        path: The file or folder, for sentences.
        task: Name of the task.
        model: Name of the model.
        rows: One row an item with `item` and `sharp`, and where known `continuous`, `chance` and `seed`; or one row
            with `right` and `asked`.
        names: Column -> its name in the log.
        is_multiple_choice: Whether the task offers options.
        parameters: Number of parameters, where the tool notes it.
    """

    path: str
    task: str
    model: str
    rows: Sequence[Row]
    names: Mapping[str, str]
    is_multiple_choice: bool = False
    parameters: float | None = None


def scores_of_logs(logs: Iterable[TaskLog], source: str, choice: ColumnChoice) -> list[TaskScores]:
    """The scores of each task.

    Raises:
        UsageError: A size or a guess level is not noted, or a model has two logs of a task.
    """
    by_task: dict[str, list[TaskLog]] = {}
    for log in logs:
        by_task.setdefault(log.task, []).append(log)
    wanted = {task: part for task, part in by_task.items() if choice.task in (None, task)}
    if not wanted:
        raise UsageError(
            f"--task {choice.task} is none of {source}: {', '.join(list(by_task)[:8])}; take one of these."
        )
    return [_scores_of_task(task, part, source, choice) for task, part in wanted.items()]


def _check_scorers(task: str, logs: Sequence[TaskLog]) -> None:
    """Refuse a curve of several scores.

    Raises:
        UsageError: Two logs have different ones.
    """
    for role in ("sharp", "continuous"):
        other = next((log for log in logs if log.names.get(role) != logs[0].names.get(role)), None)
        if other is not None:
            raise UsageError(
                f"the {role} score of {task} is {logs[0].names.get(role)!r} in {logs[0].path} and "
                f"{other.names.get(role)!r} in {other.path}; name one with --{role}."
            )


def _scores_of_task(task: str, logs: Sequence[TaskLog], source: str, choice: ColumnChoice) -> TaskScores:
    sizes: dict[float, TaskLog] = {}
    rows: list[Row] = []
    for log in logs:
        size = size_of_model(log.model, log.parameters, choice, source)
        if size in sizes:
            raise UsageError(
                f"{sizes[size].path} and {log.path} are both of {task} at the size {size:,.0f} "
                f"({sizes[size].model} and {log.model}); move one away."
            )
        sizes[size] = log
        rows += [{"size": size, **row} for row in log.rows]
    _check_scorers(task, logs)
    table = pl.DataFrame(rows, infer_schema_length=None)
    mixed = {frozenset(row) for log in logs for row in log.rows[:1]}
    if any("asked" in keys for keys in mixed) and len(mixed) > 1:
        raise DataError(f"some logs of {task} hold items and others only their number; give logs of one kind.")
    names = {"size": "the model's name", **logs[0].names}
    if choice.n is not None and "asked" in table.columns:
        table = table.with_columns(asked=pl.lit(json_number(choice.n)))
    if choice.chance is not None:
        table = table.with_columns(chance=pl.lit(given_chance(choice.chance)))
    elif "chance" in table.columns:
        names["chance"] = "1 / number of options"
    elif any(log.is_multiple_choice for log in logs):
        command = choice.command(source, "--task", task, "--chance", "0.25")
        raise UsageError(f"{task} is multiple choice, and its logs do not say what guessing gets: {command}.")
    return TaskScores(
        source=source,
        task=task,
        table=table,
        names=names,
        log_likelihood=choice.log_likelihood,
        lower_is_better=choice.lower_is_better or is_lower_better(names.get("continuous", "")),
        notes=(AGGREGATES_NOTE,) if "asked" in table.columns else (),
    )
