"""`nosce run`: plan, make, and print what became of the claims."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, TypedDict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nosce.analysis.render.tables import claims_table
from nosce.pipeline.devices import DeviceRequest, assign_devices, list_gpus
from nosce.pipeline.local_pool import LocalPool, available_cores
from nosce.pipeline.plan import Plan, Step, StudyRequest
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.progress import ConsoleProgress
from nosce.pipeline.results import RunResults
from nosce.pipeline.scheduler import WorkerPool, pending_steps, run_plan
from nosce.store.spec import Json
from nosce.store.store import Store
from nosce.train.config import RuntimeConfig

if TYPE_CHECKING:
    from nosce.pipeline.cost import StepCost


class PlanTotal(TypedDict):
    """The cost of the steps of a plan that are to do.

    Attributes:
        steps: Number of steps of the plan.
        to_do: Number of steps that are not finished.
        tokens: Tokens to train on.
        flops: Floating-point operations of training.
        disk_bytes: Size of the checkpoints that are kept.
        minutes: Expected duration.
        workers: Number of steps that are made at once.
    """

    steps: int
    to_do: int
    tokens: float
    flops: float
    disk_bytes: float
    minutes: float
    workers: int


def run_study(
    request: StudyRequest,
    store: Store,
    *,
    devices: DeviceRequest | None = None,
    ray: str | None = None,
    rerun_stale: bool = False,
    max_cost: float | None = None,
    threads: int = 1,
    gradient_checkpointing: bool = False,
    json_: bool = False,
) -> int:
    """Make what is not done, print the claims, and return the exit code."""
    started = time.monotonic()
    console = Console(stderr=json_, soft_wrap=True)
    plan = request.plan()
    plan_record = PlanRecord.of(request, plan)
    plan_record.save(store)
    pending = pending_steps(plan, store, rerun_stale=rerun_stale)
    runtime = RuntimeConfig(threads=threads, max_cost=max_cost, gradient_checkpointing=gradient_checkpointing)
    pool = _make_pool(store, devices or DeviceRequest(), ray, runtime)
    if pending:
        heading = f"{plan.study.name}, {plan.study.scale}"
        console.print(escape(f"{heading}: {len(pending)} of {len(plan.all_steps)} steps to do, store {store.root}"))
    with ConsoleProgress(console, len(pending)) as listener:
        run_summary = run_plan(plan, store, pool, listener, rerun_stale=rerun_stale)
    if run_summary.stale:
        count = f"{len(run_summary.stale)} finished steps are stale and were used as they are"
        console.print(escape(f"{count}; `--rerun-stale` makes them again. For one, {run_summary.stale[0]}."))
    if run_summary.failed:
        _print_failures(plan, run_summary.failed, request)
        return 1
    seconds = time.monotonic() - started
    if not run_summary.completed:
        console.print(f"Nothing to do: all {len(plan.all_steps)} steps are there ({seconds:.1f} s).")
    else:
        console.print(f"{len(run_summary.completed)} steps made in {_format_duration(seconds)}.")
    _print_results(RunResults.load(store, plan_record), console, json_=json_)
    return 0


def _print_results(results: RunResults, console: Console, *, json_: bool) -> None:
    if json_:
        sys.stdout.write(json.dumps(results.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        print_claims(results, console)


def _make_pool(store: Store, request: DeviceRequest, ray: str | None, runtime: RuntimeConfig) -> WorkerPool:
    runtime = replace(runtime, processes=request.processes)
    if ray is not None:
        from nosce.pipeline.ray_pool import RayPool

        return RayPool(ray, store, runtime, request)
    gpus = () if request.device == "cpu" else list_gpus()
    devices = assign_devices(request, gpus, len(available_cores()))
    return LocalPool(store, devices.n_workers, replace(runtime, device=devices.device), devices.visible_gpus)


def _print_failures(plan: Plan, failed: dict[str, str], request: StudyRequest) -> None:
    console = Console(stderr=True, soft_wrap=True)
    labels = {step.name: step.label for step in plan.all_steps}
    for name, reason in failed.items():
        console.print(escape(f"nosce: {name} ({labels[name]}) failed: {reason}"), highlight=False)
    console.print(escape(f"What was finished is kept; `{request.command}` goes on from here."), highlight=False)


def print_claims(results: RunResults, console: Console) -> None:
    """Print the claims table of a finished plan, with the reasons of undecided claims and a sentence on stale steps."""
    plan = results.plan
    seeds = f"{len(plan.seeds)} seed{'s' if len(plan.seeds) > 1 else ''}"
    console.print(escape(f"{plan.title}: {plan.question}  ({plan.paper}, scale {plan.scale}, {seeds})"))
    console.print(claims_table(results.verdicts))
    for verdict in results.verdicts:
        if verdict.verdict == "undecided":
            console.print(escape(f"{verdict.id} is undecided: {verdict.why}"), soft_wrap=True, highlight=False)
    if results.stale_steps:
        name, reason = next(iter(results.stale_steps.items()))
        console.print(
            escape(
                f"{len(results.stale_steps)} of {len(plan.steps)} steps are stale, e.g. {name}: {reason}; "
                "`--rerun-stale` makes them again."
            )
        )


def _format_bytes(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"


def _format_duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def print_plan(request: StudyRequest, store: Store, workers: int | None, *, json_: bool) -> None:
    """Print the graph with done and to do, tokens, FLOPs, disk and expected minutes; make nothing."""
    from nosce.pipeline import cost

    plan = request.plan()
    PlanRecord.of(request, plan).save(store, latest=False)
    pending = pending_steps(plan, store)
    with Console(stderr=True).status("Timing one of each kind of training and reading …"):
        costs = cost.estimate_costs(plan, pending)
    by_name = {c.step.name: c for c in costs}
    n_workers = workers or len(available_cores())
    total: PlanTotal = {
        "steps": len(plan.all_steps),
        "to_do": len(pending),
        "tokens": sum(c.tokens for c in costs),
        "flops": sum(c.flops for c in costs),
        "disk_bytes": sum(c.disk_bytes for c in costs),
        "minutes": cost.makespan_minutes(pending, costs, n_workers),
        "workers": n_workers,
    }
    pending_names = {step.name for step in pending}
    if json_:
        rows = [_step_json(step, step.name in pending_names, by_name.get(step.name)) for step in plan.all_steps]
        sys.stdout.write(json.dumps({"total": total, "steps": rows}, indent=2) + "\n")
    else:
        _print_costs(plan, pending_names, by_name, total)


def _print_costs(plan: Plan, pending_names: set[str], by_name: Mapping[str, StepCost], total: PlanTotal) -> None:
    table = Table("step", "what", "reads", "state", "tokens", "FLOPs", "disk", "memory", "minutes")
    for step in plan.all_steps:
        step_cost = by_name.get(step.name)
        amounts = (
            ("", "", "", "")
            if step_cost is None or not step_cost.tokens
            else (
                f"{step_cost.tokens:.2g}",
                f"{step_cost.flops:.2g}",
                f"{step_cost.disk_bytes / 1e6:,.0f} MB",
                "" if step_cost.memory is None else _format_bytes(step_cost.memory.total),
            )
        )
        minutes = "" if step_cost is None else f"{step_cost.seconds / 60:.1f}"
        reads = ", ".join(dict.fromkeys(given.name.split("-")[0] for given in step.inputs.values()))
        state = "to do" if step.name in pending_names else "done"
        table.add_row(step.name[:-12], escape(step.label), reads, state, *amounts, minutes)
    console = Console()
    console.print(table)
    hardware = f"{total['workers']} core{'s' if total['workers'] > 1 else ''}"
    console.print(
        f"{len(pending_names)} of {len(plan.all_steps)} steps to do: {total['tokens']:.3g} tokens, "
        f"{total['flops']:.3g} FLOPs, {total['disk_bytes'] / 1e6:,.0f} MB of checkpoints, "
        f"{total['minutes']:,.1f} minutes of training and reading on {hardware}."
    )


def _step_json(step: Step, pending: bool, step_cost: StepCost | None) -> dict[str, Json]:
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
