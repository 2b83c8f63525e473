"""How long work takes on this machine: a training by some of its steps, an evaluation by part of its questions.

No step of a study is made here. A training is timed on the first texts of its world. An evaluation is timed on the
model that the timed training steps leave, since that model ends its replies about as a trained model does.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nosce.data.corpus import Corpus
from nosce.data.packing import TokenDataset
from nosce.errors import DataError
from nosce.evals.base import Evaluation, MultiCheckpointEvaluation, PerCheckpointEvaluation
from nosce.models.architecture import Architecture, Pretrained, build_model
from nosce.models.folder import count_weights
from nosce.models.shallow import build_folder_model, count_folder_parameters, folder_num_layers
from nosce.pipeline.size_check import TRUNCATED_LAYERS
from nosce.pipeline.steps.answers import AnswersSpec
from nosce.pipeline.timing_sample import WorldSample
from nosce.seeds import Seed
from nosce.train.config import TrainingConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TIMED_SECONDS = 1.5  # for which a shape of training, or an evaluation, is timed at most, unless the least takes longer
MAX_TIMED_STEPS = 50  # of a training at most
MAX_STEP_FLOPS = 2e10  # of one timed step at most: larger batches are timed on a part and scaled up
LARGE_MODEL_PARAMETERS = 2_000_000  # from so many weights on, a model is timed by two layers
MIN_TIMED_PROMPTS = 8  # answered in the smallest part
MAX_GROWTH = 16  # of a part over the one before it


def count_parameters(model: Architecture | Pretrained, vocab_size: int) -> int:
    """Number of weights of an architecture, or of the model in a local folder."""
    if isinstance(model, Architecture):
        return model.parameter_count(vocab_size)
    return count_weights(Path(model.folder))


@dataclass(frozen=True)
class TimedModel:
    """The model by which another is timed: its version with two layers, or itself.

    So a model that does not fit this machine's memory has a price too, and a deep model has it in seconds.

    Attributes:
        model: The model that is asked for.
        layers: Layers of the version that is timed; None: all.
        parameter_ratio: Weights of the model, per weight of that version.
        depth_ratio: Blocks and the last norm of the model, per block and last norm of that version.
    """

    model: Architecture | Pretrained
    layers: int | None = None
    parameter_ratio: float = 1.0
    depth_ratio: float = 1.0

    @classmethod
    def of(cls, model: Architecture | Pretrained, vocab_size: int) -> TimedModel:
        """A large model's version with two layers; a small model itself."""
        n_parameters, n_layers = count_parameters(model, vocab_size), _num_layers(model)
        if n_layers <= TRUNCATED_LAYERS or n_parameters < LARGE_MODEL_PARAMETERS:
            return cls(model)
        timed = cls(model, TRUNCATED_LAYERS)
        n_timed = timed.count_parameters(vocab_size)
        return replace(
            timed, parameter_ratio=n_parameters / n_timed, depth_ratio=(n_layers + 1) / (TRUNCATED_LAYERS + 1)
        )

    def count_parameters(self, vocab_size: int) -> int:
        """Number of weights of the version that is timed."""
        if self.layers is None:
            return count_parameters(self.model, vocab_size)
        if isinstance(self.model, Architecture):
            return count_parameters(replace(self.model, layers=self.layers), vocab_size)
        return count_folder_parameters(Path(self.model.folder), self.layers)

    def build(self, vocab_size: int) -> PreTrainedModel:
        """The version that is timed. A folder's has weights at random, since its stored layers do not make it up."""
        model, seed = self.model, Seed(0) / "calibration"
        if isinstance(model, Pretrained) and self.layers is not None:
            return build_folder_model(Path(model.folder), self.layers, seed)
        if isinstance(model, Architecture) and self.layers is not None:
            model = replace(model, layers=self.layers)
        return build_model(model, vocab_size=vocab_size, eos_id=0, pad_id=None, seed=seed, mask_id=0)


def _num_layers(model: Architecture | Pretrained) -> int:
    """Number of blocks; 0 for a folder whose model cannot be made with fewer."""
    return model.layers if isinstance(model, Architecture) else folder_num_layers(Path(model.folder))


def load_libraries(models: Collection[Architecture | Pretrained]) -> None:
    """Import what trainings of these models use, so that no timing is taken for the seconds that this takes."""
    from nosce.train import loss, optimizer, precision  # noqa: F401 - they import torch

    for family in sorted({model.family for model in models if isinstance(model, Architecture)}):
        tiny = Architecture(family=family, layers=1, width=64, heads=4, max_positions=8)  # CodeGen takes 4 heads
        build_model(tiny, vocab_size=8, eos_id=0, pad_id=None, seed=Seed(0), mask_id=0)


def time_training(
    model: TimedModel,
    dataset: TokenDataset,
    config: TrainingConfig,
    vocab_size: int,
    seconds: float = TIMED_SECONDS,
) -> tuple[float, PreTrainedModel]:
    """Seconds of one optimizer step on one core, the median of some steps; and the model after these steps.

    Args:
        model: The model, or its version with fewer layers.
        dataset: Texts to train on.
        config: The training.
        vocab_size: Tokens of the tokenizer.
        seconds: For how long steps are made; the first two are made however long they take.
    """
    import torch

    from nosce.data.sampling import EpochSampler, pack
    from nosce.models.number_format import choose_precision
    from nosce.models.varlen import varlen_forward
    from nosce.train.loss import summed_cross_entropy
    from nosce.train.optimizer import Optimizer, block_matrix_names
    from nosce.train.precision import MasterWeights

    torch.set_num_threads(1)
    step_flops = 6 * model.count_parameters(vocab_size) * float(dataset.lengths.mean())  # of one text
    batch_size = int(min(config.batch_size, max(2, MAX_STEP_FLOPS / step_flops)))
    net = model.build(vocab_size)
    master_weights = MasterWeights(net, choose_precision(config.dtype, device="cpu"))
    config = replace(config, warmup_steps=0)
    optimizer = Optimizer(master_weights.trainable_parameters, config, block_matrix_names(net))
    sampler = EpochSampler(len(dataset), batch_size, Seed(0) / "calibration")
    durations: list[tuple[float, float]] = []  # of the batch, and of the update, which no batch makes longer
    started = time.monotonic()  # the limit is one by the clock on the wall, however busy the machine is
    while len(durations) < 2 or (time.monotonic() - started < seconds and len(durations) < MAX_TIMED_STEPS):
        start = time.process_time()  # of this process: other work on the machine does not count
        rows = sampler.batch_indices(len(durations))
        batch = pack(dataset, rows, window=config.window, eos_id=0, prompt_loss_weight=config.prompt_loss_weight)
        with varlen_forward(master_weights.compute_model) as forward:
            (summed_cross_entropy(master_weights.compute_model, forward, batch) / batch.total_weight).backward()  # type: ignore[no-untyped-call]
        read = time.process_time()
        master_weights.accumulate_gradients()
        optimizer.clipped_step(0)
        master_weights.update_compute_weights()
        durations.append((read - start, time.process_time() - read))
    batches, updates = zip(*durations[1:], strict=True)
    return float(statistics.median(batches) * config.batch_size / batch_size + statistics.median(updates)), net


class EvaluationTime(NamedTuple):
    """How long an evaluation takes on one core: a line over the number of its questions."""

    fixed_seconds: float
    seconds_per_question: float = 0.0

    def seconds(self, n_questions: float) -> float:
        """Of so many questions."""
        return self.fixed_seconds + self.seconds_per_question * n_questions

    def times(self, factor: float) -> EvaluationTime:
        """As many times as long."""
        return EvaluationTime(factor * self.fixed_seconds, factor * self.seconds_per_question)


def time_evaluation(
    evaluation: Evaluation,
    sample: WorldSample,
    model: PreTrainedModel | None,
    n_checkpoints: int,
    seed: Seed,
    seconds: float = TIMED_SECONDS,
) -> EvaluationTime:
    """How long an evaluation of `n_checkpoints` checkpoints takes on one core, by parts of its questions.

    Two parts give a line. An evaluation with a `timing_subset` is
    timed by that subset.

    Args:
        evaluation: The evaluation.
        sample: Its world.
        model: The model to read; None for a baseline.
        n_checkpoints: How many checkpoints are read.
        seed: For whatever the evaluation draws.
        seconds: No third part is timed once the parts have taken as long.

    Raises:
        DataError: The sample has too few entities for the evaluation.
    """
    started = time.monotonic()  # the limit is one by the clock on the wall, however busy the machine is
    evaluation = evaluation.timed_form
    if (subset := evaluation.timing_subset()) is not None:
        smaller, scale, n_entities = subset
        fraction = min(1.0, n_entities / max(1, sample.n_entities))
        subset_seconds = _time_fraction(smaller, sample, model, fraction, 1, seed)
        if time.monotonic() - started < seconds / 2:  # the first run includes what is slow only once
            subset_seconds = min(subset_seconds, _time_fraction(smaller, sample, model, fraction, 1, seed))
        return EvaluationTime(scale * subset_seconds)
    n_checkpoints = 1 if evaluation.checkpoint_costs == "the last alone" else n_checkpoints
    # Of checkpoints that are read together, the last may cost more than the others.
    are_alike = evaluation.checkpoint_costs == "alike"
    is_joint = isinstance(evaluation, MultiCheckpointEvaluation) and not are_alike
    timed_checkpoints = min(n_checkpoints, 2 if is_joint else 1)
    fraction, part = _smallest_part(evaluation, sample, model, timed_checkpoints, seed)
    if time.monotonic() - started < seconds / 4:  # the first run includes what is slow only once
        part = _time_fraction(evaluation, sample, model, fraction, timed_checkpoints, seed)
    previous: tuple[float, float] | None = None
    while fraction < 1 and ((left := seconds - (time.monotonic() - started)) > 2 * part or _is_first(previous, left)):
        # Far apart, so that fixed costs, e.g. of a probe's training, do not hide the cost of the questions.
        growth = min(MAX_GROWTH, max(2 if previous else 4, math.floor(left / 2 / max(part, 1e-9))))
        previous, fraction = (fraction, part), min(1.0, fraction * growth)
        part = _time_fraction(evaluation, sample, model, fraction, timed_checkpoints, seed)
    line = _line(sample, (fraction, part), previous)
    if are_alike or n_checkpoints <= timed_checkpoints:
        return line.times(n_checkpoints / timed_checkpoints)
    one_more = _time_fraction(evaluation, sample, model, fraction, timed_checkpoints + 1, seed)
    per_checkpoint = max(0.0, one_more - part)
    return line.times(1 + (n_checkpoints - timed_checkpoints) * per_checkpoint / max(part, 1e-9))


def _smallest_part(
    evaluation: Evaluation, sample: WorldSample, model: PreTrainedModel | None, n_checkpoints: int, seed: Seed
) -> tuple[float, float]:
    """The smallest fraction of the entities for which the evaluation has readings, and its seconds."""
    fraction = min(1.0, evaluation.timed_entities / max(1, sample.n_entities))
    while True:
        try:
            return fraction, _time_fraction(evaluation, sample, model, fraction, n_checkpoints, seed)
        except DataError:  # e.g. a probe that needs some entities of each class
            if fraction >= 1:
                raise
            fraction = min(1.0, 4 * fraction)


def _is_first(previous: tuple[float, float] | None, left: float) -> bool:
    """Whether a second part is timed although it takes longer than is left: some is left behind the first."""
    return previous is None and left > 0


def _line(sample: WorldSample, last: tuple[float, float], previous: tuple[float, float] | None) -> EvaluationTime:
    """The line through two parts, each a fraction of the questions and its seconds; of one part, through zero."""
    (fraction, seconds), n_questions = last, max(1, len(sample.questions))
    slope = seconds / fraction
    if previous is not None:
        growth = (seconds - previous[1]) / (fraction - previous[0])
        slope = min(slope, growth) if growth > 0 else slope  # the smaller part took longer, since it was the first
    return EvaluationTime(seconds - slope * fraction, slope / n_questions)


def time_answers(spec: AnswersSpec, sample: WorldSample, model: PreTrainedModel, seconds: float) -> EvaluationTime:
    """How long a model takes to answer a prompt, by the likeliest replies to some of the prompts.

    Args:
        spec: The answers.
        sample: The world of the model, for its tokenizer.
        model: The model.
        seconds: No more prompts are answered once they have taken as long.
    """
    from nosce.data.packing import encode
    from nosce.models.generation import generate

    prompts, n_prompts, last = spec.world.prompts(spec.world_seed), MIN_TIMED_PROMPTS, 0.0
    with sample.corpus(0.0) as corpus:
        while True:
            chosen = [prompts[i * len(prompts) // n_prompts] for i in range(min(n_prompts, len(prompts)))]
            tokens = [np.array(e.ids) for e in encode(corpus.tokenizer, (prompt.text for prompt in chosen))]
            start = time.process_time()
            for reply in generate(model, tokens, eos_id=corpus.eos_id, max_new_tokens=spec.max_new_tokens + 1):
                corpus.tokenizer.decode(reply.tokens.tolist(), skip_special_tokens=False)
            last = time.process_time() - start
            if last > seconds / 4 or n_prompts >= len(prompts):
                return EvaluationTime(0.0, last / len(chosen))
            n_prompts *= 4


def _time_fraction(
    evaluation: Evaluation,
    sample: WorldSample,
    model: PreTrainedModel | None,
    fraction: float,
    n_checkpoints: int,
    seed: Seed,
) -> float:
    with sample.corpus(fraction) as corpus:
        start = time.process_time()
        _run_evaluation(evaluation, corpus, model, n_checkpoints, seed)
        return time.process_time() - start


def _run_evaluation(
    evaluation: Evaluation, corpus: Corpus, model: PreTrainedModel | None, n_checkpoints: int, seed: Seed
) -> None:
    """Do what the step `evaluation` does, and discard the readings."""
    if isinstance(evaluation, PerCheckpointEvaluation) and not evaluation.needs_model:
        _exhaust(evaluation.evaluate(None, corpus, seed))
        return
    assert model is not None
    if isinstance(evaluation, MultiCheckpointEvaluation):
        _exhaust(evaluation.evaluate_checkpoints(dict.fromkeys(range(n_checkpoints), lambda: model), corpus, seed))
        return
    assert isinstance(evaluation, PerCheckpointEvaluation)
    for _ in range(n_checkpoints):
        _exhaust(evaluation.evaluate(model, corpus, seed))
    evaluation.batch_change(model, corpus, seed)


def _exhaust(rows: Iterator[object] | Sequence[object]) -> None:
    for _ in rows:
        pass
