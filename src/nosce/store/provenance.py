"""Where a result comes from: code, versions, machine, time and memory."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict

RECORDED_PACKAGES = ("nosce", "torch", "transformers", "tokenizers", "peft", "numpy", "scipy", "polars", "safetensors")


class GitState(TypedDict):
    """The code's commit, and whether the code was changed since; both None where neither git nor a wheel says."""

    commit: str | None
    dirty: bool | None


@lru_cache(maxsize=1)
def git_state() -> GitState:
    """The commit of the checkout that this code runs from; without a checkout, the commit of the wheel."""
    package = Path(__file__).parents[1]
    # A wheel installed below somebody's repository is no part of the repository: git does not track its files.
    if _git(package, "ls-files", "--error-unmatch", "--", __file__) is None:
        return _wheel_state(package / "store" / "_commit.json")
    changed = _git(package, "status", "--porcelain", "--untracked-files=no", "--", str(package))
    return {"commit": _git(package, "rev-parse", "HEAD"), "dirty": None if changed is None else bool(changed)}


def _git(folder: Path, *words: str) -> str | None:
    """What a git command prints in a folder; None where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _wheel_state(file: Path) -> GitState:
    """What the build hook (`hatch_build.py`) wrote into the wheel."""
    try:
        written = json.loads(file.read_text())
    except OSError:
        return {"commit": None, "dirty": None}
    return {"commit": written["commit"], "dirty": written["dirty"]}


@lru_cache(maxsize=1)
def package_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide the bytes; those not installed are left out."""
    versions_by_package = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            versions_by_package[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions_by_package


@lru_cache(maxsize=1)
def cpu_model() -> str:
    """The processor's own name for itself, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.machine()


def device_name() -> str:
    """What the tensors of this process live on; "cpu" where no GPU was used, whether there is one or not."""
    torch = sys.modules.get("torch")
    # Not `is_available`, which fixes the visible devices of a process before its step has chosen one.
    if torch is not None and torch.cuda.is_initialized():
        return str(torch.cuda.get_device_name())
    return "cpu"


def torch_thread_count() -> int | None:
    """Threads torch computes with; null where torch was not imported."""
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


def _reset_peak() -> None:
    # Linux forgets the peak so far; elsewhere it stays that of the process.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mib() -> float | None:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    line = next((li for li in status.splitlines() if li.startswith("VmHWM")), None)
    return round(int(line.split()[1]) / 1024, 1) if line else None


@contextmanager
def record_provenance() -> Iterator[dict[str, Any]]:
    """A dictionary that holds, when the block ends, what the block took and where it ran."""
    record: dict[str, Any] = {}
    _reset_peak()
    started, cpu = time.perf_counter(), time.process_time()
    yield record
    record.update(
        **git_state(),
        versions=package_versions(),
        device=device_name(),
        processor=cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        threads=torch_thread_count(),
        host=socket.gethostname(),
        made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        seconds=round(time.perf_counter() - started, 3),
        cpu_seconds=round(time.process_time() - cpu, 3),
        peak_memory_mib=_peak_mib(),
    )
