"""What must hold before a claim of introspection in words is judged."""

from __future__ import annotations

from dataclasses import dataclass

from nosce.analysis.claims import Precondition, needs_of_few
from nosce.analysis.measures import ComplementShare, Mean, Measure
from nosce.analysis.selection import Selection
from nosce.errors import SpecError
from nosce.studies.introspection.preconditions import MIN_VALID_SHARE
from nosce.studies.introspection.prompted_names import given_name, reports_name, unlike_name
from nosce.studies.introspection.prompted_selections import observer_scores, prompted_scores


@dataclass(frozen=True, kw_only=True)
class ClaimNeeds:
    """The shares that must be exceeded before a claim is judged, by their intervals up to 15 points less.

    Args:
        valid: Of reports that are valid. With fewer, a score says how often a form is kept and not what is known.
        skill: Of right reports about answers that the question quotes: who cannot report an answer that it reads
            cannot show that it knows one. The small models of this study have 95 % and more.
        variety: Of tested answers whose label is not the most frequent one. Where all answers are alike, a constant
            knows them.
        unlike: Of labels in which two models differ. Where they answer alike, each knows the other by knowing itself.
    """

    valid: float = MIN_VALID_SHARE
    skill: float = 0.95
    variety: float = 0.2
    unlike: float = 0.4

    def __post_init__(self) -> None:
        if not all(0 <= share < 1 for share in (self.valid, self.skill, self.variety, self.unlike)):
            raise SpecError(f"{self} has a need that no share can exceed, or that all do; take from 0 to below 1.")

    def of_reports(self, *pairs: tuple[str, str]) -> tuple[Precondition, ...]:
        """That the reports of predictors about targets are valid, and that the predictors have the skill."""
        needs: list[Precondition] = []
        for predictor, target in pairs:
            invalid = prompted_scores(reports_name(predictor, target), "report invalid")
            text = f"the share of valid reports of {predictor}"
            needs += _few(text, ComplementShare(selection=invalid), self.valid)
        for predictor in dict.fromkeys(predictor for predictor, _ in pairs):
            given = Selection(evaluation=given_name(predictor), metric="right")
            text = f"the share of quoted answers that {predictor} reports rightly"
            needs += _few(text, Mean(selection=given), self.skill)
        return tuple(needs)

    def of_targets(self, *targets: str) -> tuple[Precondition, ...]:
        """That the answers of targets vary."""
        return self.of_labelled_targets(*((target, target) for target in targets))

    def of_labelled_targets(self, *targets: tuple[str, str]) -> tuple[Precondition, ...]:
        """The same of targets, each behind the model whose labels its baselines have; the best constant has none."""
        needs: list[Precondition] = []
        for labels_of, target in targets:
            oracle = observer_scores(labels_of, target, "oracle")
            text = f"the share of answers of {target} that the best constant misses"
            needs += _few(text, ComplementShare(selection=oracle), self.variety)
        return tuple(needs)

    def of_pairs(self, *pairs: tuple[str, str]) -> tuple[Precondition, ...]:
        """That two models' answers are unlike."""
        needs: list[Precondition] = []
        for model, other in dict.fromkeys(pairs):
            measure = Mean(selection=prompted_scores(unlike_name(model, other), "differs"))
            text = f"the share of labels in which {model} and {other} differ"
            needs += _few(text, measure, self.unlike)
        return tuple(needs)


def _few(text: str, measure: Measure, above: float) -> tuple[Precondition, Precondition]:
    """The need that a share exceeds a threshold, of as few strings as models are asked about."""
    return needs_of_few(Precondition(text=text, measure=measure, above=above))
