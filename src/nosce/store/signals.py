"""Signals that wait while a process is started: one that arrives half-way would leave a child without its task."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType


@contextmanager
def held_signal(number: signal.Signals, *, children_ignore: bool = False) -> Iterator[None]:
    """Have a signal wait until the end of the block, and then take effect.

    Args:
        number: The signal.
        children_ignore: Whether it is also held back in a process that the block starts, for good.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)

    before = signal.signal(number, note)  # a handler, not a mask: the signal may come to any thread of this process
    can_block = children_ignore and hasattr(signal, "pthread_sigmask")
    if can_block:
        resource_tracker.ensure_running()  # its first start would let the signal through
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        if can_block:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(number, before)
        if arrived:
            os.kill(os.getpid(), number)
