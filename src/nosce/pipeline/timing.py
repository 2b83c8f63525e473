"""How long work takes on this machine: a training by some of its steps, an evaluation by part of its questions.

No step of a study is made here. A training is timed on the first texts of its world. An evaluation is timed on the
model that the timed training steps leave, since that model ends its replies about as a trained model does.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nosce.data.corpus import Corpus, write_corpus
from nosce.data.packing import TokenDataset
from nosce.data.worlds.base import World
from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.errors import DataError
from nosce.evals.base import Evaluation, MultiCheckpointEvaluation, PerCheckpointEvaluation
from nosce.evals.self_report import LABEL_COUNTS_FILE, ReportMetadata
from nosce.models.architecture import Architecture, Pretrained, build_model
from nosce.models.folder import count_weights
from nosce.models.shallow import build_folder_model, count_folder_parameters, folder_num_layers
from nosce.pipeline.size_check import TRUNCATED_LAYERS
from nosce.pipeline.steps.answers import AnswersSpec
from nosce.pipeline.steps.corpus import CorpusSpec, write_tokenizer
from nosce.pipeline.steps.report_labels import ReportLabelsSpec
from nosce.pipeline.steps.training import TrainingData
from nosce.records import Document, Question
from nosce.seeds import Seed
from nosce.store.spec import describe, hash_description
from nosce.train.config import QAMixture, TrainingConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SAMPLE_TEXTS = 200  # texts that the mean length and the time of a step are taken from
TIMED_SECONDS = 1.5  # for which a shape of training, or an evaluation, is timed at most, unless the least takes longer
MAX_TIMED_STEPS = 50  # of a training at most
MAX_STEP_FLOPS = 2e10  # of one timed step at most: larger batches are timed on a part and scaled up
LARGE_MODEL_PARAMETERS = 2_000_000  # from so many weights on, a model is timed by two layers
MIN_TIMED_PROMPTS = 8  # answered in the smallest part
MAX_GROWTH = 16  # of a part over the one before it
MAX_SAMPLED_DOCUMENTS = 4_096  # of a world that does not say how many it has
MAX_SAMPLED_ENTITIES = 512  # a world that can be made smaller is made as small as this


@dataclass(frozen=True, eq=False)
class WorldSample:
    """A world's first texts, and its questions, without its corpus."""

    spec: CorpusSpec
    scale: float = 1.0  # entities of the whole world, per entity of this one
    known_questions: int | None = None  # of the whole world; None: as many for each entity as in this one
    tokenizer_source: WorldSample | None = None  # the sample whose tokenizer encodes this one; None: its own
    tokenizers: dict[tuple[str, ...], dict[str, bytes]] = field(default_factory=dict)  # made so far, of all samples

    @classmethod
    def from_spec(
        cls,
        spec: CorpusSpec,
        tokenizer_source: WorldSample | None = None,
        tokenizers: dict[tuple[str, ...], dict[str, bytes]] | None = None,
    ) -> WorldSample:
        """A sample of the world, or of its smaller version if the world has one (`World.downsized`)."""
        world = spec.world.downsized(MAX_SAMPLED_ENTITIES)
        whole, part = spec.world.n_entities, world.n_entities
        scale = 1.0 if whole is None or part is None else whole / part
        tokenizers = {} if tokenizers is None else tokenizers
        return cls(replace(spec, world=world), scale, spec.world.n_questions, tokenizer_source, tokenizers)

    @property
    def n_questions(self) -> float:
        """Number of questions of the whole world."""
        return self.scale * len(self.questions) if self.known_questions is None else self.known_questions

    @property
    def n_questions_by_split(self) -> dict[str, float]:
        """Number of questions of the whole world in each split, by the shares of the sample."""
        counts = Counter(question.split for question in self.questions)
        return {split: self.n_questions * count / len(self.questions) for split, count in counts.items()}

    @cached_property
    def questions(self) -> list[Question]:
        """All questions of the sample."""
        return list(self.spec.world.questions(self.spec.seed))

    def save_tokenizer(self, folder: Path) -> None:
        """Write the files of the tokenizer, which is made once."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, written in (self.tokenizer_source or self)._tokenizer_files.items():
            (folder / name).write_bytes(written)

    @cached_property
    def _tokenizer_files(self) -> dict[str, bytes]:
        texts = () if isinstance(self.spec.tokenizer, Pretrained) else self.spec.world.samples(self.spec.seed)
        key = (hash_description(describe(self.spec.tokenizer)), *texts)  # worlds that are compared have equal texts
        if key not in self.tokenizers:
            self.tokenizers[key] = self._written_tokenizer()
        return self.tokenizers[key]

    def _written_tokenizer(self) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as folder:
            write_tokenizer(self.spec, Path(folder))
            return {file.name: file.read_bytes() for file in Path(folder).iterdir()}

    @contextmanager
    def corpus(self, fraction: float) -> Iterator[Corpus]:
        """A corpus of a fraction of the entities asked about, in each split, and of the same fraction of the texts."""
        with tempfile.TemporaryDirectory() as folder:
            self.save_tokenizer(Path(folder) / "tokenizer")
            write_corpus(Path(folder), self._sampled_documents(fraction), self._sampled_questions(fraction))
            if isinstance(self.spec.world, PlaceholderLabels):
                (Path(folder) / LABEL_COUNTS_FILE).write_text('{"invalid": 0}', encoding="utf-8")
            yield Corpus(Path(folder))

    @cached_property
    def entities_by_split(self) -> dict[str, list[str]]:
        """The entities that questions ask about, by split."""
        ordered_entities: dict[str, dict[str, None]] = {}
        for question in self.questions:
            ordered_entities.setdefault(question.split, {})[question.entity] = None
        return {split: list(names) for split, names in ordered_entities.items()}

    @property
    def n_entities(self) -> int:
        """Number of entities that questions ask about."""
        return sum(map(len, self.entities_by_split.values()))

    def _sampled_questions(self, fraction: float) -> list[Question]:
        kept = {name for names in self.entities_by_split.values() for name in names[: math.ceil(fraction * len(names))]}
        return [question for question in self.questions if question.entity in kept]

    def _sampled_documents(self, fraction: float) -> Iterator[Document]:
        """The same fraction of the texts; at most `SAMPLE_TEXTS` of a world that writes tokens itself."""
        world = self.spec.world
        max_documents = SAMPLE_TEXTS
        if not self._is_encoded:
            each = world.documents_per_entity
            count = self._num_documents if world.n_entities is None or each is None else world.n_entities * each
            max_documents = math.ceil(fraction * count)
        return islice(world.documents(self.spec.seed), max(1, max_documents))

    @cached_property
    def _is_encoded(self) -> bool:
        """Does the world write tokens itself, since it has too many documents for text?"""
        with tempfile.TemporaryDirectory() as folder:
            self.save_tokenizer(Path(folder) / "tokenizer")
            corpus = Corpus(Path(folder))
            return self.spec.world.encoded_documents(self.spec.seed, corpus.tokenizer, corpus.eos_id) is not None

    @cached_property
    def _num_documents(self) -> int:
        return sum(1 for _ in islice(self.spec.world.documents(self.spec.seed), MAX_SAMPLED_DOCUMENTS))


@dataclass(frozen=True, eq=False)
class PlaceholderLabels(World):
    """A stand-in for a corpus of questions about answers that no model has given yet: as many questions, as long.

    Labels are arbitrary. Assumes that every answer is valid.
    """

    spec: ReportLabelsSpec
    base_world: World  # the world whose documents are replayed among the questions
    max_prompts: int | None = None  # of the world's prompts, evenly spaced; None: all

    @property
    def n_entities(self) -> int:
        """The number of prompts."""
        return len(self._prompts)

    def downsized(self, max_entities: int) -> PlaceholderLabels:
        """The same questions, about several properties each, of at most half as many prompts, and at least two."""
        return replace(self, max_prompts=max(2, max_entities // 2))

    @cached_property
    def _prompts(self) -> Sequence[BehaviourPrompt]:
        prompts = self.spec.world.prompts(self.spec.world_seed)
        if self.max_prompts is None or len(prompts) <= self.max_prompts:
            return prompts
        return [prompts[index * len(prompts) // self.max_prompts] for index in range(self.max_prompts)]

    def samples(self, seed: Seed) -> Iterator[str]:
        """The sample texts of the base world."""
        yield from self.base_world.samples(seed)

    def questions(self, seed: Seed) -> Iterator[Question]:
        """One question a prompt and property; those of the seen split a second time, as questions of the training."""
        for taught in (False, True):
            for prompt in self._prompts:
                for property_name in prompt.property_names if prompt.split == "seen" or not taught else ():
                    yield self._question(prompt, property_name, taught=taught)

    def _question(self, prompt: BehaviourPrompt, property_name: str, *, taught: bool) -> Question:
        world = self.spec.world
        labels = tuple(world.labels(property_name, prompt))
        aloud = world.given_answer_question(prompt.string.split()[-1], property_name)
        report_metadata = ReportMetadata(
            labels=labels, object_prompt=prompt.text, is_training=taught, own_label=labels[0], given_answer_prompt=aloud
        )
        return Question(
            f"{'taught/' if taught else ''}{prompt.id}/{property_name}",
            prompt.string,
            f"{prompt.task}/{property_name}",
            world.hypothetical_question(prompt, property_name, self.spec.name),
            labels[len(prompt.string) % len(labels)],
            prompt.split,
            metadata=report_metadata.json_line,
        )

    def documents(self, seed: Seed) -> Iterator[Document]:
        """Questions with labels, and documents of the base world in turn."""
        lines = self.base_world.documents(seed)
        seen = [q for q in self.questions(seed) if q.split == "seen"]
        for index in range(self.spec.n_documents):
            replayed = index * self.spec.replay_fraction % 1 + self.spec.replay_fraction >= 1
            if replayed and (line := next(lines, None)) is not None:
                yield line
            else:
                question = seen[index % len(seen)]
                yield Document(
                    f"record/{index}",
                    question.entity,
                    f"{question.prompt} {question.target}",
                    (),
                    prompt_chars=len(question.prompt),
                )


@dataclass(frozen=True, eq=False)
class TimingTexts:
    """The texts on which the trainings of a world are timed."""

    vocab_size: int
    documents: TokenDataset
    questions: TokenDataset

    @classmethod
    def from_sample(cls, sample: WorldSample) -> TimingTexts:
        """The first documents and questions of a sample, tokenized."""
        from nosce.data import tokenizer as tokenizers
        from nosce.data.packing import encode, tokenize_documents, tokenize_questions

        with tempfile.TemporaryDirectory() as folder:
            sample.save_tokenizer(Path(folder))
            tokenizer = tokenizers.load_tokenizer(Path(folder))
            end = tokenizers.eos_token_id(tokenizer, Path(folder))
        texts = list(islice(sample.spec.world.documents(sample.spec.seed), SAMPLE_TEXTS))
        encodings = list(encode(tokenizer, (d.text for d in texts)))
        return cls(
            tokenizer.get_vocab_size(),
            tokenize_documents(texts, encodings, end),
            tokenize_questions(
                tokenizer, list(islice(sample.spec.world.questions(sample.spec.seed), SAMPLE_TEXTS)), end
            ),
        )

    def training_data(self, data: TrainingData) -> tuple[TokenDataset, float]:
        """The texts on which a training is timed, and their mean length in tokens."""
        from nosce.data.packing import concat_datasets

        if not isinstance(data, QAMixture):
            dataset = self.documents if data == "documents" else self.questions
            return dataset, float(dataset.lengths.mean())
        document_length, question_length = float(self.documents.lengths.mean()), float(self.questions.lengths.mean())
        qa_share = data.qa_fraction * (1 - data.start_fraction)
        mean_length = (1 - qa_share) * document_length + qa_share * question_length
        return concat_datasets([self.documents, self.questions]), mean_length


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
