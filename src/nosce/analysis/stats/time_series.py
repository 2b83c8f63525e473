"""Curves over training: do two of them rise together, and where does one leave its beginning?

Two curves that both rise are correlated whatever they are. So beside the correlation of their values stands the one of
their changes from checkpoint to checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy

from nosce.analysis.stats.arrays import FloatArray
from nosce.analysis.stats.intervals import PEOPLE_LEVEL
from nosce.analysis.stats.level import interval_level
from nosce.analysis.stats.ranges import CORRELATION_RANGE, UNBOUNDED, ValueRange
from nosce.errors import DataError
from nosce.records import Estimate
from nosce.seeds import Seed

MIN_CHECKPOINTS = 5  # points of a curve
MIN_DEFINED_SHARE = 0.5  # of the draws of blocks


def curve_correlation(
    curves_a: Sequence[Sequence[float]],
    curves_b: Sequence[Sequence[float]],
    *,
    seed: Seed,
    detrended: bool,
    resamples: int = 1_000,
    level: float | None = None,
) -> Estimate:
    """Pearson's correlation of two curves: 1 where they rise together, -1 where one falls as the other rises.

    The square of a correlation says how much of one curve a straight line from another explains, and forgets whether
    they move together or apart.

    Args:
        curves_a: For each training seed the values at its checkpoints, in order.
        curves_b: The same for the other curve.
        seed: Where the draws come from.
        detrended: Correlate the changes from one checkpoint to the next instead of the values.
        resamples: How often blocks are redrawn.
        level: Coverage of the interval; None: `level.interval_level()`.

    Returns:
        The mean over seeds of r, with Student's t over seeds within [-1, 1]. One seed has the standard error of a
        moving-block bootstrap alone: blocks of about the cube root of the points are redrawn; draws in which a curve
        does not change have no r and are left out. Several seeds have an interval that is not narrower than the 80 %
        one of redrawn blocks. `n` counts points.

    Raises:
        DataError: Curves of unequal lengths, of fewer than five points, or that do not change at all, or so seldom
            that hardly any draw of blocks holds a change of both.

    Source:
        Jin and Rinard 2024 (arXiv:2305.11169), section 3, have R²; Künsch 1989, Annals of Statistics 17, for moving
        blocks.
    """
    level = interval_level() if level is None else level
    pairs = [_paired_points(a, b, detrended) for a, b in zip(curves_a, curves_b, strict=True)]
    if not pairs:
        raise DataError("two curves were to be held together, but there is no seed; run one.")
    values = np.array([_correlations(pair[None])[0] for pair in pairs])
    rng = (seed / "blocks").numpy()
    within = np.array([_redrawn_variance(_block_resamples(pair, resamples, rng)) for pair in pairs])
    points = sum(len(pair) for pair in pairs)
    half_width, method = half_width_over_seeds(values, within, "blocks of checkpoints", level)
    low, high = CORRELATION_RANGE.score_interval(float(values.mean()), half_width, n=points)
    changes = "changes, " if detrended else ""
    method = f"{changes}{method}; {CORRELATION_RANGE.description} by a score test"
    by_seed = tuple(values.tolist())
    return Estimate(float(values.mean()), low, high, points, points, len(pairs), "checkpoint", method, level, by_seed)


def half_width_over_seeds(
    values: FloatArray,
    within: FloatArray,
    redrawn: str,
    level: float | None = None,
    *,
    least_level: float = PEOPLE_LEVEL,
) -> tuple[float, str]:
    """Half the width of the symmetric interval of a mean over seeds, and how it was computed.

    Args:
        values: One number a seed. Shape: (S,).
        within: The variance of each number for this training alone. Shape: (S,).
        redrawn: What that variance is over, e.g. "blocks of checkpoints".
        level: Coverage of the interval; None: `level.interval_level()`.
        least_level: Coverage, for these trainings alone, of the interval that this one is not narrower than.

    Source:
        The rule is that of `intervals.nested_interval`.
    """
    level = interval_level() if level is None else level
    error = float(np.sqrt(within.sum())) / len(values)
    if len(values) == 1:
        method = f"bootstrap over {redrawn}; 1 seed, so nothing is said about other seeds"
        return float(scipy.stats.norm.ppf((1 + level) / 2)) * error, method
    over_seeds = float(scipy.stats.t.ppf((1 + level) / 2, len(values) - 1) * scipy.stats.sem(values))
    over_draws = float(scipy.stats.norm.ppf((1 + least_level) / 2)) * error
    method = f"Student's t over {len(values)} seeds"
    if over_draws > over_seeds:
        method += f", which agree so well that the {100 * least_level:g} % interval over {redrawn} is wider"
    return max(over_seeds, over_draws), method


def _paired_points(curve_a: Sequence[float], curve_b: Sequence[float], detrended: bool) -> FloatArray:
    both = np.array([curve_a, curve_b], dtype=np.float64).T if len(curve_a) == len(curve_b) else np.zeros((0, 2))
    if len(both) < MIN_CHECKPOINTS or not np.isfinite(both).all():
        raise DataError(
            f"curves of {len(curve_a)} and {len(curve_b)} points were to be held together; give two of equal length, "
            f"at least {MIN_CHECKPOINTS} points, all of them numbers."
        )
    points: FloatArray = np.diff(both, axis=0) if detrended else both
    if (np.ptp(points, axis=0) == 0).any():
        raise DataError("one of two curves does not change at all, so nothing can rise with it; look at its readings.")
    return points


def _correlations(points: FloatArray) -> FloatArray:
    """Pearson's r of each of R sets of P points; NaN where a set does not vary. Shapes: (R, P, 2) -> (R,)."""
    centred = points - points.mean(1, keepdims=True)
    sizes = np.sqrt((centred**2).sum(1).prod(1))
    products = (centred[..., 0] * centred[..., 1]).sum(1)
    return np.where(sizes > 0, products / np.where(sizes > 0, sizes, 1.0), np.nan)


def _redrawn_variance(resampled: FloatArray) -> float:
    """The variance of r over the draws that have one. Shape: (R, P, 2)."""
    values = _correlations(resampled)
    defined = values[np.isfinite(values)]
    if len(defined) < MIN_DEFINED_SHARE * len(values):
        raise DataError(
            f"of two curves one changes so seldom that {100 * len(defined) / len(values):.0f} % of the draws of blocks "
            f"have a correlation, where {100 * MIN_DEFINED_SHARE:.0f} % are needed; give it more checkpoints."
        )
    return float(np.var(defined))


def _block_resamples(points: FloatArray, resamples: int, rng: np.random.Generator) -> FloatArray:
    """Sets of as many points, each from blocks of neighbours that may overlap. Shapes: (P, 2) -> (R, P, 2)."""
    count = len(points)
    size = max(2, round(count ** (1 / 3)) + 1)
    starts = rng.integers(count - size + 1, size=(resamples, -(-count // size)))
    indices = (starts[:, :, None] + np.arange(size)).reshape(resamples, -1)[:, :count]
    resampled: FloatArray = points[indices]
    return resampled


def mean_over_seeds(
    values: Sequence[float],
    *,
    unit: str,
    value_range: ValueRange = UNBOUNDED,
    level: float | None = None,
    parts: int = 1,
) -> Estimate:
    """The mean of one number a training seed, with Student's t; without an interval where there is one seed.

    The interval keeps within the range of the numbers.

    Args:
        values: One number a seed.
        unit: Name of what is counted.
        value_range: The least and largest number.
        level: Coverage of the interval.
        parts: Into how many parts the range of a number is divided, e.g. a training by its kept checkpoints. Numbers
            within half a part of an end are not told from the end, and those within half a part not from each other.

    Raises:
        DataError: There is no number, or one is not finite.
    """
    level = interval_level() if level is None else level
    numbers = np.asarray(values, dtype=np.float64)
    if not len(numbers) or not np.isfinite(numbers).all():
        raise DataError(f"a number for each seed was asked for, but {values!r} was found; run the seeds again.")
    count, by_seed = len(numbers), tuple(numbers.tolist())
    plain = Estimate(float(numbers.mean()), None, None, count, count, count, unit, "", level, by_seed)
    if len(numbers) == 1:
        return replace(plain, method="no interval: one seed")
    spread = float(numbers.std(ddof=1)) / np.sqrt(len(numbers))
    half = float(scipy.stats.t.ppf((1 + level) / 2, len(numbers) - 1)) * spread
    if half == 0 and parts == 1:
        return replace(plain, method=f"no interval: all {len(numbers)} seeds are equal")
    low, high = value_range.score_interval(plain.value, half, n=parts * len(numbers))
    if parts > 1 and value_range.low is not None and value_range.high is not None:
        half_part = (value_range.high - value_range.low) / (2 * parts)
        low = max(value_range.low, min(low, plain.value - half_part))
        high = min(value_range.high, max(high, plain.value + half_part))
    return replace(plain, low=low, high=high, method=f"Student's t over {len(numbers)} seeds")


def exact_estimate(value: float, *, n: int, seeds: int, unit: str) -> Estimate:
    """A number that was counted and not sampled: its interval is itself."""
    return Estimate(value, value, value, n, n, seeds, unit, "counted, not sampled", interval_level())


def onset_index(values: Sequence[float], rise_fraction: float, floor: float | None = None) -> int:
    """The first place from which a rising curve is above a share of the way from its floor to its highest value.

    From there on it stays above until its highest value. The length of the curve where it never leaves.

    Args:
        values: The curve.
        rise_fraction: The share of the way.
        floor: Where the way begins. None: at the first value.
    """
    curve = np.asarray(values, dtype=np.float64)
    top, start = int(curve.argmax()), curve[0] if floor is None else floor
    if curve[top] <= start:
        return len(curve)
    bound = start + rise_fraction * (curve[top] - start)
    below = np.flatnonzero(curve[: top + 1] <= bound)
    return int(below[-1]) + 1 if len(below) else 0
