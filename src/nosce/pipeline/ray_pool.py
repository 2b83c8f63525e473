"""The same steps as tasks on a Ray cluster, over a store that all its machines can reach (extra `ray`)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nosce.errors import UsageError
from nosce.pipeline.local_pool import Event, attempt
from nosce.pipeline.plan import Step
from nosce.store.store import Store
from nosce.train.config import Machine


class RayPool:
    """Makes steps as Ray tasks; progress is not sent over the wire, only what became of a step."""

    def __init__(self, address: str, store: Store, machine: Machine) -> None:
        try:
            import ray
        except ImportError as error:
            raise UsageError("--ray was given, but Ray is not installed; run `pip install 'nosce[ray]'`.") from error
        self._ray = ray
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            ray.init(address=None if address == "local" else address, log_to_driver=False, ignore_reinit_error=True)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"no Ray cluster answers at {address!r} ({error}); start one with `ray start --head`."
            ) from error
        self.store, self.machine = store, machine
        self._running: dict[Any, str] = {}
        self._make = ray.remote(num_cpus=machine.threads, max_retries=0)(_make)

    @property
    def free(self) -> int:
        """How many more steps could be made at once: as many as the cluster has cores."""
        return max(0, int(self._ray.cluster_resources().get("CPU", 1)) // self.machine.threads - len(self._running))

    def submit(self, step: Step, *, again: bool) -> None:
        """Start a task for the step."""
        self._running[self._make.remote(step, str(self.store.root), self.machine, again)] = step.name

    def events(self, seconds: float) -> Iterator[Event]:
        """What became of the tasks that ended."""
        if not self._running:
            time.sleep(min(seconds, 0.2))
            return
        ended, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        for reference in ended:
            name = self._running.pop(reference)
            try:
                yield self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                yield Event(
                    "failed", name, f"its Ray task ended: {str(error).splitlines()[0]}; run the same command again."
                )

    def close(self) -> None:
        """Cancel what runs and let go of the cluster."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()


def _make(step: Step, root: str, machine: Machine, again: bool) -> Event:
    return attempt(step, Store.at(Path(root)), machine, again, lambda _: None)
