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
from scipy import stats

from nosce.analysis.measures import RESAMPLING, Select, scored
from nosce.analysis.stats.intervals import nested_bootstrap
from nosce.errors import DataError
from nosce.records import Estimate

DRAWS = 1_000
Columns = Sequence[np.ndarray]  # one table of values a selection
Statistic = Callable[[Columns], float]


@dataclass(frozen=True, kw_only=True)
class Trend:
    """The slope of selections' means along a number, by least squares: per unit of that number.

    E.g. accuracy along log2 of the model's size: points gained by each doubling. A seed needs all selections. Where
    there is a `minus`, one for each point, the slope is that of the differences; of two points at 0 and 1 it is the
    difference of two selections that need not be about the same units.
    """

    points: tuple[tuple[float, Select], ...]
    minus: tuple[Select, ...] = ()

    @property
    def quantity(self) -> str:
        """What the estimate is a number of."""
        return self.points[0][1].quantity

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The slope, each selection counted once however many readings it has.

        Raises:
            DataError: A selection is empty, all stand at one number, or not every point has one to be subtracted.
        """
        x = np.array([at for at, _ in self.points])
        if np.ptp(x) == 0:
            raise DataError(f"a trend of {self.points[0][1].words} was asked for along one number alone; give two.")
        if self.minus and len(self.minus) != len(x):
            raise DataError(f"a trend of {len(x)} points has {len(self.minus)} to be subtracted; give one for each.")
        weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
        weights = np.concatenate([weights, -weights]) if self.minus else weights

        def slope(columns: Columns) -> float:
            return float(sum(w * c.mean() for w, c in zip(weights, columns, strict=True)))

        return jackknifed([*(select for _, select in self.points), *self.minus], slope, readings, unit)


@dataclass(frozen=True, kw_only=True)
class Auc:
    """The area under the ROC curve: how often a reading of `high` lies above one of `low`, ties counted half."""

    high: Select
    low: Select
    quantity: str = "share"

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The area; 0.5 is chance.

        Raises:
            DataError: A selection is empty.
        """
        return jackknifed([self.high, self.low], _area, readings, unit)


@dataclass(frozen=True, kw_only=True)
class Together:
    """How much more often all parts are right than if each came right alone: the whole minus the parts' product."""

    whole: Select
    parts: tuple[Select, ...]
    quantity: str = "share"

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference of shares.

        Raises:
            DataError: A selection is empty.
        """

        def beyond(columns: Columns) -> float:
            return float(columns[0].mean() - np.prod([column.mean() for column in columns[1:]]))

        return jackknifed([self.whole, *self.parts], beyond, readings, unit)


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Spearman's rank correlation of two selections that have one reading a unit each, e.g. count told and count true.

    `other` may be None: then it is the first number in the facet, e.g. 3 of "3 entries".
    """

    one: Select
    other: Select | None = None
    quantity: str = "correlation"

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The correlation; units that only one of the two has are left out.

        Raises:
            DataError: A selection is empty, or does not vary at all.
        """
        rows = scored(self.one, readings)
        if self.other is None:
            pairs = rows.with_columns(other=pl.col("facet").str.extract(r"(\d+)").cast(pl.Float64))
        else:
            mine = scored(self.other, readings).select("seed", "about", other="value")
            pairs = rows.join(mine, on=["seed", "about"], how="inner")
        pairs = pairs.filter(pl.col("other").is_not_null()).sort("seed", "about")
        for (seed,), part in pairs.group_by("seed"):
            if part["value"].n_unique() < 2 or part["other"].n_unique() < 2:
                raise DataError(f"{self.one.words} of seed {seed} does not vary, so nothing can rise with it.")
        parts = {seed: [part["value"].to_numpy(), part["other"].to_numpy()]
                 for (seed,), part in pairs.group_by("seed", maintain_order=True)}  # fmt: skip
        names = {seed: [part["about"].to_numpy()] * 2 for (seed,), part in pairs.group_by("seed", maintain_order=True)}
        return resampled(parts, names, _spearman, unit)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Spearman's rank correlation over conditions: does one score order them as another does?

    E.g. what a probe reads of each row of a table against what can be asked of it. Each pair of selections is one
    condition; its two scores are means over the units that all conditions have.
    """

    pairs: tuple[tuple[Select, Select], ...]
    quantity: str = "correlation"

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean of the seeds' correlations, with an interval over seeds and units.

        Raises:
            DataError: A selection is empty, there are fewer than four conditions, or no seed has them all.
        """
        if len(self.pairs) < 4:
            raise DataError(f"an order of {len(self.pairs)} conditions was asked for; give four or more.")
        tables = [
            scored(select, readings).group_by("seed", "about").agg(pl.col("value").mean().alias(f"{n}"))
            for n, select in enumerate(select for pair in self.pairs for select in pair)
        ]
        whole = tables[0]
        for table in tables[1:]:
            whole = whole.join(table, on=["seed", "about"], how="inner")
        if whole.is_empty():
            raise DataError("no unit of any seed was read in all conditions; run them on the same seeds.")
        columns = [f"{n}" for n in range(len(tables))]
        parts = {seed: part.select(columns).to_numpy()
                 for (seed,), part in whole.sort("seed", "about").group_by("seed", maintain_order=True)}  # fmt: skip
        rng = (RESAMPLING / "rows").numpy()
        drawn = np.array([[_ordered(part[rng.integers(len(part), size=len(part))]) for _ in range(DRAWS)]
                          for part in parts.values()])  # fmt: skip
        values = np.array([_ordered(part) for part in parts.values()])
        low, high, method = _over_seeds(values, drawn)
        return Estimate(value=float(values.mean()), low=low, high=high, n=len(whole) * len(columns),
                        clusters=len(whole), unit=unit, seeds=len(parts),
                        method=f"rank correlation over {len(self.pairs)} conditions; {method}")  # fmt: skip


def _over_seeds(values: np.ndarray, drawn: np.ndarray) -> tuple[float, float, str]:
    """An interval for the mean of the seeds' numbers (S,), of which (S, D) were drawn with other units.

    What seeds differ by is so uncertain that their percentiles cover too little (`nested_bootstrap`), and numbers of
    few values may be equal by chance; so it is Student's t with the seeds' error, or the units' where that is larger.
    """
    if len(values) == 1:
        low, high = np.quantile(drawn[0], [0.025, 0.975]).tolist()
        method = f"percentile bootstrap of units, {DRAWS:,} draws; 1 seed, so nothing is said about other seeds"
        return min(low, float(values[0])), max(high, float(values[0])), method
    error = np.sqrt(max(values.var(ddof=1), drawn.var(axis=1, ddof=1).mean()) / len(values))
    half = float(stats.t.ppf(0.975, len(values) - 1) * error)
    method = f"t over {len(values)} seeds, or over units where these vary more"
    return max(-1.0, float(values.mean()) - half), min(1.0, float(values.mean()) + half), method


def _ordered(table: np.ndarray) -> float:
    means = table.mean(0)
    return _spearman([means[0::2], means[1::2]])


def jackknifed(selects: Sequence[Select], statistic: Statistic, readings: pl.DataFrame, unit: str) -> Estimate:
    """A number made of several selections, for each seed, and how it would move with other units and seeds.

    Raises:
        DataError: A selection is empty, or no seed has them all.
    """
    tables = [scored(select, readings).sort("seed", "about", "item") for select in selects]
    seeds = sorted(set.intersection(*(set(table["seed"].to_list()) for table in tables)))
    if not seeds:
        raise DataError(f"no seed has all of what starts with {selects[0].words}; run them on the same seeds.")
    parts = {seed: [t.filter(pl.col("seed") == seed) for t in tables] for seed in seeds}
    values = {seed: [p["value"].to_numpy() for p in mine] for seed, mine in parts.items()}
    names = {seed: [p["about"].to_numpy() for p in mine] for seed, mine in parts.items()}
    return resampled(values, names, statistic, unit)


def resampled(
    values: dict[int, list[np.ndarray]], names: dict[int, list[np.ndarray]], statistic: Statistic, unit: str
) -> Estimate:
    """The same of tables that are there already: of each seed columns of values, and what each row is about."""
    shares: list[float] = []
    abouts: list[str] = []
    seeds: list[int] = []
    for seed, columns in values.items():
        whole = statistic(columns)
        units = np.unique(np.concatenate(names[seed]))
        without = [
            statistic([c[n != one] for c, n in zip(columns, names[seed], strict=True)])
            for one in units
        ]  # fmt: skip
        moved = len(units) * whole - (len(units) - 1) * np.array(without)
        shares += (moved - moved.mean() + whole).tolist()
        abouts += units.tolist()
        seeds += [seed] * len(units)
    n = sum(len(column) for columns in values.values() for column in columns)
    found = nested_bootstrap(shares, abouts, seeds, seed=RESAMPLING, unit=unit)
    return replace(found, n=n, method=f"jackknifed; {found.method}")


def _area(columns: Columns) -> float:
    high, low = columns
    ranks = stats.rankdata(np.concatenate([high, low]))
    return float((ranks[: len(high)].sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))


def _spearman(columns: Columns) -> float:
    ranks = [stats.rankdata(column) for column in columns]
    if any(np.ptp(r) == 0 for r in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])
