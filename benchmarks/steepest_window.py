"""How often does the range of the steepest quarter's share hold the truth?  Planted curves; writes steepest_window.csv.

    python benchmarks/steepest_window.py --studies 200

A line a curve, number of sizes and number of items: the share that the true curve's steepest quarter makes, the mean of
what the observed curves' make, and how often the range of `steepest_window_range` and the percentiles of the same
resamplings hold the truth, in percent of the simulated studies, with the range's mean width.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from nosce.analysis.emergence.jumps import rise_shape
from nosce.analysis.emergence.steepest_window import SHARE_GRID_POINTS, steepest_window_range
from nosce.seeds import Seed

RESULTS = Path(__file__).with_suffix(".csv")
SIZES, ITEMS, RESAMPLES = (6, 10, 16), (100, 500), 400
STEP = 0.75 / (SHARE_GRID_POINTS - 1)  # between two shares that the range tries
COLUMNS = ("curve", "sizes", "items", "studies", "truth", "observed", "covered", "width", "percentiles covered")


def sigmoid(places: np.ndarray, middle: float, width: float) -> np.ndarray:
    return 1 / (1 + np.exp((middle - places) / width))


def curves(places: np.ndarray) -> dict[str, np.ndarray]:
    """The true scores by the place on the axis of log size, from 0 to 1."""
    shapes = {
        "straight line": places,
        "bent": places**1.5,
        "soft": sigmoid(places, 0.5, 0.15),
        "on the way to a jump": sigmoid(places, 0.6, 0.1),
        "steep": sigmoid(places, 0.6, 0.04),
    }
    found = {name: 0.05 + 0.9 * shape for name, shape in shapes.items()}
    return found | {f"{name}, short": 0.1 + 0.3 * shapes[name] for name in ("straight line", "soft", "steep")}


def row(name: str, curve: np.ndarray, items: int, studies: int) -> dict[str, object]:
    logs, rng = np.linspace(6, 9, len(curve)), (Seed(0) / name / len(curve) / items).numpy()
    truth = float(rise_shape(curve, logs).window_share[0])
    observed, widths, held, held_by_percentiles = [], [], 0, 0
    for _ in range(studies):
        scores = rng.binomial(items, curve) / items
        drawn = rng.binomial(items, scores, size=(RESAMPLES, len(curve))) / items
        low, high = steepest_window_range(scores, drawn, logs)
        observed.append(float(rise_shape(scores, logs).window_share[0]))
        widths.append(high - low)
        held += bool(low - STEP <= truth <= high + STEP)
        ends = np.quantile(rise_shape(drawn, logs).window_share, [0.025, 0.975])
        held_by_percentiles += bool(ends[0] <= truth <= ends[1])
    covered = [round(100 * count / studies, 1) for count in (held, held_by_percentiles)]
    means = [round(float(np.mean(values)), 3) for values in (observed, widths)]
    cells = (name, len(curve), items, studies, round(truth, 3), means[0], covered[0], means[1], covered[1])
    return dict(zip(COLUMNS, cells, strict=True))


def main() -> None:
    """Simulate all lines and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    options = parser.parse_args()
    rows = []
    for sizes in SIZES:
        for name, curve in curves(np.linspace(0, 1, sizes)).items():
            for items in ITEMS:
                rows.append(row(name, curve, items, options.studies))
                print(rows[-1], flush=True)
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
