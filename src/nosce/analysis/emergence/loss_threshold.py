"""Loss in place of size on the axis: does a score rise smoothly with it, or only from some loss on?

    smooth      chance + (1 - chance) logistic(a + b loss)
    product     exp(-tokens loss), nothing fitted; where the loss is that of the target's own tokens
    threshold   chance down to a loss of eta, and from there a straight line

Each is fitted by binomial likelihood and judged on points that it was not fitted on; eta has a profile interval, since
no table of likelihood ratios holds for a break that may lie anywhere.

Source: Du et al. 2024 (arXiv:2403.15796): loss, not size, is the axis along which an ability begins.
Letters: J points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from nosce.analysis.stats.arrays import FloatArray
from nosce.errors import DataError

MIN_POINTS = 5
_CurveFitter = Callable[[FloatArray, FloatArray, FloatArray], Callable[[FloatArray], FloatArray]]


@dataclass(frozen=True)
class LossFormComparison:
    """The nats an outcome of each form on left-out points, and the threshold that fits best.

    Args:
        smooth: Nats of the smooth form.
        threshold: Nats of the form with a threshold.
        product: Nats of the product form; None without the targets' length.
        eta: The loss below which the score rises.
        eta_low: Lower end of its 95 % profile interval.
        eta_high: Upper end of its 95 % profile interval.
    """

    smooth: float
    threshold: float
    product: float | None
    eta: float
    eta_low: float
    eta_high: float

    @property
    def best(self) -> str:
        """The form with the fewest nats."""
        nats = {"smooth": self.smooth, "threshold": self.threshold}
        return min(nats, key=lambda name: nats[name])


def compare_loss_forms(
    loss: npt.ArrayLike,
    n_correct: npt.ArrayLike,
    n_total: npt.ArrayLike,
    *,
    chance: float = 0.0,
    target_tokens: float | None = None,
) -> LossFormComparison:
    """Compare the forms by leave-one-out cross-validation over points.

    Args:
        loss: (J,) nats a token.
        target_tokens: Of a target, where the loss is that of its own tokens.

    Raises:
        DataError: Fewer than five points, or a loss that is the same everywhere.
    """
    x, k, n = (np.asarray(v, dtype=np.float64) for v in (loss, n_correct, n_total))
    if len(x) < MIN_POINTS or np.ptp(x) == 0:
        raise DataError(f"a threshold needs {MIN_POINTS} points of different loss; found {len(x)}.")
    scores = {}
    for name, fit in (("smooth", _logistic_fitter(chance)), ("threshold", _hinge_fitter(chance))):
        nats = []
        for left_out in range(len(x)):
            others = np.arange(len(x)) != left_out
            predicted = fit(x[others], k[others], n[others])(x[[left_out]])
            nats.append(_mean_nats(predicted, k[[left_out]], n[[left_out]]))
        scores[name] = float(np.mean(nats))
    product = None if target_tokens is None else _mean_nats(np.exp(-target_tokens * x), k, n)
    eta, low, high = _eta_interval(x, k, n, chance)
    return LossFormComparison(scores["smooth"], scores["threshold"], product, eta, low, high)


def _mean_nats(p: FloatArray, n_correct: FloatArray, n_total: FloatArray) -> float:
    """An outcome, on average over points."""
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return float(np.mean(-(n_correct * np.log(p) + (n_total - n_correct) * np.log1p(-p)) / n_total))


def _logistic_fitter(chance: float) -> _CurveFitter:
    def fit(x: FloatArray, right: FloatArray, asked: FloatArray) -> Callable[[FloatArray], FloatArray]:
        middle, spread = float(x.mean()), float(x.std()) or 1.0

        def curve(weights: FloatArray, at: FloatArray) -> FloatArray:
            z = np.clip(weights[0] + weights[1] * (at - middle) / spread, -30, 30)
            return np.asarray(chance + (1 - chance) / (1 + np.exp(-z)))

        starts = [(0.0, -1.0), (-3.0, -3.0), (2.0, -3.0)]

        def fitted(start: tuple[float, float]) -> scipy.optimize.OptimizeResult:
            return scipy.optimize.minimize(lambda w: _mean_nats(curve(w, x), right, asked), start, method="Nelder-Mead")

        best = min((fitted(start) for start in starts), key=lambda result: float(result.fun))
        return lambda at: curve(best.x, at)

    return fit


def _hinge_fitter(chance: float) -> _CurveFitter:
    def fit(x: FloatArray, right: FloatArray, asked: FloatArray) -> Callable[[FloatArray], FloatArray]:
        etas = _eta_grid(x)
        eta = float(min(etas, key=lambda e: _best_slope(x, right, asked, chance, e)[1]))
        slope, _ = _best_slope(x, right, asked, chance, eta)
        return lambda at: _hinge(at, eta, slope, chance)

    return fit


def _eta_grid(x: FloatArray) -> FloatArray:
    return np.linspace(x.min() + 1e-6, x.max() + 0.25 * np.ptp(x), 120)


def _hinge(at: FloatArray, eta: float, slope: float, chance: float) -> FloatArray:
    return np.clip(chance + slope * np.maximum(eta - at, 0), 0, 1)


def _best_slope(x: FloatArray, right: FloatArray, asked: FloatArray, chance: float, eta: float) -> tuple[float, float]:
    """The likeliest slope below eta, and what it costs in nats an outcome."""
    max_slope = (1 - chance) / max(float((eta - x).max()), 1e-9)
    optimum = scipy.optimize.minimize_scalar(
        lambda s: _mean_nats(_hinge(x, eta, s, chance), right, asked), bounds=(0, 2 * max_slope), method="bounded"
    )
    return float(optimum.x), float(optimum.fun)


def _eta_interval(x: FloatArray, right: FloatArray, asked: FloatArray, chance: float) -> tuple[float, float, float]:
    """The likeliest threshold and the range in which the likelihood stays within 1.92 of its top.

    Points differ by more than their items do: what the best fit leaves widens the range, as in a quasi-binomial one.
    """
    etas = _eta_grid(x)
    costs = np.array([_best_slope(x, right, asked, chance, float(e))[1] for e in etas]) * asked.mean() * len(x)
    best = int(costs.argmin())
    slope, _ = _best_slope(x, right, asked, chance, float(etas[best]))
    p = np.clip(_hinge(x, float(etas[best]), slope, chance), 1e-6, 1 - 1e-6)
    spread = max(1.0, float(((right - asked * p) ** 2 / (asked * p * (1 - p))).sum() / max(1, len(x) - 2)))
    inside = etas[costs - costs[best] <= spread * scipy.stats.chi2.ppf(0.95, 1) / 2]
    return float(etas[best]), float(inside.min()), float(inside.max())
