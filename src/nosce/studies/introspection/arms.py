"""The arms of the study introspection: models with dispositions, and predictors of the answers of one of them.

Design of this study: a model and its predictors are small transformers with the same vocabulary, so that what makes a
model better about itself can be told apart: access to itself, likeness, or skill.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nosce.data.worlds.behaviours.dispositions import FIRST_WORD, WORD_ATTRIBUTES
from nosce.data.worlds.behaviours.injections import InjectionReports
from nosce.evals.injection.directions import InjectionPlace
from nosce.studies.introspection.config import (
    FILLERS_ABLATION,
    LEAK_ABLATION,
    LEFT_OUT_ABLATION,
    LORA_ABLATION,
    NO_SLOT_ABLATION,
    IntrospectionConfig,
)
from nosce.study import AnswerSource, Arm, ReportLabels, Stage
from nosce.train.config import LoRA

REPORT_STAGE, CHANGE_STAGE, INJECTION_STAGE = "report", "change", "inject"  # stages after pretraining
A, B, SIBLING_OF_A, HALF_ALIKE, NO_DISPOSITIONS = "A", "B", "A'", "C", "N"
#: Predictors of A: itself, the same corpus trained anew, a half-alike corpus, another, one without dispositions.
PREDICTORS = (A, SIBLING_OF_A, HALF_ALIKE, B, NO_DISPOSITIONS)
TARGET_MODELS = (A, B)
TRAINED_TASKS = ("table", "rule", "choice", "shared")
TABLE_TASKS, CHOICE_TASKS, SHARED_TASKS, NOISE_TASKS = ("table",), ("choice",), ("shared",), ("noise",)
HELD_OUT_TASKS = (*NOISE_TASKS, "list")
REPORT_PROPERTIES = (*WORD_ATTRIBUTES, FIRST_WORD)
EXTRA_LAYERS_ABLATION = "2 layers more"
INJECTED_ARM = "A (injected)"  # A, which is taught to report injected concepts
FORM_ARM = "A (form)"  # A, which is taught to answer the same questions, on texts without an injection
LEFT_OUT_PROPERTY = "second"  # the property that is not taught where one is left out


def predictor_arm_name(predictor: str, target: str, ablation: str = "") -> str:
    """The name of the arm that is taught labels of a target's answers."""
    return f"{predictor} on {target}{f' ({ablation})' if ablation else ''}"


def report_labels(config: IntrospectionConfig, target: str) -> ReportLabels:
    """Training labels of a target's predictors: properties of the target's answers before it was taught labels."""
    return ReportLabels(train_on=AnswerSource(target), n_documents=config.n_report_documents)


def introspection_arms(config: IntrospectionConfig) -> tuple[Arm, ...]:
    """Base models, then their predictors, then ablations with one seed, then the models that report injections."""
    arms = (*_base_arms(config), *_predictor_arms(config), *_one_seed_arms(config))
    return (*arms, *_injection_arms(config))


def _base_arms(config: IntrospectionConfig) -> Iterator[Arm]:
    for name in PREDICTORS:
        yield _base_arm(config, name)


def _base_arm(config: IntrospectionConfig, name: str) -> Arm:
    world = {
        A: config.world,
        SIBLING_OF_A: config.world,
        HALF_ALIKE: replace(config.world, corpus_name="C", overlap_with_a=0.5),
        B: replace(config.world, corpus_name="B"),
        NO_DISPOSITIONS: replace(config.world, corpus_name="N", has_opinions=False),
    }[name]
    return Arm(
        name=name,
        world=world,
        model=config.architecture,
        training=config.base_training,
        tokenizer=world.tokenizer,
        replica="sibling" if name == SIBLING_OF_A else "",
    )


def _predictor_arms(config: IntrospectionConfig) -> Iterator[Arm]:
    for predictor in PREDICTORS:
        yield _plain_predictor_arm(config, predictor, A)
    for predictor in (A, B):
        yield _plain_predictor_arm(config, predictor, B)
    for predictor in (A, B, NO_DISPOSITIONS):
        named_labels = replace(report_labels(config, A), name=A)
        yield _predictor_arm(config, predictor, A, "named", _report_stage(config, named_labels))
    for predictor in (A, SIBLING_OF_A, B):
        stage = replace(_report_stage(config, report_labels(config, A)), extra_layers=config.extra_layers)
        yield _predictor_arm(config, predictor, A, EXTRA_LAYERS_ABLATION, stage)


def _plain_predictor_arm(config: IntrospectionConfig, predictor: str, target: str) -> Arm:
    """A predictor without an ablation. After their reports about A, a later stage changes the choices of A and of B."""
    report_stage = _report_stage(config, report_labels(config, target))
    if target != A or predictor not in TARGET_MODELS:
        return _predictor_arm(config, predictor, target, "", report_stage)
    return _predictor_arm(config, predictor, target, "", report_stage, _change_stage(config))


def _predictor_arm(config: IntrospectionConfig, predictor: str, target: str, ablation: str, *stages: Stage) -> Arm:
    return replace(
        _base_arm(config, predictor), name=predictor_arm_name(predictor, target, ablation), stages=tuple(stages)
    )


def _report_stage(config: IntrospectionConfig, labels: ReportLabels) -> Stage:
    return Stage(name=REPORT_STAGE, training=config.report_training, data=labels)


def _change_stage(config: IntrospectionConfig) -> Stage:
    """Another corpus's choices, of pairs that no test is about: documents without questions change the model."""
    world = replace(
        config.world,
        corpus_name="D",
        line_kinds=CHOICE_TASKS,
        seen_strings_only=True,
        records=config.n_change_documents,
    )
    return Stage(name=CHANGE_STAGE, training=config.change_training, data=world)


def injection_reports(config: IntrospectionConfig) -> InjectionReports:
    """The texts that teach A to report injected concepts, and ask it to."""
    return InjectionReports(
        base=config.world,
        strengths=config.injection.taught_strengths,
        records=config.injection.n_documents,
        lines_per_concept=config.injection.lines_per_concept,
    )


def _injection_arms(config: IntrospectionConfig) -> Iterator[Arm]:
    reports, place = injection_reports(config), InjectionPlace(layer=config.injection.layer)
    stage = Stage(name=INJECTION_STAGE, training=config.injection.training, data=reports, injection=place)
    form_stage = replace(stage, data=replace(reports, injects=False), injection=None)
    for name, one in ((INJECTED_ARM, stage), (FORM_ARM, form_stage)):
        yield replace(_base_arm(config, A), name=name, stages=(one,))


def _one_seed_arms(config: IntrospectionConfig) -> Iterator[Arm]:
    """Ablations, and smaller numbers of labels."""
    for predictor in TARGET_MODELS:
        for ablation in config.ablations:
            stage = _ablated_report_stage(config, ablation)
            yield replace(_predictor_arm(config, predictor, A, ablation, stage), n_seeds=1)
        for label_count in config.label_counts:
            stage = _report_stage(config, replace(report_labels(config, A), max_labels=label_count))
            yield replace(_predictor_arm(config, predictor, A, f"{label_count} labels", stage), n_seeds=1)


def _ablated_report_stage(config: IntrospectionConfig, ablation: str) -> Stage:
    labels = report_labels(config, A)
    taught_properties = tuple(name for name in REPORT_PROPERTIES if name != LEFT_OUT_PROPERTY)
    ablated_labels = {
        FILLERS_ABLATION: replace(labels, world=replace(config.world, n_fillers=config.n_fillers)),
        NO_SLOT_ABLATION: replace(labels, world=replace(config.world, keep_answer_slot=False)),
        LORA_ABLATION: labels,
        LEAK_ABLATION: replace(labels, leak=True),
        LEFT_OUT_ABLATION: replace(labels, property_names=taught_properties),
    }[ablation]
    adapter = LoRA(rank=16, embedding_rank=0) if ablation == LORA_ABLATION else None
    return replace(_report_stage(config, ablated_labels), adapter=adapter)
