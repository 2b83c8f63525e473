"""The evaluation `KnowledgeCapacity`: how many bits of knowledge about people does a model hold?

    R = [ N log2(N0 / e^p1) + N log2(S0 / e^p2) ] / P

with N people, P weights, N0 possible names, S0 possible combinations of values, and p1 and p2 the means over people of
the summed negative log-likelihood (nats) of the name's tokens and of the values' tokens. Words outside names and values
do not count, nor does a value that another value determines. For a person who was never stored, the nats are those of
a uniform guess, which leaves no bits. A person whose tokens cost no nats contributes log2 of all possibilities.

Source: Allen-Zhu and Li 2024 (arXiv:2404.05405), definition 4.3. Pronouns are left out here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.errors import DataError, SpecError
from nosce.evals.base import MultiCheckpointEvaluation
from nosce.evals.probing.pq_probes import NameExtractor
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class KnowledgeCapacity(MultiCheckpointEvaluation):
    """Bits a person, at every checkpoint, from each person's first text.

    Metrics, one row a person: `name_nats`, `value_nats`, `bits`, and `bits_per_weight`, whose mean over people is R.

    Attributes:
        name_extractor: Takes the name out of a question's prompt.
        n_possible_names: Number of possible names.
        n_possible_values: Number of possible combinations of values, without derived attributes.
        derived_attributes: Attributes whose value another one determines.
        name: Name of the evaluation in the readings.
    """

    name_extractor: NameExtractor
    n_possible_names: float
    n_possible_values: float
    derived_attributes: tuple[str, ...] = ("company_city",)
    name: str = "capacity"

    def __post_init__(self) -> None:
        if self.n_possible_names < 1 or self.n_possible_values < 1:
            raise SpecError(
                f"KnowledgeCapacity of {self.n_possible_names} names and {self.n_possible_values} values has none; "
                "take 1 or more of each."
            )

    def evaluate_checkpoints(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """A table a checkpoint.

        Raises:
            DataError: The first text of a person does not contain the person's name.
        """
        from nosce.models.likelihood import score_spans

        spans_by_entity = self._entity_spans(corpus)
        spans = []
        for document, name_span, values in spans_by_entity.values():
            spans += [(document, *span) for span in (name_span, *values)]
        entity_splits = {q.entity: q.split for q in corpus.questions}
        for step, load in checkpoints.items():
            model = load()
            n_parameters = sum(p.numel() for p in model.parameters())
            span_nats = iter([one.nats for one in score_spans(model, corpus.documents, spans, eos_id=corpus.eos_id)])
            rows = []
            for entity, (_, _, values) in spans_by_entity.items():
                name_nats = next(span_nats)
                value_nats = sum(next(span_nats) for _ in values)
                possible = math.log2(self.n_possible_names) + math.log2(self.n_possible_values)
                bits = possible - (name_nats + value_nats) / math.log(2)
                metrics = {
                    "name_nats": name_nats,
                    "value_nats": value_nats,
                    "bits": bits,
                    "bits_per_weight": bits * len(spans_by_entity) / n_parameters,
                }
                rows += [(entity, entity_splits.get(entity, ""), metric, number) for metric, number in metrics.items()]
            yield pl.DataFrame(rows, schema=["entity", "split", "metric", "value"], orient="row").with_columns(
                item=pl.col("entity"),
                evaluation=pl.lit(self.name),
                attribute=pl.lit("all"),
                step=pl.lit(step, pl.Int64),
            )

    def _entity_spans(self, corpus: Corpus) -> dict[str, tuple[int, tuple[int, int], list[tuple[int, int]]]]:
        """Entity -> its first document, and the spans of the name's and of every counted value's tokens."""
        name_by_entity = {q.entity: self.name_extractor.extract_name(q.prompt, q.attribute) for q in corpus.questions}
        spans = {n: entity_values for (n,), entity_values in corpus.spans.group_by("document", maintain_order=True)}
        spans_by_entity: dict[str, tuple[int, tuple[int, int], list[tuple[int, int]]]] = {}
        for document_number, entity in enumerate(corpus.document_index["entity"].to_list()):
            if entity in spans_by_entity or entity not in name_by_entity:
                continue
            entity_values = spans[document_number].filter(~pl.col("attribute").is_in(self.derived_attributes))
            values = [(int(a), int(b)) for a, b in entity_values.select("start", "stop").iter_rows()]
            name_span = _find_name(corpus, document_number, name_by_entity[entity])
            spans_by_entity[entity] = document_number, name_span, values
        return spans_by_entity


def _find_name(corpus: Corpus, document_number: int, name: str) -> tuple[int, int]:
    """The tokens of a name's first mention in a document."""
    tokens = corpus.documents.text_tokens(document_number)
    for text in (name, f" {name}"):  # a byte-level tokenizer encodes a word otherwise after a blank
        name_tokens = np.array(corpus.tokenizer.encode(text, add_special_tokens=False).ids)
        windows = np.lib.stride_tricks.sliding_window_view(tokens, len(name_tokens))
        matches = np.flatnonzero((windows == name_tokens).all(1))
        if len(matches):
            return int(matches[0]), int(matches[0]) + len(name_tokens)
    raise DataError(
        f"the first text of a person does not contain the name {name!r}; KnowledgeCapacity needs texts with full names."
    )
