"""`nosce run`: plan, make, and print what became of the claims."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nosce.analysis.render.tables import claims_table
from nosce.errors import UsageError
from nosce.pipeline.local_pool import LocalPool, cores
from nosce.pipeline.plan import Plan, Step
from nosce.pipeline.progress import Terminal
from nosce.pipeline.results import Request, remember, remembered, shown, stale, verdicts
from nosce.pipeline.scheduler import Pool, execute, needed
from nosce.store.store import Store
from nosce.train.config import Machine

if TYPE_CHECKING:
    from nosce.pipeline.cost import Cost


def run(
    request: Request,
    store: Store,
    *,
    workers: int | None = None,
    ray: str | None = None,
    device: str | None = None,
    fresh: bool = False,
    max_cost: float | None = None,
    threads: int = 1,
    json_: bool = False,
) -> int:
    """Make what is not done, print the claims, and return the exit code."""
    started = time.monotonic()
    console = Console(stderr=json_, soft_wrap=True)
    plan = request.plan()
    remember(store, request, plan)
    todo = needed(plan, store, fresh=fresh)
    pool = _pool(store, workers, ray, Machine(device=device or _device(), threads=threads, max_cost=max_cost))
    if todo:
        head = f"{plan.study.name}, {plan.study.scale}"
        console.print(escape(f"{head}: {len(todo)} of {len(plan.all)} steps to do, store {store.root}"))
    with Terminal(console, len(todo)) as watcher:
        outcome = execute(plan, store, pool, watcher, fresh=fresh)
    if outcome.stale:
        count = f"{len(outcome.stale)} finished steps are stale and were used as they are"
        console.print(escape(f"{count}; `--fresh` makes them again. For one, {outcome.stale[0]}."))
    if outcome.failed:
        _failures(plan, outcome.failed, request)
        return 1
    if not outcome.made:
        console.print(f"Nothing to do: all {len(plan.all)} steps are there ({time.monotonic() - started:.1f} s).")
    else:
        console.print(f"{len(outcome.made)} steps made in {_time(time.monotonic() - started)}.")
    found = remembered(store, plan.study.name, plan.study.scale)
    if json_:
        sys.stdout.write(json.dumps(shown(store, found), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        print_claims(store, found, console)
    return 0


def _pool(store: Store, workers: int | None, ray: str | None, machine: Machine) -> Pool:
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers} would make nothing; take 1 or more.")
    if ray is not None:
        from nosce.pipeline.ray_pool import RayPool

        return RayPool(ray, store, machine)
    return LocalPool(store, workers or (1 if machine.device != "cpu" else len(cores())), machine)


def _device() -> str:
    """`cuda` where a driver is there; looked up without importing torch, which takes seconds."""
    import shutil
    from pathlib import Path

    return "cuda" if shutil.which("nvidia-smi") and Path("/dev/nvidia0").exists() else "cpu"


def _failures(plan: Plan, failed: dict[str, str], request: Request) -> None:
    console = Console(stderr=True, soft_wrap=True)
    what = {step.name: step.what for step in plan.all}
    for name, why in failed.items():
        console.print(escape(f"nosce: {name} ({what[name]}) failed: {why}"), highlight=False)
    console.print(escape(f"What was finished is kept; `{request.command}` goes on from here."), highlight=False)


def print_claims(store: Store, plan: dict[str, Any], console: Console) -> None:
    """The claims table of a remembered plan, with a word on what is stale."""
    console.print(escape(f"{plan['title']}: {plan['question']}  ({plan['paper']}, scale {plan['scale']}, "
                         f"{len(plan['seeds'])} seed{'s' if len(plan['seeds']) > 1 else ''})"))  # fmt: skip
    found = verdicts(store, plan)
    console.print(claims_table(found))
    for verdict in found:
        if verdict.verdict == "undecided":
            console.print(escape(f"{verdict.id} is undecided: {verdict.why}"), soft_wrap=True, highlight=False)
    if old := stale(store, plan):
        name, why = next(iter(old.items()))
        console.print(
            escape(
                f"{len(old)} of {len(plan['steps'])} steps are stale, e.g. {name}: {why}; `--fresh` makes them again."
            )
        )


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def dry(request: Request, store: Store, workers: int | None, *, json_: bool) -> None:
    """Print the graph with done and to do, tokens, FLOPs, disk and expected minutes; make nothing."""
    from nosce.pipeline import cost

    plan = request.plan()
    remember(store, request, plan, latest=False)
    todo = needed(plan, store)
    with Console(stderr=True).status("Timing one of each kind of training and reading …"):
        costs = cost.price(plan, todo)
    by_name = {c.step.name: c for c in costs}
    side_by_side = workers or len(cores())
    total = {"steps": len(plan.all), "to_do": len(todo), "tokens": sum(c.tokens for c in costs),
             "flops": sum(c.flops for c in costs), "disk_bytes": sum(c.bytes for c in costs),
             "minutes": cost.minutes(todo, costs, side_by_side), "workers": side_by_side}  # fmt: skip
    names = {step.name for step in todo}
    if json_:
        rows = [_row(step, step.name in names, by_name.get(step.name)) for step in plan.all]
        sys.stdout.write(json.dumps({"total": total, "steps": rows}, indent=2) + "\n")
    else:
        _print_prices(plan, names, by_name, total)


def _print_prices(plan: Plan, todo: set[str], by_name: Mapping[str, Cost], total: Mapping[str, Any]) -> None:
    table = Table("step", "what", "reads", "state", "tokens", "FLOPs", "disk", "minutes")
    for step in plan.all:
        priced = by_name.get(step.name)
        numbers = ("", "", "") if priced is None or not priced.tokens else (f"{priced.tokens:.2g}",
                   f"{priced.flops:.2g}", f"{priced.bytes / 1e6:,.0f} MB")  # fmt: skip
        time_ = "" if priced is None else f"{priced.seconds / 60:.1f}"
        reads = ", ".join(dict.fromkeys(given.name.split("-")[0] for given in step.inputs.values()))
        state = "to do" if step.name in todo else "done"
        table.add_row(step.name[:-12], escape(step.what), reads, state, *numbers, time_)
    console = Console()
    console.print(table)
    on = f"{total['workers']} core{'s' if total['workers'] > 1 else ''}"
    console.print(
        f"{len(todo)} of {len(plan.all)} steps to do: {total['tokens']:.3g} tokens, {total['flops']:.3g} FLOPs, "
        f"{total['disk_bytes'] / 1e6:,.0f} MB of checkpoints, "
        f"{total['minutes']:,.1f} minutes of training and reading on {on}."
    )


def _row(step: Step, todo: bool, priced: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": step.name,
        "kind": step.kind,
        "what": step.what,
        "state": "to do" if todo else "done",
        "inputs": [given.name for given in step.inputs.values()],
    }
    if priced is not None:
        row["seconds"] = priced.seconds
    if priced is not None and priced.tokens:
        row |= {"tokens": priced.tokens, "flops": priced.flops, "disk_bytes": priced.bytes}
    return row
