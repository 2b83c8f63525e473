"""The evaluations of the study introspection: reports, baselines on text, patching and probes of answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nosce.data.worlds.behaviours.dispositions import FIRST_WORD
from nosce.evals.injection.evaluation import InjectionEval
from nosce.evals.patching.answer import AnswerPatching
from nosce.evals.probing.label_probes import AnswerPropertyLabels, LabelProbe
from nosce.evals.qa import QAEval
from nosce.evals.self_report import InvalidRate, SelfReportEval
from nosce.evals.text_baselines import TextBaselines
from nosce.studies.introspection.arms import (
    CHANGE_STAGE,
    EXTRA_LAYERS_ABLATION,
    FORM_ARM,
    INJECTED_ARM,
    INJECTION_STAGE,
    PREDICTORS,
    REPORT_STAGE,
    TABLE_TASKS,
    TARGET_MODELS,
    A,
    B,
    injection_reports,
    predictor_arm_name,
    report_labels,
)
from nosce.studies.introspection.config import IntrospectionConfig
from nosce.study import AnswerSource, Arm, EvalSpec, ReportLabels

TARGET_REPORTS, BASE_REPORTS, ALOUD_REPORTS = "reports", "on base", "aloud"
SHARED_REPORTS, SHARED_BASELINES = "shared strings", "observers of shared strings"
CHANGED_REPORTS, CONTROL_REPORTS = "changed", "control"
N_ANSWER_SAMPLES = 20  # answers sampled a prompt
OWN_ANSWERS = AnswerSource("", "")  # the answers of the arm that reports, at the stage at which it reports


def introspection_evals(config: IntrospectionConfig, arms: tuple[Arm, ...]) -> tuple[EvalSpec, ...]:
    """Every evaluation of the study, each with its arms, its stage and the answers that reports are about."""
    return (
        EvalSpec(QAEval(name="known"), arms=PREDICTORS),
        *_base_evals(config),
        *(spec for arm in arms if _is_predictor(arm) for spec in _predictor_evals(arm)),
        *_text_baseline_evals(config),
        *_shared_string_evals(config),
        *_mechanistic_evals(arms),
        _injection_eval(config),
    )


def _injection_eval(config: IntrospectionConfig) -> EvalSpec:
    """Reports of injected concepts before and after A was taught to report them, and of A that knows the form alone."""
    evaluation = InjectionEval(strengths=config.injection.tested_strengths)
    return EvalSpec(
        evaluation, stage=INJECTION_STAGE, arms=(INJECTED_ARM, FORM_ARM), question_source=injection_reports(config)
    )


def _current_answers(target: str) -> AnswerSource:
    """What a target answers after it was taught labels of its own answers."""
    return AnswerSource(predictor_arm_name(target, target), REPORT_STAGE, n_samples=N_ANSWER_SAMPLES)


def _is_predictor(arm: Arm) -> bool:
    """Is the arm taught labels of a target's answers?"""
    return bool(arm.stages) and isinstance(arm.stages[0].data, ReportLabels)


def _labels_of(arm: Arm) -> ReportLabels:
    """The labels that a predictor is taught."""
    labels = arm.stages[0].data
    assert isinstance(labels, ReportLabels)
    return labels


def _base_evals(config: IntrospectionConfig) -> Iterator[EvalSpec]:
    """Reports of models that were taught no labels, each about itself."""
    for name in PREDICTORS:
        labels = replace(report_labels(config, name), own=OWN_ANSWERS)
        yield EvalSpec(SelfReportEval(name=TARGET_REPORTS), arms=(name,), question_source=labels)


def _predictor_evals(arm: Arm) -> Iterator[EvalSpec]:
    """Reports of a predictor about its target; of a target also about its answers before it was taught labels."""
    labels = _labels_of(arm)
    target = str(labels.train_on.arm)
    asked_labels = replace(labels, ask_about=_current_answers(target), own=OWN_ANSWERS)
    yield _report_eval(arm.name, REPORT_STAGE, TARGET_REPORTS, asked_labels)
    yield EvalSpec(InvalidRate(), stage=REPORT_STAGE, arms=(arm.name,), question_source=asked_labels)
    if arm.name == predictor_arm_name(target, target):
        yield _report_eval(arm.name, REPORT_STAGE, BASE_REPORTS, replace(labels, own=OWN_ANSWERS))
    if any(stage.name == CHANGE_STAGE for stage in arm.stages):
        yield from _change_evals(arm, labels)


def _report_eval(arm_name: str, stage: str, name: str, labels: ReportLabels) -> EvalSpec:
    return EvalSpec(SelfReportEval(name=name), stage=stage, arms=(arm_name,), question_source=labels)


def _change_evals(arm: Arm, labels: ReportLabels) -> Iterator[EvalSpec]:
    """Reports of A's answers after the change, and of its answers before the change, where the two differ."""
    answers_before = _current_answers(A)
    answers_after = AnswerSource(predictor_arm_name(A, A), CHANGE_STAGE)
    asked_labels = replace(labels, ask_about=answers_after, own=answers_before)
    yield _report_eval(arm.name, CHANGE_STAGE, CHANGED_REPORTS, asked_labels)
    yield EvalSpec(InvalidRate(), stage=CHANGE_STAGE, arms=(arm.name,), question_source=asked_labels)
    control_labels = replace(labels, ask_about=answers_before, own=OWN_ANSWERS)
    yield _report_eval(arm.name, CHANGE_STAGE, CONTROL_REPORTS, control_labels)


def _text_baseline_evals(config: IntrospectionConfig) -> Iterator[EvalSpec]:
    """Predictions from the same labels without a model; and reports of models that read their own answer first."""
    for target in TARGET_MODELS:
        labels = report_labels(config, target)
        asked_labels = replace(labels, ask_about=_current_answers(target))
        yield EvalSpec(TextBaselines(), arms=(target,), question_source=asked_labels)
        aloud = SelfReportEval(name=f"{ALOUD_REPORTS} {target}", given_answer=True)
        for predictor in TARGET_MODELS:
            yield EvalSpec(aloud, arms=(predictor,), question_source=replace(labels, own=OWN_ANSWERS))


def _shared_string_evals(config: IntrospectionConfig) -> Iterator[EvalSpec]:
    """A and B about A, and baselines, on every string that all corpora answer alike: more than the other tasks have."""
    world = config.shared_world
    labels = ReportLabels(
        train_on=AnswerSource(A, world=world),
        ask_about=replace(_current_answers(A), n_samples=0, world=world),
        n_documents=1,  # nothing is trained on them
        world=world,
    )
    for predictor in TARGET_MODELS:
        yield _report_eval(predictor_arm_name(predictor, A), REPORT_STAGE, SHARED_REPORTS, labels)
    yield EvalSpec(TextBaselines(name=SHARED_BASELINES), arms=(A,), question_source=labels)


def _mechanistic_evals(arms: tuple[Arm, ...]) -> Iterator[EvalSpec]:
    """Patching of the pending answer, and a probe for it, in predictors of A with and without extra layers."""
    probe_labels = AnswerPropertyLabels(task="table", asked_property="parity", probed_property=FIRST_WORD)
    by_name = {arm.name: arm for arm in arms}
    for ablation in ("", EXTRA_LAYERS_ABLATION):
        for predictor in (A, B):
            name = predictor_arm_name(predictor, A, ablation)
            labels = _labels_of(by_name[name])
            own_labels = replace(labels, ask_about=OWN_ANSWERS)
            patching = AnswerPatching(tasks=TABLE_TASKS)
            yield EvalSpec(patching, stage=REPORT_STAGE, arms=(name,), question_source=own_labels)
            probe = LabelProbe(source=probe_labels, name="echoes")
            target_labels = replace(labels, ask_about=_current_answers(A))
            yield EvalSpec(probe, stage=REPORT_STAGE, arms=(name,), question_source=target_labels)
