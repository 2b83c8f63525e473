"""What do means alone tell?  The same planted worlds item by item and as means of sizes; writes benchmarks/means.csv.

    python benchmarks/means.py --worlds 30

A line a truth and number of sizes: how often the mirage test gives each verdict on the items, and how often on their
numbers of right answers with the mean log-likelihood and its standard error. `nosce audit` withholds "unexplained" of
means below `MIN_LINKED_SIZES` sizes, which this table is the reason of.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path

import numpy as np

from nosce.analysis.emergence.scores import CountOutcomes, ItemOutcomes
from nosce.analysis.emergence.simulation import GROUND_TRUTHS, simulate_outcomes
from nosce.analysis.emergence.test import EMERGENCE_VERDICTS, mirage_test
from nosce.seeds import Seed

RESULTS = Path(__file__).parent / "means.csv"
RESAMPLES = 200


def means(outcomes: ItemOutcomes) -> CountOutcomes:
    """The outcomes without their items."""
    n_correct, n_total = outcomes.counts
    error = outcomes.continuous.std(2, ddof=1) / np.sqrt(outcomes.sharp.shape[2])
    smooth = outcomes.continuous.mean(2)
    return CountOutcomes(outcomes.sizes, n_correct, n_total, smooth, outcomes.log_likelihood, 0.0, error)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--worlds", type=int, default=30)
    options.add_argument("--items", type=int, default=500)
    options.add_argument("--sizes", type=int, nargs="+", default=[6, 8, 12])
    options.add_argument("--first", type=int, default=50_000, help="seed of the first world")
    chosen = options.parse_args()
    rows = []
    for sizes in chosen.sizes:
        for truth in GROUND_TRUTHS:
            if truth == "seed mixture":  # of one seed, it is a planted break
                continue
            found = {"items": Counter(), "means": Counter()}
            for number in range(chosen.worlds):
                world = Seed(chosen.first + number)
                outcomes = simulate_outcomes(truth, sizes=sizes, items=chosen.items, seeds=1, seed=world)
                for kind, scores in (("items", outcomes), ("means", means(outcomes))):
                    found[kind][mirage_test(scores, Seed(number), resamples=RESAMPLES).verdict] += 1
            for kind, verdicts in found.items():
                rows.append(
                    [truth, chosen.items, sizes, chosen.worlds, kind, *(verdicts[v] for v in EMERGENCE_VERDICTS)]
                )
                print(*rows[-1], flush=True)
    with RESULTS.open("w", newline="") as file:
        csv.writer(file).writerows([["truth", "items", "sizes", "worlds", "of", *EMERGENCE_VERDICTS], *rows])


if __name__ == "__main__":
    main()
