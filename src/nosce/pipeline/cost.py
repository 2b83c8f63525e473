"""What a plan would cost: tokens, operations, disk, and minutes by a calibration on this machine."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nosce.evals.base import ReadsInPart
from nosce.models.architecture import Deeper
from nosce.pipeline.plan import Plan, Step
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.timing import Guessed, Sample, Texts, parameters_of, shallow, time_reading, time_training
from nosce.store.spec import describe, digest


@dataclass(frozen=True, slots=True)
class Cost:
    """The expected cost of one training or reading of the plan; a reading has seconds alone."""

    step: Step
    seconds: float  # of one core
    tokens: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0


def price(plan: Plan, todo: Sequence[Step]) -> list[Cost]:
    """The cost of every training and reading among the steps to do; each shape is timed once, for a few seconds.

    FLOPs are 6 × parameters × tokens (attention left out); disk counts the kept checkpoints.
    """
    prices = _Prices()
    made: dict[str, Callable[[Step], Cost | None]] = {
        "training": prices.training,
        "evaluation": prices.reading,
        "experiment": prices.experiment,
    }
    found = [made[step.kind](step) for step in todo if step.kind in made]
    return [cost for cost in found if cost is not None]


def minutes(todo: Sequence[Step], costs: Sequence[Cost], workers: int) -> float:
    """Minutes until the last step ends, each begun by a free worker as soon as what it reads is there, in order."""
    seconds = {cost.step.name: cost.seconds for cost in costs}
    wanted = {step.name for step in todo}
    waiting, ended, now = list(todo), set[str](), 0.0
    running: list[tuple[float, str]] = []
    while waiting or running:
        for step in [s for s in waiting if all(i.name in ended or i.name not in wanted for i in s.inputs.values())]:
            if len(running) < workers:
                waiting.remove(step)
                heapq.heappush(running, (now + seconds.get(step.name, 0.0), step.name))
        now, name = heapq.heappop(running)
        ended.add(name)
    return now / 60


@dataclass(frozen=True)
class _Prices:
    """What has been timed so far, by its shape."""

    samples: dict[str, Sample] = field(default_factory=dict)
    texts: dict[Sample, Texts] = field(default_factory=dict)
    trainings: dict[str, tuple[float, Any]] = field(default_factory=dict)  # with the model that was timed
    readings: dict[str, tuple[float, int]] = field(default_factory=dict)  # seconds, and questions
    experiments: dict[str, float] = field(default_factory=dict)

    def training(self, step: Step) -> Cost:
        """Tokens, operations, disk and seconds of a training."""
        seconds, _ = self._timed(step)
        texts, recipe = self._texts(step), step.spec.recipe
        parameters = parameters_of(_model(step), texts.vocabulary)
        tokens = recipe.steps * recipe.batch * texts.of_training(step.spec.on)[1]
        return Cost(step, seconds * recipe.steps, tokens, 6 * parameters * tokens,
                    4.0 * parameters * len(recipe.kept))  # fmt: skip

    def reading(self, step: Step) -> Cost:
        """Seconds of a reading."""
        corpus, training = step.inputs["corpus"], step.inputs.get("training")
        looks = 1 if training is None else len(training.spec.recipe.kept)
        sample, texts = self._sample(corpus), self._texts_of(corpus)
        shape = None
        if training is not None:  # what was trained on decides when replies end
            shape = [describe(_model(training)), texts.vocabulary, str(training.spec.on),
                     _fifths(texts.of_training("documents")[1])]  # fmt: skip
        key = digest([describe(step.spec.readout), shape, looks, type(corpus.spec.world).__name__])
        if key not in self.readings:
            model = None if training is None else self._timed(training)[1]
            deeper = 1.0 if training is None else _deeper(_model(training), texts.vocabulary, step.spec.readout)
            seconds = time_reading(step.spec.readout, sample, model, looks, step.spec.seed)
            self.readings[key] = (deeper * seconds, len(sample.questions))
        seconds, questions = self.readings[key]
        if isinstance(step.spec.readout, ReadsInPart):
            return Cost(step, seconds)
        # Worlds that differ in how much is asked take as many times as long.
        return Cost(step, seconds * sample.times * len(sample.questions) / max(1, questions))

    def experiment(self, step: Step) -> Cost | None:
        """Seconds of an experiment, by a small part of it; None where it does not say what that is."""
        part = getattr(step.spec.experiment, "part", None)
        if part is None:
            return None
        key = digest(describe(step.spec.experiment))
        if key not in self.experiments:
            smaller, times = part()
            began = time.process_time()
            for _ in smaller.read(step.spec.seed):
                pass
            self.experiments[key] = times * (time.process_time() - began)
        return Cost(step, self.experiments[key])

    def _timed(self, step: Step) -> tuple[float, Any]:
        shape = self._shape(step)
        if shape not in self.trainings:
            texts = self._texts(step)
            sequences, _ = texts.of_training(step.spec.on)
            model, deeper = shallow(_model(step), texts.vocabulary)
            seconds, net = time_training(model, sequences, step.spec.recipe, texts.vocabulary)
            self.trainings[shape] = (deeper * seconds, net)
        return self.trainings[shape]

    def _shape(self, step: Step) -> str:
        """What trainings have in common that take as long a step; lengths of texts to a fifth or so."""
        recipe, texts = step.spec.recipe, self._texts(step)
        length = _fifths(texts.of_training(step.spec.on)[1])
        how = [recipe.batch, recipe.window, recipe.dtype, recipe.optimizer, recipe.accumulate, recipe.given_weight]
        model = [describe(_model(step)), texts.vocabulary]
        return digest([model, how, str(step.spec.on), step.spec.adapter is not None, length])

    def _sample(self, corpus: Step) -> Sample:
        spec = corpus.spec
        if corpus.kind == "report_labels":  # what somebody will answer is not known: the first label stands for all
            own = corpus.inputs["corpus"].spec
            spec = CorpusSpec(world=Guessed(spec, own.world), seed=spec.world_seed, tokenizer=own.tokenizer)
        words = corpus.inputs.get("words")
        # Seeds differ in facts, not in what they cost.
        key = digest(
            [describe(spec.world), describe(spec.tokenizer), None if words is None else describe(words.spec.world)]
        )
        if key not in self.samples:
            self.samples[key] = Sample.of(spec, None if words is None else self._sample(words))
        return self.samples[key]

    def _texts(self, step: Step) -> Texts:
        return self._texts_of(step.inputs["corpus"])

    def _texts_of(self, corpus: Step) -> Texts:
        sample = self._sample(corpus)
        if sample not in self.texts:
            self.texts[sample] = Texts.of(sample)
        return self.texts[sample]


def _deeper(model: Any, vocabulary: int, readout: Any) -> float:
    """How much longer a read-out takes of a model than of the shallow one it is timed with."""
    cut, times = shallow(model, vocabulary)
    # It goes through the network once a block and once behind the last norm.
    sites = (model.layers + 1) / (cut.layers + 1) if times > 1 and getattr(readout, "at_layers", False) else 1.0
    return times * sites


def _fifths(tokens: float) -> int:
    """A length to a fifth or so."""
    return round(4 * math.log2(tokens))


def _model(step: Step) -> Any:
    more = 0
    while step.spec.model is None or isinstance(step.spec.model, Deeper):
        more += 0 if step.spec.model is None else step.spec.model.layers
        step = step.inputs["start"]
    return replace(step.spec.model, layers=step.spec.model.layers + more) if more else step.spec.model
