"""What must be true of a study before any of its steps is made, beyond what `Study` itself demands.

A claim or figure that names an arm, a stage or an evaluation which the study does not have would end as "undecided"
after days of training, so it is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

from nosce.analysis.selection import BestStep, PhaseStep, Selection
from nosce.errors import SpecError
from nosce.pipeline.step import EXPERIMENT
from nosce.study import PRETRAIN, Study

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PartT = TypeVar("PartT")


def check_references(study: Study) -> None:
    """Check that claims and figures name only arms, stages and evaluations of the study.

    Raises:
        SpecError: One names another.
    """
    arms = (*study.arms, *study.auxiliary_arms)
    arm_names = [*(arm.name for arm in arms), *(one.name for one in study.experiments)]
    stages = {PRETRAIN, EXPERIMENT, *(stage.name for arm in arms for stage in arm.stages)}
    evaluations = {spec.evaluation.name for spec in study.evals}
    for what, part in (
        *((f"claim {claim.id!r}", claim) for claim in study.claims),
        *((f"figure {figure.id!r}", figure) for figure in study.figures),
        *((f"scaling curve {curve.title!r}", curve) for curve in study.scaling_curves),
    ):
        for arm in _named_arms(part):
            _require(study, what, "arm", arm, arm_names)
        for selection in _inner(part, Selection):
            if selection.stage is not None:
                _require(study, what, "stage", selection.stage, stages)
            if not study.experiments:  # an experiment names the evaluations of its readings itself
                _require(study, what, "evaluation", selection.evaluation, evaluations)
        chosen_by = [choice.evaluation for choice in _inner(part, BestStep)]
        for phase in _inner(part, PhaseStep):
            chosen_by += [name for name in (phase.evaluation, phase.floor) if name is not None]
        for evaluation in chosen_by:
            _require(study, what, "evaluation", evaluation, evaluations)


def _require(study: Study, what: str, kind: str, name: str, known: set[str] | list[str]) -> None:
    if name not in known:
        shown = ", ".join(map(repr, sorted(known)[:12])) or "none"
        raise SpecError(f"the {what} of the study {study.name!r} names the {kind} {name!r}, but it has {shown}.")


def _named_arms(part: object) -> Iterator[str]:
    """The names in fields `arm` and `arms` of a dataclass and of all dataclasses in it."""
    for one in _dataclasses_in(part):
        for field in dataclasses.fields(one):
            value = getattr(one, field.name)
            if field.name == "arm" and isinstance(value, str):
                yield value
            elif field.name == "arms" and isinstance(value, tuple | list):
                yield from (name for name in value if isinstance(name, str))


def _inner(part: object, kind: type[PartT]) -> Iterator[PartT]:
    """The dataclasses of a kind in a dataclass, itself among them."""
    return (one for one in _dataclasses_in(part) if isinstance(one, kind))


def _dataclasses_in(part: object) -> Iterator[DataclassInstance]:
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        yield part
        for field in dataclasses.fields(part):
            yield from _dataclasses_in(getattr(part, field.name))
    elif isinstance(part, tuple | list):
        for entry in part:
            yield from _dataclasses_in(entry)
