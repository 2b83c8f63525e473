"""`nosce run`: plan, make, and print what became of the claims."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, TypedDict

from rich.console import Console
from rich.table import Table

from nosce.analysis.render.tables import claims_table
from nosce.errors import UsageError
from nosce.pipeline.devices import DeviceRequest, WorkerDevices, assign_devices, list_gpus
from nosce.pipeline.local_pool import LocalPool, available_cores
from nosce.pipeline.plan import Plan, Step, StudyRequest
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.preflight import check_model_folders
from nosce.pipeline.progress import ConsoleProgress
from nosce.pipeline.results import RunResults
from nosce.pipeline.scheduler import WorkerPool, pending_steps, run_plan
from nosce.pipeline.size_check import TRUNCATED_LAYERS, check_size
from nosce.store.spec import Json
from nosce.store.store import Store
from nosce.store.text import json_text, literal
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
    json_: bool = False,
) -> int:
    """Make what is not done, print the claims, and return the exit code."""
    started = time.monotonic()
    console = Console(stderr=json_, soft_wrap=True)
    _check_max_cost(max_cost)
    plan = request.plan()
    pending = pending_steps(plan, store, rerun_stale=rerun_stale)
    folder_sentences = check_model_folders(pending, made_here=ray is None)
    plan_record = PlanRecord.of(request, plan)
    devices = devices or DeviceRequest()
    workers = _assign_workers(devices) if ray is None else None
    runtime = replace(_runtime_config(devices, workers), max_cost=max_cost, ledger_name=plan_record.ledger_name)
    check_size(pending, store, device=runtime.device, made_here=ray is None)
    plan_record.save(store)
    pool = _make_pool(store, devices, workers, ray, runtime)
    _print_heading(plan, len(pending), store, folder_sentences, console)
    with ConsoleProgress(console, len(pending)) as listener:
        run_summary = run_plan(plan, store, pool, listener, rerun_stale=rerun_stale)
    _print_stale(run_summary.stale, console)
    if run_summary.failed:
        _print_failures(plan, run_summary.failed, request)
        return 1
    _print_duration(len(run_summary.completed), len(plan.all_steps), time.monotonic() - started, console)
    _print_results(RunResults.load(store, plan_record), console, json_=json_)
    return 0


def _check_max_cost(max_cost: float | None) -> None:
    if max_cost is not None and not (math.isfinite(max_cost) and max_cost >= 0):
        raise UsageError(f"--max-cost {max_cost} is no amount of money; give 0 or more, or leave it out.")


def _print_heading(plan: Plan, n_pending: int, store: Store, sentences: Sequence[str], console: Console) -> None:
    """What is about to be done, and what there is to say of the model folders."""
    if n_pending:
        progress = f"{n_pending} of {len(plan.all_steps)} steps to do, store {store.root}"
        console.print(literal(f"{plan.study.name}, {plan.study.scale}: {progress}"))
    for sentence in sentences:
        console.print(literal(sentence), highlight=False)


def _print_duration(n_made: int, n_steps: int, seconds: float, console: Console) -> None:
    if n_made:
        console.print(f"{n_made} steps made in {_format_duration(seconds)}.")
    else:
        console.print(f"Nothing to do: all {n_steps} steps are there ({seconds:.1f} s).")


def _print_stale(stale: Sequence[str], console: Console) -> None:
    if stale:
        count = f"{len(stale)} finished steps are stale and were used as they are"
        console.print(literal(f"{count}; `--rerun-stale` makes them again. For one, {stale[0]}."))


def _print_results(results: RunResults, console: Console, *, json_: bool) -> None:
    if json_:
        sys.stdout.write(json_text(results.to_json()) + "\n")
    else:
        print_claims(results, console)


def _runtime_config(request: DeviceRequest, workers: WorkerDevices | None) -> RuntimeConfig:
    return RuntimeConfig(
        device="cpu" if workers is None else workers.device,  # on a cluster each task finds its own
        threads=request.threads,
        processes=request.processes,
        sharded=request.shard,
        gradient_checkpointing=request.gradient_checkpointing,
    )


def _assign_workers(request: DeviceRequest) -> WorkerDevices:
    gpus = () if request.device == "cpu" else list_gpus()
    return assign_devices(request, gpus, len(available_cores()))


def _make_pool(
    store: Store, request: DeviceRequest, workers: WorkerDevices | None, ray: str | None, runtime: RuntimeConfig
) -> WorkerPool:
    if ray is not None:
        from nosce.pipeline.ray_pool import RayPool

        return RayPool(ray, store, runtime, request)
    assert workers is not None
    return LocalPool(store, workers.n_workers, runtime, workers.visible_gpus)


def _print_failures(plan: Plan, failed: dict[str, str], request: StudyRequest) -> None:
    console = Console(stderr=True, soft_wrap=True)
    labels = {step.name: step.label for step in plan.all_steps}
    for name, reason in failed.items():
        console.print(literal(f"nosce: {name} ({labels[name]}) failed: {reason}"), highlight=False)
    console.print(literal(f"What was finished is kept; `{request.command}` goes on from here."), highlight=False)


def print_claims(results: RunResults, console: Console) -> None:
    """Print the claims table of a finished plan, with the reasons of undecided claims and a sentence on stale steps."""
    plan = results.plan
    seeds = f"{len(plan.seeds)} seed{'s' if len(plan.seeds) > 1 else ''}"
    console.print(literal(f"{plan.title}: {plan.question}  ({plan.paper}, scale {plan.scale}, {seeds})"))
    console.print(claims_table(results.verdicts))
    for verdict in results.verdicts:
        if verdict.verdict == "undecided":
            console.print(literal(f"{verdict.id} is undecided: {verdict.why}"), soft_wrap=True, highlight=False)
    if results.stale_steps:
        name, reason = next(iter(results.stale_steps.items()))
        console.print(
            literal(
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

    n_workers = DeviceRequest(workers=workers).workers or len(available_cores())
    plan = request.plan()
    pending = pending_steps(plan, store)
    check_size(pending, store, timed_layers=TRUNCATED_LAYERS)
    folder_sentences = check_model_folders(pending)
    PlanRecord.of(request, plan).save(store, latest=False)
    with Console(stderr=True).status("Timing one of each kind of training and reading …"):
        costs = cost.estimate_costs(plan, pending)
    by_name = {c.step.name: c for c in costs}
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
        sys.stdout.write(json_text({"total": total, "steps": rows}) + "\n")
    else:
        _print_costs(plan, pending_names, by_name, total)
        for sentence in folder_sentences:
            Console(soft_wrap=True).print(literal(sentence), highlight=False)


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
        table.add_row(step.name[:-12], literal(step.label), reads, state, *amounts, minutes)
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
