"""The level of intervals: 95 % unless a block of code asks for another.

A claim that is looked at several times needs wider intervals at each look (`nosce.analysis.looks`). Every measure takes
its level from here, so that no measure, nor one of somebody's own that calls `nested_interval`, needs an argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

USUAL_LEVEL = 0.95  # the field's convention
_LEVEL: ContextVar[float] = ContextVar("interval_level", default=USUAL_LEVEL)


def interval_level() -> float:
    """The level of an interval for which no other is given, e.g. 0.95."""
    return _LEVEL.get()


@contextmanager
def at_level(level: float) -> Iterator[None]:
    """Give the intervals that are computed in the block this level, strictly between 0 and 1."""
    token = _LEVEL.set(level)
    try:
        yield
    finally:
        _LEVEL.reset(token)


def interval_tails() -> tuple[float, float]:
    """The shares below the two ends of an interval of percentiles, e.g. 0.025 and 0.975."""
    tail = round((1 - interval_level()) / 2, 12)  # exactly 0.025 at 95 %
    return tail, 1 - tail
