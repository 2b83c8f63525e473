"""Measures of headroom: what share of the room above its floor does a score gain?

The room above a floor of 40 % is 60 %; a score of 70 % gains half of it. Raw gains over unequal floors are not
comparable, since a higher floor leaves less to gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from nosce.analysis.measures import Measure, shared_units
from nosce.analysis.selection import Selection, scored_rows
from nosce.analysis.stats.intervals import influence_interval
from nosce.analysis.stats.ranges import ValueRange, weighted_sum_range
from nosce.errors import DataError
from nosce.records import Estimate

GainTerm = tuple[float, Selection, Selection]
"""A weight, a score and its floor."""


@dataclass(frozen=True, kw_only=True)
class NormalizedGain(Measure):
    """The share of its headroom that one score gains over its floor, minus the share that another score gains.

    Args:
        a: The first score.
        a_floor: The floor of the first score.
        b: The second score.
        b_floor: The floor of the second score.
    """

    a: Selection
    a_floor: Selection
    b: Selection
    b_floor: Selection

    @property
    def is_difference(self) -> bool:
        """A difference; shares are shown in points."""
        return True

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference of shares, with an interval over each unit's first-order effect (the delta method).

        A share of headroom is at most 1, and below 0 where a score falls below its floor.

        Raises:
            DataError: A selection is empty, a floor leaves no headroom, or the four share no entity.
        """
        terms = ((1.0, self.a, self.a_floor), (-1.0, self.b, self.b_floor))
        return _weighted_gains(terms, readings, unit)


@dataclass(frozen=True, kw_only=True)
class NormalizedContrast(Measure):
    """A weighted sum of the shares of their headroom that scores gain over their floors.

    E.g. two scores of a trained model minus the same two of an untrained one, each above its own floor.

    Args:
        terms: The weight of each score, the score, and its floor.
    """

    terms: tuple[GainTerm, ...]

    @property
    def is_difference(self) -> bool:
        """A difference if the weights sum to zero."""
        return abs(sum(weight for weight, _, _ in self.terms)) < 1e-9

    @property
    def value_range(self) -> ValueRange:
        """No more than the sum of the positive weights; how little depends on the floors."""
        return weighted_sum_range((weight, ValueRange(None, 1.0)) for weight, _, _ in self.terms)

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The sum, with an interval over each unit's first-order effect (the delta method).

        Raises:
            DataError: A selection is empty, a floor leaves no headroom, or the selections share no entity.
        """
        return _weighted_gains(self.terms, readings, unit)


def _weighted_gains(terms: Sequence[GainTerm], readings: pl.DataFrame, unit: str) -> Estimate:
    """The weighted sum of shares of headroom, over the units that all scores and floors share."""
    selections = list(dict.fromkeys(selection for _, *both in terms for selection in both))
    names = {selection: f"mean {number}" for number, selection in enumerate(selections)}
    tables = []
    for selection, name in names.items():
        rows = scored_rows(selection, readings)
        tables.append(rows.group_by("seed", "entity").agg(pl.col("value").mean().alias(name)))
    paired = shared_units(tables)
    means = paired.group_by("seed").agg(pl.col(*names.values()).mean())
    floors = [names[floor] for _, _, floor in terms]
    if paired.is_empty() or not (means.select(pl.max_horizontal(floors)).to_series() < 1).all():
        raise DataError(
            f"{terms[0][1].description} and the selections that it is compared with share no {unit}, or a floor leaves "
            "no room."
        )
    gains = [weight * _linearized_gain(names[score], names[floor]) for weight, score, floor in terms]
    values = paired.select(pl.sum_horizontal(gains)).to_series()
    seed_values = paired.with_columns(gain=values).group_by("seed").agg(pl.col("gain").mean())["gain"].to_numpy()
    ranges = [(weight, _gain_range(means[names[floor]].to_numpy().max())) for weight, _, floor in terms]
    interval = influence_interval(
        float(seed_values.mean()),
        values.to_numpy(),
        paired["entity"].to_list(),
        paired["seed"].to_list(),
        unit=unit,
        value_range=weighted_sum_range(ranges),
    )
    return replace(interval, method=f"paired, linearised; {interval.method}")


def _gain_range(floor: float) -> ValueRange:
    """The range of (A - F) / (1 - F) for a floor F: the score A lies between 0 and 1."""
    return ValueRange(-floor / (1 - floor), 1.0)


def _linearized_gain(score: str, floor: str) -> pl.Expr:
    """(A - F) / (1 - F) of a seed's means, with its first-order change by each unit's own score and floor."""
    mean, mean_floor = (pl.col(name).mean().over("seed") for name in (score, floor))
    deviation, floor_deviation = (pl.col(name) - pl.col(name).mean().over("seed") for name in (score, floor))
    headroom = 1 - mean_floor
    return (mean - mean_floor + deviation) / headroom - floor_deviation * (1 - mean) / headroom**2
