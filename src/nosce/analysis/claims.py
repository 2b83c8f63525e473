"""Claims: what a paper says, how a study measures it, and the rule that decides."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import polars as pl

from nosce.analysis.measures import Measure
from nosce.analysis.stats.level import interval_level
from nosce.analysis.stats.paired import Direction
from nosce.analysis.stats.seed_groups import MIN_GROUPED_SEEDS, SeedGroups, decide_by_groups
from nosce.errors import DataError, SpecError
from nosce.records import Decision, Estimate, Verdict
from nosce.store.spec import LATER

LEVEL_TOLERANCE = 1e-9  # two levels that differ by less are one
FEW_UNITS_SLACK = 0.15  # of a share, by which the interval of few units may lie lower than the estimate must


@dataclass(frozen=True, kw_only=True)
class Precondition:
    """What must hold before a claim may be judged, e.g. that the model memorised the facts at all.

    Args:
        text: What is measured, as the subject of a sentence, e.g. "recall of arm a".
        measure: The measure.
        above: The value that the point estimate must exceed.
        by_interval: The whole interval must exceed it, as for a claim. For what a few lucky strings would meet.
    """

    text: str
    measure: Measure
    above: float
    by_interval: bool = False

    @property
    def shown_threshold(self) -> str:
        """The threshold as the estimate is shown, e.g. "95%"."""
        return _shown_threshold(self.measure, self.above)

    def unmet_reason(self, readings: pl.DataFrame, unit: str) -> str | None:
        """Why the claim may not be judged; None where the precondition holds.

        Raises:
            DataError: The measure has no estimate.
        """
        estimate = self.measure.estimate(readings, unit)
        shown, above = _shown(self.measure, estimate.value), self.shown_threshold
        if not self.by_interval:
            return None if estimate.value > self.above else f"{self.text} is {shown} and must be above {above}"
        if estimate.low is None or estimate.high is None:
            return f"{self.text} is {shown} without an interval, and the interval must lie above {above}"
        if estimate.low > self.above:
            return None
        low, high = (_shown(self.measure, end).split()[0] for end in (estimate.low, estimate.high))
        return f"{self.text} is {shown} [{low}, {high}] and the whole interval must lie above {above}"


def needs_of_few(need: Precondition, interval_above: float | None = None) -> tuple[Precondition, Precondition]:
    """A need of units that are too few for their whole interval to lie above its threshold, as two needs.

    The estimate must exceed the threshold, and the interval a lower one, which chance does not meet either: of 32
    people who are all recalled the interval reaches down to 89 %.

    Args:
        need: The need.
        interval_above: What the interval must exceed; None: 15 points less than the threshold, and half of it at least.
    """
    if interval_above is None:
        interval_above = max(need.above - FEW_UNITS_SLACK, need.above / 2)
    return replace(need, by_interval=False), replace(need, above=interval_above, by_interval=True)


def _shown(measure: Measure, value: float) -> str:
    """A value as the estimate is shown: a share in percent, a difference of shares in points."""
    if measure.quantity != "share":
        return f"{value:.3g}"
    return f"{100 * value:.1f} points" if measure.is_difference else f"{value:.1%}"


def _shown_threshold(measure: Measure, value: float) -> str:
    """A threshold of a precondition as `_shown` shows values."""
    if measure.quantity != "share":
        return f"{value:g}"
    return f"{100 * value:g} points" if measure.is_difference else f"{value:.0%}"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published claim, how it is measured here, and what would refute it.

    The claim holds when the whole interval lies on the stated side of the threshold, and fails when the whole
    interval lies on the other side. It is undecided otherwise, or when a precondition does not hold, or when training
    seeds form two groups on both sides of the threshold, of which a mean says nothing.

    A claim that two things are alike has the direction "within": it holds when the whole interval lies between minus
    the threshold and the threshold, and fails when the whole interval lies beyond one of them. The threshold is the
    margin of an equivalence test by two one-sided tests, each at 2.5 % since the interval is the 95 % one (Schuirmann
    1987, J. Pharmacokinet. Biopharm. 15, 657-680).

    Args:
        id: Name of the claim, unique within the study.
        text: The claim in one sentence.
        source: The section or figure of the paper that makes the claim, or "ours".
        measure: The number that decides the claim.
        threshold: The value that the interval is compared with.
        direction: The side of the threshold on which the claim holds, or "within" for between its two signs.
        paper_value: The paper's number; None where the paper gives none.
        preconditions: What must hold before the claim may be judged.
        is_precondition: Whether other claims rest on this one, which is no finding itself: it is shown apart and not
            counted with them.

    Raises:
        SpecError: An equivalence margin that is not above 0.
    """

    id: str
    text: str
    source: str
    measure: Measure
    threshold: float
    direction: Direction = "above"
    paper_value: float | None = None
    preconditions: tuple[Precondition, ...] = ()
    is_precondition: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        if self.direction == "within" and not self.threshold > 0:
            raise SpecError(
                f"the claim {self.id!r} says that two things are alike within a margin of {self.threshold:g}; take a "
                "margin above 0."
            )

    @property
    def criterion(self) -> str:
        """When the claim holds, in words; the level is that of `interval_level`."""
        return f"the whole {100 * interval_level():.3g} % interval lies {self.direction} {self._threshold_text}"

    @property
    def _threshold_text(self) -> str:
        """The threshold as the estimate is shown: a share in percent, a difference of shares in points."""
        sign = "±" if self.direction == "within" else ""
        if self.measure.quantity != "share":
            return f"{sign}{self.threshold:g}"
        return f"{sign}{100 * self.threshold:g} {'points' if self.measure.is_difference else '%'}"

    def judge(self, readings: pl.DataFrame, unit: str) -> Verdict:
        """The verdict from a table of readings; missing readings leave the claim undecided."""
        # A number that is no share is shown with its own unit; `why` names the resampled unit.
        quantity = self.measure.quantity
        unmet, unknown = self._unmet_reasons(readings, unit)
        not_judged = f"not judged, since {'; '.join(unmet)}" if unmet else unknown
        try:
            estimate = self._estimate(readings, unit)
        except DataError as error:
            shown_unit = unit if quantity == "share" else quantity
            return self._verdict(None, shown_unit, "undecided", not_judged if unmet else str(error))
        decision, groups = decide_by_groups(estimate, self.threshold, self.direction, self.measure.value_range)
        why = not_judged or self._method(estimate, decision, groups)
        unit = estimate.unit if quantity == "share" else quantity
        verdict = self._verdict(estimate, unit, "undecided" if not_judged else decision, why)
        return replace(verdict, seeds=estimate.seeds, seed_groups=self._seed_groups_text(estimate, groups))

    def _estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The measure's estimate, refused where its interval has another level than was asked for."""
        estimate = self.measure.estimate(readings, unit)
        if abs(estimate.level - interval_level()) > LEVEL_TOLERANCE:
            raise DataError(
                f"an interval of {100 * interval_level():.3g} % was asked for, and {type(self.measure).__name__} gives "
                f"one of {100 * estimate.level:.3g} %; let it take its level from nosce.interval_level()."
            )
        return estimate

    def _unmet_reasons(self, readings: pl.DataFrame, unit: str) -> tuple[list[str], str]:
        """The preconditions that do not hold, and why the first one is not known that is not; "" where all are.

        Of several thresholds of one measure, e.g. of its estimate and of its interval, the first unmet one counts.
        """
        unmet: list[str] = []
        unknown, said = "", list[Measure]()
        for precondition in self.preconditions:
            if precondition.measure in said:
                continue
            try:
                reason = precondition.unmet_reason(readings, unit)
            except DataError as error:
                unknown = unknown or f"not judged, since {precondition.text} is not known: {error}"
                continue
            if reason:
                unmet.append(reason)
                said.append(precondition.measure)
        return unmet, unknown

    def _method(self, estimate: Estimate, decision: Decision, groups: SeedGroups | None) -> str:
        """How the interval was computed, and why it decides nothing where that is so."""
        method = f"{estimate.method}; {estimate.n:,} readings"
        if estimate.low is None:
            return f"there is no interval ({method})"
        if groups is not None and groups.on_both_sides(self.threshold, self.direction):
            sides = f"the seeds form two groups ({self._groups_text(groups)}) on both sides of {self._threshold_text}"
            return f"{sides}, so that the mean of all is true of neither ({method})"
        if decision == "undecided" and self.direction == "within":
            return f"the interval lies neither within {self._threshold_text} nor wholly beyond ({method})"
        if decision == "undecided":
            return f"the interval reaches to both sides of {self._threshold_text} ({method})"
        return method

    def _seed_groups_text(self, estimate: Estimate, groups: SeedGroups | None) -> str:
        """What can be said of groups of seeds; "" where nothing speaks for two, and for one seed."""
        parts = [estimate.seed_note] if estimate.seed_note else []
        n_seeds = len(estimate.seed_values)
        if groups is not None:
            parts.append(
                f"The seeds form two groups: {self._groups_text(groups)}. The interval is that of the mean over "
                "trainings of both kinds, which is the value of neither."
            )
        elif 1 < n_seeds < MIN_GROUPED_SEEDS:
            parts.append(f"{n_seeds} seeds cannot tell two groups from one; {MIN_GROUPED_SEEDS} or more can.")
        return " ".join(parts)

    def _groups_text(self, groups: SeedGroups) -> str:
        """How many seeds lie where, e.g. "3 at about 2.1% and 2 at about 97.4%"."""
        low, high = (_shown(self.measure, mean) for mean in (groups.low, groups.high))
        return f"{groups.n_low} at about {low} and {groups.n_high} at about {high}"

    def _verdict(self, estimate: Estimate | None, unit: str, decision: Decision, why: str) -> Verdict:
        return Verdict(
            id=self.id,
            text=self.text,
            source=self.source,
            criterion=self.criterion,
            paper_value=self.paper_value,
            estimate=None if estimate is None else estimate.value,
            low=None if estimate is None else estimate.low,
            high=None if estimate is None else estimate.high,
            n=0 if estimate is None else estimate.clusters,
            unit=unit,
            verdict=decision,
            why=why,
            is_difference=self.measure.is_difference,
            is_precondition=self.is_precondition,
        )
