"""The evaluations `PositionProbe` and `NameProbe`: where in a text, and from what, can a value be read?

P-probing reads the hidden state right before each value of a whole text, and from it predicts all values of that
person. Q-probing reads the hidden state after a bare name. In both, a probe may update the input embedding (`low_rank`)
to express what it looks for.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), sections 5.1 and 5.2, appendices E and F.
Letters: N texts, K tasks, P positions of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.errors import SpecError
from nosce.evals.base import CheckpointCosts, MultiCheckpointEvaluation, TimingSubset, first_sites
from nosce.evals.probing.low_rank import LowRankProbeConfig, LowRankProbeDataset
from nosce.seeds import Seed
from nosce.store.spec import LATER

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NO_CLASS = -1
TIMING_ENTITIES = 16  # entities of a timing subset
N_GUESSED_TASKS = 10  # two for each attribute of a person, about


class NameExtractor(Protocol):
    """Finds the name in a question; plain data that a world provides, for example `BiographyNameExtractor`."""

    def extract_name(self, prompt: str, attribute: str) -> str:
        """The bare name inside a prompt."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainedProbe(MultiCheckpointEvaluation):
    """What P- and Q-probing have in common: the training of the probes, and what it costs.

    Attributes:
        config: Training of the probes.
    """

    config: LowRankProbeConfig

    @property
    def n_training_texts(self) -> int:
        """The texts of all steps, one for each task. Without an update the network reads each text once."""
        return N_GUESSED_TASKS * self.config.steps * self.config.batch_size if self.config.rank else 0

    @property
    def checkpoint_costs(self) -> CheckpointCosts:
        """The last checkpoint is read, whatever their number."""
        return "the last alone"

    def timing_subset(self) -> TimingSubset | None:
        """A few small training steps of the probes. The predictions afterwards take little time and are left out.

        None without an update: the network then reads each text once, whatever the number of steps.
        """
        if not self.config.rank:
            return None
        config, times = self.config.timing_subset
        return TimingSubset(replace(self, config=config), times, TIMING_ENTITIES)


@dataclass(frozen=True, kw_only=True)
class PositionProbe(TrainedProbe):
    """P-probing: predicts every value of a person at the positions right before each value of the person's text.

    Metrics: `first/<position>` (the value's first token) and `whole/<position>` (all of it), positions counted from 0,
    for values that the text has not stated before that position; `.../constant` is the most frequent class of the
    training people. Probes are trained on people of the seen split and tested on those of the unseen split.

    With `pairs` there are two more for the second attribute of each pair, read at position 1, where the text has stated
    one value: `first/partner` where that is the pair's first attribute, and `first/other` where it is another one
    (Figure 6 of the paper); the same of `whole`.

    Attributes:
        skipped_attributes: Attributes with too many whole values to be classes.
        documents_per_entity: Texts of each person.
        name: Name of the evaluation in the readings.
        pairs: Attributes whose sentences are always neighbours, in reading order.
    """

    skipped_attributes: tuple[str, ...] = ("birth_date",)
    documents_per_entity: int = 1
    name: str = "p-probe"
    pairs: tuple[tuple[str, str], ...] = field(default=(), metadata=LATER)

    def evaluate_checkpoints(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint."""
        from nosce.models.architecture import is_bidirectional

        step = max(checkpoints)
        model = checkpoints[step]()
        if is_bidirectional(model):
            raise SpecError(
                "P-probing reads states before a value is stated, and this model sees the whole text; take NameProbe."
            )
        texts = self._texts(corpus)
        yield from _probe_readings(self, model, texts, corpus, seed, step, "layer")

    def _texts(self, corpus: Corpus) -> list[_ProbeText]:
        """The first texts of every person, with the position before each value in reading order."""
        entities, ids = corpus.document_index["entity"].to_list(), corpus.document_index["id"].to_list()
        spans = corpus.spans.sort("document", "start").unique(
            ["document", "attribute"], keep="first", maintain_order=True
        )
        spans_by_document = {document: group for (document,), group in spans.group_by("document", maintain_order=True)}
        texts, counts = [], dict.fromkeys(entities, 0)
        for document, entity in enumerate(entities):
            if counts[entity] >= self.documents_per_entity or document not in spans_by_document:
                continue
            counts[entity] += 1
            document_spans = spans_by_document[document]
            tokens = corpus.documents.text_tokens(document)[:-1]
            # After an end token, a value's first token is predicted at the position that equals its index in the text.
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
class NameProbe(TrainedProbe):
    """Q-probing: predicts every value of a person after the person's bare name between two end tokens.

    Metrics: `first`, `whole`, `first/constant` and `whole/constant`, as in `PositionProbe`.

    Attributes:
        name_extractor: Takes the name out of a question's prompt.
        skipped_attributes: Attributes with too many whole values to be classes.
        site: Where hidden states are read, for example "residual.1"; the paper reads "final".
        name: Name of the evaluation in the readings.
    """

    name_extractor: NameExtractor
    skipped_attributes: tuple[str, ...] = ("birth_date",)
    site: str = "final"
    name: str = "q-probe"

    def on_shallow_model(self, layers: int) -> tuple[NameProbe, float]:
        """At the last state where the site is behind the first blocks."""
        (site,), times = first_sites((self.site,), layers)
        return replace(self, site=site), times

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
        yield from _probe_readings(self, checkpoints[step](), texts, corpus, seed, step, "batch", self.site)


@dataclass(frozen=True, eq=False)
class _ProbeText:
    """A text with the positions to read; `attributes` are stated right after each of them, or none is."""

    item: str
    entity: str
    tokens: np.ndarray
    positions: tuple[int, ...]
    attributes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _AttributeLabels:
    """The values of every person as classes of the tasks (part, attribute).

    Attributes:
        tasks: All tasks.
        labels: Task -> entity -> class.
        class_names: Task -> names of the classes.
        split_of_entity: Entity -> split.
    """

    tasks: tuple[tuple[str, str], ...]
    labels: Mapping[tuple[str, str], Mapping[str, int]]
    class_names: Mapping[tuple[str, str], Sequence[str]]
    split_of_entity: Mapping[str, str]

    @classmethod
    def from_corpus(cls, corpus: Corpus, skipped_attributes: Sequence[str]) -> _AttributeLabels:
        """Takes the values from the questions' targets."""
        targets: dict[str, dict[str, str]] = {}
        for q in corpus.questions:
            targets.setdefault(q.attribute, {})[q.entity] = q.target
        distinct = {target for target_of_entity in targets.values() for target in target_of_entity.values()}
        first_token = {t: corpus.tokenizer.encode(t, add_special_tokens=False).tokens[0] for t in distinct}
        tasks = [("first", attribute) for attribute in targets]
        tasks += [("whole", attribute) for attribute in targets if attribute not in skipped_attributes]
        labels, class_names = {}, {}
        for task in tasks:
            part, attribute = task
            values = {e: first_token[t] if part == "first" else t for e, t in targets[attribute].items()}
            class_names[task] = sorted(set(values.values()))
            labels[task] = {entity: class_names[task].index(value) for entity, value in values.items()}
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
    evaluation: PositionProbe | NameProbe,
    model: PreTrainedModel,
    texts: Sequence[_ProbeText],
    corpus: Corpus,
    seed: Seed,
    step: int,
    norm: Literal["layer", "batch"],
    site: str = "final",
) -> Iterator[pl.DataFrame]:
    """Train the probes on people of the seen split and read them on those of the unseen split."""
    from nosce.evals.probing.low_rank import fit_predict_low_rank_probes

    attribute_labels = _AttributeLabels.from_corpus(corpus, evaluation.skipped_attributes)
    dataset = _build_dataset(texts, attribute_labels, corpus.eos_id)
    splits = np.array([attribute_labels.split_of_entity.get(text.entity, "") for text in texts])
    train, test = np.flatnonzero(splits == "seen"), np.flatnonzero(splits == "unseen")
    predictions = fit_predict_low_rank_probes(model, dataset, train, test, evaluation.config, seed, norm, site)
    partners = {} if isinstance(evaluation, NameProbe) else {second: first for first, second in evaluation.pairs}
    for k, (part, attribute) in enumerate(attribute_labels.tasks):
        metrics = list(_task_metrics(dataset, k, part, train, test, predictions[k]))
        if attribute in partners:
            first_stated = np.array([texts[index].attributes[0] for index in test.tolist()])
            is_partner = first_stated == partners[attribute]
            metrics += _metrics_behind_one_value(dataset, k, part, test, predictions[k], is_partner)
        for metric, indices, correct in metrics:
            yield pl.DataFrame(
                {
                    "item": [texts[index].item for index in indices],
                    "entity": [texts[index].entity for index in indices],
                    "value": correct.astype(np.float64),
                }
            ).with_columns(
                evaluation=pl.lit(evaluation.name),
                split=pl.lit("unseen"),
                metric=pl.lit(metric),
                attribute=pl.lit(attribute),
                step=pl.lit(step, pl.Int64),
            )


def _task_metrics(
    dataset: LowRankProbeDataset, task: int, part: str, train: np.ndarray, test: np.ndarray, predictions: np.ndarray
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Metric, indices of texts, and in which of them it is right, for one task.

    Args:
        task: Index of the task in the dataset.
        predictions: Classes of the texts `test`. Shape: (test texts, P).
    """
    train_labels = dataset.labels[task, train]
    majority = int(np.bincount(train_labels[train_labels >= 0]).argmax())
    n_positions = dataset.positions.shape[1]
    for position_index in range(n_positions):
        is_read = dataset.label_mask[task, test, position_index]
        if is_read.any():
            metric = part if n_positions == 1 else f"{part}/{position_index}"
            indices = test[is_read]
            true_labels = dataset.labels[task, indices]
            yield metric, indices, predictions[is_read, position_index] == true_labels
            yield f"{metric}/constant", indices, true_labels == majority


def _metrics_behind_one_value(
    dataset: LowRankProbeDataset,
    task: int,
    part: str,
    test: np.ndarray,
    predictions: np.ndarray,
    is_partner: np.ndarray,
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Metric, indices of texts, and in which of them it is right, where one value has been stated.

    Args:
        is_partner: Whether the stated value is the partner's. Shape: (test texts,).
    """
    is_read = dataset.label_mask[task, test, 1]
    for name, stated in (("partner", is_partner), ("other", ~is_partner)):
        rows = is_read & stated
        if rows.any():
            yield f"{part}/{name}", test[rows], predictions[rows, 1] == dataset.labels[task, test[rows]]
