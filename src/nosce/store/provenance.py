"""Where a result comes from: code, versions, machine, time and memory."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from nosce.store.commit import git_state

RECORDED_PACKAGES = ("nosce", "torch", "transformers", "tokenizers", "peft", "numpy", "scipy", "polars", "safetensors")


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
    """The processor's own name for itself; the architecture, e.g. "aarch64", where the system tells no name."""
    return _cpu_brand() or platform.machine()


def _cpu_brand() -> str:
    """The name as each system keeps it, which neither platform nor psutil tells; empty where there is none."""
    try:
        if sys.platform == "win32":
            import winreg

            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
                return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
        if sys.platform == "darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=10).stdout.strip()
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


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


def _reset_peak() -> bool:
    """Make the system forget the process's peak memory so far, which Linux alone can; False where it did not."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return False
    return True


def _peak_mib() -> float | None:
    """The most memory (MiB) that this process had since it began, or since the peak was reset; None if unknown."""
    try:
        if sys.platform == "win32":
            import psutil

            return round(psutil.Process().memory_info().peak_wset / 2**20, 1)
        if sys.platform == "darwin":
            import resource

            return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)  # bytes there
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    line = next((li for li in status.splitlines() if li.startswith("VmHWM")), None)
    return round(int(line.split()[1]) / 1024, 1) if line else None


def _block_peak_mib(peak_before: float | None, was_reset: bool) -> float | None:
    """The peak of a block that ends now; None where the process had needed more before and nothing was reset."""
    peak = _peak_mib()
    if was_reset or peak is None or peak_before is None:
        return peak if was_reset else None
    return peak if peak > peak_before else None


@contextmanager
def record_provenance() -> Iterator[dict[str, object]]:
    """A dictionary that holds, when the block ends, what the block took and where it ran."""
    record: dict[str, object] = {}
    was_reset, peak_before = _reset_peak(), _peak_mib()
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
        peak_memory_mib=_block_peak_mib(peak_before, was_reset),
    )
