"""How benchmarks measure: in turns, against each other, beside the machine's own ceiling, and written down.

A machine that is slow today is slow for both sides, so what is reported is the ratio of pairs; seconds stand
beside it. Nothing here is a test: no number has a bound.
"""

from __future__ import annotations

import csv
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from nosce.store.commit import git_state
from nosce.store.provenance import cpu_model

RESULTS = Path(__file__).parent / "results.csv"
SHOWN = 6  # kernels of a profile
COLUMNS = (
    "benchmark",
    "case",
    "ratio",
    "ratio_low",
    "ratio_high",
    "median_s",
    "low_s",
    "high_s",
    "n",
    "commit",
    "machine",
    "note",
)


def in_turns(cases: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """The numbers that each case returns, the cases taking turns and starting with another one each time."""
    found: dict[str, list[float]] = {name: [] for name in cases}
    names = list(cases)
    for turn in range(repeats):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            found[name].append(cases[name]())
    return found


def ceiling(dtype: torch.dtype = torch.float32, size: int = 1024) -> float:
    """GFLOP/s of a bare matrix product on this thread, the best of a few."""
    a = torch.randn(size, size, dtype=torch.float32).to(dtype)
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def cpu_seconds(function: Callable[[], object]) -> float:
    """Processor seconds of a call, all threads of this process together."""
    start = time.process_time()
    function()
    return time.process_time() - start


def shares(function: Callable[[], Any]) -> str:
    """The kernels that take most of a call's time, with their shares."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        function()
    rows = sorted(seen.key_averages(), key=lambda row: -row.self_cpu_time_total)
    whole = sum(row.self_cpu_time_total for row in rows)
    return ", ".join(f"{row.key.removeprefix('aten::')} {row.self_cpu_time_total / whole:.0%}" for row in rows[:SHOWN])


def write(benchmark: str, case: str, ours: list[float], theirs: list[float] | None, note: str) -> None:
    """Append a line: ratio of the pairs theirs / ours (how many times faster we are), and our seconds.

    Args:
        theirs: None where nothing is compared; the ratio is empty then.
    """
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)] if theirs else []
    row = {
        "benchmark": benchmark,
        "case": case,
        "ratio": f"{statistics.median(ratios):.2f}" if ratios else "",
        "ratio_low": f"{min(ratios):.2f}" if ratios else "",
        "ratio_high": f"{max(ratios):.2f}" if ratios else "",
        "median_s": f"{statistics.median(ours):.3g}",
        "low_s": f"{min(ours):.3g}",
        "high_s": f"{max(ours):.3g}",
        "n": len(ours),
        "commit": (git_state()["commit"] or "")[:12] + ("+" if git_state()["dirty"] else ""),
        "machine": f"{cpu_model()}, {os.cpu_count()} cores",
        "note": note,
    }
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)
    shown = f"{row['ratio']}x [{row['ratio_low']}, {row['ratio_high']}]" if ratios else ""
    print(f"{benchmark}: {case}: {shown} {row['median_s']} s; {note}", flush=True)
