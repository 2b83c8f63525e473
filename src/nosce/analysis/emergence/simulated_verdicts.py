"""How often a verdict is wrong at a design, counted in simulated worlds whose truth was planted.

`simulated_verdicts.csv` is a copy of `benchmarks/mirage.csv`, which `benchmarks/mirage.py` writes: a row a truth,
number of items and number of sizes, with how often each verdict was given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl
import scipy

from nosce.analysis.emergence.simulation import ALLOWED_VERDICTS
from nosce.analysis.emergence.test import EmergenceVerdict
from nosce.records import read_table

FILE = Path(__file__).with_name("simulated_verdicts.csv")


@dataclass(frozen=True)
class SimulatedErrors:
    """How often a verdict was given in simulated worlds of a design, and how often it was wrong.

    Args:
        verdict: The verdict.
        sizes: Number of sizes of the design.
        items: Number of items.
        given: Number of worlds with the verdict.
        wrong: Number of them whose truth it denies.
    """

    verdict: EmergenceVerdict
    sizes: int
    items: int
    given: int
    wrong: int

    @property
    def interval(self) -> tuple[float, float]:
        """The exact (Clopper-Pearson) 95 % interval of the share of wrong ones; 0 to 1 where none was given."""
        if not self.given:
            return 0.0, 1.0
        interval = scipy.stats.binomtest(self.wrong, self.given).proportion_ci(method="exact")
        return float(interval.low), float(interval.high)


def simulated_errors(verdict: EmergenceVerdict, sizes: int, items: float) -> SimulatedErrors:
    """The errors of a verdict at the simulated design that is nearest, in log numbers, to so many sizes and items.

    All truths count alike, so that the share is that of a reader who finds each of them as likely.
    """
    table = _simulations()
    nearest_sizes = _nearest(table["sizes"], sizes)
    design = table.filter(sizes=nearest_sizes)
    nearest_items = _nearest(design["items"], items)
    design = design.filter(items=nearest_items)
    given = wrong = 0
    for row in design.iter_rows(named=True):
        given += row[verdict]
        wrong += row[verdict] * (verdict not in ALLOWED_VERDICTS[row["truth"]])
    return SimulatedErrors(verdict, nearest_sizes, nearest_items, given, wrong)


@cache
def _simulations() -> pl.DataFrame:
    return read_table(FILE, "csv")


def _nearest(column: pl.Series, value: float) -> int:
    numbers: list[int] = column.unique().to_list()
    return min(numbers, key=lambda number: abs(math.log(number) - math.log(max(value, 1))))
