"""Worlds of claims whose measure is no weighted sum of means: correlations, areas, curves, deviations.

Each planter draws the cells that its measure reads so that the measure lies clearly on the side of the threshold where
the claim holds ("true"), on the other side ("false"), or about on the threshold ("on the threshold").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import scipy

from nosce.analysis.bench.planted_readings import (
    LAST_STEP,
    CellDraw,
    Columns,
    Noise,
    PlantedCells,
    beta_shares,
    draw_means,
)
from nosce.analysis.calibration import CalibrationMAD
from nosce.analysis.claims import Claim
from nosce.analysis.headroom import GainTerm, NormalizedContrast, NormalizedGain
from nosce.analysis.jackknife import Auc, ConditionRankCorrelation, JointExcess, SpearmanCorrelation
from nosce.analysis.selection import Selection
from nosce.analysis.stats.arrays import FloatArray, IntArray
from nosce.analysis.training_curves import CurveCorrelation, Peak, PhaseDuration, TrainingCurve
from nosce.errors import SpecError

WorldKind = Literal["true", "false", "on the threshold"]
Planter = Callable[[Claim, WorldKind], list[PlantedCells]]
STEPS = tuple(range(10, LAST_STEP + 1, 10))  # the checkpoints of a planted curve
ORDERED_SEEDS = 256  # by which an order on the threshold is looked for
PLACE = 0.75  # of the way from the threshold to the end of the measure's range


def wanted_value(claim: Claim, world: WorldKind, low: float, high: float) -> float:
    """A value of the measure in a world, within the range that can be planted."""
    if world == "on the threshold":
        return claim.threshold
    if claim.direction == "within" and world == "true":
        return 0.0
    end = high if (claim.direction != "below") == (world == "true" or claim.direction == "within") else low
    return claim.threshold + PLACE * (end - claim.threshold)


def _rank_correlation(claim: Claim, world: WorldKind) -> list[PlantedCells]:
    measure = claim.measure
    assert isinstance(measure, SpearmanCorrelation)
    r = wanted_value(claim, world, -0.95, 0.95)

    def draw(rng: np.random.Generator, noise: Noise) -> Columns:
        shape = (noise.seeds, noise.units)
        numbers = np.arange(noise.units) % 8
        true = np.broadcast_to((numbers - 3.5) / 2.3, shape) if measure.b is None else rng.normal(size=shape)
        of_seeds = np.tanh(np.arctanh(r) + noise.seed_spread * rng.normal(size=(noise.seeds, 1)))
        reported = of_seeds * true + np.sqrt(1 - of_seeds**2) * rng.normal(size=shape)
        values = np.exp([reported] if measure.b is None else [reported, true])  # ranks alone count
        return {"value": values}

    if measure.b is None:
        return [PlantedCells((measure.a,), draw, tuple(f"{n % 8 + 2} entries" for n in range(10_000)))]
    return [PlantedCells((measure.a, measure.b), draw)]


def _area(claim: Claim, world: WorldKind) -> list[PlantedCells]:
    measure = claim.measure
    assert isinstance(measure, Auc)
    distance = float(np.sqrt(2) * scipy.stats.norm.ppf(wanted_value(claim, world, 0.05, 0.95)))

    def draw(rng: np.random.Generator, noise: Noise) -> Columns:
        latent = rng.normal(size=(2, noise.seeds, noise.units))
        latent[0] += distance + noise.seed_spread * rng.normal(size=(noise.seeds, 1))
        return {"value": 1 / (1 + np.exp(-latent))}

    return [PlantedCells((measure.positives, measure.negatives), draw)]


def _joint_excess(claim: Claim, world: WorldKind) -> list[PlantedCells]:
    measure = claim.measure
    assert isinstance(measure, JointExcess)
    product = 0.5
    parts = [product ** (1 / len(measure.marginals))] * len(measure.marginals)
    joint = product + wanted_value(claim, world, -0.2, 0.2)
    selections = (measure.joint, *measure.marginals)
    return [PlantedCells(selections, draw_means([joint, *parts], selections))]


def _normalized_gain(claim: Claim, world: WorldKind) -> list[PlantedCells]:
    """Equal floors of 30 %; what a score gains lies about half of the room above it."""
    measure = claim.measure
    assert isinstance(measure, NormalizedGain | NormalizedContrast)
    if isinstance(measure, NormalizedGain):
        terms: tuple[GainTerm, ...] = ((1.0, measure.a, measure.a_floor), (-1.0, measure.b, measure.b_floor))
    else:
        terms = measure.terms
    floor, middle = 0.3, 0.5
    weights = [weight for weight, _, _ in terms]
    # One score gains all that is wanted; of several those of positive weight gain more and the others less.
    ends = (0.0, 1.0) if len(terms) == 1 else (-0.9, 0.9)
    shift = (wanted_value(claim, world, *ends) - middle * sum(weights)) / sum(map(abs, weights))
    means = {}
    for weight, score, its_floor in terms:
        means[score] = floor + (1 - floor) * (middle + np.sign(weight) * shift)
        means[its_floor] = floor
    return [PlantedCells(tuple(means), draw_means(list(means.values()), tuple(means)))]


def _condition_order(claim: Claim, world: WorldKind) -> list[PlantedCells]:
    measure = claim.measure
    assert isinstance(measure, ConditionRankCorrelation)
    levels = np.linspace(0.1, 0.9, len(measure.pairs))
    seconds = {"true": levels, "false": levels[::-1]}
    second = seconds[world] if world in seconds else _levels_on_threshold(levels, claim.threshold)
    means = [mean for pair in zip(levels.tolist(), second.tolist(), strict=True) for mean in pair]
    selections = tuple(selection for pair in measure.pairs for selection in pair)
    return [PlantedCells(selections, draw_means(means, selections))]


def _levels_on_threshold(levels: FloatArray, threshold: float) -> FloatArray:
    """Second scores of conditions whose rank correlation with the levels is on average the threshold.

    Few conditions have few rank correlations. So two neighbours lie so near that seeds confuse them as often as needed.
    """
    rng, count = np.random.default_rng(0), len(levels)
    below = [order for order in (rng.permutation(count) for _ in range(500)) if _order_of(levels, order) <= threshold]
    for order in sorted(below, key=lambda one: -_order_of(levels, one)):
        for k in range(count - 1):
            swapped = np.where(order == k, k + 1, np.where(order == k + 1, k, order))
            if _order_of(levels, swapped) > threshold:
                return _between(levels, levels[order], levels[swapped], threshold)
    raise SpecError(f"no order of {count} conditions has a rank correlation of {threshold:g}.")


def _order_of(levels: FloatArray, order: IntArray) -> float:
    return float(scipy.stats.spearmanr(levels, order).statistic)


def _between(levels: FloatArray, low: FloatArray, high: FloatArray, threshold: float) -> FloatArray:
    """What lies between two orders, where the mean over the true shares of many seeds is the threshold."""

    def distance(weight: float) -> float:
        rng, spread = np.random.default_rng(0), Noise().seed_spread
        second = (1 - weight) * low + weight * high
        both = [beta_shares(rng, np.tile(means, (ORDERED_SEEDS, 1)), spread) for means in (levels, second)]
        found = [scipy.stats.spearmanr(*pair).statistic for pair in zip(*both, strict=True)]
        return float(np.mean(found)) - threshold

    weight = scipy.optimize.brentq(distance, 0, 1, xtol=0.01)
    return np.asarray((1 - weight) * low + weight * high)


def _deviation(claim: Claim, world: WorldKind) -> list[PlantedCells]:
    measure = claim.measure
    assert isinstance(measure, CalibrationMAD)
    middle, far = 0.2, wanted_value(claim, world, -0.25, 0.25)
    sides = [(measure.a, middle + far / 2), *([(measure.b, middle - far / 2)] if measure.b else [])]
    cells = []
    for side, distance in sides:
        for rank in measure.ranks:
            metrics = (f"{measure.answer_source} {rank}", f"report {rank}")
            cells.append(PlantedCells(tuple(replace(side, metric=m) for m in metrics), _reports(distance)))
    return cells


def _reports(distance: float) -> CellDraw:
    """Probabilities of answers, and reports that lie so far from them."""

    def draw(rng: np.random.Generator, noise: Noise) -> Columns:
        answers = rng.uniform(0, 0.5, (noise.seeds, noise.units))
        offset = distance + noise.seed_spread / 2 * rng.normal(size=(noise.seeds, 1))
        reports = np.clip(answers + offset + 0.05 * rng.normal(size=answers.shape), 0, 1)
        return {"value": np.stack([answers, reports])}

    return draw


def _curve_correlation(claim: Claim, world: WorldKind) -> list[PlantedCells]:
    """Two lines that rise; what moves them besides is the same, the opposite, or their own.

    On a threshold of no correlation only one of them rises.
    """
    measure = claim.measure
    assert isinstance(measure, CurveCorrelation)
    sign = {"true": 1.0, "false": -1.0, "on the threshold": 0.0}[world] * (-1.0 if claim.direction == "below" else 1.0)
    slope = 0.0 if sign == 0 and not measure.detrended and abs(claim.threshold) < 0.1 else 1.0
    # A line that rises by 0.6 varies by 0.19; with as much noise of its own in each curve r is about 0.7.
    own = (0.1 if measure.detrended else 0.12) if sign == 0 else 0.02

    def draw(rng: np.random.Generator, noise: Noise) -> Columns:
        line = 0.6 * (np.linspace(0, 1, len(STEPS)) - 0.5)[:, None]
        common = 0.1 * rng.normal(size=(len(STEPS), noise.seeds)) * (sign != 0)
        apart = own * rng.normal(size=(2, len(STEPS), noise.seeds))
        first = 0.5 + (sign or slope) * (line + common) + apart[0]
        second = 0.5 + line + common + apart[1]
        units = 0.02 * rng.normal(size=(1, noise.seeds, noise.units))
        return {"value": np.clip(np.concatenate([first, second])[..., None] + units, 0, 1)}

    selections = (*_at_steps(measure.a.selection), *_at_steps(measure.b.selection))
    floors = [curve.subtract for curve in (measure.a, measure.b) if curve.subtract is not None]
    cells = [PlantedCells(selections, draw)]
    for floor in dict.fromkeys(floors):
        cells.append(PlantedCells(_at_steps(floor), _constant(0.2)))
    return cells


def _at_steps(selection: Selection) -> tuple[Selection, ...]:
    return tuple(replace(selection, step=step) for step in STEPS)


def _constant(value: float) -> CellDraw:
    def draw(rng: np.random.Generator, noise: Noise) -> Columns:
        return {"value": np.full((len(STEPS), noise.seeds, noise.units), value)}

    return draw


def _peak(claim: Claim, world: WorldKind) -> list[PlantedCells]:
    """The share of the most frequent answer at one checkpoint."""
    measure = claim.measure
    assert isinstance(measure, Peak)
    share = wanted_value(claim, world, 0.0, 1.0)

    def draw(rng: np.random.Generator, noise: Noise) -> Columns:
        shape = (len(STEPS), noise.seeds, noise.units)
        answers = np.broadcast_to(np.arange(noise.units).astype(str), shape).astype(object)
        answers[2] = np.where(rng.random(shape[1:]) < share, "same", answers[2])
        values = np.zeros(shape)
        values[-1] = rng.random(shape[1:]) < 0.85  # what a need may ask of the last checkpoint
        return {"value": values, "answer": answers}

    return [PlantedCells(_at_steps(measure.curve.selection), draw)]


def _phase(claim: Claim, world: WorldKind) -> list[PlantedCells]:
    measure = claim.measure
    assert isinstance(measure, PhaseDuration)
    is_one_curve = measure.start is None or measure.start.selection == measure.end.selection
    if is_one_curve and (measure.start or measure.end).statistic == measure.end.statistic:
        return _phase_of_one_curve(claim, measure, world)
    starts = {"true": (2.0, 6.0), "false": (6.0, 2.0), "on the threshold": (4.0, 4.0)}[world]

    def draw(rng: np.random.Generator, noise: Noise) -> Columns:
        """Where answers become different, and where they become right."""
        shape = (len(STEPS), noise.seeds, noise.units)
        first, second = (at + rng.normal(size=noise.seeds) * (1.5 if starts[0] == starts[1] else 0.5) for at in starts)
        step = np.arange(len(STEPS))[:, None, None]
        different = np.broadcast_to(np.arange(noise.units).astype(str), shape)
        answers = np.where(step >= first[:, None], different, "same").astype(object)
        chance = 0.05 + 0.8 * (step >= second[:, None])
        return {"value": (rng.random(shape) < chance).astype(float), "answer": answers}

    curves: Sequence[TrainingCurve] = [curve for curve in (measure.start, measure.end) if curve]
    selections = dict.fromkeys(curve.selection for curve in curves)
    return [*(PlantedCells(_at_steps(selection), draw) for selection in selections), *_beginnings(curves)]


def _phase_of_one_curve(claim: Claim, measure: PhaseDuration, world: WorldKind) -> list[PlantedCells]:
    """A curve that waits at zero, then half-way between both borders of the phase, then at one."""
    steps = len(STEPS) * wanted_value(claim, world, 0.0, 0.7)
    first = 2.0
    if measure.start is None:  # from the first checkpoint, half a step of which the curve has behind it
        first, steps = 0.0, steps - 0.5
    on_threshold = world == "on the threshold"
    spread, rounding = (1.0, 0.5) if on_threshold else (0.3, 0.0)
    level = measure.end_fraction / 2 if measure.start is None else (measure.start_fraction + measure.end_fraction) / 2

    def draw(rng: np.random.Generator, noise: Noise) -> Columns:
        second = np.maximum(first, np.floor(first + steps + rounding + spread * rng.normal(size=noise.seeds)))
        step = np.arange(len(STEPS))[:, None]
        curve = np.where(step >= second, 1.0, np.where(step >= first, level, 0.0))
        return {"value": np.repeat(curve[..., None], noise.units, axis=2)}

    return [PlantedCells(_at_steps(measure.end.selection), draw), *_beginnings([measure.end])]


def _beginnings(curves: Sequence[TrainingCurve]) -> list[PlantedCells]:
    """Where the rise of a curve begins: at zero."""

    def draw(rng: np.random.Generator, noise: Noise) -> Columns:
        return {"value": np.zeros((1, noise.seeds, noise.units))}

    selections = dict.fromkeys(curve.rises_from for curve in curves if curve.rises_from is not None)
    return [PlantedCells((one,), draw) for one in selections]


#: The planter of each measure; scaling curves have theirs in `nosce.analysis.emergence.planters`.
PLANTERS: dict[type, Planter] = {
    SpearmanCorrelation: _rank_correlation,
    Auc: _area,
    JointExcess: _joint_excess,
    NormalizedGain: _normalized_gain,
    NormalizedContrast: _normalized_gain,
    ConditionRankCorrelation: _condition_order,
    CalibrationMAD: _deviation,
    CurveCorrelation: _curve_correlation,
    Peak: _peak,
    PhaseDuration: _phase,
}
#: Units of a seed, for measures that tell nothing with the usual number.
UNITS: dict[type, int] = {JointExcess: 200}
