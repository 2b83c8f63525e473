"""Worlds of claims whose measure is a weighted sum of means: a difference, a contrast, a slope, the least of several.

The means of a world follow from the claim itself. Of all means that give the measure the wanted value and let every
precondition hold, those nearest to the middle of their range are taken: a linear program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from nosce.analysis.bench.planted_readings import resolved
from nosce.analysis.calibration import LabelMatchedContrast, LabelMatchedDifference
from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.jackknife import Slope
from nosce.analysis.measures import ComplementShare, Contrast, Difference, Mean, Measure, MinOf, OfUnit
from nosce.analysis.selection import Selection
from nosce.analysis.stats.arrays import FloatArray
from nosce.errors import SpecError
from nosce.records import Outcome

CellKey = tuple[Selection, Outcome | None]  # the cell, and the outcome whose share its mean is
SHARE_ENDS = (0.004, 0.996)  # means of planted shares lie between
FAR = 5.0  # means of other quantities lie at most so far from 0
NEED_MARGIN = 0.08  # by which a precondition holds, where there is room
INTERVAL_NEED_MARGIN, INTERVAL_NEED_PLACE = 0.25, 0.9  # the same where its whole interval must lie above, and at most
PLACE = 0.75  # of the way from a threshold to the farthest value that can be planted


@dataclass(frozen=True)
class LinearForm:
    """A weighted sum of the means of cells, and a constant."""

    weights: dict[CellKey, float]
    constant: float = 0.0


def linear_forms(measure: Measure) -> list[LinearForm] | None:
    """The sums that a measure is, or is the least of; None where it is no such thing."""
    if isinstance(measure, MinOf):
        parts = [linear_forms(one) for one in measure.measures]
        return [form for part in parts if part for form in part] if all(parts) else None
    if isinstance(measure, OfUnit):
        return linear_forms(measure.measure)
    if isinstance(measure, Mean):
        return [_form([(1.0, measure.selection)], measure.outcome)]
    if isinstance(measure, ComplementShare):
        return [LinearForm(_form([(-1.0, measure.selection)], measure.outcome).weights, 1.0)]
    if isinstance(measure, Difference | LabelMatchedDifference):
        return [_form([(1.0, measure.a), (-1.0, measure.b)])]
    if isinstance(measure, Contrast | LabelMatchedContrast):
        return [_form(list(measure.terms))]
    if isinstance(measure, Slope):
        selections = [*(selection for _, selection in measure.points), *measure.subtract]
        return [_form(list(zip(measure.weights, selections, strict=True)))]
    return None


def _form(terms: Sequence[tuple[float, Selection]], outcome: Outcome | None = None) -> LinearForm:
    weights: dict[CellKey, float] = {}
    for weight, selection in terms:
        weights[selection, outcome] = weights.get((selection, outcome), 0.0) + weight
    return LinearForm(weights)


class LinearWorlds:
    """The means of cells under which a claim is true, false, or on its threshold.

    Args:
        claim: The claim, whose preconditions are weighted sums of means.
        planted: Cells that the measure's own planter draws; preconditions on them are left to it.
        need_room: Share of the usual margin by which preconditions hold.
    """

    def __init__(self, claim: Claim, planted: Sequence[Selection] = (), *, need_room: float = 1.0) -> None:
        self._need_room = need_room
        forms = linear_forms(claim.measure) or []
        self._claim, self._forms, taken = claim, forms, {resolved(selection) for selection in planted}
        needs = [(form, need) for need in claim.preconditions for form in linear_forms(need.measure) or []]
        self._needs = []
        for form, need in needs:
            if not taken & {resolved(selection) for selection, _ in form.weights}:
                self._needs.append((form, need))
        keys = [key for form in [*forms, *(form for form, _ in self._needs)] for key in form.weights]
        by_cell: dict[tuple[Selection, Outcome | None], CellKey] = {}
        for selection, outcome in keys:  # one cell may be selected under several descriptions
            by_cell.setdefault((resolved(selection), outcome), (selection, outcome))
        self._by_cell, self.keys, self.has_needs = by_cell, tuple(by_cell.values()), bool(self._needs)

    def means(self, targets: Sequence[float | None], *, needs_hold: bool = True) -> FloatArray | None:
        """The mean of each key where each form has its target (None: any value); None where there are no such means."""
        rows = [(form, target) for form, target in zip(self._forms, targets, strict=True) if target is not None]
        return self._solve(rows, self._need_rows(needs_hold))

    def reachable(self, form_index: int, sign: float) -> float:
        """The largest (sign 1) or least (sign -1) value of a form where all preconditions hold."""
        form = self._forms[form_index]
        found = self._solve([], self._need_rows(True), maximise=(form, sign))
        if found is None:
            raise SpecError(f"the preconditions of {self._claim.id} cannot hold together.")
        return form.constant + float(self._row(form) @ found)

    def targets(self, world: str) -> list[list[float | None]]:
        """The values of the forms in a world, the preferred ones first."""
        threshold, sign = self._claim.threshold, -1.0 if self._claim.direction == "below" else 1.0
        indices = range(len(self._forms))
        if self._claim.direction == "within":
            beyond: list[float | None] = [threshold + PLACE * (self.reachable(i, sign) - threshold) for i in indices]
            return [beyond if world == "false" else [0.0 if world == "true" else threshold] * len(beyond)]
        true = [threshold + PLACE * (self.reachable(i, sign) - threshold) for i in indices]
        false = [threshold + PLACE * (self.reachable(i, -sign) - threshold) for i in indices]
        if world == "true":
            modest = [threshold + (t - threshold) / 3 for t in true]
            return [[*true], [*modest]]
        worst = false if world == "false" else [threshold] * len(false)
        others_any: list[float | None] = [worst[0], *[None] * (len(true) - 1)]
        return [[worst[0], *true[1:]], [worst[0], *(threshold + (t - threshold) / 3 for t in true[1:])], others_any]

    def _need_rows(self, needs_hold: bool) -> list[tuple[LinearForm, float, float]]:
        """The least and largest value of each precondition's sum."""
        rows = []
        for form, need in self._needs:
            if needs_hold:
                rows.append((form, need.above + self._need_room * _need_margin(form, need), np.inf))
            else:
                rows.append((form, -np.inf, max(0.3 * need.above, need.above - 0.3)))
        return rows

    @property
    def least_interval_need_margin(self) -> float | None:
        """How far the nearest precondition lies above its threshold, of those whose interval must; None without any."""
        shares = [(form, need) for form, need in self._needs if need.by_interval and need.measure.quantity == "share"]
        return min((self._need_room * _need_margin(form, need) for form, need in shares), default=None)

    def _row(self, form: LinearForm) -> FloatArray:
        row = np.zeros(len(self.keys))
        for (selection, outcome), weight in form.weights.items():
            row[self.keys.index(self._by_cell[resolved(selection), outcome])] += weight
        return row

    def _solve(
        self,
        equal: Sequence[tuple[LinearForm, float]],
        between: Sequence[tuple[LinearForm, float, float]],
        maximise: tuple[LinearForm, float] | None = None,
    ) -> FloatArray | None:
        """The means nearest to the middle of their ranges, or those of a sum's largest value."""
        count = len(self.keys)
        ends = [_ends(key) for key in self.keys]
        middle = np.array([_middle(key) for key in self.keys])
        blank = np.zeros(count)
        # The distances to the middle are variables of their own: |m - middle| <= t.
        upper = [np.concatenate([sign * row, -row]) for sign in (1.0, -1.0) for row in np.eye(count)]
        limits = [*middle, *-middle]
        for form, low, high in between:
            row = self._row(form)
            if np.isfinite(low):
                upper.append(np.concatenate([-row, blank]))
                limits.append(form.constant - low)
            if np.isfinite(high):
                upper.append(np.concatenate([row, blank]))
                limits.append(high - form.constant)
        cost = np.concatenate([blank, np.ones(count)])
        if maximise is not None:
            cost = np.concatenate([-maximise[1] * self._row(maximise[0]), blank])
        if not count:
            return blank
        found = scipy.optimize.linprog(
            cost,
            A_ub=np.array(upper),
            b_ub=np.array(limits),
            A_eq=np.array([np.concatenate([self._row(form), blank]) for form, _ in equal]) if equal else None,
            b_eq=np.array([target - form.constant for form, target in equal]) if equal else None,
            bounds=[*ends, *[(0, None)] * count],
        )
        return np.asarray(found.x[:count], dtype=np.float64) if found.success else None


def _need_margin(form: LinearForm, need: Precondition) -> float:
    """By how much a precondition holds, at most so much of the way to the largest value that can be planted."""
    top = form.constant
    for key, weight in form.weights.items():
        top += weight * _ends(key)[1 if weight > 0 else 0]
    if need.by_interval:
        return min(INTERVAL_NEED_PLACE * (top - need.above), INTERVAL_NEED_MARGIN)
    return min(0.6 * (top - need.above), NEED_MARGIN)


def _ends(key: CellKey) -> tuple[float, float]:
    """The least and largest mean that is planted."""
    selection, outcome = key
    low, high = (0.0, 1.0) if outcome else (selection.value_range.low, selection.value_range.high)
    if (low, high) == (0.0, 1.0):
        return SHARE_ENDS
    return (-FAR if low is None else low + 0.02), (FAR if high is None else high - 0.02)


def _middle(key: CellKey) -> float:
    low, high = _ends(key)
    if (low, high) == SHARE_ENDS:
        return 0.5
    if low > -FAR:  # a cost
        return 1.0
    return 0.0 if high == FAR else -1.0
