"""The readings of injected states that claims and figures select, for our own models and for folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nosce.analysis.measures import Measure, OfUnit
from nosce.analysis.selection import Selection
from nosce.evals.injection.readings import INJECTED_KINDS, TrialKind, trial_attribute

CONCEPT_UNIT = "concept"
ConceptSplit = Literal["seen", "unseen"]


@dataclass(frozen=True, kw_only=True)
class InjectedReadings:
    """The readings of one model.

    Args:
        evaluation: The name of the evaluation.
        site: The place at which claims are judged.
        strengths: The strengths at which claims are judged.
        arm: The arm; None where there is one.
        stage: The stage; None where there is one.
        step: The step of the checkpoint.
    """

    evaluation: str
    site: str
    strengths: tuple[float, ...]
    arm: str | None = None
    stage: str | None = None
    step: int | Literal["last"] = "last"

    def scores(
        self,
        metric: str,
        kind: TrialKind = "concept",
        split: ConceptSplit | None = "unseen",
        *,
        site: str | None = None,
        strengths: tuple[float, ...] = (),
    ) -> Selection:
        """The readings of trials of a kind; of injections at one site, and at the strengths of claims or at others."""
        attributes: tuple[str, ...] = (kind,)
        if kind in INJECTED_KINDS:
            place = self.site if site is None else site
            attributes = tuple(trial_attribute(kind, place, one) for one in strengths or self.strengths)
        return Selection(
            evaluation=self.evaluation,
            metric=metric,
            arm=self.arm,
            stage=self.stage,
            step=self.step,
            attributes=attributes,
            split=split,
        )


def over_concepts(measure: Measure) -> OfUnit:
    """The measure, whose entities are concepts."""
    return OfUnit(measure=measure, unit=CONCEPT_UNIT)
