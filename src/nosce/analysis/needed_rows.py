"""Which readings the claims and figures of a study can look at, so that the others need not be in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec
from nosce.analysis.figures import Figure
from nosce.analysis.measures import Measure
from nosce.analysis.selection import BestStep, PhaseStep, Selection

NeededMetrics = Mapping[str, frozenset[str] | None]
"""Evaluation -> its metrics that are looked at; None: all of them."""


def needed_metrics(parts: Iterable[object]) -> NeededMetrics | None:
    """The metrics that claims, figures and scaling curves select.

    Args:
        parts: Frozen dataclasses that hold selections at any depth.

    Returns:
        None where a part may look at any row: a measure or figure of somebody's own gets all readings.
    """
    selections = selections_in(parts)
    if selections is None:
        return None
    needed: dict[str, frozenset[str] | None] = {}
    for selection, derives_metrics in selections:
        known = needed.get(selection.evaluation, frozenset())
        needed[selection.evaluation] = None if derives_metrics or known is None else known | {selection.metric}
    return needed


def selections_in(parts: Iterable[object]) -> list[tuple[Selection, bool]] | None:
    """Every selection that the parts hold, and whether other metrics of its evaluation are selected too.

    A selection at a chosen step is followed by those of the readings that choose this step.

    Returns:
        None where a part may look at any row.
    """
    found: list[tuple[Selection, bool]] = []
    waiting: list[tuple[object, bool]] = [(part, False) for part in parts]
    while waiting:
        part, derives_metrics = waiting.pop()
        if isinstance(part, Selection):
            found.append((part, derives_metrics))
            if isinstance(part.step, BestStep | PhaseStep):
                found += [(choosing, False) for choosing in part.step.choosing(part)]
        elif isinstance(part, ScalingCurveSpec):  # its selections are without an arm, its points name the arms
            for selection in (part.sharp, *part.continuous):
                found += [(dataclasses.replace(selection, arm=arm), derives_metrics) for _, arm in part.points]
        elif isinstance(part, tuple):
            waiting += [(member, derives_metrics) for member in part]
        elif isinstance(part, Measure | Figure) and not _is_known(part):
            return None
        elif dataclasses.is_dataclass(part):
            if isinstance(part, Measure | Figure):
                derives_metrics = derives_metrics or part.derives_metrics
            waiting += [(getattr(part, field.name), derives_metrics) for field in dataclasses.fields(part)]
    return found


def _is_known(part: Measure | Figure) -> bool:
    """Is it one of ours, which look at nothing but their selections?"""
    return type(part).__module__.startswith("nosce.") and dataclasses.is_dataclass(part)
