"""Claims and figures at the kept step at which the most diaries of other held-out people are recalled whole.

The people who are never asked about in training are two halves, by the splits of the world, validation and unseen. The
paper (arXiv:2502.19573) keeps the checkpoint with the best validation accuracy. Here each half chooses the step for the
other, so that all held-out people are tested and none chooses for itself. Probes, patches and the recall of documents
read the last step alone, since they are taken of one checkpoint.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from nosce.analysis.selection import BestStep, Selection
from nosce.studies.diaries.selections import HEADER_RECALL, RECITATION, SEEN_RECITATION

PartT = TypeVar("PartT")

#: The evaluations that read every kept step.
_EVERY_STEP = (RECITATION, SEEN_RECITATION, "stops", "retold", HEADER_RECALL)


def at_best_step(part: PartT) -> PartT:
    """A claim, a figure or a tuple of them, with the best step in place of the last one."""
    changed: PartT = _changed(part)
    return changed


def _changed(part: Any) -> Any:  # a dataclass of any class, a tuple, or a plain value
    if isinstance(part, Selection):
        if part.step == "last" and part.evaluation in _EVERY_STEP:
            return dataclasses.replace(part, step=BestStep(evaluation=RECITATION, crossed=True))
        return part
    if isinstance(part, tuple):
        return tuple(map(_changed, part))
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        values = {field.name: getattr(part, field.name) for field in dataclasses.fields(part) if field.init}
        return dataclasses.replace(part, **{name: _changed(value) for name, value in values.items()})
    return part
