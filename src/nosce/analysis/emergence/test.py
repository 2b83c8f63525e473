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
except that jumps and breaks are told as in `emergence.jumps` and not by a fitted width: a law p^L has the same for
every L.
Letters: D draws, S seeds, J sizes, N items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import stats

from nosce.analysis.emergence.forecasts import Curve, forecasts, summary
from nosce.analysis.emergence.jumps import breaks, emergence_score, rises
from nosce.analysis.emergence.scores import Counts, Floats, Items, Series
from nosce.analysis.emergence.seed_mixture import LEAST_SEEDS, two_groups
from nosce.errors import DataError
from nosce.seeds import Seed

Verdict = Literal["no jump", "metric", "break", "unexplained", "under-resolved"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

LEAST_SIZES = 5
AGREE = 0.8  # of the resamplings must come to a verdict
LEAST_RISE = 0.1  # of the sharp score between the first size and the last; less is no jump
DRIFT = 0.25  # of the rise that a link may be off by, from one size to another, and still explain it
NEARLY = 0.75  # of what a break takes: a continuous score that rises so steeply is called neither smooth nor broken
CLEAR = 4.0  # standard errors by which the continuous score must rise to be looked at
DRAWS = 2_000  # resamplings


@dataclass(frozen=True)
class Audit:
    """What the mirage test found."""

    verdict: Verdict
    why: str
    frequencies: dict[str, float]  # of the resamplings, by what they came to
    sizes: int
    seeds: int
    items: float  # the median number asked at a size
    censored: int  # sizes at which no more was right than guessing may get
    detectable: float  # by how much the sharp score may lie above chance and look like it (97.5 % upper limit)
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
    foreseen: dict[str, dict[str, float]]  # by how a size is foretold from smaller ones: nats lost, error, coverage
    two_groups: float | None  # least p, over sizes and corrected for them, that seeds are of one group; five or more
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
        items=float(np.median(asked)), censored=_censored(right.sum(0), asked.sum(0), scores.chance),
        detectable=_detectable(float(np.median(asked.sum(0))), scores.chance), sharp_rise=float(one.rise[0]),
        sharp_share=float(one.share[0]), jumps_at=float(10 ** one.at[0]), p_jump=p_jump,
        emergence=emergence_score(sharp.mean(0)), emergence_null=null,
        continuous_share=None if smooth is None else float(rises(smooth.mean(0), logs).share[0]),
        residual=residual, residual_low=low, residual_high=high,
        product_residual=_product(scores), screening=_screening(scores, predicted, seed),
        foreseen=_foreseen(scores, seed), two_groups=_two_groups(right, asked, seed), draws=draws,
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
    expected = scores.chance + (1 - scores.chance) * np.exp(np.minimum(scores.continuous, 0))
    return tuple((scores.sharp - expected).mean((0, 2)).tolist())


def _censored(right: Floats, asked: Floats, chance: float) -> int:
    """Sizes of which the exact lower limit (97.5 %) does not lie above chance; without chance, those with nothing."""
    low = stats.beta.ppf(0.025, np.maximum(right, 1e-12), asked - right + 1)
    return int((np.where(right > 0, low, 0.0) <= chance).sum()) if chance else int((right == 0).sum())


def _detectable(asked: float, chance: float) -> float:
    """The exact upper limit (97.5 %) of who got what guessing gets, above chance."""
    guessed = round(chance * asked)
    return float(stats.beta.ppf(0.975, guessed + 1, asked - guessed)) - chance


def _foreseen(scores: Items | Counts, seed: Seed) -> dict[str, dict[str, float]]:
    """How well each size is foretold from all smaller ones, seeds taken together."""
    right, asked = scores.counts
    _, smooth = scores.means()
    curve = Curve(scores.sizes, right.sum(0), asked.sum(0), None if smooth is None else smooth.mean(0),
                  scores.chance, scores.log_likelihood)  # fmt: skip
    return summary(forecasts(curve, seed / "foreseen"))


def _two_groups(right: Floats, asked: Floats, seed: Seed) -> float | None:
    if len(right) < LEAST_SEEDS:
        return None
    each = [
        two_groups(right[:, place], int(asked[0, place]), seed / "groups" / place) for place in range(right.shape[1])
    ]
    return float(min(1.0, min(stats.false_discovery_control(each))))


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
