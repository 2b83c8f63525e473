"""What must hold before a claim of the study introspection is judged."""

from __future__ import annotations

from nosce.analysis.claims import Precondition
from nosce.analysis.measures import Mean
from nosce.studies.introspection.arms import TRAINED_TASKS, A, B, predictor_arm_name
from nosce.studies.introspection.selections import corpus_knowledge, report_scores


def ability_preconditions() -> tuple[Precondition, ...]:
    """A and B know their corpus, know the properties of a given answer, and know the labels that they were taught."""
    preconditions = []
    for predictor in (A, B):
        own_table, given_answers = corpus_knowledge(predictor, "table"), corpus_knowledge(predictor, "given")
        preconditions += [
            Precondition(text=f"what {predictor} says of its own table", measure=own_table, above=0.8),
            Precondition(text=f"properties of given answers, {predictor}", measure=given_answers, above=0.95),
        ]
        for target in (A, B):
            arm = predictor_arm_name(predictor, target)
            taught = Mean(selection=report_scores(arm, tasks=TRAINED_TASKS, split="taught"))
            preconditions.append(
                Precondition(text=f"what {predictor} was taught about {target}", measure=taught, above=0.95)
            )
    return tuple(preconditions)
