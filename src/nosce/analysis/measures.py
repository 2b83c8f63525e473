"""From readings to estimates: which rows are meant, and what is said of them, as pure data.

A measure is written into a study beside the claim it decides. It names rows by the columns of the
readings and never touches a model, so that every number can be made again from the table alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import polars as pl

from nosce.analysis.stats.intervals import bca_interval, nested_bootstrap
from nosce.analysis.stats.paired import decide, paired_difference
from nosce.errors import DataError
from nosce.records import Estimate, Outcome, Verdict
from nosce.seeds import Seed

#: Estimates of one table must not depend on which other estimates were made of it before.
RESAMPLING_SEED = Seed(0) / "resampling"


class _SelectionCache:
    """A large table's rows by read-out and metric: a study asks for the same few parts hundreds of times."""

    def __init__(self) -> None:
        self._readings = pl.DataFrame()
        self._rows_by_metric: dict[tuple[str, str], pl.DataFrame] = {}

    def metric_rows(self, readings: pl.DataFrame, evaluation: str, metric: str) -> pl.DataFrame:
        """The rows of a read-out and metric; found once a table, which is known by being the same object."""
        if len(readings) < CACHE_MIN_ROWS:
            return readings.filter(pl.col("evaluation") == evaluation, pl.col("metric") == metric)
        if self._readings is not readings:
            self._readings, self._rows_by_metric = readings, {}
        if (evaluation, metric) not in self._rows_by_metric:
            self._rows_by_metric[evaluation, metric] = readings.filter(
                pl.col("evaluation") == evaluation, pl.col("metric") == metric
            )
        return self._rows_by_metric[evaluation, metric]


CACHE_MIN_ROWS = 200_000  # rows from which on looking through all of them is what takes the time
_SELECTION_CACHE = _SelectionCache()


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Rows of the readings: those whose columns have these values; None or () takes any.

    `step` is the last one of a stage, or a number of optimizer steps.
    """

    evaluation: str
    metric: str = "exact"
    arm: str | None = None
    split: Literal["seen", "unseen", "taught"] | None = None
    attributes: tuple[str, ...] = ()
    stage: str | None = None
    step: int | Literal["last", "every"] = "last"
    quantity: str = "share"  # what the metric's value is: a share of 0 to 1, or e.g. "nats"

    def rows(self, readings: pl.DataFrame) -> pl.DataFrame:
        """The rows meant; may be none."""
        column_values = {"arm": self.arm, "split": self.split, "stage": self.stage}
        table = _SELECTION_CACHE.metric_rows(readings, self.evaluation, self.metric)
        table = table.filter(*(pl.col(name) == value for name, value in column_values.items() if value is not None))
        if self.attributes:
            table = table.filter(pl.col("attribute").is_in(self.attributes))
        if self.step == "last":
            return table.filter(pl.col("step") == pl.col("step").max().over("arm", "seed", "stage"))
        return table if self.step == "every" else table.filter(pl.col("step") == self.step)

    @property
    def description(self) -> str:
        """The selection in words, for messages."""
        shown_attributes = (
            self.attributes if len(self.attributes) < 4 else (self.attributes[0], f"{len(self.attributes) - 1} more")
        )
        parts = [self.arm, self.stage, self.split, self.evaluation, self.metric, " + ".join(shown_attributes)]
        return " ".join(p for p in parts if p)


class Measure(Protocol):
    """What a claim asks of a measure."""

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The estimate from a table of readings."""
        ...


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean over everything selected: items within people within seeds."""

    selection: Selection

    @property
    def quantity(self) -> str:
        """What the estimate is a number of: "share", or e.g. "nats"."""
        return self.selection.quantity

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean with a nested bootstrap interval.

        Raises:
            DataError: Nothing was selected, or a value is missing (missing is not zero).
        """
        rows = scored_rows(self.selection, readings)
        return nested_bootstrap(
            rows["value"].to_numpy(),
            rows["entity"].to_list(),
            rows["seed"].to_list(),
            seed=RESAMPLING_SEED,
            unit=unit,
            bounds=_bounds(self.selection),
        )


@dataclass(frozen=True, kw_only=True)
class OutcomeRate:
    """The share of replies that had one outcome, e.g. that were no answer at all."""

    selection: Selection
    outcome: Outcome
    quantity: str = "share"

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The share with a nested bootstrap interval.

        Raises:
            DataError: Nothing was selected, or a reading has no outcome (missing is not zero).
        """
        rows = self.selection.rows(readings)
        if rows.is_empty():
            raise DataError(
                f"no reading is there for {self.selection.description}; run the arms and read-outs it needs."
            )
        if missing := rows["outcome"].null_count():
            raise DataError(
                f"{missing:,} of {len(rows):,} readings for {self.selection.description} have no outcome, and missing "
                "is not another one; take a metric of replies."
            )
        has_outcome = (rows["outcome"] == self.outcome).cast(pl.Float64)
        return nested_bootstrap(
            has_outcome.to_numpy(),
            rows["entity"].to_list(),
            rows["seed"].to_list(),
            seed=RESAMPLING_SEED,
            unit=unit,
            bounds=(0.0, 1.0),
        )


@dataclass(frozen=True, kw_only=True)
class SingleSeedMean:
    """The mean of one training seed's selection, with a BCa interval over what it is about; see `intervals.bca`."""

    selection: Selection
    seed: int

    @property
    def quantity(self) -> str:
        """What the estimate is a number of."""
        return self.selection.quantity

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean and its interval, which is about this one model alone.

        Raises:
            DataError: Nothing was selected, or a value is missing.
        """
        rows = scored_rows(self.selection, readings.filter(pl.col("seed") == self.seed))
        return bca_interval(rows["value"].to_numpy(), rows["entity"].to_list(), seed=RESAMPLING_SEED, unit=unit)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The mean of one selection minus that of another, paired by person and seed."""

    a: Selection
    b: Selection

    @property
    def quantity(self) -> str:
        """What the estimate is a number of: "share", or e.g. "nats"."""
        return self.a.quantity

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference with a nested bootstrap interval of paired differences.

        Raises:
            DataError: A side is empty, or the two are about different people.
        """
        rows_a, rows_b = scored_rows(self.a, readings), scored_rows(self.b, readings)
        bounds = (-1.0, 1.0) if _bounds(self.a) and _bounds(self.b) else None
        return paired_difference(
            rows_a["value"].to_numpy(),
            rows_a["entity"].to_list(),
            rows_a["seed"].to_list(),
            rows_b["value"].to_numpy(),
            rows_b["entity"].to_list(),
            rows_b["seed"].to_list(),
            seed=RESAMPLING_SEED,
            unit=unit,
            bounds=bounds,
        )


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A weighted sum of selections' means, paired by whom they are about and by seed.

    E.g. `(1, a), (-1, b), (-1, c), (1, d)`: by how much a lies above b more than c does above d.
    """

    terms: tuple[tuple[float, Selection], ...]

    @property
    def quantity(self) -> str:
        """What the estimate is a number of: "share", or e.g. "nats"."""
        return self.terms[0][1].quantity

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The sum with a nested bootstrap interval, over those whom all selections are about.

        Raises:
            DataError: A selection is empty, or they share nobody.
        """
        paired: pl.DataFrame | None = None
        for term_index, (weight, selection) in enumerate(self.terms):
            rows = scored_rows(selection, readings)
            term_means = rows.group_by("seed", "entity").agg(
                (pl.col("value").mean() * weight).alias(f"term {term_index}"), pl.len().alias(f"n {term_index}")
            )
            paired = term_means if paired is None else paired.join(term_means, on=["seed", "entity"], how="inner")
        assert paired is not None
        if paired.is_empty():
            raise DataError(
                f"{self.terms[0][1].description} and what it is held against share nobody; read them on the same."
            )
        paired = paired.sort("seed", "entity")
        total = paired.select(pl.sum_horizontal(pl.col("^term .*$"))).to_series()
        interval = nested_bootstrap(
            total.to_numpy(), paired["entity"].to_list(), paired["seed"].to_list(), seed=RESAMPLING_SEED, unit=unit
        )
        n = paired.select(pl.sum_horizontal(pl.col("^n .*$"))).to_series().sum()
        return replace(interval, n=int(n), method=f"paired; {interval.method}")


@dataclass(frozen=True, kw_only=True)
class NormalizedGain:
    """The share of the room above its floor that one score takes up, minus the share that another takes up of its own.

    Of a floor of 40 % a score of 70 % takes up half. Two scores with unequal floors cannot be held together by what
    they gain: less can be gained above the higher one.
    """

    a: Selection
    a_floor: Selection
    b: Selection
    b_floor: Selection
    quantity: str = "share"

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference of shares, with a nested bootstrap of what each unit moves it by (the delta method).

        Raises:
            DataError: A selection is empty, a floor leaves no room, or the four share nobody.
        """
        selections = {"a": self.a, "f": self.a_floor, "b": self.b, "g": self.b_floor}
        paired: pl.DataFrame | None = None
        for name, select in selections.items():
            unit_means = (
                scored_rows(select, readings).group_by("seed", "entity").agg(pl.col("value").mean().alias(name))
            )
            paired = unit_means if paired is None else paired.join(unit_means, on=["seed", "entity"], how="inner")
        assert paired is not None
        means = paired.group_by("seed").agg(pl.col(*selections).mean())
        if paired.is_empty() or not (means.select(pl.max_horizontal("f", "g")).to_series() < 1).all():
            raise DataError(
                f"{self.a.description} and what it is held against share nobody, or a floor leaves no room."
            )
        paired = paired.sort("seed", "entity")
        deviations = {n: pl.col(n) - pl.col(n).mean().over("seed") for n in selections}
        gains = [_linearized_gain(score, floor, deviations) for score, floor in (("a", "f"), ("b", "g"))]
        values = paired.select(gains[0] - gains[1]).to_series()
        interval = nested_bootstrap(
            values.to_numpy(), paired["entity"].to_list(), paired["seed"].to_list(), seed=RESAMPLING_SEED, unit=unit
        )
        return replace(interval, method=f"paired, linearised; {interval.method}")


def _linearized_gain(score: str, floor: str, deviations: dict[str, pl.Expr]) -> pl.Expr:
    """(A - F) / (1 - F) of a seed's means, with its first-order change by each unit's own score and floor."""
    mean, mean_floor = (pl.col(name).mean().over("seed") for name in (score, floor))
    headroom = 1 - mean_floor
    return (mean - mean_floor + deviations[score]) / headroom - deviations[floor] * (1 - mean) / headroom**2


@dataclass(frozen=True, kw_only=True)
class MinOf:
    """The one of several measures whose interval begins lowest: all of them lie above where it does.

    No correction is needed: a claim that wants every one of them above is refuted by any (Berger 1982,
    Technometrics 24, the intersection-union test).
    """

    measures: tuple[Measure, ...]

    @property
    def quantity(self) -> str:
        """What the estimate is a number of."""
        return str(getattr(self.measures[0], "quantity", "share"))

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The estimate that begins lowest; its method says which it was.

        Raises:
            DataError: What any of the measures refuses.
        """
        estimates = [(measure, measure.estimate(readings, unit)) for measure in self.measures]
        measure, lowest = min(estimates, key=lambda pair: -float("inf") if pair[1].low is None else pair[1].low)
        reference = measure.b.description if isinstance(measure, Difference) else ""
        return replace(
            lowest,
            method=f"the least of {len(estimates)}{', against ' + reference if reference else ''}; {lowest.method}",
        )


def _bounds(selection: Selection) -> tuple[float, float] | None:
    return (0.0, 1.0) if selection.quantity == "share" else None


def scored_rows(selection: Selection, readings: pl.DataFrame) -> pl.DataFrame:
    """The rows meant, every one with a value.

    Raises:
        DataError: There is none, or a value is missing (missing is not zero).
    """
    rows = selection.rows(readings)
    if rows.is_empty():
        raise DataError(f"no reading is there for {selection.description}; run the arms and read-outs it needs.")
    missing = rows["value"].null_count()
    if missing:
        raise DataError(
            f"{missing:,} of {len(rows):,} readings for {selection.description} have no value, and missing is not "
            "zero; take a metric that every item has."
        )
    return rows


@dataclass(frozen=True, kw_only=True)
class Precondition:
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
    preconditions: tuple[Precondition, ...] = ()

    @property
    def criterion(self) -> str:
        """When the claim holds, in words."""
        return f"the whole 95 % interval lies {self.direction} {self.threshold:g}"

    def judge(self, readings: pl.DataFrame, unit: str) -> Verdict:
        """The verdict from a table of readings; readings that are not there leave it undecided."""
        # A number that is no share is shown with its own unit; `why` says what was resampled.
        quantity = getattr(self.measure, "quantity", "share")  # a user's own measure need not say
        shown_unit = unit if quantity == "share" else quantity
        try:
            estimate = self.measure.estimate(readings, unit)
            unmet = [why for precondition in self.preconditions if (why := _unmet_reason(precondition, readings, unit))]
        except DataError as error:
            return Verdict(
                self.id,
                self.text,
                self.source,
                self.criterion,
                self.paper_value,
                None,
                None,
                None,
                0,
                shown_unit,
                "undecided",
                str(error),
            )
        shown_unit = estimate.unit if quantity == "share" else shown_unit
        verdict = "undecided" if unmet else decide(estimate, self.threshold, self.direction)
        method = f"{estimate.method}; {estimate.n:,} readings"
        if estimate.low is None:
            method = f"there is no interval ({method})"
        elif verdict == "undecided":
            method = f"the interval reaches to both sides of {self.threshold:g} ({method})"
        why = "; ".join(unmet) if unmet else method
        return Verdict(
            self.id,
            self.text,
            self.source,
            self.criterion,
            self.paper_value,
            estimate.value,
            estimate.low,
            estimate.high,
            estimate.clusters,
            shown_unit,
            verdict,
            why,
        )


def _unmet_reason(precondition: Precondition, readings: pl.DataFrame, unit: str) -> str | None:
    estimate = precondition.measure.estimate(readings, unit)
    if estimate.value > precondition.above:
        return None
    return f"not judged, since {precondition.text} is {estimate.value:.1%} and must be above {precondition.above:.0%}"
