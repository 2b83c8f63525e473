"""Making one step: under its lease, from verified inputs, into a folder that is whole or not there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from nosce.pipeline.context import Job
from nosce.pipeline.plan import Step
from nosce.store import fingerprint as source
from nosce.store.files import SCRATCH
from nosce.store.provenance import recorded
from nosce.store.store import Store
from nosce.train.config import Machine


def make_step(
    step: Step,
    store: Store,
    machine: Machine,
    progress: Callable[[int, int, float, float], None],
    *,
    again: bool = False,
) -> Literal["made", "found"]:
    """Make a step unless it is there; `again` makes a stale one again and sets the old one aside.

    Raises:
        LeasedError: Another process is making it.
        DamagedError: An input differs from its checksums.
        NosceError: Whatever the step's function has to say.
    """
    with store.lease(step.name):
        if store.has(step.name) and not (again and store.stale(store.made(step.name))):
            return "found"
        inputs = {role: store.verified(given.name) for role, given in step.inputs.items()}
        modules = source.modules(*step.roots)
        work = store.work(step.name)
        _same_code(store, step.name, source.combined(modules))
        with recorded() as provenance:
            job = Job(folder=work, machine=machine, progress=progress, memory=store.root / "machine.json")
            step.make(step.spec, inputs, job)
        provenance.update(
            **job.notes,
            what=step.what,
            roots=step.roots,
            folders=source.folders_of(*step.roots),
            modules=modules,
            source=source.combined(modules),
            inputs={given.name: store.made(given.name).digest for given in step.inputs.values()},
        )
        (work / "error.txt").unlink(missing_ok=True)
        store.finish(step.name, step.description, provenance)
        _mark(store, step.name).unlink(missing_ok=True)
        return "made"


def _same_code(store: Store, name: str, code: str) -> None:
    """Drop what an interrupted run left if other code left it: half of a step must not be made by each."""
    mark, work = _mark(store, name), store.work(name)
    if not mark.exists() or mark.read_text() != code:
        shutil.rmtree(work, ignore_errors=True)
        mark.write_text(code)
    (work / SCRATCH).mkdir(parents=True, exist_ok=True)


def _mark(store: Store, name: str) -> Path:
    """Which code is making a step; beside its lease, since the step's function owns its work folder."""
    return store.root / "leases" / f"{name}.source"
