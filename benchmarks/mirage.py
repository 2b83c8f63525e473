"""How good is the mirage test? Every planted truth, audited; writes benchmarks/mirage.csv.

    python benchmarks/mirage.py --worlds 40

A line a truth, number of items and number of sizes: how often each verdict was given, and how long an audit took. The
worlds are others than those on which the thresholds were chosen (seeds from 3,000 on).
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import Counter
from pathlib import Path

from nosce.analysis.emergence.simulation import ALLOWED, TRUTHS, drawn
from nosce.analysis.emergence.test import VERDICTS, audit
from nosce.seeds import Seed

RESULTS = Path(__file__).parent / "mirage.csv"
DRAWS = 500


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--worlds", type=int, default=40)
    options.add_argument("--items", type=int, nargs="+", default=[100, 1_000, 10_000])
    options.add_argument("--sizes", type=int, nargs="+", default=[5, 8, 12])
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--first", type=int, default=9_000, help="seed of the first world")
    options.add_argument("--append", action="store_true", help="add lines to those that are there")
    chosen = options.parse_args()
    rows = []
    for items in chosen.items:
        for sizes in chosen.sizes:
            for truth in TRUTHS:
                began = time.process_time()
                seeds = max(chosen.seeds, 5 if truth == "seed mixture" else 1)
                found = Counter(
                    audit(drawn(truth, sizes=sizes, items=items, seeds=seeds, seed=Seed(chosen.first + number)),
                          Seed(number), draws=DRAWS).verdict
                    for number in range(chosen.worlds)
                )  # fmt: skip
                spent = (time.process_time() - began) / chosen.worlds
                wrong = sum(count for verdict, count in found.items()
                            if verdict not in (*ALLOWED[truth], "under-resolved"))  # fmt: skip
                rows.append([truth, items, sizes, seeds, chosen.worlds, *(found[v] for v in VERDICTS), wrong,
                             f"{spent:.3f}"])  # fmt: skip
                print(*rows[-1], flush=True)
    heading = ["truth", "items", "sizes", "seeds", "worlds", *VERDICTS, "wrong", "seconds an audit"]
    with RESULTS.open("a" if chosen.append else "w", newline="") as file:
        csv.writer(file).writerows(rows if chosen.append else [heading, *rows])


if __name__ == "__main__":
    main()
