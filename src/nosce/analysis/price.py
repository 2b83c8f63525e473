"""What would decide an open claim: how many more seeds, or how many times as many units in each seed.

A claim is decided when its interval no longer reaches the nearest threshold. An interval over n seeds is Student's t
times sqrt(V / n), where V is the variance of one seed's value. V has three parts: what training seeds differ in beyond
their units, what the units of a seed (people, specifications) give to its mean, and what the items of a unit give. With
more seeds all three shrink, with more units per seed the last two, with more items per unit the last alone.

The number of seeds is the usual one of a t-test: the smallest m at which the interval's half-width and the one-sided
80 % quantile of t fit together between the estimate and the threshold, for a chance of four in five. Few seeds know
little of V and of the distance, so the number has a range, of 80 %: V and the true value are drawn 2,000 times from
their distribution given the seeds (chi-squared and normal, with the usual prior of 1/V).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import scipy

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.looks import look_level
from nosce.analysis.measures import RESAMPLING_SEED, Mean, Measure
from nosce.analysis.needed_rows import needed_metrics, selections_in
from nosce.analysis.stats.arrays import FloatArray
from nosce.analysis.stats.intervals import plural
from nosce.analysis.stats.level import interval_level
from nosce.analysis.stats.paired import Direction
from nosce.analysis.stats.seed_groups import decide_by_groups
from nosce.errors import DataError
from nosce.records import Estimate

MAX_SEEDS_PRICED = 100
MAX_UNITS_FACTOR = 100.0  # from which more units per seed are no advice
POWER = 0.8
RANGE_TAILS = (0.1, 0.9)
DRAWS = 2_000


@dataclass(frozen=True, kw_only=True)
class ClaimPrice:
    """What would decide a claim that is open, as a row of a table.

    Args:
        claim: Name of the claim.
        seeds: Number of seeds now.
        by_seeds: Whether at most 100 seeds would decide it with a chance of four in five.
        needed: So many seeds; null where 100 are too few or nothing is known.
        needed_low: Lower end of the 80 % range of this number; null where even this is above 100.
        needed_high: Upper end; null where it is above 100.
        left: Half the width of the interval that 100 seeds would leave; null where it is not known.
        units_factor: How many times as many units per seed would decide it at the same seeds; null where more units
            would not, or where it is not known.
        share_seeds: Share of the variance of a seed's value that is due to the seed; null where it is not known.
        share_units: Share that is due to units; likewise.
        share_items: Share that is due to items within units; null where it could not be told from that of the units.
        sentence: All this in words.
    """

    claim: str
    seeds: int
    by_seeds: bool
    needed: int | None
    needed_low: int | None
    needed_high: int | None
    left: float | None
    units_factor: float | None
    share_seeds: float | None
    share_units: float | None
    share_items: float | None
    sentence: str


@dataclass(frozen=True, kw_only=True)
class SeedSpread:
    """How the value of a measure varies, as far as the seeds that were run tell.

    Args:
        value: The estimate.
        n_seeds: Number of seeds.
        variance: Variance of one seed's value around the mean of all seeds: V.
        unit_variance: The part of V that units and their items give.
        item_variance: The part of V that items within units give; None where it is not known.
    """

    value: float
    n_seeds: int
    variance: float
    unit_variance: float
    item_variance: float | None = None


def seed_spread(measure: Measure, readings: pl.DataFrame, unit: str, toward: float) -> SeedSpread:
    """The spread of a measure over seeds.

    Args:
        measure: The measure.
        readings: The readings.
        unit: Name of the independently drawn unit.
        toward: The threshold; an interval near the end of a natural range is wider on one side.

    Raises:
        DataError: There is no estimate, no interval, or a single seed.
    """
    measure = measure.deciding(readings, unit)
    estimate = measure.estimate(readings, unit)
    if isinstance(measure, Mean) and measure.seed is not None:
        raise DataError("it is about one model alone")
    if estimate.low is None or estimate.high is None or not estimate.high > estimate.low:
        raise DataError(f"there is no interval ({estimate.method})")
    values, within = _values_by_seed(measure, readings, unit)
    n_seeds = len(values)
    if n_seeds < 2:
        raise DataError("fewer than two seeds have all that it needs")
    half_width = estimate.value - estimate.low if toward < estimate.value else estimate.high - estimate.value
    unit_variance = float(np.mean(within))
    variance = max(n_seeds * (half_width / _t(interval_level(), n_seeds)) ** 2, unit_variance)
    if variance == 0:
        raise DataError("no seed differs from another")
    items = _item_variance(measure, readings, unit, variance)
    return SeedSpread(
        value=estimate.value,
        n_seeds=n_seeds,
        variance=variance,
        unit_variance=min(unit_variance, variance),
        item_variance=None if items is None else min(items, unit_variance),
    )


def _values_by_seed(measure: Measure, readings: pl.DataFrame, unit: str) -> tuple[FloatArray, FloatArray]:
    """The value of each seed alone, and its variance through units. Shapes: (S,), (S,)."""
    values, within = [], []
    for seed in readings["seed"].unique().sort():
        try:
            estimate = measure.estimate(readings.filter(pl.col("seed") == seed), unit)
        except DataError:
            continue  # this seed has not all that the measure needs
        values.append(estimate.value)
        width = 0.0 if estimate.low is None or estimate.high is None else estimate.high - estimate.low
        # Where no unit differs from another or the error is not known, the interval is taken as a normal one.
        within.append((estimate.units_error or width / 2 / _z(estimate)) ** 2)
    return np.array(values), np.array(within)


def _z(estimate: Estimate) -> float:
    """The standard errors in half of a normal interval."""
    return float(scipy.special.ndtri((1 + estimate.level) / 2))


def _item_variance(measure: Measure, readings: pl.DataFrame, unit: str, variance: float) -> float | None:
    """The variance that items within units give to a seed's value, from halves of every unit's items.

    Two halves of the items of the same units and seeds differ through items alone, each with twice their variance.
    None where the units have one item each, or the measure has no value of half of the items.
    """
    differences = []
    for seed in readings["seed"].unique().sort():
        rows = readings.filter(pl.col("seed") == seed)
        rank = pl.col("item").rank("dense").over("entity")
        half = ((rank + pl.col("entity").rank("dense")) % 2).alias("half")
        rows = rows.with_columns(half)
        try:
            first, second = (measure.estimate(rows.filter(pl.col("half") == h).drop("half"), unit) for h in (0, 1))
        except DataError:
            return None
        if first.clusters < 0.9 * rows["entity"].n_unique() or second.clusters < 0.9 * rows["entity"].n_unique():
            return None
        differences.append((first.value - second.value) ** 2 / 4)
    return min(float(np.mean(differences)), variance) if differences else None


def price_claim(claim: Claim, readings: pl.DataFrame, unit: str) -> ClaimPrice:
    """What would decide a claim that is undecided: the dearest of its open needs and its own measure."""
    readings = _needed_rows(claim, readings)
    try:
        parts = _open_parts(claim, readings, unit)
        if readings["seed"].n_unique() < 2:
            return _no_price(claim, readings, "not known: one seed does not tell how seeds differ; run 3")
        spreads = _with_spreads(parts, readings, unit)
    except DataError as error:
        return _no_price(claim, readings, f"not by seeds: {str(error).rstrip('.')}")
    return _priced(claim, *max(spreads, key=lambda pair: _seeds_needed(*pair)), unit)


def _needed_rows(claim: Claim, readings: pl.DataFrame) -> pl.DataFrame:
    """The readings that a claim and its needs may look at: pricing looks at them many times."""
    needed, selections = needed_metrics([claim]), selections_in([claim])
    if needed is None or selections is None:
        return readings
    arms = {selection.arm for selection, _ in selections}
    if None not in arms:  # a selection without an arm looks at all of them
        readings = readings.filter(pl.col("arm").is_in(sorted(map(str, arms))))
    is_needed = pl.lit(False)
    for name, metrics in needed.items():
        is_metric = pl.lit(True) if metrics is None else pl.col("metric").is_in(sorted(metrics))
        is_needed |= (pl.col("evaluation") == name) & is_metric
    return readings.filter(is_needed)


@dataclass(frozen=True, kw_only=True)
class _OpenPart:
    """What must be decided before a claim is: its own measure, or a need, which must come out above its threshold."""

    measure: Measure
    threshold: float
    direction: Direction
    need: Precondition | None = None


def _open_parts(claim: Claim, readings: pl.DataFrame, unit: str) -> list[_OpenPart]:
    """What keeps a claim open: each need that is not met and may still be, and the claim's own measure.

    Raises:
        DataError: No number of seeds would help; the sentence says why.
    """
    parts = []
    for need in claim.preconditions:
        try:
            reason = need.unmet_reason(readings, unit)
        except DataError as error:
            raise DataError(f"{need.text} is not known: {str(error).rstrip('.')}") from error
        if reason:
            high = need.measure.estimate(readings, unit).high
            if high is None or high <= need.above:
                raise DataError(reason)
            parts.append(_OpenPart(measure=need.measure, threshold=need.above, direction="above", need=need))
    estimate = claim.measure.estimate(readings, unit)
    decision, groups = decide_by_groups(estimate, claim.threshold, claim.direction, claim.measure.value_range)
    if groups is not None and groups.on_both_sides(claim.threshold, claim.direction):
        raise DataError("the seeds form two groups on both sides of the threshold, which more seeds would not make one")
    is_counted = estimate.low is not None and estimate.low == estimate.high  # more seeds tell nothing new of it
    if not (parts and is_counted and decision != "undecided"):
        parts.append(_OpenPart(measure=claim.measure, threshold=claim.threshold, direction=claim.direction))
    return parts


def _with_spreads(parts: Sequence[_OpenPart], readings: pl.DataFrame, unit: str) -> list[tuple[_OpenPart, SeedSpread]]:
    """Each part with the spread of its measure over seeds.

    Raises:
        DataError: Nothing tells how seeds differ in one of them.
    """
    found = []
    for part in parts:
        value = part.measure.estimate(readings, unit).value
        toward = nearest_threshold(value, part.threshold, part.direction)
        found.append((part, seed_spread(part.measure, readings, unit, toward)))
    return found


def _seeds_needed(part: _OpenPart, spread: SeedSpread) -> float:
    distance = _distance(np.array(spread.value), part.threshold, part.direction)
    return float(seeds_needed(distance, np.array(spread.variance)))


def _no_price(claim: Claim, readings: pl.DataFrame, sentence: str) -> ClaimPrice:
    return ClaimPrice(
        claim=claim.id,
        seeds=readings["seed"].n_unique(),
        by_seeds=False,
        needed=None,
        needed_low=None,
        needed_high=None,
        left=None,
        units_factor=None,
        share_seeds=None,
        share_units=None,
        share_items=None,
        sentence=sentence,
    )


def _priced(claim: Claim, part: _OpenPart, spread: SeedSpread, unit: str) -> ClaimPrice:
    needed = _seeds_needed(part, spread)
    low, high = _needed_range(spread, part.threshold, part.direction)
    factor = _units_factor(spread, float(_distance(np.array(spread.value), part.threshold, part.direction)))
    price = ClaimPrice(
        claim=claim.id,
        seeds=spread.n_seeds,
        by_seeds=bool(needed <= MAX_SEEDS_PRICED),
        needed=_or_none(max(int(needed), spread.n_seeds + 1)),
        needed_low=_or_none(max(low, spread.n_seeds + 1)),
        needed_high=_or_none(high),
        left=_t(interval_level(), MAX_SEEDS_PRICED) * math.sqrt(spread.variance / MAX_SEEDS_PRICED),
        units_factor=factor,
        share_seeds=1 - spread.unit_variance / spread.variance,
        share_units=(spread.unit_variance - (spread.item_variance or 0.0)) / spread.variance,
        share_items=None if spread.item_variance is None else spread.item_variance / spread.variance,
        sentence="",
    )
    sentence = _sentence(price, part.measure, unit)
    if part.need is not None:
        sentence += f", to tell whether {part.need.text} lies above {part.need.shown_threshold}"
    return replace(price, sentence=sentence)


def _or_none(seeds: int) -> int | None:
    return seeds if seeds <= MAX_SEEDS_PRICED else None


def nearest_threshold(value: float, threshold: float, direction: Direction) -> float:
    """The threshold that the interval has to leave behind: of a margin the nearer one."""
    return math.copysign(threshold, value) if direction == "within" else threshold


def _distance(values: FloatArray, threshold: float, direction: Direction) -> FloatArray:
    """How far values lie from the nearest threshold."""
    return np.abs((np.abs(values) if direction == "within" else values) - threshold)


def _t(level: float, seeds: int) -> float:
    """The two-sided quantile of Student's t over so many seeds."""
    return float(scipy.special.stdtrit(seeds - 1, (1 + level) / 2))


def seeds_needed(distance: FloatArray, variance: FloatArray) -> FloatArray:
    """The number of seeds that decide with a chance of 80 %; 101 where 100 are too few.

    Args:
        distance: From the true value to the threshold. Shape: (R,) or ().
        variance: Of one seed's value. Shape: the same.
    """
    seeds = np.arange(2, MAX_SEEDS_PRICED + 1)
    quantiles = scipy.special.stdtrit(seeds - 1, (1 + interval_level()) / 2) + scipy.special.stdtrit(seeds - 1, POWER)
    reach = quantiles / np.sqrt(seeds)  # falls with the number of seeds
    enough = np.asarray(reach)[None, :] <= (np.atleast_1d(distance) / np.sqrt(np.atleast_1d(variance)))[:, None]
    first = np.where(enough.any(1), enough.argmax(1) + 2, MAX_SEEDS_PRICED + 1)
    return first.reshape(np.shape(distance)).astype(np.float64)


def _posterior(spread: SeedSpread, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """The true value and the variance of a seed's value, given the seeds. Shapes: (R,), (R,)."""
    variance = spread.variance * (spread.n_seeds - 1) / rng.chisquare(spread.n_seeds - 1, DRAWS)
    return spread.value + np.sqrt(variance / spread.n_seeds) * rng.standard_normal(DRAWS), variance


def _needed_range(spread: SeedSpread, threshold: float, direction: Direction) -> tuple[int, int]:
    """The 80 % range of the number of seeds."""
    values, variance = _posterior(spread, (RESAMPLING_SEED / "price").numpy())
    needed = seeds_needed(_distance(values, threshold, direction), variance)
    low, high = np.quantile(needed, RANGE_TAILS, method="nearest")
    return int(low), int(high)


def _units_factor(spread: SeedSpread, distance: float) -> float | None:
    """How many times as many units per seed decide at the same number of seeds."""
    n_seeds = spread.n_seeds
    reach = _t(interval_level(), n_seeds) + float(scipy.special.stdtrit(n_seeds - 1, POWER))
    room = n_seeds * (distance / reach) ** 2 - (spread.variance - spread.unit_variance)
    if room <= 0 or spread.unit_variance <= 0:
        return None
    factor = spread.unit_variance / room
    return factor if 1 < factor <= MAX_UNITS_FACTOR else None


def _sentence(price: ClaimPrice, measure: Measure, unit: str) -> str:
    """What would decide, in words; the price in core-minutes is added where the steps' times are known."""
    more = "" if price.units_factor is None else f"{_times(price.units_factor)} as many {plural(unit)} in each seed"
    if price.by_seeds:
        low = f"{price.needed_low}" if price.needed_low else f"over {MAX_SEEDS_PRICED}"
        high = f"{price.needed_high}" if price.needed_high else f"over {MAX_SEEDS_PRICED}"
        sentence = f"about {price.needed} seeds (80 % range {low} to {high})"
        return f"{sentence}, or {more}" if more else sentence
    left = price.left or 0.0
    width = f"±{100 * left:.2g} points" if measure.quantity == "share" else f"±{left:.2g} {measure.quantity}"
    sentence = f"not by seeds: {MAX_SEEDS_PRICED} would still leave {width}"
    return f"{sentence}; {more} would" if more else sentence


def _times(factor: float) -> str:
    return "twice" if round(factor) <= 2 else f"{factor:.0f} times"


def decision_power(
    spread: SeedSpread, threshold: float, direction: Direction, looks: Sequence[int], need: Precondition | None = None
) -> float:
    """The chance that one of the looks to come decides a claim, given the seeds so far, or meets a need of it.

    It is the predictive power: true value and variance are drawn from their distribution given the seeds, then seeds to
    come, and each look judges them together with those that are there (Spiegelhalter, Freedman and Blackburn 1986,
    Controlled Clinical Trials 7:8-17).

    Args:
        spread: The spread of the measure.
        threshold: The threshold of the claim or need.
        direction: The claim's direction.
        looks: Numbers of seeds of the looks to come, each of `LOOKS`.
        need: The need: it must come out above its threshold, and below it leaves the claim open.
    """
    looks = [look for look in looks if look > spread.n_seeds]
    if not looks:
        return 0.0
    rng = (RESAMPLING_SEED / "power").numpy()
    values, variance = _posterior(spread, rng)
    n_new = looks[-1] - spread.n_seeds
    drawn = values[:, None] + np.sqrt(variance)[:, None] * rng.standard_normal((DRAWS, n_new))
    decided = np.zeros(DRAWS, dtype=bool)
    for look in looks:
        new = drawn[:, : look - spread.n_seeds]
        mean = (spread.n_seeds * spread.value + new.sum(1)) / look
        squares = (spread.n_seeds - 1) * spread.variance + spread.n_seeds * spread.value**2 + (new**2).sum(1)
        spread_now = np.sqrt(np.maximum(squares - look * mean**2, 0) / (look - 1) / look)
        half_width = float(scipy.special.stdtrit(look - 1, (1 + look_level(look)) / 2)) * spread_now
        if need is None:
            decided |= _distance(mean, threshold, direction) > half_width
        else:
            decided |= mean - threshold > (half_width if need.by_interval else 0.0)
    return float(decided.mean())


def claim_power(claim: Claim, readings: pl.DataFrame, unit: str, looks: Sequence[int]) -> float:
    """The chance that one of the looks to come decides a claim that is open.

    All its open needs must be met and its own measure decided, so the least likely of them bounds the chance.

    Raises:
        DataError: No number of seeds would help, or nothing tells how seeds differ.
    """
    readings = _needed_rows(claim, readings)
    spreads = _with_spreads(_open_parts(claim, readings, unit), readings, unit)
    return min(decision_power(spread, part.threshold, part.direction, looks, part.need) for part, spread in spreads)
