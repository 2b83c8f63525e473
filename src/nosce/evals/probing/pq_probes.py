"""The read-outs `PositionProbe` and `NameProbe`: where in a text, and from what, can a value be read?

P-probing reads the hidden state right before each value of a whole text and asks for all values of that person;
Q-probing reads the state behind a bare name. Both let a probe update the input embedding (`low_rank`), so
that it can say what it looks for.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), sections 5.1 and 5.2, appendices E and F.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.errors import SpecError
from nosce.evals.base import MultiCheckpointEvaluation, TimingSubset
from nosce.evals.probing.low_rank import LowRankProbeConfig, LowRankProbeDataset
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VALUE_PARTS = ("first", "whole")  # a value's first token, or all of it
NO_CLASS = -1
TIMING_ENTITIES = 16  # things whom a part of a probe is timed on


class NameExtractor(Protocol):
    """Knows whom a question is about; plain data that a world gives, e.g. `BiographyNameExtractor`."""

    def extract_name(self, prompt: str, attribute: str) -> str:
        """The bare name inside a prompt."""
        ...


@dataclass(frozen=True, kw_only=True)
class PositionProbe(MultiCheckpointEvaluation):
    """P-probing: every value of a person, at the places right before each value of a text of theirs.

    Readings have the metrics `first/<place>` and `whole/<place>`, places counted from 0, of values that have not been
    told at that place; `first/<place>/constant` is the most frequent class of the people it was trained on. People of
    the seen split are trained on, those of the unseen split are read.
    """

    needs_model: ClassVar[bool] = True
    config: LowRankProbeConfig
    skipped_attributes: tuple[str, ...] = ("birth_date",)  # facets whose whole values are too many to be classes
    documents_per_entity: int = 1  # of a person
    name: str = "p-probe"

    def timing_subset(self) -> TimingSubset:
        """A few small steps of its probes; what is read of everybody afterwards is left out, which is little."""
        config, times = self.config.timing_subset
        return TimingSubset(replace(self, config=config), times, TIMING_ENTITIES)

    def evaluate_checkpoints(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint."""
        from nosce.models.architecture import is_bidirectional

        step = max(checkpoints)
        model = checkpoints[step]()
        if is_bidirectional(model):
            raise SpecError(
                "P-probing asks what is known before a value is told, and this model sees all of it; take NameProbe."
            )
        texts = self._texts(corpus)
        values = _AttributeLabels.from_corpus(corpus, self.skipped_attributes)
        yield from _probe_readings(model, texts, values, self.config, corpus, seed, self.name, step, "layer")

    def _texts(self, corpus: Corpus) -> list[_ProbeText]:
        """The first texts of every person, with the place before each value in reading order."""
        entities, ids = corpus.document_index["entity"].to_list(), corpus.document_index["id"].to_list()
        spans = corpus.spans.sort("document", "start").unique(
            ["document", "attribute"], keep="first", maintain_order=True
        )
        spans_by_document = {
            n: document_spans
            for (n,), document_spans in spans.sort("document", "start").group_by("document", maintain_order=True)
        }
        texts, counts = [], dict.fromkeys(entities, 0)
        for document, entity in enumerate(entities):
            if counts[entity] >= self.documents_per_entity or document not in spans_by_document:
                continue
            counts[entity] += 1
            document_spans = spans_by_document[document]
            tokens = corpus.documents.text_tokens(document)[:-1]
            # Behind an end token a value's first token is predicted at the position of its own number.
            texts.append(
                _ProbeText(
                    ids[document],
                    entity,
                    np.array([corpus.eos_id, *tokens]),
                    tuple(document_spans["start"].to_list()),
                    tuple(document_spans["attribute"].to_list()),
                )
            )
        return texts


@dataclass(frozen=True, kw_only=True)
class NameProbe(MultiCheckpointEvaluation):
    """Q-probing: every value of a person, behind their name alone between two end tokens.

    Readings have the metrics `first` and `whole`; `first/constant` and `whole/constant` as in `PositionProbe`.
    `name_extractor` takes the name out of a question's prompt, whose facet it is. States are those of `site`, e.g.
    "residual.1"; the paper's are the last.
    """

    needs_model: ClassVar[bool] = True
    config: LowRankProbeConfig
    name_extractor: NameExtractor
    skipped_attributes: tuple[str, ...] = ("birth_date",)
    site: str = "final"
    name: str = "q-probe"

    def timing_subset(self) -> TimingSubset:
        """A few small steps of its probes; what is read of everybody afterwards is left out, which is little."""
        config, times = self.config.timing_subset
        return TimingSubset(
            replace(self, config=config, site="final"),
            times,
            TIMING_ENTITIES,
        )  # a large model is timed by a few of its layers

    def evaluate_checkpoints(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint."""
        step = max(checkpoints)
        names: dict[str, str] = {}
        for question in corpus.questions:
            names.setdefault(question.entity, self.name_extractor.extract_name(question.prompt, question.attribute))
        texts = []
        for entity, name in names.items():
            ids = corpus.tokenizer.encode(name, add_special_tokens=False).ids
            tokens = np.array([corpus.eos_id, *ids, corpus.eos_id])
            texts.append(_ProbeText(entity, entity, tokens, (len(tokens) - 1,), ()))
        values = _AttributeLabels.from_corpus(corpus, self.skipped_attributes)
        yield from _probe_readings(
            checkpoints[step](), texts, values, self.config, corpus, seed, self.name, step, "batch", self.site
        )


@dataclass(frozen=True, eq=False)
class _ProbeText:
    item: str
    entity: str
    tokens: np.ndarray
    positions: tuple[int, ...]
    attributes: tuple[str, ...]  # what is told behind each place; none: nothing is


@dataclass(frozen=True, eq=False)
class _AttributeLabels:
    """What is so of every person, as classes of the tasks (part, facet)."""

    tasks: tuple[tuple[str, str], ...]
    labels: Mapping[tuple[str, str], Mapping[str, int]]  # task -> about -> class
    class_names: Mapping[tuple[str, str], Sequence[str]]  # task -> the classes' names
    split_of_entity: Mapping[str, str]

    @classmethod
    def from_corpus(cls, corpus: Corpus, skipped_attributes: Sequence[str]) -> _AttributeLabels:
        """From the questions' targets."""
        targets: dict[str, dict[str, str]] = {}
        for q in corpus.questions:
            targets.setdefault(q.attribute, {})[q.entity] = q.target
        first_token = {
            t: corpus.tokenizer.encode(t, add_special_tokens=False).tokens[0]
            for value_of_entity in targets.values()
            for t in value_of_entity.values()
        }
        tasks = [
            (part, attribute)
            for part in VALUE_PARTS
            for attribute in targets
            if part == "first" or attribute not in skipped_attributes
        ]
        labels, class_names = {}, {}
        for part, attribute in tasks:
            value_of_entity = {
                entity: first_token[t] if part == "first" else t for entity, t in targets[attribute].items()
            }
            classes = sorted(set(value_of_entity.values()))
            class_names[part, attribute] = classes
            labels[part, attribute] = {entity: classes.index(one) for entity, one in value_of_entity.items()}
        return cls(tuple(tasks), labels, class_names, {q.entity: q.split for q in corpus.questions})


def _build_dataset(texts: Sequence[_ProbeText], attribute_labels: _AttributeLabels, end: int) -> LowRankProbeDataset:
    length, max_positions = max(len(t.tokens) for t in texts), max(len(t.positions) for t in texts)
    tokens = np.full((len(texts), length), end, dtype=np.int64)
    positions = np.zeros((len(texts), max_positions), dtype=np.int64)
    label_mask = np.zeros((len(attribute_labels.tasks), len(texts), max_positions), dtype=bool)
    for n, text in enumerate(texts):
        tokens[n, : len(text.tokens)] = text.tokens
        positions[n, : len(text.positions)] = text.positions
        for k, (_, attribute) in enumerate(attribute_labels.tasks):
            last_index = text.attributes.index(attribute) if attribute in text.attributes else len(text.positions) - 1
            label_mask[k, n, : last_index + 1] = True
    labels = np.array(
        [[attribute_labels.labels[task].get(t.entity, NO_CLASS) for t in texts] for task in attribute_labels.tasks]
    )
    class_counts = tuple(len(attribute_labels.class_names[task]) for task in attribute_labels.tasks)
    return LowRankProbeDataset(tokens, positions, labels, label_mask & (labels >= 0)[:, :, None], class_counts)


def _probe_readings(
    model: PreTrainedModel,
    texts: Sequence[_ProbeText],
    attribute_labels: _AttributeLabels,
    config: LowRankProbeConfig,
    corpus: Corpus,
    seed: Seed,
    name: str,
    step: int,
    norm: Literal["layer", "batch"],
    site: str = "final",
) -> Iterator[pl.DataFrame]:
    dataset = _build_dataset(texts, attribute_labels, corpus.eos_id)
    split = np.array([attribute_labels.split_of_entity.get(text.entity, "") for text in texts])
    from nosce.evals.probing.low_rank import fit_predict_low_rank_probes

    predictions = fit_predict_low_rank_probes(
        model, dataset, np.flatnonzero(split == "seen"), np.flatnonzero(split == "unseen"), config, seed, norm, site
    )
    rows = np.flatnonzero(split == "unseen")
    for k, (part, attribute) in enumerate(attribute_labels.tasks):
        train_labels = dataset.labels[k, split == "seen"]
        majority = int(np.bincount(train_labels[train_labels >= 0]).argmax())
        for position_index in range(dataset.positions.shape[1]):
            is_read = dataset.label_mask[k, rows, position_index]
            if not is_read.any():
                continue
            metric = part if dataset.positions.shape[1] == 1 else f"{part}/{position_index}"
            columns = {
                "item": [texts[n].item for n in rows[is_read]],
                "entity": [texts[n].entity for n in rows[is_read]],
            }
            true_labels = dataset.labels[k, rows[is_read]]
            for suffix, predicted in (
                ("", predictions[k, is_read, position_index]),
                ("/constant", np.full(is_read.sum(), majority)),
            ):
                yield pl.DataFrame({**columns, "value": (predicted == true_labels).astype(np.float64)}).with_columns(
                    evaluation=pl.lit(name),
                    split=pl.lit("unseen"),
                    metric=pl.lit(metric + suffix),
                    attribute=pl.lit(attribute),
                    step=pl.lit(step, pl.Int64),
                )
