"""The product law of exact match: per-token loss falls as a power of size, and all tokens must be right.

    accuracy(N, L) = exp(-L (N / c)^-a), that is log(-log accuracy) = log L + a log c - a log N

It is a binomial model with a complementary log-log link, and is fitted as one: sizes at which nothing was right enter
the likelihood as (1 - p)^n, instead of as zeros on a plot.

Source: Schaeffer et al. 2023 (arXiv:2304.15004), section 2; the same law is Hu et al. 2023's (arXiv:2310.03262).
Letters: J sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from nosce.analysis.stats.arrays import FloatArray
from nosce.errors import DataError


@dataclass(frozen=True)
class ProductLaw:
    """The two parameters, each with a 95 % interval by profile likelihood.

    Args:
        exponent: The exponent a.
        exponent_low: Lower end of its interval.
        exponent_high: Upper end of its interval.
        log10_scale: log10 of c, the size at which a token costs one nat.
        log10_scale_low: Lower end of its interval.
        log10_scale_high: Upper end of its interval.
    """

    exponent: float
    exponent_low: float
    exponent_high: float
    log10_scale: float
    log10_scale_low: float
    log10_scale_high: float

    def accuracy(self, sizes: npt.ArrayLike, target_tokens: npt.ArrayLike) -> FloatArray:
        """What the law says of targets of so many tokens."""
        u = np.log10(np.asarray(sizes, dtype=np.float64)) - self.log10_scale
        return np.exp(-np.asarray(target_tokens, dtype=np.float64) * 10 ** (-self.exponent * u))


def fit_product_law(
    sizes: npt.ArrayLike, n_correct: npt.ArrayLike, n_total: npt.ArrayLike, target_tokens: npt.ArrayLike
) -> ProductLaw:
    """The law that makes these counts most likely.

    Args:
        sizes: (J,).
        n_correct: (J,) how many were right.
        n_total: (J,) of how many.
        target_tokens: (J,) tokens of the targets, or one number for all.

    Raises:
        DataError: Fewer than three sizes, or nothing or everything was right everywhere.
    """
    u = np.log10(np.asarray(sizes, dtype=np.float64))
    k, n = (np.asarray(x, dtype=np.float64) for x in (n_correct, n_total))
    tokens = np.broadcast_to(np.asarray(target_tokens, dtype=np.float64), u.shape)
    if len(u) < 3 or k.sum() in (0, n.sum()):
        raise DataError("a product law needs three sizes at least, and some answers right and some wrong.")
    centre = u.mean()

    def negative(steep: float, middle: float) -> float:
        """Of a, and of the log10 loss of a token at the mean log size."""
        loss = tokens * 10 ** np.clip(middle - steep * (u - centre), -12, 6)
        p = np.clip(np.exp(-loss), 1e-300, 1 - 1e-12)
        return float(-(k * -np.minimum(loss, 690.0) + (n - k) * np.log1p(-p)).sum())

    starts = [(exponent, middle) for exponent in (0.3, 1.0, 2.0) for middle in (-2.0, -1.0, 0.0)]

    def fitted(start: tuple[float, float]) -> scipy.optimize.OptimizeResult:
        options = {"xatol": 1e-8, "fatol": 1e-8}
        return scipy.optimize.minimize(lambda x: negative(*x), start, method="Nelder-Mead", options=options)

    best = min((fitted(start) for start in starts), key=lambda result: float(result.fun))
    exponent, middle = map(float, best.x)
    scale = centre + middle / exponent
    limit = float(best.fun) + scipy.stats.chi2.ppf(0.95, 1) / 2

    def of_steep(value: float) -> float:
        return float(
            scipy.optimize.minimize_scalar(lambda m: negative(value, m), bracket=(middle - 0.5, middle + 0.5)).fun
        )

    def of_scale(value: float) -> float:
        return float(
            scipy.optimize.minimize_scalar(
                lambda s: negative(s, s * (value - centre)), bracket=(exponent * 0.8, exponent * 1.2)
            ).fun
        )

    low, high = _profile_interval(of_steep, exponent, limit, 0.1 * abs(exponent) + 1e-3)
    scale_low, scale_high = _profile_interval(of_scale, scale, limit, 0.05)
    return ProductLaw(exponent, low, high, scale, scale_low, scale_high)


def _profile_interval(negative: object, best: float, limit: float, step: float) -> tuple[float, float]:
    """Where the profile crosses the limit on either side; infinite where it does not within forty doublings."""
    assert callable(negative)
    ends = []
    for side in (-1, 1):
        reach = step
        while negative(best + side * reach) < limit and reach < step * 2**12:
            reach *= 2
        if negative(best + side * reach) < limit:
            ends.append(side * float("inf"))
            continue
        inner = reach / 2 if reach > step else 0.0
        ends.append(
            float(scipy.optimize.brentq(lambda x: negative(x) - limit, best + side * inner, best + side * reach))
        )
    return ends[0], ends[1]
