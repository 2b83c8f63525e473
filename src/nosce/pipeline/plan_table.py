"""What a plan costs, as a table, as a sentence and as JSON; a cost that is not known is never written as zero."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self, TypedDict

from rich import box
from rich.console import Console
from rich.table import Table

from nosce.pipeline.cost import StepCost, makespan_minutes
from nosce.pipeline.plan import Plan
from nosce.pipeline.progress import format_bytes
from nosce.pipeline.step import Step
from nosce.store.spec import Json
from nosce.store.text import literal

MAX_TABLE_STEPS = 100  # of more steps the table has a line for each kind
PLAIN_LINE_SECONDS = 5.0  # between two plain lines about what is timed
NOT_KNOWN = "not known"


class PlanTotal(TypedDict):
    """The cost of the steps of a plan that are to do.

    Attributes:
        steps: Number of steps of the plan.
        to_do: Number of steps that are not finished.
        tokens: Tokens to train on.
        flops: Floating-point operations of training.
        disk_bytes: Size of the checkpoints that are kept.
        minutes: Expected duration on cores of this machine; None: nothing of it is known.
        not_known: Number of steps that run a model and whose time is not known, so that all amounts are the least.
        workers: Number of steps that are made at once.
    """

    steps: int
    to_do: int
    tokens: float
    flops: float
    disk_bytes: float
    minutes: float | None
    not_known: int
    workers: int


@dataclass(frozen=True)
class PricedPlan:
    """A plan with the costs of what is to do.

    Args:
        plan: The plan.
        pending: The steps that are to do.
        costs: The costs of those that run a model.
        workers: Number of steps that are made at once.
        note: A sentence on what the minutes do not say; empty: none.
    """

    plan: Plan
    pending: Sequence[Step]
    costs: Sequence[StepCost]
    workers: int
    note: str = ""

    @property
    def total(self) -> PlanTotal:
        """The costs of all steps that are to do."""
        unknown = sum(cost.seconds is None for cost in self.costs)
        is_known = unknown < len(self.costs) or not self.costs
        return {
            "steps": len(self.plan.all_steps),
            "to_do": len(self.pending),
            "tokens": sum(cost.tokens for cost in self.costs),
            "flops": sum(cost.flops for cost in self.costs),
            "disk_bytes": sum(cost.disk_bytes for cost in self.costs),
            "minutes": makespan_minutes(self.pending, self.costs, self.workers) if is_known else None,
            "not_known": unknown,
            "workers": self.workers,
        }

    def to_json(self) -> dict[str, object]:
        """The total, and every step; seconds are null where they are not known."""
        by_name = {cost.step.name: cost for cost in self.costs}
        pending_names = {step.name for step in self.pending}
        rows = [_step_json(step, step.name in pending_names, by_name.get(step.name)) for step in self.plan.all_steps]
        return {"total": self.total, "note": self.note, "steps": rows}

    def print(self, console: Console) -> None:
        """Print every step, or every kind of step where they are many, and the total as a sentence."""
        is_long = len(self.plan.all_steps) > MAX_TABLE_STEPS
        console.print(self._kinds_table() if is_long else self._steps_table())
        if is_long:
            console.print(literal(f"{len(self.plan.all_steps):,} steps; `--json` lists each of them."), highlight=False)
        console.print(self._sentence())
        if self.note:
            console.print(literal(self.note), highlight=False)

    def _steps_table(self) -> Table:
        by_name, pending_names = {cost.step.name: cost for cost in self.costs}, {step.name for step in self.pending}
        table = _table("step", "tokens", "FLOPs", "disk", "memory", "minutes")
        for step in self.plan.all_steps:
            costs = [by_name[step.name]] if step.name in by_name else []
            memory = [cost.memory for cost in costs if cost.memory is not None]
            needed = format_bytes(memory[0].total) if memory else ""
            minutes = _minutes(costs) if step.name in pending_names else "done"
            table.add_row(literal(f"{step.kind}: {step.label}"), *_amounts(costs), needed, minutes)
        return table

    def _kinds_table(self) -> Table:
        table = _table("kind", "steps", "to do", "tokens", "FLOPs", "disk", "core-minutes")
        n_pending: dict[str, int] = {}
        for step in self.pending:
            n_pending[step.kind] = n_pending.get(step.kind, 0) + 1
        n_steps: dict[str, int] = {}
        for step in self.plan.all_steps:
            n_steps[step.kind] = n_steps.get(step.kind, 0) + 1
        for kind, count in n_steps.items():
            costs = [cost for cost in self.costs if cost.step.kind == kind]
            table.add_row(kind, f"{count:,}", f"{n_pending.get(kind, 0):,}", *_amounts(costs), _minutes(costs))
        return table

    def _sentence(self) -> str:
        total = self.total
        cores = f"{total['workers']} core{'s' if total['workers'] > 1 else ''}"
        least = "at least " if total["not_known"] else ""
        what = f"the minutes of training and reading are {NOT_KNOWN}"
        if total["minutes"] is not None:
            what = f"{least}{total['minutes']:,.1f} minutes of training and reading on {cores}"
        # Tokens are counted, not timed; only where the texts took too long are they not known either.
        counted = all(cost.tokens for cost in self.costs if cost.step.kind == "training")
        few = "" if counted else "at least "
        sentence = (
            f"{total['to_do']} of {total['steps']} steps to do: {few}{total['tokens']:.3g} tokens, "
            f"{few}{total['flops']:.3g} FLOPs, {few}{total['disk_bytes'] / 1e6:,.0f} MB of checkpoints, {what}."
        )
        if total["not_known"]:
            sentence += f" The time of {total['not_known']} of these steps is {NOT_KNOWN}."
        return sentence


class TimingProgress:
    """Tells a console what is timed: one moving line on a terminal, a plain line now and then anywhere else."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._status = console.status("Looking at the plan …")
        self._last_line_at = -float("inf")

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def on_timing(self, label: str, number: int, total: int) -> None:
        """Show what is timed next."""
        where = f" ({number} of {total} kinds)" if total else ""
        sentence = literal(f"Timing {label}{where} …")
        self._status.update(sentence)
        if not self.console.is_terminal and time.monotonic() - self._last_line_at >= PLAIN_LINE_SECONDS:
            self._last_line_at = time.monotonic()
            self.console.print(sentence, soft_wrap=True, highlight=False)


def _table(first: str, *others: str) -> Table:
    """A table whose numbers stand in one line, so that a terminal of 80 columns holds them."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _amounts(costs: Iterable[StepCost]) -> tuple[str, str, str]:
    """Tokens, operations and disk of some trainings; empty where there is none."""
    trainings = [cost for cost in costs if cost.tokens]
    if not trainings:
        return "", "", ""
    return (
        f"{sum(cost.tokens for cost in trainings):.2g}",
        f"{sum(cost.flops for cost in trainings):.2g}",
        f"{sum(cost.disk_bytes for cost in trainings) / 1e6:,.0f} MB",
    )


def _minutes(costs: Sequence[StepCost]) -> str:
    """The minutes of some steps on one core."""
    if not costs:
        return ""
    known = [cost.seconds for cost in costs if cost.seconds is not None]
    if not known:
        return NOT_KNOWN
    return ("" if len(known) == len(costs) else "at least ") + f"{sum(known) / 60:,.1f}"


def _step_json(step: Step, pending: bool, step_cost: StepCost | None) -> Mapping[str, Json]:
    row: dict[str, Json] = {
        "name": step.name,
        "kind": step.kind,
        "what": step.label,
        "state": "to do" if pending else "done",
        "inputs": [given.name for given in step.inputs.values()],
    }
    if step_cost is not None:
        row["seconds"] = step_cost.seconds
    if step_cost is not None and step_cost.tokens:
        row |= {"tokens": step_cost.tokens, "flops": step_cost.flops, "disk_bytes": step_cost.disk_bytes}
        row["memory_bytes"] = None if step_cost.memory is None else dict(asdict(step_cost.memory))
    return row
