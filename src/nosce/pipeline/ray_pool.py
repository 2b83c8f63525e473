"""The same steps as tasks on a Ray cluster, over a store that all its machines can reach (extra `ray`).

A task asks for cores, memory and, for a step that runs a model, a GPU or a part of one. Ray chooses the machine and the
GPU; the task finds out where it runs what it was given, so the machine of the command needs no GPU.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from nosce.errors import UsageError
from nosce.pipeline.devices import GPU_KINDS, DeviceRequest
from nosce.pipeline.local_pool import StepEvent, attempt_step, worker_variables
from nosce.pipeline.step import Step
from nosce.store.files import create_exclusively
from nosce.store.fingerprint import user_module_folders
from nosce.store.store import Store
from nosce.train.config import RuntimeConfig

STORE_ID_FILE = "store-id"  # tells a node whether it sees the store of the command, or a folder of the same name
PROCESS_MEMORY = 2**30  # bytes of a process with torch, its inputs and a small model
ANSWER_SECONDS = 10.0  # in which a cluster's head answers a call
GPU_UNITS = 10_000  # Ray counts GPUs in ten-thousandths


@dataclass(frozen=True)
class TaskResources:
    """What a Ray task asks for; `memory` in bytes."""

    num_cpus: float
    num_gpus: float
    memory: int

    @classmethod
    def of(cls, step: Step, runtime: RuntimeConfig, request: DeviceRequest, *, has_gpus: bool) -> TaskResources:
        """The resources of a step: a GPU or the `per_gpu`-th part of one where it runs a model."""
        processes = runtime.processes if step.kind == "training" else 1
        n_gpus = float(processes)
        if request.per_gpu > 1:
            n_gpus = GPU_UNITS // request.per_gpu / GPU_UNITS  # rounded down, so that `per_gpu` of them fit
        uses_gpu = has_gpus and step.kind in GPU_KINDS
        return cls(runtime.threads * processes, n_gpus if uses_gpu else 0.0, PROCESS_MEMORY * processes)

    def fit(self, node: dict[str, float]) -> bool:
        """Has an idle node of these resources enough of each?"""
        asked = {"CPU": self.num_cpus, "GPU": self.num_gpus, "memory": self.memory}
        return all(node.get(name, 0.0) >= amount for name, amount in asked.items())


def _check_answers(address: str) -> None:
    """Refuse a host and port where nobody listens; Ray would go on asking for minutes.

    Raises:
        UsageError: Nobody listens.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"no Ray cluster answers at {address!r} ({error}); start one with `ray start --head`."
        ) from error


class RayPool:
    """Makes steps as Ray tasks; progress is not sent over the wire, only what became of a step.

    Args:
        address: Address of the cluster, or "local" for one of this machine alone.
        store: The store, on a disk that all nodes share.
        runtime: What changes the speed of a step and not its result; the device is chosen where the step runs.
        request: What the command asks of devices.
    """

    def __init__(
        self, address: str, store: Store, runtime: RuntimeConfig, request: DeviceRequest | None = None
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise UsageError("--ray was given, but Ray is not installed; run `pip install 'nosce[ray]'`.") from error
        self._ray = ray
        self.store, self.runtime, self.request = store, runtime, request or DeviceRequest()
        self._check_request()
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        _check_answers(address)
        try:
            # Without an address Ray would join a cluster that a file of /tmp names, even one that is long gone.
            ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"no Ray cluster answers at {address!r} ({error}); start one with `ray start --head`."
            ) from error
        n_gpus = ray.cluster_resources().get("GPU", 0)
        if self.request.device == "cuda" and not n_gpus:
            ray.shutdown()
            raise UsageError("--device cuda was asked for, but no node of the Ray cluster has a GPU; leave it out.")
        self._has_gpus = self.request.device != "cpu" and n_gpus > 0
        self._running: dict[object, str] = {}
        self._refused: list[StepEvent] = []
        self._store_id = _store_id(store)

    def _check_request(self) -> None:
        if self.request.workers is not None:
            raise UsageError("--workers is for this machine alone; on a cluster leave it out, Ray counts for itself.")
        if (device := self.request.device) not in (None, "cpu", "cuda"):
            raise UsageError(f"--device {device} names a device of one machine; on a cluster take cuda or cpu.")

    @property
    def free_slots(self) -> int:
        """How many more steps could be made at once: as many as the cluster has cores."""
        return max(0, int(self._ray.cluster_resources().get("CPU", 1)) // self.runtime.threads - len(self._running))

    def submit(self, step: Step, *, rerun_stale: bool) -> None:
        """Start a task for the step; one that no node could ever run fails."""
        resources = TaskResources.of(step, self.runtime, self.request, has_gpus=self._has_gpus)
        if not any(resources.fit(node["Resources"]) for node in self._ray.nodes() if node["Alive"]):
            self._refused.append(
                StepEvent(
                    "failed",
                    step.name,
                    f"it asks for {resources.num_cpus:g} cores, {resources.num_gpus:g} GPUs and "
                    f"{resources.memory / 2**30:.1f} GiB of memory, and no node of the cluster has as much; add a "
                    "larger one, or take fewer --threads or --processes.",
                )
            )
            return
        task = self._ray.remote(
            num_cpus=resources.num_cpus,
            num_gpus=resources.num_gpus,
            memory=resources.memory,
            max_retries=0,
            # A process keeps the GPU that it has seen first, so the next task gets a process of its own.
            max_calls=1 if resources.num_gpus else 0,
            runtime_env={"env_vars": self._variables(step, uses_gpu=resources.num_gpus > 0)},
        )(_attempt_on_node)
        root = str(self.store.root)
        self._running[task.remote(step, root, self._store_id, self.runtime, rerun_stale)] = step.name

    def _variables(self, step: Step, *, uses_gpu: bool) -> dict[str, str]:
        """The environment of a task; one without a GPU sees none, and its process is never given to one with."""
        variables = worker_variables(self.runtime.threads)
        if folders := user_module_folders(*step.source_modules):  # of a study that is a file: Ray knows no such folder
            variables["PYTHONPATH"] = os.pathsep.join([*folders, "${PYTHONPATH}"])
        return variables if uses_gpu else variables | {"CUDA_VISIBLE_DEVICES": ""}

    def events(self, timeout: float) -> Iterator[StepEvent]:
        """What became of the tasks that ended."""
        if self._refused:
            yield self._refused.pop()
            return
        if not self._running:
            time.sleep(min(timeout, 0.2))
            return
        ended, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout)
        for reference in ended:
            name = self._running.pop(reference)
            try:
                yield self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                reason = str(error).strip().splitlines()[-1]  # the first line names our function, the last the cause
                yield StepEvent("failed", name, f"its Ray task ended: {reason}; run the same command again.")

    def close(self) -> None:
        """Cancel what runs and let go of the cluster."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()


def _store_id(store: Store) -> str:
    """The name that the store was given when a cluster first used it."""
    path = store.root / STORE_ID_FILE
    if not path.exists():
        create_exclusively(path, uuid.uuid4().hex)
    return path.read_text(encoding="utf-8")


def _attempt_on_node(step: Step, root: str, store_id: str, runtime: RuntimeConfig, rerun_stale: bool) -> StepEvent:
    """Make a step where Ray has put it, on the GPUs that Ray has given to it."""
    import ray

    id_file = Path(root) / STORE_ID_FILE
    try:
        is_shared = id_file.read_text(encoding="utf-8") == store_id
    except OSError:
        is_shared = False
    if not is_shared:
        return StepEvent(
            "failed",
            step.name,
            f"the machine {socket.gethostname()} does not see the store {root}; name a --store on a disk that all "
            "machines of the cluster share.",
        )
    n_gpus = len(ray.get_gpu_ids())
    runtime = replace(runtime, device="cuda" if n_gpus else "cpu")
    return attempt_step(step, Store.open(Path(root)), runtime, rerun_stale, lambda _: None)
