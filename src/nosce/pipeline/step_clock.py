"""What a step has taken, earlier attempts included: a resumed step would else be the cheapest of its kind."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from nosce.store.files import load_json_object, write_atomically

SECONDS_BETWEEN = 5.0  # so much of an attempt that is killed may be lost
AMOUNTS = ("seconds", "cpu_seconds")


class StepClock:
    """The seconds of a step, which an attempt writes down now and then for the one that goes on.

    Args:
        path: The file that earlier attempts have left, and that this one leaves if it does not end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started, self._cpu_started = time.perf_counter(), time.process_time()
        self._kept = self._started
        self._earlier = _amounts(path)

    def keep(self) -> None:
        """Write down what was taken so far, if the last time is a while ago."""
        now = time.perf_counter()
        if now - self._kept >= SECONDS_BETWEEN:
            self._kept = now
            taken = {"seconds": now - self._started, "cpu_seconds": time.process_time() - self._cpu_started}
            write_atomically(self.path, json.dumps(self.with_earlier(taken)))

    def with_earlier(self, taken: Mapping[str, object]) -> dict[str, float]:
        """The amounts of an attempt with those of all before it."""
        return {name: round(float(str(taken[name])) + self._earlier[name], 3) for name in AMOUNTS}


def _amounts(path: Path) -> dict[str, float]:
    """What a file says; nothing where it is not there or not whole."""
    try:
        found = load_json_object(path)
        return {name: float(found[name]) for name in AMOUNTS}
    except (OSError, ValueError, KeyError, TypeError):
        return dict.fromkeys(AMOUNTS, 0.0)
