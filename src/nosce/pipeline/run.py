"""`nosce run`: plan, make, and print what became of the claims."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.console import Console

from nosce.analysis.render.tables import claims_table, preconditions_text, seed_group_sentences, tally_text
from nosce.errors import Interrupted, UsageError
from nosce.pipeline.claim_age import age_sentences
from nosce.pipeline.claim_log import register_claims
from nosce.pipeline.claim_outlook import undecided_sentences
from nosce.pipeline.command_lines import in_store
from nosce.pipeline.devices import DeviceRequest, WorkerDevices, assign_devices, list_gpus
from nosce.pipeline.finished_times import finished_note, finished_seconds
from nosce.pipeline.local_pool import LocalPool, available_cores
from nosce.pipeline.plan import Plan, StudyRequest
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.preflight import check_model_folders
from nosce.pipeline.progress import ConsoleProgress
from nosce.pipeline.results import RunResults
from nosce.pipeline.results_json import results_json
from nosce.pipeline.scheduler import RunSummary, WorkerPool, pending_steps, run_plan
from nosce.pipeline.size_check import TRUNCATED_LAYERS, check_size
from nosce.pipeline.step import Step
from nosce.store.store import Store
from nosce.store.text import json_text, literal
from nosce.train.config import RuntimeConfig

# For how long a plan is timed; it may take ten seconds more to start and to print.
TIMING_SECONDS, LONG_TIMING_SECONDS, SHORT_TIMING_SECONDS = 18.0, 36.0, 3.0
MANY_STEPS = 5_000  # from which a plan is timed for a short while


@dataclass(frozen=True)
class FinishedRun:
    """What became of a run.

    Args:
        plan: The plan.
        record: Its record in the store.
        summary: The steps that were made, found and failed.
        seconds: How long it took.
    """

    plan: Plan
    record: PlanRecord
    summary: RunSummary
    seconds: float


def make_steps(
    request: StudyRequest,
    store: Store,
    console: Console,
    *,
    devices: DeviceRequest | None = None,
    ray: str | None = None,
    rerun_stale: bool = False,
    max_cost: float | None = None,
) -> FinishedRun:
    """Make the steps of a study that are not done, and tell of them on a console.

    Raises:
        Interrupted: The user stopped it.
        UsageError: The request names what is not there.
        SpecError: The study, a model's folder or a size is impossible.
    """
    started = time.monotonic()
    _check_max_cost(max_cost)
    plan = request.plan()
    pending = pending_steps(plan, store, rerun_stale=rerun_stale)
    folder_sentences = check_model_folders(pending, made_here=ray is None)
    plan_record = PlanRecord.of(request, plan)
    devices = devices or DeviceRequest()
    workers = assign_workers(devices) if ray is None else None
    runtime = replace(_runtime_config(devices, workers), max_cost=max_cost, ledger_name=plan_record.ledger_name)
    check_size(pending, store, device=runtime.device, made_here=ray is None)
    plan_record.save(store)
    if pending:
        register_claims(store, plan_record, plan.study.claims)
    pool = _make_pool(store, devices, workers, ray, runtime)
    command = in_store(request.command, store)
    listener = ConsoleProgress(console, len(pending))
    try:
        _print_heading(plan, len(pending), store, [*plan.study.notes, *folder_sentences], console)
        with listener:
            run_summary = run_plan(plan, store, pool, listener, rerun_stale=rerun_stale)
    except KeyboardInterrupt:
        raise _interruption(pending, store, listener, command, time.monotonic() - started) from None
    _print_stale(run_summary.stale, command, console)
    return FinishedRun(plan, plan_record, run_summary, time.monotonic() - started)


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
    console = Console(stderr=json_, soft_wrap=True)
    run = make_steps(request, store, console, devices=devices, ray=ray, rerun_stale=rerun_stale, max_cost=max_cost)
    if run.summary.failed:
        print_failures(run.plan, run.summary.failed, in_store(request.command, store))
        return 1
    _print_duration(len(run.summary.completed), len(run.plan.all_steps), run.seconds, console)
    print_results(RunResults.load(store, run.record), Console(stderr=json_), json_=json_)
    return 0


def _interruption(
    pending: Sequence[Step], store: Store, listener: ConsoleProgress, command: str, seconds: float
) -> Interrupted:
    """What is kept of a run that the user stopped, and what is not."""
    n_made = len(listener.made)
    after = f"interrupted after {seconds:.0f} s"
    if not listener.started_steps:
        return Interrupted(f"{after}, before a step was started; nothing was made.")
    kept = "No step was finished" if not n_made else f"{n_made} of {len(pending)} steps were finished and are kept"
    unfinished = [step for step in listener.started_steps.values() if step.name not in listener.made]
    n_saved = sum(store.work_folder(step.name).joinpath("scratch").is_dir() for step in unfinished)
    n_lost = len(unfinished) - n_saved
    parts = [f"{n_saved} unfinished go on from what they saved"] if n_saved else []
    parts += [f"{n_lost} unfinished begin anew"] if n_lost else []
    return Interrupted(f"{after}. {kept}; with `{command}` {', '.join(parts) or 'the others are made'}.")


def _check_max_cost(max_cost: float | None) -> None:
    if max_cost is not None and not (math.isfinite(max_cost) and max_cost >= 0):
        raise UsageError(f"--max-cost {max_cost} is no amount of money; give 0 or more, or leave it out.")


def _print_heading(plan: Plan, n_pending: int, store: Store, sentences: Sequence[str], console: Console) -> None:
    """What is about to be done, and what there is to say of the model folders."""
    if n_pending:
        progress = f"{n_pending} of {len(plan.all_steps)} steps to do, store {store.root}"
        console.print(literal(f"{plan.study.label}: {progress}"))
    for sentence in sentences:
        console.print(literal(sentence), highlight=False)


def _print_duration(n_made: int, n_steps: int, seconds: float, console: Console) -> None:
    if n_made:
        console.print(f"{n_made} step{'s' if n_made > 1 else ''} made in {_format_duration(seconds)}.")
    else:
        console.print(f"Nothing to do: all {n_steps} steps are there ({seconds:.1f} s).")


def _print_stale(stale: Sequence[str], command: str, console: Console) -> None:
    if stale:
        count = f"{len(stale)} finished steps are stale and were used as they are"
        console.print(literal(f"{count}; `{command} --rerun-stale` makes them again. For one, {stale[0]}."))


def print_results(results: RunResults, console: Console, *, json_: bool) -> None:
    """Print the claims, or with `json_` the JSON object on stdout."""
    if json_:
        sys.stdout.write(json_text(results_json(results)) + "\n")
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


def assign_workers(request: DeviceRequest) -> WorkerDevices:
    """How many steps this machine makes at once, and where."""
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


def print_failures(plan: Plan, failed: dict[str, str], command: str) -> None:
    """Print which steps failed and why, on stderr."""
    console = Console(stderr=True, soft_wrap=True)
    labels = {step.name: step.label for step in plan.all_steps}
    for name, reason in failed.items():
        console.print(literal(f"nosce: {name} ({labels[name]}) failed: {reason}"), highlight=False)
    console.print(literal(f"What was finished is kept; `{command}` goes on from here."), highlight=False)


def print_claims(results: RunResults, console: Console) -> None:
    """Print the claims table of a finished plan, with the reasons of undecided claims and a sentence on stale steps."""
    plan, verdicts = results.plan, results.shown_verdicts
    seeds = f"{len(plan.seeds)} seed{'s' if len(plan.seeds) > 1 else ''}"
    console.print(literal(f"{plan.title}: {plan.question}  ({plan.paper}, scale {plan.scale_label}, {seeds})"))
    if results.part_notice:
        console.print(literal(results.part_notice), soft_wrap=True, highlight=False)
    notes = {claim: outlook.table_note for claim, outlook in results.outlooks.items()}
    console.print(claims_table(verdicts, notes))
    if preconditions := preconditions_text(verdicts):
        console.print(literal(preconditions), soft_wrap=True, highlight=False)
    if tally := tally_text(verdicts):
        console.print(literal(tally), soft_wrap=True, highlight=False)
    for sentence in undecided_sentences(verdicts, results.outlooks):
        console.print(literal(sentence), soft_wrap=True, highlight=False)
    sentences = [*seed_group_sentences(verdicts), *(one.sentence for one in plan.disclosures)]
    for sentence in [*sentences, *([results.halves.sentence] if results.halves else [])]:
        console.print(literal(sentence), soft_wrap=True, highlight=False)
    for sentence in age_sentences({one.id: results.ages[one.id] for one in verdicts if one.id in results.ages}):
        console.print(literal(sentence), soft_wrap=True, highlight=False)
    console.print(literal(f"Answer: {results.answer.text}"), soft_wrap=True, highlight=False)
    if results.stale_steps:
        name, reason = next(iter(results.stale_steps.items()))
        console.print(
            literal(
                f"{len(results.stale_steps)} of {len(plan.steps)} steps are stale, e.g. {name}: {reason}; "
                f"`{results.rerun_command}` makes them again."
            )
        )


def _format_duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def print_plan(request: StudyRequest, store: Store, workers: int | None, *, json_: bool) -> None:
    """Print the graph with done and to do, tokens, FLOPs, disk and expected minutes; make nothing.

    Raises:
        Interrupted: The user stopped it.
    """
    started = time.monotonic()
    try:
        _print_plan(request, store, workers, json_=json_)
    except KeyboardInterrupt:
        seconds = time.monotonic() - started
        raise Interrupted(f"interrupted after {seconds:.0f} s; a plan makes nothing, so nothing is lost.") from None


def _print_plan(request: StudyRequest, store: Store, workers: int | None, *, json_: bool) -> None:
    from nosce.pipeline import cost
    from nosce.pipeline.plan_table import PricedPlan, TimingProgress

    n_workers = DeviceRequest(workers=workers).workers or len(available_cores())
    with TimingProgress(Console(stderr=True)) as progress:
        plan = request.plan()
        pending = pending_steps(plan, store)
        check_size(pending, store, timed_layers=TRUNCATED_LAYERS)
        folder_sentences = check_model_folders(pending)
        PlanRecord.of(request, plan).save(store, latest=False)
        finished = finished_seconds(pending, store, plan.study.name, plan.study.scale)
        budget = timing_seconds(plan.study.scale, len(plan.all_steps))
        costs = cost.estimate_costs(pending, progress, budget, finished)
    n_by_finished = sum(one.step.name in finished for one in costs)
    notes = [finished_note(n_by_finished), _device_note(plan.study.scale)]
    priced = PricedPlan(plan, pending, costs, n_workers, " ".join(filter(None, notes)))
    if json_:
        sys.stdout.write(json_text(priced.to_json()) + "\n")
    else:
        priced.print(Console())
    for sentence in (*plan.study.notes, *folder_sentences):
        Console(soft_wrap=True, stderr=json_).print(literal(sentence), highlight=False)


def timing_seconds(scale: str, n_steps: int) -> float:
    """How long a plan is timed: large models and worlds for longer, and what nobody will ever run for shorter."""
    if n_steps > MANY_STEPS:
        return SHORT_TIMING_SECONDS
    return LONG_TIMING_SECONDS if scale in ("gpu", "paper") else TIMING_SECONDS


def _device_note(scale: str) -> str:
    """What the minutes of a plan do not say where a run takes a GPU or is meant for one."""
    if list_gpus():
        return "The minutes are for CPU cores; a run takes the GPU of this machine, whose time was not measured."
    if scale in ("gpu", "paper"):
        return f"The minutes are for CPU cores of this machine; the scale {scale} is meant for a GPU."
    return ""
