"""Runs of HELM: `stats.json` with `run_spec.json`, and `per_instance_stats.json` where a run has it.

Source: stanford-crfm/helm, `benchmark/runner.py` and `benchmark/metrics/{statistic,metric}.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nosce.analysis.emergence.readers.base import (
    ColumnChoice,
    TaskScores,
    json_list,
    json_number,
    json_object,
    load_json_file,
)
from nosce.analysis.emergence.readers.logs import Row, TaskLog, scores_of_logs
from nosce.errors import DataError, UsageError

#: Metrics that are 0 or 1 of an instance, in the order in which one is taken.
SHARP_METRICS_OF_HELM = ("exact_match", "quasi_exact_match", "final_number_exact_match", "math_equiv", "pass@1")
SPLITS = ("test", "valid")


def read_helm(runs: Sequence[Path], source: str, choice: ColumnChoice) -> list[TaskScores]:
    """The scores of each scenario of several run folders.

    Raises:
        UsageError: A run lacks a file or a metric, or its size is not known; the sentence says what to do.
    """
    return scores_of_logs([_task_log(run, choice) for run in sorted(runs)], source, choice)


def _task_log(run: Path, choice: ColumnChoice) -> TaskLog:
    spec_file = run / "run_spec.json"
    if not spec_file.is_file():
        raise UsageError(f"{run} has stats.json and no run_spec.json, which names the model; copy it there.")
    spec = json_object(load_json_file(spec_file))
    adapter = json_object(spec.get("adapter_spec"))
    model = str(adapter.get("model") or adapter.get("model_deployment") or run.name)
    name = str(spec.get("name") or run.name)
    parts = name.replace(":", ",", 1).split(",")
    task = ",".join(part for part in parts if not part.startswith(("model=", "model_deployment=")))
    multiple_choice = str(adapter.get("method", "")).startswith("multiple_choice")
    instances = run / "per_instance_stats.json"
    rows, names = _instance_rows(instances, choice) if instances.is_file() else _stat_rows(run, choice)
    return TaskLog(
        path=str(run),
        task=task,
        model=model,
        rows=rows,
        names=names,
        is_multiple_choice=multiple_choice,
    )


def _stats(value: object) -> dict[str, float]:
    """Metric -> mean, of the unperturbed test instances."""
    means: dict[str, float] = {}
    for stat in json_list(value):
        entry = json_object(stat)
        name = json_object(entry.get("name"))
        mean = json_number(entry.get("mean"))
        if name.get("split") in (*SPLITS, None) and not name.get("perturbation") and mean is not None:
            means.setdefault(str(name.get("name")), mean)
    return means


def _chosen_metric(file: Path, means: dict[str, float], wanted: Sequence[str]) -> str:
    for name in wanted:
        if name in means:
            return name
    shown = ", ".join(list(means)[:8]) or "none"
    raise UsageError(
        f"{file} has no metric {' or '.join(wanted[:2])}, but {shown}; name one with --sharp or --continuous."
    )


def _stat_rows(run: Path, choice: ColumnChoice) -> tuple[list[Row], dict[str, str]]:
    """The mean over all instances, with their number."""
    file = run / "stats.json"
    means = _stats(load_json_file(file))
    sharp = _chosen_metric(file, means, [choice.sharp] if choice.sharp else SHARP_METRICS_OF_HELM)
    asked = json_number(choice.n) if choice.n is not None else means.get("num_instances")
    if asked is None or asked < 1:
        raise UsageError(f"{file} does not say how many instances (num_instances); give --n, e.g. --n 500.")
    row: Row = {"right": float(round(means[sharp] * asked)), "asked": float(asked)}
    names = {"sharp": sharp}
    if choice.continuous not in (None, "none"):
        names["continuous"] = _chosen_metric(file, means, [str(choice.continuous)])
        row["continuous"] = means[names["continuous"]]
    return [row], names


def _instance_rows(file: Path, choice: ColumnChoice) -> tuple[list[Row], dict[str, str]]:
    """One row an instance and training trial."""
    entries = [json_object(entry) for entry in json_list(load_json_file(file))]
    entries = [entry for entry in entries if not entry.get("perturbation")]
    if not entries:
        raise DataError(f"{file} has no unperturbed instance, so there is nothing to audit.")
    first = _stats(entries[0].get("stats"))
    sharp = _chosen_metric(file, first, [choice.sharp] if choice.sharp else SHARP_METRICS_OF_HELM)
    names = {"sharp": sharp, "item": "instance_id"}
    if choice.continuous not in (None, "none"):
        names["continuous"] = _chosen_metric(file, first, [str(choice.continuous)])
    trials = {str(entry.get("train_trial_index")) for entry in entries}
    rows: list[Row] = []
    for entry in entries:
        means = _stats(entry.get("stats"))
        row: Row = {"item": str(entry.get("instance_id"))}
        for role in ("sharp", "continuous"):
            if role in names and names[role] not in means:
                raise DataError(
                    f"{file} has no {names[role]} of {row['item']!r}; missing is not zero, so drop it in all."
                )
            if role in names:
                row[role] = means[names[role]]
        rows.append(row | ({"seed": str(entry.get("train_trial_index"))} if len(trials) > 1 else {}))
    return rows, names | ({"seed": "train_trial_index"} if len(trials) > 1 else {})
