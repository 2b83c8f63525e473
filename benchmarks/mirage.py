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

from nosce.analysis.emergence.simulation import ALLOWED_VERDICTS, GROUND_TRUTHS, simulate_outcomes
from nosce.analysis.emergence.test import EMERGENCE_VERDICTS, mirage_test
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
            for truth in GROUND_TRUTHS:
                began = time.process_time()
                seeds = max(chosen.seeds, 5 if truth == "seed mixture" else 1)
                found = Counter(
                    mirage_test(
                        simulate_outcomes(
                            truth, sizes=sizes, items=items, seeds=seeds, seed=Seed(chosen.first + number)
                        ),
                        Seed(number),
                        resamples=DRAWS,
                    ).verdict
                    for number in range(chosen.worlds)
                )
                spent = (time.process_time() - began) / chosen.worlds
                wrong = sum(
                    count
                    for verdict, count in found.items()
                    if verdict not in (*ALLOWED_VERDICTS[truth], "under-resolved")
                )
                rows.append(
                    [
                        truth,
                        items,
                        sizes,
                        seeds,
                        chosen.worlds,
                        *(found[v] for v in EMERGENCE_VERDICTS),
                        wrong,
                        f"{spent:.3f}",
                    ]
                )
                print(*rows[-1], flush=True)
    heading = ["truth", "items", "sizes", "seeds", "worlds", *EMERGENCE_VERDICTS, "wrong", "seconds an audit"]
    with RESULTS.open("a" if chosen.append else "w", newline="") as file:
        csv.writer(file).writerows(rows if chosen.append else [heading, *rows])


if __name__ == "__main__":
    main()
