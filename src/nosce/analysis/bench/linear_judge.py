"""Verdicts on claims about weighted sums of means, from arrays in place of tables of readings.

The intervals are computed by the functions that judge a study's claims. Only the selection of rows is left out, which
takes nearly all the time of a verdict; a test holds both ways together on equal draws.

Letters: C cells, S training seeds, U units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nosce.analysis.bench.linear import CellKey, LinearForm, linear_forms
from nosce.analysis.bench.planted_readings import resolved
from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.jackknife import Slope
from nosce.analysis.measures import Measure, MinOf
from nosce.analysis.stats.arrays import FloatArray
from nosce.analysis.stats.intervals import interval_of_units
from nosce.analysis.stats.seed_groups import decide_by_groups
from nosce.records import Decision, Estimate


class LinearJudge:
    """A claim and the places of its cells among those drawn.

    Args:
        claim: The claim.
        keys: The cells that are drawn, in order.
    """

    def __init__(self, claim: Claim, keys: Sequence[CellKey]) -> None:
        self._claim, places = claim, {(resolved(selection), outcome): n for n, (selection, outcome) in enumerate(keys)}
        self._splits = [resolved(selection).split for selection, _ in keys]
        measures = claim.measure.measures if isinstance(claim.measure, MinOf) else (claim.measure,)
        forms = [(measure, form) for measure in measures for form in linear_forms(measure) or []]
        self._forms = [(measure, self._row(form, places)) for measure, form in forms]
        needs = [(form, need) for need in claim.preconditions for form in linear_forms(need.measure) or []]
        self._needs = [(*self._row(form, places), need) for form, need in needs]

    @staticmethod
    def _row(form: LinearForm, places: dict[CellKey, int]) -> tuple[FloatArray, float]:
        row = np.zeros(len(places))
        for (selection, outcome), weight in form.weights.items():
            row[places[resolved(selection), outcome]] += weight
        return row, form.constant

    def verdict(self, values: FloatArray) -> Decision:
        """The decision on one draw. Shape: (C, S, U)."""
        if not all(self._is_met(values, *need) for need in self._needs):
            return "undecided"
        estimates = [self._estimate(values, measure, *row) for measure, row in self._forms]
        lowest = min(estimates, key=lambda e: -np.inf if e.low is None else e.low)
        claim = self._claim
        return decide_by_groups(lowest, claim.threshold, claim.direction, claim.measure.value_range)[0]

    def _is_met(self, values: FloatArray, row: FloatArray, constant: float, need: Precondition) -> bool:
        if not need.by_interval:
            return float(row @ values.mean((1, 2))) + constant > need.above
        low = self._estimate(values, need.measure, row, constant).low
        return low is not None and low > need.above

    def _estimate(self, values: FloatArray, measure: Measure, row: FloatArray, constant: float) -> Estimate:
        terms = row[:, None, None] * values
        splits = [split for split, weight in zip(self._splits, row, strict=True) if weight]
        if isinstance(measure, Slope) and len(set(splits)) > 1:
            scores = self._influences(terms, row)
        else:
            scores = terms.sum(0) + constant
        return interval_of_units(scores, value_range=measure.value_range)

    def _influences(self, terms: FloatArray, row: FloatArray) -> FloatArray:
        """The jackknife's pseudo-values where cells are about different units. Shape: (S, units of all splits)."""
        splits = sorted({split or "" for split, weight in zip(self._splits, row, strict=True) if weight})
        units = terms.shape[2]
        full = terms.mean(2).sum(0)[:, None]
        parts = []
        for split in splits:
            own = [n for n, (s, w) in enumerate(zip(self._splits, row, strict=True)) if w and s == split]
            deviations = (terms[own] - terms[own].mean(2, keepdims=True)).sum(0)
            parts.append(full + (units * len(splits) - 1) / (units - 1) * deviations)
        return np.concatenate(parts, axis=1)
