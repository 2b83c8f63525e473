"""The GPUs of this machine, and which worker gets which; looked up without importing torch, which takes seconds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nosce.errors import UsageError

#: Kinds of steps that run a model; the others would leave a GPU idle.
GPU_KINDS = frozenset({"training", "evaluation", "answers", "experiment"})
#: Files of a machine with a driver of NVIDIA; the last is that of the Windows Subsystem for Linux.
DRIVER_SIGNS = ("/dev/nvidiactl", "/dev/nvidia0", "/proc/driver/nvidia/version", "/dev/dxg")
MAX_PER_GPU = 64
MAX_WORKERS = 1_024


@dataclass(frozen=True, kw_only=True)
class DeviceRequest:
    """What the command line asks of devices.

    Args:
        device: "cpu", "cuda", or one GPU such as "cuda:1". None: "cuda" where there is a GPU.
        workers: Steps made at once. None: one a core, or as many as the GPUs have room for.
        per_gpu: Steps that share a GPU, for models that leave most of it idle.
        processes: Processes of one training, each with a GPU of its own.
        shard: Split a training's weights, gradients and moments over its processes.
        threads: CPU threads of one step.
        gradient_checkpointing: Train with less memory and a third more time.
    """

    device: str | None = None
    workers: int | None = None
    per_gpu: int = 1
    processes: int = 1
    shard: bool = False
    threads: int = 1
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and not 1 <= self.workers <= MAX_WORKERS:
            raise UsageError(
                f"--workers {self.workers} cannot be started; take 1 or more, and at most {MAX_WORKERS:,}."
            )
        if not 1 <= self.per_gpu <= MAX_PER_GPU:
            raise UsageError(f"--per-gpu {self.per_gpu} shares no GPU; take 1 to {MAX_PER_GPU}.")
        if not 1 <= self.processes <= MAX_WORKERS:
            raise UsageError(f"--processes {self.processes} cannot be started; take 1 to {MAX_WORKERS:,}.")
        if self.processes > 1 and self.per_gpu > 1:
            raise UsageError(
                f"--processes {self.processes} spreads a training over GPUs and --per-gpu {self.per_gpu} puts several "
                "on one; take one of the two."
            )
        if self.shard and self.processes == 1:
            raise UsageError("--shard splits a model over 1 process; take --processes 2 or more, each on its own GPU.")
        if self.device is not None and not re.fullmatch(r"cpu|mps|(cuda|xpu)(:\d+)?", self.device):
            raise UsageError(f"--device {self.device} is not known; take cpu, cuda, or one GPU as cuda:0.")


@dataclass(frozen=True)
class WorkerDevices:
    """Where the local workers compute.

    Args:
        n_workers: Number of worker processes.
        device: Device of torch in each worker; "cuda" is the first GPU that the worker sees.
        visible_gpus: The value of CUDA_VISIBLE_DEVICES of each worker; empty without GPUs.
    """

    n_workers: int
    device: str
    visible_gpus: tuple[str, ...] = ()


def list_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, as entries of CUDA_VISIBLE_DEVICES.

    Unless the variable is set the entries are UUIDs, since the numbers of nvidia-smi and of CUDA may differ.
    """
    if (variable := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        entries: list[str] = []
        for entry in map(str.strip, variable.split(",")):
            if not entry or entry.startswith("-"):  # CUDA ignores the rest as well
                break
            entries.append(entry)
        return tuple(entries)
    if not any(Path(sign).exists() for sign in DRIVER_SIGNS):
        return ()
    return parse_gpu_list(_output_of(["nvidia-smi", "-L"])) or _gpus_of_torch()


def _gpus_of_torch() -> tuple[str, ...]:
    """The GPUs by CUDA's own numbers, for a container without nvidia-smi; a process of its own looks.

    This process must not: CUDA would keep what it sees here.
    """
    counted = _output_of([sys.executable, "-c", "import torch; print(torch.cuda.device_count())"])
    return tuple(map(str, range(int(counted)))) if counted.strip().isdigit() else ()


def _output_of(command: list[str]) -> str:
    """What a command prints; empty where it fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def parse_gpu_list(text: str) -> tuple[str, ...]:
    """The UUIDs that `nvidia-smi -L` prints; of a GPU that is partitioned (MIG) those of its parts."""
    gpus: list[str] = []
    whole: str | None = None  # the GPU whose parts may follow
    for line in text.splitlines():
        match = re.search(r"\(UUID: ((GPU|MIG)-[^)]+)\)", line)
        if match is None:
            continue
        if match[2] == "GPU":
            whole = match[1]
        elif whole in gpus:
            gpus.remove(whole)
        gpus.append(match[1])
    return tuple(gpus)


def assign_devices(request: DeviceRequest, gpus: Sequence[str], n_cores: int) -> WorkerDevices:
    """The device of every worker: no GPU has more than `request.per_gpu` of them.

    Args:
        request: What was asked for.
        gpus: The GPUs of this machine, from `list_gpus`.
        n_cores: Cores that this process may use.

    Raises:
        UsageError: A GPU was asked for that is not there, or more workers than there is room for.
    """
    device = request.device or ("cuda" if gpus else "cpu")
    if not device.startswith("cuda"):
        return WorkerDevices(request.workers or max(1, n_cores // request.processes), device)
    chosen = _chosen_gpus(device, gpus)
    if len(chosen) < request.processes:
        raise UsageError(
            f"--processes {request.processes} needs as many GPUs, and this command may use {len(chosen)}; take "
            f"{len(chosen)} or fewer."
        )
    n_groups = len(chosen) // request.processes
    groups = [",".join(chosen[i * request.processes : (i + 1) * request.processes]) for i in range(n_groups)]
    room = n_groups * request.per_gpu
    n_workers = request.workers or room
    if n_workers > room:
        raise UsageError(
            f"--workers {n_workers} do not fit {len(chosen)} GPU{'s' if len(chosen) > 1 else ''} with "
            f"{request.per_gpu} on each; take {room} workers, or --per-gpu {-(-n_workers // n_groups)} if the models "
            "are small."
        )
    return WorkerDevices(n_workers, "cuda", tuple(groups[slot % n_groups] for slot in range(n_workers)))


def _chosen_gpus(device: str, gpus: Sequence[str]) -> Sequence[str]:
    """All GPUs, or the one that the device names."""
    _, _, index = device.partition(":")
    if not gpus:
        raise UsageError(
            f"--device {device} was asked for, but no GPU is to be seen here (CUDA_VISIBLE_DEVICES is "
            f"{os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')}); leave --device out to use the CPU."
        )
    if index and int(index) >= len(gpus):
        raise UsageError(f"--device {device} was asked for, but the last of {len(gpus)} GPUs is cuda:{len(gpus) - 1}.")
    return [gpus[int(index)]] if index else gpus
