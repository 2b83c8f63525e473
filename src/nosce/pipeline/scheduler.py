"""Doing what is not done yet of a plan, independent steps side by side.

The scheduler knows steps and a pool that makes them; whether the pool is local processes or a Ray
cluster is the pool's business. Of the steps whose inputs are there, the one with the most work behind it is started
first, so that no worker idles beside the last long chain. Whatever happens, finished steps stay finished.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from nosce.errors import DamagedError, LeasedError
from nosce.pipeline.expected_work import longest_first, remaining_work
from nosce.pipeline.leased_steps import LeasedSteps
from nosce.pipeline.local_pool import StepEvent
from nosce.pipeline.plan import Plan
from nosce.pipeline.step import Step
from nosce.store.store import Store

LEASE_RETRY_SECONDS = 1.0  # until a step that another process is making is looked at again


class WorkerPool(Protocol):
    """Something that makes steps."""

    @property
    def free_slots(self) -> int:
        """How many more steps could be made at once."""
        ...

    def submit(self, step: Step, *, rerun_stale: bool) -> None:
        """Start making a step."""
        ...

    def events(self, timeout: float) -> Iterator[StepEvent]:
        """What has happened, waiting at most so long for something to happen."""
        ...

    def close(self) -> None:
        """Stop everything."""
        ...


class ProgressListener(Protocol):
    """A receiver of progress reports, e.g. the terminal."""

    def on_start(self, step: Step) -> None:
        """A step has been handed to a worker."""
        ...

    def on_event(self, step: Step, event: StepEvent) -> None:
        """A worker has sent an event."""
        ...

    def on_message(self, message: str) -> None:
        """There is a sentence for people."""
        ...


@dataclass
class RunSummary:
    """What a run did: steps made now, failures by step name, and sentences on stale steps left alone."""

    completed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)


def pending_steps(plan: Plan, store: Store, *, rerun_stale: bool = False, damaged: Collection[str] = ()) -> list[Step]:
    """The steps to make, in order: what the estimates lack, what is `damaged`, and with `rerun_stale` what is stale.

    A finished step whose inputs have been cleared away is used as it is; so is a stale one that the plan keeps.
    """
    selected: set[str] = set()
    to_rerun: set[str] = set()
    for step in plan.all_steps:
        is_finished = store.has(step.name)
        input_reruns = any(given.name in to_rerun for given in step.inputs.values())
        is_kept = is_finished and step.name in plan.kept_steps
        if not is_finished or (rerun_stale and not is_kept and (input_reruns or _is_stale(step, store))):
            to_rerun.add(step.name)

    def want(step: Step) -> None:
        if step.name in to_rerun and step.name not in selected:
            selected.add(step.name)
            for given in step.inputs.values():
                want(given)

    want(plan.estimates)
    for step in plan.all_steps:  # these are made again even where what was made from them is still there
        if rerun_stale or step.name in damaged:
            want(step)
    return [step for step in plan.all_steps if step.name in selected]


def set_aside_damaged(plan: Plan, store: Store) -> dict[str, str]:
    """Set aside every damaged step of the plan; the sentences that say so, by step."""
    messages = {}
    for step in plan.all_steps:
        if store.has(step.name):
            try:
                store.verified(step.name)
                store.step_record(step.name)
            except DamagedError as error:
                _set_aside(step.name, store)
                messages[step.name] = str(error)
    return messages


def run_plan(
    plan: Plan, store: Store, pool: WorkerPool, listener: ProgressListener, *, rerun_stale: bool = False
) -> RunSummary:
    """Make what is needed and return what was done; failures do not stop independent steps.

    A step that another process is making is waited for, and found done.
    """
    run_summary = RunSummary()
    damaged = set_aside_damaged(plan, store)
    for message in damaged.values():
        listener.on_message(message)
    pending = pending_steps(plan, store, rerun_stale=rerun_stale, damaged=damaged)
    waiting = {step.name: step for step in longest_first(pending, remaining_work(plan.all_steps))}
    running: dict[str, Step] = {}
    leased = LeasedSteps(store, listener.on_message, LEASE_RETRY_SECONDS)
    steps = {step.name: step for step in plan.all_steps}
    try:
        while waiting or running:
            for step in _ready_steps(waiting, {*running, *run_summary.failed}, leased, pool.free_slots):
                running[step.name] = waiting.pop(step.name)
                pool.submit(step, rerun_stale=rerun_stale)
                listener.on_start(step)
            if not running and not _can_progress(waiting, run_summary.failed):
                break
            for event in pool.events(0.5):
                step = steps[event.step_name]
                listener.on_event(step, event)
                if event.kind == "progress":
                    continue
                running.pop(event.step_name)
                _handle_event(event, step, run_summary, waiting, running, leased, store, listener)
    finally:
        pool.close()
    if not rerun_stale:
        completed = set(run_summary.completed)
        found = [step.name for step in plan.all_steps if step.name not in completed and store.has(step.name)]
        reasons = store.stale_reasons({name: store.step_record(name) for name in found})
        run_summary.stale = [f"{name} is stale: {reason}" for name, reason in reasons.items()]
    return run_summary


def _ready_steps(
    waiting: dict[str, Step], unusable: Collection[str], leased: LeasedSteps, free_slots: int
) -> list[Step]:
    """The steps that could be started now, as many as there is room for: all their inputs are there."""
    ready: list[Step] = []
    for step in waiting.values():
        if len(ready) == free_slots:  # before a look at a lease that could not be taken anyway
            break
        blocked = any(given.name in waiting or given.name in unusable for given in step.inputs.values())
        if not blocked and leased.may_start(step):
            ready.append(step)
    return ready


def _can_progress(waiting: dict[str, Step], failed: dict[str, str]) -> bool:
    """Is there a waiting step that does not depend on a failed one?"""
    unreachable = set(failed)
    for step in waiting.values():  # in the order of the plan, so inputs come first
        if any(given.name in unreachable for given in step.inputs.values()):
            unreachable.add(step.name)
    return any(name not in unreachable for name in waiting)


def _handle_event(
    event: StepEvent,
    step: Step,
    run_summary: RunSummary,
    waiting: dict[str, Step],
    running: dict[str, Step],
    leased: LeasedSteps,
    store: Store,
    listener: ProgressListener,
) -> None:
    """Record the outcome of a step in the summary."""
    match event.kind:
        case "made":
            run_summary.completed.append(step.name)
        case "leased":
            leased.add(step, str(event.detail))
            waiting[step.name] = step
        case "damaged":
            listener.on_message(str(event.detail))
            damaged_inputs = [given for given in step.inputs.values() if _set_aside_if_damaged(given, store)]
            if not damaged_inputs:  # then making inputs again would not help, now or ever
                run_summary.failed[step.name] = str(event.detail)
                return
            for given in damaged_inputs:
                if given.name not in running:
                    waiting[given.name] = given
            waiting[step.name] = step
        case "failed":
            run_summary.failed[step.name] = str(event.detail)
        case _:
            pass


def _set_aside_if_damaged(step: Step, store: Store) -> bool:
    """Is a step no longer there, or damaged?  If damaged it is set aside."""
    try:
        store.verified(step.name)
    except DamagedError:
        _set_aside(step.name, store)
        return True
    return False


def _set_aside(name: str, store: Store) -> None:
    """Set a damaged step aside, unless another run has done so by now or is making the step again."""
    with suppress(LeasedError), store.lease(name):
        try:
            store.verified(name)
            store.step_record(name)
        except DamagedError:
            if store.folder(name).exists():
                store.set_aside(name, "damaged")


def _is_stale(step: Step, store: Store) -> bool:
    """Is a finished step stale, or too damaged to tell?"""
    try:
        return store.stale_reason(store.step_record(step.name)) is not None
    except DamagedError:
        return True
