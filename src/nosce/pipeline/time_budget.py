"""A time limit for work that only asks how long other work would take.

What does not fit is given up in the middle. Its duration is then not known, which is another thing than zero.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
REPEAT_SECONDS = 0.1  # until the alarm rings again, if a library swallowed it or an import had to end first


class OutOfTime(BaseException):
    """The limit is reached; no `Exception`, so that no library takes it for an error of its own."""


class TimeBudget:
    """Seconds by the clock on the wall, from now on.

    Args:
        seconds: How many there are in all; math.inf: as many as it takes.
    """

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds that are left, 0 or more."""
        return max(0.0, self._ends - time.monotonic())

    def attempt(self, call: Callable[[], T], seconds: float | None = None) -> T | None:
        """What the call returns; None where it takes longer than is left.

        Args:
            call: The work. It may be interrupted anywhere, so it must leave nothing that others use.
            seconds: Give up after so many seconds already.
        """
        limit = self.remaining if seconds is None else min(seconds, self.remaining)
        if limit <= 0:
            return None
        if math.isinf(limit):
            return call()
        ends = time.monotonic() + limit
        try:
            with _alarm(limit):
                return call()
        except OutOfTime:
            return None
        except Exception:
            if time.monotonic() >= ends:  # a library made an error of its own of the alarm
                return None
            raise


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` in the block after so many seconds, where the system can: in Unix's main thread."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, _raise_out_of_time)
    signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _raise_out_of_time(_: int, frame: FrameType | None) -> None:
    """Raise `OutOfTime`, but neither within an import, which would leave half a module behind, nor where an object is
    deleted, whose errors Python prints and drops; the alarm rings again.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib") or frame.f_code.co_name == "__del__":
            return
        frame = frame.f_back
    raise OutOfTime
