"""The step `report_labels`: what somebody answered, as questions about them to learn from and to be asked.

A corpus like any other (`nosce.data.corpus`), so that it is trained on and asked by what is there already. Documents
are questions about the answers to strings of the seen split, each with its label, and lines of the predictor's own
corpus among them, so that its behaviour stays where it is. Questions are those of both splits, and their targets are
what is so of the answers. Whose answers they are is a matter of the inputs alone: taught are labels of `answers`, and
what is asked may be about somebody else's, `asked`. What there is to know of a question beside its target goes with it
unseen (`ReportMetadata`).

counts.json    answers that were none, properties not defined of one, labels
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
from nosce.records import Document, Question
from nosce.seeds import Seed

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ReportLabelsSpec:
    """Which questions are learnt from, how many, in which person, among how much of one's own corpus."""

    world: BehaviourWorld
    world_seed: Seed
    seed: Seed
    n_documents: int  # documents, replayed ones among them
    replay_fraction: float = 0.5  # share of them that are lines of the predictor's own corpus
    max_labels: int | None = None  # how many different ones are taught; None: all
    property_names: tuple[str, ...] = ()  # properties that are taught; none: all
    name: str | None = None  # the name under which the one who answered is spoken of; None: you
    leak: bool = False  # teach strings that are tested too: a planted fault

    def __post_init__(self) -> None:
        if (
            self.n_documents < 1
            or not 0 <= self.replay_fraction < 1
            or (self.max_labels is not None and self.max_labels < 1)
        ):
            raise SpecError(
                f"labels of {self.n_documents} records, {self.replay_fraction:g} of them replayed, teach nothing; "
                "take a record and a label, and a share below 1."
            )


@dataclass
class _Counts:
    """What became of the answers."""

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
        raise DataError("no answer to a string of the seen split has a label, so that there is nothing to learn from.")
    corpus.write_corpus(
        context.folder,
        _report_documents(spec, training_questions, inputs["corpus"]),
        _eval_questions(spec, prompts, inputs, training_questions, counts),
    )
    (context.folder / "counts.json").write_text(json.dumps(vars(counts), indent=2) + "\n")


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
        """The answers that a step has kept."""
        table = pl.read_parquet(folder / "answers.parquet")
        greedy_rows = table.filter(pl.col("sample") == GREEDY_SAMPLE).select("prompt", "answer", "valid").iter_rows()
        greedy = {prompt: GreedyAnswer(str(answer), valid) for prompt, answer, valid in greedy_rows}
        drawn = table.filter((pl.col("sample") != GREEDY_SAMPLE) & pl.col("valid")).group_by("prompt").agg("answer")
        draws = dict(drawn.iter_rows())
        file = folder / "first.parquet"
        return cls(greedy, draws, dict(pl.read_parquet(file).iter_rows()) if file.exists() else {})


def _labelled_questions(
    spec: ReportLabelsSpec, prompts: Sequence[BehaviourPrompt], answers: AnswerTable, counts: _Counts | None = None
) -> Iterator[Question]:
    """What is so of every valid answer, property by property."""
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
    """Those that are learnt from: of the seen split, with the properties that are taught, as many as there shall be."""
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
    """All questions, about the answers that are asked about, with what goes with them; then those that are taught."""
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
    """How likely each label of one question is under somebody's answers."""

    spec: ReportLabelsSpec
    prompt: BehaviourPrompt
    property_name: str
    labels: tuple[str, ...]

    def from_first_token(self, answers: AnswerTable, token_labels: _TokenLabels) -> tuple[float, ...]:
        """By the first token alone, where that tells the property; over valid answers."""
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
        """By the draws that were answers at all."""
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
    """What every token would be labelled as an answer's first; found once a property."""

    spec: ReportLabelsSpec
    texts: Sequence[str]
    cache: dict[tuple[str, tuple[str, ...]], np.ndarray] = field(default_factory=dict)

    def label_indices(self, property_name: str, labels: tuple[str, ...]) -> np.ndarray:
        """The place of each token's label, -1 where it has none. Shape: (V,)."""
        if (property_name, labels) not in self.cache:
            values = [self.spec.world.property_value(property_name, text, self.spec.world_seed) for text in self.texts]
            indices = [-1 if value is None else labels.index(value) for value in values]
            self.cache[property_name, labels] = np.array(indices, dtype=np.int64)
        return self.cache[property_name, labels]


def _token_texts(corpus_folder: Path) -> list[str]:
    """Every token's text, by its number."""
    tokenizer = corpus.Corpus(corpus_folder).tokenizer
    return [tokenizer.decode([number]) for number in range(tokenizer.get_vocab_size())]


def _report_documents(
    spec: ReportLabelsSpec, training_questions: list[Question], corpus_folder: Path
) -> Iterator[Document]:
    """Labels drawn anew in every round through all of them, and lines of the predictor's own."""
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
    """Texts of the predictor's corpus, those of its first part."""
    part = min(corpus_folder.glob("documents-*.parquet"))
    return [str(text) for text in pl.read_parquet(part, columns=["text"])["text"]]
