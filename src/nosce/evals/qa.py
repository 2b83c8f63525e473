"""Read-outs: what is asked of a checkpoint, as pure data with one function each.

A read-out turns a model and a corpus into readings, one row an item and metric. It knows neither the
study nor the arm; those columns are filled when readings are gathered.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

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
    """Ask all questions or those of a split: exact match as greedy decoding gives it, its first token, and nats.

    Source: arXiv:2309.14316, section 2 ("QA generation accuracy", exact match of the whole value).
    """

    needs_model: ClassVar[bool] = True
    split: Split | None = None  # None: of both
    name: str = "questions"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """One reading a question and metric: `exact` (value and end), `first` (token) and `nats`."""
        from nosce.models.likelihood import score_spans

        assert model is not None
        span_scores = score_spans(model, *self._target_spans(corpus), eos_id=corpus.eos_id)
        for question, span_score in zip(self._selected_questions(corpus), span_scores, strict=True):
            yield from _span_readings(
                self.name, question.split, question.id, question.entity, question.attribute, span_score, corpus
            )

    def batch_change(self, model: PreTrainedModel, corpus: Corpus, seed: Seed) -> BatchChange:
        """On a sample of the questions."""
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


@dataclass(frozen=True, kw_only=True)
class RecallEval(PerCheckpointEvaluation):
    """Are values recalled inside the documents themselves, given all that stands before them?

    The check without which "cannot be asked for" would be confused with "was never stored"
    (arXiv:2309.14316, remark C.1). `documents_per_entity` of each person are drawn; 0 takes all. Of all facets, or of
    some.
    With `per_token` each token of a value is asked for by itself, the rest of the value beside it: where words are
    tokens, what a model that sees both ways has learnt.
    """

    needs_model: ClassVar[bool] = True
    documents_per_entity: int = 1
    attributes: tuple[str, ...] = ()
    per_token: bool = False
    name: str = "recall"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """One reading a value and metric: `exact` (whole value), `first` (token) and `nats`."""
        from nosce.models.likelihood import score_spans

        assert model is not None
        entity_splits = {q.entity: q.split for q in corpus.questions}
        document_entities, document_ids = (
            corpus.document_index["entity"].to_list(),
            corpus.document_index["id"].to_list(),
        )
        rows = self._value_rows(model, corpus, seed)
        for row, span_score in zip(
            rows, score_spans(model, corpus.documents, _value_spans(rows), eos_id=corpus.eos_id), strict=True
        ):
            entity = document_entities[row["document"]]
            item = f"{row['attribute']}/{document_ids[row['document']]}{row.get('word', '')}"
            yield from _span_readings(
                self.name, entity_splits.get(entity, ""), item, entity, row["attribute"], span_score, corpus
            )

    def batch_change(self, model: PreTrainedModel, corpus: Corpus, seed: Seed) -> BatchChange:
        """On a sample of the values."""
        from nosce.models.likelihood import measure_batch_change

        spans = _value_spans(self._value_rows(model, corpus, seed))
        return measure_batch_change(model, corpus.documents, spans, eos_id=corpus.eos_id, seed=seed / "batch change")

    def _value_rows(self, model: PreTrainedModel, corpus: Corpus, seed: Seed) -> list[dict[str, Any]]:
        """Values of the drawn documents; what an encoder is given nobody can recall."""
        document_indices = self._sample_documents(corpus.document_index["entity"].to_list(), seed)
        rows = [
            row
            for row in corpus.spans.iter_rows(named=True)
            if row["document"] in document_indices and (not self.attributes or row["attribute"] in self.attributes)
        ]
        if self.per_token:
            rows = [
                {**row, "start": at, "stop": at + 1, "word": f"/{at - row['start']}"}
                for row in rows
                for at in range(row["start"], row["stop"])
            ]
        if not model.config.is_encoder_decoder:
            return rows
        prompt_lengths = corpus.documents.prompt_len
        return [row for row in rows if row["start"] >= prompt_lengths[row["document"]]]

    def _sample_documents(self, document_entities: list[str], seed: Seed) -> set[int]:
        if not self.documents_per_entity:
            return set(range(len(document_entities)))
        documents_by_entity: dict[str, list[int]] = {}
        for document_number, entity in enumerate(document_entities):
            documents_by_entity.setdefault(entity, []).append(document_number)
        rng = (seed / "recall").numpy()
        return {
            int(document_number)
            for numbers in documents_by_entity.values()
            for document_number in rng.choice(numbers, min(self.documents_per_entity, len(numbers)), replace=False)
        }


@dataclass(frozen=True, kw_only=True)
class MajorityBaseline(PerCheckpointEvaluation):
    """What one would score without a model: always the most frequent answer among the seen people's."""

    needs_model: ClassVar[bool] = False
    name: str = "majority"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """One reading a question: `exact`, with the guess as the answer.

        Raises:
            DataError: A facet was asked of unseen things alone, so that nothing is known to guess.
        """
        most_frequent_answer: dict[str, str] = {}
        for attribute in dict.fromkeys(q.attribute for q in corpus.questions):
            answer_counts = Counter(q.target for q in corpus.questions_in("seen") if q.attribute == attribute)
            if not answer_counts:
                raise DataError(
                    f"a majority guess was asked for, but nobody of the seen split is asked about {attribute!r}; "
                    "ask somebody, or leave the read-out MajorityBaseline out."
                )
            # Ties go to the alphabet, not to the order in which people happen to come.
            most_frequent_answer[attribute] = min(answer_counts, key=lambda target: (-answer_counts[target], target))
        for question in corpus.questions:
            yield _baseline_reading(self.name, question, most_frequent_answer[question.attribute])


@dataclass(frozen=True, kw_only=True)
class FrequencyBaseline(PerCheckpointEvaluation):
    """What the values of a facet would cost in the documents without a model, by how frequent they are there.

    Readings have the items of `RecallEval` with all documents: `nats` by their frequency among all documents, so
    without knowing whom it is about, and `nats/own` by that among the documents about the same, the least that is
    possible.
    """

    needs_model: ClassVar[bool] = False
    attributes: tuple[str, ...]
    name: str = "frequencies"

    def evaluate(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """Two readings a value."""
        entity_splits = {q.entity: q.split for q in corpus.questions}
        document_entities, document_ids = (
            corpus.document_index["entity"].to_list(),
            corpus.document_index["id"].to_list(),
        )
        for attribute in self.attributes:
            rows = list(corpus.spans.filter(pl.col("attribute") == attribute).iter_rows(named=True))
            values = [tuple(corpus.documents.text_tokens(r["document"])[r["start"] : r["stop"]].tolist()) for r in rows]
            value_entities = [document_entities[row["document"]] for row in rows]
            value_counts, entity_value_counts, entity_counts = (
                Counter(values),
                Counter(zip(value_entities, values, strict=True)),
                Counter(value_entities),
            )
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


def _value_spans(rows: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
    return [(row["document"], row["start"], row["stop"]) for row in rows]


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
