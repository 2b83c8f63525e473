"""What a plan would cost: tokens, operations, disk, and minutes by a calibration on this machine."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nosce.evals.base import Evaluation
from nosce.models.architecture import Architecture, Pretrained
from nosce.pipeline.expected_work import longest_first, remaining_work, trained_model
from nosce.pipeline.plan import Plan, Step
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.steps.evaluation import EvaluationStepSpec
from nosce.pipeline.steps.experiment import ExperimentStepSpec
from nosce.pipeline.steps.report_labels import ReportLabelsSpec
from nosce.pipeline.steps.training import TrainingSpec
from nosce.pipeline.timing import (
    PlaceholderLabels,
    TimingTexts,
    WorldSample,
    count_parameters,
    time_evaluation,
    time_training,
    truncate_layers,
)
from nosce.store.spec import Json, describe, hash_description
from nosce.train.memory import TrainingMemory, training_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class StepCost:
    """The expected cost of a training, an evaluation or an experiment; the latter two have seconds alone."""

    step: Step
    seconds: float  # of one core
    tokens: float = 0.0
    flops: float = 0.0
    disk_bytes: float = 0.0
    memory: TrainingMemory | None = None  # of a training with fresh weights


def estimate_costs(plan: Plan, pending: Sequence[Step]) -> list[StepCost]:
    """The cost of every training, evaluation and experiment to do; each shape is timed once, for a few seconds.

    FLOPs are 6 × parameters × tokens (attention left out); disk counts the kept checkpoints.
    """
    estimator = _CostEstimator()
    estimators: dict[str, Callable[[Step], StepCost | None]] = {
        "training": estimator.training_cost,
        "evaluation": estimator.evaluation_cost,
        "experiment": estimator.experiment_cost,
    }
    costs = [estimators[step.kind](step) for step in pending if step.kind in estimators]
    return [cost for cost in costs if cost is not None]


def makespan_minutes(pending: Sequence[Step], costs: Sequence[StepCost], workers: int) -> float:
    """Minutes until the last step ends, if free workers start what has the most work behind it, as those of a run."""
    seconds = {cost.step.name: cost.seconds for cost in costs}
    wanted = {step.name for step in pending}
    waiting, finished, now = longest_first(pending, remaining_work(pending)), set[str](), 0.0
    running: list[tuple[float, str]] = []
    while waiting or running:
        for step in [s for s in waiting if all(i.name in finished or i.name not in wanted for i in s.inputs.values())]:
            if len(running) < workers:
                waiting.remove(step)
                heapq.heappush(running, (now + seconds.get(step.name, 0.0), step.name))
        now, name = heapq.heappop(running)
        finished.add(name)
    return now / 60


@dataclass(frozen=True)
class _CostEstimator:
    """Estimates costs, and keeps the times measured so far by shape of the work."""

    samples: dict[str, WorldSample] = field(default_factory=dict)
    texts: dict[WorldSample, TimingTexts] = field(default_factory=dict)
    training_times: dict[str, tuple[float, PreTrainedModel]] = field(
        default_factory=dict
    )  # with the model that was timed
    evaluation_times: dict[str, tuple[float, int]] = field(default_factory=dict)  # seconds, and questions
    experiment_times: dict[str, float] = field(default_factory=dict)

    def training_cost(self, step: Step) -> StepCost:
        """Tokens, operations, disk and seconds of a training."""
        seconds, _ = self._timed_training(step)
        texts, spec = self._texts(step), _training_spec(step)
        config = spec.training
        n_parameters = count_parameters(trained_model(step), texts.vocab_size)
        tokens = config.steps * config.batch_size * texts.training_data(spec.data)[1]
        return StepCost(
            step,
            seconds * config.steps,
            tokens,
            6 * n_parameters * tokens,
            4.0 * n_parameters * len(config.checkpoint_steps),
            self._training_memory(step),
        )

    def _training_memory(self, step: Step) -> TrainingMemory | None:
        """What a training needs on a GPU; None for a model in a local folder, whose layers are not known here."""
        model, texts, spec = trained_model(step), self._texts(step), _training_spec(step)
        config = spec.training
        if not isinstance(model, Architecture):
            return None
        dataset, mean_tokens = texts.training_data(spec.data)
        return training_memory(
            model,
            config,
            texts.vocab_size,
            mean_tokens=mean_tokens,
            max_tokens=int(dataset.lengths.max()),
            precision="float32" if config.dtype == "float32" else "bfloat16",
            adapter=spec.adapter,
        )

    def evaluation_cost(self, step: Step) -> StepCost:
        """Seconds of an evaluation."""
        spec = step.spec
        assert isinstance(spec, EvaluationStepSpec)
        corpus, training_step = step.inputs["corpus"], step.inputs.get("training")
        n_checkpoints = 1 if training_step is None else len(_training_spec(training_step).training.checkpoint_steps)
        sample, texts = self._world_sample(corpus), self._corpus_texts(corpus)
        shape = None
        if training_step is not None:  # the training data decide when replies end
            shape = [
                describe(trained_model(training_step)),
                texts.vocab_size,
                str(_training_spec(training_step).data),
                _rounded_length(texts.training_data("documents")[1]),
            ]
        world_kind = type(_corpus_or_labels_spec(corpus).world).__name__
        key = hash_description([describe(spec.evaluation), shape, n_checkpoints, world_kind])
        if key not in self.evaluation_times:
            model = None if training_step is None else self._timed_training(training_step)[1]
            depth_factor = (
                1.0
                if training_step is None
                else _depth_factor(trained_model(training_step), texts.vocab_size, spec.evaluation)
            )
            seconds = time_evaluation(spec.evaluation, sample, model, n_checkpoints, spec.seed)
            self.evaluation_times[key] = (depth_factor * seconds, len(sample.questions))
        seconds, n_questions = self.evaluation_times[key]
        if spec.evaluation.timing_subset() is not None:
            return StepCost(step, seconds)
        # Evaluation time scales with the number of questions.
        return StepCost(step, seconds * sample.scale * len(sample.questions) / max(1, n_questions))

    def experiment_cost(self, step: Step) -> StepCost | None:
        """Seconds of an experiment, by its `timing_subset`; None where it has none."""
        spec = step.spec
        assert isinstance(spec, ExperimentStepSpec)
        subset = spec.experiment.timing_subset()
        if subset is None:
            return None
        key = hash_description(describe(spec.experiment))
        if key not in self.experiment_times:
            smaller, scale = subset
            started = time.process_time()
            for _ in smaller.run(spec.seed):
                pass
            self.experiment_times[key] = scale * (time.process_time() - started)
        return StepCost(step, self.experiment_times[key])

    def _timed_training(self, step: Step) -> tuple[float, PreTrainedModel]:
        spec = _training_spec(step)
        shape = self._training_shape(step)
        if shape not in self.training_times:
            texts = self._texts(step)
            dataset, _ = texts.training_data(spec.data)
            model, depth_factor = truncate_layers(trained_model(step), texts.vocab_size)
            seconds, net = time_training(model, dataset, spec.training, texts.vocab_size)
            self.training_times[shape] = (depth_factor * seconds, net)
        return self.training_times[shape]

    def _training_shape(self, step: Step) -> str:
        """A hash of what decides how long a step of the training takes, with the length of texts rounded."""
        spec, texts = _training_spec(step), self._texts(step)
        config, length = spec.training, _rounded_length(texts.training_data(spec.data)[1])
        config_key: list[Json] = [
            config.batch_size,
            config.window,
            config.dtype,
            config.optimizer,
            config.grad_accum_steps,
            config.prompt_loss_weight,
        ]
        model = [describe(trained_model(step)), texts.vocab_size]
        return hash_description([model, config_key, str(spec.data), spec.adapter is not None, length])

    def _world_sample(self, corpus: Step) -> WorldSample:
        spec = _corpus_or_labels_spec(corpus)
        if isinstance(spec, ReportLabelsSpec):  # the answers are not known yet: the first label stands for all
            base_spec = _corpus_spec(corpus.inputs["corpus"])
            spec = CorpusSpec(
                world=PlaceholderLabels(spec, base_spec.world), seed=spec.world_seed, tokenizer=base_spec.tokenizer
            )
        tokenizer_corpus = corpus.inputs.get("words")
        # Seeds differ in facts and not in cost.
        key = hash_description(
            [
                describe(spec.world),
                describe(spec.tokenizer),
                None if tokenizer_corpus is None else describe(_corpus_spec(tokenizer_corpus).world),
            ]
        )
        if key not in self.samples:
            self.samples[key] = WorldSample.from_spec(
                spec, None if tokenizer_corpus is None else self._world_sample(tokenizer_corpus)
            )
        return self.samples[key]

    def _texts(self, step: Step) -> TimingTexts:
        return self._corpus_texts(step.inputs["corpus"])

    def _corpus_texts(self, corpus: Step) -> TimingTexts:
        sample = self._world_sample(corpus)
        if sample not in self.texts:
            self.texts[sample] = TimingTexts.from_sample(sample)
        return self.texts[sample]


def _depth_factor(model: Architecture | Pretrained, vocab_size: int, evaluation: Evaluation) -> float:
    """How many times as long an evaluation of a model takes as that of the shallower model by which it is timed."""
    truncated, parameter_ratio = truncate_layers(model, vocab_size)
    if parameter_ratio <= 1 or not evaluation.runs_once_per_layer:
        return parameter_ratio
    assert isinstance(model, Architecture)
    assert isinstance(truncated, Architecture)
    # The evaluation runs the network once for each block and once for the last norm.
    return parameter_ratio * ((model.layers + 1) / (truncated.layers + 1))


def _rounded_length(tokens: float) -> int:
    """The length's logarithm, such that lengths within about a fifth are equal."""
    return round(4 * math.log2(tokens))


def _training_spec(step: Step) -> TrainingSpec:
    assert isinstance(step.spec, TrainingSpec)
    return step.spec


def _corpus_spec(step: Step) -> CorpusSpec:
    assert isinstance(step.spec, CorpusSpec)
    return step.spec


def _corpus_or_labels_spec(step: Step) -> CorpusSpec | ReportLabelsSpec:
    assert isinstance(step.spec, CorpusSpec | ReportLabelsSpec)
    return step.spec
