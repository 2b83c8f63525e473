"""Evaluations of questions and answers: fine-tuned answers, values recalled inside documents, and their baselines.

An evaluation turns a model and a corpus into readings, one row an item and metric. It knows neither the study nor the
arm, whose columns are filled when readings are gathered.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import polars as pl

from nosce.data.corpus import Corpus
from nosce.errors import DataError
from nosce.evals.base import PerCheckpointEvaluation, partial_reading
from nosce.records import Outcome, Question, Reading, Split
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nosce.data.packing import TokenDataset
    from nosce.models.likelihood import BatchChange, SpanScore


@dataclass(frozen=True, kw_only=True)
class QAEval(PerCheckpointEvaluation):
    """Asks questions: exact match under greedy decoding, the first token, and the nats of the answer.

    Source: arXiv:2309.14316, section 2 ("QA generation accuracy", exact match of the whole value).

    Attributes:
        split: The split whose questions are asked. None: all splits.
        name: Name of the evaluation in the readings.
    """

    split: Split | None = None
    name: str = "questions"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """One reading a question and metric: `exact` (value and end), `first` (token), `nats` and `nats_per_token`."""
        from nosce.models.likelihood import score_spans

        assert model is not None
        span_scores = score_spans(model, *self._target_spans(corpus), eos_id=corpus.eos_id)
        for question, span_score in zip(self._selected_questions(corpus), span_scores, strict=True):
            yield from _span_readings(
                self.name, question.split, question.id, question.entity, question.attribute, span_score, corpus
            )

    def batch_change(self, model: PreTrainedModel, corpus: Corpus, seed: Seed) -> BatchChange:
        """The change on a sample of the questions."""
        from nosce.models.likelihood import measure_batch_change

        return measure_batch_change(
            model, *self._target_spans(corpus), eos_id=corpus.eos_id, seed=seed / "batch change"
        )

    def _target_spans(self, corpus: Corpus) -> tuple[TokenDataset, list[tuple[int, int, int]]]:
        from nosce.models.likelihood import loss_mask_spans

        dataset = corpus.tokenized_questions(self._selected_questions(corpus))
        return dataset, loss_mask_spans(dataset)

    def _selected_questions(self, corpus: Corpus) -> list[Question]:
        return corpus.questions if self.split is None else corpus.questions_in(self.split)


@dataclass(frozen=True, eq=False)
class _DocumentSpan:
    """The tokens of a value in a document; `suffix` tells the tokens of one value apart in the item's name."""

    document: int
    attribute: str
    start: int
    stop: int
    suffix: str = ""

    @property
    def indices(self) -> tuple[int, int, int]:
        return self.document, self.start, self.stop


@dataclass(frozen=True, kw_only=True)
class RecallEval(PerCheckpointEvaluation):
    """Are values recalled inside the documents, given all the text before them?

    Without this check, a value that a question cannot retrieve would look like a value that was never stored
    (arXiv:2309.14316, remark C.1).

    Attributes:
        documents_per_entity: Documents drawn of each entity. 0: all documents.
        attributes: Attributes whose values are read. Empty: all.
        per_token: Read each token of a value by itself, given the value's other tokens. Where words are tokens, this
            is what a bidirectional model is trained to predict.
        name: Name of the evaluation in the readings.
    """

    documents_per_entity: int = 1
    attributes: tuple[str, ...] = ()
    per_token: bool = False
    name: str = "recall"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """One reading a value and metric: `exact` (whole value), `first` (token), `nats` and `nats_per_token`."""
        from nosce.models.likelihood import score_spans

        assert model is not None
        entity_splits = {q.entity: q.split for q in corpus.questions}
        document_entities, document_ids = (corpus.document_index[name].to_list() for name in ("entity", "id"))
        spans = self._value_spans(model, corpus, seed)
        scores = score_spans(model, corpus.documents, [span.indices for span in spans], eos_id=corpus.eos_id)
        for span, span_score in zip(spans, scores, strict=True):
            entity = document_entities[span.document]
            item, split = f"{span.attribute}/{document_ids[span.document]}{span.suffix}", entity_splits.get(entity, "")
            yield from _span_readings(self.name, split, item, entity, span.attribute, span_score, corpus)

    def batch_change(self, model: PreTrainedModel, corpus: Corpus, seed: Seed) -> BatchChange:
        """The change on a sample of the values."""
        from nosce.models.likelihood import measure_batch_change

        spans = [span.indices for span in self._value_spans(model, corpus, seed)]
        return measure_batch_change(model, corpus.documents, spans, eos_id=corpus.eos_id, seed=seed / "batch change")

    def _value_spans(self, model: PreTrainedModel, corpus: Corpus, seed: Seed) -> list[_DocumentSpan]:
        """Values of the drawn documents, without those that an encoder is given and no decoder predicts."""
        documents = self._sample_documents(corpus.document_index["entity"].to_list(), seed)
        columns = corpus.spans.select("document", "attribute", "start", "stop")
        spans = [_DocumentSpan(*row) for row in columns.iter_rows() if row[0] in documents]
        spans = [span for span in spans if not self.attributes or span.attribute in self.attributes]
        if self.per_token:
            spans = [token for span in spans for token in _single_tokens(span)]
        if not model.config.is_encoder_decoder:
            return spans
        prompt_lengths = corpus.documents.prompt_len
        return [span for span in spans if span.start >= prompt_lengths[span.document]]

    def _sample_documents(self, document_entities: list[str], seed: Seed) -> set[int]:
        if not self.documents_per_entity:
            return set(range(len(document_entities)))
        documents_by_entity: dict[str, list[int]] = {}
        for document_number, entity in enumerate(document_entities):
            documents_by_entity.setdefault(entity, []).append(document_number)
        rng, sampled = (seed / "recall").numpy(), set()
        for numbers in documents_by_entity.values():
            count = min(self.documents_per_entity, len(numbers))
            sampled |= set(rng.choice(numbers, count, replace=False).tolist())
        return sampled


def _single_tokens(span: _DocumentSpan) -> list[_DocumentSpan]:
    tokens = range(span.start, span.stop)
    return [_DocumentSpan(span.document, span.attribute, t, t + 1, f"/{t - span.start}") for t in tokens]


@dataclass(frozen=True, kw_only=True)
class MajorityBaseline(PerCheckpointEvaluation):
    """The score without a model: the answer is always the most frequent one among the seen entities.

    Attributes:
        name: Name of the evaluation in the readings.
    """

    needs_model: ClassVar[bool] = False
    name: str = "majority"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """One reading a question: `exact`, with the most frequent answer as the answer.

        Raises:
            DataError: No seen entity has a question for one of the attributes.
        """
        most_frequent_answer: dict[str, str] = {}
        for attribute in dict.fromkeys(q.attribute for q in corpus.questions):
            answer_counts = Counter(q.target for q in corpus.questions_in("seen") if q.attribute == attribute)
            if not answer_counts:
                raise DataError(
                    f"MajorityBaseline has no answer for {attribute!r}: no question of the seen split asks for it; "
                    "add such questions, or leave the evaluation out."
                )
            # Ties are broken alphabetically, not by the order of the questions.
            most_frequent_answer[attribute] = min(answer_counts, key=lambda target: (-answer_counts[target], target))
        for question in corpus.questions:
            yield _baseline_reading(self.name, question, most_frequent_answer[question.attribute])


@dataclass(frozen=True, kw_only=True)
class FrequencyBaseline(PerCheckpointEvaluation):
    """The nats of values in documents without a model, by their frequencies there.

    Readings have the items of `RecallEval` with all documents. Metrics: `nats` by the value's frequency among all
    documents, the cost for a predictor that does not know whom the document is about; `nats/own` by its frequency among
    the documents about the same entity, the least possible cost.

    Attributes:
        attributes: Attributes whose values are read.
        name: Name of the evaluation in the readings.
    """

    needs_model: ClassVar[bool] = False
    attributes: tuple[str, ...]
    name: str = "frequencies"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """Two readings a value."""
        entity_splits = {q.entity: q.split for q in corpus.questions}
        document_entities, document_ids = (corpus.document_index[name].to_list() for name in ("entity", "id"))
        for attribute in self.attributes:
            rows = list(corpus.spans.filter(pl.col("attribute") == attribute).iter_rows(named=True))
            values = [tuple(corpus.documents.text_tokens(r["document"])[r["start"] : r["stop"]].tolist()) for r in rows]
            value_entities = [document_entities[row["document"]] for row in rows]
            value_counts, entity_counts = Counter(values), Counter(value_entities)
            entity_value_counts = Counter(zip(value_entities, values, strict=True))
            for row, value, entity in zip(rows, values, value_entities, strict=True):
                shared_columns = {
                    "evaluation": self.name,
                    "split": entity_splits.get(entity, ""),
                    "entity": entity,
                    "attribute": attribute,
                    "item": f"{attribute}/{document_ids[row['document']]}",
                }
                for metric, probability in (
                    ("nats", value_counts[value] / len(rows)),
                    ("nats/own", entity_value_counts[entity, value] / entity_counts[entity]),
                ):
                    yield partial_reading(**shared_columns, metric=metric, value=-math.log(probability), outcome=None)


def _baseline_reading(evaluation: str, question: Question, answer: str) -> Reading:
    correct = answer == question.target
    return partial_reading(
        evaluation=evaluation,
        split=question.split,
        item=question.id,
        entity=question.entity,
        attribute=question.attribute,
        metric="exact",
        value=float(correct),
        outcome="right" if correct else "wrong",
        answer=answer,
        target=question.target,
    )


def _span_readings(
    evaluation: str, split: str, item: str, entity: str, attribute: str, span_score: SpanScore, corpus: Corpus
) -> Iterator[Reading]:
    shared_columns = {"evaluation": evaluation, "split": split, "item": item, "entity": entity, "attribute": attribute}
    answer = corpus.tokenizer.decode(span_score.greedy_tokens.tolist(), skip_special_tokens=True)
    target = corpus.tokenizer.decode(span_score.target_tokens.tolist(), skip_special_tokens=True)
    for metric, correct in (("exact", span_score.exact_match), ("first", span_score.first_token_correct)):
        outcome: Outcome = "right" if correct else "wrong"
        yield partial_reading(
            **shared_columns, metric=metric, value=float(correct), outcome=outcome, answer=answer, target=target
        )
    yield partial_reading(
        **shared_columns, metric="nats", value=span_score.nats, outcome=None, answer=None, target=target
    )
    nats_per_token = span_score.nats / len(span_score.target_tokens)
    yield partial_reading(
        **shared_columns, metric="nats_per_token", value=nats_per_token, outcome=None, answer=None, target=target
    )
