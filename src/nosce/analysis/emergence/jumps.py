"""How steeply a score rises with the logarithm of size, and whether it breaks: vectorised over resampled curves.

The published emergence score is a ratio that has no scale of its own: a straight line of M points has M - 1, pure noise
of 12 points exceeds 6 once in twenty. Beside it stands a number that means something by itself: which share of its rise
a curve makes within a part of the range of log size, and how much faster there than before. Two words are made of it:

    jump    half of the rise within a quarter of the range: what an eye calls sharp
    break   within an eighth of it more than any power law of an exponent up to 1.65 makes, were it bounded on both
            sides, and twice what a straight line makes: what no smooth law of scaling does

Letters: D curves, J sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nosce.analysis.stats.arrays import BoolArray, FloatArray
from nosce.seeds import Seed

JUMP_WINDOW, JUMP_SHARE = 0.25, 0.5  # of the range of log size, and of its rise that a curve makes there where it jumps
BREAK_WINDOW, MIN_LINE_RATIO = 0.125, 2.0  # a break: of the range, and how many straight lines
#: The smallest exponent (in steps of 0.05) with which at most 2.5 % of simulated power laws of exponents 1 to 1.4 are
#: called breaks at any number of sizes and items; trainings scatter around their law, which makes it look steeper.
MAX_SMOOTH_EXPONENT = 1.65
MIN_SPEEDUP = 3.0  # than on the way before: what slows down all along, as a power law does, neither jumps nor breaks
NOISE_CURVES = 20_000  # curves of noise that a score is held against
WINDOW_GRID_POINTS = 200  # places on the axis where a window may end


def emergence_score(values: npt.ArrayLike) -> float:
    """The emergence score E of values ordered by size, or NaN where it is not defined.

    E = sign(argmax - argmin) (max - min) / sqrt(median of the squared steps): large where a score stays and then
    jumps. The first of equal values counts. It is not defined for fewer than three values, for missing ones, and
    where half of the steps or more are zero.

    Source: Schaeffer et al. 2023 (arXiv:2304.15004), section 4; "breakthroughness" in arXiv:2206.04615.
    """
    y = np.asarray(values, dtype=np.float64)
    if len(y) < 3 or not np.isfinite(y).all():
        return float("nan")
    step = float(np.sqrt(np.median(np.diff(y) ** 2)))
    if step == 0:
        return float("nan")
    sign = 1.0 if y.argmax() > y.argmin() else -1.0
    return sign * float(np.ptp(y)) / step


@lru_cache(maxsize=64)
def noise_emergence_scores(points: int) -> FloatArray:
    """|E| of pure noise of so many points, sorted: what no trend at all gives. Shape: (20,000,)."""
    rng = (Seed(0) / "noise scores" / points).numpy()
    noise = rng.normal(size=(NOISE_CURVES, points))
    steps = np.sqrt(np.median(np.diff(noise, axis=1) ** 2, axis=1))
    found: FloatArray = np.sort(np.ptp(noise, axis=1) / steps)
    return found


def noise_p_value(score: float, points: int) -> float:
    """How often pure noise of so many points has a score as far from 0; NaN where the score is not defined."""
    if not np.isfinite(score):
        return float("nan")
    scores = noise_emergence_scores(points)
    return float((1 + len(scores) - np.searchsorted(scores, abs(score))) / (1 + len(scores)))


def isotonic_fit(values: npt.ArrayLike) -> FloatArray:
    """The rising curves closest to these in squares, all sizes weighing alike. Shapes: (D, J) -> (D, J).

    By the min-max formula (Robertson, Wright and Dykstra 1988, section 1.4), which works on many curves at once.
    """
    y = np.atleast_2d(np.asarray(values, dtype=np.float64))
    sums = np.concatenate([np.zeros((len(y), 1)), np.cumsum(y, 1)], 1)
    count = y.shape[1]
    best = np.full(y.shape, -np.inf)
    for first in range(count):
        means = (sums[:, first + 1 :] - sums[:, first : first + 1]) / np.arange(1, count - first + 1)
        min_means = np.minimum.accumulate(means[:, ::-1], 1)[:, ::-1]  # over the ends from each place on
        best[:, first:] = np.maximum(best[:, first:], min_means)
    return best


@dataclass(frozen=True, eq=False)
class RiseShape:
    """The shape of D rising curves; each field has the shape (D,).

    Args:
        rise: Rise from the first size to the last.
        window_share: Share of the rise within the steepest window.
        speedup: Slope within that window over the slope before it; infinite where the curve was flat before.
        window_log_size: log10 of the size in the window's middle.
        width_decades: Decades of size between a tenth and nine tenths of the rise.
    """

    rise: FloatArray
    window_share: FloatArray
    speedup: FloatArray
    window_log_size: FloatArray
    width_decades: FloatArray

    @property
    def is_jump(self) -> BoolArray:
        """Does half of the rise happen within the window, and faster than before?"""
        found: BoolArray = (self.window_share >= JUMP_SHARE) & (self.speedup >= MIN_SPEEDUP)
        return found


def break_strength(curves: npt.ArrayLike, log_sizes: npt.ArrayLike) -> FloatArray:
    """How steep each curve is as a share of what a break takes; 0 where it was as fast before. Shape: (D,).

    Within an eighth of the range, or one size's distance where that is more.
    """
    x = np.asarray(log_sizes, dtype=np.float64)
    span = x[-1] - x[0]
    window = max(BREAK_WINDOW, float(np.median(np.diff(x))) / span)
    shape = rise_shape(curves, log_sizes, window=window)
    smooth = 2 / (1 + np.exp(-MAX_SMOOTH_EXPONENT * np.log(10) * window * span / 2)) - 1
    strength: FloatArray = shape.window_share / max(smooth, MIN_LINE_RATIO * window)
    return np.where(shape.speedup >= MIN_SPEEDUP, strength, 0.0)


def curves_break(curves: npt.ArrayLike, log_sizes: npt.ArrayLike) -> BoolArray:
    """Do curves rise as no smooth law does? Shape: (D,)."""
    found: BoolArray = break_strength(curves, log_sizes) >= 1
    return found


def rise_shape(curves: npt.ArrayLike, log_sizes: npt.ArrayLike, window: float = JUMP_WINDOW) -> RiseShape:
    """Where and how steeply curves rise, after the closest rising curve has been taken of each.

    Args:
        curves: (D, J), or (J,).
        log_sizes: (J,) log10 of the sizes, ascending.
        window: Share of the range of log size.
    """
    u = np.asarray(log_sizes, dtype=np.float64)
    y = isotonic_fit(curves)
    rise = y[:, -1] - y[:, 0]
    scaled = (y - y[:, :1]) / np.where(rise > 0, rise, 1.0)[:, None]
    length = window * (u[-1] - u[0])
    ends = np.linspace(u[0] + length, u[-1], WINDOW_GRID_POINTS)
    upper, lower = interpolated(scaled, u, ends), interpolated(scaled, u, ends - length)
    gain = upper - lower
    steepest = gain.argmax(1)
    rows = np.arange(len(y))
    share, before = gain[rows, steepest], lower[rows, steepest]
    decades_before = ends[steepest] - length - u[0]
    rate_before = np.where(decades_before > 0, before / np.where(decades_before > 0, decades_before, 1.0), np.inf)
    with np.errstate(divide="ignore"):
        faster = np.where(before > 0, share / length / np.where(before > 0, rate_before, 1.0), np.inf)
    # A window at the very beginning has nothing before it that it could be faster than.
    faster = np.where(decades_before < 0.25 * length, 0.0, faster)
    flat = rise <= 0
    return RiseShape(
        rise=rise,
        window_share=np.where(flat, 0.0, share),
        speedup=np.where(flat, 0.0, faster),
        window_log_size=ends[steepest] - length / 2,
        width_decades=np.where(flat, np.nan, _level_crossing(scaled, u, 0.9) - _level_crossing(scaled, u, 0.1)),
    )


def interpolated(curves: FloatArray, u: FloatArray, at: FloatArray) -> FloatArray:
    """Straight lines between neighbouring sizes. Shape: (D, places)."""
    right = np.clip(np.searchsorted(u, at, side="left"), 1, len(u) - 1)
    part = np.clip((at - u[right - 1]) / (u[right] - u[right - 1]), 0.0, 1.0)
    found: FloatArray = curves[:, right - 1] * (1 - part) + curves[:, right] * part
    return found


def _level_crossing(curves: FloatArray, u: FloatArray, level: float) -> FloatArray:
    """Where rising curves from 0 to 1 first reach a level. Shape: (D,)."""
    right = np.clip((curves < level).sum(1), 1, len(u) - 1)
    rows = np.arange(len(curves))
    low, high = curves[rows, right - 1], curves[rows, right]
    part = np.clip((level - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    found: FloatArray = u[right - 1] + part * (u[right] - u[right - 1])
    return found
