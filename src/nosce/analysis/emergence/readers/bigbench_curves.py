"""BIG-bench's result files as curves that the mirage test takes; they do not say how many items a task has."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from nosce.analysis.emergence.bigbench import load_bigbench
from nosce.analysis.emergence.readers.any_table import given_chance
from nosce.analysis.emergence.readers.base import ColumnChoice, TaskScores, json_number
from nosce.analysis.emergence.readers.rows import AGGREGATES_NOTE
from nosce.errors import UsageError

SHARP_METRICS_OF_BIGBENCH = ("exact_str_match", "multiple_choice_grade")
#: Metrics that may stand for the continuous score of the same answers: whether smaller is better.
CONTINUOUS_OF_BIGBENCH = {"log_likelihood": False, "calibration_multiple_choice_brier_score": True}


def read_bigbench_curves(path: Path, source: str, choice: ColumnChoice) -> list[TaskScores]:
    """One curve a task, family of models and number of shots.

    Raises:
        UsageError: `--n`, the number of items of a task, is not given or no number.
    """
    n = None if choice.n is None else json_number(choice.n)
    if n is None or n < 1:
        raise UsageError(
            f"BIG-bench's files do not say how many items a task has: {choice.command(source, '--n', '500')}."
        )
    table = load_bigbench(path).filter(pl.col("subtask") == "")
    tasks = []
    for key, part in table.group_by("task", "family", "shots", maintain_order=True):
        name = f"{key[0]}, {key[1]}, {key[2]} shots"
        if choice.task in (None, key[0], name) and (scores := _curve(name, part, n, source, choice)) is not None:
            tasks.append(scores)
    if not tasks:
        raise UsageError(f"{source} has no curve of {choice.task or 'a sharp score'}; name one with --task or --sharp.")
    return tasks


def _curve(name: str, part: pl.DataFrame, n: float, source: str, choice: ColumnChoice) -> TaskScores | None:
    wanted = [choice.sharp] if choice.sharp is not None else SHARP_METRICS_OF_BIGBENCH
    sharp = next((metric for metric in wanted if metric in part["metric"]), None)
    if sharp is None:
        return None
    curve = part.filter(metric=sharp)
    if curve["score"].null_count():
        missing = curve.filter(pl.col("score").is_null())["model"][0]
        raise UsageError(f"{name} has no {sharp} of the model {missing}; missing is not zero, so leave the task out.")
    chance = pl.col("low").clip(0, 1) if sharp == "multiple_choice_grade" else pl.lit(0.0)
    table = curve.select("size", "model", right=(pl.col("score") * n).round(), asked=pl.lit(n), chance=chance)
    names = {"size": "flop_matched_non_embedding_params", "sharp": sharp}
    continuous = next((metric for metric in CONTINUOUS_OF_BIGBENCH if metric in part["metric"]), None)
    if choice.continuous is not None:
        continuous = None if choice.continuous == "none" else choice.continuous
    if continuous is not None:
        other = part.filter(pl.col("metric") == continuous).select("model", continuous="score")
        table = table.join(other, on="model", how="left", maintain_order="left")
        names["continuous"] = continuous
    if choice.chance is not None:
        table = table.with_columns(chance=pl.lit(given_chance(choice.chance)))
    elif sharp == "multiple_choice_grade":
        names["chance"] = "low_score"
    return TaskScores(
        source=source,
        task=name,
        table=table.drop("model"),
        names=names,
        log_likelihood=choice.log_likelihood,
        lower_is_better=choice.lower_is_better or CONTINUOUS_OF_BIGBENCH.get(continuous or "", False),
        notes=(AGGREGATES_NOTE, f"Every task counts as having {n:,.0f} items."),
    )
