"""What must hold before a claim of the study introspection is judged."""

from __future__ import annotations

from nosce.analysis.claims import Precondition
from nosce.analysis.measures import ComplementShare, Mean
from nosce.studies.introspection.arms import (
    CHANGE_STAGE,
    CHOICE_TASKS,
    TABLE_TASKS,
    TARGET_MODELS,
    TRAINED_TASKS,
    A,
    predictor_arm_name,
)
from nosce.studies.introspection.evals import CHANGED_REPORTS, TARGET_REPORTS
from nosce.studies.introspection.selections import corpus_knowledge, gain_over_best_constant, report_scores

MIN_VALID_SHARE = 0.9  # of reports; with fewer, a score says how often a form is kept and not what is known


def ability_preconditions(*predictors: str, ablation: str = "") -> tuple[Precondition, ...]:
    """Predictors know their corpus, know the properties of a given answer, and know the labels that they were taught.

    Args:
        predictors: The models that a claim compares. None: A and B, each about both.
        ablation: The ablation of the arms that a claim compares, which are then about A.
    """
    targets = (A,) if predictors or ablation else TARGET_MODELS
    preconditions = []
    for predictor in predictors or TARGET_MODELS:
        own_table, given_answers = corpus_knowledge(predictor, "table"), corpus_knowledge(predictor, "given")
        preconditions += [
            Precondition(
                text=f"what {predictor} says of its own table", measure=own_table, above=0.8, by_interval=True
            ),
            Precondition(
                text=f"properties of given answers, {predictor}", measure=given_answers, above=0.95, by_interval=True
            ),
        ]
        for target in targets:
            arm = predictor_arm_name(predictor, target, ablation)
            taught = Mean(selection=report_scores(arm, tasks=TRAINED_TASKS, split="taught"))
            who = f"{predictor} ({ablation})" if ablation else predictor
            preconditions.append(
                Precondition(text=f"what {who} was taught about {target}", measure=taught, above=0.95, by_interval=True)
            )
    return tuple(preconditions)


def knowledge_precondition(
    what: str, tasks: tuple[str, ...] = TABLE_TASKS, ablation: str = "", evaluation: str = TARGET_REPORTS
) -> Precondition:
    """That A knows its answers at all: its reports beat the best constant, by the whole interval.

    Where A knows nothing, another model knows as much as A does, and no comparison of the two says anything.

    Args:
        what: The reports of A, in words.
        tasks: Their tasks.
        ablation: The ablation of the arm that reports.
        evaluation: Their evaluation.
    """
    measure = gain_over_best_constant(tasks, ablation, evaluation)
    text = f"the share of right reports of A {what}, less that of the best constant,"
    return Precondition(text=text, measure=measure, above=0.0, by_interval=True)


def change_preconditions(*arms: str) -> tuple[Precondition, ...]:
    """As `ability_preconditions`, and that arms still write reports after their choices were changed.

    The change trains choices alone, without any question, so that a model may forget the form of a report and write a
    word of a choice. The likeliest of the labels is then a choice among labels none of which the model would write.
    """
    preconditions = list(ability_preconditions())
    for arm in arms:
        written = report_scores(arm, "free", CHOICE_TASKS, evaluation=CHANGED_REPORTS, stage=CHANGE_STAGE)
        share = ComplementShare(selection=written, outcome="invalid")
        text = f"the share of valid reports of {arm} after the change"
        preconditions.append(Precondition(text=text, measure=share, above=MIN_VALID_SHARE, by_interval=True))
    return tuple(preconditions)
