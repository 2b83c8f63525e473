"""The range of the share of its rise that a curve makes in its steepest window.

The share is a largest value. Noise makes the steepest of many windows steeper, and resampling adds the noise once more,
so percentiles of resamplings lie too high: of a straight line, whose steepest quarter makes 25 %, they held the truth
in no simulated study (benchmarks/steepest_window.py). This range turns tests around. A share s stays in it unless some
window makes surely more than s, or every window makes surely less; "surely more" is judged for all windows at once, by
the largest of their deviations.

Letters: D draws, J sizes, W windows.
"""

from __future__ import annotations

import numpy as np

from nosce.analysis.calibration import Z_TWO_SIDED_95
from nosce.analysis.emergence.jumps import JUMP_WINDOW, WINDOW_GRID_POINTS, interpolated, rise_shape
from nosce.analysis.stats.arrays import FloatArray

TAIL = 0.025  # on either side
SHARE_GRID_POINTS = 301  # shares tried, from that of a straight line up to all of the rise
MIN_SCATTER = 1e-9  # below it a window's gain is taken as known


def steepest_window_range(
    curve: FloatArray, drawn: FloatArray, log_sizes: FloatArray, window: float = JUMP_WINDOW
) -> tuple[float, float]:
    """The 95 % range of the share that the steepest window makes, between `window` (a straight line's) and 1.

    Args:
        curve: (J,) The mean score at each size.
        drawn: (D, J) Resampled curves; only their scatter around their own mean is used.
        log_sizes: (J,) log10 of the sizes, ascending.
        window: Share of the range of log size.

    Returns:
        The lower and the upper end; the share that `rise_shape` finds in the curve lies between them. `(0, 1)` where
        the last size is no better than the first: nothing is known of the share then.
    """
    share = float(rise_shape(curve, log_sizes, window).window_share[0])
    if curve[-1] <= curve[0]:
        return 0.0, 1.0
    gains, rise = _gains(curve[None], log_sizes, window)
    drawn_gains, drawn_rise = _gains(drawn, log_sizes, window)
    gain_errors, rise_errors = drawn_gains - drawn_gains.mean(0), drawn_rise - drawn_rise.mean()

    def excess(shares: FloatArray) -> FloatArray:
        """By how many standard errors each window makes more than each share. Shape: (shares, W)."""
        variance = (
            (gain_errors**2).mean(0)
            - 2 * shares[:, None] * (gain_errors * rise_errors[:, None]).mean(0)
            + shares[:, None] ** 2 * (rise_errors**2).mean()
        )
        above = gains[0] - shares[:, None] * rise
        above[np.abs(above) < MIN_SCATTER] = 0.0
        found: FloatArray = above / np.sqrt(np.maximum(variance, MIN_SCATTER**2))
        return found

    errors = gain_errors - share * rise_errors[:, None]
    scatter = np.maximum(errors.std(0), MIN_SCATTER)
    # What the largest of all deviations stays below.
    any_window = float(np.quantile((errors / scatter).max(1), 1 - TAIL))
    shares = np.linspace(window, 1.0, SHARE_GRID_POINTS)
    largest = excess(shares).max(1)
    not_too_small, not_too_large = shares[largest <= any_window], shares[largest >= -Z_TWO_SIDED_95]
    low = float(not_too_small[0]) if len(not_too_small) else 1.0
    high = float(not_too_large[-1]) if len(not_too_large) else window
    return min(low, share), max(high, share)


def _gains(curves: FloatArray, log_sizes: FloatArray, window: float) -> tuple[FloatArray, FloatArray]:
    """What each curve gains in each window, and from its first size to its last. Shapes: (D, W), (D,).

    Of the curves as they are: their rising versions lie above the truth in the steepest window.
    """
    length = window * float(log_sizes[-1] - log_sizes[0])
    ends = np.linspace(log_sizes[0] + length, log_sizes[-1], WINDOW_GRID_POINTS)
    gains = interpolated(curves, log_sizes, ends) - interpolated(curves, log_sizes, ends - length)
    return gains, curves[:, -1] - curves[:, 0]
