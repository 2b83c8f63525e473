"""Tables of scores by size: columns found and said, numbers as people write them, rows by what they are.

A row is an item, a size, or a size and seed. What a table leaves open is asked back with the command that settles it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from nosce.analysis.emergence.readers.base import ColumnChoice, TaskScores, size_in_name
from nosce.analysis.emergence.readers.columns import (
    LOG_LIKELIHOODS,
    MULTIPLE_CHOICE,
    columns_by_role,
    header_unit,
    is_lower_better,
    is_percent_header,
    metric_header,
    unpivoted,
)
from nosce.analysis.emergence.readers.numbers import parse_number, parse_numbers
from nosce.analysis.emergence.readers.roles import PERPLEXITIES, RoleColumns, find_roles
from nosce.analysis.emergence.readers.rows import TableRows, outcome_rows
from nosce.analysis.emergence.table_file import TableFile
from nosce.errors import DataError, UsageError

MAX_TASKS = 2_000
MIN_SIZE_COLUMNS = 3  # headers that are sizes, from which on a table has a column a size


def read_any_table(file: TableFile, source: str, choice: ColumnChoice) -> list[TaskScores]:
    """The scores of each task of a table.

    Args:
        file: The table.
        source: Its path, for sentences and commands.
        choice: What the user said.

    Raises:
        DataError: Something is wrong with the table, in one sentence.
        UsageError: Something is open; the sentence holds the command that settles it.
    """
    if not len(file.table):
        raise DataError("the table has no rows, so there is nothing to audit.")
    table, notes = _long_table(file.table, choice)
    decimal = choice.decimal or file.decimal
    if decimal is None:
        raise UsageError(
            f"{source} has numbers as 1,300, which may be 1300 or 1.3: say which, "
            f"{choice.command(source, '--decimal', 'comma')} (for 1.3) or point (for 1300)."
        )
    all_roles = find_roles(table, source, choice)
    table = table.with_row_index("__row__", offset=1)
    tasks = []
    for task, part in _task_parts(table, all_roles, choice, source):
        roles = _without_empty(part, all_roles, choice)
        rows = _numeric_rows(part, roles, choice, source, decimal_comma=decimal == "comma")
        outcome, row_notes = outcome_rows(rows, source, choice)
        tasks.append(_task_scores(outcome, roles, choice, source, task, (*notes, *roles.notes, *row_notes)))
    return tasks


def _without_empty(part: pl.DataFrame, roles: RoleColumns, choice: ColumnChoice) -> RoleColumns:
    """The roles of a task without a continuous score that none of its rows has; a named one has to be there."""
    name = roles.columns.get("continuous")
    if name is None or choice.continuous is not None or part[name].null_count() < len(part):
        return roles
    kept = {role: column for role, column in roles.columns.items() if role not in ("continuous", "continuous_stderr")}
    return RoleColumns(kept, roles.sizes_from_names, (*roles.notes, f"`{name}` has no value here, so none is taken."))


def _long_table(table: pl.DataFrame, choice: ColumnChoice) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The table with a row a size where it has a column a size, and a column a metric where it has a row a metric."""
    if choice.size is None and not columns_by_role(table.columns)["size"]:
        sizes = {name: size for name in table.columns if (size := _header_size(name)) is not None}
        if len(sizes) >= MIN_SIZE_COLUMNS:
            return unpivoted(table, sizes), (f"The {len(sizes)} columns {', '.join(list(sizes)[:3])}, ... are sizes.",)
    found = columns_by_role(table.columns)
    if len(found["metric"]) == 1 and len(found["value"]) == 1 and not found["sharp"]:
        return _pivoted(table, found["metric"][0], found["value"][0])
    return table, ()


def _header_size(name: str) -> float | None:
    text = name.strip()
    size = parse_number(text)
    return size if size and size > 0 and "%" not in text and (size >= 1e3 or text[-1:].isalpha()) else None


def _pivoted(table: pl.DataFrame, metric: str, value: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    rest = [name for name in table.columns if name not in (metric, value)]
    metrics = table[metric].cast(pl.String).unique(maintain_order=True).to_list()
    if len(metrics) > 100 or not rest or any(name is None or name in rest for name in metrics):
        raise DataError(f"the column {metric!r} has no names of metrics that could be columns; give a column a metric.")
    if table.select(pl.struct(*rest, metric).is_duplicated().any()).item():
        raise DataError(f"two rows give the same metric of the same model in {metric!r}; give one.")
    return table.pivot(on=metric, index=rest, values=value), (f"The rows of `{metric}` are metrics.",)


def _task_parts(
    table: pl.DataFrame, roles: RoleColumns, choice: ColumnChoice, source: str
) -> Iterator[tuple[str, pl.DataFrame]]:
    """The rows of each task."""
    column = roles.columns.get("task")
    if column is None or column in {roles.columns.get(role) for role in ("size", "sharp", "item")}:
        if choice.task is not None:
            raise UsageError(f"--task {choice.task} was given, and {source} has no column of tasks; leave it out.")
        yield "", table
        return
    names = table[column].cast(pl.String)
    if names.is_null().any():
        row = int(names.is_null().arg_max() or 0) + 1
        raise DataError(f"row {row} has no task in `{column}`; name it or drop the row.")
    tasks = names.unique(maintain_order=True).to_list()
    if choice.task is not None and choice.task not in tasks:
        raise UsageError(f"--task {choice.task} is none of `{column}`: {', '.join(map(repr, tasks[:8]))}; take one.")
    if len(tasks) > MAX_TASKS:
        raise DataError(f"`{column}` has {len(tasks):,} tasks; at most {MAX_TASKS:,} are audited at once.")
    for task in [choice.task] if choice.task is not None else tasks:
        yield task if len(tasks) > 1 else "", table.filter(names == task)


def _numeric_rows(
    table: pl.DataFrame, roles: RoleColumns, choice: ColumnChoice, source: str, *, decimal_comma: bool
) -> TableRows:
    """The rows with a column a role, in numbers where they are numbers."""
    columns: dict[str, pl.Series] = {}
    for role, name in roles.columns.items():
        if role in ("item", "seed", "series", "model"):
            columns[role] = table[name]
        elif role not in ("task", "metric", "value", "choices", "length") or role in ("length", "choices"):
            columns[role] = _numbers(table, role, name, choice, decimal_comma)
    if roles.sizes_from_names:
        columns["size"] = _sizes_of_names(table[roles.columns["model"]], choice, source)
    rows = pl.DataFrame([column.alias(role) for role, column in columns.items()])
    rows = _on_log_scale(rows.with_columns(table["__row__"]), roles)
    if choice.n is not None and "asked" not in rows.columns:
        rows = rows.with_columns(asked=pl.lit(_given_number(choice.n, "--n", least=1)))
    if "choices" in rows.columns and "chance" not in rows.columns:
        rows = rows.with_columns(chance=1 / pl.col("choices"))
    if choice.chance is not None and "chance" not in roles.columns:
        rows = rows.with_columns(chance=pl.lit(given_chance(choice.chance)))
    multiple_choice = {metric_header(roles.columns.get(role, "")) for role in ("sharp", "continuous")} & MULTIPLE_CHOICE
    if multiple_choice and "chance" not in rows.columns:
        raise UsageError(
            f"`{next(iter(multiple_choice))}` is a score of multiple choice, and {source} does not say what guessing "
            f"gets: {choice.command(source, '--chance', '0.25')} (1 over the number of options)."
        )
    return TableRows(rows.drop([name for name in ("choices",) if name in rows.columns]), dict(roles.columns))


def _on_log_scale(rows: pl.DataFrame, roles: RoleColumns) -> pl.DataFrame:
    """The rows with a perplexity as nats, the scale on which it is smooth."""
    name = roles.columns.get("continuous", "")
    if metric_header(name) not in PERPLEXITIES:
        return rows
    if (rows["continuous"] <= 0).any():
        raise DataError(f"the column {name!r} has a perplexity of 0 or less, which cannot be; mend it.")
    if "continuous_stderr" in rows.columns:
        rows = rows.with_columns(pl.col("continuous_stderr") / pl.col("continuous"))
    return rows.with_columns(pl.col("continuous").log())


def given_chance(text: str) -> float:
    """The score of guessing as the user gave it, e.g. 0.25 or 25%."""
    value = _given_number(text, "--chance", least=0) / (100 if text.strip().endswith("%") else 1)
    if value >= 1:
        raise UsageError(f"--chance {text} leaves nothing above guessing; give a share below 1.")
    return value


def _given_number(text: str, option: str, least: float) -> float:
    number = parse_number(text.strip())
    if number is None or not number >= least:
        raise UsageError(f"{option} {text} is no number from {least:g} on; give one, or the name of a column.")
    return number


def _numbers(table: pl.DataFrame, role: str, name: str, choice: ColumnChoice, decimal_comma: bool) -> pl.Series:
    """A column in numbers; what is none or missing is refused, percent are shares, and sizes get their unit."""
    column = table[name]
    numbers, in_percent = parse_numbers(column, decimal_comma=decimal_comma, truths=role == "sharp")
    wrong = numbers.is_null() | numbers.is_infinite()
    if wrong.any():
        place = int(wrong.arg_max() or 0)
        if not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null, pl.Boolean)):
            raise DataError(f"the column {name!r} is of type {str(column.dtype)[:60]}; give numbers.")
        raise DataError(
            f"row {table['__row__'][place]} has {str(column[place])[:40]!r} in {name!r}, which is no finite number; "
            "missing is not zero, so drop the row or mend it."
        )
    if role in ("sharp", "stderr", "chance"):
        return (
            numbers / 100 if in_percent or is_percent_header(name) or (choice.percent and role != "chance") else numbers
        )
    if in_percent:
        raise DataError(f"the column {name!r} is in percent, and a {role} is none; give numbers.")
    if role == "size" and (numbers < 1e4).any():  # else they are sizes already, whatever the header says
        return numbers * header_unit(name)[1]
    return numbers


def _sizes_of_names(models: pl.Series, choice: ColumnChoice, source: str) -> pl.Series:
    names = models.cast(pl.String)
    distinct = names.unique(maintain_order=True).to_list()
    sizes = {name: choice.model_sizes.get(name) or size_in_name(name or "") for name in distinct}
    unknown = next((name for name, size in sizes.items() if size is None), "")
    if None in sizes.values():
        command = choice.command(source, "--size", f"{unknown}=1.3B")
        raise UsageError(f"{source} has no column of sizes, and the model {unknown!r} has none in its name: {command}.")
    return names.replace_strict(list(sizes), list(sizes.values()), return_dtype=pl.Float64)


def _task_scores(
    outcome: pl.DataFrame,
    roles: RoleColumns,
    choice: ColumnChoice,
    source: str,
    task: str,
    notes: tuple[str, ...],
) -> TaskScores:
    names = dict(roles.columns)
    if roles.sizes_from_names:
        names["size"] = names["model"]
    if "sharp" not in names:
        names["sharp"] = names["right"]
    columns = {*outcome.columns, "sharp"} | ({"seed"} if "series" in outcome.columns else set())
    kept = {role: name for role, name in names.items() if role in columns}
    if "continuous" not in outcome.columns:
        kept.pop("continuous", None)
    if is_lower_better(kept.get("sharp", "")):
        raise UsageError(
            f"the sharp score `{kept['sharp']}` of {source} falls as a model gets better; give one that rises, e.g. 1 "
            "minus it."
        )
    continuous = metric_header(kept.get("continuous", ""))
    scores = TaskScores(
        source=source,
        task=task,
        table=outcome,
        names=kept,
        log_likelihood=choice.log_likelihood or continuous in LOG_LIKELIHOODS,
        lower_is_better=choice.lower_is_better or is_lower_better(continuous),
        notes=notes,
    )
    return (
        scores if "chance" in roles.columns else replace(scores, names={k: v for k, v in kept.items() if k != "chance"})
    )
