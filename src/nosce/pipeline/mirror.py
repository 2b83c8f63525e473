"""`nosce mirror`: the metrics of a study's trainings, sent on to TensorBoard, trackio or wandb.

Nothing of a training knows of these tools: the mirror reads `metrics.jsonl` of finished trainings and of those under
way, so that it can be started, stopped and started again at any time, on another machine that sees the store too.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nosce.errors import UsageError
from nosce.pipeline.command_lines import command_line
from nosce.pipeline.metric_sinks import MetricSink
from nosce.pipeline.plan_record import PlanRecord
from nosce.store.store import Store

FOLLOW_SECONDS = 5.0  # between two looks at trainings under way
METRICS_FILE = "metrics.jsonl"


@dataclass(eq=False)
class TrainingMetrics:
    """The metrics of one training, of which each line is read once.

    Attributes:
        store: The store.
        step_name: The training's name in the store.
        label: Its name for people, e.g. "single, seed 0, pretrain".
        run_name: Its name in the other tool, which serves as a folder's name too.
        last_step: The optimizer step of the last line that was read.
    """

    store: Store
    step_name: str
    label: str
    run_name: str
    last_step: int = field(default=0)

    def new_lines(self) -> Iterator[tuple[int, Mapping[str, float]]]:
        """The optimizer step and the numbers of each line that was not read yet; none where the training waits."""
        for folder in (self.store.folder(self.step_name), self.store.work_folder(self.step_name)):
            if (text := _text(folder / METRICS_FILE)) is not None:
                break
        else:
            return
        for line in text.splitlines():
            parsed = _parse_line(line)
            if parsed is not None and parsed[0] > self.last_step:
                self.last_step = parsed[0]
                yield parsed

    @property
    def is_finished(self) -> bool:
        """Is the training finished, so that no line will follow?"""
        return self.store.has(self.step_name)


def _text(path: Path) -> str | None:
    """The text of a file; None where there is none, for instance as a training is moved to its place."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _parse_line(line: str) -> tuple[int, Mapping[str, float]] | None:
    """The step and the numbers of a line; None for half a line, which a training is just writing."""
    try:
        values = json.loads(line)
        step = int(values.pop("step"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
    return step, numbers


def find_trainings(store: Store, study: str, scale: str | None, variant: str | None) -> list[TrainingMetrics]:
    """The trainings of the plan of a study that was run or planned last.

    Raises:
        UsageError: The store has no plan of the study, or the plan has no trainings.
    """
    named = [record for record in PlanRecord.load_all(store) if study in (record.study, record.requested_as)]
    matching = [r for r in named if scale in (None, r.scale) and variant in (None, r.variant)]
    if variant is None:
        matching = [record for record in matching if not record.variant] or matching
    if not matching:
        at_scale = ["--scale", scale] if scale else []
        command = command_line("run", study, *at_scale, store=store)
        raise UsageError(f"nothing of {study!r} is in {store.root}; make it with `{command}`.")
    plan, found = matching[0], dict[str, TrainingMetrics]()
    for name, step in plan.steps.items():
        if step.description.get("kind") == "training":
            run_name = f"{plan.study}-{plan.scale}/" + (re.sub(r"[^\w+.-]+", "_", step.label).strip("._") or "training")
            run_name = f"{run_name}-{name[-6:]}" if run_name in found else run_name
            found[run_name] = TrainingMetrics(store=store, step_name=name, label=step.label, run_name=run_name)
    if not found:
        raise UsageError(
            f"{plan.study} at scale {plan.scale} trains nothing, so there are no metrics; name another study."
        )
    return list(found.values())


def mirror_metrics(
    trainings: list[TrainingMetrics],
    sink: MetricSink,
    *,
    follow: bool,
    wait: Callable[[float], None] = time.sleep,
) -> tuple[int, int]:
    """Send the metrics on.

    Args:
        trainings: The trainings.
        sink: Where the metrics go; it is closed at the end, an interrupt included.
        follow: Look again until all trainings are finished.
        wait: Waits so many seconds.

    Returns:
        The number of trainings with metrics, and the number of lines that were sent.
    """
    n_lines, open_trainings = 0, trainings
    try:
        while True:
            # Finished or not is asked before the lines are read, so that the last lines of a training are not missed.
            unfinished = [training for training in open_trainings if not training.is_finished]
            for training in open_trainings:
                for step, numbers in training.new_lines():
                    sink.add(training.run_name, step, numbers)
                    n_lines += 1
                if training not in unfinished:
                    sink.end(training.run_name)
            sink.flush()
            if not follow or not unfinished:
                break
            open_trainings = unfinished
            wait(FOLLOW_SECONDS)
    finally:
        sink.close()
    return sum(training.last_step > 0 for training in trainings), n_lines
