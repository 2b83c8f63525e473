"""From readings to estimates: which rows are meant, and what is said of them, as pure data.

A measure is written into a study beside the claim it decides. It names rows by the columns of the
readings and never touches a model, so that every number can be made again from the table alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import polars as pl

from nosce.analysis.stats.intervals import bca, nested_bootstrap
from nosce.analysis.stats.paired import decide, paired_difference
from nosce.errors import DataError
from nosce.records import Estimate, Outcome, Verdict
from nosce.seeds import Seed

#: Estimates of one table must not depend on which other estimates were made of it before.
RESAMPLING = Seed(0) / "resampling"


class _Shelf:
    """A large table's rows by read-out and metric: a study asks for the same few parts hundreds of times."""

    def __init__(self) -> None:
        self._table = pl.DataFrame()
        self._parts: dict[tuple[str, str], pl.DataFrame] = {}

    def part(self, readings: pl.DataFrame, readout: str, metric: str) -> pl.DataFrame:
        """The rows of a read-out and metric; found once a table, which is known by being the same object."""
        if len(readings) < LARGE:
            return readings.filter(pl.col("readout") == readout, pl.col("metric") == metric)
        if self._table is not readings:
            self._table, self._parts = readings, {}
        if (readout, metric) not in self._parts:
            self._parts[readout, metric] = readings.filter(pl.col("readout") == readout, pl.col("metric") == metric)
        return self._parts[readout, metric]


LARGE = 200_000  # rows from which on looking through all of them is what takes the time
_SHELF = _Shelf()


@dataclass(frozen=True, kw_only=True)
class Select:
    """Rows of the readings: those whose columns have these values; None or () takes any.

    `step` is the last one of a stage, or a number of optimizer steps.
    """

    readout: str
    metric: str = "exact"
    arm: str | None = None
    split: Literal["seen", "unseen", "taught"] | None = None
    facets: tuple[str, ...] = ()
    stage: str | None = None
    step: int | Literal["last", "every"] = "last"
    quantity: str = "share"  # what the metric's value is: a share of 0 to 1, or e.g. "nats"

    def rows(self, readings: pl.DataFrame) -> pl.DataFrame:
        """The rows meant; may be none."""
        wanted = {"arm": self.arm, "split": self.split, "stage": self.stage}
        table = _SHELF.part(readings, self.readout, self.metric)
        table = table.filter(*(pl.col(name) == value for name, value in wanted.items() if value is not None))
        if self.facets:
            table = table.filter(pl.col("facet").is_in(self.facets))
        if self.step == "last":
            return table.filter(pl.col("step") == pl.col("step").max().over("arm", "seed", "stage"))
        return table if self.step == "every" else table.filter(pl.col("step") == self.step)

    @property
    def words(self) -> str:
        """The selection in words, for messages."""
        few = self.facets if len(self.facets) < 4 else (self.facets[0], f"{len(self.facets) - 1} more")
        parts = [self.arm, self.stage, self.split, self.readout, self.metric, " + ".join(few)]
        return " ".join(p for p in parts if p)


class Measure(Protocol):
    """What a claim asks of a measure."""

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The estimate from a table of readings."""
        ...


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean over everything selected: items within people within seeds."""

    select: Select

    @property
    def quantity(self) -> str:
        """What the estimate is a number of: "share", or e.g. "nats"."""
        return self.select.quantity

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean with a nested bootstrap interval.

        Raises:
            DataError: Nothing was selected, or a value is missing (missing is not zero).
        """
        rows = scored(self.select, readings)
        return nested_bootstrap(rows["value"].to_numpy(), rows["about"].to_list(), rows["seed"].to_list(),
                                seed=RESAMPLING, unit=unit, bounds=_bounds(self.select))  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Became:
    """The share of replies that had one outcome, e.g. that were no answer at all."""

    select: Select
    outcome: Outcome
    quantity: str = "share"

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The share with a nested bootstrap interval.

        Raises:
            DataError: Nothing was selected, or a reading has no outcome (missing is not zero).
        """
        rows = self.select.rows(readings)
        if rows.is_empty():
            raise DataError(f"no reading is there for {self.select.words}; run the arms and read-outs it needs.")
        if missing := rows["outcome"].null_count():
            raise DataError(
                f"{missing:,} of {len(rows):,} readings for {self.select.words} have no outcome, and missing is not "
                "another one; take a metric of replies."
            )
        became = (rows["outcome"] == self.outcome).cast(pl.Float64)
        return nested_bootstrap(became.to_numpy(), rows["about"].to_list(), rows["seed"].to_list(), seed=RESAMPLING,
                                unit=unit, bounds=(0.0, 1.0))  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OneSeed:
    """The mean of one training seed's selection, with a BCa interval over what it is about; see `intervals.bca`."""

    select: Select
    seed: int

    @property
    def quantity(self) -> str:
        """What the estimate is a number of."""
        return self.select.quantity

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean and its interval, which is about this one model alone.

        Raises:
            DataError: Nothing was selected, or a value is missing.
        """
        rows = scored(self.select, readings.filter(pl.col("seed") == self.seed))
        return bca(rows["value"].to_numpy(), rows["about"].to_list(), seed=RESAMPLING, unit=unit)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The mean of one selection minus that of another, paired by person and seed."""

    one: Select
    other: Select

    @property
    def quantity(self) -> str:
        """What the estimate is a number of: "share", or e.g. "nats"."""
        return self.one.quantity

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference with a nested bootstrap interval of paired differences.

        Raises:
            DataError: A side is empty, or the two are about different people.
        """
        one, other = scored(self.one, readings), scored(self.other, readings)
        bounds = (-1.0, 1.0) if _bounds(self.one) and _bounds(self.other) else None
        return paired_difference(
            one["value"].to_numpy(), one["about"].to_list(), one["seed"].to_list(),
            other["value"].to_numpy(), other["about"].to_list(), other["seed"].to_list(),
            seed=RESAMPLING, unit=unit, bounds=bounds)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A weighted sum of selections' means, paired by whom they are about and by seed.

    E.g. `(1, a), (-1, b), (-1, c), (1, d)`: by how much a lies above b more than c does above d.
    """

    terms: tuple[tuple[float, Select], ...]

    @property
    def quantity(self) -> str:
        """What the estimate is a number of: "share", or e.g. "nats"."""
        return self.terms[0][1].quantity

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The sum with a nested bootstrap interval, over those whom all selections are about.

        Raises:
            DataError: A selection is empty, or they share nobody.
        """
        whole: pl.DataFrame | None = None
        for number, (weight, select) in enumerate(self.terms):
            rows = scored(select, readings)
            mine = rows.group_by("seed", "about").agg((pl.col("value").mean() * weight).alias(f"term {number}"),
                                                      pl.len().alias(f"n {number}"))  # fmt: skip
            whole = mine if whole is None else whole.join(mine, on=["seed", "about"], how="inner")
        assert whole is not None
        if whole.is_empty():
            raise DataError(
                f"{self.terms[0][1].words} and what it is held against share nobody; read them on the same."
            )
        whole = whole.sort("seed", "about")
        total = whole.select(pl.sum_horizontal(pl.col("^term .*$"))).to_series()
        found = nested_bootstrap(total.to_numpy(), whole["about"].to_list(), whole["seed"].to_list(), seed=RESAMPLING,
                                 unit=unit)  # fmt: skip
        n = whole.select(pl.sum_horizontal(pl.col("^n .*$"))).to_series().sum()
        return replace(found, n=int(n), method=f"paired; {found.method}")


@dataclass(frozen=True, kw_only=True)
class Room:
    """The share of the room above its floor that one score takes up, minus the share that another takes up of its own.

    Of a floor of 40 % a score of 70 % takes up half. Two scores with unequal floors cannot be held together by what
    they gain: less can be gained above the higher one.
    """

    one: Select
    floor: Select
    other: Select
    others_floor: Select
    quantity: str = "share"

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference of shares, with a nested bootstrap of what each unit moves it by (the delta method).

        Raises:
            DataError: A selection is empty, a floor leaves no room, or the four share nobody.
        """
        selects = {"a": self.one, "f": self.floor, "b": self.other, "g": self.others_floor}
        whole: pl.DataFrame | None = None
        for name, select in selects.items():
            mine = scored(select, readings).group_by("seed", "about").agg(pl.col("value").mean().alias(name))
            whole = mine if whole is None else whole.join(mine, on=["seed", "about"], how="inner")
        assert whole is not None
        means = whole.group_by("seed").agg(pl.col(*selects).mean())
        if whole.is_empty() or not (means.select(pl.max_horizontal("f", "g")).to_series() < 1).all():
            raise DataError(f"{self.one.words} and what it is held against share nobody, or a floor leaves no room.")
        whole = whole.sort("seed", "about")
        moved = {n: pl.col(n) - pl.col(n).mean().over("seed") for n in selects}
        shares = [_taken(score, floor, moved) for score, floor in (("a", "f"), ("b", "g"))]
        values = whole.select(shares[0] - shares[1]).to_series()
        found = nested_bootstrap(values.to_numpy(), whole["about"].to_list(), whole["seed"].to_list(), seed=RESAMPLING,
                                 unit=unit)  # fmt: skip
        return replace(found, method=f"paired, linearised; {found.method}")


def _taken(score: str, floor: str, moved: dict[str, pl.Expr]) -> pl.Expr:
    """(A - F) / (1 - F) of a seed's means, with its first-order change by each unit's own score and floor."""
    mean, least = (pl.col(name).mean().over("seed") for name in (score, floor))
    room = 1 - least
    return (mean - least + moved[score]) / room - moved[floor] * (1 - mean) / room**2


@dataclass(frozen=True, kw_only=True)
class Least:
    """The one of several measures whose interval begins lowest: all of them lie above where it does.

    No correction is needed: a claim that wants every one of them above is refuted by any (Berger 1982,
    Technometrics 24, the intersection-union test).
    """

    measures: tuple[Measure, ...]

    @property
    def quantity(self) -> str:
        """What the estimate is a number of."""
        return str(getattr(self.measures[0], "quantity", "share"))

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The estimate that begins lowest; its method says which it was.

        Raises:
            DataError: What any of the measures refuses.
        """
        found = [(measure, measure.of(readings, unit)) for measure in self.measures]
        measure, least = min(found, key=lambda pair: -float("inf") if pair[1].low is None else pair[1].low)
        against = measure.other.words if isinstance(measure, Difference) else ""
        return replace(
            least, method=f"the least of {len(found)}{', against ' + against if against else ''}; {least.method}"
        )


def _bounds(select: Select) -> tuple[float, float] | None:
    return (0.0, 1.0) if select.quantity == "share" else None


def scored(select: Select, readings: pl.DataFrame) -> pl.DataFrame:
    """The rows meant, every one with a value.

    Raises:
        DataError: There is none, or a value is missing (missing is not zero).
    """
    rows = select.rows(readings)
    if rows.is_empty():
        raise DataError(f"no reading is there for {select.words}; run the arms and read-outs it needs.")
    missing = rows["value"].null_count()
    if missing:
        raise DataError(
            f"{missing:,} of {len(rows):,} readings for {select.words} have no value, and missing is not zero; "
            "take a metric that every item has."
        )
    return rows


@dataclass(frozen=True, kw_only=True)
class Need:
    """What must hold before a claim may be judged, e.g. that facts were memorised at all."""

    text: str
    measure: Measure
    above: float


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published claim, how it is measured here, and what would refute it.

    The claim holds when the whole interval lies on the asked side of `threshold`, fails when the whole
    interval lies on the other side, and is undecided otherwise, or when a need is not met.
    """

    id: str
    text: str
    source: str
    measure: Measure
    threshold: float
    direction: Literal["above", "below"] = "above"
    paper_value: float | None = None
    needs: tuple[Need, ...] = ()

    @property
    def criterion(self) -> str:
        """When the claim holds, in words."""
        return f"the whole 95 % interval lies {self.direction} {self.threshold:g}"

    def judge(self, readings: pl.DataFrame, unit: str) -> Verdict:
        """The verdict from a table of readings; readings that are not there leave it undecided."""
        # A number that is no share is shown with its own unit; `why` says what was resampled.
        quantity = getattr(self.measure, "quantity", "share")  # a user's own measure need not say
        shown = unit if quantity == "share" else quantity
        try:
            found = self.measure.of(readings, unit)
            unmet = [why for need in self.needs if (why := _unmet(need, readings, unit))]
        except DataError as error:
            return Verdict(self.id, self.text, self.source, self.criterion, self.paper_value, None, None, None, 0,
                           shown, "undecided", str(error))  # fmt: skip
        shown = found.unit if quantity == "share" else shown
        verdict = "undecided" if unmet else decide(found, self.threshold, self.direction)
        method = f"{found.method}; {found.n:,} readings"
        if found.low is None:
            method = f"there is no interval ({method})"
        elif verdict == "undecided":
            method = f"the interval reaches to both sides of {self.threshold:g} ({method})"
        why = "; ".join(unmet) if unmet else method
        return Verdict(self.id, self.text, self.source, self.criterion, self.paper_value, found.value, found.low,
                       found.high, found.clusters, shown, verdict, why)  # fmt: skip


def _unmet(need: Need, readings: pl.DataFrame, unit: str) -> str | None:
    found = need.measure.of(readings, unit)
    if found.value > need.above:
        return None
    return f"not judged, since {need.text} is {found.value:.1%} and must be above {need.above:.0%}"
