"""BIG-bench's result files as tidy tables, by the rules that keep curves from being mixed up.

Family and size come from the fields inside, never from file names. A curve has one task, one level (the task itself or
one of its subtasks), one metric and one number of shots; nothing is averaged. Scores that are missing stay missing.

Source: google/BIG-bench, `bigbench/api/results.py` and its result files (Apache-2.0); the rules of
searching them follow arXiv:2304.15004, section 4.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy

from nosce.analysis.emergence.jumps import emergence_score, noise_p_value
from nosce.errors import DataError

#: Ranges that the package says metrics have; scores outside are a file's fault.
METRIC_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("exact_str_match", "multiple_choice_grade", "macro_f1", "expected_calibration_error"), (0, 1)),
    "calibration_multiple_choice_brier_score": (0, 1),
    **dict.fromkeys(("bleu", "rouge1", "rouge2", "rougeLsum", "sequence_f1"), (0, 100)),
    "normalized_aggregate_score": (-math.inf, 100),
    "log_likelihood": (-math.inf, 0),
    "weighted_probabilities": (-1, 1),
    "bleurt": (-2, 2),
}
#: Left out by everybody who scores all tasks: they have no single curve.
EXCLUDED_TASKS = ("list_functions", "mult_data_wrangling", "multiemo")
MAX_RESULT_BYTES = 2**30  # of one file, unpacked
BIGBENCH_COLUMNS = {
    "task": pl.String,
    "subtask": pl.String,
    "family": pl.String,
    "model": pl.String,
    "size": pl.Float64,
    "shots": pl.Int64,
    "metric": pl.String,
    "preferred": pl.Boolean,
    "score": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


def load_bigbench(path: str | Path) -> pl.DataFrame:
    """All scores of a folder of `scores_*.json`, of one such file, or of lines of them (.jsonl, .jsonl.gz).

    Returns:
        One row a task, subtask ("" for the task itself), model, number of shots and metric. `size` is the number of
        parameters outside the embeddings of the dense model that takes as many FLOPs; `score` is in the metric's own
        unit, null where it is missing or not finite.

    Raises:
        DataError: Nothing is there, or something is no result file, with its name or line.
    """
    rows = [row for source, result in _files(Path(path)) for row in _rows(source, result)]
    if not rows:
        raise DataError(f"no score was found at {path}; give a folder with scores_*.json, or a .jsonl of them.")
    return pl.DataFrame(rows, schema=BIGBENCH_COLUMNS).sort("task", "subtask", "family", "metric", "shots", "size")


def normalized_scores(table: pl.DataFrame) -> pl.DataFrame:
    """The table with `normalised`: 100 (score - low) / (high - low), below 0 where a model does worse than chance."""
    return table.with_columns(normalised=100 * (pl.col("score") - pl.col("low")) / (pl.col("high") - pl.col("low")))


def emergence_scores(table: pl.DataFrame) -> pl.DataFrame:
    """One row a curve with its emergence score: null where that is not defined, or where a model has no score.

    A score has no scale of its own. Beside it stand `line`, what a straight line of as many sizes has; `noise`, how
    often pure noise of as many is as far from 0; and `q`, that with all curves of the table taken into account
    (Benjamini and Hochberg 1995): of the curves with q below 0.05 one in twenty is expected to be noise.
    """
    keys = ["task", "subtask", "family", "metric", "shots"]
    rows = []
    for key, part in table.group_by(keys, maintain_order=True):
        ordered = part.sort("size")
        if ordered["size"].is_duplicated().any():
            raise DataError(f"the curve {key} has two models of one size; choose one.")
        score = emergence_score(ordered["score"].fill_null(float("nan")).to_numpy())
        identifiers = dict(zip(keys, key, strict=True))
        noise = noise_p_value(score, len(ordered))
        known = math.isfinite(score)
        rows.append(
            {
                **identifiers,
                "sizes": len(ordered),
                "emergence": score if known else None,
                "line": len(ordered) - 1,
                "noise": noise if known else None,
            }
        )
    columns = {"emergence": pl.Float64, "noise": pl.Float64}
    return with_q_values(pl.DataFrame(rows, schema_overrides=columns), "noise")


def with_q_values(table: pl.DataFrame, p_column: str) -> pl.DataFrame:
    """The table with `q`: the column of p-values with all of them taken into account; null where there is none."""
    known = table[p_column].is_not_null().to_numpy()
    q = np.full(len(table), np.nan)
    if known.any():
        q[known] = scipy.stats.false_discovery_control(table[p_column].to_numpy()[known])
    return table.with_columns(q=pl.Series(q, dtype=pl.Float64).fill_nan(None))


def emergent_shares(curves: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """For each metric how many of its curves have an emergence score above the threshold, and of how many."""
    known = curves.filter(pl.col("emergence").is_not_null())
    return (
        known.group_by("metric")
        .agg(emergent=(pl.col("emergence") > threshold).sum(), curves=pl.len())
        .with_columns(share=pl.col("emergent") / pl.col("curves"))
        .sort("share", "metric", descending=[True, False])
    )


def is_bigbench_file(path: Path) -> bool:
    """Does a file begin with a result of BIG-bench's own schema?"""
    open_ = gzip.open if path.suffix == ".gz" else open
    with open_(path, "rt", encoding="utf-8") as file:
        first = json.loads(file.readline() if ".jsonl" in "".join(path.suffixes) else file.read())
    return isinstance(first, dict) and {"scores", "task", "model"} <= set(first)


def _files(path: Path) -> Iterator[tuple[str, Any]]:  # contents as `json` types them
    if path.is_dir():
        for file in sorted(path.rglob("scores_*.json")):
            yield file.name, _parsed(_content(file), file.name)
    elif path.is_file():
        data = _content(path)
        if path.with_suffix("").suffix == ".jsonl" or path.suffix == ".jsonl":
            for number, line in enumerate(data.splitlines(), 1):
                if line.strip():
                    yield f"{path.name}, line {number}", _parsed(line, f"{path.name}, line {number}")
        else:
            yield path.name, _parsed(data, path.name)


def _content(path: Path) -> bytes:
    try:
        with gzip.GzipFile(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MAX_RESULT_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path.name} cannot be read ({error}); give BIG-bench's own result files.") from None
    if len(content) > MAX_RESULT_BYTES:
        raise DataError(f"{path.name} has more than {MAX_RESULT_BYTES:,} bytes; audit a part of it.")
    return content


def _parsed(data: bytes, source: str) -> Any:  # as `json` types it
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise DataError(f"{source} is no JSON; give BIG-bench's own result files.") from None


def _rows(source: str, result: Any) -> Iterator[dict[str, object]]:  # the result as `json` types it
    try:
        task, model = str(result["task"]["task_name"]), result["model"]
        family, name = str(model["model_family"]), str(model["model_name"])
        size = model.get("flop_matched_non_embedding_params") or model["non_embedding_params"]
        entries = result["scores"]
        for entry in entries if task not in EXCLUDED_TASKS else ():
            level = str(entry["subtask_description"])
            low, high = float(entry["low_score"]), float(entry["high_score"])
            for metric, value in entry["score_dict"].items():
                yield {
                    "task": task,
                    "subtask": "" if level == task else level,
                    "family": family,
                    "model": name,
                    "size": float(size),
                    "shots": int(entry["number_of_shots"]),
                    "metric": str(metric),
                    "preferred": metric == entry["preferred_score"],
                    "score": _score(source, str(metric), value),
                    "low": low,
                    "high": high,
                }
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{source} is no result file of BIG-bench: it lacks {error}; give files of its own schema."
        ) from None


def _score(source: str, metric: str, value: float | str | None) -> float | None:
    """The number, or None where it is missing; a number outside the metric's range, e.g. a percentage, is refused."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    number = float(value)
    low, high = METRIC_RANGES.get(metric, (-math.inf, math.inf))
    if not low - 1e-9 <= number <= high + 1e-9:
        raise DataError(
            f"{source} has {metric}={number:g}, outside {low} to {high}; give scores in the metric's own unit."
        )
    return number


def to_counts(table: pl.DataFrame, items_per_task: Mapping[str, int]) -> pl.DataFrame:
    """Curves of shares as counts, which the mirage test takes: how many of `asked[task]` were right."""
    known = table.filter(pl.col("score").is_not_null() & pl.col("task").is_in(list(items_per_task)))
    n_total = pl.col("task").replace_strict(dict(items_per_task), return_dtype=pl.Float64)
    return known.with_columns(asked=n_total, right=(pl.col("score") * n_total).round())
