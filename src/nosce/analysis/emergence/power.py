"""How many sizes, items and seeds the mirage test needs for a verdict, by simulation of worlds with known truths.

Two truths stand for the two answers: power laws steep enough to jump, of which the test should say "metric", and
planted breaks. An abstention is no error, but decides nothing. What is found holds for sizes over four decades and
trainings that differ as those of `nosce.analysis.emergence.simulation` do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product

import scipy

from nosce.analysis.emergence.simulation import (
    ALLOWED_VERDICTS,
    EXPECTED_VERDICTS,
    LOG_SIZE_JITTER,
    GroundTruth,
    simulate_outcomes,
)
from nosce.analysis.emergence.test import MIN_METRIC_SIZES, MIN_SIZES, mirage_verdict
from nosce.analysis.stats.intervals import plural
from nosce.errors import UsageError
from nosce.seeds import Seed

DESIGN_TRUTHS: tuple[GroundTruth, ...] = ("power law", "planted break")
JUMPING_EXPONENTS = (1.0, 1.4)  # exponents of power laws that jump
TARGET_POWER = 0.9  # of the worlds decided rightly
POWER_RESAMPLES = 100
MAX_SIMULATIONS, MAX_OUTCOMES = 10_000, 10**7  # worlds of a design; sizes x items x seeds of a world
DEFAULT_SIZES, DEFAULT_ITEMS, DEFAULT_SEEDS = (5, 8, 12), (100, 1_000), (1, 3)


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
    truth: GroundTruth,
    *,
    sizes: int,
    items: int,
    seeds: int,
    simulations: int,
    seed: Seed,
    on_world: Callable[[], object] = lambda: None,
) -> PowerEstimate:
    """Audit simulated worlds of a truth.

    Args:
        on_world: Called after each world, e.g. to show progress.

    Raises:
        UsageError: The design is too small to be tried, or the truth is none that a design is for.
    """
    if truth not in DESIGN_TRUTHS or sizes < MIN_SIZES or min(items, seeds, simulations) < 1:
        raise UsageError(
            f"a design of {sizes} sizes, {items} items and {seeds} seeds cannot be tried on {simulations} worlds of "
            f"{truth!r}; take {MIN_SIZES} sizes or more, one of the others at least, and "
            f"{' or '.join(map(repr, DESIGN_TRUTHS))}."
        )
    n_right = n_wrong = 0
    for simulation in range(simulations):
        outcomes = simulate_outcomes(
            truth, sizes=sizes, items=items, seeds=seeds, seed=seed / simulation, exponents=JUMPING_EXPONENTS
        )
        verdict = mirage_verdict(outcomes, seed / simulation / "audit", resamples=POWER_RESAMPLES)
        n_right += verdict == EXPECTED_VERDICTS[truth]
        n_wrong += verdict not in (*ALLOWED_VERDICTS[truth], "under-resolved")
        on_world()
    return PowerEstimate(truth, sizes, items, seeds, simulations, n_right, n_wrong)


def power_designs(sizes: Sequence[int], items: Sequence[int], seeds: Sequence[int]) -> list[tuple[int, int, int]]:
    """Every combination of numbers of sizes, items and seeds, those with the fewest outcomes first.

    Raises:
        UsageError: One is too small or too large to be tried.
    """
    designs = sorted(set(product(sizes, items, seeds)), key=lambda design: (math.prod(design), design))
    for j, n, s in designs:
        if j < MIN_SIZES or min(n, s) < 1:
            raise UsageError(
                f"a design of {j} sizes, {n} items and {s} seeds cannot be tried; take {MIN_SIZES} sizes or more, and "
                "one item and seed or more."
            )
        if j * n * s > MAX_OUTCOMES:
            raise UsageError(
                f"a design of {j * n * s:,} outcomes is too large to be tried; take {MAX_OUTCOMES:,} or fewer."
            )
    return designs


def estimate_power_grid(
    designs: Sequence[tuple[int, int, int]],
    *,
    simulations: int,
    seed: Seed,
    on_world: Callable[[], object] = lambda: None,
) -> Iterator[tuple[PowerEstimate, ...]]:
    """The power of each design (sizes, items, seeds) on both truths.

    Raises:
        UsageError: Too few simulations to say how often, or too many to wait for.
    """
    if not 10 <= simulations <= MAX_SIMULATIONS:
        too = "few to say how often" if simulations < 10 else "many to wait for"
        raise UsageError(f"--simulations {simulations} is too {too}; take 10 to {MAX_SIMULATIONS:,}.")
    for j, n, s in designs:
        design = {"sizes": j, "items": n, "seeds": s, "simulations": simulations}
        yield tuple(estimate_power(truth, **design, seed=seed / truth, on_world=on_world) for truth in DESIGN_TRUTHS)


def power_sentence(powers: Sequence[PowerEstimate]) -> str:
    """What a design tells, e.g. "8 sizes, 1,000 items, 1 seed tell a metric's jump in 72 % [56, 85] and ..."."""
    metric, broken = powers
    design = f"{_counted(metric.sizes, 'size')}, {_counted(metric.items, 'item')}, {_counted(metric.seeds, 'seed')}"
    wrong = sum(p.n_wrong for p in powers)
    total = sum(p.simulations for p in powers)
    sentence = f"{design} tell a metric's jump in {_share_text(metric)} and a break in {_share_text(broken)}"
    if metric.sizes < MIN_METRIC_SIZES:
        sentence += f' (fewer than {MIN_METRIC_SIZES} sizes never give "metric")'
    return f"{sentence}; {wrong} of {total} verdicts {'was' if wrong == 1 else 'were'} wrong."


def power_advice(powers_by_design: Sequence[Sequence[PowerEstimate]]) -> str:
    """The cheapest design that tells both truths nine times of ten, or else the best; and where this holds."""
    worlds = (
        f"This holds for sizes over four decades and trainings that scatter by {LOG_SIZE_JITTER:g} decades of size."
    )
    enough = [powers for powers in powers_by_design if all(p.power >= TARGET_POWER for p in powers)]
    best = enough[0] if enough else max(powers_by_design, key=lambda powers: min(p.power for p in powers))
    design = f"{best[0].sizes} sizes, {_counted(best[0].items, 'item')} and {_counted(best[0].seeds, 'seed')}"
    if enough:
        return f"The cheapest of these that tells both in {100 * TARGET_POWER:.0f} % of the worlds: {design}. {worlds}"
    return f"None of these tells both in {100 * TARGET_POWER:.0f} % of the worlds; the best is {design}. {worlds}"


def power_rows(powers: Sequence[PowerEstimate]) -> list[dict[str, object]]:
    """Designs as JSON, intervals with them."""
    return [{**asdict(p), "share": p.power, "low": p.interval[0], "high": p.interval[1]} for p in powers]


def _share_text(estimate: PowerEstimate) -> str:
    low, high = estimate.interval
    return f"{100 * estimate.power:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun if number == 1 else plural(noun)}"
