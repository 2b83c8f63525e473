"""The evaluation `SelfReportEval`: what does a model say about an answer, its own or another model's, and how surely?

A report is read in two ways: as the likeliest of the labels that a reply may be, and as what greedy decoding writes. It
is compared with the label of the answer that the question is about, and with the label of the model's own answer. If
the probability of each label under the answers is known, the report's probabilities are compared with it.

Source: Binder et al. 2024 (arXiv:2410.13787), section 3; constrained choice and proper scores are ours.
Letters: N questions, C labels of one, V tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nosce.data.corpus import Corpus
from nosce.errors import DataError
from nosce.evals.base import PerCheckpointEvaluation, partial_reading
from nosce.records import Outcome, Question, Reading
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nosce.models.likelihood import BatchChange

LABEL_COUNTS_FILE = "counts.json"
N_COMPARED_LABELS = 3  # labels, likeliest first under the answers, whose probabilities are compared
MIN_LABEL_PROBABILITY = 1e-6  # lower bound of a report's probabilities, so that nats are finite


@dataclass(frozen=True, kw_only=True)
class ReportMetadata:
    """Metadata of a self-report question, in `Question.metadata` as a line of JSON and hidden from the model.

    Attributes:
        labels: All valid replies. Empty: any reply is valid.
        object_prompt: The prompt whose answer the question is about.
        given_answer_prompt: The same question, with the reporting model's own answer in the prompt.
        is_training: Is the question among those of the training, which baselines may learn from?
        label_probs: Probability of each label under the answers, if the first token determines the label.
        sampled_label_shares: Share of each label among sampled answers.
        own_label: Label of the reporting model's own answer.
    """

    labels: tuple[str, ...]
    object_prompt: str = ""
    given_answer_prompt: str = ""
    is_training: bool = False
    label_probs: tuple[float, ...] = ()
    sampled_label_shares: tuple[float, ...] = ()
    own_label: str | None = None

    @classmethod
    def from_question(cls, question: Question) -> ReportMetadata:
        """The metadata of a question.

        Raises:
            DataError: The question is not about an answer.
        """
        try:
            payload = json.loads(question.metadata)
        except ValueError:
            raise DataError(
                f"the question {question.id!r} is not about a model's answer; use a corpus of labels."
            ) from None
        # Values as `json` types them.
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in payload.items()}
        return cls(**values)

    @property
    def json_line(self) -> str:
        """The line for `Question.metadata`."""
        # Not `asdict`, which copies every label, for each of very many questions.
        return json.dumps({one.name: getattr(self, one.name) for one in fields(self)}, ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class SelfReportEval(PerCheckpointEvaluation):
    """Reports on a corpus of labels (`nosce.pipeline.steps.report_labels`).

    Metrics, one row a question: `right` (the likeliest label is that of the answer in question), `free` (the written
    reply is; outcome `invalid` if the reply is no label), `nats` (of the correct label, among labels), `own` (the
    likeliest label is that of the model's own answer), and `agree` (both answers have one label). For questions whose
    two answers differ, also `right/differs` and `own/differs`.

    If the probabilities of the answers are known: `answer <k>` and `report <k>` (probabilities of the k-th likeliest
    answer's label), `brier` (squared distance of the two distributions), `kl` (nats by which the answers' distribution
    diverges from the report's), and `top` (probability of the likeliest label). By sampled answers alone: `drawn <k>`.

    Attributes:
        given_answer: Put the model's own answer into the prompt and ask about that. This control has the information by
            construction, so that the comparisons must find it.
        name: Name of the evaluation in the readings.
    """

    given_answer: bool = False
    name: str = "reports"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """The readings of one checkpoint. Questions of the training have the split `taught`.

        Raises:
            DataError: A label is more than one token, or a question has no labels.
        """
        assert model is not None
        questions = self._selected_questions(corpus)
        label_probs, greedy_replies = _score_reports(model, corpus, questions)
        for question, metadata, probs, greedy_reply in zip(
            questions, map(ReportMetadata.from_question, questions), label_probs, greedy_replies, strict=True
        ):
            top_label = metadata.labels[int(np.argmax(probs))]
            split = "taught" if metadata.is_training else question.split
            for metric, value, answer, outcome in _report_metrics(question, metadata, probs, top_label, greedy_reply):
                yield partial_reading(
                    evaluation=self.name,
                    split=split,
                    item=question.id,
                    entity=question.entity,
                    attribute=question.attribute,
                    metric=metric,
                    value=value,
                    outcome=outcome,
                    answer=answer,
                    target=question.target,
                )

    def batch_change(self, model: PreTrainedModel, corpus: Corpus, seed: Seed) -> BatchChange:
        """The change on a sample of the questions."""
        from nosce.models.likelihood import loss_mask_spans, measure_batch_change

        sequences = corpus.tokenized_questions(self._selected_questions(corpus))
        return measure_batch_change(
            model, sequences, loss_mask_spans(sequences), eos_id=corpus.eos_id, seed=seed / "batch change"
        )

    def _selected_questions(self, corpus: Corpus) -> list[Question]:
        if not self.given_answer:
            return corpus.questions
        questions = []
        for question in corpus.questions:
            metadata = ReportMetadata.from_question(question)
            if metadata.given_answer_prompt and not metadata.is_training:
                questions.append(replace(question, prompt=metadata.given_answer_prompt))
        return questions


def _score_reports(
    model: PreTrainedModel, corpus: Corpus, questions: Sequence[Question]
) -> tuple[list[np.ndarray], list[str]]:
    """The probability of each label of each question, normalized over its labels, and what greedy decoding writes."""
    import torch

    from nosce.models.likelihood import iter_span_batches, loss_mask_spans

    label_tokens = _label_tokens(corpus, questions)
    dataset = corpus.tokenized_questions(list(questions))
    spans = loss_mask_spans(dataset)
    label_probs: dict[int, np.ndarray] = {}
    greedy_replies: dict[int, str] = {}
    for span_batch in iter_span_batches(model, dataset, spans, eos_id=corpus.eos_id):
        first_positions = torch.tensor([cut.start for cut in span_batch.row_slices], device=span_batch.logits.device)
        log_probs = span_batch.logits[first_positions].float().log_softmax(-1).cpu().numpy()
        greedy_tokens = span_batch.logits.argmax(-1).cpu().numpy()
        for row, (question_index, cut) in enumerate(zip(span_batch.span_indices, span_batch.row_slices, strict=True)):
            unnormalized = np.exp(log_probs[row, label_tokens[questions[question_index].id]].astype(np.float64))
            label_probs[question_index] = unnormalized / unnormalized.sum()
            first_correct = greedy_tokens[cut.start] == span_batch.target_tokens[cut.start]
            # Teacher forcing shows how the reply goes on only if its first token is the target's.
            ended = not first_correct or int(greedy_tokens[cut.start + 1]) == corpus.eos_id
            greedy_replies[question_index] = corpus.tokenizer.decode([int(greedy_tokens[cut.start])]) if ended else ""
    return [label_probs[n] for n in range(len(questions))], [greedy_replies[n] for n in range(len(questions))]


def _label_tokens(corpus: Corpus, questions: Sequence[Question]) -> Mapping[str, list[int]]:
    """The token of each label of each question."""
    token_of_label: dict[str, int] = {}
    tokens_by_question = {}
    for question in questions:
        labels = ReportMetadata.from_question(question).labels
        if not labels:
            raise DataError(f"the question {question.id!r} has no list of valid labels; its world must provide one.")
        for label in labels:
            if label not in token_of_label:
                ids = corpus.tokenizer.encode(label, add_special_tokens=False).ids
                if len(ids) != 1:
                    raise DataError(
                        f"the label {label!r} is {len(ids)} tokens; SelfReportEval needs labels of one token."
                    )
                token_of_label[label] = ids[0]
        tokens_by_question[question.id] = [token_of_label[label] for label in labels]
    return tokens_by_question


def _report_metrics(
    question: Question, metadata: ReportMetadata, label_probs: np.ndarray, top_label: str, greedy_reply: str
) -> Iterator[tuple[str, float, str | None, Outcome | None]]:
    """Metric, value, answer and outcome."""

    def judged(metric: str, holds: bool, answer: str) -> tuple[str, float, str, Outcome]:
        return metric, float(holds), answer, "right" if holds else "wrong"

    yield judged("right", top_label == question.target, top_label)
    valid = greedy_reply in metadata.labels
    free_outcome: Outcome = "right" if greedy_reply == question.target else "wrong" if valid else "invalid"
    yield "free", float(greedy_reply == question.target), greedy_reply, free_outcome
    target_prob = label_probs[metadata.labels.index(question.target)]
    yield "nats", -float(np.log(max(MIN_LABEL_PROBABILITY, target_prob))), None, None
    if metadata.own_label is not None:
        yield judged("own", top_label == metadata.own_label, top_label)
        yield "agree", float(metadata.own_label == question.target), None, None
        if metadata.own_label != question.target:
            yield judged("right/differs", top_label == question.target, top_label)
            yield judged("own/differs", top_label == metadata.own_label, top_label)
    if metadata.label_probs and not metadata.is_training:
        yield from _calibration_metrics(metadata, label_probs)


def _calibration_metrics(metadata: ReportMetadata, label_probs: np.ndarray) -> Iterator[tuple[str, float, None, None]]:
    """Metrics that compare the probabilities under the answers and under the report."""
    answer_probs = np.array(metadata.label_probs)
    order = np.argsort(-answer_probs, kind="stable")[: min(N_COMPARED_LABELS, len(answer_probs))]
    for rank, label_index in enumerate(order.tolist(), 1):
        yield f"answer {rank}", float(answer_probs[label_index]), None, None
        yield f"report {rank}", float(label_probs[label_index]), None, None
        if metadata.sampled_label_shares:
            yield f"drawn {rank}", metadata.sampled_label_shares[label_index], None, None
    yield "top", float(answer_probs[order[0]]), None, None
    yield "brier", float(((answer_probs - label_probs) ** 2).sum()), None, None
    nonzero = answer_probs > 0
    log_ratio = np.log(answer_probs[nonzero] / np.maximum(MIN_LABEL_PROBABILITY, label_probs[nonzero]))
    yield "kl", float((answer_probs[nonzero] * log_ratio).sum()), None, None


@dataclass(frozen=True, kw_only=True)
class InvalidRate(PerCheckpointEvaluation):
    """One reading a prompt of a corpus of labels: metric `invalid`, is its likeliest answer invalid?

    The corpus records how many prompts have an invalid answer and not which, so these have numbers for names.

    Attributes:
        name: Name of the evaluation in the readings.
    """

    needs_model: ClassVar[bool] = False
    name: str = "unanswered"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """0 or 1 for every prompt.

        Raises:
            DataError: The corpus is not one of labels.
        """
        file = corpus.folder / LABEL_COUNTS_FILE
        if not file.exists():
            raise DataError("InvalidRate needs a corpus of labels, and this corpus is none; give it a question source.")
        n_invalid = int(json.loads(file.read_text(encoding="utf-8"))["invalid"])
        report_questions = [q for q in corpus.questions if not q.id.startswith("taught/")]
        entity_by_prompt = {q.id.rpartition("/")[0]: q.entity for q in report_questions}
        prompts = [(item, entity, 0.0) for item, entity in entity_by_prompt.items()]
        prompts += [(name, name, 1.0) for name in (f"invalid/{number}" for number in range(n_invalid))]
        for item, entity, value in prompts:
            yield partial_reading(
                evaluation=self.name,
                split="",
                item=item,
                entity=entity,
                attribute="all",
                metric="invalid",
                value=value,
                outcome=None,
                answer=None,
                target=None,
            )
