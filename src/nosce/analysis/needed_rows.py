"""Which readings the claims and figures of a study can look at, so that the others need not be in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from nosce.analysis.figures import Figure
from nosce.analysis.measures import Measure
from nosce.analysis.selection import Selection

NeededMetrics = Mapping[str, frozenset[str] | None]
"""Evaluation -> its metrics that are looked at; None: all of them."""


def needed_metrics(parts: Iterable[object]) -> NeededMetrics | None:
    """The metrics that claims, figures and scaling curves select.

    Args:
        parts: Frozen dataclasses that hold selections at any depth.

    Returns:
        None where a part may look at any row: a measure or figure of somebody's own gets all readings.
    """
    needed: dict[str, frozenset[str] | None] = {}
    waiting: list[tuple[object, bool]] = [(part, False) for part in parts]
    while waiting:
        part, every_metric = waiting.pop()
        if isinstance(part, Selection):
            known = needed.get(part.evaluation, frozenset())
            needed[part.evaluation] = None if every_metric or known is None else known | {part.metric}
        elif isinstance(part, tuple):
            waiting += [(member, every_metric) for member in part]
        elif dataclasses.is_dataclass(part):
            if isinstance(part, Measure | Figure):
                if not type(part).__module__.startswith("nosce."):
                    return None
                every_metric = every_metric or part.derives_metrics
            waiting += [(getattr(part, field.name), every_metric) for field in dataclasses.fields(part)]
        elif isinstance(part, Measure | Figure):  # no dataclass, so its selections cannot be found
            return None
    return needed
