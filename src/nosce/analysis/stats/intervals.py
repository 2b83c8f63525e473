"""Intervals: how far a mean could be from the truth, given what was drawn independently.

Questions about one person rise and fall together, and so do all people read by one trained
model. An interval is as honest as the thing it takes for independent: items (`wilson`), people
(`clustered_mean`), or training seeds with their people (`nested_interval`).

Letters: N items, C clusters, S training seeds.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy

from nosce.analysis.stats.arrays import FloatArray
from nosce.analysis.stats.level import interval_level
from nosce.analysis.stats.ranges import UNBOUNDED, ValueRange
from nosce.errors import DataError, SpecError
from nosce.records import Estimate
from nosce.seeds import Seed

PEOPLE_LEVEL = 0.8  # of the interval over people that an interval over several seeds is never narrower than
_RELATIVE_TOLERANCE = 1e-12  # a spread below this share of the largest score is rounding, not variation


def wilson(successes: int, n: int, *, level: float | None = None, unit: str = "item") -> Estimate:
    """Share of successes among independent trials, with Wilson's score interval.

    Unlike the mean plus or minus its error it stays inside [0, 1] and has a width at 0 of n.

    Args:
        successes: How many trials succeeded.
        n: How many trials there were; each must have been drawn independently.
        level: Coverage of the interval, strictly between 0 and 1; None: `level.interval_level()`.
        unit: What one trial is.

    Returns:
        The share and its interval; every trial is its own cluster.

    Raises:
        DataError: No trials, or more successes than trials.
        SpecError: A level outside (0, 1).

    Source:
        Wilson 1927, JASA 22:209-212, without continuity correction.
    """
    level = _checked_level(level)
    if n < 1 or not 0 <= successes <= n:
        raise DataError(
            f"a share of {successes} successes in {n} trials was asked for, which is none; "
            "count successes among at least one trial."
        )
    ends = scipy.stats.binomtest(successes, n).proportion_ci(confidence_level=level, method="wilson")
    low, high = float(ends.low), float(ends.high)
    return Estimate(successes / n, low, high, n, n, 1, unit, "wilson", level)


def clustered_mean(
    score: npt.ArrayLike, cluster: Iterable[Hashable], *, level: float | None = None, unit: str = "person"
) -> Estimate:
    """Mean of a score, with an interval that respects what was drawn together.

    Questions about one person rise and fall together. Counted as independent trials they make
    the interval too narrow, by up to the square root of the questions per person.

    Args:
        score: N numbers, one per item, in any unit; NaN is refused, not skipped.
        cluster: N names, the cluster of each item, e.g. the person it asks about.
        level: Coverage of the interval, strictly between 0 and 1; None: `level.interval_level()`.
        unit: What one cluster is.

    Returns:
        Mean over items and its interval, in the unit of `score`; no interval (null ends) where
        the clusters do not differ at all, because a width of zero would claim certainty.

    Raises:
        DataError: Fewer than two clusters, lengths that differ, or a score that is not finite.
        SpecError: A level outside (0, 1).

    Source:
        Miller 2024 (arXiv:2411.00640), clustered standard errors; the factor C/(C-1) and
        Student's t with C-1 degrees of freedom are ours and matter below some 30 clusters.
    """
    level = _checked_level(level)
    names = list(cluster)
    scores = _checked_scores(score, names)
    clusters = _clusters_by_seed(scores, [("", name) for name in names])[""]
    count, value = len(clusters.total), clusters.mean
    error = float(np.sqrt(clusters.variance))
    if error <= _RELATIVE_TOLERANCE * float(np.abs(scores).max()):
        method = f"no interval: all {count} clusters are equal"
        return Estimate(value, None, None, len(scores), count, 1, unit, method, level)
    half_width = _student_t(level, count - 1) * error
    method = f"clustered standard error, t with {count - 1} df"
    return Estimate(value, value - half_width, value + half_width, len(scores), count, 1, unit, method, level)


def bca_interval(
    score: npt.ArrayLike,
    cluster: Iterable[Hashable],
    *,
    seed: Seed,
    resamples: int = 9_999,
    level: float | None = None,
    unit: str = "person",
) -> Estimate:
    """Mean over clusters of one training seed, with the bias-corrected and accelerated bootstrap over clusters.

    Says nothing of other training seeds: it is for holding one model against what is published of one model.

    Args:
        score: N numbers, one per item, in any unit.
        cluster: N names, the cluster of each item; clusters count alike, however many items they have.
        seed: Where the draws come from.
        resamples: How often the clusters are redrawn.
        level: Coverage of the interval, strictly between 0 and 1; None: `level.interval_level()`.
        unit: What one cluster is.

    Raises:
        DataError: Fewer than two clusters, lengths that differ, or a score that is not finite.
        SpecError: A level outside (0, 1).

    Source:
        Efron 1987, JASA 82:171-185; 9,999 draws as in Jin and Rinard 2024 (arXiv:2305.11169), section 5.
    """
    level = _checked_level(level)
    names = list(cluster)
    scores = _checked_scores(score, names)
    clusters = _clusters_by_seed(scores, [("", name) for name in names])[""]
    means = clusters.total / clusters.size
    plain = Estimate(float(means.mean()), None, None, len(scores), len(means), 1, unit, "", level)
    if np.ptp(means) <= _RELATIVE_TOLERANCE * float(np.abs(scores).max()):
        return replace(plain, method=f"no interval: all {len(means)} clusters are equal")
    ci = scipy.stats.bootstrap(
        (means,),
        np.mean,
        n_resamples=resamples,
        batch=500,
        confidence_level=level,
        method="BCa",
        rng=(seed / "bca").numpy(),
    ).confidence_interval
    method = f"BCa bootstrap over {len(means)} {plural(unit)} of one seed, {resamples:,} samples"
    return replace(plain, low=float(ci.low), high=float(ci.high), method=method)


def nested_interval(
    score: npt.ArrayLike,
    cluster: Iterable[Hashable],
    train_seed: Iterable[Hashable],
    *,
    level: float | None = None,
    unit: str = "person",
    value_range: ValueRange = UNBOUNDED,
) -> Estimate:
    """Mean over training seeds of the mean over items, with an interval for new seeds and people.

    Each training seed draws its own world, so people are nested in seeds: "person 7" of two
    seeds is two people. Their clustered standard errors give the variance W of the grand mean
    that is due to people.

    The seed means differ through their people too, so their variance over S, called B, already
    is an unbiased variance of the grand mean, and Student's t with S-1 degrees of freedom covers
    95 % whatever seeds and people contribute. A few seeds that agree by luck would make it
    absurdly narrow, so the interval is never narrower than the one that covers 80 % of new
    people for these trainings alone. One seed has people alone, with Student's t.

    Coverage and median width (against knowing the variances) of nominal 95 % intervals, from
    20,000 simulations of normal seeds with 40 normal people each, by the variance between seeds
    over the variance that people give to a seed's mean:

        seeds         0            1            5           100
            1   95.2 %  1.0
            2   97.8 %  4.3   96.7 %  4.4   95.7 %  4.5   95.0 %  4.4
            3   97.0 %  1.8   95.8 %  1.8   95.3 %  1.8   94.9 %  1.8
            5   96.0 %  1.3   95.0 %  1.3   94.9 %  1.3   94.9 %  1.3
            8   95.2 %  1.1   95.0 %  1.2   94.8 %  1.1   95.0 %  1.1
           12   95.1 %  1.1   95.0 %  1.1   95.0 %  1.1   94.7 %  1.1

    Quantities with a natural range are simulated in `benchmarks/coverage.py`. Two seeds are wide
    since they know little: a numerical search over all intervals made from B and W found none
    that keeps 95 % throughout and is narrower on average in the first column than plain t.

    Args:
        score: N numbers, one per item; NaN is refused, not skipped.
        cluster: N names, the cluster of each item within its training seed.
        train_seed: N names, the training seed of each item.
        level: Coverage of the interval, strictly between 0 and 1; None: `level.interval_level()`.
        unit: What one cluster is.
        value_range: The least and the largest possible score. The interval keeps within it by
            inverting a score test (`ValueRange.score_interval`). A range with two ends also
            allows an interval where no person differs from another, e.g. all right: Wilson's,
            for the share of people that could differ.

    Returns:
        The mean, seeds weighing equally, and the interval; null ends where no person differs from
        another and the range has not two ends. `method` says what was taken for independent; with
        one training seed only people are, and nothing is claimed about other seeds.

    Raises:
        DataError: Fewer than two clusters in a seed, lengths that differ, a score that is not
            finite or lies outside the range.
        SpecError: A level outside (0, 1).

    Source:
        Miller 2024 (arXiv:2411.00640), clustered standard errors; Student's t over runs. The
        lower bound on the width is ours.
    """
    level = _checked_level(level)
    scores, train_seeds, names = _checked_nested(score, cluster, train_seed)
    if not value_range.contains(scores):
        raise DataError(
            f"scores from {scores.min():g} to {scores.max():g} were said to lie {value_range.description}; "
            "correct the range or the scores."
        )
    clusters = _clusters_by_seed(scores, list(zip(train_seeds, names, strict=True)))
    plain, half_width = _grand_mean(clusters, scores, level, unit)
    return _around(plain, plain.value, half_width, value_range)


def interval_of_units(
    scores: FloatArray, *, level: float | None = None, unit: str = "person", value_range: ValueRange = UNBOUNDED
) -> Estimate:
    """The same of a table with one score a unit, a row a training seed. Shape: (S, U)."""
    sizes = np.ones(scores.shape[1], dtype=np.float64)
    clusters: dict[Hashable, _Clusters] = {seed: _Clusters(row, sizes) for seed, row in enumerate(scores)}
    plain, half_width = _grand_mean(clusters, scores.ravel(), _checked_level(level), unit)
    return _around(plain, plain.value, half_width, value_range)


def influence_interval(
    value: float,
    influence: npt.ArrayLike,
    cluster: Iterable[Hashable],
    train_seed: Iterable[Hashable],
    *,
    level: float | None = None,
    unit: str = "person",
    value_range: ValueRange = UNBOUNDED,
) -> Estimate:
    """The interval of a statistic from its jackknife pseudo-values, as `nested_interval` has it of scores.

    Args:
        value: The statistic, a mean over training seeds.
        influence: One pseudo-value a unit. Their mean is the statistic without its bias of first order, around which
            the interval lies; they need not lie in the range of the statistic.
        cluster: As in `nested_interval`, likewise the other arguments.

    Raises:
        DataError: As `nested_interval`, but for values outside the range.
        SpecError: A level outside (0, 1).
    """
    level = _checked_level(level)
    scores, train_seeds, names = _checked_nested(influence, cluster, train_seed)
    clusters = _clusters_by_seed(scores, list(zip(train_seeds, names, strict=True)))
    unbiased, half_width = _grand_mean(clusters, scores, level, unit)
    plain = replace(unbiased, value=value)
    return _around(plain, unbiased.value, half_width, value_range)


def _checked_nested(
    score: npt.ArrayLike, cluster: Iterable[Hashable], train_seed: Iterable[Hashable]
) -> tuple[FloatArray, list[Hashable], list[Hashable]]:
    train_seeds, names = list(train_seed), list(cluster)
    return _checked_scores(score, names, train_seeds), train_seeds, names


def _grand_mean(
    clusters_by_seed: Mapping[Hashable, _Clusters], scores: FloatArray, level: float, unit: str
) -> tuple[Estimate, float]:
    """The mean without an interval, and half the width of its symmetric interval; 0 where nothing varies."""
    seeds = list(clusters_by_seed.values())
    means, within = np.array([one.mean for one in seeds]), np.array([one.variance for one in seeds])
    count = sum(len(one.total) for one in seeds)
    by_seed = tuple(means.tolist())
    people_error = float(np.sqrt(within.sum())) / len(seeds)
    plain = Estimate(float(means.mean()), None, None, len(scores), count, len(seeds), unit, "", level, by_seed)
    plain = replace(plain, units_error=people_error)
    if np.sqrt(within.max()) + np.ptp(means) <= _RELATIVE_TOLERANCE * float(np.abs(scores).max()):
        return plain, 0.0
    dof = np.array([len(one.total) - 1 for one in seeds])
    satterthwaite = within.sum() ** 2 / (within**2 / dof).sum() if within.any() else 1.0
    if len(seeds) == 1:
        half_width = _student_t(level, satterthwaite) * people_error
        method = f"Student's t over {count} {plural(unit)}; 1 seed, so nothing is said about other seeds"
        return replace(plain, method=method), half_width
    over_seeds = _student_t(level, len(seeds) - 1) * float(means.std(ddof=1)) / np.sqrt(len(seeds))
    over_people = _student_t(PEOPLE_LEVEL, satterthwaite) * people_error
    method = f"Student's t over {len(seeds)} seeds"
    if over_people > over_seeds:
        method += f", which agree so well that the {100 * PEOPLE_LEVEL:g} % interval over {plural(unit)} is wider"
    return replace(plain, method=method), max(over_seeds, over_people)


def _student_t(level: float, dof: float) -> float:
    """The two-sided quantile of Student's t."""
    return float(scipy.special.stdtrit(dof, (1 + level) / 2))


def _around(plain: Estimate, centre: float, half_width: float, value_range: ValueRange) -> Estimate:
    """The estimate with an interval around a centre that keeps within the range."""
    if half_width == 0:
        return _degenerate_interval(plain, value_range)
    low, high = value_range.score_interval(centre, half_width, n=plain.clusters)
    method = plain.method if value_range == UNBOUNDED else f"{plain.method}; {value_range.description} by a score test"
    return replace(plain, low=min(low, plain.value), high=max(high, plain.value), method=method)


@dataclass(frozen=True, slots=True)
class _Clusters:
    """The clusters of one world: the sum of their scores and their number of items."""

    total: FloatArray
    size: FloatArray

    @property
    def mean(self) -> float:
        """Mean over items."""
        return float(self.total.sum() / self.size.sum())

    @property
    def variance(self) -> float:
        """Squared standard error of the mean, for clusters that were drawn independently."""
        count = len(self.total)
        residual = self.total - self.mean * self.size
        return float(count / (count - 1) * (residual**2).sum() / self.size.sum() ** 2)


def _clusters_by_seed(scores: FloatArray, keys: Sequence[tuple[Hashable, Hashable]]) -> dict[Hashable, _Clusters]:
    """The clusters of every training seed; sorted, so that the order of the rows does not matter."""
    order = {key: code for code, key in enumerate(sorted(set(keys), key=repr))}
    codes = np.array([order[key] for key in keys])
    total: FloatArray = np.bincount(codes, weights=scores).astype(np.float64)
    size: FloatArray = np.bincount(codes).astype(np.float64)
    members: dict[Hashable, list[int]] = {}
    for (train_seed, _), code in order.items():
        members.setdefault(train_seed, []).append(code)
    for train_seed, own in members.items():
        if len(own) < 2:
            where = f"training seed {train_seed}" if train_seed != "" else "the data"
            raise DataError(
                f"an interval over clusters was asked for, but {where} has {len(own)} cluster with "
                f"{int(size[own].sum())} items, so nothing says how clusters differ; score more clusters."
            )
    return {train_seed: _Clusters(total[own], size[own]) for train_seed, own in members.items()}


def _degenerate_interval(plain: Estimate, value_range: ValueRange) -> Estimate:
    """The estimate where no cluster differs, so that variances can say nothing."""
    if value_range.low is None or value_range.high is None:
        return replace(plain, method=f"no interval: all {plain.clusters} clusters are equal")
    # At most this share of clusters differs, and none can differ by more than to an end of the range.
    share = wilson(0, plain.clusters, level=plain.level).high or 0.0
    low, high = (plain.value + share * (end - plain.value) for end in (value_range.low, value_range.high))
    method = f"wilson over {plural(plain.unit)}: all {plain.clusters} are equal; nothing is said about other seeds"
    return replace(plain, low=low, high=high, method=method)


def plural(unit: str) -> str:
    """The plural of a unit's name, for sentences."""
    if unit == "person":
        return "people"
    if unit.endswith(("s", "x", "z", "ch", "sh")):
        return f"{unit}es"
    return f"{unit[:-1]}ies" if unit.endswith("y") and unit[-2:-1] not in "aeiou" else f"{unit}s"


def _checked_scores(score: npt.ArrayLike, *names: Sequence[Hashable]) -> FloatArray:
    """The scores as numbers, refused where they are not one finite number for each name."""
    scores = np.asarray(score, dtype=np.float64)
    lengths = [len(n) for n in names]
    if scores.ndim != 1 or any(length != scores.size for length in lengths) or not scores.size:
        raise DataError(
            f"scores of shape {scores.shape} came with {lengths} names; give one number and one name "
            "of each kind per item, and at least one item."
        )
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise DataError(
            f"{bad} of {scores.size} scores are not finite, and leaving them out would choose the items "
            "by their result; score them, or drop them by a rule made before looking."
        )
    return scores


def _checked_level(level: float | None) -> float:
    """The level of an interval, refused where no interval can have it."""
    level = interval_level() if level is None else level
    if not 0 < level < 1:
        raise SpecError(f"an interval of level {level:g} was asked for; take one between 0 and 1, e.g. 0.95.")
    return level
