"""What a person sees while steps are made: live lines on a terminal, plain lines anywhere else."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from nosce.pipeline.context import StepProgress
from nosce.pipeline.local_pool import StepEvent
from nosce.pipeline.step import Step
from nosce.store.text import literal

PLAIN_LINE_SECONDS = 15.0  # between two plain lines about one step
BAR_COLUMNS = 100  # width of a terminal from which there is room for a bar


class _TimeLeftColumn(TimeRemainingColumn):
    """The time left of a step as its own items tell it; of the whole run by the steps that are done."""

    def render(self, task: Task) -> Text:
        """The text of a line."""
        left = task.fields.get("left")
        return super().render(task) if left is None else Text(literal(str(left)), style="progress.remaining")


class _ShareColumn(ProgressColumn):
    """The share that is done; nothing where it is not known how much there is to do."""

    def render(self, task: Task) -> Text:
        """The text of a line."""
        return Text(f"{task.percentage:>3.0f} %" if task.total else "", style="progress.percentage")


@dataclass
class _Pace:
    """Estimates the time left from the items that were made here; those found in a cache took none.

    Args:
        unit: Name of the items.
        began_at: Time of the first report.
        made_before: Number of items made by then.
    """

    unit: str
    began_at: float
    made_before: int

    def seconds_left(self, report: StepProgress, now: float) -> float | None:
        """Seconds until all items are done; None where nothing says so."""
        made, seconds = report.done - report.cached - self.made_before, now - self.began_at
        if report.total is None or made <= 0 or seconds <= 0:
            return None
        return max(0, report.total - report.done) * seconds / made


class ConsoleProgress:
    """Tells a console what happens; a context manager that owns the live display while it is open."""

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.total, self.done = console, total, 0
        self.started_steps: dict[str, Step] = {}
        self.made: set[str] = set()  # or found made by another process
        self.live = console.is_terminal
        self._started_at: dict[str, float] = {}
        self._last_line_at: dict[str, float] = {}  # when the last plain line about a step was printed
        self._bars: dict[str, TaskID] = {}
        self._paces: dict[str, _Pace] = {}
        self._last_reports: dict[str, StepProgress] = {}
        self._progress = Progress(*_columns(console.width), console=console, transient=True, disable=not self.live)
        self._total_task = self._progress.add_task("all steps", total=total, status=f"0 of {total}")

    def __enter__(self) -> Self:
        if self.live:  # where nothing moves, rich 13 ends a display that never began with an empty line
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self._progress.stop()

    def on_start(self, step: Step) -> None:
        """A step has been handed to a worker."""
        self.started_steps[step.name] = step
        self._started_at[step.name] = self._last_line_at[step.name] = time.monotonic()
        self._paces.pop(step.name, None)
        self._last_reports.pop(step.name, None)
        if self.live:
            label = literal(f"{step.kind}: {step.label}")
            self._bars[step.name] = self._progress.add_task(label, total=None, status="begins", left="")

    def on_event(self, step: Step, event: StepEvent) -> None:
        """A worker has told how far it is, or that it is done."""
        if event.kind == "progress":
            assert isinstance(event.detail, StepProgress)
            self._show_progress(step, event.detail)
            return
        if (bar := self._bars.pop(step.name, None)) is not None:
            self._progress.remove_task(bar)
        if event.kind in ("made", "found"):
            self.done += 1
            self.made.add(step.name)
            self._progress.update(self._total_task, completed=self.done, status=f"{self.done} of {self.total}")
            if event.kind == "made" and (step.kind in ("training", "experiment") or not self.live):
                self.on_message(f"[{self.done}/{self.total}] {step.kind}: {step.label} ({self._summary(step)})")

    def on_message(self, message: str) -> None:
        """Print a sentence above whatever moves."""
        self.console.print(literal(message), soft_wrap=True, highlight=False)

    def _summary(self, step: Step) -> str:
        """How long a step took, and of replies how many there were and where they came from."""
        now = time.monotonic()
        elapsed = f"{now - self._started_at.get(step.name, now):.0f} s"
        report = self._last_reports.get(step.name)
        return elapsed if report is None or report.unit != "replies" else f"{_items(report)}; {elapsed}"

    def _show_progress(self, step: Step, report: StepProgress) -> None:
        now = time.monotonic()
        pace = self._paces.get(step.name)
        if pace is None or pace.unit != report.unit:  # an experiment that teaches a model and then prompts it
            pace = self._paces[step.name] = _Pace(report.unit, now, report.done - report.cached)
        left = _format_left(pace.seconds_left(report, now))
        if report.unit == "replies" or step.name not in self._last_reports:
            self._last_reports[step.name] = report
        status = ", ".join(_status_parts(report))
        if step.name in self._bars:
            bar = self._bars[step.name]
            self._progress.update(bar, completed=report.done, total=report.total, status=literal(status), left=left)
        elif not self.live and now - self._last_line_at.get(step.name, 0) > PLAIN_LINE_SECONDS:
            self._last_line_at[step.name] = now
            line = f"[{self.done}/{self.total}] {step.kind}: {step.label}: {status}"
            self.on_message(f"{line}, {left} left" if left else line)


def _columns(width: int) -> list[ProgressColumn]:
    """The columns of the live display: label and status below each other, and a bar where there is room for it."""
    text = TextColumn("{task.description}\n  {task.fields[status]}", table_column=Column(overflow="fold"))
    bar = [BarColumn(bar_width=16)] if width >= BAR_COLUMNS else []
    return [text, *bar, _ShareColumn(), TimeElapsedColumn(), _TimeLeftColumn()]


def _items(report: StepProgress) -> str:
    """The items that are done, e.g. "120 of 400 replies, 80 from the cache"."""
    of_all = "" if report.total is None else f" of {report.total:,}"
    cached = f", {report.cached:,} from the cache" if report.cached else ""
    return f"{report.done:,}{of_all} {report.unit}{cached}"


def _status_parts(report: StepProgress) -> list[str]:
    parts = [_items(report)]
    if report.tokens_per_second:
        parts.append(f"{report.tokens_per_second:,.0f} loss tokens/s")
    if report.loss is not None and math.isfinite(report.loss):
        parts.append(f"loss {report.loss:.3f}")
    if report.spent is not None:
        parts.append(f"{report.spent:.3g} spent")
    return parts


def _format_left(seconds: float | None) -> str:
    """A time as people say it, e.g. "40 s", "3 min" or "2.5 h"; empty where it is not known."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3_600:.1f} h"


def format_bytes(size: float) -> str:
    """A size in megabytes, or in gigabytes from one on."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"
