"""How long does `nosce audit` take with a million rows, and how much memory?  Writes benchmarks/audit_rows.csv.

    python benchmarks/audit_rows.py --rows 1000000

A line a format and layout: seconds from the start of the process to its end, those of one core, and its peak resident
memory. On a busy machine the second number counts.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from nosce.analysis.emergence.simulation import simulate_outcomes
from nosce.seeds import Seed

RESULTS = Path(__file__).parent / "audit_rows.csv"


def tables(rows: int, folder: Path) -> dict[str, list[str]]:
    """Files of so many rows, and the words that audit them."""
    found = {}
    for sizes, name in ((10, "10 sizes"), (5, "5 sizes")):
        told = simulate_outcomes("power law", sizes=sizes, items=rows // sizes, seeds=1, seed=Seed(1))
        n = told.sharp.shape[2]
        table = pl.DataFrame(
            {
                "params": np.repeat(told.sizes, n).astype(int),
                "item": [f"item {number}" for number in range(n)] * sizes,
                "acc": told.sharp.ravel().astype(int),
                "logprob": told.continuous.ravel(),
            }
        )
        for kind in ("csv", "parquet", "jsonl"):
            path = folder / f"{sizes}.{kind}"
            {"csv": table.write_csv, "parquet": table.write_parquet, "jsonl": table.write_ndjson}[kind](path)
            found[f"{name}, {kind}"] = [str(path)]
        commas = table.with_columns(pl.col("logprob").round(4).cast(pl.String).str.replace(".", ",", literal=True))
        commas.write_csv(folder / f"{sizes}c.csv", separator=";")
        found[f"{name}, csv with decimal commas"] = [str(folder / f"{sizes}c.csv"), "--decimal", "comma"]
        table.drop("item").write_csv(folder / f"{sizes}n.csv")
        found[f"{name}, csv without names of items"] = [str(folder / f"{sizes}n.csv")]
    return found


def measured(words: list[str]) -> tuple[float, float, float]:
    """Seconds, seconds of one core and gigabytes of a process of its own."""
    began = time.monotonic()
    child = os.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-m", "nosce", "audit", *words, "--no-figure"])
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"nosce audit {' '.join(words)} ended with {status}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1_000_000)
    rows = options.parse_args().rows
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for layout, words in tables(rows, Path(folder)).items():
            seconds, cpu, gigabytes = measured(words)
            lines.append([layout, rows, f"{seconds:.1f}", f"{cpu:.1f}", f"{gigabytes:.2f}"])
            print(*lines[-1], flush=True)
    with RESULTS.open("w", newline="") as file:
        csv.writer(file).writerows([["layout", "rows", "seconds", "seconds of a core", "peak GB"], *lines])


if __name__ == "__main__":
    main()
