"""Documents per second and peak memory of the biographies world, at 1,000, 10,000 and 100,000 people.

    make bench            appends lines to benchmarks/results.csv

Each size is rendered in a process of its own, several times in turn; the ratio is that of the median to
the smallest size's seconds per document, which says whether the cost per document stays the same.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
from pathlib import Path

from nosce.provenance import commit, processor

HERE = Path(__file__).parent
COLUMNS = ("benchmark", "case", "ratio", "median_s", "low_s", "high_s", "commit", "machine", "note")

RENDER = """
import json, resource, sys, time
from nosce.seeds import Seed
from nosce.worlds.biographies import Biographies
people = int(sys.argv[1])
world = Biographies(people=people, augmentation="multi5+permute")
start, count, characters = time.perf_counter(), 0, 0
for document in world.documents(Seed(0)):
    count += 1
    characters += len(document.text)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "documents": count, "characters": characters, "mib": peak}))
"""


def rendered(people: int) -> dict[str, float]:
    """One rendering of all entries of so many people, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", RENDER, str(people)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--people", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    options.add_argument("--repeats", type=int, default=3)
    chosen = options.parse_args()
    runs: dict[int, list[dict[str, float]]] = {people: [] for people in chosen.people}
    for _ in range(chosen.repeats):
        for people in chosen.people:  # in turn, so that a machine that slows down slows all of them
            runs[people].append(rendered(people))
    rows = []
    smallest = statistics.median(r["seconds"] / r["documents"] for r in runs[min(runs)])
    for people, found in runs.items():
        seconds = sorted(r["seconds"] for r in found)
        each = statistics.median(r["seconds"] / r["documents"] for r in found)
        mib = max(r["mib"] for r in found)
        note = f"{1 / each:.0f} documents/s; {mib:.0f} MiB peak; {found[0]['documents']:.0f} documents"
        rows.append({"benchmark": "worlds", "case": f"biographies multi5+permute, {people} people",
                     "ratio": f"{each / smallest:.2f}", "median_s": f"{statistics.median(seconds):.2f}",
                     "low_s": f"{seconds[0]:.2f}", "high_s": f"{seconds[-1]:.2f}",
                     "commit": (commit()["commit"] or "")[:12], "machine": processor(), "note": note})  # fmt: skip
        print(rows[-1]["case"], note, f"ratio {rows[-1]['ratio']}")
    path = HERE / "results.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
