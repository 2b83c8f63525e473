"""How long work takes on this machine: a training by some of its steps, an evaluation by part of its questions.

No step of a study is made here. A training is timed on the first texts of its world. An evaluation is timed on the
model that the timed training steps leave, since that model ends its replies about as a trained model does.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from nosce.data.corpus import Corpus, write_corpus
from nosce.data.packing import TokenDataset
from nosce.data.worlds.base import World
from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.evals.base import Evaluation, MultiCheckpointEvaluation, PerCheckpointEvaluation
from nosce.evals.self_report import LABEL_COUNTS_FILE, ReportMetadata
from nosce.models.architecture import Architecture, Pretrained
from nosce.pipeline.size_check import TRUNCATED_LAYERS
from nosce.pipeline.steps.corpus import CorpusSpec, write_tokenizer
from nosce.pipeline.steps.report_labels import ReportLabelsSpec
from nosce.pipeline.steps.training import TrainingData
from nosce.records import Document, Question
from nosce.seeds import Seed
from nosce.train.config import QAMixture, TrainingConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SAMPLE_TEXTS = 200  # texts that the mean length and the time of a step are taken from
MIN_TIMED_SECONDS = 1.5  # for which a shape of training, or a part of an evaluation, is timed at least
MAX_TIMED_STEPS = 50  # of a training at most
MAX_STEP_FLOPS = 1e11  # of one timed step at most: larger batches are timed on a part and scaled up
LARGE_MODEL_PARAMETERS = 2_000_000  # from so many weights on, a model is timed by two layers
MIN_TIMED_ENTITIES = 16  # entities asked about in the smallest part
SLOW_SECONDS = 4 * MIN_TIMED_SECONDS  # if the smallest part takes so long, no larger part is timed
MAX_SAMPLED_ENTITIES = 2_048  # a world that can be made smaller is made as small as this


@dataclass(frozen=True, eq=False)
class WorldSample:
    """A world's first texts, and its questions, without its corpus."""

    spec: CorpusSpec
    scale: float = 1.0  # entities of the whole world, per entity of this one
    tokenizer_source: WorldSample | None = None  # the sample whose tokenizer encodes this one; None: its own

    @classmethod
    def from_spec(cls, spec: CorpusSpec, tokenizer_source: WorldSample | None = None) -> WorldSample:
        """A sample of the world, or of its smaller version if the world has one (`World.downsized`)."""
        world = spec.world.downsized(MAX_SAMPLED_ENTITIES)
        whole, part = spec.world.n_entities, world.n_entities
        scale = 1.0 if whole is None or part is None else whole / part
        return cls(replace(spec, world=world), scale, tokenizer_source)

    @cached_property
    def questions(self) -> list[Question]:
        """All questions. They are few and quickly made, while there may be millions of documents."""
        return list(self.spec.world.questions(self.spec.seed))

    def save_tokenizer(self, folder: Path) -> None:
        """Write the files of the tokenizer, which is made once."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, written in (self.tokenizer_source or self)._tokenizer_files.items():
            (folder / name).write_bytes(written)

    @cached_property
    def _tokenizer_files(self) -> dict[str, bytes]:
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
        return sum(1 for _ in self.spec.world.documents(self.spec.seed))


@dataclass(frozen=True, eq=False)
class PlaceholderLabels(World):
    """A stand-in for a corpus of questions about answers that no model has given yet: as many questions, as long.

    Labels are arbitrary. Assumes that every answer is valid.
    """

    spec: ReportLabelsSpec
    base_world: World  # the world whose documents are replayed among the questions

    def samples(self, seed: Seed) -> Iterator[str]:
        """The sample texts of the base world."""
        yield from self.base_world.samples(seed)

    def questions(self, seed: Seed) -> Iterator[Question]:
        """One question a prompt and property; those of the seen split a second time, as questions of the training."""
        for taught in (False, True):
            for prompt in self.spec.world.prompts(seed):
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
            tokenize_questions(tokenizer, sample.questions[:SAMPLE_TEXTS], end),
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
    return sum(file.stat().st_size for file in Path(model.folder).glob("*.safetensors")) // 4


def truncate_layers(model: Architecture | Pretrained, vocab_size: int) -> tuple[Architecture | Pretrained, float]:
    """A large model's version with two layers, and the ratio of their parameters; a small model itself, and 1.

    So a model that does not fit this machine's memory has a price too, and a deep model has it in seconds.
    """
    n_parameters = count_parameters(model, vocab_size)
    if not isinstance(model, Architecture) or model.layers <= TRUNCATED_LAYERS or n_parameters < LARGE_MODEL_PARAMETERS:
        return model, 1.0
    truncated = replace(model, layers=TRUNCATED_LAYERS)
    return truncated, n_parameters / count_parameters(truncated, vocab_size)


def time_training(
    model: Architecture | Pretrained, dataset: TokenDataset, config: TrainingConfig, vocab_size: int
) -> tuple[float, PreTrainedModel]:
    """Seconds of one optimizer step on one core, the median of some steps; and the model after these steps."""
    import torch

    from nosce.data.sampling import EpochSampler, pack
    from nosce.models.architecture import build_model
    from nosce.models.number_format import choose_precision
    from nosce.models.varlen import varlen_forward
    from nosce.train.loss import summed_cross_entropy
    from nosce.train.optimizer import Optimizer, block_matrix_names
    from nosce.train.precision import MasterWeights

    torch.set_num_threads(1)
    mean_length = float(dataset.lengths.mean())
    batch_size = int(
        min(config.batch_size, max(2, MAX_STEP_FLOPS / (6 * count_parameters(model, vocab_size) * mean_length)))
    )
    net = build_model(model, vocab_size=vocab_size, eos_id=0, pad_id=None, seed=Seed(0) / "calibration", mask_id=0)
    master_weights = MasterWeights(net, choose_precision(config.dtype, device="cpu"))
    optimizer = Optimizer(
        master_weights.trainable_parameters,
        replace(config, warmup_steps=0),
        block_matrix_names(net),
    )
    sampler = EpochSampler(len(dataset), batch_size, Seed(0) / "calibration")
    durations: list[float] = []
    while len(durations) < 2 or (sum(durations) < MIN_TIMED_SECONDS and len(durations) < MAX_TIMED_STEPS):
        start = time.process_time()
        rows = sampler.batch_indices(len(durations))
        batch = pack(dataset, rows, window=config.window, eos_id=0, prompt_loss_weight=config.prompt_loss_weight)
        with varlen_forward(master_weights.compute_model) as forward:
            (summed_cross_entropy(master_weights.compute_model, forward, batch) / batch.total_weight).backward()  # type: ignore[no-untyped-call]
        master_weights.accumulate_gradients()
        torch.nn.utils.clip_grad_norm_(master_weights.trainable_parameters.values(), config.max_grad_norm)
        optimizer.step(0)
        master_weights.update_compute_weights()
        durations.append(time.process_time() - start)  # of this process: other work on the machine does not count
    return float(statistics.median(durations[1:]) * config.batch_size / batch_size), net


def time_evaluation(
    evaluation: Evaluation, sample: WorldSample, model: PreTrainedModel | None, n_checkpoints: int, seed: Seed
) -> float:
    """Seconds of an evaluation of `n_checkpoints` checkpoints on one core, extrapolated from parts of its questions.

    Two parts give a line; if the first part takes long, it is the only one. An evaluation with a `timing_subset` is
    timed by that subset.
    """
    if (subset := evaluation.timing_subset()) is not None:
        smaller, scale, n_entities = subset
        fraction = min(1.0, n_entities / max(1, sample.n_entities))
        # Twice, since the first run includes what is slow only once.
        return scale * min(_time_fraction(smaller, sample, model, fraction, 1, seed) for _ in range(2))
    fraction, timed_checkpoints = min(1.0, MIN_TIMED_ENTITIES / max(1, sample.n_entities)), min(n_checkpoints, 2)
    seconds = _time_fraction(evaluation, sample, model, fraction, timed_checkpoints, seed)
    if seconds < MIN_TIMED_SECONDS:  # the first run includes what is slow only once
        seconds = _time_fraction(evaluation, sample, model, fraction, timed_checkpoints, seed)
    previous: tuple[float, float] | None = None
    while fraction < 1 and seconds < (SLOW_SECONDS if previous is None else MIN_TIMED_SECONDS):
        # Far apart, so that fixed costs, e.g. of a probe's training, do not hide the cost of the questions.
        growth = 4 if previous else min(16, max(4, math.ceil(SLOW_SECONDS / max(seconds, 1e-9))))
        previous, fraction = (fraction, seconds), min(1.0, fraction * growth)
        seconds = _time_fraction(evaluation, sample, model, fraction, timed_checkpoints, seed)
    full_seconds = seconds
    if fraction < 1:
        slope = (seconds - previous[1]) / (fraction - previous[0]) if previous else math.inf
        full_seconds = min(seconds + max(0.0, slope) * (1 - fraction), seconds / fraction)
    if n_checkpoints <= 2:
        return full_seconds
    per_checkpoint = max(0.0, _time_fraction(evaluation, sample, model, fraction, 3, seed) - seconds)
    return full_seconds + (n_checkpoints - 2) * per_checkpoint * full_seconds / max(seconds, 1e-9)


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
