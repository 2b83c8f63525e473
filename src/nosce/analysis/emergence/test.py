"""The mirage test: does a score jump with size because the ability does, or because of how it is scored?

A sharp score (all of an answer right, or not) and a continuous one (say, its log-likelihood) of the same items stand
side by side over sizes. The steps, in order, and what each of them may end with:

    valid        enough sizes, and enough items to see anything                      else: under-resolved
    jump         most of the sharp score's rise within a quarter of the log range    else: no jump
    break        the continuous score rises as no smooth law does                    then: break
    explained    one link from continuous to sharp, learned on other items, holds
                 at every size                                                       then: metric, else: unexplained

Every resampling of items and seeds takes all steps anew, and the verdict is that of at least four in five resamplings.

Source: the question is that of Schaeffer et al. 2023 (arXiv:2304.15004); the steps are ours. Jumps
and breaks are recognised as in `emergence.jumps` and not by a fitted width, since a law p^L has the same width for
every L.
Letters: D draws, S seeds, J sizes, N items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import numpy as np
import scipy

from nosce.analysis.emergence.forecasts import ScalingCurve, forecast_sizes, summarize_forecasts
from nosce.analysis.emergence.jumps import (
    BREAK_WINDOW,
    MIN_SPEEDUP,
    break_strength,
    curves_break,
    emergence_score,
    isotonic_fit,
    rise_shape,
)
from nosce.analysis.emergence.scores import ContinuousOutcomes, CountOutcomes, ItemOutcomes
from nosce.analysis.emergence.seed_mixture import MIN_SEEDS, single_group_p_value
from nosce.analysis.stats.arrays import BoolArray, FloatArray, IntArray
from nosce.errors import DataError
from nosce.seeds import Seed

EmergenceVerdict = Literal["no jump", "metric", "break", "unexplained", "under-resolved"]
EMERGENCE_VERDICTS: tuple[EmergenceVerdict, ...] = get_args(EmergenceVerdict)

MIN_SIZES = 5
MIN_ANSWERS = 10  # at a size, of all seeds: of fewer the least rise that counts is less than one answer
MIN_AGREEMENT = 0.8  # of the resamplings must come to a verdict
MIN_SHARP_RISE = 0.1  # of the sharp score between the first size and the last; less is no jump
MAX_LINK_DRIFT = 0.25  # of the rise that a link may be off by, from one size to another, and still explain it
#: Of what a break takes: a continuous score that rises so steeply is called neither smooth nor broken.
NEAR_BREAK_FRACTION = 0.75
#: Of the rise within a break's window and one more distance between sizes: a break beside a size is seen on both of its
#: sides, and no more can be told apart from a law.
HIDDEN_BREAK_SHARE = 0.7
MIN_METRIC_SIZES = 6  # with fewer, a break beside the second size looks as a law that slows down
MIN_RISE_Z = 4.0  # standard errors by which the continuous score must rise to be looked at
DEFAULT_RESAMPLES = 2_000  # resamplings


@dataclass(frozen=True)
class MirageTestResult:
    """What the mirage test found.

    Args:
        verdict: The verdict.
        why: The reason of the verdict, in words.
        frequencies: Verdict -> share of the resamplings with this verdict.
        sizes: Number of sizes.
        seeds: Number of training seeds, or of series.
        items: Median number of items at a size.
        n_chance_sizes: Number of sizes whose sharp score guessing could explain.
        detection_limit: Largest excess over chance that would go unnoticed (97.5 % upper limit).
        sharp_rise: Rise of the sharp score from the first size to the last.
        sharp_window_share: Share of that rise within the steepest window.
        jump_size: Size in the middle of that window.
        p_linear: Probability that a straight line with the same ends and items rises as steeply.
        emergence_score: E of the sharp score; NaN where E is not defined.
        emergence_score_null: E that such a line exceeds once in twenty.
        continuous_window_share: Share of the continuous score's rise within its steepest window.
        residual: Sharp score minus the link's prediction, at each size; None without a continuous score.
        residual_low: Lower ends of the residuals' 95 % ranges.
        residual_high: Upper ends of the residuals' 95 % ranges.
        product_residual: Residuals of the law p^L, where the continuous score is a log-likelihood.
        size_gain_nats: Nats an outcome that the size adds to the link's prediction, on held-out items.
        forecast_scores: Forecasting method -> its nats lost, error and coverage.
        p_single_group: Least p over sizes, corrected for their number, that the seeds form one group; None below
            five seeds.
        resamples: Number of resamplings.
    """

    verdict: EmergenceVerdict
    why: str
    frequencies: dict[str, float]
    sizes: int
    seeds: int
    items: float
    n_chance_sizes: int
    detection_limit: float
    sharp_rise: float
    sharp_window_share: float
    jump_size: float
    p_linear: float
    emergence_score: float
    emergence_score_null: float
    continuous_window_share: float | None
    residual: tuple[float, ...] | None
    residual_low: tuple[float, ...] | None
    residual_high: tuple[float, ...] | None
    product_residual: tuple[float, ...] | None
    size_gain_nats: float | None
    forecast_scores: dict[str, dict[str, float]]
    p_single_group: float | None
    resamples: int


def mirage_test_series(scores: ContinuousOutcomes) -> tuple[EmergenceVerdict, str, dict[str, float]]:
    """Whether a continuous score breaks, by votes that each leave out no, one or two sizes.

    Returns:
        "break" or "no jump" where four of five agree, else "under-resolved"; why; and how often each was found.

    Raises:
        DataError: Fewer than two sizes, or sizes that do not ascend.
    """
    logs = _log_sizes(scores.sizes)
    indices = range(len(logs))
    breaks_found = []
    for left_out in ((), *combinations(indices, 1), *combinations(indices, 2)):
        kept = np.array([index for index in indices if index not in left_out])
        if len(kept) >= MIN_SIZES:
            breaks_found.append(bool(_majority_of_seeds(scores.continuous[None, :, kept], logs[kept], curves_break)[0]))
    share = float(np.mean(breaks_found)) if breaks_found else 0.0
    frequencies = {str(name): 0.0 for name in EMERGENCE_VERDICTS} | {"break": share, "no jump": 1 - share}
    verdict, why = _verdict(frequencies, len(logs), has_continuous=True, answers=np.inf)
    return verdict, why.replace("resamplings", "ways to leave out up to two sizes"), frequencies


def mirage_test(
    scores: ItemOutcomes | CountOutcomes, seed: Seed, *, resamples: int = DEFAULT_RESAMPLES
) -> MirageTestResult:
    """Run the test.

    Args:
        scores: The outcomes of items, or their counts.
        seed: The source of all random draws.
        resamples: Number of resamplings of items and seeds.

    Raises:
        DataError: Fewer than two sizes, or sizes that do not ascend.
    """
    logs = _log_sizes(scores.sizes)
    sharp, smooth = scores.means()
    predicted = scores.link_predictions(seed)
    frequencies, drawn_residual = _resampled_votes(scores, predicted, seed, resamples)
    n_correct, n_total = scores.counts
    answers = float(np.median(n_total.sum(0)))
    verdict, why = _verdict(frequencies, len(logs), smooth is not None, answers)
    shape = rise_shape(sharp.mean(0), logs)
    residual, low, high = _residuals(scores, predicted, drawn_residual)
    right, independent = independent_counts(scores)
    p_linear, null = _linear_null(right, independent, logs, float(shape.window_share[0]), seed)
    return MirageTestResult(
        verdict=verdict,
        why=why,
        frequencies=frequencies,
        sizes=len(logs),
        seeds=len(sharp),
        items=float(np.median(n_total)),
        n_chance_sizes=_count_chance_sizes(n_correct.sum(0), n_total.sum(0), scores.chance),
        detection_limit=_detection_limit(float(np.median(independent)), scores.chance),
        sharp_rise=float(shape.rise[0]),
        sharp_window_share=float(shape.window_share[0]),
        jump_size=float(10 ** shape.window_log_size[0]),
        p_linear=p_linear,
        emergence_score=emergence_score(sharp.mean(0)),
        emergence_score_null=null,
        continuous_window_share=None if smooth is None else float(rise_shape(smooth.mean(0), logs).window_share[0]),
        residual=residual,
        residual_low=low,
        residual_high=high,
        product_residual=_product_residual(scores),
        size_gain_nats=_size_gain_nats(scores, predicted, seed),
        forecast_scores=_forecast_scores(scores, seed),
        p_single_group=_single_group_p(n_correct, n_total, seed),
        resamples=resamples,
    )


def mirage_verdict(scores: ItemOutcomes | CountOutcomes, seed: Seed, *, resamples: int) -> EmergenceVerdict:
    """The verdict of `mirage_test` alone, in a tenth of its time: without nulls, forecasts and groups of seeds.

    Raises:
        DataError: Fewer than two sizes, or sizes that do not ascend.
    """
    logs = _log_sizes(scores.sizes)
    if len(logs) < MIN_SIZES:
        return "under-resolved"
    frequencies, _ = _resampled_votes(scores, scores.link_predictions(seed), seed, resamples)
    answers = float(np.median(scores.counts[1].sum(0)))
    return _verdict(frequencies, len(logs), scores.continuous is not None, answers)[0]


def _resampled_votes(
    scores: ItemOutcomes | CountOutcomes, predicted: FloatArray | None, seed: Seed, resamples: int
) -> tuple[dict[str, float], FloatArray]:
    """How often each verdict was found, and the link's residuals in each resampling. Shape: (D, S, J)."""
    parts = zip(*scores.resampled_curves(predicted, seed, resamples), strict=True)
    sharp, smooth, residual = (np.concatenate(part) for part in parts)
    has_continuous = scores.continuous is not None
    votes = _votes(sharp, smooth, residual, _log_sizes(scores.sizes), has_continuous=has_continuous)
    return _frequencies(votes), residual


def _frequencies(votes: IntArray) -> dict[str, float]:
    """Verdict -> share of the resamplings with this verdict."""
    frequencies: dict[str, float] = {}
    for index, name in enumerate(EMERGENCE_VERDICTS):
        frequencies[name] = float((votes == index).mean())
    return frequencies


def _residuals(
    scores: ItemOutcomes | CountOutcomes, predicted: FloatArray | None, resampled: FloatArray
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None, tuple[float, ...] | None]:
    """What the link leaves of the sharp score at each size, and the ends of its 95 % range; None without a link."""
    if predicted is None:
        return None, None, None
    residual = scores.means()[0] - (predicted.mean(2) if isinstance(scores, ItemOutcomes) else predicted)
    low, high = (tuple(np.quantile(resampled.mean(1), q, axis=0).tolist()) for q in (0.025, 0.975))
    return tuple(residual.mean(0).tolist()), low, high


def _log_sizes(sizes: FloatArray) -> FloatArray:
    if len(sizes) < 2 or not (np.diff(sizes) > 0).all() or sizes[0] <= 0:
        raise DataError(
            f"an audit needs at least two sizes above zero, each larger than the one before; found {len(sizes)}."
        )
    return np.log10(sizes)


def _votes(
    sharp: FloatArray, smooth: FloatArray, off: FloatArray, logs: FloatArray, *, has_continuous: bool
) -> IntArray:
    """The index in `EMERGENCE_VERDICTS` of each draw's verdict. Shape: (D,)."""
    verdict_index = {name: index for index, name in enumerate(EMERGENCE_VERDICTS)}
    seeds_jump = _majority_of_seeds(sharp, logs, curves_jump)
    rise = isotonic_rise(sharp.mean(1))
    jump = seeds_jump & (rise >= MIN_SHARP_RISE)
    votes = np.where(jump, verdict_index["under-resolved"], verdict_index["no jump"])
    if has_continuous:
        seed_mean = smooth.mean(1)
        error = float((seed_mean[:, -1] - seed_mean[:, 0]).std())
        risen = isotonic_rise(seed_mean) > MIN_RISE_Z * error
        strength = break_strength(smooth.reshape(-1, len(logs)), logs).reshape(smooth.shape[:2])
        broken = ((strength >= 1).mean(1) >= 0.5) & risen
        near_break = (strength >= NEAR_BREAK_FRACTION).mean(1) >= 0.5
        near_break |= _majority_of_seeds(smooth, logs, _may_hide_break)
        near_break |= np.full(len(smooth), len(logs) < MIN_METRIC_SIZES)
        near_break &= ~broken
        drift = np.ptp(off.mean(1), axis=1) / np.maximum(rise, 1e-9)
        votes = np.where(jump & broken, verdict_index["break"], votes)
        votes = np.where(jump & ~broken & (drift <= MAX_LINK_DRIFT), verdict_index["metric"], votes)
        votes = np.where(jump & ~broken & (drift > MAX_LINK_DRIFT), verdict_index["unexplained"], votes)
        votes = np.where(jump & near_break & (drift <= MAX_LINK_DRIFT), verdict_index["under-resolved"], votes)
    return votes


def _may_hide_break(curves: FloatArray, logs: FloatArray) -> BoolArray:
    """Whether each curve could be a break that two neighbouring distances between sizes share. Shape: (D,)."""
    distance = float(np.median(np.diff(logs)) / (logs[-1] - logs[0]))
    shape = rise_shape(curves, logs, window=min(1.0, max(BREAK_WINDOW, distance) + distance))
    hides: BoolArray = (shape.window_share >= HIDDEN_BREAK_SHARE) & (shape.speedup >= MIN_SPEEDUP)
    return hides


def curves_jump(curves: FloatArray, logs: FloatArray) -> BoolArray:
    """Whether each curve jumps, by its shape alone. Shape: (D,)."""
    return rise_shape(curves, logs).is_jump


def _majority_of_seeds(
    curves: FloatArray, logs: FloatArray, predicate: Callable[[FloatArray, FloatArray], BoolArray]
) -> BoolArray:
    """Whether half of a draw's seeds fulfil the predicate; a mean can hide jumps at different sizes. Shape: (D,)."""
    draws, seeds, sizes = curves.shape
    majority: BoolArray = predicate(curves.reshape(-1, sizes), logs).reshape(draws, seeds).mean(1) >= 0.5
    return majority


def isotonic_rise(curves: FloatArray) -> FloatArray:
    """The rise of each curve from the first size to the last, after isotonic regression. Shape: (D,)."""
    fitted = isotonic_fit(curves)
    rise: FloatArray = fitted[:, -1] - fitted[:, 0]
    return rise


def _verdict(
    frequencies: dict[str, float], sizes: int, has_continuous: bool, answers: float
) -> tuple[EmergenceVerdict, str]:
    if sizes < MIN_SIZES:
        return "under-resolved", f"{sizes} sizes are too few to tell a jump from a rise; at least {MIN_SIZES}"
    if answers < MIN_ANSWERS:
        return "under-resolved", f"{answers:g} answers at a size are too few to see a rise; at least {MIN_ANSWERS}"
    best = max(EMERGENCE_VERDICTS, key=lambda name: frequencies[name])
    share = f"{frequencies[best]:.0%} of the resamplings"
    if best == "under-resolved" and not has_continuous:
        return best, f"a jump in {share}, and no continuous score to hold it against"
    if best == "under-resolved" and frequencies[best] >= MIN_AGREEMENT:
        if sizes < MIN_METRIC_SIZES:
            return best, (
                f"a jump in {share}, and with {sizes} sizes a break beside one of them looks as a smooth law does; "
                f"at least {MIN_METRIC_SIZES}"
            )
        return best, f"a jump in {share}, and the continuous score is too steep for a smooth law, too even for a break"
    if frequencies[best] < MIN_AGREEMENT:
        return "under-resolved", f"no verdict in {MIN_AGREEMENT:.0%} of the resamplings; {best} in {share}"
    return best, f"in {share}"


def independent_counts(scores: ItemOutcomes | CountOutcomes) -> tuple[FloatArray, FloatArray]:
    """How many independent answers the outcomes of all seeds are worth, and how many of them are right, each (J,).

    Seeds are asked the same items, so that ten answers to one question are ten only where they differ as ten coins do.
    Of items the variance of their means says so: it is that of N answers where all seeds agree, of S N where they are
    independent. Of counts it is not known, and one series' number is taken.
    """
    right, asked = scores.counts
    if isinstance(scores, CountOutcomes):
        return right.mean(0), asked.mean(0)
    by_item = scores.sharp.mean(0)
    n_items, share = by_item.shape[1], by_item.mean(1)
    error = by_item.var(1, ddof=1) / n_items if n_items > 1 else np.zeros(len(share))
    known = np.divide(share * (1 - share), error, out=np.full(len(share), float(n_items)), where=error > 0)
    independent = np.clip(known, n_items, asked.sum(0)).round()
    return share * independent, independent


def _linear_null(
    n_correct: FloatArray, n_total: FloatArray, logs: FloatArray, share: float, seed: Seed
) -> tuple[float, float]:
    """How often a straight line in log size has a window as steep, and the E that it exceeds once in twenty."""
    shares = n_correct / n_total
    line = shares[0] + (shares[-1] - shares[0]) * (logs - logs[0]) / (logs[-1] - logs[0])
    rng = (seed / "null").numpy()
    null_curves = rng.binomial(n_total.astype(np.int64), np.clip(line, 0, 1), size=(1_000, len(logs))) / n_total
    steeper = rise_shape(null_curves, logs).window_share >= share
    scores = np.array([emergence_score(curve) for curve in null_curves])
    known = np.abs(scores[np.isfinite(scores)])
    return float((1 + steeper.sum()) / (1 + len(steeper))), float(np.quantile(known, 0.95)) if len(known) else float(
        "nan"
    )


def _product_residual(scores: ItemOutcomes | CountOutcomes) -> tuple[float, ...] | None:
    """What remains of the sharp score above exp(log-likelihood), item by item."""
    if not isinstance(scores, ItemOutcomes) or scores.continuous is None or not scores.log_likelihood:
        return None
    expected = scores.chance + (1 - scores.chance) * np.exp(np.minimum(scores.continuous, 0))
    return tuple((scores.sharp - expected).mean((0, 2)).tolist())


def _count_chance_sizes(right: FloatArray, asked: FloatArray, chance: float) -> int:
    """Sizes of which the exact lower limit (97.5 %) does not lie above chance; without chance, those with nothing."""
    if not chance:
        return int((right == 0).sum())
    some = right > 0
    low = np.zeros(len(right))  # where nothing is right the limit is 0: a first shape of 0 is no beta distribution
    low[some] = scipy.stats.beta.ppf(0.025, right[some], (asked - right + 1)[some])
    return int((low <= chance).sum())


def _detection_limit(asked: float, chance: float) -> float:
    """The exact upper limit (97.5 %) of who got what guessing gets, above chance."""
    guessed = round(chance * asked)
    return float(scipy.stats.beta.ppf(0.975, guessed + 1, asked - guessed)) - chance


def _forecast_scores(scores: ItemOutcomes | CountOutcomes, seed: Seed) -> dict[str, dict[str, float]]:
    """How well each method forecasts a size from all smaller sizes, pooled over seeds."""
    right, asked = scores.counts
    _, smooth = scores.means()
    curve = ScalingCurve(
        scores.sizes,
        right.sum(0),
        asked.sum(0),
        None if smooth is None else smooth.mean(0),
        scores.chance,
        scores.log_likelihood,
    )
    return summarize_forecasts(forecast_sizes(curve, seed / "foreseen"))


def _single_group_p(right: FloatArray, asked: FloatArray, seed: Seed) -> float | None:
    if len(right) < MIN_SEEDS:
        return None
    p_values = []
    for size_index in range(right.shape[1]):
        size_seed = seed / "groups" / size_index
        p_values.append(single_group_p_value(right[:, size_index], asked[:, size_index], size_seed))
    return float(min(1.0, min(scipy.stats.false_discovery_control(p_values))))


def _size_gain_nats(scores: ItemOutcomes | CountOutcomes, predicted: FloatArray | None, seed: Seed) -> float | None:
    """The nats an outcome that the size adds to the link's prediction, on held-out items."""
    if not isinstance(scores, ItemOutcomes) or predicted is None:
        return None
    train_items = (seed / "screening").numpy().permutation(scores.sharp.shape[2]) % 2 == 0
    clipped = np.clip(predicted, 1e-3, 1 - 1e-3)
    score = np.log(clipped / (1 - clipped))
    logs = np.broadcast_to(np.log10(scores.sizes)[:, None], score.shape[1:])
    size = np.broadcast_to((logs - logs.mean()) / max(float(logs.std()), 1e-9), score.shape)
    fits = []
    for columns in ((score,), (score, size)):
        train_inputs = [
            np.ones_like(score)[:, :, train_items].ravel(),
            *(c[:, :, train_items].ravel() for c in columns),
        ]
        test_inputs = [
            np.ones_like(score)[:, :, ~train_items].ravel(),
            *(c[:, :, ~train_items].ravel() for c in columns),
        ]
        weights = _fit_logistic(np.stack(train_inputs, 1), scores.sharp[:, :, train_items].ravel())
        fits.append(_log_score(np.stack(test_inputs, 1) @ weights, scores.sharp[:, :, ~train_items].ravel()))
    return fits[1] - fits[0]


def _fit_logistic(inputs: FloatArray, right: FloatArray) -> FloatArray:
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


def _log_score(logits: FloatArray, right: FloatArray) -> float:
    """Mean log-likelihood of outcomes."""
    return float(-(np.logaddexp(0, -logits) * right + np.logaddexp(0, logits) * (1 - right)).mean())
