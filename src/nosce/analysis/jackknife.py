"""Measures that are computed from many units at once: slopes, rank correlations, areas under curves.

Such a number is no mean over units, so resampling the units' values would not do. The jackknife gives each unit a
pseudo-value, by how far the number moves when the unit is left out, and the interval is over the pseudo-values.
Units of the same name in several selections, e.g. a diarist whom two models were asked about, are left out together.

Source: Efron and Stein 1981 (Annals of Statistics 9), pseudo-values; the interval is `influence_interval`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import scipy

from nosce.analysis.measures import RESAMPLING_SEED, Measure
from nosce.analysis.selection import Selection, scored_rows
from nosce.analysis.stats.arrays import FloatArray
from nosce.analysis.stats.intervals import influence_interval, plural
from nosce.analysis.stats.level import interval_level
from nosce.analysis.stats.ranges import (
    CORRELATION_RANGE,
    SHARE_RANGE,
    UNBOUNDED,
    ValueRange,
    weighted_sum_range,
)
from nosce.analysis.stats.time_series import half_width_over_seeds
from nosce.errors import DataError
from nosce.records import Estimate

CONDITION_RESAMPLES = 1_000
ValueColumns = Sequence[FloatArray]  # the values of each selection
JackknifeStatistic = Callable[[ValueColumns], float]


@dataclass(frozen=True, kw_only=True)
class Slope(Measure):
    """The least-squares slope of selections' means along a number, per unit of that number.

    E.g. accuracy along log2 of the model's size: what each doubling adds. Only training seeds that have all selections
    count. With two points at 0 and 1 the slope is the difference of two selections, which need not share units.

    Args:
        points: The number of each selection, and the selection.
        subtract: One selection for each point whose mean is subtracted, e.g. a floor; () subtracts nothing.
    """

    points: tuple[tuple[float, Selection], ...]
    subtract: tuple[Selection, ...] = ()

    @property
    def quantity(self) -> str:
        """The quantity of the first selection."""
        return self.points[0][1].quantity

    @property
    def is_difference(self) -> bool:
        """A change for each unit of the points' numbers; shares are shown in points."""
        return True

    @property
    def value_range(self) -> ValueRange:
        """From the ranges of the selections; unbounded where the points lie at one number."""
        weights = self.weights
        selections = [*(selection for _, selection in self.points), *self.subtract]
        return weighted_sum_range((w, s.value_range) for w, s in zip(weights, selections, strict=False))

    @property
    def weights(self) -> list[float]:
        """The weight of each mean in the slope, the subtracted ones last."""
        x = np.array([at for at, _ in self.points])
        weights = (x - x.mean()) / max(float(((x - x.mean()) ** 2).sum()), 1e-300)
        return [*weights.tolist(), *(-weights[: len(self.subtract)]).tolist()]

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The slope; each selection counts once, however many readings it has.

        Raises:
            DataError: A selection is empty, all points have the same number, or `subtract` has another length.
        """
        x = np.array([at for at, _ in self.points])
        if np.ptp(x) == 0:
            raise DataError(
                f"a trend of {self.points[0][1].description} was asked for along one number alone; give two."
            )
        if self.subtract and len(self.subtract) != len(x):
            raise DataError(f"a trend of {len(x)} points has {len(self.subtract)} to be subtracted; give one for each.")
        weights = self.weights

        def slope(columns: ValueColumns) -> float:
            return float(sum(w * c.mean() for w, c in zip(weights, columns, strict=True)))

        selections = [*(select for _, select in self.points), *self.subtract]
        return jackknife_selections(selections, slope, readings, unit, self.value_range)


@dataclass(frozen=True, kw_only=True)
class Auc(Measure):
    """The area under the ROC curve: how often a positive reading exceeds a negative one, with ties counted half.

    Args:
        positives: The readings that should have the larger values.
        negatives: The readings that should have the smaller values.
    """

    positives: Selection
    negatives: Selection

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The area; 0.5 is chance.

        Raises:
            DataError: A selection is empty.
        """
        return jackknife_selections([self.positives, self.negatives], _roc_auc, readings, unit, SHARE_RANGE)


@dataclass(frozen=True, kw_only=True)
class JointExcess(Measure):
    """How much more often all parts are right together than if they were independent: P(all) minus the product.

    Args:
        joint: The readings that are right where all parts are.
        marginals: The readings of each part.
    """

    joint: Selection
    marginals: tuple[Selection, ...]

    @property
    def is_difference(self) -> bool:
        """A difference; shares are shown in points."""
        return True

    @property
    def value_range(self) -> ValueRange:
        """The joint share is at most the least part, and the product of k parts at most (1 - 1/k)^k where it is 0."""
        k = len(self.marginals)
        if k < 2:
            return ValueRange(-1.0, 1.0)
        return ValueRange(-((1 - 1 / k) ** k), (1 - 1 / k) * k ** (-1 / (k - 1)))

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference of shares.

        Raises:
            DataError: A selection is empty.
        """
        return jackknife_selections([self.joint, *self.marginals], _joint_excess, readings, unit, self.value_range)


@dataclass(frozen=True, kw_only=True)
class SpearmanCorrelation(Measure):
    """Spearman's rank correlation of two selections that have one reading a unit each, e.g. reported and true counts.

    Args:
        a: The first selection.
        b: The second selection; None takes the first number in the attribute's name, e.g. 3 of "3 entries".
        quantity: The name that the number is shown with.
    """

    a: Selection
    b: Selection | None = None
    quantity: str = "correlation"

    @property
    def value_range(self) -> ValueRange:
        """-1 to 1."""
        return CORRELATION_RANGE

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The correlation over the units that both selections have.

        Raises:
            DataError: A selection is empty, or does not vary within a training seed or without one of its units.
        """
        values: dict[int, list[FloatArray]] = {}
        entities: dict[int, list[np.ndarray]] = {}
        for (seed,), seed_pairs in self._pairs(readings).group_by("seed", maintain_order=True):
            if seed_pairs["value"].n_unique() < 2 or seed_pairs["other"].n_unique() < 2:
                raise DataError(f"{self.a.description} of seed {seed} does not vary, so nothing can rise with it.")
            values[seed] = [seed_pairs["value"].to_numpy(), seed_pairs["other"].to_numpy()]
            entities[seed] = [seed_pairs["entity"].to_numpy()] * 2
        return jackknife_values(values, entities, _spearman, unit, CORRELATION_RANGE, corrects_bias=True)

    def _pairs(self, readings: pl.DataFrame) -> pl.DataFrame:
        """One row a seed and unit, with the columns `value` and `other`."""
        rows = scored_rows(self.a, readings)
        if self.b is None:
            pairs = rows.with_columns(other=pl.col("attribute").str.extract(r"(\d+)").cast(pl.Float64))
        else:
            other_values = scored_rows(self.b, readings).select("seed", "entity", other="value")
            pairs = rows.join(other_values, on=["seed", "entity"], how="inner")
        return pairs.filter(pl.col("other").is_not_null()).sort("seed", "entity")


@dataclass(frozen=True, kw_only=True)
class ConditionRankCorrelation(Measure):
    """Spearman's rank correlation over conditions: does one score rank the conditions as another score does?

    E.g. probe accuracy of each row of a table against the accuracy of answers. A condition's two scores are means over
    the units that all conditions have.

    Args:
        pairs: The two selections of each condition, at least four conditions.
        quantity: The name that the number is shown with.
    """

    pairs: tuple[tuple[Selection, Selection], ...]
    quantity: str = "correlation"

    @property
    def value_range(self) -> ValueRange:
        """-1 to 1."""
        return CORRELATION_RANGE

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean of the seeds' correlations, with an interval over seeds and units.

        Raises:
            DataError: A selection is empty, there are fewer than four conditions, no seed has them all, or a score of a
                seed is the same in all conditions.
        """
        if len(self.pairs) < 4:
            raise DataError(f"an order of {len(self.pairs)} conditions was asked for; give four or more.")
        means_by_seed = self._condition_means(readings)
        rng = (RESAMPLING_SEED / "rows").numpy()
        resampled = []
        for seed_means in means_by_seed:
            draws = rng.integers(len(seed_means), size=(CONDITION_RESAMPLES, len(seed_means)))
            resampled.append(_condition_spearmans(np.stack([seed_means[draw].mean(0) for draw in draws])))
        values = _condition_spearmans(np.stack([seed_means.mean(0) for seed_means in means_by_seed]))
        if not np.isfinite(values).all():
            raise DataError(
                f"a score of one seed is the same in all {len(self.pairs)} conditions, so that it ranks none."
            )
        # A rank correlation takes few values, so seeds often agree by luck.
        # A draw in which all conditions are equal has no order, and tells as little as one whose order is none.
        within = np.var(np.nan_to_num(resampled), axis=1, ddof=1)
        half_width, method = half_width_over_seeds(values, within, plural(unit), least_level=interval_level())
        n_units = sum(len(seed_means) for seed_means in means_by_seed)
        value = float(values.mean())
        low, high = CORRELATION_RANGE.score_interval(value, half_width, n=len(self.pairs))
        return Estimate(
            value=value,
            low=low,
            high=high,
            n=n_units * 2 * len(self.pairs),
            clusters=n_units,
            unit=unit,
            seeds=len(means_by_seed),
            seed_values=tuple(values.tolist()),
            method=f"rank correlation over {len(self.pairs)} conditions; {method}",
            level=interval_level(),
        )

    def _condition_means(self, readings: pl.DataFrame) -> list[FloatArray]:
        """Each seed's means, one row a unit, the two columns of a condition side by side. Shapes: (U, 2 C)."""
        selections = [selection for pair in self.pairs for selection in pair]
        columns = [f"{n}" for n in range(len(selections))]
        paired: pl.DataFrame | None = None
        for column, selection in zip(columns, selections, strict=True):
            rows = scored_rows(selection, readings)
            means = rows.group_by("seed", "entity").agg(pl.col("value").mean().alias(column))
            paired = means if paired is None else paired.join(means, on=["seed", "entity"], how="inner")
        if paired is None or paired.is_empty():
            raise DataError("no unit of any seed was read in all conditions; run them on the same seeds.")
        by_seed = paired.sort("seed", "entity").partition_by("seed", maintain_order=True)
        return [seed_means.select(columns).to_numpy() for seed_means in by_seed]


def _condition_spearmans(means: FloatArray) -> FloatArray:
    """The rank correlation of each row's even columns with its odd ones, NaN without an order. (R, 2 C) -> (R,)."""
    ranks = [scipy.stats.rankdata(columns, axis=1) for columns in (means[:, 0::2], means[:, 1::2])]
    first, second = (side - side.mean(1, keepdims=True) for side in ranks)
    size = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    return np.where(size > 0, (first * second).sum(1) / np.where(size > 0, size, 1.0), np.nan)


def jackknife_selections(
    selections: Sequence[Selection],
    statistic: JackknifeStatistic,
    readings: pl.DataFrame,
    unit: str,
    value_range: ValueRange = UNBOUNDED,
) -> Estimate:
    """The mean over seeds of a statistic of several selections, with an interval over units and seeds.

    Args:
        selections: The selections, in the order in which the statistic takes their values.
        statistic: The number of one training seed.
        readings: The readings of the study.
        unit: Name of the independently drawn unit.
        value_range: The natural range of the statistic; the interval keeps within it.

    Raises:
        DataError: A selection is empty, or no seed has them all.
    """
    tables = [scored_rows(select, readings).sort("seed", "entity", "item") for select in selections]
    seeds = sorted(set.intersection(*(set(table["seed"].to_list()) for table in tables)))
    if not seeds:
        raise DataError(f"no seed has all of what starts with {selections[0].description}; run them on the same seeds.")
    values, entities = {}, {}
    for seed in seeds:
        seed_tables = [table.filter(pl.col("seed") == seed) for table in tables]
        values[seed] = [table["value"].to_numpy() for table in seed_tables]
        entities[seed] = [table["entity"].to_numpy() for table in seed_tables]
    return jackknife_values(values, entities, statistic, unit, value_range)


def jackknife_values(
    values: Mapping[int, Sequence[FloatArray]],
    entities: Mapping[int, Sequence[np.ndarray]],
    statistic: JackknifeStatistic,
    unit: str,
    value_range: ValueRange = UNBOUNDED,
    *,
    corrects_bias: bool = False,
) -> Estimate:
    """The same as `jackknife_selections` of values that were selected before.

    Args:
        values: Training seed -> the values of each selection.
        entities: Training seed -> the entity of each value of each selection.
        statistic: The number of one training seed.
        unit: Name of the independently drawn unit.
        value_range: The natural range of the statistic; the interval keeps within it.
        corrects_bias: Put the interval around the mean of the pseudo-values, which is free of the statistic's bias of
            first order: a rank correlation of few units is too small. Not for a statistic with kinks, e.g. of bins.

    Raises:
        DataError: A unit is the only one of a selection, which is empty without it.
    """
    _refuse_lone_units(entities, unit)
    full_values = [statistic(columns) for columns in values.values()]
    pseudo_values: list[float] = []
    unit_names: list[str] = []
    seeds: list[int] = []
    for (seed, columns), full_value in zip(values.items(), full_values, strict=True):
        units = np.unique(np.concatenate(entities[seed]))
        leave_one_out = []
        for unit_name in units:
            kept = [column[names != unit_name] for column, names in zip(columns, entities[seed], strict=True)]
            leave_one_out.append(statistic(kept))
        unit_pseudo_values = len(units) * full_value - (len(units) - 1) * np.array(leave_one_out)
        if not corrects_bias:
            unit_pseudo_values += full_value - unit_pseudo_values.mean()
        pseudo_values += unit_pseudo_values.tolist()
        unit_names += units.tolist()
        seeds += [seed] * len(units)
    n = sum(len(column) for columns in values.values() for column in columns)
    value = float(np.mean(full_values))
    interval = influence_interval(value, pseudo_values, unit_names, seeds, unit=unit, value_range=value_range)
    return replace(interval, n=n, method=f"jackknifed; {interval.method}")


def _refuse_lone_units(entities: Mapping[int, Sequence[np.ndarray]], unit: str) -> None:
    """Check that each selection has two units or more in every seed: without its only one there is no statistic.

    Raises:
        DataError: One has not.
    """
    for seed, names_by_selection in entities.items():
        for names in names_by_selection:
            if len(np.unique(names)) == 1:
                raise DataError(
                    f"{names[0]} is the only {unit} of seed {seed} in one of the selections that are compared, so that "
                    f"nothing tells how much it varies between {plural(unit)}; ask about more of them."
                )


def _joint_excess(columns: ValueColumns) -> float:
    return float(columns[0].mean() - np.prod([column.mean() for column in columns[1:]]))


def _roc_auc(columns: ValueColumns) -> float:
    high, low = columns
    ranks = scipy.stats.rankdata(np.concatenate([high, low]))
    return float((ranks[: len(high)].sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))


def _spearman(columns: ValueColumns) -> float:
    ranks = [scipy.stats.rankdata(column) for column in columns]
    if any(np.ptp(r) == 0 for r in ranks):
        raise DataError("all values but those of one unit are equal, so that a rank correlation rests on this unit.")
    return float(np.corrcoef(*ranks)[0, 1])
