"""The read-out `KnowledgeCapacity`: how many bits of knowledge of people a model holds, by the formula of Part 3.3.

    R = [ N log2(N0 / e^p1) + N log2(S0 / e^p2) ] / P

with N people, P weights, N0 names and S0 combinations of values that there could have been, p1 and p2 the means over
people of the summed negative log-likelihood (nats) of the name's tokens and of the values' tokens. Words that are no
value count for nothing, and neither does a value that another one determines. A person who was never stored costs as
many nats as guessing does, which leaves no bits; one who costs none leaves log2 of all that could have been.

Source: Allen-Zhu and Li 2024 (arXiv:2404.05405), definition 4.3. Pronouns are left out here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

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
    """Bits a person, at every checkpoint, from the first text of each.

    Readings: `name_nats`, `value_nats`, `bits` of a person, and `bits_per_weight`, whose mean over people is R.
    """

    needs_model: ClassVar[bool] = True
    name_extractor: NameExtractor
    n_possible_names: float  # that there could have been
    n_possible_values: float  # combinations of values that there could have been, determined ones left out
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
            DataError: A name stands in no text of its person.
        """
        from nosce.models.likelihood import score_spans

        spans_by_entity = self._entity_spans(corpus)
        spans = [
            (document, *span)
            for document, name_nats, values in spans_by_entity.values()
            for span in (name_nats, *values)
        ]
        entity_splits = {q.entity: q.split for q in corpus.questions}
        for step, load in checkpoints.items():
            model = load()
            n_parameters = sum(p.numel() for p in model.parameters())
            span_nats = iter([one.nats for one in score_spans(model, corpus.documents, spans, eos_id=corpus.eos_id)])
            rows = []
            for entity, (_, _, values) in spans_by_entity.items():
                name_nats = next(span_nats)
                value_nats = sum(next(span_nats) for _ in values)
                bits = (
                    math.log2(self.n_possible_names)
                    + math.log2(self.n_possible_values)
                    - (name_nats + value_nats) / math.log(2)
                )
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
        """Each person's first document, with the tokens of the name and of every value that counts."""
        name_by_entity = {q.entity: self.name_extractor.extract_name(q.prompt, q.attribute) for q in corpus.questions}
        spans = {n: entity_values for (n,), entity_values in corpus.spans.group_by("document", maintain_order=True)}
        spans_by_entity: dict[str, tuple[int, tuple[int, int], list[tuple[int, int]]]] = {}
        for document_number, entity in enumerate(corpus.document_index["entity"].to_list()):
            if entity in spans_by_entity or entity not in name_by_entity:
                continue
            entity_values = spans[document_number].filter(~pl.col("attribute").is_in(self.derived_attributes))
            values = [(int(a), int(b)) for a, b in entity_values.select("start", "stop").iter_rows()]
            spans_by_entity[entity] = (
                document_number,
                _find_name(corpus, document_number, name_by_entity[entity]),
                values,
            )
        return spans_by_entity


def _find_name(corpus: Corpus, document_number: int, name: str) -> tuple[int, int]:
    """The tokens of a name's first mention in a document."""
    tokens = corpus.documents.text_tokens(document_number)
    for text in (name, f" {name}"):  # a byte-level tokenizer spells a word otherwise behind a blank
        name_tokens = np.array(corpus.tokenizer.encode(text, add_special_tokens=False).ids)
        windows = np.lib.stride_tricks.sliding_window_view(tokens, len(name_tokens))
        matches = np.flatnonzero((windows == name_tokens).all(1))
        if len(matches):
            return int(matches[0]), int(matches[0]) + len(name_tokens)
    raise DataError(
        f"the name {name!r} stands in no text of its person; KnowledgeCapacity wants texts that tell names whole."
    )
