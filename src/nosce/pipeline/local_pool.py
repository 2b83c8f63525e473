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
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Literal

from nosce.errors import DamagedError, LeasedError, NosceError
from nosce.pipeline.plan import Step
from nosce.store.store import Store, refused
from nosce.train.config import Machine

Kind = Literal["progress", "made", "found", "leased", "damaged", "failed"]
REPORT_SECONDS = 0.5  # between two progress reports of one worker


@dataclass(frozen=True, slots=True)
class Event:
    """What a worker tells: how far a step is, or what became of it."""

    kind: Kind
    name: str  # of the step
    detail: Any = None  # progress: (done, of, tokens per second, loss); else a sentence or None


def attempt(step: Step, store: Store, machine: Machine, again: bool, tell: Callable[[Event], None]) -> Event:
    """Make one step under its lease and say what became of it; never raises but when nobody listens."""
    from nosce.pipeline.run_step import make_step

    last = 0.0

    def progress(done: int, of: int, rate: float, loss: float) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= REPORT_SECONDS or done == of:
            last = now
            tell(Event("progress", step.name, (done, of, rate, loss)))

    try:
        return Event(make_step(step, store, machine, progress, again=again), step.name)
    except (BrokenPipeError, ConnectionResetError):
        raise
    except LeasedError as error:
        return Event("leased", step.name, str(error))
    except DamagedError as error:
        return Event("damaged", step.name, str(error))
    except NosceError as error:
        return Event("failed", step.name, str(error))
    except OSError as error:
        return Event("failed", step.name, str(refused(error, store.root)))
    except Exception as error:
        # Libraries written in Rust (safetensors, polars) tell a disk's refusal with their own exceptions.
        if told := re.search(r"([^:]*)\(os error (\d+)\)", str(error)):
            system = OSError(int(told[2]), told[1].strip())
            return Event("failed", step.name, str(refused(system, store.work(step.name))))
        return Event("failed", step.name, _unforeseen(step, store))


def _unforeseen(step: Step, store: Store) -> str:
    """A fault of ours or of a plug-in: the traceback goes to a file, the sentence says where."""
    text = traceback.format_exc()
    last = text.strip().splitlines()[-1]
    path = store.work(step.name) / "error.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError:
        return f"it broke with {last}"
    return f"it broke with {last} (the whole traceback is in {path})"


def _work(connection: Connection, root: Path, machine: Machine, cores: set[int] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    store = Store(root)
    try:
        while (task := connection.recv()) is not None:
            step, again = task
            connection.send(attempt(step, store, machine, again, connection.send))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        sys.exit(1)  # the parent is gone


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    step: Step | None = None


class LocalPool:
    """Worker processes on this machine; starts them when the first steps come, stops them at the end."""

    def __init__(self, store: Store, workers: int, machine: Machine) -> None:
        self.store, self.size, self.machine = store, workers, machine
        self._workers: list[_Worker] = []

    @property
    def free(self) -> int:
        """How many more steps could be made at once."""
        return self.size - sum(w.step is not None for w in self._workers)

    def submit(self, step: Step, *, again: bool) -> None:
        """Have a free worker make the step."""
        self._workers = [w for w in self._workers if w.step is not None or w.process.is_alive()]
        worker = next((w for w in self._workers if w.step is None), None) or self._started()
        worker.step = step
        worker.connection.send((step, again))

    def events(self, seconds: float) -> Iterator[Event]:
        """What the workers have told, waiting at most so long for the first word."""
        busy = {w.connection: w for w in self._workers if w.step is not None}
        for connection in wait(list(busy), timeout=seconds) if busy else []:
            worker = busy[connection]  # type: ignore[index]
            assert worker.step is not None
            try:
                event = worker.connection.recv()
            except (EOFError, ConnectionResetError):
                worker.process.join()
                self._workers.remove(worker)
                yield Event("failed", worker.step.name, _death(worker.process.exitcode))
                continue
            if event.kind != "progress":
                worker.step = None
            yield event
        if not busy:
            time.sleep(min(seconds, 0.2))

    def close(self) -> None:
        """Stop all workers; what they had in hand can be gone on with."""
        for worker in self._workers:
            if worker.step is None:
                with suppress(BrokenPipeError):  # it died while it waited
                    worker.connection.send(None)
            else:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
        self._workers.clear()

    def _started(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        cores = _share(len(self._workers), self.size, self.machine.threads)
        process = context.Process(target=_work, args=(theirs, self.store.root, self.machine, cores))
        with _uninterrupted(), _environment(self.machine.threads):
            process.start()
        theirs.close()
        self._workers.append(worker := _Worker(process, ours))
        return worker


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """A process started in this block finds these variables before it imports anything.

    Set by the process itself they would come too late: numpy has its threads from the moment it is imported.
    """
    given = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), str(threads))
    given |= dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS"), "1")
    # Deterministic matrix products on a GPU need the first before the library is loaded.
    defaults = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "TOKENIZERS_PARALLELISM": "false"}
    given |= {name: value for name, value in defaults.items() if name not in os.environ}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A process started in this block ignores Ctrl-C from its first moment: its parent decides what that means."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def cores() -> list[int]:
    """The cores this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _share(number: int, size: int, threads: int) -> set[int] | None:
    """The cores of worker `number`; None where there are not enough to give each its own."""
    mine = cores()
    if size * threads > len(mine):
        return None
    each = len(mine) // size
    return set(mine[number % size * each : (number % size + 1) * each])


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return (
            f"its process was ended by {signal.Signals(-code).name}, for want of memory if nobody sent it; "
            "run the same command again, with fewer --workers if it was memory."
        )
    return f"its process ended with code {code} and no word; run the same command again."
