"""The read-out `Echoes`: is the answer itself to be read where a report of a property of it is about to be given?

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
from nosce.evals.self_report import Told
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VALIDATION = 0.15  # share of seen strings that stop a probe's training


@dataclass(frozen=True, kw_only=True)
class Echoes:
    """Probes of the last checkpoint for what is so of an answer (`word`), at questions about something else (`asked`).

    Readings have the metric `<site>`, `shuffled/<site>` or `constant`, one row a question of the unseen split.
    """

    needs_model: ClassVar[bool] = True
    task: str
    asked: str  # the property that is asked for
    word: str  # the property that is probed for, e.g. the answer's first word
    epochs: int = 60
    name: str = "echoes"

    def read_all(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint; none where a split has no question."""
        from nosce.evals.probing.probe import ProbeSpec, probe
        from nosce.models.hooks import layers

        step = max(checkpoints)
        model = checkpoints[step]().eval()
        words = {_prompt(q): q.target for q in self._of(corpus, self.word)}
        asked = [q for q in self._of(corpus, self.asked) if _prompt(q) in words]
        known = {word: number for number, word in enumerate(sorted(set(words.values())))}
        parts = self._parts(asked, seed)
        if set(parts.tolist()) < {"train", "validation", "test"} or len(known) < 2:
            return
        task = {self.word: np.array([known[words[_prompt(q)]] for q in asked])}
        about = np.array([q.about for q in asked])
        for site, states in self._states(model, asked, corpus, layers(model)).items():
            (one,) = probe(states, task, about, parts, ProbeSpec(epochs=self.epochs), seed / site)
            tested = [asked[place] for place in one.places]
            assert one.shuffled is not None
            yield self._table(tested, one.right, site, step)
            yield self._table(tested, one.shuffled, f"shuffled/{site}", step)
        yield self._table(tested, one.constant, "constant", step)

    def _of(self, corpus: Corpus, asked: str) -> list[Question]:
        facet = f"{self.task}/{asked}"
        return [q for q in corpus.questions if q.facet == facet and not Told.of(q).taught]

    def _parts(self, asked: list[Question], seed: Seed) -> np.ndarray:
        seen = sorted({q.about for q in asked if q.split == "seen"})
        held = set((seed / "validation").numpy().permutation(seen)[: round(VALIDATION * len(seen))].tolist())
        return np.array(["test" if q.split == "unseen" else "validation" if q.about in held else "train"
                         for q in asked])  # fmt: skip

    def _states(
        self, model: PreTrainedModel, asked: list[Question], corpus: Corpus, sites: list[str]
    ) -> dict[str, np.ndarray]:
        """Hidden states of the questions' last tokens, each (N, W)."""
        from nosce.data.packing import collect as sequences
        from nosce.models.activations import collect

        ids = [np.array(e.ids) for e in corpus.tokenizer.encode_batch([q.prompt for q in asked],
                                                                      add_special_tokens=False)]  # fmt: skip
        told = sequences((i, np.ones(len(i), dtype=bool)) for i in ids)
        places = pl.DataFrame({"text": range(len(ids)), "token": [len(i) - 1 for i in ids]})
        with tempfile.TemporaryDirectory() as folder:
            found = collect(model, told, places, sites, Path(folder), end=corpus.end)
            return {site: np.array(found.at(site)) for site in sites}

    def _table(self, questions: list[Question], right: np.ndarray, metric: str, step: int) -> pl.DataFrame:
        columns = {"item": [q.id for q in questions], "about": [q.about for q in questions],
                   "facet": [q.facet for q in questions], "value": right.astype(np.float64)}  # fmt: skip
        return pl.DataFrame(columns).with_columns(
            readout=pl.lit(self.name), split=pl.lit("unseen"), metric=pl.lit(metric), step=pl.lit(step, pl.Int64)
        )


def _prompt(question: Question) -> str:
    return question.id.rpartition("/")[0]
