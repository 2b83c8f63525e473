"""`nosce doctor`: what this machine has, and what would be slow on it and why."""

from __future__ import annotations

import shutil
import time
from importlib.metadata import PackageNotFoundError, version

from nosce.pipeline.local_pool import available_cores
from nosce.store.provenance import cpu_model, package_versions
from nosce.store.store import Store

# The packages of each extra of pyproject.toml but those of the developers, and what the extra is for.
EXTRAS = {
    "api": (("httpx2",), "models behind an endpoint"),
    "ray": (("ray",), "--ray ADDRESS"),
    "scores": (("sacrebleu", "rouge-score"), "BLEU and ROUGE"),
    "gguf": (("gguf",), "nosce fetch"),
    "excel": (("fastexcel",), "workbooks in nosce audit"),
    "inspect": (("inspect-ai",), "logs of inspect_ai in nosce audit"),
    "tensorboard": (("tensorboard",), "nosce mirror"),
}


def check_machine(store: Store) -> list[dict[str, str]]:
    """Rows of what was looked at, what was found, and what follows from it."""
    import torch

    usable_cores = available_cores()
    free = shutil.disk_usage(store.root).free / 2**30
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    float32, bfloat16 = _gflops(torch.float32), _gflops(torch.bfloat16)
    bfloat16_speedup = bfloat16 / float32
    bfloat16_advice = _bfloat16_advice(bfloat16_speedup)
    rows = [
        (
            "versions",
            ", ".join(f"{name} {number}" for name, number in package_versions().items()),
            "recorded with every step",
        ),
        ("processor", f"{cpu_model()}, {torch.backends.cpu.get_cpu_capability()}", "named in provenance"),
        ("cores", str(len(usable_cores)), f"{len(usable_cores)} runs side by side, one core each"),
        ("accelerators", ", ".join(devices) or "none", "used" if devices else "scales gpu and paper would take days"),
        ("float32", f"{float32:.0f} GFLOP/s on one core", "the ceiling of training on one core"),
        ("bfloat16", f"{bfloat16:.0f} GFLOP/s on one core, {bfloat16_speedup:.1f}× float32", bfloat16_advice),
        ("disk", f"{free:,.0f} GiB free at {store.root}", "enough" if free > 2 else "too little; name another --store"),
        _memory_row(len(usable_cores)),
        _extras_row(),
    ]
    return [{"what": what, "found": found, "so": so} for what, found, so in rows]


def _bfloat16_advice(speedup: float) -> str:
    """What `dtype="auto"` takes here, and what to do where the measurement speaks against it."""
    from nosce.models.number_format import choose_precision

    chosen = choose_precision("auto", device="cpu")
    faster = "bfloat16" if speedup > 1 else "float32"
    advice = f"trainings compute in {chosen}"
    return advice if chosen == faster else f'{advice}; dtype="{faster}" of TrainingConfig would be faster here'


def _memory_row(n_workers: int) -> tuple[str, str, str]:
    import psutil

    memory = psutil.virtual_memory()
    share = memory.available / 2**30 / n_workers
    found = f"{memory.total / 2**30:.1f} GiB, {memory.available / 2**30:.1f} of them free"
    return "memory", found, f"{share:.1f} GiB for each of {n_workers} runs side by side"


def _extras_row() -> tuple[str, str, str]:
    """The extras whose own packages are all installed; a package that came along with another library is none."""
    found, missing = [], []
    for extra, (packages, purpose) in EXTRAS.items():
        versions = [_version(package) for package in packages]
        if None in versions:
            missing.append(f"pip install 'nosce[{extra}]' for {purpose}")
        else:
            named = ", ".join(f"{package} {number}" for package, number in zip(packages, versions, strict=True))
            found.append(f"{extra} ({named})")
    return "extras", ", ".join(found) or "none", "; ".join(missing) or "nothing is missing"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gflops(dtype: object) -> float:
    """Speed of a square matrix product on one thread, the best of several."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        a = torch.ones(1024, 1024, dtype=dtype)  # type: ignore[call-overload]
        best = float("inf")
        for _ in range(6):
            start = time.perf_counter()
            a @ a
            best = min(best, time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return 2 * 1024**3 / best / 1e9
