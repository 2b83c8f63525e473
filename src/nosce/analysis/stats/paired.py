"""Comparisons: the difference of two arms on the same people, and what an interval decides.

Two arms that were asked about the same people of the same training seeds share the luck of the
draw; subtracting within each person removes it, and the interval is over what remains.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from nosce.analysis.stats.intervals import nested_interval
from nosce.analysis.stats.ranges import UNBOUNDED, ValueRange
from nosce.errors import DataError
from nosce.records import Decision, Estimate

Direction = Literal["above", "below", "within"]  # within: between minus the threshold and the threshold
ClusterKey = tuple[Hashable, Hashable]  # a training seed, and a cluster within it


def paired_difference(
    score_a: npt.ArrayLike,
    cluster_a: Iterable[Hashable],
    train_seed_a: Iterable[Hashable],
    score_b: npt.ArrayLike,
    cluster_b: Iterable[Hashable],
    train_seed_b: Iterable[Hashable],
    *,
    level: float | None = None,
    unit: str = "person",
    value_range: ValueRange = UNBOUNDED,
) -> Estimate:
    """Mean of arm a minus mean of arm b, paired on the people of each training seed.

    Each person counts once, whatever the number of items: its mean in b is subtracted from its
    mean in a, and the interval is over these differences.

    Args:
        score_a: One number per item of arm a; NaN is refused, not skipped.
        cluster_a: The cluster of each item of arm a, e.g. the person it asks about.
        train_seed_a: The training seed of each item of arm a.
        score_b: The same for arm b; its items need not match those of a, its people must.
        cluster_b: The same for arm b.
        train_seed_b: The same for arm b.
        level: Coverage of the interval, strictly between 0 and 1; None: `level.interval_level()`.
        unit: What one cluster is.
        value_range: The range of a difference, e.g. -1 to 1 for shares; see `nested_interval`.
            Without two ends, differences that are all equal have no interval.

    Returns:
        The difference and its interval; `n` counts the items of both arms.

    Raises:
        DataError: The arms were not asked about the same people of the same training seeds, or
            what `nested_interval` refuses.
        SpecError: A level outside (0, 1).

    Source:
        Miller 2024 (arXiv:2411.00640), paired differences; the interval is `nested_interval`'s.
    """
    mean_a, items_a = _cluster_means(score_a, cluster_a, train_seed_a, "a")
    mean_b, items_b = _cluster_means(score_b, cluster_b, train_seed_b, "b")
    _check_pairs(mean_a, mean_b)
    keys = list(mean_a)
    estimate = nested_interval(
        [mean_a[key] - mean_b[key] for key in keys],
        [cluster for _, cluster in keys],
        [train_seed for train_seed, _ in keys],
        level=level,
        unit=unit,
        value_range=value_range,
    )
    return replace(estimate, n=items_a + items_b, method=f"paired; {estimate.method}")


def decide(estimate: Estimate, threshold: float, direction: Direction) -> Decision:
    """Whether a number lies on the asked side of a threshold, as far as its interval can tell.

    Args:
        estimate: The number with its interval.
        threshold: The value that separates the claim from its opposite; for "within" the margin, above 0.
        direction: The side on which the claim holds.

    Returns:
        "holds" where the whole interval lies strictly on the asked side, "fails" where it lies
        strictly on the other, otherwise "undecided"; always so without an interval. Two things
        are alike "within" a margin where the interval lies between its two signs.
    """
    if estimate.low is None or estimate.high is None:
        return "undecided"
    if direction == "within":
        if -threshold < estimate.low and estimate.high < threshold:
            return "holds"
        return "fails" if estimate.low > threshold or estimate.high < -threshold else "undecided"
    if estimate.low > threshold:
        return "holds" if direction == "above" else "fails"
    if estimate.high < threshold:
        return "holds" if direction == "below" else "fails"
    return "undecided"


def _cluster_means(
    score: npt.ArrayLike, cluster: Iterable[Hashable], train_seed: Iterable[Hashable], arm: str
) -> tuple[dict[ClusterKey, float], int]:
    """The mean score of every person of every training seed, and the number of items behind them."""
    scores = np.asarray(score, dtype=np.float64)
    clusters, train_seeds = list(cluster), list(train_seed)
    if not scores.ndim == 1 or not scores.size == len(clusters) == len(train_seeds):
        raise DataError(
            f"arm {arm} has scores of shape {scores.shape}, {len(clusters)} clusters and {len(train_seeds)} "
            "training seeds; give one of each per item."
        )
    grouped: dict[ClusterKey, list[float]] = {}
    for key, value in zip(zip(train_seeds, clusters, strict=True), scores.tolist(), strict=True):
        grouped.setdefault(key, []).append(value)
    # Exact sums: two arms that answered alike must not differ in their last digits by the order of items.
    return {key: math.fsum(values) / len(values) for key, values in grouped.items()}, len(clusters)


def _check_pairs(a: dict[ClusterKey, float], b: dict[ClusterKey, float]) -> None:
    """Refuse arms that were asked about different people."""
    only_a, only_b = a.keys() - b.keys(), b.keys() - a.keys()
    if only_a or only_b:
        example, pairs = min(only_a or only_b, key=repr), len(a.keys() | b.keys())
        raise DataError(
            f"a paired difference was asked for, but of {pairs} pairs of training seed and cluster "
            f"{len(only_a)} are only in arm a and {len(only_b)} only in arm b, e.g. {example!r}; "
            "score both arms on the same clusters, or keep those that both have."
        )
