"""The arms of the study introspection: models with dispositions, and predictors of whose answers.

Source: the design of the sheet for arXiv:2410.13787, section 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from nosce.data.worlds.behaviours.dispositions import FIRST_WORD, WORD_ATTRIBUTES, Dispositions
from nosce.evals.patching.answer import AnswerPatching
from nosce.evals.probing.label_probes import AnswerPropertyLabels, LabelProbe
from nosce.evals.qa import QAEval
from nosce.evals.self_report import InvalidRate, SelfReportEval
from nosce.evals.text_baselines import TextBaselines
from nosce.models.architecture import Architecture
from nosce.seeds import Seed
from nosce.study import AnswerSource, Arm, EvalSpec, ReportLabels, Stage
from nosce.train.config import LoRA, TrainingConfig

REPORT_STAGE, CHANGE_STAGE = "report", "change"  # stages
A, B, SIBLING_OF_A, HALF_ALIKE, NO_DISPOSITIONS = "A", "B", "A'", "C", "N"
#: Who may predict A: itself, the same corpus trained anew, one that is half alike, another, one without dispositions.
PREDICTORS = (A, SIBLING_OF_A, HALF_ALIKE, B, NO_DISPOSITIONS)
TARGET_MODELS = (A, B)
TARGET_REPORTS, BASE_REPORTS, ALOUD_REPORTS, CHANGED_REPORTS, CONTROL_REPORTS = (
    "reports",
    "on base",
    "aloud",
    "changed",
    "control",
)
TRAINED_TASKS = ("table", "rule", "choice", "shared")
TABLE_TASKS, CHOICE_TASKS, SHARED_TASKS, HELD_OUT_TASKS = ("table",), ("choice",), ("shared",), ("noise", "list")
REPORT_PROPERTIES = (*WORD_ATTRIBUTES, FIRST_WORD)
EXTRA_LAYERS_ABLATION = "2 layers more"
FILLERS_ABLATION, NO_SLOT_ABLATION, LORA_ABLATION, LEAK_ABLATION, LEFT_OUT_ABLATION = ABLATIONS = (
    "fillers",
    "no slot",
    "LoRA",
    "leak",
    "one left out",
)
LEFT_OUT_PROPERTY = "second"  # the property that is not taught where one is left out
NUM_ANSWER_SAMPLES = 20


def predictor_arm_name(predictor: str, target: str, ablation: str = "") -> str:
    """The name of the arm that was taught about somebody's answers."""
    return f"{predictor} on {target}{f' ({ablation})' if ablation else ''}"


@dataclass(frozen=True, kw_only=True)
class IntrospectionConfig:
    """All that is trained at a scale."""

    world: Dispositions
    architecture: Architecture
    base_training: TrainingConfig
    report_training: TrainingConfig
    n_report_documents: int  # documents of a predictor, half of them its own corpus
    change_training: TrainingConfig
    n_change_documents: int
    label_counts: tuple[int, ...]  # numbers of labels, fewer than all
    extra_layers: int = 2
    n_fillers: int = 4
    ablations: tuple[str, ...] = ABLATIONS

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Bases, then predictors, then doses of one seed."""
        arms = [self._base_arm(name) for name in PREDICTORS]
        arms += [self._predictor_arm(predictor, A) for predictor in PREDICTORS]
        arms += [self._predictor_arm(predictor, B) for predictor in (A, B)]
        arms += [self._predictor_arm(predictor, A, "named", named_target=A) for predictor in (A, B, NO_DISPOSITIONS)]
        arms += [
            self._predictor_arm(predictor, A, EXTRA_LAYERS_ABLATION, extra_layers=self.extra_layers)
            for predictor in (A, SIBLING_OF_A, B)
        ]
        arms += [replace(arm, n_seeds=1) for arm in self._ablation_arms()]
        return tuple(arms)

    def report_labels(self, target: str, **overrides: object) -> ReportLabels:
        """What predictors of a target are taught: labels of its answers before anybody was taught anything."""
        return ReportLabels(train_on=AnswerSource(target), n_documents=self.n_report_documents, **overrides)  # type: ignore[arg-type]

    def _base_arm(self, name: str) -> Arm:
        world = {
            A: self.world,
            SIBLING_OF_A: self.world,
            HALF_ALIKE: replace(self.world, corpus_name="C", overlap_with_a=0.5),
            B: replace(self.world, corpus_name="B"),
            NO_DISPOSITIONS: replace(self.world, corpus_name="N", has_opinions=False),
        }[name]
        return Arm(
            name=name,
            world=world,
            model=self.architecture,
            training=self.base_training,
            tokenizer=world.tokenizer,
            replica="sibling" if name == SIBLING_OF_A else "",
        )

    def _predictor_arm(
        self,
        predictor: str,
        target: str,
        ablation: str = "",
        *,
        adapter: LoRA | None = None,
        extra_layers: int = 0,
        named_target: str | None = None,
        **overrides: object,
    ) -> Arm:
        labels = self.report_labels(target, name=named_target, **overrides)
        report_stage = Stage(
            name=REPORT_STAGE, training=self.report_training, data=labels, adapter=adapter, extra_layers=extra_layers
        )
        stages = [report_stage]
        if target == A and predictor in TARGET_MODELS and not ablation:
            # Another corpus's choices, of pairs that no test is about: what has no questions in it changes the model.
            other_world = replace(
                self.world,
                corpus_name="D",
                line_kinds=CHOICE_TASKS,
                seen_strings_only=True,
                records=self.n_change_documents,
            )
            stages.append(Stage(name=CHANGE_STAGE, training=self.change_training, data=other_world))
        return replace(
            self._base_arm(predictor), name=predictor_arm_name(predictor, target, ablation), stages=tuple(stages)
        )

    def _ablation_arms(self) -> Iterator[Arm]:
        arguments: dict[str, dict[str, Any]] = {
            FILLERS_ABLATION: {"world": replace(self.world, n_fillers=self.n_fillers)},
            NO_SLOT_ABLATION: {"world": replace(self.world, keep_answer_slot=False)},
            LORA_ABLATION: {"adapter": LoRA(rank=16, embedding_rank=0)},
            LEAK_ABLATION: {"leak": True},
            LEFT_OUT_ABLATION: {
                "property_names": tuple(name for name in REPORT_PROPERTIES if name != LEFT_OUT_PROPERTY)
            },
        }
        for predictor in TARGET_MODELS:
            for ablation in self.ablations:
                yield self._predictor_arm(predictor, A, ablation, **arguments[ablation])
            for label_count in self.label_counts:
                yield self._predictor_arm(predictor, A, f"{label_count} labels", max_labels=label_count)

    @property
    def max_label_count(self) -> int:
        """Different labels of valid answers, of strings that may be learnt from."""
        prompts = self.world.prompts(Seed(0))
        return sum(len(prompt.property_names) for prompt in prompts if prompt.split == "seen")

    @property
    def evals(self) -> tuple[EvalSpec, ...]:
        """What is asked of whom."""
        evals = [EvalSpec(QAEval(name="known"), arms=PREDICTORS)]
        own_answers = AnswerSource("", "")
        for name in PREDICTORS:
            evals.append(
                EvalSpec(
                    SelfReportEval(name=TARGET_REPORTS),
                    arms=(name,),
                    question_source=self.report_labels(name, own=own_answers),
                )
            )
        for arm in self.arms:
            for stage in arm.stages:
                assert isinstance(arm.stages[0].data, ReportLabels)
                labels = arm.stages[0].data
                target = str(labels.train_on.arm)
                current_answers = AnswerSource(
                    predictor_arm_name(target, target), REPORT_STAGE, n_samples=NUM_ANSWER_SAMPLES
                )
                if stage.name == REPORT_STAGE:
                    asked_labels = replace(labels, ask_about=current_answers, own=own_answers)
                    evals.append(
                        EvalSpec(
                            SelfReportEval(name=TARGET_REPORTS),
                            stage=REPORT_STAGE,
                            arms=(arm.name,),
                            question_source=asked_labels,
                        )
                    )
                    evals.append(
                        EvalSpec(InvalidRate(), stage=REPORT_STAGE, arms=(arm.name,), question_source=asked_labels)
                    )
                    if arm.name == predictor_arm_name(target, target):
                        evals.append(
                            EvalSpec(
                                SelfReportEval(name=BASE_REPORTS),
                                stage=REPORT_STAGE,
                                arms=(arm.name,),
                                question_source=replace(labels, own=own_answers),
                            )
                        )
                else:
                    evals += self._change_evals(arm, labels)
        return (*evals, *self._text_baseline_evals(), *self._mechanistic_evals())

    def _change_evals(self, arm: Arm, labels: ReportLabels) -> Iterator[EvalSpec]:
        """What is reported of what A answers now, and of what it answered before, where the two differ."""
        answers_before, answers_after = (
            AnswerSource(predictor_arm_name(A, A), REPORT_STAGE, n_samples=NUM_ANSWER_SAMPLES),
            AnswerSource(predictor_arm_name(A, A), CHANGE_STAGE),
        )
        asked_labels = replace(labels, ask_about=answers_after, own=answers_before)
        yield EvalSpec(
            SelfReportEval(name=CHANGED_REPORTS), stage=CHANGE_STAGE, arms=(arm.name,), question_source=asked_labels
        )
        yield EvalSpec(InvalidRate(), stage=CHANGE_STAGE, arms=(arm.name,), question_source=asked_labels)
        yield EvalSpec(
            SelfReportEval(name=CONTROL_REPORTS),
            stage=CHANGE_STAGE,
            arms=(arm.name,),
            question_source=replace(labels, ask_about=answers_before, own=AnswerSource("", "")),
        )

    def _text_baseline_evals(self) -> Iterator[EvalSpec]:
        for target in TARGET_MODELS:
            current_answers = AnswerSource(
                predictor_arm_name(target, target), REPORT_STAGE, n_samples=NUM_ANSWER_SAMPLES
            )
            yield EvalSpec(
                TextBaselines(),
                arms=(target,),
                question_source=replace(self.report_labels(target), ask_about=current_answers),
            )
            for predictor in TARGET_MODELS:
                yield EvalSpec(
                    SelfReportEval(name=f"{ALOUD_REPORTS} {target}", given_answer=True),
                    arms=(predictor,),
                    question_source=self.report_labels(target, own=AnswerSource("", "")),
                )

    def _mechanistic_evals(self) -> Iterator[EvalSpec]:
        own_answers = AnswerSource("", "")
        for name in (
            predictor_arm_name(A, A),
            predictor_arm_name(B, A),
            predictor_arm_name(A, A, EXTRA_LAYERS_ABLATION),
            predictor_arm_name(B, A, EXTRA_LAYERS_ABLATION),
        ):
            arm = next(arm for arm in self.arms if arm.name == name)
            labels = arm.stages[0].data
            assert isinstance(labels, ReportLabels)
            yield EvalSpec(
                AnswerPatching(tasks=TABLE_TASKS),
                stage=REPORT_STAGE,
                arms=(name,),
                question_source=replace(labels, ask_about=own_answers),
            )
            yield EvalSpec(
                LabelProbe(
                    source=AnswerPropertyLabels(task="table", asked_property="parity", probed_property=FIRST_WORD),
                    name="echoes",
                ),
                stage=REPORT_STAGE,
                arms=(name,),
                question_source=replace(
                    labels, ask_about=AnswerSource(predictor_arm_name(A, A), REPORT_STAGE, n_samples=NUM_ANSWER_SAMPLES)
                ),
            )


def introspection_config(scale: str) -> IntrospectionConfig | None:
    """What is trained at a scale; None where there is none."""
    world = Dispositions(vocabulary_size=20, n_contexts=300, records=100_000, prompts_per_task=150, unseen_share=1 / 3)
    architecture = Architecture(layers=4, width=64, heads=2, max_positions=40)
    base_training = TrainingConfig(steps=2_500, batch_size=256, optimizer="muon", peak_lr=5e-3)
    report_training = TrainingConfig(steps=600, batch_size=128, optimizer="muon", muon_lr=0.01, peak_lr=2e-3)
    change_training = TrainingConfig(steps=60, batch_size=16, optimizer="muon", muon_lr=0.01, peak_lr=2e-3)
    match scale:
        case "smoke":
            return IntrospectionConfig(
                world=replace(world, vocabulary_size=8, n_contexts=24, records=1_000, prompts_per_task=12),
                architecture=architecture,
                base_training=replace(base_training, steps=20, batch_size=32),
                report_training=replace(report_training, steps=10, batch_size=32),
                n_report_documents=400,
                change_training=replace(change_training, steps=4),
                n_change_documents=100,
                label_counts=(30,),
                ablations=(LEAK_ABLATION,),
            )
        case "laptop":
            return IntrospectionConfig(
                world=world,
                architecture=architecture,
                base_training=base_training,
                report_training=report_training,
                n_report_documents=40_000,
                change_training=change_training,
                n_change_documents=1_000,
                label_counts=(200, 700),
            )
        case "gpu":
            return IntrospectionConfig(
                world=replace(world, vocabulary_size=32, n_contexts=900, records=1_000_000, prompts_per_task=400),
                architecture=Architecture(layers=6, width=256, heads=8, max_positions=40),
                base_training=replace(base_training, steps=20_000),
                report_training=replace(report_training, steps=3_000),
                n_report_documents=400_000,
                change_training=change_training,
                n_change_documents=1_000,
                label_counts=(500, 2_000),
            )
    return None
