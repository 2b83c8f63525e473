"""How many labels does an outsider need to be as right about a model as the model itself is?

An outsider is taught more and more labels of a model's answers. Its accuracy along their number crosses that of the
model about itself at the number of labels that the model's own access is worth, or not at all.

Source: ours. Binder et al. 2024 (arXiv:2410.13787), appendix A.2.7, teaches other models 1,000 to 30,000 labels, and
none of them reaches the model itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from nosce.analysis.measures import RESAMPLING_SEED, Measure
from nosce.analysis.selection import Selection, scored_rows
from nosce.analysis.stats.arrays import FloatArray
from nosce.analysis.stats.intervals import plural
from nosce.analysis.stats.level import interval_level, interval_tails
from nosce.errors import DataError
from nosce.records import Estimate

RESAMPLES = 2_000
MAX_COUNTS = 2_000_000  # of units in resamples that are in memory at once
MIN_UNITS = 5  # fewer cannot be resampled


@dataclass(frozen=True, kw_only=True)
class LabelCount(Measure):
    """How many labels a model was taught, the mean over training seeds; a count has no interval.

    Args:
        selection: The counts, one reading for each training seed.
    """

    selection: Selection

    @property
    def quantity(self) -> str:
        """Labels."""
        return "labels"

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean count.

        Raises:
            DataError: There is none.
        """
        counts = scored_rows(self.selection, readings)["value"].to_list()
        n = len(counts)
        return Estimate(
            sum(counts) / n,
            None,
            None,
            n=n,
            clusters=n,
            seeds=n,
            unit="labels",
            method="counted",
            level=interval_level(),
        )


@dataclass(frozen=True, kw_only=True)
class LabelsToReach(Measure):
    """How many times as many labels an outsider needs as a model was taught, to be as right about it as it is itself.

    Between two numbers of labels the accuracy is interpolated along their logarithm, and the first crossing counts.

    Args:
        own: The model's reports about itself.
        curve: The outsider's reports about the same strings, by how many times as many labels it was taught, from few
            to many. Numbers without readings are left out.
        labels: The number of labels that the model was taught.
    """

    own: Selection
    curve: tuple[tuple[float, Selection], ...]
    labels: Selection

    @property
    def quantity(self) -> str:
        """A multiple."""
        return "times the labels"

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The multiple, with a percentile bootstrap over units (within training seeds, and over these if several).

        An end of the interval that lies beyond the numbers that were tried is the last of the curve, tried or not.

        Raises:
            DataError: The outsider does not reach the model within the labels that it was taught; there are too few
                units; or a selection is empty.
        """
        multiples, columns, n_readings = self._columns(readings, unit)
        n_labels = LabelCount(selection=self.labels).estimate(readings, unit).value
        by_seed = [part.drop("seed", "entity").to_numpy() for part in columns.partition_by("seed", maintain_order=True)]
        found = labels_to_reach(multiples, np.mean([values.mean(0) for values in by_seed], 0))
        most = round(multiples[-1] * n_labels)
        if math.isinf(found):
            raise DataError(
                f"{self.curve[-1][1].description} does not reach {self.own.description}: not within {most:,} labels, "
                f"{multiples[-1]:g} times as many."
            )
        rng = (RESAMPLING_SEED / "labels to reach").numpy()
        draws = [labels_to_reach(multiples, means) for means in _resampled_means(by_seed, rng)]
        beyond = sum(math.isinf(one) for one in draws) / RESAMPLES
        # Beyond the numbers that have readings nothing is known up to the last that was to be tried.
        low, high = np.quantile(np.minimum(draws, self.curve[-1][0]), interval_tails())
        fewer = " or fewer" if found == multiples[0] else ""
        method = (
            f"percentile bootstrap of {plural(unit)}: {found * n_labels:,.0f} labels{fewer}, {low * n_labels:,.0f} "
        )
        method += f"to {high * n_labels:,.0f}"
        if beyond:
            method += f", and not within {most:,} in {beyond:.0%} of the resamples"
        return Estimate(
            value=found,
            low=float(low),
            high=float(high),
            n=n_readings,
            clusters=columns["entity"].n_unique(),
            seeds=len(by_seed),
            unit=unit,
            method=method,
            level=interval_level(),
        )

    def _columns(self, readings: pl.DataFrame, unit: str) -> tuple[list[float], pl.DataFrame, int]:
        """The multiples that have readings, the mean score of each unit (the model's own, then the curve's), and how
        many readings these are.
        """
        known = [(multiple, one) for multiple, one in self.curve if not one.rows(readings).is_empty()]
        if not known:
            raise DataError(f"no reading is there for {self.curve[0][1].description}; run the label curve.")
        columns, n_readings = pl.DataFrame(), 0
        for number, selection in enumerate((self.own, *(one for _, one in known))):
            rows = scored_rows(selection, readings)
            means = rows.group_by("seed", "entity").agg(pl.col("value").mean().alias(f"{number}"))
            columns = columns.join(means, on=["seed", "entity"], how="inner") if number else means
            n_readings += len(rows)
        if len(columns) < MIN_UNITS:
            raise DataError(
                f"{self.own.description} and the outsider's reports share {len(columns)} {plural(unit)}; "
                f"{MIN_UNITS} or more can be resampled."
            )
        return [multiple for multiple, _ in known], columns.sort("seed", "entity"), n_readings


def labels_to_reach(multiples: Sequence[float], means: FloatArray) -> float:
    """Where a curve first reaches a level; infinity where it never does.

    Args:
        multiples: The positions of the curve, ascending. Shape: (K,)
        means: The level, then the curve. Shape: (1 + K,)
    """
    level, curve = float(means[0]), means[1:]
    reached = np.flatnonzero(curve >= level)
    if not len(reached):
        return math.inf
    place = int(reached[0])
    if place == 0:
        return multiples[0]
    before, after = float(curve[place - 1]), float(curve[place])
    share = (level - before) / (after - before)
    start, end = math.log(multiples[place - 1]), math.log(multiples[place])
    return math.exp(start + share * (end - start))


def _resampled_means(by_seed: Sequence[FloatArray], rng: np.random.Generator) -> FloatArray:
    """The mean of each column over resampled units of resampled seeds; of one seed the units alone.

    Shape: (RESAMPLES, C).
    """
    total = np.zeros((RESAMPLES, by_seed[0].shape[1]))
    for _ in by_seed:  # as many seeds as there are, drawn anew for each resample
        chosen = rng.integers(len(by_seed), size=RESAMPLES)
        for number, values in enumerate(by_seed):
            rows = np.flatnonzero(chosen == number)
            for part in np.array_split(rows, max(1, len(rows) * len(values) // MAX_COUNTS)):
                counts = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=len(part))
                total[part] += counts @ values / len(values)
    means: FloatArray = total / len(by_seed)
    return means
