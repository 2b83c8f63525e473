"""Do training seeds form two groups? Then their mean is that of neither, and a normal interval around it misleads.

The rule, which `tests/analysis/stats/test_seed_groups.py` holds to a false alarm in at most 5 % of normal groups: seeds
form two groups where

1. the sum of squares that is left within two groups, cut where least is left, is a smaller share of the whole than in
   95 % of as many draws from one normal law, and
2. the means of the groups of a quantity with two ends lie at least a tenth of its range apart.

The second part keeps seeds together that differ by little next to an end, e.g. 100, 100, 100, 100 and 99 %. Fewer than
five seeds cannot tell: three always part into two groups somehow, and four are too few to part clearly by anything but
chance.

Source: the statistic is Engelman and Hartigan's 1969 (J. American Statistical Association 64); arXiv:2502.17356 found
outcomes of trainings in two groups where a mean seemed to jump. Letters: D draws, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nosce.analysis.stats.arrays import FloatArray
from nosce.analysis.stats.paired import Direction, decide
from nosce.analysis.stats.ranges import ValueRange
from nosce.records import Decision, Estimate
from nosce.seeds import Seed

MIN_GROUPED_SEEDS = 5  # with fewer nothing is said
GROUP_LEVEL = 0.05  # of one normal group are called two at most so often
MIN_GROUP_DISTANCE = 0.1  # between the means, of the range of a quantity with two ends
MAX_NULL_NUMBERS = 1_000_000  # drawn for a critical share, which bounds its memory


@dataclass(frozen=True)
class SeedGroups:
    """Two groups of training seeds.

    Args:
        n_low: Number of seeds in the lower group.
        n_high: Number of seeds in the upper group.
        low: Mean of the lower group.
        high: Mean of the upper group.
    """

    n_low: int
    n_high: int
    low: float
    high: float

    def on_both_sides(self, threshold: float, direction: Direction) -> bool:
        """Does a threshold lie between the means of the groups? A margin has two: its own and its negative.

        Groups beyond a margin on opposite sides have a mean that may lie within, which is true of no training.
        """
        if direction == "within":
            return any(self.low < end < self.high for end in (-threshold, threshold))
        return self.low < threshold < self.high


def within_group_share(values: npt.ArrayLike) -> FloatArray:
    """The least share of the sum of squares that two groups leave within them. Shapes: (D, S) -> (D,)."""
    return _best_cut(np.sort(np.atleast_2d(np.asarray(values, dtype=np.float64)), axis=1))[0]


def seed_groups(values: Sequence[float], value_range: ValueRange, *, comparisons: int = 1) -> SeedGroups | None:
    """The two groups that seeds form by the rule of this module; None where one group may have given them.

    Args:
        values: The number of each seed, e.g. its accuracy; with fewer than five nothing is found.
        value_range: The natural range of the numbers.
        comparisons: How often the question is asked at once, e.g. at each size: one group everywhere is called two
            anywhere at most so often (Bonferroni).
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if len(ordered) < MIN_GROUPED_SEEDS or not np.isfinite(ordered).all():
        return None
    shares, cuts = _best_cut(ordered[None])
    if shares[0] > critical_share(len(ordered), GROUP_LEVEL / comparisons):
        return None
    low, high = ordered[: cuts[0]], ordered[cuts[0] :]
    found = SeedGroups(len(low), len(high), float(low.mean()), float(high.mean()))
    if value_range.low is None or value_range.high is None:
        return found
    return found if found.high - found.low >= MIN_GROUP_DISTANCE * (value_range.high - value_range.low) else None


@lru_cache(maxsize=64)
def critical_share(n_seeds: int, level: float = GROUP_LEVEL) -> float:
    """The share within groups below which as many seeds of one normal law lie in 5 % of draws, or in another share."""
    draws = max(2_000, min(100_000, MAX_NULL_NUMBERS // n_seeds))
    normal = (Seed(0) / "seed groups" / n_seeds).numpy().normal(size=(draws, n_seeds))
    return float(np.quantile(within_group_share(normal), level))


def decide_by_groups(
    estimate: Estimate, threshold: float, direction: Direction, value_range: ValueRange
) -> tuple[Decision, SeedGroups | None]:
    """What an interval decides, and the groups of seeds, if there are two.

    Where they lie on both sides of the threshold, the claim is true of some trainings and false of others: the mean
    decides nothing, however narrow its interval is.
    """
    groups = seed_groups(estimate.seed_values, value_range)
    if groups is not None and groups.on_both_sides(threshold, direction):
        return "undecided", groups
    return decide(estimate, threshold, direction), groups


def _best_cut(ordered: FloatArray) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """The least share within two groups, and the size of the lower one. Shapes: (D, S) -> (D,), (D,)."""
    centred = ordered - ordered.mean(1, keepdims=True)  # or squares of large numbers would leave rounding alone
    n_seeds = ordered.shape[1]
    total = (centred**2).sum(1)
    sums, squares = np.cumsum(centred, 1), np.cumsum(centred**2, 1)
    sizes = np.arange(1, n_seeds)
    low = squares[:, :-1] - sums[:, :-1] ** 2 / sizes
    high = (squares[:, -1:] - squares[:, :-1]) - (sums[:, -1:] - sums[:, :-1]) ** 2 / (n_seeds - sizes)
    within = low + high
    cuts = within.argmin(1) + 1
    least_within = np.maximum(within.min(1), 0.0)
    shares: FloatArray = np.where(total > 0, least_within / np.where(total > 0, total, 1.0), 1.0)
    return shares, cuts
