"""Could it have been foreseen? The sharp score of larger sizes, forecast from smaller ones and held against what came.

Rivals, each with a distribution and not a point:

    direct   a logistic curve in log size, fitted to the sharp score alone
    linked   the continuous score is extended as a power law in size, and turned into the sharp one by a link of two
             numbers (logistic, or that of the product law, as is likelier); all fitted on the smaller sizes alone
    product  the log-likelihood is extended in the same way, and the sharp score is its exponential: nothing is fitted
             to the sharp score at all
    last     the sharp score stays where it is

Trainings differ by more than the draw of items, so that intervals are those of a quasi-binomial fit: the squared errors
per degree of freedom widen them.

Source: the objections of the sheet for arXiv:2304.15004, section 6 (onsets that nobody could name beforehand; exact
match predicted from smooth surrogates), and its statistics. Letters: J sizes, D draws, m sizes that are known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from nosce.errors import DataError
from nosce.seeds import Seed

Floats = npt.NDArray[np.float64]
How = Literal["direct", "linked", "product", "last"]
HOWS: tuple[How, ...] = get_args(How)
SAID: dict[How, str] = {"direct": "from the sharp score", "linked": "from the continuous one",
                        "product": "as exp(log-likelihood)", "last": "as the one before"}  # fmt: skip

DRAWS = 2_000
LEAST_KNOWN = 4  # sizes to fit on
RIDGE = 1e-2  # pull on a slope in standardised log size, without which all-wrong sizes give an infinite one


@dataclass(frozen=True)
class Forecast:
    """What was foretold of one size from the `known` smaller ones, and what came."""

    how: How
    known: int
    size: float
    share: float  # foretold, the mean
    low: float  # of the 95 % interval of what would be observed
    high: float
    observed: float
    lost: float  # nats an outcome more than whoever knows the observed share pays (the logarithmic score)
    covered: bool  # by the 95 % interval
    covered_80: bool


@dataclass(frozen=True)
class Onset:
    """At which size a level was foretold to be reached, from sizes that had not reached it, and where it was."""

    how: How
    known: int
    foretold: float  # log10 of size, the median; infinite where most draws never reach it
    low: float  # of the 95 % interval, in log10 of size
    high: float
    observed: float  # by a straight line between sizes
    crps: float  # decades; what a point forecast's error would be (Gneiting and Raftery 2007)
    covered: bool


@dataclass(frozen=True)
class Curve:
    """A score over sizes: how many were right of how many, and where known a continuous score (larger is better)."""

    sizes: Floats  # (J,) ascending
    right: Floats  # (J,)
    asked: Floats  # (J,)
    continuous: Floats | None = None  # (J,)
    chance: float = 0.0  # what guessing gets
    log_likelihood: bool = False  # the continuous score is the mean natural log of the targets' probabilities

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or not (np.diff(self.sizes) > 0).all() or self.sizes[0] <= 0:
            raise DataError("a forecast needs two sizes or more above zero, each larger than the one before.")
        if not 0 <= self.chance < 1:
            raise DataError(f"a chance level of {self.chance:g} leaves nothing to foresee; give a share below 1.")

    @property
    def logs(self) -> Floats:
        """log10 of the sizes."""
        return np.log10(self.sizes)

    @property
    def shares(self) -> Floats:
        """Of right ones."""
        return self.right / self.asked

    def upto(self, known: int) -> Curve:
        """The smallest so many sizes alone."""
        cut = None if self.continuous is None else self.continuous[:known]
        return replace(self, sizes=self.sizes[:known], right=self.right[:known], asked=self.asked[:known],
                       continuous=cut)  # fmt: skip


def forecasts(curve: Curve, seed: Seed, *, ahead: int = 1) -> tuple[Forecast, ...]:
    """Every size foretold from all that are at least `ahead` smaller, four of them at least, by each rival."""
    found = []
    for known in range(LEAST_KNOWN, len(curve.sizes) - ahead + 1):
        place = known + ahead - 1
        for how in _rivals(curve):
            drawn = _drawn(curve.upto(known), how, curve.logs[[place]], seed / how / known, curve.asked[place])[:, 0]
            found.append(_judged(curve, how, known, place, drawn))
    return tuple(found)


def onsets(curve: Curve, seed: Seed, *, level: float = 0.5) -> tuple[Onset, ...]:
    """Where the level would be reached, from each number of sizes that had not reached it; none if it never was."""
    reached = np.flatnonzero(curve.shares >= level)
    if not len(reached) or reached[0] == 0:
        return ()
    first = int(reached[0])
    before, after = curve.shares[first - 1], curve.shares[first]
    u = curve.logs
    observed = float(u[first - 1] + (level - before) / (after - before) * (u[first] - u[first - 1]))
    grid = np.concatenate([u[:1], np.linspace(u[0], u[-1] + 2 * np.ptp(u), 400)])
    found = []
    for known in range(LEAST_KNOWN, first + 1):
        for how in _rivals(curve):
            if how == "last":
                continue  # it never gets there
            shares, _ = _shares(curve.upto(known), how, grid, seed / how / known)
            above = shares >= level
            at = np.where(above.any(1), grid[above.argmax(1)], np.inf)
            low, middle, high = np.quantile(at, [0.025, 0.5, 0.975], method="nearest")
            found.append(Onset(how, known, float(middle), float(low), float(high), observed,
                               _crps(np.minimum(at, grid[-1]), observed), bool(low <= observed <= high)))  # fmt: skip
    return tuple(found)


def _rivals(curve: Curve) -> tuple[How, ...]:
    if curve.continuous is None:
        return "direct", "last"
    return HOWS if curve.log_likelihood and (curve.continuous < 0).all() else ("direct", "linked", "last")


def _judged(curve: Curve, how: How, known: int, place: int, drawn: Floats) -> Forecast:
    observed = float(curve.shares[place])
    share = float(np.clip(drawn.mean(), 1e-6, 1 - 1e-6))
    low, low_80, high_80, high = np.quantile(drawn, [0.025, 0.1, 0.9, 0.975])
    lost = sum(p * np.log(p / q) for p, q in ((observed, share), (1 - observed, 1 - share)) if p > 0)
    return Forecast(how, known, float(curve.sizes[place]), share, float(low), float(high), observed, float(lost),
                    bool(low <= observed <= high), bool(low_80 <= observed <= high_80))  # fmt: skip


def _drawn(known: Curve, how: How, at: Floats, seed: Seed, asked: float) -> Floats:
    """Shares that would be observed, with the draw of items and of the training. Shape: (D, len(at))."""
    shares, dispersion = _shares(known, how, at, seed)
    rng = (seed / "observed").numpy()
    spread = np.sqrt(dispersion * shares * (1 - shares) / asked)
    return np.clip(shares + spread * rng.normal(size=shares.shape), 0, 1)


def _shares(known: Curve, how: How, at: Floats, seed: Seed) -> tuple[Floats, float]:
    """What the score is at log sizes, by draws of all that was fitted, (D, len(at)); and how much trainings differ."""
    rng = seed.numpy()
    if how == "last":
        right, wrong = known.right[-1], known.asked[-1] - known.right[-1]
        return np.repeat(rng.beta(right + 0.5, wrong + 0.5, size=(DRAWS, 1)), len(at), 1), 1.0
    if how == "direct":
        fit = _Fit.of(known, known.logs)
        return fit.drawn(at[None, :], rng), fit.dispersion
    assert known.continuous is not None
    smooth = _scaled(known.continuous)
    if how == "product":
        loss = np.exp(-_extended(known.logs, smooth, at, rng))
        return known.chance + (1 - known.chance) * np.exp(-loss), 1.0
    fit = _Fit.best(known, smooth)
    return fit.drawn(_extended(known.logs, smooth, at, rng), rng), fit.dispersion


def _scaled(continuous: Floats) -> Floats:
    """Errors and log-likelihoods by their logarithm, so that a power law is a straight line; others as they are."""
    if (continuous < 0).all():
        return -np.log(-continuous)
    return continuous


def _extended(logs: Floats, smooth: Floats, at: Floats, rng: np.random.Generator) -> Floats:
    """A straight line through what is known, drawn with the uncertainty of its course. Shape: (D, len(at))."""
    inputs = np.stack([np.ones_like(logs), logs - logs.mean()], 1)
    inverse = np.linalg.inv(inputs.T @ inputs)
    weights = inverse @ inputs.T @ smooth
    free = max(1, len(logs) - 2)
    error = float(((smooth - inputs @ weights) ** 2).sum() / free)
    drawn = rng.multivariate_normal(weights, error * inverse + 1e-12 * np.eye(2), size=DRAWS)
    wider = np.sqrt(free / rng.chisquare(free, size=(DRAWS, 1)))  # Student's t: the error is only estimated
    moved = weights + (drawn - weights) * wider
    line = moved[:, :1] + moved[:, 1:] * (at - logs.mean())[None, :]
    return np.asarray(line + np.sqrt(error) * wider * rng.normal(size=(DRAWS, 1)))


class _Logistic:
    """A rising step that is steepest at a half."""

    @staticmethod
    def share(z: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(-np.clip(z, -30, 30))))

    @staticmethod
    def slope(z: Floats) -> Floats:
        s = _Logistic.share(z)
        return s * (1 - s)

    @staticmethod
    def score(share: Floats) -> Floats:
        return np.asarray(np.log(share / (1 - share)))


class _LogLog:
    """exp(-exp(-z)): what the product law makes of a loss that falls as a power."""

    @staticmethod
    def share(z: Floats) -> Floats:
        return np.asarray(np.exp(-np.exp(-np.clip(z, -6, 30))))

    @staticmethod
    def slope(z: Floats) -> Floats:
        return np.exp(-np.clip(z, -6, 30)) * _LogLog.share(z)

    @staticmethod
    def score(share: Floats) -> Floats:
        return np.asarray(-np.log(-np.log(share)))


_Step = type[_Logistic] | type[_LogLog]


@dataclass(frozen=True, eq=False)
class _Fit:
    """A rising step in x, and how sure it is."""

    step: _Step
    weights: Floats  # (2,)
    covariance: Floats  # (2, 2), widened by the dispersion
    dispersion: float
    nats: float  # of the known outcomes
    middle: float
    spread: float
    chance: float

    @classmethod
    def best(cls, known: Curve, x: Floats) -> _Fit:
        """The likelier of both steps."""
        return min((cls.of(known, x, step) for step in (_LogLog, _Logistic)), key=lambda fit: fit.nats)

    @classmethod
    def of(cls, known: Curve, x: Floats, step: _Step = _Logistic) -> _Fit:
        """One step fitted by quasi-binomial likelihood."""
        middle, spread = float(x.mean()), float(x.std()) or 1.0
        inputs = np.stack([np.ones_like(x), (x - middle) / spread], 1)
        weights = _scored(step, inputs, known)
        p, slope = _shares_at(step, inputs @ weights, known.chance)
        right, asked = known.right, known.asked
        errors = (right - asked * p) ** 2 / (asked * p * (1 - p))
        dispersion = max(1.0, float(errors.sum() / max(1, len(x) - 2)))
        information = (inputs * (asked * slope**2 / (p * (1 - p)))[:, None]).T @ inputs
        covariance = dispersion * np.linalg.inv(information + np.diag([1e-6, RIDGE]))
        nats = -float((right * np.log(p) + (asked - right) * np.log1p(-p)).sum())
        return cls(step, weights, np.asarray(covariance, dtype=np.float64), dispersion, nats, middle, spread,
                   known.chance)  # fmt: skip

    def drawn(self, x: Floats, rng: np.random.Generator) -> Floats:
        """Shares at places, one row a draw. Shape: (D, len(at))."""
        weights = rng.multivariate_normal(self.weights, self.covariance, size=DRAWS)
        scores = weights[:, :1] + weights[:, 1:] * (x - self.middle) / self.spread
        return self.chance + (1 - self.chance) * self.step.share(scores)


def _shares_at(step: _Step, scores: Floats, chance: float) -> tuple[Floats, Floats]:
    """Shares above chance, and how fast they rise."""
    p = np.clip(chance + (1 - chance) * step.share(scores), 1e-9, 1 - 1e-9)
    return p, (1 - chance) * step.slope(scores)


def _scored(step: _Step, inputs: Floats, known: Curve) -> Floats:
    """Fisher scoring of chance + (1 - chance) step(inputs @ weights), with a faint ridge on the slope."""
    right, asked, chance = known.right, known.asked, known.chance
    shares = np.clip((right / asked - chance) / (1 - chance), 0.5 / asked.max(), 1 - 0.5 / asked.max())
    weights = np.array([float(step.score(shares).mean()), 0.0])
    ridge = np.diag([1e-6, RIDGE])
    for _ in range(100):
        p, slope = _shares_at(step, inputs @ weights, chance)
        score = inputs.T @ (slope * (right - asked * p) / (p * (1 - p))) - ridge @ weights
        information = (inputs * (asked * slope**2 / (p * (1 - p)))[:, None]).T @ inputs + ridge
        moved = np.linalg.solve(information, score)
        moved *= min(1.0, 1.0 / max(float(np.abs(moved).max()), 1e-12))
        weights = weights + moved
        if np.abs(moved).max() < 1e-9:
            break
    return weights


def _crps(drawn: Floats, observed: float) -> float:
    """The continuous ranked probability score of draws: E|X - x| - E|X - X'| / 2."""
    ordered = np.sort(drawn)
    count = len(ordered)
    spread = 2 * float((ordered * (2 * np.arange(1, count + 1) - count - 1)).sum()) / count**2
    return float(np.abs(ordered - observed).mean() - spread / 2)


def summary(found: tuple[Forecast, ...]) -> dict[str, dict[str, float]]:
    """By rival: how many, nats an outcome lost, absolute error, and how often both intervals covered what came."""
    told: dict[str, dict[str, float]] = {}
    for how in HOWS:
        mine = [one for one in found if one.how == how]
        if mine:
            told[how] = {
                "n": float(len(mine)),
                "lost": float(np.mean([f.lost for f in mine])),
                "error": float(np.mean([abs(f.share - f.observed) for f in mine])),
                "covered": float(np.mean([f.covered for f in mine])),
                "covered_80": float(np.mean([f.covered_80 for f in mine])),
                "width": float(np.mean([f.high - f.low for f in mine])),
            }
    return told
