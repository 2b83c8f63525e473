"""Logs of inspect_ai, `.eval` and `.json`, through its own reader, which knows every version of its format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from nosce.analysis.emergence.readers.base import ColumnChoice, TaskScores, json_number
from nosce.analysis.emergence.readers.logs import Row, TaskLog, scores_of_logs
from nosce.errors import UsageError

#: What inspect's scorers write for right, wrong, partly right and no answer (inspect_ai.scorer).
LETTER_SCORES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}


class _Score(Protocol):
    """Of a sample: `inspect_ai.scorer.Score`."""

    value: object


class _Sample(Protocol):
    """`inspect_ai.log.EvalSample`."""

    id: int | str
    epoch: int
    choices: list[str] | None
    scores: dict[str, _Score] | None


class _Metric(Protocol):
    """`inspect_ai.log.EvalMetric`."""

    value: float


class _ScorerResult(Protocol):
    """`inspect_ai.log.EvalScore`."""

    name: str
    metrics: dict[str, _Metric]


class _Results(Protocol):
    """`inspect_ai.log.EvalResults`."""

    scores: list[_ScorerResult]
    completed_samples: int


class _Config(Protocol):
    """`inspect_ai.log.EvalConfig`."""

    epochs: int | None


class _Spec(Protocol):
    """`inspect_ai.log.EvalSpec`."""

    task: str
    model: str
    config: _Config


class _Log(Protocol):
    """`inspect_ai.log.EvalLog`."""

    status: str
    eval: _Spec
    results: _Results | None
    samples: list[_Sample] | None


def is_inspect_log(content: object) -> bool:
    """Whether JSON is a log of inspect_ai."""
    return isinstance(content, dict) and {"version", "status", "eval"} <= content.keys()


def read_inspect(files: Sequence[Path], source: str, choice: ColumnChoice) -> list[TaskScores]:
    """The scores of each task of several logs.

    Raises:
        UsageError: inspect_ai is not installed, a log cannot be read or is of a run that did not finish.
    """
    try:
        from inspect_ai.log import read_eval_log
    except ImportError:
        raise UsageError(
            f"{source} holds logs of inspect_ai, whose own reader is needed; `pip install 'nosce[inspect]'`."
        ) from None
    logs, tasks = [], []
    for file in sorted(files):
        try:
            log = read_eval_log(str(file))
        except Exception as error:  # pydantic's, zip's and inspect's own
            reason = str(error).split("\n", 1)[0][:200]
            raise UsageError(f"{file} cannot be read by inspect_ai ({reason}); look at the file.") from None
        tasks.append(str(log.eval.task).rpartition("/")[2])
        if choice.task in (None, tasks[-1]):
            logs.append(_task_log(file, log, choice))
    if not logs:
        known = ", ".join(dict.fromkeys(tasks))
        raise UsageError(f"--task {choice.task} is none of {source}: {known}; take one of these.")
    return scores_of_logs(logs, source, choice)


def _task_log(file: Path, log: _Log, choice: ColumnChoice) -> TaskLog:
    if log.status != "success":
        raise UsageError(f"{file} is of a run with the status {log.status!r}; run it to its end, or move the log away.")
    scorers = _scorers(file, log, choice)
    names = {"sharp": scorers[0]} | ({"continuous": scorers[1]} if len(scorers) > 1 else {})
    task = str(log.eval.task).rpartition("/")[2]
    if not log.samples:
        # A sample is counted once an epoch, and its answers are one item's.
        asked = (log.results.completed_samples if log.results else 0) // (log.eval.config.epochs or 1)
        accuracy = _metric(file, log, scorers[0])
        rows: list[Row] = [{"right": round(accuracy * asked), "asked": float(asked)}]
        return TaskLog(path=str(file), task=task, model=str(log.eval.model), rows=rows, names=names)
    epochs = {sample.epoch for sample in log.samples}
    rows = []
    options = False
    for sample in log.samples:
        row: Row = {"item": str(sample.id)} | ({"seed": sample.epoch} if len(epochs) > 1 else {})
        for role, scorer in zip(("sharp", "continuous"), scorers, strict=False):
            row[role] = _score(file, sample, scorer)
        if sample.choices and choice.chance is None:
            options = True
            row["chance"] = 1 / len(sample.choices)
        rows.append(row)
    names |= {"item": "sample id"} | ({"seed": "epoch"} if len(epochs) > 1 else {})
    return TaskLog(
        path=str(file), task=task, model=str(log.eval.model), rows=rows, names=names, is_multiple_choice=options
    )


def _scorers(file: Path, log: _Log, choice: ColumnChoice) -> list[str]:
    """The scorer of the sharp score, and that of the continuous one where it was named."""
    known = list(dict.fromkeys(str(score.name) for score in log.results.scores)) if log.results else []
    wanted = [choice.sharp or (known[0] if known else "")]
    if choice.continuous not in (None, "none"):
        wanted.append(str(choice.continuous))
    for name in wanted:
        if name not in known:
            shown = ", ".join(known) or "none"
            raise UsageError(f"{file} has no scorer {name!r}, but {shown}; name one with --sharp or --continuous.")
    return wanted


def _score(file: Path, sample: _Sample, scorer: str) -> float:
    score = (sample.scores or {}).get(scorer)
    value = None if score is None else score.value
    number = LETTER_SCORES.get(value) if isinstance(value, str) else None
    number = json_number(value) if number is None else number
    if number is None:
        raise UsageError(
            f"{file} has no number of {scorer!r} for the sample {str(sample.id)[:40]!r}; missing is not zero, so score "
            "the log again, or move it away."
        )
    return number


def _metric(file: Path, log: _Log, scorer: str) -> float:
    results = log.results.scores if log.results else []
    metrics = next((score.metrics for score in results if score.name == scorer), {})
    for name in ("accuracy", "mean"):
        if name in metrics and (number := json_number(metrics[name].value)) is not None:
            return number
    raise UsageError(f"{file} has no samples, and {scorer!r} has neither accuracy nor mean; give a log with samples.")
