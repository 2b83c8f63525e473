"""Processes with a hash seed of their own, which render the first texts of a world and send back a digest.

A process serves every world that its parent checks in a row, since starting Python and importing libraries takes longer
than rendering. It ends with its parent, or when nothing was asked of it for a while, since it holds memory.
"""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from nosce.errors import LeakageError
from nosce.records import Document
from nosce.seeds import Seed
from nosce.store.signals import held_signal

Renderer = Callable[[Seed], Iterable[Document]]
MAX_IDLE_SECONDS = 60.0  # until a process that is asked nothing ends
MAX_REUSE_SECONDS = 15.0  # since its last answer, in which a process is asked again: far from its end


@dataclass(slots=True)
class _RenderingProcess:
    """A process, the import path that it was started with, and when it answered last.

    On another path a module may be another file.
    """

    process: SpawnProcess
    connection: Connection
    import_path: tuple[str, ...]
    answered: float

    @property
    def is_usable(self) -> bool:
        """Is it alive and to stay so, and does it import the same files as this process?"""
        is_recent = time.monotonic() - self.answered < MAX_REUSE_SECONDS
        return is_recent and self.import_path == tuple(sys.path) and self.process.is_alive()

    def close(self) -> None:
        """Have it end, and wait for that."""
        self.connection.close()
        self.process.join()


_processes: dict[str, _RenderingProcess] = {}  # by hash seed


def digest_in_other_process(render_documents: Renderer, seed: Seed, hash_seed: str, n_texts: int) -> str:
    """The digest of the first `n_texts` documents, rendered in a process whose hash seed is `hash_seed`.

    Raises:
        LeakageError: The function cannot be sent to another process, or failed there.
    """
    try:
        other = _usable_process(hash_seed)
        other.connection.send((render_documents, seed, n_texts))
    except Exception as error:  # pickling an object can raise any exception
        raise LeakageError(
            f"the world cannot be sent to a second process ({error}), so its bytes could not be compared; define its "
            "class at the top of an importable module."
        ) from error
    try:
        digest = str(other.connection.recv())
    except (EOFError, ConnectionResetError):
        _processes.pop(hash_seed).close()
        raise LeakageError(
            "a second process could not render the world's texts (its message is above), so its bytes could not be "
            "compared; make the world importable by its module's name."
        ) from None
    other.answered = time.monotonic()
    return digest


def _usable_process(hash_seed: str) -> _RenderingProcess:
    """The process with a hash seed; a new one where there is none that can be used."""
    there = _processes.get(hash_seed)
    if there is not None and there.is_usable:
        return there
    if there is not None:
        _processes.pop(hash_seed).close()
    _processes[hash_seed] = _start(hash_seed)
    return _processes[hash_seed]


def _start(hash_seed: str) -> _RenderingProcess:
    context = multiprocessing.get_context("spawn")
    connection, child_end = context.Pipe()
    previous_hash_seed = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = hash_seed  # the child reads it when it starts
    try:
        process = context.Process(target=_serve, args=(child_end,), daemon=True)
        with held_signal(signal.SIGTERM):
            process.start()
    finally:
        os.environ.pop("PYTHONHASHSEED")
        if previous_hash_seed is not None:
            os.environ["PYTHONHASHSEED"] = previous_hash_seed
    child_end.close()
    return _RenderingProcess(process, connection, tuple(sys.path), time.monotonic())


def _serve(connection: Connection) -> None:
    """Answer until nothing more is asked; a world that fails ends the process with its traceback."""
    while connection.poll(MAX_IDLE_SECONDS):
        try:
            render_documents, seed, n_texts = connection.recv()
        except (EOFError, ConnectionResetError):  # the parent is gone, or ended before it read the last digest
            return
        digest = hashlib.sha256()
        for document in itertools.islice(render_documents(seed), n_texts):
            digest.update(repr(document).encode())
        with suppress(BrokenPipeError, ConnectionResetError):  # the run that waits for the digest was stopped
            connection.send(digest.hexdigest())
