"""How many sizes, items and seeds does it take until the mirage test decides? Told by trying, on planted truths.

Two truths stand for the two answers: power laws steep enough to jump, of which the test should say "metric", and
planted breaks. An abstention is no error, but decides nothing. What is found holds for sizes over four decades and
trainings that differ as those of `nosce.analysis.emergence.simulation` do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from scipy import stats

from nosce.analysis.emergence.simulation import ALLOWED, Truth, drawn
from nosce.analysis.emergence.test import LEAST_SIZES, Verdict, audit
from nosce.errors import UsageError
from nosce.seeds import Seed

ASKED: dict[Truth, Verdict] = {"power law": "metric", "planted break": "break"}
STEEP = (1.0, 1.4)  # exponents of power laws that jump
ENOUGH = 0.9  # of the worlds decided rightly
DRAWS = 500


@dataclass(frozen=True)
class Power:
    """How often a design decides rightly, and how often wrongly, of so many worlds of a truth."""

    truth: Truth
    sizes: int
    items: int
    seeds: int
    worlds: int
    right: int
    wrong: int

    @property
    def share(self) -> float:
        """Decided rightly."""
        return self.right / self.worlds

    @property
    def interval(self) -> tuple[float, float]:
        """The exact (Clopper-Pearson) 95 % interval of that."""
        found = stats.binomtest(self.right, self.worlds).proportion_ci(method="exact")
        return float(found.low), float(found.high)


def power(truth: Truth, *, sizes: int, items: int, seeds: int, worlds: int, seed: Seed) -> Power:
    """Audit so many worlds of a truth.

    Raises:
        UsageError: The design is too small to be tried, or the truth is none that a design is for.
    """
    if truth not in ASKED or sizes < LEAST_SIZES or min(items, seeds, worlds) < 1:
        raise UsageError(
            f"a design of {sizes} sizes, {items} items and {seeds} seeds cannot be tried on {worlds} worlds of "
            f"{truth!r}; take {LEAST_SIZES} sizes or more, one of the others at least, and "
            f"{' or '.join(map(repr, ASKED))}."
        )
    right = wrong = 0
    for number in range(worlds):
        world = drawn(truth, sizes=sizes, items=items, seeds=seeds, seed=seed / number, steep=STEEP)
        verdict = audit(world, seed / number / "audit", draws=DRAWS).verdict
        right += verdict == ASKED[truth]
        wrong += verdict not in (*ALLOWED[truth], "under-resolved")
    return Power(truth, sizes, items, seeds, worlds, right, wrong)


def designs(sizes: Sequence[int], items: Sequence[int], seeds: Sequence[int], *, worlds: int, seed: Seed
            ) -> Iterator[tuple[Power, ...]]:  # fmt: skip
    """Every combination, cheapest first, with its power on both truths."""
    for j, n, s in sorted(product(sizes, items, seeds), key=lambda design: (design[0] * design[1] * design[2], design)):
        yield tuple(power(truth, sizes=j, items=n, seeds=s, worlds=worlds, seed=seed / truth) for truth in ASKED)
