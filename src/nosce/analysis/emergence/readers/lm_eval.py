"""Results of lm-evaluation-harness: `results_*.json` and `samples_*.jsonl` of a folder of models.

Items are read where every model has samples, else the aggregates with their number of samples. The continuous score of
a multiple-choice or log-likelihood task is the log-likelihood of the target, which samples hold; of aggregates it is
the Brier score or the perplexity.

Source: lm-evaluation-harness 0.4, `lm_eval/loggers/evaluation_tracker.py`, which writes both files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from nosce.analysis.emergence.readers.any_table import given_chance
from nosce.analysis.emergence.readers.base import (
    ColumnChoice,
    TaskScores,
    json_number,
    json_object,
    load_json_file,
    size_of_model,
)
from nosce.analysis.emergence.readers.columns import is_lower_better
from nosce.analysis.emergence.readers.lm_eval_samples import sample_rows
from nosce.analysis.emergence.readers.rows import AGGREGATES_NOTE, exact_note, with_items_of_stderr
from nosce.errors import DataError, UsageError
from nosce.store.files import JsonObject

#: Metrics that are 0 or 1 of an item, in the order in which one is taken.
SHARP_METRICS = ("exact_match", "acc", "acc_norm", "em", "pass@1", "mc1", "prompt_level_strict_acc")
#: Metrics of aggregates that may stand for the continuous score: whether smaller is better.
CONTINUOUS_METRICS = {"brier_score": True, "perplexity": True, "word_perplexity": True, "bits_per_byte": True}
TARGET_LOG_LIKELIHOOD = "log-likelihood of the target"
_DATE = re.compile(r"_(\d{4}-\d{2}-\d{2}T[\d.-]+)$")
_STEP = re.compile(r"step[-_]?(\d+)")


@dataclass(frozen=True, eq=False)
class ModelRun:
    """One results file: a model, its tasks, and the samples beside it.

    Args:
        path: The results file.
        model: Name of the model, with its revision where that is not the main one.
        parameters: Number of parameters; None where the tool did not note it.
        step: Training step in the name of the revision; None where there is none.
        content: The whole file.
    """

    path: Path
    model: str
    parameters: float | None
    step: int | None
    content: JsonObject

    def metrics(self, task: str) -> dict[str, float]:
        """Metric with its filter -> its value; standard errors are left out."""
        row = json_object(json_object(self.content.get("results")).get(task))
        values = {}
        for key, value in row.items():
            number = None if isinstance(value, bool) else json_number(value)
            if "," in key and "_stderr," not in key and number is not None:
                values[key] = number
        return values

    def stderr(self, task: str, metric: str) -> float | None:
        """The standard error of a metric, where the tool gives one."""
        name, _, filter_ = metric.partition(",")
        row = json_object(json_object(self.content.get("results")).get(task))
        return json_number(row.get(f"{name}_stderr,{filter_}"))

    def n_samples(self, task: str) -> float | None:
        """The number of items that were asked."""
        counts = json_object(json_object(self.content.get("n-samples")).get(task))
        return json_number(counts.get("effective"))

    def output_type(self, task: str) -> str:
        """What kind of request the task makes, e.g. "multiple_choice"."""
        return str(json_object(json_object(self.content.get("configs")).get(task)).get("output_type", ""))

    def samples_path(self, task: str) -> Path | None:
        """The file of the task's samples of the same run; None where there is none."""
        date = _DATE.search(self.path.stem)
        name = f"samples_{task}_{date[1]}.jsonl" if date else f"samples_{task}.jsonl"
        path = self.path.with_name(name)
        return path if path.is_file() else None


@dataclass(frozen=True, eq=False)
class TaskModels:
    """The models that were asked a task.

    Args:
        task: Name of the task.
        runs: Their runs.
        sizes: Results file -> size.
        size_name: What the sizes are.
        sharp: The metric that is the sharp score, with its filter.
        source: The folder, for sentences.
        choice: What the user said.
    """

    task: str
    runs: Sequence[ModelRun]
    sizes: dict[Path, float]
    size_name: str
    sharp: str
    source: str
    choice: ColumnChoice

    @property
    def offers_options(self) -> bool:
        """Whether a guess level is the task's own: among several tasks it is that of multiple choice alone."""
        return self.choice.task is not None or self.is_multiple_choice

    @property
    def is_multiple_choice(self) -> bool:
        """Whether the task is multiple choice."""
        return "multiple_choice" in {run.output_type(self.task) for run in self.runs}

    def with_chance(self, table: pl.DataFrame) -> pl.DataFrame:
        """The table with the score of guessing where the user gave it."""
        if self.choice.chance is None or not self.offers_options:
            return table
        return table.with_columns(chance=pl.lit(given_chance(self.choice.chance)))


def is_lm_eval_result(content: object) -> bool:
    """Whether JSON is what lm-evaluation-harness writes of a model."""
    return isinstance(content, dict) and {"results", "configs", "versions"} <= content.keys()


def read_lm_eval(files: Iterable[Path], source: str, choice: ColumnChoice) -> list[TaskScores]:
    """The scores of each task of several results files.

    Raises:
        UsageError: A size or a guess level is not noted, or a model has two results; the sentence says what to do.
        DataError: The models have no task in common.
    """
    runs = [run for run in map(_model_run, sorted(files)) if run is not None]
    if not runs:
        raise UsageError(f"{source} holds no results of lm-evaluation-harness; name the folder that it wrote.")
    tasks = _common_tasks(runs, source, choice)
    sizes, size_name = _sizes(runs, source, choice)
    return [_task_scores(task, runs, sizes, size_name, source, choice) for task in tasks]


def _model_run(path: Path) -> ModelRun | None:
    content = load_json_file(path)
    if not is_lm_eval_result(content):
        return None
    content = json_object(content)
    config = json_object(content.get("config"))
    revision = str(config.get("model_revision") or "main")
    arguments = config.get("model_args")
    if isinstance(arguments, dict) and arguments.get("revision"):
        revision = str(arguments["revision"])
    elif isinstance(arguments, str) and (named := re.search(r"revision=([^,]+)", arguments)):
        revision = named[1]
    name = str(content.get("model_name") or path.parent.name)
    step = _STEP.fullmatch(revision)
    return ModelRun(
        path=path,
        model=name if revision == "main" else f"{name} {revision}",
        parameters=json_number(config.get("model_num_parameters")),
        step=int(step[1]) if step else None,
        content=content,
    )


def _common_tasks(runs: Sequence[ModelRun], source: str, choice: ColumnChoice) -> list[str]:
    """The tasks that were asked of every model; groups of tasks, which have no items of their own, are left out."""
    tasks: list[str] = []
    for run in runs:
        groups = {name for name, members in json_object(run.content.get("group_subtasks")).items() if members}
        tasks += [name for name in json_object(run.content.get("results")) if name not in groups and name not in tasks]
    wanted = [task for task in tasks if choice.task in (None, task)]
    if not wanted:
        raise UsageError(f"--task {choice.task} is none of {source}: {', '.join(tasks[:8])}; take one of these.")
    for task in wanted:
        models = [run.model for run in runs if run.metrics(task)]
        twice = next((model for model in models if models.count(model) > 1), None)
        if twice is not None:
            files = [str(run.path) for run in runs if run.model == twice and run.metrics(task)]
            raise UsageError(f"{twice} has {len(files)} results of {task}; keep one, e.g. move {files[0]} away.")
    return wanted


def _sizes(runs: Sequence[ModelRun], source: str, choice: ColumnChoice) -> tuple[dict[Path, float], str]:
    """The size of each run, and what it is: parameters, or steps where all runs are checkpoints of one model."""
    steps = [run.step for run in runs]
    parameters = {run.parameters for run in runs}
    if len(parameters) == 1 and len({*steps}) > 1 and None not in steps and not choice.model_sizes:
        return {run.path: float(run.step or 0) for run in runs if run.step}, "step in model_revision"
    noted = all(run.parameters is not None for run in runs)
    names = "model_num_parameters" if noted and not choice.model_sizes else "model_name"
    return {run.path: size_of_model(run.model.split(" ")[0], run.parameters, choice, source) for run in runs}, names


def _task_scores(
    task: str, runs: Sequence[ModelRun], sizes: dict[Path, float], size_name: str, source: str, choice: ColumnChoice
) -> TaskScores:
    present = [run for run in runs if run.metrics(task) and run.path in sizes]
    notes = []
    absent = [run.model for run in runs if run not in present and run.path in sizes]
    if absent:
        notes.append(f"{len(absent)} of {len(runs)} models have no result of {task}, e.g. {absent[0]}.")
    if any(run.step == 0 and run.path not in sizes for run in runs):
        notes.append("Step 0 has no logarithm, so it is left out.")
    _check_one_model_a_size(task, present, sizes, source)
    sharp = _sharp_metric(task, present, source, choice)
    metrics = {metric for run in present for metric in run.metrics(task) if metric.split(",")[0] in SHARP_METRICS}
    if others := ", ".join(f"`{one}`" for one in sorted(metrics - {sharp})):
        notes.append(f"`{sharp}` is taken; there is also {others} (--sharp).")
    models = TaskModels(task, present, sizes, size_name, sharp, source, choice)
    lacking = [run.model for run in present if run.samples_path(task) is None]
    if not lacking:
        return _item_scores(models, notes)
    notes.append(f"{lacking[0]} has no samples of {task}; lm_eval logs them when asked to, and the test says more.")
    return _aggregate_scores(models, notes)


def _check_one_model_a_size(task: str, runs: Sequence[ModelRun], sizes: dict[Path, float], source: str) -> None:
    by_size: dict[float, list[str]] = {}
    for run in runs:
        by_size.setdefault(sizes[run.path], []).append(run.model)
    size, models = max(by_size.items(), key=lambda pair: len(pair[1]), default=(0.0, []))
    if len(models) > 1:
        raise UsageError(
            f"{source} has {len(models)} models of the size {size:,.0f} for {task} ({', '.join(models[:3])}); "
            "move all but one away, or give tables with a column of seeds."
        )


def _sharp_metric(task: str, runs: Sequence[ModelRun], source: str, choice: ColumnChoice) -> str:
    """The metric with its filter, of those that every model has."""
    shared = [metric for metric in runs[0].metrics(task) if all(metric in run.metrics(task) for run in runs)]
    wanted = [choice.sharp] if choice.sharp is not None else list(SHARP_METRICS)
    for name in wanted:
        for metric in shared:
            if name in (metric, metric.split(",")[0]):
                return metric
    asked = "" if choice.sharp is None else f" {choice.sharp!r},"
    names = ", ".join(f"`{metric}`" for metric in shared[:8]) or "none"
    command = choice.command(source, "--task", task, "--sharp", "METRIC")
    raise UsageError(f"{task} has no sharp score{asked} but {names}; name a metric between 0 and 1: {command}.")


def _item_scores(models: TaskModels, notes: list[str]) -> TaskScores:
    """The scores of each item, from the samples."""
    choice = models.choice
    rows: list[dict[str, object]] = []
    for run in models.runs:
        path = run.samples_path(models.task)
        assert path is not None
        for row in sample_rows(path, models.sharp, run.output_type(models.task), choice):
            rows.append({"size": models.sizes[run.path], **row})
    table = pl.DataFrame(rows, infer_schema_length=None)
    names = {"size": models.size_name, "sharp": models.sharp, "item": "doc_id"}
    if "continuous" in table.columns and table["continuous"].null_count():
        table = table.drop("continuous")
        notes = [*notes, "Not every sample holds the log-likelihood of its target, so none is taken."]
    if "continuous" in table.columns:
        names["continuous"] = choice.continuous or TARGET_LOG_LIKELIHOOD
    if choice.chance is None and "chance" in table.columns:
        names["chance"] = "1 / number of options"
    return TaskScores(
        source=models.source,
        task=models.task,
        table=models.with_chance(table),
        names=names,
        log_likelihood=choice.log_likelihood or names.get("continuous") == TARGET_LOG_LIKELIHOOD,
        lower_is_better=choice.lower_is_better or _falls_by_sample(choice.continuous),
        notes=tuple(notes),
    )


def _falls_by_sample(metric: str | None) -> bool:
    """Whether a sample's number falls as a model gets better; under `perplexity` a sample has its log-likelihood."""
    name = (metric or "").split(",")[0]
    return name != "perplexity" and is_lower_better(name)


def _aggregate_scores(models: TaskModels, notes: list[str]) -> TaskScores:
    """The means of each model with their number of items, or with their standard errors."""
    task, choice = models.task, models.choice
    if models.is_multiple_choice and choice.chance is None:
        command = choice.command(models.source, "--task", task, "--chance", "0.25")
        raise UsageError(f"{task} is multiple choice, and without samples nothing says what guessing gets: {command}.")
    continuous = _continuous_metric(task, models.runs, choice)
    types = {"asked": pl.Float64, "stderr": pl.Float64}
    rows = [_aggregate_row(run, models, continuous) for run in models.runs]
    table = pl.DataFrame(rows, schema_overrides=types, infer_schema_length=None)
    if table["asked"].null_count():
        table = table.with_columns(pl.col("stderr").fill_null(0.0), __row__=pl.int_range(1, pl.len() + 1))
        table, note = with_items_of_stderr(table, models.source, choice)
        notes = [*notes, note]
    table = table.with_columns(right=(pl.col("sharp") * pl.col("asked")).round())
    if "error" in table.columns and not table["error"].null_count():
        table = table.rename({"error": "continuous_stderr"})
    elif continuous is not None:
        notes = [*notes, exact_note(continuous)]
    keep = ("size", "right", "asked", "continuous", "continuous_stderr", "chance")
    table = models.with_chance(table)
    lower = continuous is not None and (choice.lower_is_better or is_lower_better(continuous.split(",")[0]))
    return TaskScores(
        source=models.source,
        task=task,
        table=table.select([name for name in keep if name in table.columns]),
        names={"size": models.size_name, "sharp": models.sharp} | ({"continuous": continuous} if continuous else {}),
        log_likelihood=choice.log_likelihood,
        lower_is_better=lower,
        notes=(*notes, AGGREGATES_NOTE),
    )


def _aggregate_row(run: ModelRun, models: TaskModels, continuous: str | None) -> dict[str, object]:
    """A model's means, with what the results file says of their number of items and standard errors."""
    task, choice = models.task, models.choice
    row: dict[str, object] = {"size": models.sizes[run.path], "sharp": run.metrics(task)[models.sharp]}
    row["asked"] = json_number(choice.n) if choice.n else run.n_samples(task)
    row["stderr"] = run.stderr(task, models.sharp)
    if continuous is None:
        return row
    value, error = run.metrics(task)[continuous], run.stderr(task, continuous)
    return row | (_on_log_scale(value, error) if "perplexity" in continuous else {"continuous": value, "error": error})


def _continuous_metric(task: str, runs: Sequence[ModelRun], choice: ColumnChoice) -> str | None:
    if choice.continuous == "none":
        return None
    shared = [metric for metric in runs[0].metrics(task) if all(metric in run.metrics(task) for run in runs)]
    for name in [choice.continuous] if choice.continuous is not None else CONTINUOUS_METRICS:
        for metric in shared:
            if name in (metric, metric.split(",")[0]):
                return metric
    if choice.continuous is not None:
        raise UsageError(f"{task} has no metric {choice.continuous!r} in all models, but {', '.join(shared[:8])}.")
    return None


def _on_log_scale(perplexity: float, stderr: float | None) -> dict[str, object]:
    """A perplexity as nats, with its standard error by the delta method."""
    if perplexity <= 0:
        raise DataError(f"a perplexity of {perplexity:g} cannot be; look at the results file.")
    error = None if stderr is None else stderr / perplexity
    return {"continuous": math.log(perplexity), "error": error}
