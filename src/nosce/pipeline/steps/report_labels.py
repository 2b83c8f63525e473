"""The step `report_labels`: a corpus of questions about a model's answers, for training and for evaluation.

The step writes a corpus like any other (`nosce.data.corpus`), so the steps `training` and `evaluation` read it
unchanged. Its documents are questions about the answers to strings of the seen split, each with its label. Documents of
the predictor's own corpus are replayed among them, so that the predictor's behaviour changes little. Its questions are
of both splits, and the target of each is the label of the answer. The inputs alone decide whose answers these are: the
training has labels of the answers in `answers`, and the evaluation may ask about those of another model in `asked`.
Metadata of a question, hidden from the model, is a `ReportMetadata`.

counts.json    number of invalid answers, of answers of which a property is undefined, and of labels
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from nosce.data import corpus
from nosce.data.worlds.behaviours.base import BehaviourPrompt, BehaviourWorld, check_disjoint_strings
from nosce.errors import DataError, SpecError
from nosce.evals.self_report import ReportMetadata
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps.answers import GREEDY_SAMPLE
from nosce.records import Document, Question, read_table
from nosce.seeds import Seed

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ReportLabelsSpec:
    """The questions of the training, how they address the model, and how much of its own corpus is replayed."""

    world: BehaviourWorld
    world_seed: Seed
    seed: Seed
    n_documents: int  # replayed documents included
    replay_fraction: float = 0.5  # share of the documents that are of the predictor's own corpus
    max_labels: int | None = None  # number of different labels in the training; None: all
    property_names: tuple[str, ...] = ()  # properties in the training; empty: all
    name: str | None = None  # how questions name the model that answered; None: "you"
    leak: bool = False  # train on strings of the test too: a planted fault

    def __post_init__(self) -> None:
        if (
            self.n_documents < 1
            or not 0 <= self.replay_fraction < 1
            or (self.max_labels is not None and self.max_labels < 1)
        ):
            raise SpecError(
                f"ReportLabels with n_documents={self.n_documents}, replay_fraction={self.replay_fraction:g} and "
                f"max_labels={self.max_labels} has no label to train on; take at least 1 document, 1 label, and a "
                "replay fraction from 0 to below 1."
            )


@dataclass
class _Counts:
    """Number of invalid answers, of undefined properties and of labels."""

    invalid: int = 0
    undefined: int = 0
    labels: int = 0
    by_split: dict[str, int] = field(default_factory=dict)


def make(spec: ReportLabelsSpec, inputs: Mapping[str, Path], context: StepContext) -> None:
    """Write the corpus; inputs are the predictor's own `corpus` and `answers`, and perhaps `asked` and `own`.

    Raises:
        DataError: No answer to a string of the seen split has a label.
    """
    shutil.rmtree(context.folder, ignore_errors=True)
    context.folder.mkdir(parents=True)
    shutil.copytree(inputs["corpus"] / "tokenizer", context.folder / "tokenizer")
    prompts = spec.world.prompts(spec.world_seed)
    check_disjoint_strings(prompts)
    counts = _Counts()
    training_questions = _training_questions(
        spec, list(_labelled_questions(spec, prompts, AnswerTable.load(inputs["answers"])))
    )
    if not training_questions:
        raise DataError(
            "no answer to a string of the seen split has a label, so there is nothing to train on; take another model "
            "or world."
        )
    corpus.write_corpus(
        context.folder,
        _report_documents(spec, training_questions, inputs["corpus"]),
        _eval_questions(spec, prompts, inputs, training_questions, counts),
    )
    (context.folder / "counts.json").write_text(json.dumps(vars(counts), indent=2) + "\n", encoding="utf-8")


class GreedyAnswer(NamedTuple):
    """The likeliest answer to a prompt."""

    text: str
    is_valid: bool


@dataclass(frozen=True, eq=False)
class AnswerTable:
    """A model's answers by prompt: the likeliest one, the valid samples, and log-probabilities of first tokens."""

    greedy: Mapping[str, GreedyAnswer]
    samples: Mapping[str, list[str]]
    first_token_log_probs: Mapping[str, list[float]]

    @classmethod
    def load(cls, folder: Path) -> AnswerTable:
        """The answers in the folder of a step `answers`."""
        table = read_table(folder / "answers.parquet")
        greedy_rows = table.filter(pl.col("sample") == GREEDY_SAMPLE).select("prompt", "answer", "valid").iter_rows()
        greedy = {prompt: GreedyAnswer(str(answer), valid) for prompt, answer, valid in greedy_rows}
        drawn = table.filter((pl.col("sample") != GREEDY_SAMPLE) & pl.col("valid")).group_by("prompt").agg("answer")
        draws = dict(drawn.iter_rows())
        file = folder / "first.parquet"
        return cls(greedy, draws, dict(read_table(file).iter_rows()) if file.exists() else {})


def _labelled_questions(
    spec: ReportLabelsSpec, prompts: Sequence[BehaviourPrompt], answers: AnswerTable, counts: _Counts | None = None
) -> Iterator[Question]:
    """A question on every property of every valid answer, with its label as the target."""
    counts = counts or _Counts()
    for prompt in prompts:
        answer = answers.greedy[prompt.id]
        if not answer.is_valid:
            counts.invalid += 1
            continue
        for property_name in prompt.property_names:
            label = spec.world.property_value(property_name, answer.text, spec.world_seed)
            if label is None:
                counts.undefined += 1
                continue
            counts.labels += 1
            counts.by_split[prompt.split] = counts.by_split.get(prompt.split, 0) + 1
            report_metadata = ReportMetadata(
                labels=tuple(spec.world.labels(property_name, prompt)), object_prompt=prompt.text
            )
            yield Question(
                f"{prompt.id}/{property_name}",
                prompt.string,
                f"{prompt.task}/{property_name}",
                spec.world.hypothetical_question(prompt, property_name, spec.name),
                label,
                prompt.split,
                metadata=report_metadata.json_line,
            )


def _training_questions(spec: ReportLabelsSpec, questions: list[Question]) -> list[Question]:
    """The questions of the training: of the seen split and the chosen properties, at most `max_labels` of them."""
    candidates = [q for q in questions if spec.leak or q.split == "seen"]
    candidates = [q for q in candidates if not spec.property_names or q.attribute.split("/")[-1] in spec.property_names]
    if spec.max_labels is None or spec.max_labels >= len(candidates):
        return candidates
    chosen = (spec.seed / "chosen").numpy().permutation(len(candidates))[: spec.max_labels]
    return [candidates[place] for place in sorted(chosen.tolist())]


def _eval_questions(
    spec: ReportLabelsSpec,
    prompts: Sequence[BehaviourPrompt],
    inputs: Mapping[str, Path],
    training_questions: list[Question],
    counts: _Counts,
) -> Iterator[Question]:
    """All questions of the evaluation with their metadata, then those of the training."""
    answers = AnswerTable.load(inputs.get("asked", inputs["answers"]))
    own_answers = AnswerTable.load(inputs["own"]) if "own" in inputs else None
    by_id = {prompt.id: prompt for prompt in prompts}
    token_labels = _TokenLabels(spec, _token_texts(inputs["corpus"]))
    for question in _labelled_questions(spec, prompts, answers, counts):
        prompt, property_name = by_id[question.id.rpartition("/")[0]], question.attribute.split("/")[-1]
        report_metadata = ReportMetadata.from_question(question)
        label_probabilities = _LabelProbabilities(spec, prompt, property_name, report_metadata.labels)
        report_metadata = replace(
            report_metadata,
            label_probs=label_probabilities.from_first_token(answers, token_labels),
            sampled_label_shares=label_probabilities.from_samples(answers),
        )
        if own_answers is not None:
            report_metadata = label_probabilities.with_own_label(report_metadata, own_answers)
        yield replace(question, metadata=report_metadata.json_line)
    for question in training_questions:
        report_metadata = replace(ReportMetadata.from_question(question), is_training=True)
        yield replace(question, id=f"taught/{question.id}", split="seen", metadata=report_metadata.json_line)


@dataclass(frozen=True)
class _LabelProbabilities:
    """The probability of each label of one question under a model's answers."""

    spec: ReportLabelsSpec
    prompt: BehaviourPrompt
    property_name: str
    labels: tuple[str, ...]

    def from_first_token(self, answers: AnswerTable, token_labels: _TokenLabels) -> tuple[float, ...]:
        """Probabilities from the answer's first token, where that determines the property; empty elsewhere."""
        if (
            not self.labels
            or not self.spec.world.is_first_token_property(self.property_name)
            or self.prompt.id not in answers.first_token_log_probs
        ):
            return ()
        label_indices = token_labels.label_indices(self.property_name, self.labels)
        has_label = label_indices >= 0
        log_probs = np.array(answers.first_token_log_probs[self.prompt.id][: len(label_indices)])
        mass = np.bincount(label_indices[has_label], weights=np.exp(log_probs[has_label]), minlength=len(self.labels))
        return tuple((mass / mass.sum()).tolist()) if mass.sum() > 0 else ()

    def from_samples(self, answers: AnswerTable) -> tuple[float, ...]:
        """Shares among the sampled answers that are valid."""
        world, world_seed = self.spec.world, self.spec.world_seed
        sampled_answers = answers.samples.get(self.prompt.id, ())
        values = [world.property_value(self.property_name, answer, world_seed) for answer in sampled_answers]
        known = [value for value in values if value is not None]
        return tuple(known.count(label) / len(known) for label in self.labels) if known else ()

    def with_own_label(self, metadata: ReportMetadata, own_answers: AnswerTable) -> ReportMetadata:
        """The metadata with the label of the model's own likeliest answer, and the question about that answer.

        Unchanged where the answer is invalid.
        """
        answer = own_answers.greedy[self.prompt.id]
        if not answer.is_valid:
            return metadata
        world = self.spec.world
        return replace(
            metadata,
            own_label=world.property_value(self.property_name, answer.text, self.spec.world_seed),
            given_answer_prompt=world.given_answer_question(answer.text, self.property_name),
        )


@dataclass(frozen=True, eq=False)
class _TokenLabels:
    """The label of each token as an answer's first token, cached by property."""

    spec: ReportLabelsSpec
    texts: Sequence[str]
    cache: dict[tuple[str, tuple[str, ...]], np.ndarray] = field(default_factory=dict)

    def label_indices(self, property_name: str, labels: tuple[str, ...]) -> np.ndarray:
        """The index of each token's label, -1 where it has none. Shape: (V,)."""
        if (property_name, labels) not in self.cache:
            values = [self.spec.world.property_value(property_name, text, self.spec.world_seed) for text in self.texts]
            indices = [-1 if value is None else labels.index(value) for value in values]
            self.cache[property_name, labels] = np.array(indices, dtype=np.int64)
        return self.cache[property_name, labels]


def _token_texts(corpus_folder: Path) -> list[str]:
    """The text of each token, by its id."""
    tokenizer = corpus.Corpus(corpus_folder).tokenizer
    return [tokenizer.decode([number]) for number in range(tokenizer.get_vocab_size())]


def _report_documents(
    spec: ReportLabelsSpec, training_questions: list[Question], corpus_folder: Path
) -> Iterator[Document]:
    """The questions of the training, shuffled anew each epoch, and replayed documents among them."""
    rng = (spec.seed / "records").numpy()
    lines = _corpus_lines(corpus_folder) if spec.replay_fraction else []
    order: list[int] = []
    for index in range(spec.n_documents):
        if lines and rng.random() < spec.replay_fraction:
            yield Document(f"record/{index}", "replay", lines[int(rng.integers(len(lines)))], ())
            continue
        if not order:
            order = rng.permutation(len(training_questions)).tolist()
        question = training_questions[order.pop()]
        yield Document(
            f"record/{index}",
            question.entity,
            f"{question.prompt} {question.target}",
            (),
            prompt_chars=len(question.prompt),
        )


def _corpus_lines(corpus_folder: Path) -> list[str]:
    """The texts in the first part of the predictor's corpus."""
    part = min(corpus_folder.glob("documents-*.parquet"))
    return [str(text) for text in read_table(part, columns=["text"])["text"]]
