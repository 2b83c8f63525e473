"""Local worker processes, each with its own share of the cores, that make one step at a time.

A worker that loses its parent stops at the next report, so that a killed run leaves nobody behind who
still holds a lease.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Literal

from nosce.errors import DamagedError, LeasedError, NosceError
from nosce.pipeline.context import StepProgress
from nosce.pipeline.step import Step
from nosce.store.signals import held_signal
from nosce.store.store import Store, store_write_error
from nosce.train.config import RuntimeConfig

EventKind = Literal["progress", "made", "found", "leased", "damaged", "failed"]
REPORT_SECONDS = 0.5  # between two progress reports of one worker


@dataclass(frozen=True, slots=True)
class StepEvent:
    """An event that a worker sends: the progress of a step, or its outcome."""

    kind: EventKind
    step_name: str  # of the step
    detail: StepProgress | str | None = None  # of "progress", or a sentence


def attempt_step(
    step: Step, store: Store, runtime: RuntimeConfig, rerun_stale: bool, emit: Callable[[StepEvent], None]
) -> StepEvent:
    """Make one step under its lease; the outcome is an event, and only a broken connection is raised."""
    from nosce.pipeline.run_step import run_step

    last_report = 0.0

    def progress(report: StepProgress) -> None:
        nonlocal last_report
        if (now := time.monotonic()) - last_report >= REPORT_SECONDS or report.done == report.total:
            last_report = now
            emit(StepEvent("progress", step.name, report))

    try:
        return StepEvent(run_step(step, store, runtime, progress, rerun_stale=rerun_stale), step.name)
    except (BrokenPipeError, ConnectionResetError):
        raise
    except LeasedError as error:
        return StepEvent("leased", step.name, str(error))
    except DamagedError as error:
        return StepEvent("damaged", step.name, str(error))
    except NosceError as error:
        return StepEvent("failed", step.name, str(error))
    except OSError as error:
        return StepEvent("failed", step.name, str(store_write_error(error, store.root)))
    except Exception as error:
        # Libraries written in Rust (safetensors, polars) tell a disk's refusal with their own exceptions.
        if errno_match := re.search(r"([^:]*)\(os error (\d+)\)", str(error)):
            os_error = OSError(int(errno_match[2]), errno_match[1].strip())
            return StepEvent("failed", step.name, str(store_write_error(os_error, store.work_folder(step.name))))
        return StepEvent("failed", step.name, _unexpected_error(step, store))


def _unexpected_error(step: Step, store: Store) -> str:
    """A fault of ours or of a plug-in: the traceback goes to a file, the sentence says where."""
    text = traceback.format_exc()
    last_line = text.strip().splitlines()[-1]
    path = store.work_folder(step.name) / "error.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError:
        return f"it broke with {last_line}"
    return f"it broke with {last_line} (the whole traceback is in {path})"


def _worker_main(connection: Connection, root: Path, runtime: RuntimeConfig, cores: set[int] | None) -> None:
    # The parent decides what an interrupt means. Where the system can, it is held back in this process from the start
    # and for good (`held_signal`): polars sets a handler of its own while it works, which an ignored one would reach.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    store = Store(root)
    try:
        while (task := connection.recv()) is not None:
            step, rerun_stale = task
            connection.send(attempt_step(step, store, runtime, rerun_stale, connection.send))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        sys.exit(1)  # the parent is gone


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    slot: int  # decides its cores and its GPU; no two living workers have the same
    step: Step | None = None


class LocalPool:
    """Worker processes on this machine; starts them when the first steps come, stops them at the end.

    Args:
        store: The store.
        n_workers: Number of worker processes.
        runtime: What changes the speed of a step and not its result.
        visible_gpus: CUDA_VISIBLE_DEVICES of each worker. Empty: the workers see what this process sees.
    """

    def __init__(self, store: Store, n_workers: int, runtime: RuntimeConfig, visible_gpus: Sequence[str] = ()) -> None:
        self.store, self.n_workers, self.runtime, self.visible_gpus = store, n_workers, runtime, visible_gpus
        self._workers: list[_Worker] = []

    @property
    def free_slots(self) -> int:
        """How many more steps could be made at once."""
        return self.n_workers - sum(w.step is not None for w in self._workers)

    def submit(self, step: Step, *, rerun_stale: bool) -> None:
        """Have a free worker make the step."""
        self._workers = [w for w in self._workers if w.step is not None or w.process.is_alive()]
        worker = next((w for w in self._workers if w.step is None), None) or self._start_worker()
        worker.step = step
        worker.connection.send((step, rerun_stale))

    def events(self, timeout: float) -> Iterator[StepEvent]:
        """The workers' events, after waiting at most `timeout` seconds for the first."""
        busy = {w.connection: w for w in self._workers if w.step is not None}
        for connection in wait(list(busy), timeout=timeout) if busy else []:
            worker = busy[connection]  # type: ignore[index]
            assert worker.step is not None
            try:
                event = worker.connection.recv()
            except (EOFError, ConnectionResetError):
                worker.process.join()
                self._workers.remove(worker)
                yield StepEvent("failed", worker.step.name, _exit_message(worker.process.exitcode))
                continue
            if event.kind != "progress":
                worker.step = None
            yield event
        if not busy:
            time.sleep(min(timeout, 0.2))

    def close(self) -> None:
        """Stop all workers; a later run resumes their unfinished steps."""
        for worker in self._workers:
            if worker.step is None:
                with suppress(BrokenPipeError):  # it died while it waited
                    worker.connection.send(None)
            else:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
        self._workers.clear()

    def _start_worker(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        parent_end, child_end = context.Pipe()
        taken = {w.slot for w in self._workers}
        slot = next(i for i in range(self.n_workers) if i not in taken)  # one that died may have had any of them
        cores = _worker_cores(slot, self.n_workers, self.runtime.threads * self.runtime.processes)
        process = context.Process(target=_worker_main, args=(child_end, self.store.root, self.runtime, cores))
        gpus = self.visible_gpus[slot] if self.visible_gpus else None
        # Ctrl-C goes to every process of a terminal. The parent decides what it means, also for a worker that is only
        # just starting, and loses none that is pressed meanwhile.
        with held_signal(signal.SIGINT, children_ignore=True), _worker_environment(self.runtime.threads, gpus):
            process.start()
            child_end.close()
            self._workers.append(worker := _Worker(process, parent_end, slot))
        return worker


def worker_variables(threads: int) -> dict[str, str]:
    """The environment variables of a process that makes steps, here or on another machine."""
    variables = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), str(threads))
    variables |= dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS"), "1")
    # Deterministic matrix products on a GPU need the first before the library is loaded.
    defaults = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "TOKENIZERS_PARALLELISM": "false"}
    return variables | {name: value for name, value in defaults.items() if name not in os.environ}


@contextmanager
def _worker_environment(threads: int, visible_gpus: str | None = None) -> Iterator[None]:
    """A process started in this block finds these variables before it imports anything.

    Set by the process itself they would come too late: numpy has its threads from the moment it is imported, and
    CUDA its devices from the first look at them.
    """
    variables = worker_variables(threads)
    if visible_gpus is not None:
        variables["CUDA_VISIBLE_DEVICES"] = visible_gpus
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})


def available_cores() -> list[int]:
    """The cores this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _worker_cores(index: int, n_workers: int, threads: int) -> set[int] | None:
    """The cores of worker `index`; None where there are not enough to give each its own."""
    available = available_cores()
    if n_workers * threads > len(available):
        return None
    per_worker = len(available) // n_workers
    return set(available[index % n_workers * per_worker : (index % n_workers + 1) * per_worker])


def _exit_message(code: int | None) -> str:
    if code is not None and code < 0:
        return (
            f"its process was ended by {signal.Signals(-code).name}, for want of memory if nobody sent it; "
            "run the same command again, with fewer --workers if it was memory."
        )
    return f"its process ended with code {code} and no word; run the same command again."
