"""Worlds of the claims about scaling curves: how steep, whether one link holds, which forecast is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy

from nosce.analysis.bench.planted_readings import Columns, Noise, PlantedCells, beta_shares, draw_means
from nosce.analysis.bench.planters import Planter, WorldKind
from nosce.analysis.claims import Claim
from nosce.analysis.emergence.jumps import rise_shape
from nosce.analysis.emergence.length_law import LengthLaw, geometric_advantage
from nosce.analysis.emergence.measures import FORECAST_SEED, ForecastSkill, LinkDrift, Steepness, link_drift
from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec
from nosce.analysis.emergence.scores import ItemOutcomes
from nosce.analysis.stats.arrays import FloatArray
from nosce.analysis.stats.ranges import SHARE_RANGE

#: Of the place of sizes within the range of log size: the share that is right, and the log-likelihood (or, where the
#: continuous score is bounded, what lies as far along its way). Shapes: (S, J).
SizeCurve = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
THRESHOLD_SEEDS = 8  # that are drawn to find where two forecasts are as far off
LINK_SEEDS, LINK_ITEMS = 60, 300  # by which the drift of a link on the threshold is looked for
SEED_SHIFTS = scipy.stats.norm.ppf((np.arange(64) + 0.5) / 64)  # the seeds of a large population
NUMBER_TARGET = 1_000_000  # from which planted answers lie at a distance
STEEP_WIDTH = 0.03  # of a planted jump, as a share of the range of log size


def _steepness(claim: Claim, world: WorldKind) -> list[PlantedCells]:
    """A line makes a quarter of its rise within a quarter of the range, a jump all; between lies the threshold."""
    measure = claim.measure
    assert isinstance(measure, Steepness)
    is_steep = (claim.direction == "above") == (world == "true")
    weight = float(is_steep)
    if world == "on the threshold":
        logs = np.log10([size for size, _ in measure.scaling.points])
        weight = float(scipy.optimize.brentq(lambda w: mean_window_share(w, logs) - claim.threshold, 0, 1))

    def curve(at: FloatArray) -> tuple[FloatArray, FloatArray]:
        share = _mixed_curve(at, weight)
        return 0.02 + 0.9 * share, -3 * (1 - share) - 0.2

    return [_cells(measure.scaling, curve)]


def _mixed_curve(at: FloatArray, weight: float) -> FloatArray:
    """So much of a jump in the middle of the range, the rest of a line."""
    jump = 1 / (1 + np.exp(-(at - 0.5) / STEEP_WIDTH))
    return np.asarray(weight * jump + (1 - weight) * np.clip(at, 0, 1))


def mean_window_share(weight: float, logs: FloatArray) -> float:
    """The measure of mixed curves of many seeds without noise, which depends on where the sizes lie."""
    places = (logs - logs.min()) / np.ptp(logs)
    shifts = Noise().seed_spread / 2 * SEED_SHIFTS[:, None]
    return float(rise_shape(_mixed_curve(places + shifts, weight), logs).window_share.mean())


def _link(claim: Claim, world: WorldKind) -> list[PlantedCells]:
    """One link at all sizes; none, where the likelihood stands still and answers become right; or one that wavers."""
    measure = claim.measure
    assert isinstance(measure, LinkDrift)
    holds = (claim.direction == "below") == (world == "true")
    if world == "on the threshold":

        def distance(waver: float) -> float:
            return mean_drift(measure.scaling, waver) - claim.threshold

        return [_cells(measure.scaling, _wavering_curve(float(scipy.optimize.brentq(distance, 0, 0.4, xtol=0.002))))]

    def curve(at: FloatArray) -> tuple[FloatArray, FloatArray]:
        share = 0.02 + 0.9 * np.clip(at, 0, 1)
        return share, (-3 * (1 - share) if holds else np.full_like(share, -1.0))

    return [_cells(measure.scaling, curve)]


def _wavering_curve(waver: float) -> SizeCurve:
    """A share that lies above what the likelihood says at every other size, and below it between."""

    def curve(at: FloatArray) -> tuple[FloatArray, FloatArray]:
        share = 0.02 + 0.9 * np.clip(at, 0, 1)
        return np.clip(share + waver * (-1.0) ** np.arange(at.shape[1]), 0.01, 0.99), -3 * (1 - share)

    return curve


def mean_drift(scaling: ScalingCurveSpec, waver: float) -> float:
    """The drift of a wavering link over many seeds, always the same draws."""
    noise = Noise(seeds=LINK_SEEDS, units=LINK_ITEMS)
    return link_drift(_drawn_outcomes(scaling, _wavering_curve(waver), noise, np.random.default_rng(0)))


def wavering_outcomes(scaling: ScalingCurveSpec, waver: float, noise: Noise, rng: np.random.Generator) -> ItemOutcomes:
    """Outcomes whose link wavers over the sizes."""
    return _drawn_outcomes(scaling, _wavering_curve(waver), noise, rng)


def _drawn_outcomes(
    scaling: ScalingCurveSpec, curve: SizeCurve, noise: Noise, rng: np.random.Generator
) -> ItemOutcomes:
    """Outcomes of seeds that follow a curve."""
    values = np.asarray(_cells(scaling, curve).draw(rng, noise)["value"])
    sharp, smooth = values.reshape(2, -1, noise.seeds, noise.units).transpose(0, 2, 1, 3)
    sizes = np.array([size for size, _ in scaling.points])
    sign = -1.0 if scaling.lower_is_better else 1.0
    return ItemOutcomes(sizes=sizes, sharp=sharp, continuous=sign * smooth, log_likelihood=scaling.log_likelihood)


def _forecasts(claim: Claim, world: WorldKind) -> list[PlantedCells]:
    """A power law of the likelihood foretells what is right; or the likelihood stands still or falls while more is
    right; or what lies between, where both forecasts are as far off.
    """
    measure = claim.measure
    assert isinstance(measure, ForecastSkill)
    if world == "on the threshold":

        def distance(weight: float) -> float:
            return _mean_skill(measure, _foretold_curve(measure, weight)) - claim.threshold

        weight = float(scipy.optimize.brentq(distance, 0, 1, xtol=0.005))
    else:
        weight = float(world == "true")
    return [_cells(measure.scaling, _foretold_curve(measure, weight))]


def _foretold_curve(measure: ForecastSkill, weight: float) -> SizeCurve:
    """So much of a law that the likelihood foretells, the rest of a likelihood that misleads."""

    def curve(at: FloatArray) -> tuple[FloatArray, FloatArray]:
        law = -20 * 200.0**-at
        misleading = -1.5 - 6 * np.clip(at - 0.5, 0, 1) if measure.reference == "linked" else -6 * at - 0.1
        share = weight * np.exp(law) + (1 - weight) * (0.05 + 0.85 * np.clip(at, 0, 1))
        return share, weight * law + (1 - weight) * np.minimum(misleading, -0.05)

    return curve


def _mean_skill(measure: ForecastSkill, curve: SizeCurve) -> float:
    """The measure of a few seeds that follow a curve, always the same draws."""
    noise = Noise(seeds=THRESHOLD_SEEDS, units=SCALING_UNITS[ForecastSkill])
    outcomes = _drawn_outcomes(measure.scaling, curve, noise, np.random.default_rng(0))
    skills = [measure.seed_skill(outcomes.single_seed(n), FORECAST_SEED / n) for n in range(THRESHOLD_SEEDS)]
    return float(np.mean(skills))


def _cells(scaling: ScalingCurveSpec, curve: SizeCurve) -> PlantedCells:
    """The sharp and the continuous readings of all sizes; seeds differ in how large their models are in effect."""
    logs = np.log10([size for size, _ in scaling.points])
    places = (logs - logs.min()) / np.ptp(logs)
    arms = [arm for _, arm in scaling.points]
    selections = [replace(score, arm=arm) for score in (scaling.sharp, *scaling.continuous[:1]) for arm in arms]
    sign = -1.0 if scaling.lower_is_better else 1.0

    continuous = scaling.continuous[0] if scaling.continuous else None
    rescore = None if continuous is None else continuous.rescore
    is_bounded = continuous is not None and continuous.value_range == SHARE_RANGE
    if rescore is not None:  # the number stands in the answer of the sharp score
        selections = selections[: len(arms)]

    def draw(rng: np.random.Generator, noise: Noise) -> Columns:
        shift = noise.seed_spread / 2 * rng.normal(size=(noise.seeds, 1))
        share, likelihood = curve(places[None] + shift)
        chance = beta_shares(rng, np.repeat(share.T[..., None], noise.units, axis=2), noise.unit_spread)
        sharp = (rng.random(chance.shape) < chance).astype(np.float64)
        smooth = sign * likelihood.T[..., None] * rng.gamma(400.0, 1 / 400, sharp.shape)
        if is_bounded:  # from 0.1 to 0.9 in place of -3.2 nats to -0.2, and falling where less is better
            rise = np.clip(0.1 + 0.27 * (likelihood + 3.2), 0.0, 1.0).T[..., None]
            level = 1 - rise if scaling.lower_is_better else rise
            smooth = np.clip(level + 0.03 * rng.normal(size=sharp.shape), 0.0, 1.0)
        if rescore is not None:
            return {"value": sharp, **_number_texts(smooth, last_digit_first=rescore.last_digit_first)}
        return {"value": np.concatenate([sharp, smooth] if continuous is not None else [sharp])}

    return PlantedCells(tuple(selections), draw)


def _number_texts(distances: FloatArray, *, last_digit_first: bool) -> Columns:
    """Answers that lie so far from the target, at most 0.99."""
    d = np.minimum(distances, 0.99)
    answers = np.round(NUMBER_TARGET * (1 + d) / (1 - d)).astype(np.int64)
    sign = -1 if last_digit_first else 1
    texts = np.array([str(one)[::sign] for one in answers.ravel().tolist()], dtype=object)
    targets = np.full(answers.shape, str(NUMBER_TARGET)[::sign], dtype=object)
    return {"answer": texts.reshape(answers.shape), "target": targets}


def _length_law(claim: Claim, world: WorldKind) -> list[PlantedCells]:
    """A geometric course over the lengths, a straight one, or what lies between them."""
    measure = claim.measure
    assert isinstance(measure, LengthLaw)
    lengths = np.array([length for length, _ in measure.points])
    at = (lengths - lengths.min()) / np.ptp(lengths)
    is_share = measure.quantity == "share"
    # The score falls from the first to the second number; edit distances rise.
    first, last = (0.95, 0.03) if is_share else (0.15, 5.0)
    courses = first * (last / first) ** at, first + (last - first) * at

    def course(weight: float) -> FloatArray:
        return np.asarray(weight * courses[0] + (1 - weight) * courses[1])

    weight = float((claim.direction == "above") == (world == "true"))
    if world == "on the threshold":
        weight = float(scipy.optimize.brentq(lambda w: geometric_advantage(lengths, course(w)) - claim.threshold, 0, 1))

    selections = tuple(selection for _, selection in measure.points)
    return [PlantedCells(selections, draw_means(course(weight), selections))]


SCALING_PLANTERS: dict[type, Planter] = {
    Steepness: _steepness,
    LinkDrift: _link,
    ForecastSkill: _forecasts,
    LengthLaw: _length_law,
}
#: Units of a seed; with fewer these measures tell nothing.
SCALING_UNITS: dict[type, int] = {LinkDrift: 400, ForecastSkill: 400, LengthLaw: 200}
