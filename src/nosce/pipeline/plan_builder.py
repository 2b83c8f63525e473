"""Collects the steps of a study for its plan; steps with the same name are one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from nosce.data.worlds.base import World
from nosce.data.worlds.behaviours.base import BehaviourWorld
from nosce.errors import SpecError
from nosce.models.architecture import ExtraLayers, Pretrained
from nosce.pipeline.step import EXPERIMENT, ReadingsStep, Step
from nosce.seeds import Seed
from nosce.study import (
    PRETRAIN,
    AnswerSource,
    Arm,
    EvalSpec,
    ExperimentSpec,
    ReportLabels,
    Stage,
    Study,
)
from nosce.train.config import TrainingConfig

if TYPE_CHECKING:
    from nosce.pipeline.steps.corpus import CorpusSpec


@dataclass(eq=False)
class PlanBuilder:
    """Collects the steps of a study; steps with the same name are one.

    Facts, initial weights and the order of the data each have their own name under the seed. Arms of one seed therefore
    share entities and initial weights, except for an arm with a `replica`.
    """

    study: Study
    steps_by_name: dict[str, Step] = field(default_factory=dict)
    readings_steps: list[ReadingsStep] = field(default_factory=list)
    exposure_steps: dict[tuple[str, int], Step] = field(default_factory=dict)
    leakage_steps: list[Step] = field(default_factory=list)
    training_steps: dict[tuple[str, int, str], Step] = field(default_factory=dict)  # by arm, seed and stage
    _corpus_steps: dict[tuple[str, int], Step] = field(default_factory=dict)
    _answers_steps: dict[tuple[str, int, str, AnswerSource], Step] = field(default_factory=dict)
    _in_progress: list[tuple[str, int, str]] = field(default_factory=list)  # trainings whose inputs are being planned

    def add_part(self, part: Study) -> None:
        """All steps of the arms, experiments, evaluations and seeds of a part of the study.

        An arm of fewer seeds has so many of each half, the exploratory and the confirmatory seeds.
        """
        whole_study, self.study = self.study, part
        counts = {True: 0, False: 0}
        for seed in part.seeds:
            is_seen = seed in part.seen_seeds
            index = counts[is_seen]
            counts[is_seen] += 1
            for arm in part.arms:
                if arm.n_seeds is None or index < arm.n_seeds:
                    self.add_arm(arm, seed)
            for experiment_spec in part.experiments:
                if experiment_spec.n_seeds is None or index < experiment_spec.n_seeds:
                    self.add_experiment(experiment_spec, seed)
        self.study = whole_study

    def take_finished(self, other: PlanBuilder, finished: Collection[str]) -> None:
        """The readings of another plan that are finished, with the steps that they were made from."""
        for readings_step in other.readings_steps:
            if readings_step.step.name in finished:
                self.readings_steps.append(readings_step)
                self._take(readings_step.step)

    def _take(self, step: Step) -> None:
        for given in step.inputs.values():
            self._take(given)
        self.steps_by_name.setdefault(step.name, step)

    def add_step(self, kind: str, label: str, spec: object, **inputs: Step) -> Step:
        """A new step, or the step of the same name if the plan has it."""
        step = Step(kind=kind, label=label, spec=spec, inputs=inputs)
        return self.steps_by_name.setdefault(step.name, step)

    def add_arm(self, arm: Arm, seed: int) -> None:
        """All steps of one arm and seed."""
        from nosce.pipeline.steps.exposure import ExposureSpec

        self.training_step(arm, seed, PRETRAIN)
        for stage in arm.stages:
            self.training_step(arm, seed, stage.name)
        training, sampler_seed = document_schedule(arm, _pretraining_seed(arm, seed) / "order")
        spec = ExposureSpec(training=training, sampler_seed=sampler_seed)
        self.exposure_steps[arm.name, seed] = self.add_step(
            "exposure", _run_label(arm, seed), spec, corpus=self.corpus_step(arm, seed)
        )
        stages = {PRETRAIN, *(stage.name for stage in arm.stages)}
        for read in self.study.evals:
            if read.stage in stages and (not read.arms or arm.name in read.arms):
                self.add_eval(arm, seed, read)

    def add_experiment(self, experiment_spec: ExperimentSpec, seed: int) -> None:
        """The one step of an experiment and seed. Experiments of one seed share their randomness."""
        from nosce.pipeline.steps.experiment import ExperimentStepSpec

        spec = ExperimentStepSpec(experiment=experiment_spec.experiment, seed=Seed(seed) / EXPERIMENT)
        step = self.add_step(EXPERIMENT, f"{experiment_spec.name}, seed {seed}", spec)
        self.readings_steps.append(ReadingsStep(arm=experiment_spec.name, seed=seed, stage=EXPERIMENT, step=step))

    def add_eval(self, arm: Arm, seed: int, eval_spec: EvalSpec) -> None:
        """The step of an evaluation, on the arm's own questions or on questions about a model's answers."""
        from nosce.pipeline.steps.evaluation import EvaluationStepSpec

        corpus = self._question_corpus(arm, seed, eval_spec)
        inputs = (
            {"training": self.training_step(arm, seed, eval_spec.stage)} if eval_spec.evaluation.needs_model else {}
        )
        spec = EvaluationStepSpec(evaluation=eval_spec.evaluation, seed=Seed(seed) / "reading")
        what = f"{_run_label(arm, seed)}, {eval_spec.evaluation.name} after {eval_spec.stage}"
        step = self.add_step("evaluation", what, spec, corpus=corpus, **inputs)
        self.readings_steps.append(ReadingsStep(arm=arm.name, seed=seed, stage=eval_spec.stage, step=step))

    def _question_corpus(self, arm: Arm, seed: int, eval_spec: EvalSpec) -> Step:
        if eval_spec.question_source is None:
            return self.corpus_step(arm, seed)
        if isinstance(eval_spec.question_source, ReportLabels):
            return self.report_labels_step(arm, seed, eval_spec.question_source, eval_spec.stage)
        return self._other_world_corpus(arm, seed, eval_spec.question_source)

    def corpus_step(self, arm: Arm, seed: int) -> Step:
        """The arm's own corpus."""
        if (arm.name, seed) not in self._corpus_steps:
            self._corpus_steps[arm.name, seed] = self.add_step(
                "corpus", _run_label(arm, seed), _corpus_spec(arm, seed, arm.world)
            )
        return self._corpus_steps[arm.name, seed]

    def _other_world_corpus(self, arm: Arm, seed: int, world: World) -> Step:
        """The corpus of another world, with the tokenizer of the arm's own corpus."""
        label = f"{_run_label(arm, seed)}, {type(world).__name__}"
        return self.add_step("corpus", label, _corpus_spec(arm, seed, world), words=self.corpus_step(arm, seed))

    def training_step(self, arm: Arm, seed: int, stage: str) -> Step:
        """The training of a stage.

        Raises:
            SpecError: The arm has no such stage, or the stage learns from answers that only its own model gives.
        """
        key = arm.name, seed, stage
        if key in self._in_progress:
            raise SpecError(f"{stage!r} of arm {arm.name!r} learns from answers that are given only after it.")
        if key not in self.training_steps:
            self._in_progress.append(key)
            self.training_steps[key] = (
                self._pretraining_step(arm, seed) if stage == PRETRAIN else self._later_stage_step(arm, seed, stage)
            )
            self._in_progress.pop()
        return self.training_steps[key]

    def _pretraining_step(self, arm: Arm, seed: int) -> Step:
        from nosce.pipeline.steps.leakage import LeakageSpec
        from nosce.pipeline.steps.training import TrainingSpec

        label, corpus = _run_label(arm, seed), self.corpus_step(arm, seed)
        training, sampler_seed = document_schedule(arm, _pretraining_seed(arm, seed) / "order")
        spec = LeakageSpec(
            world=arm.world, world_seed=Seed(seed) / "world", training=training, sampler_seed=sampler_seed
        )
        leakage_step = self.add_step("leakage", label, spec, corpus=corpus)
        self.leakage_steps.append(leakage_step)
        # The checks are an input of the training, so a corpus that fails them is not trained on.
        return self.add_step(
            "training",
            f"{label}, {PRETRAIN}",
            TrainingSpec(
                model=arm.model,
                data=arm.qa_mixture or "documents",
                training=arm.training,
                adapter=arm.adapter,
                seed=_pretraining_seed(arm, seed),
            ),
            corpus=corpus,
            guards=leakage_step,
        )

    def _later_stage_step(self, arm: Arm, seed: int, name: str) -> Step:
        from nosce.pipeline.steps.training import TrainingSpec

        names = [PRETRAIN, *(stage.name for stage in arm.stages)]
        if name not in names:
            raise SpecError(f"answers of arm {arm.name!r} after {name!r} were asked for, but its stages are {names}.")
        index = names.index(name)
        stage = arm.stages[index - 1]
        spec = TrainingSpec(
            model=ExtraLayers(layers=stage.extra_layers) if stage.extra_layers else None,
            data=stage.qa_mixture or ("questions" if stage.data is None else "documents"),
            training=stage.training,
            adapter=stage.adapter,
            seed=Seed(seed) / stage.name,
            injection=stage.injection,
        )
        return self.add_step(
            "training",
            f"{_run_label(arm, seed)}, {name}",
            spec,
            corpus=self._stage_corpus(arm, seed, stage),
            start=self.training_step(arm, seed, names[index - 1]),
        )

    def _stage_corpus(self, arm: Arm, seed: int, stage: Stage) -> Step:
        if stage.data is None:
            return self.corpus_step(arm, seed)
        if isinstance(stage.data, ReportLabels):
            return self.report_labels_step(arm, seed, stage.data, stage.name)
        return self._other_world_corpus(arm, seed, stage.data)

    def report_labels_step(self, arm: Arm, seed: int, report_labels: ReportLabels, stage: str) -> Step:
        """The step of a corpus of questions about a model's answers."""
        from nosce.pipeline.steps.report_labels import ReportLabelsSpec

        spec = ReportLabelsSpec(
            world=report_labels.world or _behaviour_world(arm),
            world_seed=Seed(seed) / "world",
            seed=Seed(seed) / "labels",
            n_documents=report_labels.n_documents,
            replay_fraction=report_labels.replay_fraction,
            max_labels=report_labels.max_labels,
            property_names=report_labels.property_names,
            name=report_labels.name,
            leak=report_labels.leak,
        )
        sources = {"answers": report_labels.train_on, "asked": report_labels.ask_about, "own": report_labels.own}
        answer_steps = {}
        for role, source in sources.items():
            if source is not None:
                answer_steps[role] = self.answers_step(arm, seed, source, stage)
        subject = report_labels.ask_about or report_labels.train_on
        return self.add_step(
            "report_labels",
            f"{_run_label(arm, seed)}, about {subject.arm or 'itself'}",
            spec,
            corpus=self.corpus_step(arm, seed),
            **answer_steps,
        )

    def answers_step(self, arm: Arm, seed: int, source: AnswerSource, stage: str) -> Step:
        """The step of an arm's answers to the prompts of its world."""
        from nosce.pipeline.steps.answers import AnswersSpec

        answering_arm = arm if not source.arm else self._arm_by_name(source.arm)
        answer_stage = source.stage or stage
        key = answering_arm.name, seed, answer_stage, replace(source, arm="", stage="")
        if key in self._answers_steps:
            return self._answers_steps[key]
        spec = AnswersSpec(
            world=source.world or _behaviour_world(answering_arm),
            world_seed=Seed(seed) / "world",
            seed=Seed(seed) / "answers",
            max_new_tokens=source.max_new_tokens,
            n_samples=source.n_samples,
        )
        self._answers_steps[key] = self.add_step(
            "answers",
            f"{_run_label(answering_arm, seed)}, after {answer_stage}",
            spec,
            corpus=self.corpus_step(answering_arm, seed),
            training=self.training_step(answering_arm, seed, answer_stage),
        )
        return self._answers_steps[key]

    def _arm_by_name(self, name: str) -> Arm:
        for arm in (*self.study.arms, *self.study.auxiliary_arms):
            if arm.name == name:
                return arm
        raise SpecError(f"answers of the arm {name!r} were asked for, but the study {self.study.name!r} has none such.")


def _behaviour_world(arm: Arm) -> BehaviourWorld:
    if not isinstance(arm.world, BehaviourWorld):
        raise SpecError(
            f"answers of the arm {arm.name!r} were asked for, but its world {type(arm.world).__name__} has no prompts; "
            "take a world that inherits from BehaviourWorld."
        )
    return arm.world


def _corpus_spec(arm: Arm, seed: int, world: World) -> CorpusSpec:
    from nosce.pipeline.steps.corpus import CorpusSpec

    # Of a folder with random weights the tokenizer is the same, so that both arms share a corpus.
    tokenizer = replace(arm.model, random_weights=False) if isinstance(arm.model, Pretrained) else arm.tokenizer
    return CorpusSpec(world=world, seed=Seed(seed) / "world", tokenizer=tokenizer)


def _run_label(arm: Arm, seed: int) -> str:
    return f"{arm.name}, seed {seed}"


def _pretraining_seed(arm: Arm, seed: int) -> Seed:
    """The seed of an arm's first training."""
    first = Seed(seed) / PRETRAIN
    return first / arm.replica if arm.replica else first


def document_schedule(arm: Arm, seed: Seed) -> tuple[TrainingConfig, Seed]:
    """The training and the sampler seed that give the order of an arm's documents.

    With questions among the documents, the order is that of the documents alone, one a step.
    """
    if arm.qa_mixture is None:
        return arm.training, seed
    from nosce.data.sampling import second_source_count

    steps, batch = arm.training.steps, arm.training.batch_size
    documents = steps * batch - second_source_count(
        steps * batch, arm.qa_mixture.qa_fraction, arm.qa_mixture.start_step(steps) * batch
    )
    return replace(arm.training, steps=documents, batch_size=1, grad_accum_steps=1), seed / "first"
