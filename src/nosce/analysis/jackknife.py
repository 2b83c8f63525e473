"""Measures that are made of many units at once: trends, rank correlations, areas under curves.

Such a number is no mean over units, so that units cannot simply be drawn anew. Each unit's share in it is taken from
the jackknife, by how far the number moves where the unit is left out; with these shares it is resampled as a mean is.
Units of the same name in several selections, e.g. a diarist who was asked of two models, are left out together.

Source: Efron and Stein 1981 (Annals of Statistics 9), pseudo-values; the interval is `nested_bootstrap`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import scipy

from nosce.analysis.measures import RESAMPLING_SEED, Selection, scored_rows
from nosce.analysis.stats.intervals import nested_bootstrap
from nosce.errors import DataError
from nosce.records import Estimate

CONDITION_RESAMPLES = 1_000
ValueColumns = Sequence[np.ndarray]  # one table of values a selection
JackknifeStatistic = Callable[[ValueColumns], float]


@dataclass(frozen=True, kw_only=True)
class Slope:
    """The slope of selections' means along a number, by least squares: per unit of that number.

    E.g. accuracy along log2 of the model's size: points gained by each doubling. A seed needs all selections. Where
    there is a `minus`, one for each point, the slope is that of the differences; of two points at 0 and 1 it is the
    difference of two selections that need not be about the same units.
    """

    points: tuple[tuple[float, Selection], ...]
    subtract: tuple[Selection, ...] = ()

    @property
    def quantity(self) -> str:
        """What the estimate is a number of."""
        return self.points[0][1].quantity

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The slope, each selection counted once however many readings it has.

        Raises:
            DataError: A selection is empty, all stand at one number, or not every point has one to be subtracted.
        """
        x = np.array([at for at, _ in self.points])
        if np.ptp(x) == 0:
            raise DataError(
                f"a trend of {self.points[0][1].description} was asked for along one number alone; give two."
            )
        if self.subtract and len(self.subtract) != len(x):
            raise DataError(f"a trend of {len(x)} points has {len(self.subtract)} to be subtracted; give one for each.")
        weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
        weights = np.concatenate([weights, -weights]) if self.subtract else weights

        def slope(columns: ValueColumns) -> float:
            return float(sum(w * c.mean() for w, c in zip(weights, columns, strict=True)))

        return jackknife_selections([*(select for _, select in self.points), *self.subtract], slope, readings, unit)


@dataclass(frozen=True, kw_only=True)
class Auc:
    """The area under the ROC curve: how often a reading of `high` lies above one of `low`, ties counted half."""

    positives: Selection
    negatives: Selection
    quantity: str = "share"

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The area; 0.5 is chance.

        Raises:
            DataError: A selection is empty.
        """
        return jackknife_selections([self.positives, self.negatives], _roc_auc, readings, unit)


@dataclass(frozen=True, kw_only=True)
class JointExcess:
    """How much more often all parts are right than if each came right alone: the whole minus the parts' product."""

    joint: Selection
    marginals: tuple[Selection, ...]
    quantity: str = "share"

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference of shares.

        Raises:
            DataError: A selection is empty.
        """

        def beyond(columns: ValueColumns) -> float:
            return float(columns[0].mean() - np.prod([column.mean() for column in columns[1:]]))

        return jackknife_selections([self.joint, *self.marginals], beyond, readings, unit)


@dataclass(frozen=True, kw_only=True)
class SpearmanCorrelation:
    """Spearman's rank correlation of two selections that have one reading a unit each, e.g. count told and count true.

    `other` may be None: then it is the first number in the facet, e.g. 3 of "3 entries".
    """

    a: Selection
    b: Selection | None = None
    quantity: str = "correlation"

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The correlation; units that only one of the two has are left out.

        Raises:
            DataError: A selection is empty, or does not vary at all.
        """
        rows = scored_rows(self.a, readings)
        if self.b is None:
            pairs = rows.with_columns(other=pl.col("attribute").str.extract(r"(\d+)").cast(pl.Float64))
        else:
            other_values = scored_rows(self.b, readings).select("seed", "entity", other="value")
            pairs = rows.join(other_values, on=["seed", "entity"], how="inner")
        pairs = pairs.filter(pl.col("other").is_not_null()).sort("seed", "entity")
        for (seed,), seed_pairs in pairs.group_by("seed"):
            if seed_pairs["value"].n_unique() < 2 or seed_pairs["other"].n_unique() < 2:
                raise DataError(f"{self.a.description} of seed {seed} does not vary, so nothing can rise with it.")
        values_by_seed = {
            seed: [seed_pairs["value"].to_numpy(), seed_pairs["other"].to_numpy()]
            for (seed,), seed_pairs in pairs.group_by("seed", maintain_order=True)
        }
        entities_by_seed = {
            seed: [seed_pairs["entity"].to_numpy()] * 2
            for (seed,), seed_pairs in pairs.group_by("seed", maintain_order=True)
        }
        return jackknife_values(values_by_seed, entities_by_seed, _spearman, unit)


@dataclass(frozen=True, kw_only=True)
class ConditionRankCorrelation:
    """Spearman's rank correlation over conditions: does one score order them as another does?

    E.g. what a probe reads of each row of a table against what can be asked of it. Each pair of selections is one
    condition; its two scores are means over the units that all conditions have.
    """

    pairs: tuple[tuple[Selection, Selection], ...]
    quantity: str = "correlation"

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean of the seeds' correlations, with an interval over seeds and units.

        Raises:
            DataError: A selection is empty, there are fewer than four conditions, or no seed has them all.
        """
        if len(self.pairs) < 4:
            raise DataError(f"an order of {len(self.pairs)} conditions was asked for; give four or more.")
        tables = [
            scored_rows(select, readings).group_by("seed", "entity").agg(pl.col("value").mean().alias(f"{n}"))
            for n, select in enumerate(select for pair in self.pairs for select in pair)
        ]
        paired = tables[0]
        for table in tables[1:]:
            paired = paired.join(table, on=["seed", "entity"], how="inner")
        if paired.is_empty():
            raise DataError("no unit of any seed was read in all conditions; run them on the same seeds.")
        columns = [f"{n}" for n in range(len(tables))]
        means_by_seed = {
            seed: seed_means.select(columns).to_numpy()
            for (seed,), seed_means in paired.sort("seed", "entity").group_by("seed", maintain_order=True)
        }
        rng = (RESAMPLING_SEED / "rows").numpy()
        resampled = np.array(
            [
                [
                    _condition_spearman(seed_means[rng.integers(len(seed_means), size=len(seed_means))])
                    for _ in range(CONDITION_RESAMPLES)
                ]
                for seed_means in means_by_seed.values()
            ]
        )
        values = np.array([_condition_spearman(seed_means) for seed_means in means_by_seed.values()])
        low, high, method = _mean_over_seeds(values, resampled)
        return Estimate(
            value=float(values.mean()),
            low=low,
            high=high,
            n=len(paired) * len(columns),
            clusters=len(paired),
            unit=unit,
            seeds=len(means_by_seed),
            method=f"rank correlation over {len(self.pairs)} conditions; {method}",
        )


def _mean_over_seeds(values: np.ndarray, resampled: np.ndarray) -> tuple[float, float, str]:
    """An interval for the mean of the seeds' numbers (S,), of which (S, D) were drawn with other units.

    What seeds differ by is so uncertain that their percentiles cover too little (`nested_bootstrap`), and numbers of
    few values may be equal by chance; so it is Student's t with the seeds' error, or the units' where that is larger.
    """
    if len(values) == 1:
        low, high = np.quantile(resampled[0], [0.025, 0.975]).tolist()
        method = (
            f"percentile bootstrap of units, {CONDITION_RESAMPLES:,} draws; "
            "1 seed, so nothing is said about other seeds"
        )
        return min(low, float(values[0])), max(high, float(values[0])), method
    error = np.sqrt(max(values.var(ddof=1), resampled.var(axis=1, ddof=1).mean()) / len(values))
    half_width = float(scipy.stats.t.ppf(0.975, len(values) - 1) * error)
    method = f"t over {len(values)} seeds, or over units where these vary more"
    return max(-1.0, float(values.mean()) - half_width), min(1.0, float(values.mean()) + half_width), method


def _condition_spearman(table: np.ndarray) -> float:
    means = table.mean(0)
    return _spearman([means[0::2], means[1::2]])


def jackknife_selections(
    selections: Sequence[Selection], statistic: JackknifeStatistic, readings: pl.DataFrame, unit: str
) -> Estimate:
    """A number made of several selections, for each seed, and how it would move with other units and seeds.

    Raises:
        DataError: A selection is empty, or no seed has them all.
    """
    tables = [scored_rows(select, readings).sort("seed", "entity", "item") for select in selections]
    seeds = sorted(set.intersection(*(set(table["seed"].to_list()) for table in tables)))
    if not seeds:
        raise DataError(f"no seed has all of what starts with {selections[0].description}; run them on the same seeds.")
    tables_by_seed = {seed: [t.filter(pl.col("seed") == seed) for t in tables] for seed in seeds}
    values = {seed: [p["value"].to_numpy() for p in seed_tables] for seed, seed_tables in tables_by_seed.items()}
    entities = {seed: [p["entity"].to_numpy() for p in seed_tables] for seed, seed_tables in tables_by_seed.items()}
    return jackknife_values(values, entities, statistic, unit)


def jackknife_values(
    values: dict[int, list[np.ndarray]], entities: dict[int, list[np.ndarray]], statistic: JackknifeStatistic, unit: str
) -> Estimate:
    """The same of tables that are there already: of each seed columns of values, and what each row is about."""
    pseudo_values: list[float] = []
    unit_names: list[str] = []
    seeds: list[int] = []
    for seed, columns in values.items():
        full_value = statistic(columns)
        units = np.unique(np.concatenate(entities[seed]))
        leave_one_out = [
            statistic([c[n != unit_name] for c, n in zip(columns, entities[seed], strict=True)]) for unit_name in units
        ]
        unit_pseudo_values = len(units) * full_value - (len(units) - 1) * np.array(leave_one_out)
        pseudo_values += (unit_pseudo_values - unit_pseudo_values.mean() + full_value).tolist()
        unit_names += units.tolist()
        seeds += [seed] * len(units)
    n = sum(len(column) for columns in values.values() for column in columns)
    interval = nested_bootstrap(pseudo_values, unit_names, seeds, seed=RESAMPLING_SEED, unit=unit)
    return replace(interval, n=n, method=f"jackknifed; {interval.method}")


def _roc_auc(columns: ValueColumns) -> float:
    high, low = columns
    ranks = scipy.stats.rankdata(np.concatenate([high, low]))
    return float((ranks[: len(high)].sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))


def _spearman(columns: ValueColumns) -> float:
    ranks = [scipy.stats.rankdata(column) for column in columns]
    if any(np.ptp(r) == 0 for r in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])
