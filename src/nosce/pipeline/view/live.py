"""The runs of a store while they go on: steps done of all, and who makes which step, how far.

All of it is read from the store's files, so that a run is seen whoever started it, on this machine or on another that
shares the disk. Nothing is written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from nosce.pipeline.command_lines import in_store
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.step_note import StepNote, metrics_note, parse_note
from nosce.store.lease import LeaseRecord, LeaseWatch, duration, holder_of, lease_note, lease_path
from nosce.store.store import Store
from nosce.store.text import printable

QUIET_SECONDS = 15  # from which the last sign of life is told, and how finely


@dataclass(frozen=True, kw_only=True)
class StepUnderWay:
    """A step that somebody makes, or began and left.

    Args:
        name: Name of the step.
        label: The step's purpose for people.
        holder: Host, process and start of the lease, for people.
        is_held: Whether the holder lives, as far as it can be known here.
        quiet_seconds: For how long no sign of life was seen, in whole multiples of `QUIET_SECONDS`.
        note: How far it is; None where it has not said.
    """

    name: str
    label: str
    holder: str
    is_held: bool
    quiet_seconds: int
    note: StepNote | None

    @property
    def kind(self) -> str:
        """Kind of the step, e.g. "training"."""
        return self.name.rpartition("-")[0]

    @property
    def progress(self) -> str:
        """How far it is, in words; "" where it has not said."""
        return "" if self.note is None else self.note.words

    @property
    def words(self) -> str:
        """Who makes it, and the last sign of life where it is not a moment ago."""
        if not self.is_held:
            return f"was being made by {self.holder}, which is gone; the next run goes on from there"
        quiet = f"; last sign of life {duration(self.quiet_seconds)} ago" if self.quiet_seconds else ""
        return f"by {self.holder}{quiet}"


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A run that goes on, or one that stopped before its end.

    Args:
        study: Name of the study.
        scale: Scale and variant.
        title: Title of the study.
        part: How much of the study it is of; "" for the whole.
        done: Number of finished steps.
        total: Number of steps.
        command: The command that goes on with it.
        steps: The steps under way, those first that are held.
    """

    study: str
    scale: str
    title: str
    part: str
    done: int
    total: int
    command: str
    steps: tuple[StepUnderWay, ...]

    @property
    def is_under_way(self) -> bool:
        """Does anybody make a step of it?"""
        return any(step.is_held for step in self.steps)

    @property
    def words(self) -> str:
        """Steps done of all, e.g. "61 of 120 steps done, 2 under way"."""
        held = sum(step.is_held for step in self.steps)
        return f"{self.done:,} of {self.total:,} steps done, {f'{held} under way' if held else 'nobody makes the rest'}"

    def to_json(self) -> dict[str, object]:
        """The run for `live.json`."""
        steps = [{**asdict(step), "kind": step.kind, "words": step.words} for step in self.steps]
        return {**vars(self), "is_under_way": self.is_under_way, "steps": steps}


class StoreWatch:
    """What one observer sees of the runs of a store; it is no safer among threads than a list.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.plans: list[PlanRecord] = []  # the newest first
        self._plans_seen: object = None
        self._watches: dict[str, LeaseWatch] = {}

    def look(self) -> tuple[RunState, ...]:
        """The runs now: those that go on, then those that stopped, the newest of each first."""
        self._read_plans()
        done = _names(self.store.root / "steps")
        by_plan: dict[int, list[StepUnderWay]] = {}
        for name in self._leased(done):
            place = next((i for i, plan in enumerate(self.plans) if name in plan.steps), -1)
            by_plan.setdefault(place, []).append(self._step(name, self.plans[place] if place >= 0 else None))
        runs, seen = [], set()
        for place, plan in enumerate(self.plans):
            is_newest = plan.identity not in seen
            seen.add(plan.identity)
            run = _run_state(plan, done, by_plan.get(place, ()), self.store)
            stopped = is_newest and plan.estimates not in done and run.done > 0
            if run.is_under_way or stopped:
                runs.append(run)
        if others := [step for step in by_plan.get(-1, ()) if step.is_held]:
            runs.append(_unplanned(others))
        return tuple(sorted(runs, key=lambda run: not run.is_under_way))

    def _read_plans(self) -> None:
        """Read the records of plans again if one of their files has changed; large plans take a while."""
        seen = file_times((self.store.root / "plans").glob("*.json"))
        if seen != self._plans_seen:
            self.plans, self._plans_seen = PlanRecord.load_all(self.store), seen

    def _leased(self, done: set[str]) -> list[str]:
        """The names of unfinished steps that have a lease; the watches of others are dropped."""
        files = _names(self.store.lease_folder)
        names = sorted({file.removesuffix(".json") for file in files if file.endswith(".json")} - done)
        self._watches = {name: watch for name, watch in self._watches.items() if name in names}
        return names

    def _step(self, name: str, plan: PlanRecord | None) -> StepUnderWay:
        folder = self.store.lease_folder
        state = self._watches.setdefault(name, LeaseWatch(folder, name)).look()
        quiet = self._watches[name].quiet_seconds
        try:
            note = parse_note(lease_note(folder, LeaseRecord.load(lease_path(folder, name)), name))
        except ValueError:
            note = None
        return StepUnderWay(
            name=printable(name),
            label="" if plan is None else printable(plan.steps[name].label),
            holder=holder_of(lease_path(folder, name)),
            is_held=state == "held",
            quiet_seconds=int(quiet) // QUIET_SECONDS * QUIET_SECONDS,
            note=note or metrics_note(self.store.work_folder(name)),
        )


def file_times(files: Iterable[Path]) -> tuple[tuple[str, int, int], ...]:
    """Path, time and size of each of these files that is there: what changes when one of them does."""
    times = []
    for file in sorted(files):
        with suppress(OSError):
            stat = file.stat()
            times.append((str(file), stat.st_mtime_ns, stat.st_size))
    return tuple(times)


def _run_state(plan: PlanRecord, done: set[str], steps: Sequence[StepUnderWay], store: Store) -> RunState:
    return RunState(
        study=plan.study,
        scale=plan.scale_label,
        title=printable(plan.title),
        part=plan.part,
        done=sum(name in done for name in plan.steps),
        total=len(plan.steps),
        command=without_passwords(printable(in_store(plan.command, store))),
        steps=tuple(sorted(steps, key=lambda step: (not step.is_held, step.name))),
    )


def _unplanned(steps: Sequence[StepUnderWay]) -> RunState:
    """The steps that are in no plan that the store has a record of."""
    title = "Steps of no recorded plan"
    return RunState(study="", scale="", title=title, part="", done=0, total=len(steps), command="", steps=tuple(steps))


def _names(folder: Path) -> set[str]:
    """The names in a folder; none where it is not there."""
    try:
        return {*os.listdir(folder)}
    except OSError:
        return set()


def without_passwords(text: str) -> str:
    """A text whose addresses have no user and password, e.g. of an endpoint."""
    return re.sub(r"(?<=://)[^/@\s]+@", "…@", text)
