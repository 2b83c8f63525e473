"""The first texts of a world, and its questions, on which work is timed without its corpus."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

from nosce.data.corpus import Corpus, write_corpus
from nosce.data.packing import TokenDataset
from nosce.data.worlds.base import World
from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.evals.self_report import LABEL_COUNTS_FILE, ReportMetadata
from nosce.models.architecture import Pretrained
from nosce.pipeline.steps.corpus import CorpusSpec, write_tokenizer
from nosce.pipeline.steps.report_labels import ReportLabelsSpec
from nosce.pipeline.steps.training import TrainingData
from nosce.records import Document, Question
from nosce.seeds import Seed
from nosce.store.spec import describe, hash_description
from nosce.train.config import QAMixture

SAMPLE_TEXTS = 200  # texts that the mean length and the time of a step are taken from
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
