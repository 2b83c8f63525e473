"""How many sizes, items and seeds the mirage test needs for a verdict, by simulation of worlds with known truths.

Two truths stand for the two answers: power laws steep enough to jump, of which the test should say "metric", and
planted breaks. An abstention is no error, but decides nothing. What is found holds for sizes over four decades and
trainings that differ as those of `nosce.analysis.emergence.simulation` do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import scipy

from nosce.analysis.emergence.simulation import ALLOWED_VERDICTS, GroundTruth, simulate_outcomes
from nosce.analysis.emergence.test import MIN_SIZES, EmergenceVerdict, mirage_test
from nosce.errors import UsageError
from nosce.seeds import Seed

EXPECTED_VERDICT: dict[GroundTruth, EmergenceVerdict] = {"power law": "metric", "planted break": "break"}
JUMPING_EXPONENTS = (1.0, 1.4)  # exponents of power laws that jump
TARGET_POWER = 0.9  # of the worlds decided rightly
POWER_RESAMPLES = 500


@dataclass(frozen=True)
class PowerEstimate:
    """How often a design gives a right and a wrong verdict on simulated worlds with a known truth.

    Args:
        truth: Why the sharp score of the simulated worlds jumps.
        sizes: Number of sizes of the design.
        items: Number of items.
        seeds: Number of training seeds.
        simulations: Number of simulated worlds.
        n_right: Number of worlds with the expected verdict.
        n_wrong: Number of worlds with a wrong verdict; the remaining verdicts are "under-resolved".
    """

    truth: GroundTruth
    sizes: int
    items: int
    seeds: int
    simulations: int
    n_right: int
    n_wrong: int

    @property
    def power(self) -> float:
        """The share of worlds with the expected verdict."""
        return self.n_right / self.simulations

    @property
    def interval(self) -> tuple[float, float]:
        """The exact (Clopper-Pearson) 95 % interval of the power."""
        ci = scipy.stats.binomtest(self.n_right, self.simulations).proportion_ci(method="exact")
        return float(ci.low), float(ci.high)


def estimate_power(
    truth: GroundTruth, *, sizes: int, items: int, seeds: int, simulations: int, seed: Seed
) -> PowerEstimate:
    """Audit simulated worlds of a truth.

    Raises:
        UsageError: The design is too small to be tried, or the truth is none that a design is for.
    """
    if truth not in EXPECTED_VERDICT or sizes < MIN_SIZES or min(items, seeds, simulations) < 1:
        raise UsageError(
            f"a design of {sizes} sizes, {items} items and {seeds} seeds cannot be tried on {simulations} worlds of "
            f"{truth!r}; take {MIN_SIZES} sizes or more, one of the others at least, and "
            f"{' or '.join(map(repr, EXPECTED_VERDICT))}."
        )
    n_right = n_wrong = 0
    for simulation in range(simulations):
        outcomes = simulate_outcomes(
            truth, sizes=sizes, items=items, seeds=seeds, seed=seed / simulation, exponents=JUMPING_EXPONENTS
        )
        verdict = mirage_test(outcomes, seed / simulation / "audit", resamples=POWER_RESAMPLES).verdict
        n_right += verdict == EXPECTED_VERDICT[truth]
        n_wrong += verdict not in (*ALLOWED_VERDICTS[truth], "under-resolved")
    return PowerEstimate(truth, sizes, items, seeds, simulations, n_right, n_wrong)


def estimate_power_grid(
    sizes: Sequence[int], items: Sequence[int], seeds: Sequence[int], *, simulations: int, seed: Seed
) -> Iterator[tuple[PowerEstimate, ...]]:
    """Every combination, cheapest first, with its power on both truths."""
    for j, n, s in sorted(product(sizes, items, seeds), key=lambda design: (design[0] * design[1] * design[2], design)):
        design = {"sizes": j, "items": n, "seeds": s, "simulations": simulations}
        yield tuple(estimate_power(truth, **design, seed=seed / truth) for truth in EXPECTED_VERDICT)
