"""The mirage test: does a score jump with size because the ability does, or because of how it is scored?

A sharp score (all of an answer right, or not) and a continuous one (say, its log-likelihood) of the same items stand
side by side over sizes. The steps, in order, and what each of them may end with:

    valid        enough sizes, and enough items to see anything                      else: under-resolved
    jump         most of the sharp score's rise within a quarter of the log range    else: no jump
    break        the continuous score rises as no smooth law does                    then: break
    explained    one link from continuous to sharp, learned on other items, holds
                 at every size                                                       then: metric, else: unexplained

All of it is decided anew for every resampling of items and seeds, and a verdict is given where four of five agree.

Source: the question is that of Schaeffer et al. 2023 (arXiv:2304.15004); the steps are those of the sheet, section 7,
except that jumps and breaks are told as in `nosce.stats.rises` and not by a fitted width: a law p^L has the same for
every L.
Letters: D draws, S seeds, J sizes, N items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import optimize

from nosce.errors import DataError
from nosce.seeds import Seed
from nosce.stats.rises import breaks, emergence_score, rises

Floats = npt.NDArray[np.float64]
Verdict = Literal["no jump", "metric", "break", "unexplained", "under-resolved"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

LEAST_SIZES = 5
AGREE = 0.8  # of the resamplings must come to a verdict
LEAST_RISE = 0.1  # of the sharp score between the first size and the last; less is no jump
DRIFT = 0.25  # of the rise that a link may be off by, from one size to another, and still explain it
NEARLY = 0.75  # of what a break takes: a continuous score that rises so steeply is called neither smooth nor broken
CLEAR = 4.0  # standard errors by which the continuous score must rise to be looked at
DRAWS, CHUNK = 2_000, 4_000_000  # resamplings; weights held at once
LEAST_LINK = 200  # outcomes of one length, below which all lengths share a link


@dataclass(frozen=True, eq=False)
class Items:
    """Outcomes of the same items at every size and seed."""

    sizes: Floats  # (J,) ascending, e.g. parameters
    sharp: Floats  # (S, J, N) from 0 to 1
    continuous: Floats | None  # (S, J, N), larger is better
    length: npt.NDArray[np.int64] | None = None  # (N,) of the targets, e.g. in tokens
    log_likelihood: bool = False  # the continuous score is the natural log of the whole target's probability

    @property
    def counts(self) -> tuple[Floats, Floats]:
        """How many are right, and of how many, each (S, J)."""
        return self.sharp.sum(2), np.full(self.sharp.shape[:2], float(self.sharp.shape[2]))

    def means(self) -> tuple[Floats, Floats | None]:
        """Both scores, each (S, J)."""
        return self.sharp.mean(2), None if self.continuous is None else self.continuous.mean(2)

    def predicted(self, seed: Seed) -> Floats | None:
        """What a link learned on other items makes of each continuous score. Shape: (S, J, N)."""
        if self.continuous is None:
            return None
        half = (seed / "halves").numpy().permutation(self.sharp.shape[2]) % 2 == 0
        found = np.empty_like(self.sharp)
        for group in self._groups():
            for mine in (half & group, ~half & group):
                other = ~mine & group
                link = _Link(self.continuous[:, :, other].ravel(), self.sharp[:, :, other].ravel())
                found[:, :, mine] = link(self.continuous[:, :, mine])
        return found

    def _groups(self) -> list[npt.NDArray[np.bool_]]:
        """Items that share a link: those of a length, where there are enough and lengths differ."""
        everything = np.ones(self.sharp.shape[2], dtype=bool)
        if self.length is None or self.log_likelihood:
            return [everything]
        each = [self.length == n for n in np.unique(self.length)]
        enough = all(g.sum() * self.sharp.shape[0] * self.sharp.shape[1] >= 2 * LEAST_LINK for g in each)
        return each if enough and all(g.sum() >= 2 for g in each) else [everything]

    def drawn(self, predicted: Floats | None, seed: Seed, draws: int) -> Iterator[tuple[Floats, Floats, Floats]]:
        """Curves of resampled seeds and items: both scores, and what the link is off by, each (D, S, J), in parts."""
        seeds, sizes, items = self.sharp.shape
        rng = (seed / "items").numpy()
        off = None if predicted is None else self.sharp - predicted
        tables = [self.sharp, self.continuous, off]
        part = max(1, CHUNK // items)
        for first in range(0, draws, part):
            count = min(part, draws - first)
            weights = rng.multinomial(items, np.full(items, 1 / items), size=count) / items
            chosen = rng.integers(seeds, size=(count, seeds)) if seeds > 2 else np.tile(np.arange(seeds), (count, 1))
            rows = np.arange(count)[:, None]
            curves = []
            for table in tables:
                if table is None:
                    curves.append(np.full((count, seeds, sizes), np.nan))
                    continue
                whole = (weights @ table.reshape(-1, items).T).reshape(count, seeds, sizes)
                curves.append(whole[rows, chosen])
            yield curves[0], curves[1], curves[2]


@dataclass(frozen=True, eq=False)
class Counts:
    """Outcomes of which only sums are known; what are seeds for items are series here, e.g. models over training."""

    sizes: Floats  # (J,) ascending
    right: Floats  # (S, J)
    asked: Floats  # (S, J)
    continuous: Floats | None  # (S, J), larger is better; taken as known without error
    log_likelihood: bool = False

    @property
    def counts(self) -> tuple[Floats, Floats]:
        """How many are right, and of how many."""
        return self.right, self.asked

    def means(self) -> tuple[Floats, Floats | None]:
        """Both scores."""
        return self.right / self.asked, self.continuous

    def predicted(self, seed: Seed) -> Floats | None:
        """What a link makes of each continuous score: one learned on the other series, or from the other sizes.

        With one or two series a free link would explain any curve, so that it is given a form of two numbers.
        """
        if self.continuous is None:
            return None
        shares = self.right / self.asked
        if len(shares) > 2:
            links = [_Link(np.delete(self.continuous, s, 0).ravel(), np.delete(shares, s, 0).ravel())
                     for s in range(len(shares))]  # fmt: skip
            return np.stack([link(own) for link, own in zip(links, self.continuous, strict=True)])
        told = zip(self.continuous, self.right, self.asked, strict=True)
        return np.stack([_left_out(c, r, a) for c, r, a in told])

    def drawn(self, predicted: Floats | None, seed: Seed, draws: int) -> Iterator[tuple[Floats, Floats, Floats]]:
        """Curves of resampled series and binomial counts."""
        rng = (seed / "counts").numpy()
        shares = self.right / self.asked
        series = len(shares)
        sharp = rng.binomial(self.asked.astype(np.int64), shares, size=(draws, *shares.shape)) / self.asked
        chosen = rng.integers(series, size=(draws, series)) if series > 2 else np.tile(np.arange(series), (draws, 1))
        rows = np.arange(draws)[:, None]
        blank = np.full(sharp.shape, np.nan)
        smooth = blank if self.continuous is None else np.broadcast_to(self.continuous, sharp.shape)
        off = blank if predicted is None else sharp - predicted
        yield sharp[rows, chosen], smooth[rows, chosen], off[rows, chosen]


@dataclass(frozen=True, eq=False)
class Series:
    """A continuous score alone, of which no resampling of items is known: does it break?"""

    sizes: Floats  # (J,) ascending
    continuous: Floats  # (S, J), larger is better


class _Link:
    """A rising step function from continuous to sharp scores, by isotonic regression."""

    def __init__(self, continuous: Floats, sharp: Floats) -> None:
        self.at, which, counts = np.unique(continuous, return_inverse=True, return_counts=True)
        means = np.bincount(which, weights=sharp) / counts
        self.values = np.asarray(optimize.isotonic_regression(means, weights=counts).x)

    def __call__(self, continuous: Floats) -> Floats:
        found: Floats = np.interp(continuous, self.at, self.values)
        return found


def _left_out(continuous: Floats, right: Floats, asked: Floats) -> Floats:
    """For every size the sharp score by a link of two numbers from all other sizes. Shape: (J,).

    The sharp score is a step softened in the continuous one, or in the logarithm of its negative where it is an error
    or a log-likelihood; of a logistic and a complementary log-log step the likelier one is taken.
    """
    scales = [continuous, np.log(-continuous)] if (continuous < 0).all() else [continuous]
    found = np.empty(len(continuous))
    for place in range(len(continuous)):
        others = np.arange(len(continuous)) != place
        fits = []
        for scale in scales:
            x = (scale - scale.mean()) / (scale.std() or 1.0)
            for step in (_logistic_step, _log_log_step):
                nats, weights = _fitted(step, x[others], right[others], asked[others])
                fits.append((nats, float(step(weights[0] + weights[1] * x[place]))))
        found[place] = min(fits)[1]
    return found


def _logistic_step(z: npt.ArrayLike) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -30, 30))))


def _log_log_step(z: npt.ArrayLike) -> Floats:
    return np.asarray(np.exp(-np.exp(np.clip(z, -30, 30))))


def _fitted(step: Callable[[Floats], Floats], x: Floats, right: Floats, asked: Floats) -> tuple[float, Floats]:
    """Least nats, and the two numbers that have them, by binomial likelihood."""

    def negative(weights: Floats) -> float:
        p = np.clip(step(weights[0] + weights[1] * x), 1e-12, 1 - 1e-12)
        return float(-(right * np.log(p) + (asked - right) * np.log1p(-p)).sum())

    starts = [(0.0, slope) for slope in (-4.0, -1.0, 1.0, 4.0)]
    best = min(
        (optimize.minimize(negative, start, method="Nelder-Mead") for start in starts), key=lambda r: float(r.fun)
    )
    return float(best.fun), np.asarray(best.x)


@dataclass(frozen=True)
class Audit:
    """What the mirage test found."""

    verdict: Verdict
    why: str
    frequencies: dict[str, float]  # of the resamplings, by what they came to
    sizes: int
    seeds: int
    items: float  # the median number asked at a size
    censored: int  # sizes at which nothing was right
    detectable: float  # the sharp score that may hide behind nothing right (97.5 % upper limit)
    sharp_rise: float
    sharp_share: float  # of that rise within the window
    jumps_at: float  # size in the window's middle
    p_jump: float  # how often a straight line of the same ends and items would rise as steeply
    emergence: float  # E, NaN where it is not defined
    emergence_null: float  # what E of such a line exceeds once in twenty
    continuous_share: float | None
    residual: tuple[float, ...] | None  # at each size, what the link leaves unexplained
    residual_low: tuple[float, ...] | None
    residual_high: tuple[float, ...] | None
    product_residual: (
        tuple[float, ...] | None
    )  # what the law p^L leaves, where the continuous score is a log-likelihood
    screening: float | None  # nats an outcome gained by telling the size beside the continuous score, on other items
    draws: int


def audit_series(scores: Series) -> tuple[Verdict, str, dict[str, float]]:
    """Does a continuous score break? Decided anew without each one and each two of the sizes.

    Returns:
        "break" or "no jump" where four of five agree, else "under-resolved"; why; and how often each was found.

    Raises:
        DataError: Fewer than two sizes, or sizes that do not ascend.
    """
    logs = _logs(scores.sizes)
    places = range(len(logs))
    found = []
    for left_out in ((), *combinations(places, 1), *combinations(places, 2)):
        kept = np.array([place for place in places if place not in left_out])
        if len(kept) >= LEAST_SIZES:
            found.append(bool(_of_seeds(scores.continuous[None, :, kept], logs[kept], breaks)[0]))
    share = float(np.mean(found)) if found else 0.0
    frequencies = {str(name): 0.0 for name in VERDICTS} | {"break": share, "no jump": 1 - share}
    verdict, why = _verdict(frequencies, len(logs), has_continuous=True)
    return verdict, why.replace("resamplings", "ways to leave out up to two sizes"), frequencies


def audit(scores: Items | Counts, seed: Seed, *, draws: int = DRAWS) -> Audit:
    """Run the test.

    Raises:
        DataError: Fewer than two sizes, or sizes that do not ascend.
    """
    logs = _logs(scores.sizes)
    sharp, smooth = scores.means()
    predicted = scores.predicted(seed)
    parts = list(scores.drawn(predicted, seed, draws))
    told = [np.concatenate([part[which] for part in parts]) for which in range(3)]
    votes = _votes(told[0], told[1], told[2], logs, has_continuous=smooth is not None)
    frequencies: dict[str, float] = {name: float((votes == number).mean()) for number, name in enumerate(VERDICTS)}
    verdict, why = _verdict(frequencies, len(logs), smooth is not None)
    one = rises(sharp.mean(0), logs)
    right, asked = scores.counts
    residual = low = high = None
    if predicted is not None:
        observed = sharp - (predicted.mean(2) if isinstance(scores, Items) else predicted)
        residual = tuple(observed.mean(0).tolist())
        low, high = (tuple(np.quantile(told[2].mean(1), q, axis=0).tolist()) for q in (0.025, 0.975))
    p_jump, null = _null(right.sum(0), asked.sum(0), logs, float(one.share[0]), seed)
    return Audit(
        verdict=verdict, why=why, frequencies=frequencies, sizes=len(logs), seeds=len(sharp),
        items=float(np.median(asked)), censored=int((right.sum(0) == 0).sum()),
        detectable=float(1 - 0.025 ** (1 / np.median(asked.sum(0)))), sharp_rise=float(one.rise[0]),
        sharp_share=float(one.share[0]), jumps_at=float(10 ** one.at[0]), p_jump=p_jump,
        emergence=emergence_score(sharp.mean(0)), emergence_null=null,
        continuous_share=None if smooth is None else float(rises(smooth.mean(0), logs).share[0]),
        residual=residual, residual_low=low, residual_high=high,
        product_residual=_product(scores), screening=_screening(scores, predicted, seed), draws=draws,
    )  # fmt: skip


def _logs(sizes: Floats) -> Floats:
    if len(sizes) < 2 or not (np.diff(sizes) > 0).all() or sizes[0] <= 0:
        raise DataError(
            f"an audit needs at least two sizes above zero, each larger than the one before; found {len(sizes)}."
        )
    return np.log10(sizes)


def _votes(sharp: Floats, smooth: Floats, off: Floats, logs: Floats, *, has_continuous: bool) -> npt.NDArray[np.int64]:
    """For each draw the place in `VERDICTS` of what it comes to. Shape: (D,)."""
    number = {name: place for place, name in enumerate(VERDICTS)}
    found = _of_seeds(sharp, logs, jumping)
    rise = isotonic_rise(sharp.mean(1), logs)
    jump = found & (rise >= LEAST_RISE)
    votes = np.where(jump, number["under-resolved"], number["no jump"])
    if has_continuous:
        whole = smooth.mean(1)
        error = float((whole[:, -1] - whole[:, 0]).std())
        broken = _of_seeds(smooth, logs, breaks) & (isotonic_rise(whole, logs) > CLEAR * error)
        nearly = _of_seeds(smooth, logs, lambda c, u: breaks(c, u, NEARLY)) & ~broken
        drift = np.ptp(off.mean(1), axis=1) / np.maximum(rise, 1e-9)
        votes = np.where(jump & broken, number["break"], votes)
        votes = np.where(jump & ~broken & (drift <= DRIFT), number["metric"], votes)
        votes = np.where(jump & ~broken & (drift > DRIFT), number["unexplained"], votes)
        votes = np.where(jump & nearly & (drift <= DRIFT), number["under-resolved"], votes)
    return votes


def jumping(curves: Floats, logs: Floats) -> npt.NDArray[np.bool_]:
    """Do curves jump, to the eye? Shape: (D,)."""
    return rises(curves, logs).jumps


def _of_seeds(
    curves: Floats, logs: Floats, does: Callable[[Floats, Floats], npt.NDArray[np.bool_]]
) -> npt.NDArray[np.bool_]:
    """Do at least half of a draw's seeds do so? Seeds that jump at different sizes hide in their mean. Shape: (D,)."""
    draws, seeds, sizes = curves.shape
    most: npt.NDArray[np.bool_] = does(curves.reshape(-1, sizes), logs).reshape(draws, seeds).mean(1) >= 0.5
    return most


def isotonic_rise(curves: Floats, logs: Floats) -> Floats:
    """From the first size to the last of the closest rising curves. Shape: (D,)."""
    return rises(curves, logs).rise


def _verdict(frequencies: dict[str, float], sizes: int, has_continuous: bool) -> tuple[Verdict, str]:
    if sizes < LEAST_SIZES:
        return "under-resolved", f"{sizes} sizes are too few to tell a jump from a rise; at least {LEAST_SIZES}"
    best = max(VERDICTS, key=lambda name: frequencies[name])
    share = f"{frequencies[best]:.0%} of the resamplings"
    if best == "under-resolved" and not has_continuous:
        return best, f"a jump in {share}, and no continuous score to hold it against"
    if frequencies[best] < AGREE:
        return "under-resolved", f"no verdict in {AGREE:.0%} of the resamplings; {best} in {share}"
    return best, f"in {share}"


def _null(right: Floats, asked: Floats, logs: Floats, share: float, seed: Seed) -> tuple[float, float]:
    """How often a straight line in log size has a window as steep, and the E that it exceeds once in twenty."""
    shares = right / asked
    line = shares[0] + (shares[-1] - shares[0]) * (logs - logs[0]) / (logs[-1] - logs[0])
    rng = (seed / "null").numpy()
    drawn = rng.binomial(asked.astype(np.int64), np.clip(line, 0, 1), size=(1_000, len(logs))) / asked
    steeper = rises(drawn, logs).share >= share
    scores = np.array([emergence_score(curve) for curve in drawn])
    known = np.abs(scores[np.isfinite(scores)])
    return float((1 + steeper.sum()) / (1 + len(steeper))), float(np.quantile(known, 0.95)) if len(known) else float(
        "nan"
    )


def _product(scores: Items | Counts) -> tuple[float, ...] | None:
    """What remains of the sharp score above exp(log-likelihood), item by item."""
    if not isinstance(scores, Items) or scores.continuous is None or not scores.log_likelihood:
        return None
    return tuple((scores.sharp - np.exp(np.minimum(scores.continuous, 0))).mean((0, 2)).tolist())


def _screening(scores: Items | Counts, predicted: Floats | None, seed: Seed) -> float | None:
    """By how many nats an outcome is better told with the size beside the link's prediction, on items not fitted on."""
    if not isinstance(scores, Items) or predicted is None:
        return None
    half = (seed / "screening").numpy().permutation(scores.sharp.shape[2]) % 2 == 0
    clipped = np.clip(predicted, 1e-3, 1 - 1e-3)
    score = np.log(clipped / (1 - clipped))
    logs = np.broadcast_to(np.log10(scores.sizes)[:, None], score.shape[1:])
    size = np.broadcast_to((logs - logs.mean()) / max(float(logs.std()), 1e-9), score.shape)
    fits = []
    for columns in ((score,), (score, size)):
        inside = [np.ones_like(score)[:, :, half].ravel(), *(c[:, :, half].ravel() for c in columns)]
        outside = [np.ones_like(score)[:, :, ~half].ravel(), *(c[:, :, ~half].ravel() for c in columns)]
        weights = _logistic(np.stack(inside, 1), scores.sharp[:, :, half].ravel())
        fits.append(_log_score(np.stack(outside, 1) @ weights, scores.sharp[:, :, ~half].ravel()))
    return fits[1] - fits[0]


def _logistic(inputs: Floats, right: Floats) -> Floats:
    """Weights by Newton's method with a faint ridge. Shapes: (R, C), (R,) -> (C,)."""
    weights = np.zeros(inputs.shape[1])
    for _ in range(25):
        p = 1 / (1 + np.exp(-np.clip(inputs @ weights, -30, 30)))
        slope = inputs.T @ (right - p) - 1e-6 * weights
        bend = (inputs * (p * (1 - p))[:, None]).T @ inputs + 1e-6 * np.eye(len(weights))
        step = np.linalg.solve(bend, slope)
        weights = weights + step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _log_score(logits: Floats, right: Floats) -> float:
    """Mean log-likelihood of outcomes."""
    return float(-(np.logaddexp(0, -logits) * right + np.logaddexp(0, logits) * (1 - right)).mean())
