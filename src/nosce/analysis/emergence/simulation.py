"""Worlds for the mirage test in which it is known why a score jumps, or that it does not.

Each truth draws outcomes of N items at J sizes by S seeds, sizes evenly over four decades. Items differ in difficulty.
What the test may say of each stands in `ALLOWED`; anything else is an error, except that it may always abstain.

Source: the list of truths is the sheet's (arXiv:2304.15004, section 7); forms and numbers are ours.
Letters: S seeds, J sizes, N items.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from nosce.analysis.emergence.scores import Items
from nosce.analysis.emergence.test import Verdict
from nosce.errors import SpecError
from nosce.seeds import Seed

Floats = npt.NDArray[np.float64]
Truth = Literal["power law", "planted break", "pure noise", "seed mixture", "item mixture", "mass shift",
                "dependent steps"]  # fmt: skip
TRUTHS: tuple[Truth, ...] = get_args(Truth)

#: What may be said of a truth. Of a mixture over items the mean of either score jumps, and no metric makes it.
ALLOWED: dict[Truth, tuple[Verdict, ...]] = {
    "power law": ("metric", "no jump"),
    "planted break": ("break",),
    "pure noise": ("no jump",),
    "seed mixture": ("break",),
    "item mixture": ("break", "no jump"),
    "mass shift": ("unexplained", "no jump"),
    "dependent steps": ("metric", "no jump"),
}
STEEP = (0.7, 1.4)
LOW, HIGH = 5.0, 9.0  # log10 of the sizes
TOKENS = 8  # of a target
JITTER = 0.08  # decades by which a training is better or worse than its size
NOTHING = 2.3  # nats a token of whoever knows nothing


def drawn(truth: Truth, *, sizes: int, items: int, seeds: int, seed: Seed, steep: tuple[float, float] = STEEP) -> Items:
    """Outcomes of one such world.

    Args:
        steep: Exponents of power laws, from and to; the steepest jump.

    Raises:
        SpecError: There is no such truth, or it needs more sizes, items or seeds.
    """
    if truth not in TRUTHS or min(items, seeds) < 1 or sizes < 3:
        raise SpecError(
            f"the truth {truth!r} with {sizes} sizes, {items} items and {seeds} seeds cannot be drawn; take one of "
            f"{', '.join(TRUTHS)}, at least three sizes, and at least one of the others."
        )
    rng = (seed / truth).numpy()
    even = np.linspace(LOW, HIGH, sizes)
    logs = even + rng.normal(0.0, JITTER, (seeds, sizes))  # no two trainings of a size are equally good
    hard = rng.normal(0.0, 0.4, items)
    chance = rng.random((seeds, sizes, items))
    match truth:
        case "power law":
            smooth = -TOKENS * _power(logs, rng.uniform(*steep), hard, rng.random() < 0.5)
            sharp = chance < np.exp(smooth)
        case "planted break" | "seed mixture":
            low, high = LOW + 1.0, HIGH - 0.8
            at = rng.uniform(low, high, (1 if truth == "planted break" else seeds, 1))
            smooth = -TOKENS * _broken(logs, at, rng.uniform(0.03, 0.15), rng.uniform(0.6, 0.95), hard)
            sharp = chance < np.exp(smooth / 2)
        case "pure noise":
            smooth = -1.5 + hard + rng.normal(0, 0.5, chance.shape)
            sharp = chance < rng.uniform(0.02, 0.5)
        case "item mixture":
            smooth = _mixture(logs, hard)
            sharp = chance < smooth
        case "mass shift":
            smooth = -0.8 * _power(logs, 0.35, hard, False)
            shift = logs > rng.uniform(LOW + 1.0, HIGH - 0.8)
            rival = np.where(shift, -3.0, 0.5)[..., None] + rng.normal(0, 0.4, items)
            sharp = smooth + rng.normal(0, 0.3, chance.shape) > rival
        case "dependent steps":
            smooth = -TOKENS * _power(logs, rng.uniform(*steep), hard, rng.random() < 0.5)
            # Most steps hang on the same thing: the chain is likelier than its steps one by one.
            sharp = chance < np.exp(smooth / 4)
    smooth = np.broadcast_to(smooth, (seeds, sizes, items)).astype(np.float64)
    return Items(sizes=10**even, sharp=sharp.astype(np.float64), continuous=smooth,
                 log_likelihood=truth not in ("item mixture", "pure noise"))  # fmt: skip


def _power(logs: Floats, steep: float, hard: Floats, bounded: bool) -> Floats:
    """Nats a token by a power law that ends at a hundredth of a nat, or so; bounded by knowing nothing. (S, J, N)."""
    law: Floats = (0.01 * 10 ** (steep * (HIGH - logs)))[..., None] * np.exp(hard)
    return law / (1 + law / NOTHING) if bounded else law


def _broken(logs: Floats, at: Floats, width: float, part: float, hard: Floats) -> Floats:
    """Nats a token that fall slowly, and at one size by a large part within some hundredths of a decade. (S, J, N)."""
    slow = 1.6 - 0.1 * (logs - LOW)
    fallen = part / (1 + np.exp(np.clip(-(logs - at) / width, -60, 60)))
    law: Floats = (slow * (1 - fallen))[..., None] * np.exp(0.3 * hard)
    return law


def _mixture(logs: Floats, hard: Floats) -> Floats:
    """Probabilities of being right: easy items rise and sag, hard ones sag, and then all rise. (S, J, N)."""
    way = (logs - LOW) / (HIGH - LOW)
    easy = np.interp(way, [0, 0.35, 0.6, 0.75, 1], [-0.5, 0.8, 0.3, 2.5, 3.0])
    difficult = np.interp(way, [0, 0.35, 0.6, 0.75, 1], [-0.5, -2.0, -1.2, 2.0, 3.0])
    score = np.where(np.arange(len(hard)) % 2 == 0, easy[..., None], difficult[..., None]) - hard
    found: Floats = 1 / (1 + np.exp(-score))
    return found
