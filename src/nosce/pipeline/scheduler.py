"""Doing what is not done yet of a plan, independent steps side by side.

The scheduler knows steps and a pool that makes them; whether the pool is local processes or a Ray
cluster is the pool's business. Whatever happens, finished steps stay finished.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from nosce.errors import DamagedError
from nosce.pipeline.local_pool import Event
from nosce.pipeline.plan import Plan, Step
from nosce.store.store import Store

WAIT = 1.0  # seconds before a step that somebody else is making is looked at again


class Pool(Protocol):
    """Something that makes steps."""

    @property
    def free(self) -> int:
        """How many more steps could be made at once."""
        ...

    def submit(self, step: Step, *, again: bool) -> None:
        """Start making a step."""
        ...

    def events(self, seconds: float) -> Iterator[Event]:
        """What has happened, waiting at most so long for something to happen."""
        ...

    def close(self) -> None:
        """Stop everything."""
        ...


class Watcher(Protocol):
    """Somebody who is told what happens, e.g. the terminal."""

    def started(self, step: Step) -> None:
        """A step has been handed to a worker."""
        ...

    def heard(self, step: Step, event: Event) -> None:
        """A worker has told something."""
        ...

    def said(self, sentence: str) -> None:
        """Something a person should read."""
        ...


@dataclass
class Outcome:
    """What a run did: steps made now, failures by step name, and sentences on stale steps left alone."""

    made: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)


def needed(plan: Plan, store: Store, *, fresh: bool = False, lost: Collection[str] = ()) -> list[Step]:
    """The steps to make, in order: what the estimates lack, what is `lost`, and with `fresh` what is stale.

    A finished step whose inputs have been cleared away is used as it is.
    """
    wanted: set[str] = set()
    remake: set[str] = set()
    for step in plan.all:
        made_before = store.has(step.name)
        follows = any(given.name in remake for given in step.inputs.values())
        if not made_before or (fresh and (follows or _outdated(step, store))):
            remake.add(step.name)

    def want(step: Step) -> None:
        if step.name in remake and step.name not in wanted:
            wanted.add(step.name)
            for given in step.inputs.values():
                want(given)

    want(plan.last)
    for step in plan.all:  # these are made again even where what was made from them is still there
        if fresh or step.name in lost:
            want(step)
    return [step for step in plan.all if step.name in wanted]


def verify(plan: Plan, store: Store) -> dict[str, str]:
    """Set aside every damaged step of the plan; the sentences that say so, by step."""
    said = {}
    for step in plan.all:
        if store.has(step.name):
            try:
                store.verified(step.name)
                store.made(step.name)
            except DamagedError as error:
                store.set_aside(step.name, "damaged")
                said[step.name] = str(error)
    return said


def execute(plan: Plan, store: Store, pool: Pool, watcher: Watcher, *, fresh: bool = False) -> Outcome:
    """Make what is needed and return what was done; failures do not stop independent steps.

    A step that another process is making is waited for, and found done.
    """
    outcome = Outcome()
    lost = verify(plan, store)
    for sentence in lost.values():
        watcher.said(sentence)
    waiting = {step.name: step for step in needed(plan, store, fresh=fresh, lost=lost)}
    running: dict[str, Step] = {}
    not_before: dict[str, float] = {}
    steps = {step.name: step for step in plan.all}
    try:
        while waiting or running:
            for step in _ready(waiting, {*running, *outcome.failed}, not_before, pool.free):
                running[step.name] = waiting.pop(step.name)
                pool.submit(step, again=fresh)
                watcher.started(step)
            if not running and not _alive(waiting, outcome.failed):
                break
            for event in pool.events(0.5):
                step = steps[event.name]
                watcher.heard(step, event)
                if event.kind == "progress":
                    continue
                running.pop(event.name)
                _settle(event, step, outcome, waiting, running, not_before, store, watcher)
    finally:
        pool.close()
    if not fresh:
        outcome.stale = [f"{s.name} is stale: {why}" for s in plan.all if store.has(s.name)
                         and s.name not in outcome.made and (why := store.stale(store.made(s.name)))]  # fmt: skip
    return outcome


def _ready(waiting: dict[str, Step], unusable: Collection[str], not_before: dict[str, float], free: int) -> list[Step]:
    """The steps that could be started now, as many as there is room for: all their inputs are there."""
    now = time.monotonic()
    ready = []
    for step in waiting.values():
        blocked = any(given.name in waiting or given.name in unusable for given in step.inputs.values())
        if not blocked and not_before.get(step.name, 0) <= now:
            ready.append(step)
    return ready[:free]


def _alive(waiting: dict[str, Step], failed: dict[str, str]) -> bool:
    """Is there a waiting step that does not hang on a failed one?"""
    dead = set(failed)
    for step in waiting.values():  # in the order of the plan, so inputs come first
        if any(given.name in dead for given in step.inputs.values()):
            dead.add(step.name)
    return any(name not in dead for name in waiting)


def _settle(
    event: Event,
    step: Step,
    outcome: Outcome,
    waiting: dict[str, Step],
    running: dict[str, Step],
    not_before: dict[str, float],
    store: Store,
    watcher: Watcher,
) -> None:
    """Book what became of a step."""
    match event.kind:
        case "made":
            outcome.made.append(step.name)
        case "leased":
            if step.name not in not_before:
                watcher.said(str(event.detail))
            not_before[step.name] = time.monotonic() + WAIT
            waiting[step.name] = step
        case "damaged":
            watcher.said(str(event.detail))
            lost = [given for given in step.inputs.values() if _lost(given, store)]
            if not lost:  # then making inputs again would not help, now or ever
                outcome.failed[step.name] = str(event.detail)
                return
            for given in lost:
                if given.name not in running:
                    waiting[given.name] = given
            waiting[step.name] = step
        case "failed":
            outcome.failed[step.name] = str(event.detail)
        case _:
            pass


def _lost(step: Step, store: Store) -> bool:
    """Is a step no longer there, or damaged?  If damaged it is set aside."""
    try:
        store.verified(step.name)
    except DamagedError:
        if store.folder(step.name).exists():
            store.set_aside(step.name, "damaged")
        return True
    return False


def _outdated(step: Step, store: Store) -> bool:
    """Is a finished step stale, or too damaged to tell?"""
    try:
        return store.stale(store.made(step.name)) is not None
    except DamagedError:
        return True
