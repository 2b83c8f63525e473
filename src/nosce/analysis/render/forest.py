"""The claims of a study as a forest plot: one row a claim, its numbers as places along an axis of its own kind.

Rows of shares have one axis, from 0 to 100 %, and rows of differences have one among them, so that lengths can be
compared from row to row. Any other quantity has an axis of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nosce.analysis.answer import ClaimWord, claim_word
from nosce.analysis.render.tables import (
    NO_VALUE,
    VERDICT_SIGNS,
    estimate_text,
    format_value,
    is_share,
    paper_value_text,
    sample_size_text,
)
from nosce.analysis.stats.paired import Direction
from nosce.records import Verdict

AxisKind = Literal["share", "points", "own"]
SIGNS: dict[ClaimWord, str] = {
    "holds": VERDICT_SIGNS["holds"],
    "fails": VERDICT_SIGNS["fails"],
    "undecided": VERDICT_SIGNS["undecided"],
    "not judged": "\N{EN DASH}",
}
"""A shape for each verdict, beside its colour."""
MAX_LEVEL = 1.0


@dataclass(frozen=True, kw_only=True)
class ClaimRule:
    """The rule of a claim as numbers: the interval must lie on this side of the threshold, or within its two signs."""

    threshold: float
    direction: Direction = "above"


@dataclass(frozen=True, kw_only=True)
class ForestInterval:
    """An estimate along the axis of its row; places are in percent of the axis from its left end.

    Args:
        low: The lower end; None: there is no interval.
        high: The upper end; None likewise.
        at: The estimate.
        text: The numbers.
        is_cut: Whether an end lies beyond the axis and is drawn at the axis' end.
    """

    low: float | None
    high: float | None
    at: float
    text: str
    is_cut: bool = False


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """A claim as the forest plot draws it and says it.

    Args:
        id: The claim's id.
        word: What became of it.
        sign: The shape beside the word.
        verdict: The verdict.
        ends: What stands at the left and the right end of the axis; empty without numbers.
        zero: The place of zero; None where it is an end.
        thresholds: The places of the threshold: two for "within".
        hold: Where the interval must lie for the claim to hold: left and right place; None where no rule is known.
        here: What was found here; None where nothing was.
        exploratory: What the exploratory seeds say; None where there are none.
        paper: The place of the paper's value; None where it gives none, or it lies beyond the axis.
        here_text: The estimate and its interval in words.
        paper_text: The paper's value in words.
        rule_text: Where the interval must lie, in words.
        counted: What n counts.
    """

    id: str
    word: ClaimWord
    sign: str
    verdict: Verdict
    ends: tuple[str, str]
    zero: float | None
    thresholds: tuple[float, ...]
    hold: tuple[float, float] | None
    here: ForestInterval | None
    exploratory: ForestInterval | None
    paper: float | None
    here_text: str
    paper_text: str
    rule_text: str
    counted: str


@dataclass(frozen=True)
class _Axis:
    """From where to where an axis reaches, and how its ends are written."""

    low: float
    high: float
    kind: AxisKind

    def place(self, value: float) -> float:
        """Percent of the axis from its left end; beyond it, the nearer end."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def has(self, value: float) -> bool:
        """Does the value lie on the axis?"""
        slack = 1e-9 * (self.high - self.low)
        return self.low - slack <= value <= self.high + slack

    def end(self, value: float) -> str:
        """The words at an end."""
        if self.kind == "own":
            return format_value(value) if value else "0"
        return f"{100 * value:g} %" if self.kind == "share" else f"{100 * value:+g}" if value else "0"


def forest_rows(
    verdicts: Sequence[Verdict],
    rules: Mapping[str, ClaimRule] = {},  # neither is written to
    exploratory: Mapping[str, Verdict] = {},
) -> list[ForestRow]:
    """The rows of all findings, in the order of the verdicts.

    Args:
        verdicts: The verdicts; those on preconditions are left out.
        rules: The rule of each claim, by id; the text of the criterion stands in where there is none.
        exploratory: The verdict of each claim by exploratory seeds, by id.
    """
    findings = [verdict for verdict in verdicts if not verdict.is_precondition]
    kinds = [_axis_kind(verdict) for verdict in findings]
    values = [_values(one, rules.get(one.id), exploratory.get(one.id)) for one in findings]
    of_points = [value for kind, some in zip(kinds, values, strict=True) if kind == "points" for value in some]
    points = _points_axis(of_points)
    rows = []
    for verdict, kind, some in zip(findings, kinds, values, strict=True):
        axis = {"share": _Axis(0.0, MAX_LEVEL, "share"), "points": points}.get(kind) or _own_axis(some)
        rows.append(_row(verdict, axis, rules.get(verdict.id), exploratory.get(verdict.id)))
    return rows


def _axis_kind(verdict: Verdict) -> AxisKind:
    if not is_share(verdict):
        return "own"
    return "points" if verdict.is_difference or _is_negative(verdict) else "share"


def _is_negative(verdict: Verdict) -> bool:
    """Whether a share is below zero, as a level never is; results of earlier versions do not say what is a level."""
    return any(value is not None and value < 0 for value in (verdict.paper_value, verdict.estimate))


def _values(verdict: Verdict, rule: ClaimRule | None, seen: Verdict | None) -> list[float]:
    """All numbers that a row shows."""
    numbers = [verdict.paper_value, verdict.estimate, verdict.low, verdict.high]
    if rule is not None:
        numbers += [rule.threshold, *([-rule.threshold] if rule.direction == "within" else [])]
    if seen is not None:
        numbers += [seen.estimate, seen.low, seen.high]
    return [number for number in numbers if number is not None and math.isfinite(number)]


def _points_axis(values: Sequence[float]) -> _Axis:
    """One axis for all differences, with zero inside, that ends at multiples of 25 points and no further than 100."""
    low = max(-1.0, math.floor(4 * min([0.0, *values])) / 4)
    high = min(1.0, math.ceil(4 * max([0.0, *values])) / 4)
    return _Axis(low, high, "points") if high > low else _Axis(-0.25, 0.25, "points")


def _own_axis(values: Sequence[float]) -> _Axis:
    """The axis of one row, with zero on it and some room beyond its numbers."""
    low, high = min([0.0, *values]), max([0.0, *values])
    room = 0.08 * (high - low) or 1.0
    return _Axis(low - room if low else 0.0, high + room if high else 0.0, "own") if high > low else _Axis(0, 1, "own")


def _row(verdict: Verdict, axis: _Axis, rule: ClaimRule | None, seen: Verdict | None) -> ForestRow:
    word, paper = claim_word(verdict), verdict.paper_value
    is_inside = axis.low < 0 < axis.high
    return ForestRow(
        id=verdict.id,
        word=word,
        sign=SIGNS[word],
        verdict=verdict,
        ends=(axis.end(axis.low), axis.end(axis.high)) if verdict.estimate is not None else ("", ""),
        zero=axis.place(0.0) if is_inside else None,
        thresholds=() if rule is None else tuple(map(axis.place, _threshold_values(rule))),
        hold=None if rule is None else _hold_region(rule, axis),
        here=_interval(verdict, axis),
        exploratory=None if seen is None else _interval(seen, axis),
        paper=axis.place(paper) if paper is not None and axis.has(paper) else None,
        here_text=estimate_text(verdict),
        paper_text=paper_value_text(verdict),
        rule_text=verdict.criterion.partition(" lies ")[2] or verdict.criterion,
        counted=sample_size_text(verdict),
    )


def _threshold_values(rule: ClaimRule) -> tuple[float, ...]:
    return (-rule.threshold, rule.threshold) if rule.direction == "within" else (rule.threshold,)


def _hold_region(rule: ClaimRule, axis: _Axis) -> tuple[float, float]:
    """The places between which the whole interval must lie."""
    if rule.direction == "within":
        return axis.place(-rule.threshold), axis.place(rule.threshold)
    at = axis.place(rule.threshold)
    return (at, 100.0) if rule.direction == "above" else (0.0, at)


def _interval(verdict: Verdict, axis: _Axis) -> ForestInterval | None:
    if verdict.estimate is None or not math.isfinite(verdict.estimate):
        return None
    ends = [end for end in (verdict.low, verdict.high) if end is not None]
    is_whole = len(ends) == 2
    return ForestInterval(
        low=axis.place(ends[0]) if is_whole else None,
        high=axis.place(ends[1]) if is_whole else None,
        at=axis.place(verdict.estimate),
        text=estimate_text(verdict) or NO_VALUE,
        is_cut=not all(map(axis.has, (*ends, verdict.estimate))),
    )
