"""Arms that learn from what others answer: whose answers come first, and that nobody learns from the future."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nosce.data.worlds.behaviours.dispositions import Dispositions
from nosce.errors import SpecError
from nosce.evals.self_report import SelfReportEval
from nosce.evals.text_baselines import TextBaselines
from nosce.models.architecture import Architecture
from nosce.pipeline.plan import build_plan
from nosce.study import AnswerSource, Arm, EvalSpec, ReportLabels, Stage, Study
from nosce.train.config import TrainingConfig

WORLD = Dispositions(vocabulary_size=8, n_contexts=30, records=500, prompts_per_task=16)
RECIPE = TrainingConfig(steps=4, batch_size=8)


def arm(name, **more):
    """A model of a corpus."""
    return Arm(
        name=name, world=WORLD, model=Architecture.named("2x64"), training=RECIPE, tokenizer=WORLD.tokenizer, **more
    )


def taught(of, **more):
    """A stage on labels of somebody's answers."""
    return Stage(name="report", training=RECIPE, data=ReportLabels(train_on=of, n_documents=40, **more))


def study(*arms, reads=()):
    """A study of the arms."""
    return Study(
        name="s",
        title="t",
        question="q?",
        paper="p",
        scale="smoke",
        unit="string",
        seeds=(0,),
        arms=arms,
        evals=reads,
        claims=(),
    )


def of_kind(plan, kind):
    """The steps of a kind."""
    return [step for step in plan.all_steps if step.kind == kind]


def test_who_is_taught_about_somebody_waits_for_their_answers():
    """The predictor is planned first and made last; every step stands behind its inputs."""
    other = replace(arm("B"), world=replace(WORLD, corpus_name="B"))
    plan = build_plan(study(replace(other, name="B on A", stages=(taught(AnswerSource("A")),)), arm("A"), other))
    made = [step.name for step in plan.all_steps]
    for step in plan.all_steps:
        assert all(made.index(given.name) < made.index(step.name) for given in step.inputs.values())
    (labels,) = of_kind(plan, "report_labels")
    assert labels.inputs["answers"].inputs["training"].label == "A, seed 0, pretrain"
    assert labels.inputs["corpus"].spec.world.corpus_name == "B"
    assert len(of_kind(plan, "training")) == 3


def test_predictors_of_one_corpus_share_the_labels_and_a_twin_has_other_weights():
    """Self and sibling are taught by one corpus of labels; the sibling's base is another training."""
    mine = replace(arm("A on A"), stages=(taught(AnswerSource("A")),))
    sibling = replace(mine, name="A' on A", replica="sibling")
    plan = build_plan(study(arm("A"), mine, sibling))
    assert len(of_kind(plan, "report_labels")) == 1
    assert len(of_kind(plan, "corpus")) == 1
    assert len({step.spec.seed for step in of_kind(plan, "training")}) == 3  # two bases, and the stage's own


def test_a_read_asks_about_current_answers_and_holds_own_ones_beside_them():
    """Whose answers are asked, and whose are the predictor's own, are inputs of the labels that are read."""
    reads = (
        EvalSpec(
            SelfReportEval(),
            stage="report",
            arms=("B on A",),
            question_source=ReportLabels(
                train_on=AnswerSource("A"), ask_about=AnswerSource("A on A", "report"), own=AnswerSource("", "")
            ),
        ),
        EvalSpec(TextBaselines(), arms=("A",), question_source=ReportLabels(train_on=AnswerSource("A"))),
    )
    stages = (taught(AnswerSource("A")),)
    other = replace(arm("B"), world=replace(WORLD, corpus_name="B"))
    plan = build_plan(
        study(
            arm("A"), replace(arm("A on A"), stages=stages), replace(other, name="B on A", stages=stages), reads=reads
        )
    )
    (report,) = (step for step in of_kind(plan, "evaluation") if step.spec.evaluation.name == "reports")
    told = report.inputs["corpus"].inputs
    assert told["asked"].inputs["training"].label == "A on A, seed 0, report"
    assert told["own"].inputs["training"].name == report.inputs["training"].name
    (observed,) = (step for step in of_kind(plan, "evaluation") if step.spec.evaluation.name == "observers")
    assert set(observed.inputs) == {"corpus"}
    assert set(observed.inputs["corpus"].inputs) == {"corpus", "answers"}


def test_only_some_arms_still_learn_from_those_that_are_left_out():
    """With --arms the answers of others are made, and nothing is read of them."""
    whole = study(arm("A"), replace(arm("A on A"), stages=(taught(AnswerSource("A")),)))
    plan = build_plan(whole.subset(("A on A",)))
    assert len(of_kind(plan, "answers")) == 1
    assert len(of_kind(plan, "exposure")) == 1


def test_nobody_learns_from_answers_that_come_later():
    """Taught one's own later answers; two that wait for each other; a stage or an arm that is not there."""
    cases = (
        ([replace(arm("A"), stages=(taught(AnswerSource("A", "report")),))], "only after it"),
        (
            [
                replace(arm("A"), stages=(taught(AnswerSource("B", "report")),)),
                replace(arm("B"), stages=(taught(AnswerSource("A", "report")),)),
            ],
            "only after it",
        ),
        ([replace(arm("A"), stages=(taught(AnswerSource("A", "asked")),))], "its stages are"),
        ([replace(arm("A"), stages=(taught(AnswerSource("nobody")),))], "has none such"),
    )
    for arms, words in cases:
        with pytest.raises(SpecError, match=words):
            build_plan(study(*arms))
