"""What a plan would cost: tokens, operations, disk, and minutes by a calibration on this machine."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nosce.models.architecture import Architecture, ExtraLayers
from nosce.pipeline.plan import Plan, Step
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.timing import (
    PlaceholderLabels,
    TimingTexts,
    WorldSample,
    count_parameters,
    time_evaluation,
    time_training,
    truncate_layers,
)
from nosce.store.spec import describe, hash_description
from nosce.train.memory import TrainingMemory, training_memory


@dataclass(frozen=True, slots=True)
class StepCost:
    """The expected cost of one training or reading of the plan; a reading has seconds alone."""

    step: Step
    seconds: float  # of one core
    tokens: float = 0.0
    flops: float = 0.0
    disk_bytes: float = 0.0
    memory: TrainingMemory | None = None  # of a training with fresh weights


def estimate_costs(plan: Plan, pending: Sequence[Step]) -> list[StepCost]:
    """The cost of every training and reading among the steps to do; each shape is timed once, for a few seconds.

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
    """Minutes until the last step ends, each begun by a free worker as soon as what it reads is there, in order."""
    seconds = {cost.step.name: cost.seconds for cost in costs}
    wanted = {step.name for step in pending}
    waiting, finished, now = list(pending), set[str](), 0.0
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
    """What has been timed so far, by its shape."""

    samples: dict[str, WorldSample] = field(default_factory=dict)
    texts: dict[WorldSample, TimingTexts] = field(default_factory=dict)
    training_times: dict[str, tuple[float, Any]] = field(default_factory=dict)  # with the model that was timed
    evaluation_times: dict[str, tuple[float, int]] = field(default_factory=dict)  # seconds, and questions
    experiment_times: dict[str, float] = field(default_factory=dict)

    def training_cost(self, step: Step) -> StepCost:
        """Tokens, operations, disk and seconds of a training."""
        seconds, _ = self._timed_training(step)
        texts, config = self._texts(step), step.spec.training
        n_parameters = count_parameters(_trained_model(step), texts.vocab_size)
        tokens = config.steps * config.batch_size * texts.training_data(step.spec.data)[1]
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
        model, config, texts = _trained_model(step), step.spec.training, self._texts(step)
        if not isinstance(model, Architecture):
            return None
        dataset, mean_tokens = texts.training_data(step.spec.data)
        return training_memory(
            model,
            config,
            texts.vocab_size,
            mean_tokens=mean_tokens,
            max_tokens=int(dataset.lengths.max()),
            precision="float32" if config.dtype == "float32" else "bfloat16",
            adapter=step.spec.adapter,
        )

    def evaluation_cost(self, step: Step) -> StepCost:
        """Seconds of a reading."""
        corpus, training_step = step.inputs["corpus"], step.inputs.get("training")
        n_checkpoints = 1 if training_step is None else len(training_step.spec.training.checkpoint_steps)
        sample, texts = self._world_sample(corpus), self._corpus_texts(corpus)
        shape = None
        if training_step is not None:  # what was trained on decides when replies end
            shape = [
                describe(_trained_model(training_step)),
                texts.vocab_size,
                str(training_step.spec.data),
                _rounded_length(texts.training_data("documents")[1]),
            ]
        key = hash_description([describe(step.spec.evaluation), shape, n_checkpoints, type(corpus.spec.world).__name__])
        if key not in self.evaluation_times:
            model = None if training_step is None else self._timed_training(training_step)[1]
            depth_factor = (
                1.0
                if training_step is None
                else _depth_factor(_trained_model(training_step), texts.vocab_size, step.spec.evaluation)
            )
            seconds = time_evaluation(step.spec.evaluation, sample, model, n_checkpoints, step.spec.seed)
            self.evaluation_times[key] = (depth_factor * seconds, len(sample.questions))
        seconds, n_questions = self.evaluation_times[key]
        if step.spec.evaluation.timing_subset() is not None:
            return StepCost(step, seconds)
        # Worlds that differ in how much is asked take as many times as long.
        return StepCost(step, seconds * sample.scale * len(sample.questions) / max(1, n_questions))

    def experiment_cost(self, step: Step) -> StepCost | None:
        """Seconds of an experiment, by a small part of it; None where it does not say what that is."""
        subset = step.spec.experiment.timing_subset()
        if subset is None:
            return None
        key = hash_description(describe(step.spec.experiment))
        if key not in self.experiment_times:
            smaller, scale = subset
            started = time.process_time()
            for _ in smaller.run(step.spec.seed):
                pass
            self.experiment_times[key] = scale * (time.process_time() - started)
        return StepCost(step, self.experiment_times[key])

    def _timed_training(self, step: Step) -> tuple[float, Any]:
        shape = self._training_shape(step)
        if shape not in self.training_times:
            texts = self._texts(step)
            dataset, _ = texts.training_data(step.spec.data)
            model, depth_factor = truncate_layers(_trained_model(step), texts.vocab_size)
            seconds, net = time_training(model, dataset, step.spec.training, texts.vocab_size)
            self.training_times[shape] = (depth_factor * seconds, net)
        return self.training_times[shape]

    def _training_shape(self, step: Step) -> str:
        """What trainings have in common that take as long a step; lengths of texts to a fifth or so."""
        config, texts = step.spec.training, self._texts(step)
        length = _rounded_length(texts.training_data(step.spec.data)[1])
        config_key = [
            config.batch_size,
            config.window,
            config.dtype,
            config.optimizer,
            config.grad_accum_steps,
            config.prompt_loss_weight,
        ]
        model = [describe(_trained_model(step)), texts.vocab_size]
        return hash_description([model, config_key, str(step.spec.data), step.spec.adapter is not None, length])

    def _world_sample(self, corpus: Step) -> WorldSample:
        spec = corpus.spec
        if corpus.kind == "report_labels":  # what somebody will answer is not known: the first label stands for all
            base_spec = corpus.inputs["corpus"].spec
            spec = CorpusSpec(
                world=PlaceholderLabels(spec, base_spec.world), seed=spec.world_seed, tokenizer=base_spec.tokenizer
            )
        tokenizer_corpus = corpus.inputs.get("words")
        # Seeds differ in facts, not in what they cost.
        key = hash_description(
            [
                describe(spec.world),
                describe(spec.tokenizer),
                None if tokenizer_corpus is None else describe(tokenizer_corpus.spec.world),
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


def _depth_factor(model: Any, vocab_size: int, evaluation: Any) -> float:
    """How much longer a read-out takes of a model than of the shallow one it is timed with."""
    truncated, depth_ratio = truncate_layers(model, vocab_size)
    # It goes through the network once a block and once behind the last norm.
    layer_factor = (
        (model.layers + 1) / (truncated.layers + 1) if depth_ratio > 1 and evaluation.runs_once_per_layer else 1.0
    )
    return depth_ratio * layer_factor


def _rounded_length(tokens: float) -> int:
    """A length to a fifth or so."""
    return round(4 * math.log2(tokens))


def _trained_model(step: Step) -> Any:
    extra_layers = 0
    while step.spec.model is None or isinstance(step.spec.model, ExtraLayers):
        extra_layers += 0 if step.spec.model is None else step.spec.model.layers
        step = step.inputs["start"]
    return replace(step.spec.model, layers=step.spec.model.layers + extra_layers) if extra_layers else step.spec.model
