"""Measures: how an estimate with its interval is made from a table of readings, as pure data.

A study states a measure beside the claim it decides. A measure selects rows by the columns of the readings and
never touches a model, so every number can be computed again from the table alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import polars as pl

from nosce.analysis.selection import Selection, scored_rows, selected_rows
from nosce.analysis.stats.intervals import bca_interval, nested_interval
from nosce.analysis.stats.paired import paired_difference
from nosce.analysis.stats.ranges import SHARE_RANGE, UNBOUNDED, ValueRange, weighted_sum_range
from nosce.errors import DataError
from nosce.records import Estimate, Outcome
from nosce.seeds import Seed

#: Measures that resample do so from one seed, so an estimate does not depend on which were computed before it.
RESAMPLING_SEED = Seed(0) / "resampling"


class Measure(ABC):
    """A number that is estimated from readings. Your own measure is a frozen dataclass that inherits this class."""

    derives_metrics: ClassVar[bool] = False
    """Whether it selects metrics that stand in none of its selections, e.g. by `dataclasses.replace`."""

    @property
    def quantity(self) -> str:
        """What the estimate is: a share from 0 to 1 or a difference of shares, or its unit, e.g. "nats"."""
        return "share"

    @property
    def reference_description(self) -> str:
        """What is subtracted, in words for messages; "" where nothing is."""
        return ""

    @property
    def is_difference(self) -> bool:
        """Whether the estimate is a difference, so that a share is shown in points and not in percent."""
        return False

    @property
    def value_range(self) -> ValueRange:
        """The least and largest value that the estimate can have; its interval lies within."""
        return SHARE_RANGE if self.quantity == "share" and not self.is_difference else UNBOUNDED

    def deciding(self, readings: pl.DataFrame, unit: str) -> Measure:
        """The measure whose interval decides a claim: of several that the measure chooses from the chosen one.

        Raises:
            DataError: The readings do not allow the choice.
        """
        return self

    @abstractmethod
    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The estimate from a table of readings.

        Args:
            readings: The readings of a study; `docs/readings.md` describes the columns.
            unit: Name of the study's independently drawn unit, e.g. "person".

        Raises:
            DataError: The readings do not allow the estimate, e.g. since there are none. The claim is then undecided.
        """


@dataclass(frozen=True, kw_only=True)
class Mean(Measure):
    """The mean over the selected readings: items within clusters within training seeds.

    Args:
        selection: The readings.
        outcome: Average how often the reply had this outcome, e.g. "invalid", instead of the metric's value.
        seed: Take one training seed alone. Each cluster then counts once, however many items it has, and the interval
            is a BCa bootstrap over clusters that holds for this one model only; see `intervals.bca_interval`.
    """

    selection: Selection
    outcome: Outcome | None = None
    seed: int | None = None

    @property
    def quantity(self) -> str:
        """The quantity of the selection; a frequency of outcomes is a share."""
        return self.selection.quantity if self.outcome is None else "share"

    @property
    def value_range(self) -> ValueRange:
        """The range of the metric; of a frequency 0 to 1."""
        return self.selection.value_range if self.outcome is None else SHARE_RANGE

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean with its interval over units and, where there are several, training seeds.

        Raises:
            DataError: Nothing is selected, or a value or outcome is missing (a missing value is not zero).
        """
        if self.seed is not None:
            readings = readings.filter(pl.col("seed") == self.seed)
        if self.outcome is None:
            rows = scored_rows(self.selection, readings)
            values = rows["value"].to_numpy()
        else:
            rows = _rows_with_outcome(self.selection, readings)
            values = (rows["outcome"] == self.outcome).cast(pl.Float64).to_numpy()
        clusters = rows["entity"].to_list()
        if self.seed is not None:
            return bca_interval(values, clusters, seed=RESAMPLING_SEED, unit=unit)
        return nested_interval(values, clusters, rows["seed"].to_list(), unit=unit, value_range=self.value_range)


@dataclass(frozen=True, kw_only=True)
class ComplementShare(Measure):
    """One minus a share, e.g. the share of reports that are valid from that of those that are not.

    Args:
        selection: The readings of the share.
        outcome: As in `Mean`.
    """

    selection: Selection
    outcome: Outcome | None = None

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The rest of the share, with the interval of the share turned round.

        Raises:
            DataError: Nothing is selected, or a value or outcome is missing.
        """
        share = Mean(selection=self.selection, outcome=self.outcome).estimate(readings, unit)
        low, high = (None if end is None else 1 - end for end in (share.high, share.low))
        by_seed = tuple(1 - one for one in share.seed_values)
        return replace(share, value=1 - share.value, low=low, high=high, seed_values=by_seed)


def _rows_with_outcome(selection: Selection, readings: pl.DataFrame) -> pl.DataFrame:
    rows = selected_rows(selection, readings)
    if missing := rows["outcome"].null_count():
        raise DataError(
            f"{missing:,} of {len(rows):,} readings for {selection.description} have no outcome, and a missing outcome "
            "is not a different one; take a metric of replies."
        )
    return rows


@dataclass(frozen=True, kw_only=True)
class Difference(Measure):
    """The mean of one selection minus that of another, paired by entity and training seed.

    Args:
        a: The readings whose mean is taken.
        b: The readings whose mean is subtracted; they must be about the same entities.
    """

    a: Selection
    b: Selection

    @property
    def quantity(self) -> str:
        """The quantity of the first selection."""
        return self.a.quantity

    @property
    def reference_description(self) -> str:
        """The second selection, in words."""
        return self.b.description

    @property
    def is_difference(self) -> bool:
        """A difference; shares are shown in points."""
        return True

    @property
    def value_range(self) -> ValueRange:
        """Of a difference of shares -1 to 1."""
        return weighted_sum_range([(1.0, self.a.value_range), (-1.0, self.b.value_range)])

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference with an interval over paired differences.

        Raises:
            DataError: A selection is empty, or the two are about different entities.
        """
        rows_a, rows_b = scored_rows(self.a, readings), scored_rows(self.b, readings)
        return paired_difference(
            rows_a["value"].to_numpy(),
            rows_a["entity"].to_list(),
            rows_a["seed"].to_list(),
            rows_b["value"].to_numpy(),
            rows_b["entity"].to_list(),
            rows_b["seed"].to_list(),
            unit=unit,
            value_range=self.value_range,
        )


@dataclass(frozen=True, kw_only=True)
class Contrast(Measure):
    """A weighted sum of selections' means, paired by entity and training seed.

    E.g. `(1, a), (-1, b), (-1, c), (1, d)`: by how much a exceeds b more than c exceeds d.

    Args:
        terms: The weight of each selection, and the selection.
    """

    terms: tuple[tuple[float, Selection], ...]

    @property
    def quantity(self) -> str:
        """The quantity of the first selection."""
        return self.terms[0][1].quantity

    @property
    def is_difference(self) -> bool:
        """A difference if something is subtracted: so much of a share may lie below 0, and is shown in points."""
        return any(weight < 0 for weight, _ in self.terms)

    @property
    def value_range(self) -> ValueRange:
        """The range of the sum, e.g. -2 to 2 of a difference of two differences of shares."""
        return weighted_sum_range((weight, selection.value_range) for weight, selection in self.terms)

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The sum with its interval, over the entities that all selections share.

        Raises:
            DataError: A selection is empty, or the selections share no entity.
        """
        tables = []
        for term_index, (weight, selection) in enumerate(self.terms):
            rows = scored_rows(selection, readings)
            term_mean = (pl.col("value").mean() * weight).alias(f"term {term_index}")
            tables.append(rows.group_by("seed", "entity").agg(term_mean, pl.len().alias(f"n {term_index}")))
        paired = shared_units(tables)
        if paired.is_empty():
            raise DataError(
                f"{self.terms[0][1].description} and the selections that it is compared with share no {unit}; "
                "evaluate them on the same."
            )
        total = paired.select(pl.sum_horizontal(pl.col("^term .*$"))).to_series()
        entities, seeds = paired["entity"].to_list(), paired["seed"].to_list()
        interval = nested_interval(total.to_numpy(), entities, seeds, unit=unit, value_range=self.value_range)
        n = paired.select(pl.sum_horizontal(pl.col("^n .*$"))).to_series().sum()
        return replace(interval, n=int(n), method=f"paired; {interval.method}")


def shared_units(tables: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The columns of all tables for the seeds and entities that every table has, sorted by these."""
    first, *others = tables
    paired = first
    for table in others:
        paired = paired.join(table, on=["seed", "entity"], how="inner")
    return paired.sort("seed", "entity")


@dataclass(frozen=True, kw_only=True)
class OfUnit(Measure):
    """A measure whose entities are another unit than the study's, e.g. concepts in a study of strings.

    Args:
        measure: The measure.
        unit: Name of what its entities are, e.g. "concept".
    """

    measure: Measure
    unit: str

    @property
    def quantity(self) -> str:
        """The quantity of the measure."""
        return self.measure.quantity

    @property
    def reference_description(self) -> str:
        """What the measure subtracts."""
        return self.measure.reference_description

    @property
    def is_difference(self) -> bool:
        """As the measure."""
        return self.measure.is_difference

    def deciding(self, readings: pl.DataFrame, unit: str) -> Measure:
        """The deciding part of the measure, over its own unit."""
        return replace(self, measure=self.measure.deciding(readings, self.unit))

    @property
    def value_range(self) -> ValueRange:
        """As the measure."""
        return self.measure.value_range

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The measure's estimate, over its own unit.

        Raises:
            DataError: The measure has no estimate.
        """
        return self.measure.estimate(readings, self.unit)


@dataclass(frozen=True, kw_only=True)
class MinOf(Measure):
    """The measure whose interval has the lowest lower end: if that end exceeds a threshold, all of them do.

    No correction for multiple testing is needed, since a single measure refutes a claim about all of them
    (Berger 1982, Technometrics 24, the intersection-union test). That holds of "holds". Where several measures lie just
    above the threshold, one of them falls below it by chance more often than a single one, and the claim fails wrongly.

    Args:
        measures: The measures to choose from, all of one quantity.
    """

    measures: tuple[Measure, ...]

    @property
    def quantity(self) -> str:
        """The quantity of the first measure."""
        return self.measures[0].quantity

    @property
    def is_difference(self) -> bool:
        """As the first measure."""
        return self.measures[0].is_difference

    @property
    def value_range(self) -> ValueRange:
        """As the first measure."""
        return self.measures[0].value_range

    def deciding(self, readings: pl.DataFrame, unit: str) -> Measure:
        """The measure with the lowest lower end."""
        return self._lowest(readings, unit)[0].deciding(readings, unit)

    def _lowest(self, readings: pl.DataFrame, unit: str) -> tuple[Measure, Estimate]:
        estimates = [(measure, measure.estimate(readings, unit)) for measure in self.measures]
        return min(estimates, key=lambda pair: -float("inf") if pair[1].low is None else pair[1].low)

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The estimate with the lowest lower end; its method names the reference of a difference.

        Raises:
            DataError: One of the measures has no estimate.
        """
        measure, lowest = self._lowest(readings, unit)
        reference = f", against {measure.reference_description}" if measure.reference_description else ""
        return replace(lowest, method=f"the least of {len(self.measures)}{reference}; {lowest.method}")
