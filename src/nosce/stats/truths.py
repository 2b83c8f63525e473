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

from nosce.errors import SpecError
from nosce.seeds import Seed
from nosce.stats.mirage import Items, Verdict

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
LOW, HIGH = 5.0, 9.0  # log10 of the sizes
TOKENS = 8  # of a target


def drawn(truth: Truth, *, sizes: int, items: int, seeds: int, seed: Seed) -> Items:
    """Outcomes of one such world.

    Raises:
        SpecError: There is no such truth, or it needs more sizes, items or seeds.
    """
    if truth not in TRUTHS or min(items, seeds) < 1 or sizes < 3:
        raise SpecError(
            f"the truth {truth!r} with {sizes} sizes, {items} items and {seeds} seeds cannot be drawn; take one of "
            f"{', '.join(TRUTHS)}, at least three sizes, and at least one of the others."
        )
    rng = (seed / truth).numpy()
    logs = np.linspace(LOW, HIGH, sizes)
    hard = rng.normal(0.0, 0.4, items)
    match truth:
        case "power law":
            smooth = -TOKENS * _power(logs, rng, hard)
            sharp = rng.random((seeds, sizes, items)) < np.exp(smooth)
        case "planted break" | "seed mixture":
            one = rng.uniform(LOW + 1.5, HIGH - 1.0)
            each = np.full(seeds, one) if truth == "planted break" else rng.uniform(LOW + 1.0, HIGH - 0.7, seeds)
            smooth = np.stack([-TOKENS * _broken(logs, at, hard) for at in each])
            sharp = rng.random((seeds, sizes, items)) < np.exp(smooth)
        case "pure noise":
            smooth = np.broadcast_to(-1.5 + hard, (seeds, sizes, items)) + rng.normal(0, 0.5, (seeds, sizes, items))
            sharp = rng.random((seeds, sizes, items)) < 0.25
        case "item mixture":
            smooth = _mixture(logs, hard)
            sharp = rng.random((seeds, sizes, items)) < smooth
        case "mass shift":
            smooth = -0.8 * _power(logs, rng, hard, steep=0.35)
            rival = np.where(logs > rng.uniform(LOW + 1.5, HIGH - 1.0), -3.0, 0.5)[:, None] + rng.normal(0, 0.4, items)
            noise = rng.normal(0, 0.3, (seeds, sizes, items))
            sharp = smooth + noise > rival
        case "dependent steps":
            smooth = -TOKENS * _power(logs, rng, hard)
            # All steps hang on one and the same thing: the chain is as likely as its least likely step.
            sharp = rng.random((seeds, sizes, items)) < np.exp(smooth / TOKENS * 2)
    smooth = np.broadcast_to(smooth, (seeds, sizes, items)).astype(np.float64)
    return Items(sizes=10**logs, sharp=sharp.astype(np.float64), continuous=smooth,
                 log_likelihood=truth not in ("item mixture", "pure noise"))  # fmt: skip


def _power(logs: Floats, rng: np.random.Generator, hard: Floats, steep: float | None = None) -> Floats:
    """Nats a token by a power law that ends at a hundredth of a nat, or so. Shape: (J, N)."""
    steep = rng.uniform(0.9, 1.4) if steep is None else steep
    law: Floats = 0.01 * 10 ** (steep * (HIGH - logs))
    return law[:, None] * np.exp(hard)


def _broken(logs: Floats, at: float, hard: Floats) -> Floats:
    """Nats a token that fall slowly, and at one size at once. Shape: (J, N)."""
    slow = 1.6 - 0.1 * (logs - LOW)
    fallen = 1 / (1 + np.exp(-(logs - at) / 0.08))
    law: Floats = slow * (1 - fallen) + 0.02 * fallen
    return law[:, None] * np.exp(0.3 * hard)


def _mixture(logs: Floats, hard: Floats) -> Floats:
    """Probabilities of being right: easy items rise and sag, hard ones sag, and then all rise. Shape: (J, N)."""
    way = (logs - LOW) / (HIGH - LOW)
    easy = np.interp(way, [0, 0.35, 0.6, 0.75, 1], [-0.5, 0.8, 0.3, 2.5, 3.0])
    difficult = np.interp(way, [0, 0.35, 0.6, 0.75, 1], [-0.5, -2.0, -1.2, 2.0, 3.0])
    score = np.where(np.arange(len(hard)) % 2 == 0, easy[:, None], difficult[:, None]) - hard
    found: Floats = 1 / (1 + np.exp(-score))
    return found
