"""Worlds for the mirage test in which it is known why a score jumps, or that it does not.

Each truth draws outcomes of N items at J sizes by S seeds, sizes evenly over four decades. Items differ in difficulty.
What the test may say of each stands in `ALLOWED_VERDICTS`; anything else is an error, except that it may
always abstain.

Source: the truths are the explanations that Schaeffer et al. 2023 (arXiv:2304.15004) and their critics give of a jump;
forms and numbers are ours.
Letters: S seeds, J sizes, N items.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from nosce.analysis.emergence.scores import ItemOutcomes
from nosce.analysis.emergence.test import EmergenceVerdict
from nosce.analysis.stats.arrays import BoolArray, FloatArray
from nosce.errors import SpecError
from nosce.seeds import Seed

GroundTruth = Literal[
    "power law",
    "planted break",
    "pure noise",
    "seed mixture",
    "item mixture",
    "mass shift",
    "dependent steps",
    "even rise",
    "largest option",
]
GROUND_TRUTHS: tuple[GroundTruth, ...] = get_args(GroundTruth)

#: What may be said of a truth. Of a mixture over items the mean of either score jumps, and no metric makes it.
ALLOWED_VERDICTS: dict[GroundTruth, tuple[EmergenceVerdict, ...]] = {
    "power law": ("metric", "no jump"),
    "planted break": ("break",),
    "pure noise": ("no jump",),
    "seed mixture": ("break",),
    "item mixture": ("break", "no jump"),
    "mass shift": ("unexplained", "no jump"),
    "dependent steps": ("metric", "no jump"),
    "even rise": ("no jump",),
    "largest option": ("metric", "no jump"),
}
#: The verdict of a world with enough sizes, items and seeds, whose laws are steep enough to jump.
EXPECTED_VERDICTS: dict[GroundTruth, EmergenceVerdict] = {
    "power law": "metric",
    "planted break": "break",
    "pure noise": "no jump",
    "seed mixture": "break",
    "item mixture": "break",
    "mass shift": "unexplained",
    "dependent steps": "metric",
    "even rise": "no jump",
    "largest option": "metric",
}
POWER_LAW_EXPONENTS = (0.7, 1.4)
MIN_LOG_SIZE, MAX_LOG_SIZE = 5.0, 9.0  # log10 of the sizes
TARGET_TOKENS = 8  # of a target
LOG_SIZE_JITTER = 0.08  # decades by which a training is better or worse than its size
UNINFORMED_NATS = 2.3  # nats a token of a model that has learned nothing


def simulate_outcomes(
    truth: GroundTruth,
    *,
    sizes: int,
    items: int,
    seeds: int,
    seed: Seed,
    exponents: tuple[float, float] = POWER_LAW_EXPONENTS,
) -> ItemOutcomes:
    """Outcomes of one such world.

    Args:
        exponents: Exponents of power laws, from and to; the steepest jump.

    Raises:
        SpecError: There is no such truth, or it needs more sizes, items or seeds.
    """
    if truth not in GROUND_TRUTHS or min(items, seeds) < 1 or sizes < 3:
        raise SpecError(
            f"the truth {truth!r} with {sizes} sizes, {items} items and {seeds} seeds cannot be drawn; take one of "
            f"{', '.join(GROUND_TRUTHS)}, at least three sizes, and at least one of the others."
        )
    rng = (seed / truth).numpy()
    log_sizes = np.linspace(MIN_LOG_SIZE, MAX_LOG_SIZE, sizes)
    # No two trainings of a size are equally good.
    effective_log_sizes = log_sizes + rng.normal(0.0, LOG_SIZE_JITTER, (seeds, sizes))
    difficulty = rng.normal(0.0, 0.4, items)
    uniform = rng.random((seeds, sizes, items))
    smooth, sharp = _draw_scores(truth, rng, effective_log_sizes, difficulty, uniform, exponents)
    return ItemOutcomes(
        sizes=10**log_sizes,
        sharp=sharp.astype(np.float64),
        continuous=np.broadcast_to(smooth, (seeds, sizes, items)).astype(np.float64),
        log_likelihood=truth not in ("item mixture", "pure noise"),
    )


def _draw_scores(
    truth: GroundTruth,
    rng: np.random.Generator,
    effective_log_sizes: FloatArray,
    difficulty: FloatArray,
    uniform: FloatArray,
    exponents: tuple[float, float],
) -> tuple[FloatArray, BoolArray]:
    """The continuous score, which broadcasts to (S, J, N), and the sharp one.

    Args:
        truth: Why the sharp score jumps.
        rng: The source of the world's own numbers.
        effective_log_sizes: (S, J) log10 of the size that a training is worth.
        difficulty: (N,) of the items.
        uniform: (S, J, N) the draws that turn probabilities into outcomes.
        exponents: Exponents of power laws, from and to.
    """
    seeds = len(effective_log_sizes)
    match truth:
        case "power law" | "dependent steps":
            smooth = -TARGET_TOKENS * _power_law_loss(
                effective_log_sizes, rng.uniform(*exponents), difficulty, rng.random() < 0.5
            )
            # Most dependent steps hang on the same thing: the chain is likelier than its steps one by one.
            sharp = uniform < np.exp(smooth if truth == "power law" else smooth / 4)
        case "planted break" | "seed mixture":
            low, high = MIN_LOG_SIZE + 1.0, MAX_LOG_SIZE - 0.8
            break_log_size = rng.uniform(low, high, (1 if truth == "planted break" else seeds, 1))
            smooth = -TARGET_TOKENS * _break_loss(
                effective_log_sizes, break_log_size, rng.uniform(0.03, 0.15), rng.uniform(0.6, 0.95), difficulty
            )
            sharp = uniform < np.exp(smooth / 2)
        case "pure noise":
            smooth = -1.5 + difficulty + rng.normal(0, 0.5, uniform.shape)
            sharp = uniform < rng.uniform(0.02, 0.5)
        case "item mixture":
            smooth = _item_mixture(effective_log_sizes, difficulty)
            sharp = uniform < smooth
        case "mass shift":
            smooth, sharp = _mass_shift(rng, effective_log_sizes, difficulty, uniform.shape)
        case "even rise":
            smooth = _even_rise(effective_log_sizes, difficulty)
            sharp = uniform < np.exp(smooth)
        case "largest option":
            smooth, sharp = _largest_option(rng, effective_log_sizes, difficulty, uniform)
    return smooth, sharp


def _power_law_loss(logs: FloatArray, exponent: float, difficulty: FloatArray, bounded: bool) -> FloatArray:
    """Nats a token by a power law that ends at a hundredth of a nat, or so; bounded by knowing nothing. (S, J, N)."""
    law: FloatArray = (0.01 * 10 ** (exponent * (MAX_LOG_SIZE - logs)))[..., None] * np.exp(difficulty)
    return law / (1 + law / UNINFORMED_NATS) if bounded else law


def _break_loss(
    logs: FloatArray, break_log_size: FloatArray, width: float, drop: float, difficulty: FloatArray
) -> FloatArray:
    """Nats a token that fall slowly, and at one size by a large part within some hundredths of a decade. (S, J, N)."""
    slow = 1.6 - 0.1 * (logs - MIN_LOG_SIZE)
    fallen = drop / (1 + np.exp(np.clip(-(logs - break_log_size) / width, -60, 60)))
    law: FloatArray = (slow * (1 - fallen))[..., None] * np.exp(0.3 * difficulty)
    return law


def _even_rise(logs: FloatArray, difficulty: FloatArray) -> FloatArray:
    """Log-probabilities of being right that grow by the same amount in every decade. (S, J, N)."""
    way = (logs - MIN_LOG_SIZE) / (MAX_LOG_SIZE - MIN_LOG_SIZE)
    return np.asarray(np.log(np.clip((0.1 + 0.8 * way)[..., None] * np.exp(0.2 * difficulty), 0.01, 0.99)))


def _mass_shift(
    rng: np.random.Generator, logs: FloatArray, difficulty: FloatArray, shape: tuple[int, ...]
) -> tuple[FloatArray, BoolArray]:
    """A smooth score of the right option, and whether it beats a rival that falls away at one size. Both (S, J, N)."""
    smooth = -0.8 * _power_law_loss(logs, 0.35, difficulty, False)
    shift = logs > rng.uniform(MIN_LOG_SIZE + 1.0, MAX_LOG_SIZE - 0.8)
    rival = np.where(shift, -3.0, 0.5)[..., None] + rng.normal(0, 0.4, len(difficulty))
    beats: BoolArray = smooth + rng.normal(0, 0.3, shape) > rival
    return smooth, beats


def _largest_option(
    rng: np.random.Generator, logs: FloatArray, difficulty: FloatArray, uniform: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Log-probability of the right one of four options, and whether it is the likeliest. Both (S, J, N)."""
    middle = rng.uniform(MIN_LOG_SIZE + 1.5, MAX_LOG_SIZE - 1.5)
    rivals = rng.normal(0.0, 0.2, (3, len(difficulty)))
    own = 1.2 * (logs - middle)[..., None] - 0.5 * difficulty + 0.2 * (uniform - 0.5)
    law: FloatArray = own - np.logaddexp(own, np.logaddexp.reduce(rivals, axis=0))
    largest: BoolArray = own > rivals.max(0)
    return law, largest


def _item_mixture(logs: FloatArray, difficulty: FloatArray) -> FloatArray:
    """Probabilities of being right: easy items rise and sag, hard ones sag, and then all rise. (S, J, N)."""
    way = (logs - MIN_LOG_SIZE) / (MAX_LOG_SIZE - MIN_LOG_SIZE)
    easy = np.interp(way, [0, 0.35, 0.6, 0.75, 1], [-0.5, 0.8, 0.3, 2.5, 3.0])
    difficult = np.interp(way, [0, 0.35, 0.6, 0.75, 1], [-0.5, -2.0, -1.2, 2.0, 3.0])
    score = np.where(np.arange(len(difficulty)) % 2 == 0, easy[..., None], difficult[..., None]) - difficulty
    found: FloatArray = 1 / (1 + np.exp(-score))
    return found
