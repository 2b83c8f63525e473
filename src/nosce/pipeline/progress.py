"""What a person sees while steps are made: live bars on a terminal, plain lines anywhere else."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from nosce.pipeline.local_pool import Event
from nosce.pipeline.plan import Step

PLAIN_SECONDS = 15.0  # between two plain lines about one step


class Terminal:
    """Tells a console what happens; a context manager that owns the live display while it is open."""

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.total, self.done = console, total, 0
        self.live = console.is_terminal
        self._begun: dict[str, float] = {}
        self._told: dict[str, float] = {}  # when the last plain line about a step was printed
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TimeRemainingColumn(),
            console=console, transient=True, disable=not self.live)  # fmt: skip
        self._all = self._progress.add_task("all steps", total=total, rate="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, step: Step) -> None:
        """A step has been handed to a worker."""
        self._begun[step.name] = self._told[step.name] = time.monotonic()
        if self.live:
            label = escape(f"{step.kind}: {step.what}")
            self._bars[step.name] = self._progress.add_task(label, total=None, rate="")

    def heard(self, step: Step, event: Event) -> None:
        """A worker has told how far it is, or that it is done."""
        if event.kind == "progress":
            self._moved(step, *event.detail)
            return
        if (bar := self._bars.pop(step.name, None)) is not None:
            self._progress.remove_task(bar)
        if event.kind in ("made", "found"):
            self.done += 1
            self._progress.update(self._all, completed=self.done)
            took = time.monotonic() - self._begun.get(step.name, time.monotonic())
            if event.kind == "made" and (step.kind == "training" or not self.live):
                self.said(f"[{self.done}/{self.total}] {step.kind}: {step.what} ({took:.0f} s)")

    def said(self, sentence: str) -> None:
        """Print a sentence above whatever moves."""
        self.console.print(escape(sentence), soft_wrap=True, highlight=False)

    def _moved(self, step: Step, done: int, of: int, rate: float, loss: float) -> None:
        words = f"{rate:,.0f} tokens/s" if rate else f"{done}/{of}"
        if math.isfinite(loss):
            words += f", loss {loss:.3f}"
        if step.name in self._bars:
            self._progress.update(self._bars[step.name], completed=done, total=of, rate=words)
        elif not self.live and time.monotonic() - self._told.get(step.name, 0) > PLAIN_SECONDS:
            self._told[step.name] = time.monotonic()
            self.said(f"[{self.done}/{self.total}] {step.kind}: {step.what}: {done:,} of {of:,}, {words}")
