"""The evaluation `LabelProbe`: can a label of a question be read from the hidden state at the end of a text?

A source says which questions there are, the label of each, and the texts to read. For each layer, a probe learns the
label from questions of seen entities and is tested on those of unseen ones. Controls: the same probe trained on labels
shuffled among entities, and the best constant.

There are two sources:

    EntryCountLabels       the number of entries of a list, before the first of them is written
    AnswerPropertyLabels   a property of the model's own answer, where the question asks for another property

Background: reciting all entries in Prato et al. 2024 (arXiv:2502.19573), self-prediction in Binder et al. 2024
(arXiv:2410.13787); neither paper has probes. Letters: N questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.evals.base import CheckpointCosts, MultiCheckpointEvaluation
from nosce.evals.self_report import ReportMetadata
from nosce.evals.stopping import ListTask
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROBE_SPLIT_OF = {"seen": "train", "validation": "validation", "unseen": "test"}


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Questions with a label each, and the texts from which a probe reads it.

    Attributes:
        task: Name of the probe's task, part of the seed of the shuffled labels.
        questions: One a label; their entities are in one split each.
        labels: Class of each question, from 0. Shape: (N,).
        splits: "train", "validation" or "test", for each question. Shape: (N,).
        texts: Name of a kind of text -> one text a question, read at its last token. A single kind has the name "".
    """

    task: str
    questions: list[Question]
    labels: np.ndarray
    splits: np.ndarray
    texts: Mapping[str, Sequence[str]]


class LabelSource(Protocol):
    """Where a `LabelProbe` gets its questions and labels from."""

    def labelled_texts(self, corpus: Corpus, seed: Seed) -> LabelledTexts | None:
        """The questions of a corpus with their labels. None if they are too few for a probe."""
        ...


@dataclass(frozen=True, kw_only=True)
class EntryCountLabels:
    """The number of entries of a list, read at the end of texts that stand before the first entry.

    Attributes:
        list_task: The world's knowledge of its lists; names the texts.
    """

    list_task: ListTask

    def labelled_texts(self, corpus: Corpus, seed: Seed) -> LabelledTexts | None:
        """All questions for a list. None if a split has no question, or the training lists are equally long."""
        questions = [question for question in corpus.questions if self.list_task.entry_count(question)]
        counts = np.array([self.list_task.entry_count(question) for question in questions])
        splits = np.array([PROBE_SPLIT_OF[question.split] for question in questions])
        if not _has_all_splits(splits) or len(np.unique(counts[splits == "train"])) < 2:
            return None
        texts = [self.list_task.count_probe_texts(question) for question in questions]
        texts_by_kind = {kind: [one[kind] for one in texts] for kind in texts[0]}
        return LabelledTexts("count", questions, counts, splits, texts_by_kind)


@dataclass(frozen=True, kw_only=True)
class AnswerPropertyLabels:
    """A property of the model's own answer, read at the end of questions that ask for another property of it.

    A model that answers a question about its answer by computing that answer first should have it in the hidden state
    at the end of the question, although only another property was ever asked for there.

    Attributes:
        task: The task whose prompts the questions quote.
        asked_property: The property that the questions ask for.
        probed_property: The property that the probe reads, for example the answer's first word.
        validation_fraction: Share of the seen entities that decide when the training of a probe stops.
    """

    task: str
    asked_property: str
    probed_property: str
    validation_fraction: float = 0.15

    def labelled_texts(self, corpus: Corpus, seed: Seed) -> LabelledTexts | None:
        """The questions that the training did not ask. None if a split has no question, or all values are equal."""
        value_of_prompt = {_prompt_id(q): q.target for q in self._questions_about(corpus, self.probed_property)}
        asked = self._questions_about(corpus, self.asked_property)
        questions = [question for question in asked if _prompt_id(question) in value_of_prompt]
        class_of_value = {value: index for index, value in enumerate(sorted(set(value_of_prompt.values())))}
        splits = self._splits(questions, seed)
        if not _has_all_splits(splits) or len(class_of_value) < 2:
            return None
        labels = np.array([class_of_value[value_of_prompt[_prompt_id(question)]] for question in questions])
        return LabelledTexts(self.probed_property, questions, labels, splits, {"": [q.prompt for q in questions]})

    def _questions_about(self, corpus: Corpus, property_name: str) -> list[Question]:
        questions = [q for q in corpus.questions if q.attribute == f"{self.task}/{property_name}"]
        return [question for question in questions if not ReportMetadata.from_question(question).is_training]

    def _splits(self, questions: Sequence[Question], seed: Seed) -> np.ndarray:
        seen_entities = sorted({question.entity for question in questions if question.split == "seen"})
        shuffled = (seed / "validation").numpy().permutation(seen_entities)
        validation_entities = set(shuffled[: round(self.validation_fraction * len(seen_entities))].tolist())

        def split_of(question: Question) -> str:
            if question.split == "unseen":
                return "test"
            return "validation" if question.entity in validation_entities else "train"

        return np.array([split_of(question) for question in questions])


@dataclass(frozen=True, kw_only=True)
class LabelProbe(MultiCheckpointEvaluation):
    """Probes for labels on the last checkpoint, one for every layer and kind of text.

    Metrics, one row a test question: `<kind>/<layer>` (did the probe read the label?), `shuffled/<kind>/<layer>` (the
    same, trained on shuffled labels), `constant/<kind>` (is it the most frequent training label?). A single kind of
    text has no name: `<layer>`, `shuffled/<layer>`, `constant`.

    Attributes:
        source: Where questions, labels and texts come from.
        hidden_layer_sizes: Widths of a probe's hidden layers. Empty: the probe is linear.
        max_epochs: Epochs of a probe's training at most.
        name: Name of the evaluation in the readings.
    """

    source: LabelSource
    hidden_layer_sizes: tuple[int, ...] = ()
    max_epochs: int = 60
    name: str = "label-probe"

    @property
    def checkpoint_costs(self) -> CheckpointCosts:
        """Earlier checkpoints are not read."""
        return "the last alone"

    def evaluate_checkpoints(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint. There are none if the source has too few questions.

        Raises:
            DataError: The training questions of `AnswerPropertyLabels` all have one label.
        """
        step = max(checkpoints)
        labelled = self.source.labelled_texts(corpus, seed)
        if labelled is None:
            return
        model = checkpoints[step]().eval()
        for kind in labelled.texts:
            for metric, questions, correct in self._probe_kind(model, corpus, labelled, kind, seed):
                yield pl.DataFrame(
                    {
                        "item": [question.id for question in questions],
                        "entity": [question.entity for question in questions],
                        "attribute": [question.attribute for question in questions],
                        "value": correct.astype(np.float64),
                    }
                ).with_columns(
                    evaluation=pl.lit(self.name),
                    split=pl.lit("unseen"),
                    metric=pl.lit(metric),
                    step=pl.lit(step, pl.Int64),
                )

    def _probe_kind(
        self, model: PreTrainedModel, corpus: Corpus, labelled: LabelledTexts, kind: str, seed: Seed
    ) -> Iterator[tuple[str, list[Question], np.ndarray]]:
        """Metric, test questions, and at which of them it is so, for one kind of text."""
        from nosce.evals.probing.hidden_states import temporary_activations
        from nosce.evals.probing.probe import ProbeConfig, train_probes
        from nosce.models.hooks import layer_sites

        config = ProbeConfig(hidden_layer_sizes=self.hidden_layer_sizes, max_epochs=self.max_epochs)
        entities = np.array([question.entity for question in labelled.questions])
        tasks, splits = {labelled.task: labelled.labels}, labelled.splits
        sites, prefix, kind_seed = layer_sites(model), f"{kind}/" if kind else "", seed / kind if kind else seed
        encodings = corpus.tokenizer.encode_batch(list(labelled.texts[kind]), add_special_tokens=False)
        tokens = [np.array(encoding.ids) for encoding in encodings]
        last = pl.DataFrame({"text": range(len(tokens)), "token": [len(ids) - 1 for ids in tokens]})
        with temporary_activations(model, tokens, last, sites, eos_id=corpus.eos_id) as activations:
            for site in sites:
                states = activations.load_site(site)
                (result,) = train_probes(states, tasks, entities, splits, config, kind_seed / site)
                assert result.shuffled_correct is not None
                tested = [labelled.questions[index] for index in result.test_indices]
                yield f"{prefix}{site}", tested, result.correct
                yield f"shuffled/{prefix}{site}", tested, result.shuffled_correct
        yield f"constant/{kind}" if kind else "constant", tested, result.majority_correct


def _has_all_splits(splits: np.ndarray) -> bool:
    return set(PROBE_SPLIT_OF.values()) <= set(splits.tolist())


def _prompt_id(question: Question) -> str:
    """The part of a question's id that all questions about one prompt share."""
    return question.id.rpartition("/")[0]
