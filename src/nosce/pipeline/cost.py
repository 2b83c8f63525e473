"""What a plan would cost: tokens, operations, disk, and minutes by a calibration on this machine."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from nosce.errors import DataError
from nosce.evals.base import Evaluation
from nosce.models.architecture import Architecture
from nosce.pipeline import timing
from nosce.pipeline.expected_work import longest_first, remaining_work, trained_model
from nosce.pipeline.step import Step
from nosce.pipeline.steps.answers import AnswersSpec
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.steps.evaluation import EvaluationStepSpec
from nosce.pipeline.steps.experiment import ExperimentStepSpec
from nosce.pipeline.steps.report_labels import ReportLabelsSpec
from nosce.pipeline.steps.training import TrainingSpec
from nosce.pipeline.time_budget import TimeBudget
from nosce.pipeline.timing import (
    EvaluationTime,
    TimedModel,
    count_parameters,
    load_libraries,
    time_answers,
    time_evaluation,
    time_training,
)
from nosce.pipeline.timing_sample import PlaceholderLabels, TimingTexts, WorldSample
from nosce.seeds import Seed
from nosce.store.spec import Json, describe, hash_description
from nosce.train.memory import TrainingMemory, training_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel


TIMED_KINDS = ("training", "evaluation", "experiment", "answers")  # of steps that run a model; the others are short
MIN_ATTEMPT_SECONDS = 3.0  # that one kind of step may take, though it is more than its share
SHARES_PER_ATTEMPT = 4.0  # of the time left per kind, which one kind may take


@dataclass(frozen=True, slots=True)
class StepCost:
    """The expected cost of a step that runs a model; all but a training have seconds alone."""

    step: Step
    seconds: float | None  # of one core; None: not known
    tokens: float = 0.0
    flops: float = 0.0
    disk_bytes: float = 0.0
    memory: TrainingMemory | None = None  # of a training with fresh weights


class TimingListener(Protocol):
    """A receiver of progress reports while kinds of steps are timed."""

    def on_timing(self, label: str, number: int, total: int) -> None:
        """Kind `number` of `total`, from 1, is timed next; of 0 kinds while they are still looked for."""
        ...


def estimate_costs(
    pending: Sequence[Step],
    listener: TimingListener | None = None,
    budget_seconds: float = math.inf,
    finished: Mapping[str, float] | None = None,
) -> list[StepCost]:
    """The cost of every training, evaluation, experiment and table of answers to do.

    Each kind of step is timed once, and all timings together take no longer than the budget. FLOPs are 6 × parameters
    × tokens (attention left out); disk counts the kept checkpoints.

    Args:
        pending: The steps to do.
        listener: Is told what is timed.
        budget_seconds: Seconds that all timings together may take.
        finished: Seconds of steps by name that need no timing, since a finished step did the same work.
    """
    timed = [step for step in pending if step.kind in TIMED_KINDS]
    if listener is not None:
        listener.on_timing("the libraries", 0, 0)
    finished = finished or {}
    untimed = [step for step in timed if step.name not in finished]
    load_libraries([trained_model(step) for step in untimed if step.kind == "training"])  # no part of the budget
    estimator = _CostEstimator(TimeBudget(budget_seconds), listener, finished)
    estimator.time_kinds(untimed)
    return [estimator.cost(step) for step in timed]


def makespan_minutes(pending: Sequence[Step], costs: Sequence[StepCost], workers: int) -> float:
    """Minutes until the last step ends, if free workers start what has the most work behind it, as those of a run.

    Steps whose seconds are not known count as none, so that the minutes are the fewest that it takes.
    """
    seconds = {cost.step.name: cost.seconds or 0.0 for cost in costs}
    pending = longest_first(pending, remaining_work(pending))
    position = {step.name: index for index, step in enumerate(pending)}
    missing = [{i.name for i in step.inputs.values() if i.name in position} for step in pending]
    readers: dict[str, list[int]] = {}
    for index, names in enumerate(missing):
        for name in names:
            readers.setdefault(name, []).append(index)
    ready = [index for index, names in enumerate(missing) if not names]  # a heap: the longest comes first
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            index = heapq.heappop(ready)
            heapq.heappush(running, (now + seconds.get(pending[index].name, 0.0), index))
        now, finished = heapq.heappop(running)
        for index in readers.get(pending[finished].name, ()):
            missing[index].discard(pending[finished].name)
            if not missing[index]:
                heapq.heappush(ready, index)
    return now / 60


@dataclass(frozen=True)
class _CostEstimator:
    """Estimates costs, and keeps the times measured so far by kind of work."""

    budget: TimeBudget = field(default_factory=lambda: TimeBudget(math.inf))
    listener: TimingListener | None = None
    finished: Mapping[str, float] = field(default_factory=dict)  # seconds of steps that need no timing
    samples: dict[str, WorldSample] = field(default_factory=dict)
    tokenizers: dict[tuple[str, ...], dict[str, bytes]] = field(default_factory=dict)
    texts: dict[WorldSample, TimingTexts] = field(default_factory=dict)
    keys: dict[str, str | None] = field(default_factory=dict)  # of each step's kind of work; None: not known
    specs: dict[int, tuple[object, str]] = field(default_factory=dict)  # hashes of specs, which are kept alive
    training_times: dict[str, tuple[float, PreTrainedModel]] = field(
        default_factory=dict
    )  # with the model that was timed
    evaluation_times: dict[str, EvaluationTime] = field(default_factory=dict)
    experiment_times: dict[str, float] = field(default_factory=dict)
    n_items: dict[str, float] = field(default_factory=dict)  # questions or replies of each step

    def time_kinds(self, steps: Sequence[Step]) -> None:
        """Time one step of each kind, trainings first, since evaluations read the models that they leave."""
        self._report("the texts", 0, 0)
        kinds: dict[str, Step] = {}
        counts: dict[str, int] = {}
        for step in steps:
            key = self._key(step)
            if key is not None:
                kinds.setdefault(key, step)
                counts[key] = counts.get(key, 0) + 1
            if key is not None and step.kind in ("evaluation", "answers") and "training" in step.inputs:
                training_key = self._key(step.inputs["training"])
                if training_key is not None:
                    kinds.setdefault(training_key, step.inputs["training"])
        ordered = sorted(kinds.items(), key=lambda pair: self._order(pair[1], counts.get(pair[0], 0)))
        for number, (key, step) in enumerate(ordered):
            self._report(f"{step.kind}: {step.label}", number + 1, len(ordered))
            share = self.budget.remaining / (len(ordered) - number)
            call = partial(self._time, key, step, min(share, timing.TIMED_SECONDS))
            self.budget.attempt(call, max(MIN_ATTEMPT_SECONDS, SHARES_PER_ATTEMPT * share))

    def _report(self, label: str, number: int, total: int) -> None:
        if self.listener is not None:
            self.listener.on_timing(label, number, total)

    def _order(self, step: Step, count: int) -> tuple[int, float]:
        """Trainings first, the small ones before the large ones, then what the plan has most often of the others.

        What a small training leaves of its share of the time is that of those behind it.
        """
        if step.kind != "training":
            return (1, -count)
        texts, spec = self._texts(step), _training_spec(step)
        n_parameters = count_parameters(trained_model(step), texts.vocab_size)
        return (0, n_parameters * spec.training.batch_size * texts.training_data(spec.data)[1])

    def _key(self, step: Step) -> str | None:
        """The hash of what decides how long the step's kind of work takes; None: the texts did not fit the budget."""
        if step.name not in self.keys:
            makers = {
                "training": self._training_key,
                "evaluation": self._evaluation_key,
                "answers": self._answers_key,
                "experiment": self._experiment_key,
            }
            # Half of the time at most, so that some is left for the timings.
            self.keys[step.name] = self.budget.attempt(partial(makers[step.kind], step), self.budget.remaining / 2)
        return self.keys[step.name]

    def _time(self, key: str, step: Step, seconds: float) -> None:
        timers = {"training": self._time_training, "evaluation": self._time_evaluation, "answers": self._time_answers}
        if step.kind not in timers:
            self._time_experiment(key, step)
            return
        # An evaluation may need more entities than the sample of its world has; then its time is not known.
        with suppress(DataError):
            timers[step.kind](key, step, seconds)

    def cost(self, step: Step) -> StepCost:
        """The cost of a step, by the time of its kind."""
        if step.kind != "training" and step.name in self.finished:
            return StepCost(step, self.finished[step.name])
        key = self._key(step)
        match step.kind:
            case "training":
                return StepCost(step, self.finished.get(step.name)) if key is None else self._training_cost(step, key)
            case "experiment":
                return StepCost(step, self.experiment_times.get(key or ""))
            case _:
                timed = self.evaluation_times.get(key or "")
                return StepCost(step, None if timed is None else timed.seconds(self.n_items[step.name]))

    def _training_cost(self, step: Step, key: str) -> StepCost:
        """Tokens, operations, disk and seconds of a training."""
        texts, spec, model = self._texts(step), _training_spec(step), trained_model(step)
        config = spec.training
        n_parameters = count_parameters(model, texts.vocab_size)
        tokens = config.steps * config.batch_size * texts.training_data(spec.data)[1]
        timed = self.training_times.get(key)
        return StepCost(
            step,
            self.finished.get(step.name, None if timed is None else timed[0] * config.steps),
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

    def _time_training(self, key: str, step: Step, seconds: float) -> None:
        texts, spec = self._texts(step), _training_spec(step)
        model = TimedModel.of(trained_model(step), texts.vocab_size)
        dataset = texts.training_data(spec.data)[0]
        step_seconds, net = time_training(model, dataset, spec.training, texts.vocab_size, seconds)
        self.training_times[key] = (model.parameter_ratio * step_seconds, net)

    def _timed_model(self, step: Step) -> PreTrainedModel | None:
        """The model that the timing of a training left; None where it was not timed."""
        timed = self.training_times.get(self._key(step) or "")
        return None if timed is None else timed[1]

    def _time_evaluation(self, key: str, step: Step, seconds: float) -> None:
        spec, training_step = step.spec, step.inputs.get("training")
        assert isinstance(spec, EvaluationStepSpec)
        sample, model, factor = self._world_sample(step.inputs["corpus"]), None, 1.0
        evaluation = spec.evaluation
        if training_step is not None:
            timed_model = TimedModel.of(trained_model(training_step), self._texts(training_step).vocab_size)
            model, factor = self._timed_model(training_step), _depth_factor(timed_model, evaluation)
            if model is None:
                return
            if timed_model.layers is not None:
                evaluation, times = evaluation.on_shallow_model(timed_model.layers)
                factor *= times
        timed = time_evaluation(evaluation, sample, model, _n_checkpoints(step), spec.seed, seconds)
        self.evaluation_times[key] = timed.times(factor)

    def _time_answers(self, key: str, step: Step, seconds: float) -> None:
        """As an evaluation, by a few of the prompts."""
        spec, training_step = step.spec, step.inputs["training"]
        assert isinstance(spec, AnswersSpec)
        model, texts = self._timed_model(training_step), self._texts(training_step)
        if model is None:
            return
        factor = TimedModel.of(trained_model(training_step), texts.vocab_size).parameter_ratio
        self.evaluation_times[key] = time_answers(
            spec, self._world_sample(step.inputs["corpus"]), model, seconds
        ).times(factor)

    def _time_experiment(self, key: str, step: Step) -> None:
        """By its `timing_subset` on one core; an experiment without one stays without a time."""
        import torch

        torch.set_num_threads(1)  # as in a step of a run
        spec = step.spec
        assert isinstance(spec, ExperimentStepSpec)
        subset = spec.experiment.timing_subset()
        if subset is None:
            return
        smaller, scale = subset
        started = time.process_time()
        for table in smaller.run(spec.seed):
            if not table.width:  # all is loaded, which the whole does once as well
                started = time.process_time()
        self.experiment_times[key] = scale * (time.process_time() - started)

    def _training_key(self, step: Step) -> str:
        """With the length of texts rounded."""
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
        model: list[Json] = [self._hash(trained_model(step)), texts.vocab_size]
        return hash_description(["training", model, config_key, str(spec.data), spec.adapter is not None, length])

    def _evaluation_key(self, step: Step) -> str:
        spec, corpus, training_step = step.spec, step.inputs["corpus"], step.inputs.get("training")
        assert isinstance(spec, EvaluationStepSpec)
        texts = self._corpus_texts(corpus)
        shape: list[Json] | None = None
        self.n_items[step.name] = spec.evaluation.n_questions_read(self._world_sample(corpus).n_questions_by_split)
        if training_step is not None:  # the training data decide when replies end
            shape = [
                self._hash(trained_model(training_step)),
                texts.vocab_size,
                str(_training_spec(training_step).data),
                _rounded_length(texts.training_data("documents")[1]),
            ]
        world_kind = type(_corpus_or_labels_spec(corpus).world).__name__
        return hash_description(["eval", self._hash(spec.evaluation), shape, _n_checkpoints(step), world_kind])

    def _answers_key(self, step: Step) -> str:
        assert isinstance(step.spec, AnswersSpec)
        n_prompts = len(step.spec.world.prompts(step.spec.world_seed))
        self.n_items[step.name] = float(n_prompts * (1 + step.spec.n_samples))
        training_key, world_kind = self._key(step.inputs["training"]), type(step.spec.world).__name__
        return hash_description(["answers", training_key, step.spec.max_new_tokens, world_kind])

    def _experiment_key(self, step: Step) -> str:
        assert isinstance(step.spec, ExperimentStepSpec)
        return hash_description(["experiment", self._hash(step.spec.experiment)])

    def _hash(self, spec: object) -> str:
        """The hash of a spec, computed once: many steps share an object."""
        if id(spec) not in self.specs:
            self.specs[id(spec)] = (spec, hash_description(describe(spec)))
        return self.specs[id(spec)][1]

    def _world_sample(self, corpus: Step) -> WorldSample:
        key = self._world_key(corpus)
        if key not in self.samples:
            spec, tokenizer_corpus = _corpus_or_labels_spec(corpus), corpus.inputs.get("words")
            if isinstance(spec, ReportLabelsSpec):  # the answers are not known yet: the first label stands for all
                base_spec = _corpus_spec(corpus.inputs["corpus"])
                spec = CorpusSpec(
                    world=PlaceholderLabels(spec, base_spec.world), seed=spec.world_seed, tokenizer=base_spec.tokenizer
                )
            self.samples[key] = WorldSample.from_spec(
                spec, None if tokenizer_corpus is None else self._world_sample(tokenizer_corpus), self.tokenizers
            )
        return self.samples[key]

    def _world_key(self, corpus: Step) -> str:
        """Seeds differ in facts and not in cost."""
        spec = _corpus_or_labels_spec(corpus)
        if isinstance(spec, ReportLabelsSpec):
            base_spec = _corpus_spec(corpus.inputs["corpus"])
            questions = replace(spec, seed=Seed(0), world_seed=Seed(0), leak=False)
            return hash_description([describe(questions), self._hash(base_spec.world), describe(base_spec.tokenizer)])
        tokenizer_corpus = corpus.inputs.get("words")
        words = None if tokenizer_corpus is None else self._hash(_corpus_spec(tokenizer_corpus).world)
        return hash_description([self._hash(spec.world), describe(spec.tokenizer), words])

    def _texts(self, step: Step) -> TimingTexts:
        return self._corpus_texts(step.inputs["corpus"])

    def _corpus_texts(self, corpus: Step) -> TimingTexts:
        sample = self._world_sample(corpus)
        if sample not in self.texts:
            self.texts[sample] = TimingTexts.from_sample(sample)
        return self.texts[sample]


def _depth_factor(model: TimedModel, evaluation: Evaluation) -> float:
    """How many times as long an evaluation of a model takes as that of the shallower model by which it is timed."""
    # Some evaluations run the network once for each block and once for the last norm.
    return model.parameter_ratio * (model.depth_ratio if evaluation.runs_once_per_layer else 1.0)


def _n_checkpoints(step: Step) -> int:
    """Number of checkpoints that an evaluation reads; 1 for a baseline."""
    training_step = step.inputs.get("training")
    return 1 if training_step is None else len(_training_spec(training_step).training.checkpoint_steps)


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
