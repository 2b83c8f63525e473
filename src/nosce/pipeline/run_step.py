"""Making one step: under its lease, from verified inputs, into a folder that is whole or not there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from nosce.pipeline.context import StepContext, StepProgress
from nosce.pipeline.step import Step
from nosce.pipeline.step_clock import StepClock
from nosce.pipeline.step_note import note_text
from nosce.store import fingerprint as source
from nosce.store.files import SCRATCH, write_atomically
from nosce.store.lease import Lease
from nosce.store.provenance import record_provenance
from nosce.store.store import Store
from nosce.train.config import RuntimeConfig


def run_step(
    step: Step,
    store: Store,
    runtime: RuntimeConfig,
    progress: Callable[[StepProgress], None],
    *,
    rerun_stale: bool = False,
) -> Literal["made", "found"]:
    """Make a step unless it is there; `rerun_stale` makes a stale one again and sets the old one aside.

    Raises:
        LeasedError: Another process is making it, or has taken it over while this one gave no sign of life.
        DamagedError: An input differs from its checksums.
        NosceError: Whatever the step's function has to say.
    """
    with store.lease(step.name) as lease:
        if store.has_now(step.name) and not (rerun_stale and store.stale_reason(store.step_record(step.name))):
            return "found"
        inputs = {role: store.verified(given.name) for role, given in step.inputs.items()}
        modules = source.module_hashes(*step.source_modules)
        work_folder = store.work_folder(step.name)
        _discard_other_code(store, step.name, source.combine_hashes(modules))
        clock = StepClock(store.lease_folder / f"{step.name}.spent")
        with record_provenance() as provenance:
            report = partial(report_progress, lease, progress, clock)
            context = StepContext(folder=work_folder, runtime=runtime, progress=report, store_root=store.root)
            step.make(step.spec, inputs, context)
        provenance.update(
            **context.extra_provenance,
            **clock.with_earlier(provenance),
            what=step.label,
            roots=step.source_modules,
            folders=source.user_module_folders(*step.source_modules),
            modules=modules,
            source=source.combine_hashes(modules),
            inputs={given.name: store.step_record(given.name).digest for given in step.inputs.values()},
        )
        lease.check(look=True)
        (work_folder / "error.txt").unlink(missing_ok=True)
        store.finish(step.name, step.description, provenance)
        _source_hash_file(store, step.name).unlink(missing_ok=True)
        clock.path.unlink(missing_ok=True)
        return "made"


def report_progress(lease: Lease, tell: Callable[[StepProgress], None], clock: StepClock, report: StepProgress) -> None:
    """Tell a step's progress to the run that makes it, and to whoever reads the note of its lease.

    Raises:
        LeasedError: Another process has taken the step over.
    """
    lease.check()
    lease.note = partial(note_text, report)
    clock.keep()
    tell(report)


def _discard_other_code(store: Store, name: str, source_hash: str) -> None:
    """Drop what an interrupted run left if other code left it: half of a step must not be made by each."""
    mark, work = _source_hash_file(store, name), store.work_folder(name)
    try:
        is_same_code = mark.read_bytes() == source_hash.encode()
    except OSError:
        is_same_code = False
    if not is_same_code:
        shutil.rmtree(work, ignore_errors=True)
        (store.lease_folder / f"{name}.spent").unlink(missing_ok=True)
        write_atomically(mark, source_hash)
    (work / SCRATCH).mkdir(parents=True, exist_ok=True)


def _source_hash_file(store: Store, name: str) -> Path:
    """Which code is making a step; beside its lease, since the step's function owns its work folder."""
    return store.root / "leases" / f"{name}.source"
