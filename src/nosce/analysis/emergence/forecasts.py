"""Forecasts of the sharp score at larger sizes from smaller sizes, compared with the observed score.

Each method forecasts a distribution:

    direct   a logistic curve in log size, fitted to the sharp score alone
    linked   the continuous score is extended as a power law in size, and turned into the sharp one by a link of two
             numbers (logistic, or that of the product law, as is likelier); all fitted on the smaller sizes alone
    product  the log-likelihood is extended in the same way, and the sharp score is its exponential: nothing is fitted
             to the sharp score at all
    last     the sharp score stays where it is

Trainings differ by more than the draw of items. Intervals are therefore those of a quasi-binomial fit, widened by the
squared errors per degree of freedom.

Source: two objections to arXiv:2304.15004: that nobody could have named the onset beforehand, and that exact match
can be predicted from smooth surrogates. Letters: J sizes, D draws, m sizes that are known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from nosce.analysis.stats.arrays import FloatArray
from nosce.errors import DataError
from nosce.seeds import Seed

ForecastMethod = Literal["direct", "linked", "product", "last"]
FORECAST_METHODS: tuple[ForecastMethod, ...] = get_args(ForecastMethod)
FORECAST_METHOD_LABELS: dict[ForecastMethod, str] = {
    "direct": "from the sharp score",
    "linked": "from the continuous one",
    "product": "as exp(log-likelihood)",
    "last": "as the one before",
}

FORECAST_DRAWS = 2_000
MIN_FIT_SIZES = 4  # sizes to fit on
RIDGE = 1e-2  # pull on a slope in standardised log size, without which all-wrong sizes give an infinite one


@dataclass(frozen=True)
class Forecast:
    """The forecast of the sharp score at one size from smaller sizes, and the observed score.

    Args:
        method: The forecasting method.
        n_fit_sizes: Number of smaller sizes that the forecast was fitted on.
        size: The forecast size.
        predicted: The mean of the predictive distribution.
        low: Lower end of the 95 % predictive interval.
        high: Upper end of the 95 % predictive interval.
        observed: The observed score.
        excess_nats: Logarithmic score, in nats an outcome above that of a forecast that knows the observed share.
        covered_95: Whether the 95 % interval contains the observed score.
        covered_80: Whether the 80 % interval contains the observed score.
    """

    method: ForecastMethod
    n_fit_sizes: int
    size: float
    predicted: float
    low: float
    high: float
    observed: float
    excess_nats: float
    covered_95: bool
    covered_80: bool


@dataclass(frozen=True)
class Onset:
    """The forecast of the size at which a score reaches a level, from sizes below it, and the observed size.

    Args:
        method: The forecasting method.
        n_fit_sizes: Number of smaller sizes that the forecast was fitted on.
        predicted: Median of the predictive distribution, in log10 of size; infinite where most draws never reach it.
        low: Lower end of the 95 % interval, in log10 of size.
        high: Upper end of the 95 % interval, in log10 of size.
        observed: The observed log10 of size, interpolated linearly between sizes.
        crps: Continuous ranked probability score in decades; for a point forecast, its absolute error (Gneiting and
            Raftery 2007).
        covered: Whether the 95 % interval contains the observed size.
    """

    method: ForecastMethod
    n_fit_sizes: int
    predicted: float
    low: float
    high: float
    observed: float
    crps: float
    covered: bool


@dataclass(frozen=True)
class ScalingCurve:
    """A score over sizes: counts of right items, and possibly a continuous score.

    Args:
        sizes: (J,) The sizes, ascending.
        n_correct: (J,) Number of right items.
        n_total: (J,) Number of items.
        continuous: (J,) The mean continuous score, larger is better; None where there is none.
        chance: The share that guessing gets right.
        log_likelihood: Whether the continuous score is the mean natural log of the targets' probabilities.
    """

    sizes: FloatArray
    n_correct: FloatArray
    n_total: FloatArray
    continuous: FloatArray | None = None
    chance: float = 0.0
    log_likelihood: bool = False

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or not (np.diff(self.sizes) > 0).all() or self.sizes[0] <= 0:
            raise DataError("a forecast needs two sizes or more above zero, each larger than the one before.")
        if not 0 <= self.chance < 1:
            raise DataError(f"a chance level of {self.chance:g} leaves nothing to foresee; give a share below 1.")

    @property
    def log_sizes(self) -> FloatArray:
        """log10 of the sizes."""
        return np.log10(self.sizes)

    @property
    def shares(self) -> FloatArray:
        """(J,) The share of right items."""
        return self.n_correct / self.n_total

    def first_sizes(self, n_sizes: int) -> ScalingCurve:
        """The curve of the smallest sizes alone."""
        continuous = None if self.continuous is None else self.continuous[:n_sizes]
        return replace(
            self,
            sizes=self.sizes[:n_sizes],
            n_correct=self.n_correct[:n_sizes],
            n_total=self.n_total[:n_sizes],
            continuous=continuous,
        )


def forecast_sizes(
    curve: ScalingCurve, seed: Seed, *, ahead: int = 1, methods: tuple[ForecastMethod, ...] = ()
) -> tuple[Forecast, ...]:
    """Each method's forecast of every size with enough smaller sizes to fit; of some methods where they are named."""
    results = []
    for n_fit_sizes in range(MIN_FIT_SIZES, len(curve.sizes) - ahead + 1):
        target = n_fit_sizes + ahead - 1
        for method in [one for one in _methods(curve) if not methods or one in methods]:
            draws = _predictive_draws(
                curve.first_sizes(n_fit_sizes),
                method,
                curve.log_sizes[[target]],
                seed / method / n_fit_sizes,
                curve.n_total[target],
            )[:, 0]
            results.append(_scored_forecast(curve, method, n_fit_sizes, target, draws))
    return tuple(results)


def forecast_onsets(curve: ScalingCurve, seed: Seed, *, level: float = 0.5) -> tuple[Onset, ...]:
    """Where the level would be reached, from each number of sizes that had not reached it; none if it never was."""
    reached = np.flatnonzero(curve.shares >= level)
    if not len(reached) or reached[0] == 0:
        return ()
    first = int(reached[0])
    before, after = curve.shares[first - 1], curve.shares[first]
    log_sizes = curve.log_sizes
    observed = float(
        log_sizes[first - 1] + (level - before) / (after - before) * (log_sizes[first] - log_sizes[first - 1])
    )
    grid = np.concatenate([log_sizes[:1], np.linspace(log_sizes[0], log_sizes[-1] + 2 * np.ptp(log_sizes), 400)])
    results = []
    for n_fit_sizes in range(MIN_FIT_SIZES, first + 1):
        for method in _methods(curve):
            if method == "last":
                continue  # it never gets there
            shares, _ = _share_draws(curve.first_sizes(n_fit_sizes), method, grid, seed / method / n_fit_sizes)
            above = shares >= level
            onset_draws = np.where(above.any(1), grid[above.argmax(1)], np.inf)
            low, middle, high = np.quantile(onset_draws, [0.025, 0.5, 0.975], method="nearest")
            results.append(
                Onset(
                    method,
                    n_fit_sizes,
                    float(middle),
                    float(low),
                    float(high),
                    observed,
                    _crps(np.minimum(onset_draws, grid[-1]), observed),
                    bool(low <= observed <= high),
                )
            )
    return tuple(results)


def _methods(curve: ScalingCurve) -> tuple[ForecastMethod, ...]:
    if curve.continuous is None:
        return "direct", "last"
    return FORECAST_METHODS if curve.log_likelihood and (curve.continuous < 0).all() else ("direct", "linked", "last")


def _scored_forecast(
    curve: ScalingCurve, method: ForecastMethod, n_fit_sizes: int, target: int, draws: FloatArray
) -> Forecast:
    observed = float(curve.shares[target])
    predicted = float(np.clip(draws.mean(), 1e-6, 1 - 1e-6))
    low, low_80, high_80, high = np.quantile(draws, [0.025, 0.1, 0.9, 0.975])
    excess_nats = sum(p * np.log(p / q) for p, q in ((observed, predicted), (1 - observed, 1 - predicted)) if p > 0)
    return Forecast(
        method,
        n_fit_sizes,
        float(curve.sizes[target]),
        predicted,
        float(low),
        float(high),
        observed,
        float(excess_nats),
        bool(low <= observed <= high),
        bool(low_80 <= observed <= high_80),
    )


def _predictive_draws(
    curve: ScalingCurve, method: ForecastMethod, log_sizes: FloatArray, seed: Seed, n_total: float
) -> FloatArray:
    """Shares that would be observed, with the draw of items and of the training. Shape: (D, len(at))."""
    shares, dispersion = _share_draws(curve, method, log_sizes, seed)
    rng = (seed / "observed").numpy()
    spread = np.sqrt(dispersion * shares * (1 - shares) / n_total)
    return np.clip(shares + spread * rng.normal(size=shares.shape), 0, 1)


def _share_draws(
    curve: ScalingCurve, method: ForecastMethod, log_sizes: FloatArray, seed: Seed
) -> tuple[FloatArray, float]:
    """What the score is at log sizes, by draws of all that was fitted, (D, len(at)); and how much trainings differ."""
    rng = seed.numpy()
    if method == "last":
        right, wrong = curve.n_correct[-1], curve.n_total[-1] - curve.n_correct[-1]
        return np.repeat(rng.beta(right + 0.5, wrong + 0.5, size=(FORECAST_DRAWS, 1)), len(log_sizes), 1), 1.0
    if method == "direct":
        fit = _LinkFit.fit(curve, curve.log_sizes)
        return fit.sample_shares(log_sizes[None, :], rng), fit.dispersion
    assert curve.continuous is not None
    smooth = _log_loss_scale(curve.continuous)
    if method == "product":
        with np.errstate(over="ignore"):  # a loss beyond all numbers is infinite
            loss = np.exp(-_extrapolated_draws(curve.log_sizes, smooth, log_sizes, rng))
        return curve.chance + (1 - curve.chance) * np.exp(-loss), 1.0
    fit = _LinkFit.best(curve, smooth)
    return fit.sample_shares(_extrapolated_draws(curve.log_sizes, smooth, log_sizes, rng), rng), fit.dispersion


def _log_loss_scale(continuous: FloatArray) -> FloatArray:
    """Errors and log-likelihoods by their logarithm, so that a power law is a straight line; others as they are."""
    if (continuous < 0).all():
        return -np.log(-continuous)
    return continuous


def _extrapolated_draws(
    log_sizes: FloatArray, smooth: FloatArray, target_log_sizes: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """A straight line through what is known, drawn with the uncertainty of its course. Shape: (D, len(at))."""
    inputs = np.stack([np.ones_like(log_sizes), log_sizes - log_sizes.mean()], 1)
    inverse = np.linalg.inv(inputs.T @ inputs)
    weights = inverse @ inputs.T @ smooth
    dof = max(1, len(log_sizes) - 2)
    error = float(((smooth - inputs @ weights) ** 2).sum() / dof)
    covariance = error * inverse + 1e-12 * np.eye(2)
    # Ignored, since the matrix is positive by construction: where sizes are far apart only rounding says otherwise.
    coefficient_draws = rng.multivariate_normal(weights, covariance, size=FORECAST_DRAWS, check_valid="ignore")
    t_scale = np.sqrt(dof / rng.chisquare(dof, size=(FORECAST_DRAWS, 1)))  # Student's t: the error is only estimated
    t_draws = weights + (coefficient_draws - weights) * t_scale
    line = t_draws[:, :1] + t_draws[:, 1:] * (target_log_sizes - log_sizes.mean())[None, :]
    return np.asarray(line + np.sqrt(error) * t_scale * rng.normal(size=(FORECAST_DRAWS, 1)))


class _Logistic:
    """A rising step that is steepest at a half."""

    @staticmethod
    def share(z: FloatArray) -> FloatArray:
        return np.asarray(1 / (1 + np.exp(-np.clip(z, -30, 30))))

    @staticmethod
    def slope(z: FloatArray) -> FloatArray:
        s = _Logistic.share(z)
        return s * (1 - s)

    @staticmethod
    def score(share: FloatArray) -> FloatArray:
        return np.asarray(np.log(share / (1 - share)))


class _LogLog:
    """exp(-exp(-z)): what the product law makes of a loss that falls as a power."""

    @staticmethod
    def share(z: FloatArray) -> FloatArray:
        return np.asarray(np.exp(-np.exp(-np.clip(z, -6, 30))))

    @staticmethod
    def slope(z: FloatArray) -> FloatArray:
        return np.exp(-np.clip(z, -6, 30)) * _LogLog.share(z)

    @staticmethod
    def score(share: FloatArray) -> FloatArray:
        return np.asarray(-np.log(-np.log(share)))


_Link = type[_Logistic] | type[_LogLog]


@dataclass(frozen=True, eq=False)
class _LinkFit:
    """A rising step in x, and how sure it is."""

    link: _Link
    weights: FloatArray  # (2,)
    covariance: FloatArray  # (2, 2), widened by the dispersion
    dispersion: float
    nats: float  # of the known outcomes
    middle: float
    spread: float
    chance: float

    @classmethod
    def best(cls, curve: ScalingCurve, x: FloatArray) -> _LinkFit:
        """The likelier of both steps."""
        return min((cls.fit(curve, x, step) for step in (_LogLog, _Logistic)), key=lambda fit: fit.nats)

    @classmethod
    def fit(cls, curve: ScalingCurve, x: FloatArray, link: _Link = _Logistic) -> _LinkFit:
        """One step fitted by quasi-binomial likelihood."""
        middle, spread = float(x.mean()), float(x.std()) or 1.0
        inputs = np.stack([np.ones_like(x), (x - middle) / spread], 1)
        weights = _fisher_scoring(link, inputs, curve)
        p, slope = _shares_at(link, inputs @ weights, curve.chance)
        right, asked = curve.n_correct, curve.n_total
        errors = (right - asked * p) ** 2 / (asked * p * (1 - p))
        dispersion = max(1.0, float(errors.sum() / max(1, len(x) - 2)))
        information = (inputs * (asked * slope**2 / (p * (1 - p)))[:, None]).T @ inputs
        covariance = dispersion * np.linalg.inv(information + np.diag([1e-6, RIDGE]))
        nats = -float((right * np.log(p) + (asked - right) * np.log1p(-p)).sum())
        return cls(
            link, weights, np.asarray(covariance, dtype=np.float64), dispersion, nats, middle, spread, curve.chance
        )

    def sample_shares(self, x: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Shares at places, one row a draw. Shape: (D, len(at))."""
        weights = rng.multivariate_normal(self.weights, self.covariance, FORECAST_DRAWS, check_valid="ignore")
        scores = weights[:, :1] + weights[:, 1:] * (x - self.middle) / self.spread
        return self.chance + (1 - self.chance) * self.link.share(scores)


def _shares_at(step: _Link, scores: FloatArray, chance: float) -> tuple[FloatArray, FloatArray]:
    """Shares above chance, and how fast they rise."""
    p = np.clip(chance + (1 - chance) * step.share(scores), 1e-9, 1 - 1e-9)
    return p, (1 - chance) * step.slope(scores)


def _fisher_scoring(link: _Link, inputs: FloatArray, curve: ScalingCurve) -> FloatArray:
    """Fisher scoring of chance + (1 - chance) step(inputs @ weights), with a faint ridge on the slope."""
    right, asked, chance = curve.n_correct, curve.n_total, curve.chance
    shares = np.clip((right / asked - chance) / (1 - chance), 0.5 / asked.max(), 1 - 0.5 / asked.max())
    weights = np.array([float(link.score(shares).mean()), 0.0])
    ridge = np.diag([1e-6, RIDGE])
    for _ in range(100):
        p, slope = _shares_at(link, inputs @ weights, chance)
        score = inputs.T @ (slope * (right - asked * p) / (p * (1 - p))) - ridge @ weights
        information = (inputs * (asked * slope**2 / (p * (1 - p)))[:, None]).T @ inputs + ridge
        update = np.linalg.solve(information, score)
        update *= min(1.0, 1.0 / max(float(np.abs(update).max()), 1e-12))
        weights = weights + update
        if np.abs(update).max() < 1e-9:
            break
    return weights


def _crps(draws: FloatArray, observed: float) -> float:
    """The continuous ranked probability score of draws: E|X - x| - E|X - X'| / 2."""
    ordered = np.sort(draws)
    count = len(ordered)
    spread = 2 * float((ordered * (2 * np.arange(1, count + 1) - count - 1)).sum()) / count**2
    return float(np.abs(ordered - observed).mean() - spread / 2)


def summarize_forecasts(results: tuple[Forecast, ...]) -> dict[str, dict[str, float]]:
    """By rival: how many, nats an outcome lost, absolute error, and how often both intervals covered what came."""
    by_method: dict[str, dict[str, float]] = {}
    for method in FORECAST_METHODS:
        of_method = [forecast for forecast in results if forecast.method == method]
        if of_method:
            by_method[method] = {
                "n": float(len(of_method)),
                "excess_nats": float(np.mean([f.excess_nats for f in of_method])),
                "error": float(np.mean([abs(f.predicted - f.observed) for f in of_method])),
                "covered_95": float(np.mean([f.covered_95 for f in of_method])),
                "covered_80": float(np.mean([f.covered_80 for f in of_method])),
                "width": float(np.mean([f.high - f.low for f in of_method])),
            }
    return by_method
