"""Details of the Open LLM leaderboard, which lighteval writes: `details_<task>_<date>.parquet`, a row an example.

A row has the log-likelihoods of the options in `predictions`, the target's place in `gold_index`, and the scores in
`metrics`. The second leaderboard's details are samples of lm-evaluation-harness, which have a reader of their own.

Source: huggingface/lighteval, `logging/info_loggers.py` (DetailsLogger.Detail).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from nosce.analysis.emergence.readers.base import ColumnChoice, TaskScores, json_list, json_number, json_object
from nosce.analysis.emergence.readers.logs import Row, TaskLog, scores_of_logs
from nosce.errors import DataError, UsageError
from nosce.records import count_rows, read_table

SHARP_METRICS_OF_LIGHTEVAL = ("acc", "acc_norm", "em", "qem", "pem", "mc1", "exact_match")
MAX_EXAMPLES = 5_000_000
_NAME = re.compile(r"details_(.+?)_\d{4}-\d{2}-\d{2}T.*")


def is_details_file(path: Path) -> bool:
    """Whether a file has the name of lighteval's details."""
    return path.suffix == ".parquet" and _NAME.fullmatch(path.stem) is not None


def read_leaderboard(files: Iterable[Path], root: Path, source: str, choice: ColumnChoice) -> list[TaskScores]:
    """The scores of each task of several models' details.

    Raises:
        UsageError: A file is no details, or a model has two of a task; the sentence says what to do.
    """
    return scores_of_logs([_task_log(file, root, choice) for file in sorted(files)], source, choice)


def _task_log(file: Path, root: Path, choice: ColumnChoice) -> TaskLog:
    try:
        if (n_rows := count_rows(file)) > MAX_EXAMPLES:
            raise ValueError(f"it has {n_rows:,} rows")
        table = read_table(file, "parquet")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise UsageError(
            f"{file} cannot be read as details ({str(error).splitlines()[0][:200]}); look at it."
        ) from None
    if "metrics" not in table.columns:
        raise UsageError(f"{file} has no column `metrics`, so it is no file of details; name a table of another kind.")
    match = _NAME.fullmatch(file.stem)
    rows, names, options = _rows(file, table, choice)
    return TaskLog(
        path=str(file),
        task=match[1] if match else file.stem,
        model=_model_name(file, root),
        rows=rows,
        names=names,
        is_multiple_choice=options,
    )


def _model_name(file: Path, root: Path) -> str:
    """The folder above that of the date: details lie in `<organisation>/<model>/<date>/`, or in `<model>/`."""
    folders = [part for part in file.parent.parts if not re.fullmatch(r"\d{4}[-_]\d{2}[-_]\d{2}T.*", part)]
    return folders[-1] if folders else root.name


def _rows(file: Path, table: pl.DataFrame, choice: ColumnChoice) -> tuple[list[Row], dict[str, str], bool]:
    names: dict[str, str] = {"item": "row"}
    options = False
    rows: list[Row] = []
    for number, example in enumerate(table.iter_rows(named=True), 1):
        metrics = json_object(example["metrics"])
        if "sharp" not in names:
            names["sharp"] = _sharp_name(file, metrics, choice)
        score = json_number(metrics.get(names["sharp"]))
        if score is None:
            raise DataError(
                f"row {number} of {file} has no number in {names['sharp']!r}; missing is not zero, so drop it."
            )
        row: Row = {"item": str(number), "sharp": score}
        replies, gold = json_list(example.get("predictions")), json_list(example.get("gold_index"))
        choices = json_list(example.get("choices"))
        if len(choices) > 1:
            options = True
            row["chance"] = 1 / len(choices)
        value = _continuous(metrics, replies, gold, len(choices), choice)
        if value is not None:
            row["continuous"] = value
            names["continuous"] = choice.continuous or "log-likelihood of the target"
        rows.append(row)
    if not all(("continuous" in row) == ("continuous" in rows[0]) for row in rows):
        rows = [{key: value for key, value in row.items() if key != "continuous"} for row in rows]
        names.pop("continuous", None)
    return rows, names, options


def _continuous(
    metrics: dict[str, object], replies: Sequence[object], gold: Sequence[object], n_choices: int, choice: ColumnChoice
) -> float | None:
    """The log-likelihood of the target among the options, or the metric that the user named."""
    if choice.continuous is not None:
        return json_number(metrics.get(choice.continuous))
    if len(gold) != 1 or len(replies) != n_choices or not isinstance(gold[0], int) or not 0 <= gold[0] < n_choices:
        return None
    value = replies[gold[0]]
    while isinstance(value, list) and value:
        value = value[0]
    number = json_number(value)
    return number if number is not None and number <= 0 else None


def _sharp_name(file: Path, metrics: dict[str, object], choice: ColumnChoice) -> str:
    for name in [choice.sharp] if choice.sharp is not None else SHARP_METRICS_OF_LIGHTEVAL:
        if name in metrics:
            return str(name)
    raise UsageError(f"{file} has none of the usual metrics but {', '.join(list(metrics)[:8])}; name one with --sharp.")
