"""The read-out `AnswerWordProbe`: is the answer itself to be read where a property of it is about to be reported?

Where a report is made by answering inwardly first, the answer's word should stand in the hidden state at the report's
place, though only a property of it was ever asked for there. A linear probe for each layer learns the word from seen
strings and is tested on others; beside it stand the same probe, taught with words dealt out anew, and the best
constant.

Source: the layer-wise probe proposed in the sheet for arXiv:2410.13787, section 7.4.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.evals.self_report import ReportMetadata
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VALIDATION_FRACTION = 0.15  # share of seen strings that stop a probe's training


@dataclass(frozen=True, kw_only=True)
class AnswerWordProbe:
    """Probes of the last checkpoint for what is so of an answer (`probed_property`), at questions about another.

    Readings have the metric `<site>`, `shuffled/<site>` or `constant`, one row a question of the unseen split.
    """

    needs_model: ClassVar[bool] = True
    task: str
    asked_property: str  # the property that is asked for
    probed_property: str  # the property that is probed for, e.g. the answer's first word
    max_epochs: int = 60
    name: str = "echoes"

    def read_all(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint; none where a split has no question."""
        from nosce.evals.probing.probe import ProbeConfig, train_probes
        from nosce.models.hooks import layer_sites

        step = max(checkpoints)
        model = checkpoints[step]().eval()
        words = {_prompt_id(q): q.target for q in self._questions_about(corpus, self.probed_property)}
        asked = [q for q in self._questions_about(corpus, self.asked_property) if _prompt_id(q) in words]
        known = {word: number for number, word in enumerate(sorted(set(words.values())))}
        parts = self._splits(asked, seed)
        if set(parts.tolist()) < {"train", "validation", "test"} or len(known) < 2:
            return
        task = {self.probed_property: np.array([known[words[_prompt_id(q)]] for q in asked])}
        entity = np.array([q.entity for q in asked])
        for site, states in self._states(model, asked, corpus, layer_sites(model)).items():
            (one,) = train_probes(states, task, entity, parts, ProbeConfig(max_epochs=self.max_epochs), seed / site)
            tested = [asked[place] for place in one.test_indices]
            assert one.shuffled_correct is not None
            yield self._table(tested, one.correct, site, step)
            yield self._table(tested, one.shuffled_correct, f"shuffled/{site}", step)
        yield self._table(tested, one.majority_correct, "constant", step)

    def _questions_about(self, corpus: Corpus, property_name: str) -> list[Question]:
        attribute = f"{self.task}/{property_name}"
        return [
            q for q in corpus.questions if q.attribute == attribute and not ReportMetadata.from_question(q).is_training
        ]

    def _splits(self, questions: list[Question], seed: Seed) -> np.ndarray:
        seen_entities = sorted({q.entity for q in questions if q.split == "seen"})
        validation_entities = set(
            (seed / "validation")
            .numpy()
            .permutation(seen_entities)[: round(VALIDATION_FRACTION * len(seen_entities))]
            .tolist()
        )
        return np.array(
            [
                "test" if q.split == "unseen" else "validation" if q.entity in validation_entities else "train"
                for q in questions
            ]
        )

    def _states(
        self, model: PreTrainedModel, asked: list[Question], corpus: Corpus, sites: list[str]
    ) -> dict[str, np.ndarray]:
        """Hidden states of the questions' last tokens, each (N, W)."""
        from nosce.data.packing import dataset_from_arrays as sequences
        from nosce.models.activations import collect_activations

        ids = [
            np.array(e.ids) for e in corpus.tokenizer.encode_batch([q.prompt for q in asked], add_special_tokens=False)
        ]
        told = sequences((i, np.ones(len(i), dtype=bool)) for i in ids)
        places = pl.DataFrame({"text": range(len(ids)), "token": [len(i) - 1 for i in ids]})
        with tempfile.TemporaryDirectory() as folder:
            found = collect_activations(model, told, places, sites, Path(folder), eos_id=corpus.eos_id)
            return {site: np.array(found.load_site(site)) for site in sites}

    def _table(self, questions: list[Question], right: np.ndarray, metric: str, step: int) -> pl.DataFrame:
        columns = {
            "item": [q.id for q in questions],
            "entity": [q.entity for q in questions],
            "attribute": [q.attribute for q in questions],
            "value": right.astype(np.float64),
        }
        return pl.DataFrame(columns).with_columns(
            evaluation=pl.lit(self.name), split=pl.lit("unseen"), metric=pl.lit(metric), step=pl.lit(step, pl.Int64)
        )


def _prompt_id(question: Question) -> str:
    return question.id.rpartition("/")[0]
