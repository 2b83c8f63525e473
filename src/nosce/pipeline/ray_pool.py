"""The same steps as tasks on a Ray cluster, over a store that all its machines can reach (extra `ray`)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from nosce.errors import UsageError
from nosce.pipeline.local_pool import StepEvent, attempt_step
from nosce.pipeline.plan import Step
from nosce.store.store import Store
from nosce.train.config import RuntimeConfig


class RayPool:
    """Makes steps as Ray tasks; progress is not sent over the wire, only what became of a step."""

    def __init__(self, address: str, store: Store, runtime: RuntimeConfig) -> None:
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
        self.store, self.runtime = store, runtime
        self._running: dict[object, str] = {}  # step names by reference to a Ray task
        self._remote_attempt = ray.remote(num_cpus=runtime.threads, max_retries=0)(_attempt_on_node)

    @property
    def free_slots(self) -> int:
        """How many more steps could be made at once: as many as the cluster has cores."""
        return max(0, int(self._ray.cluster_resources().get("CPU", 1)) // self.runtime.threads - len(self._running))

    def submit(self, step: Step, *, rerun_stale: bool) -> None:
        """Start a task for the step."""
        self._running[self._remote_attempt.remote(step, str(self.store.root), self.runtime, rerun_stale)] = step.name

    def events(self, timeout: float) -> Iterator[StepEvent]:
        """What became of the tasks that ended."""
        if not self._running:
            time.sleep(min(timeout, 0.2))
            return
        ended, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout)
        for reference in ended:
            name = self._running.pop(reference)
            try:
                yield self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                yield StepEvent(
                    "failed", name, f"its Ray task ended: {str(error).splitlines()[0]}; run the same command again."
                )

    def close(self) -> None:
        """Cancel what runs and let go of the cluster."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()


def _attempt_on_node(step: Step, root: str, runtime: RuntimeConfig, rerun_stale: bool) -> StepEvent:
    return attempt_step(step, Store.open(Path(root)), runtime, rerun_stale, lambda _: None)
