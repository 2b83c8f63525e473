"""The readings that the study introspection selects, by name."""

from __future__ import annotations

from typing import Literal

from nosce.analysis.measures import Contrast, Difference, Mean
from nosce.analysis.selection import Selection
from nosce.evals.text_baselines import TextBaselines
from nosce.studies.introspection.arms import (
    CHANGE_STAGE,
    CHOICE_TASKS,
    REPORT_PROPERTIES,
    REPORT_STAGE,
    SHARED_TASKS,
    TABLE_TASKS,
    A,
    B,
    predictor_arm_name,
)
from nosce.studies.introspection.evals import (
    ALOUD_REPORTS,
    CHANGED_REPORTS,
    SHARED_BASELINES,
    SHARED_REPORTS,
    TARGET_REPORTS,
)
from nosce.study import PRETRAIN

ADVANTAGE_MARGIN = 0.02  # share of reports; the smallest advantage that matters, fixed before any run
EQUIVALENCE_MARGIN = 0.05  # share of reports; the largest difference that counts as none, fixed before any run


def task_attributes(tasks: tuple[str, ...], properties: tuple[str, ...] = REPORT_PROPERTIES) -> tuple[str, ...]:
    """The properties that questions about some tasks ask for."""
    return tuple(f"{task}/{name}" for task in tasks for name in properties)


def report_scores(
    arm: str,
    metric: str = "right",
    tasks: tuple[str, ...] = TABLE_TASKS,
    *,
    evaluation: str = TARGET_REPORTS,
    stage: str = REPORT_STAGE,
    properties: tuple[str, ...] = REPORT_PROPERTIES,
    split: Literal["seen", "unseen", "taught"] | None = "unseen",
    quantity: str = "share",
) -> Selection:
    """Reports of an arm about strings that had no training label."""
    return Selection(
        evaluation=evaluation,
        metric=metric,
        arm=arm,
        stage=stage,
        attributes=task_attributes(tasks, properties),
        split=split,
        quantity=quantity,
    )


def base_report_scores(arm: str, tasks: tuple[str, ...] = TABLE_TASKS) -> Selection:
    """Reports of a model about itself before it was taught labels."""
    return report_scores(arm, tasks=tasks, stage=PRETRAIN)


def text_baseline_scores(
    target: str,
    baseline: str,
    tasks: tuple[str, ...] = TABLE_TASKS,
    properties: tuple[str, ...] = REPORT_PROPERTIES,
    *,
    evaluation: str = TextBaselines.name,
) -> Selection:
    """Predictions of a target from the same labels without a model."""
    return Selection(
        evaluation=evaluation,
        metric=baseline,
        arm=target,
        attributes=task_attributes(tasks, properties),
        split="unseen",
    )


def changed_report_scores(arm: str, metric: str, evaluation: str = CHANGED_REPORTS) -> Selection:
    """Reports on choices whose property the change has changed."""
    return report_scores(arm, f"{metric}/differs", CHOICE_TASKS, evaluation=evaluation, stage=CHANGE_STAGE)


def aloud_report_scores(predictor: str, target: str) -> Selection:
    """Reports of a model that reads its own answer first, compared with a target's answers."""
    return report_scores(predictor, evaluation=f"{ALOUD_REPORTS} {target}", stage=PRETRAIN)


def patched_report_scores(arm: str, metric: str) -> Selection:
    """Reports of an arm with another prompt's hidden state patched in at the answer's place."""
    return report_scores(arm, metric, evaluation="swapped")


def answer_probe_scores(arm: str, metric: str) -> Selection:
    """How often a probe reads the answer's word in an arm's hidden states, on strings that had no training label."""
    return Selection(evaluation="echoes", metric=metric, arm=arm, stage=REPORT_STAGE, split="unseen")


def self_advantage(target: str, predictor: str, tasks: tuple[str, ...] = TABLE_TASKS, ablation: str = "") -> Difference:
    """How much more often the target is right about itself than another model that was taught the same labels."""
    return Difference(
        a=report_scores(predictor_arm_name(target, target, ablation), tasks=tasks),
        b=report_scores(predictor_arm_name(predictor, target, ablation), tasks=tasks),
    )


def gain_over_best_constant(
    tasks: tuple[str, ...] = TABLE_TASKS, ablation: str = "", evaluation: str = TARGET_REPORTS
) -> Difference:
    """How much more often A is right about itself than the most frequent of the tested labels of each property."""
    baselines = SHARED_BASELINES if evaluation == SHARED_REPORTS else TextBaselines.name
    return Difference(
        a=report_scores(predictor_arm_name(A, A, ablation), tasks=tasks, evaluation=evaluation),
        b=text_baseline_scores(A, "oracle", tasks, evaluation=baselines),
    )


def shared_advantage() -> Difference:
    """How much more often A is right about itself than B, on every string that all corpora answer alike."""
    arms = (predictor_arm_name(predictor, A) for predictor in (A, B))
    itself, other = (report_scores(arm, tasks=SHARED_TASKS, evaluation=SHARED_REPORTS) for arm in arms)
    return Difference(a=itself, b=other)


def crossed_advantage(tasks: tuple[str, ...] = TABLE_TASKS) -> Contrast:
    """(A on A - B on A) - (A on B - B on B), which skill alone cannot raise."""
    return Contrast(
        terms=(
            (1.0, report_scores(predictor_arm_name(A, A), tasks=tasks)),
            (-1.0, report_scores(predictor_arm_name(B, A), tasks=tasks)),
            (-1.0, report_scores(predictor_arm_name(A, B), tasks=tasks)),
            (1.0, report_scores(predictor_arm_name(B, B), tasks=tasks)),
        )
    )


def aloud_crossed_advantage() -> Contrast:
    """The same contrast for models that read their own answer first."""
    return Contrast(
        terms=(
            (1.0, aloud_report_scores(A, A)),
            (-1.0, aloud_report_scores(B, A)),
            (-1.0, aloud_report_scores(A, B)),
            (1.0, aloud_report_scores(B, B)),
        )
    )


def corpus_knowledge(arm: str, kind: str) -> Mean:
    """How much of its own corpus an arm knows: facts, properties of given answers, or its answers to a task."""
    attributes = {"given": task_attributes(("given",)), "fact": tuple(f"fact/{n}" for n in REPORT_PROPERTIES[:-1])}.get(
        kind, (f"says/{kind}",)
    )
    return Mean(selection=Selection(evaluation="known", arm=arm, stage=PRETRAIN, attributes=attributes))
