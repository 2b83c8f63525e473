"""Loss in place of size on the axis: does a score rise smoothly with it, or only from some loss on?

    smooth      chance + (1 - chance) logistic(a + b loss)
    product     exp(-tokens loss), nothing fitted; where the loss is that of the target's own tokens
    threshold   chance down to a loss of eta, and from there a straight line

Each is fitted by binomial likelihood and judged on points that it was not fitted on; eta has a profile interval, since
no table of likelihood ratios holds for a break that may lie anywhere.

Source: Du et al. 2024 (arXiv:2403.15796), as the sheet for arXiv:2304.15004 has it (sections 4c and 6).
Letters: J points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from nosce.errors import DataError

Floats = npt.NDArray[np.float64]
LEAST = 5  # points
_Fit = Callable[[Floats, Floats, Floats], Callable[[Floats], Floats]]


@dataclass(frozen=True)
class Thresholds:
    """Nats an outcome by each form on points left out, and the threshold where it fits best."""

    smooth: float
    threshold: float
    product: float | None
    eta: float
    eta_low: float
    eta_high: float

    @property
    def best(self) -> str:
        """The form that costs least."""
        told = {"smooth": self.smooth, "threshold": self.threshold}
        return min(told, key=lambda name: told[name])


def held(
    loss: npt.ArrayLike, right: npt.ArrayLike, asked: npt.ArrayLike, *, chance: float = 0.0, tokens: float | None = None
) -> Thresholds:
    """Hold the forms against each other, each point left out once.

    Args:
        loss: (J,) nats a token.
        tokens: Of a target, where the loss is that of its own tokens.

    Raises:
        DataError: Fewer than five points, or a loss that is the same everywhere.
    """
    x, k, n = (np.asarray(v, dtype=np.float64) for v in (loss, right, asked))
    if len(x) < LEAST or np.ptp(x) == 0:
        raise DataError(f"a threshold needs {LEAST} points of different loss; found {len(x)}.")
    scores = {}
    for name, fit in (("smooth", _smooth(chance)), ("threshold", _threshold(chance))):
        each = []
        for place in range(len(x)):
            others = np.arange(len(x)) != place
            predicted = fit(x[others], k[others], n[others])(x[[place]])
            each.append(_nats(predicted, k[[place]], n[[place]]))
        scores[name] = float(np.mean(each))
    product = None if tokens is None else _nats(np.exp(-tokens * x), k, n)
    eta, low, high = _eta(x, k, n, chance)
    return Thresholds(scores["smooth"], scores["threshold"], product, eta, low, high)


def _nats(p: Floats, right: Floats, asked: Floats) -> float:
    """An outcome, on average over points."""
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return float(np.mean(-(right * np.log(p) + (asked - right) * np.log1p(-p)) / asked))


def _smooth(chance: float) -> _Fit:
    def fit(x: Floats, right: Floats, asked: Floats) -> Callable[[Floats], Floats]:
        middle, spread = float(x.mean()), float(x.std()) or 1.0

        def curve(weights: Floats, at: Floats) -> Floats:
            z = np.clip(weights[0] + weights[1] * (at - middle) / spread, -30, 30)
            return np.asarray(chance + (1 - chance) / (1 + np.exp(-z)))

        starts = [(0.0, -1.0), (-3.0, -3.0), (2.0, -3.0)]
        best = min(
            (optimize.minimize(lambda w: _nats(curve(w, x), right, asked), s, method="Nelder-Mead") for s in starts),
            key=lambda r: float(r.fun),
        )
        return lambda at: curve(best.x, at)

    return fit


def _threshold(chance: float) -> _Fit:
    def fit(x: Floats, right: Floats, asked: Floats) -> Callable[[Floats], Floats]:
        etas = _etas(x)
        eta = float(min(etas, key=lambda e: _slope(x, right, asked, chance, e)[1]))
        slope, _ = _slope(x, right, asked, chance, eta)
        return lambda at: _broken(at, eta, slope, chance)

    return fit


def _etas(x: Floats) -> Floats:
    return np.linspace(x.min() + 1e-6, x.max() + 0.25 * np.ptp(x), 120)


def _broken(at: Floats, eta: float, slope: float, chance: float) -> Floats:
    return np.clip(chance + slope * np.maximum(eta - at, 0), 0, 1)


def _slope(x: Floats, right: Floats, asked: Floats, chance: float, eta: float) -> tuple[float, float]:
    """The likeliest slope below eta, and what it costs in nats an outcome."""
    most = (1 - chance) / max(float((eta - x).max()), 1e-9)
    found = optimize.minimize_scalar(
        lambda s: _nats(_broken(x, eta, s, chance), right, asked), bounds=(0, 2 * most), method="bounded"
    )
    return float(found.x), float(found.fun)


def _eta(x: Floats, right: Floats, asked: Floats, chance: float) -> tuple[float, float, float]:
    """The likeliest threshold and the range in which the likelihood stays within 1.92 of its top.

    Points differ by more than their items do: what the best fit leaves widens the range, as in a quasi-binomial one.
    """
    etas = _etas(x)
    costs = np.array([_slope(x, right, asked, chance, float(e))[1] for e in etas]) * asked.mean() * len(x)
    best = int(costs.argmin())
    slope, _ = _slope(x, right, asked, chance, float(etas[best]))
    p = np.clip(_broken(x, float(etas[best]), slope, chance), 1e-6, 1 - 1e-6)
    spread = max(1.0, float(((right - asked * p) ** 2 / (asked * p * (1 - p))).sum() / max(1, len(x) - 2)))
    inside = etas[costs - costs[best] <= spread * stats.chi2.ppf(0.95, 1) / 2]
    return float(etas[best]), float(inside.min()), float(inside.max())
