"""What a person sees while steps are made: live bars on a terminal, plain lines anywhere else."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from nosce.pipeline.local_pool import StepEvent
from nosce.pipeline.plan import Step
from nosce.store.text import literal

PLAIN_LINE_SECONDS = 15.0  # between two plain lines about one step


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
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not self.live,
        )
        self._total_task = self._progress.add_task("all steps", total=total, rate="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def on_start(self, step: Step) -> None:
        """A step has been handed to a worker."""
        self.started_steps[step.name] = step
        self._started_at[step.name] = self._last_line_at[step.name] = time.monotonic()
        if self.live:
            label = literal(f"{step.kind}: {step.label}")
            self._bars[step.name] = self._progress.add_task(label, total=None, rate="")

    def on_event(self, step: Step, event: StepEvent) -> None:
        """A worker has told how far it is, or that it is done."""
        if event.kind == "progress":
            assert isinstance(event.detail, tuple)
            self._show_progress(step, *event.detail)
            return
        if (bar := self._bars.pop(step.name, None)) is not None:
            self._progress.remove_task(bar)
        if event.kind in ("made", "found"):
            self.done += 1
            self.made.add(step.name)
            self._progress.update(self._total_task, completed=self.done)
            elapsed = time.monotonic() - self._started_at.get(step.name, time.monotonic())
            if event.kind == "made" and (step.kind == "training" or not self.live):
                self.on_message(f"[{self.done}/{self.total}] {step.kind}: {step.label} ({elapsed:.0f} s)")

    def on_message(self, message: str) -> None:
        """Print a sentence above whatever moves."""
        self.console.print(literal(message), soft_wrap=True, highlight=False)

    def _show_progress(self, step: Step, done: int, total: int, rate: float, loss: float) -> None:
        status = f"{rate:,.0f} tokens/s" if rate else f"{done}/{total}"
        if math.isfinite(loss):
            status += f", loss {loss:.3f}"
        if step.name in self._bars:
            self._progress.update(self._bars[step.name], completed=done, total=total, rate=status)
        elif not self.live and time.monotonic() - self._last_line_at.get(step.name, 0) > PLAIN_LINE_SECONDS:
            self._last_line_at[step.name] = time.monotonic()
            self.on_message(f"[{self.done}/{self.total}] {step.kind}: {step.label}: {done:,} of {total:,}, {status}")


def format_bytes(size: float) -> str:
    """A size in megabytes, or in gigabytes from one on."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"
