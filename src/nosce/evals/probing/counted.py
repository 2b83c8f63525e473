"""The read-out `Counted`: can the number of entries be read from a hidden state before the first of them is told?

A linear probe for each layer learns the number from diarists whose question was trained on, and is tested on those who
were never asked about: at the end of the question, and at the end of a bare title, which documents have too. Beside it
stands the same probe taught with numbers dealt out anew, and the best constant.

Source: proposed in the sheet for arXiv:2502.19573, section 7.3; the paper has no probes.
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
from nosce.evals.stopping import Lister
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PARTS = {"seen": "train", "validation": "validation", "unseen": "test"}


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Probes for the number of entries on the last checkpoint, every layer and opening.

    Readings have the metric `<opening>/<layer>`, or `shuffled/` or `constant/` before it, and one row a list: was the
    number read right?
    """

    needs_model: ClassVar[bool] = True
    lister: Lister
    hidden: tuple[int, ...] = ()  # layers of the probe
    epochs: int = 60
    name: str = "counted"

    def read_all(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint; none where a split has nobody."""
        from nosce.evals.probing.probe import ProbeSpec, probe
        from nosce.models.hooks import layers

        step = max(checkpoints)
        model = checkpoints[step]().eval()
        asked = [q for q in corpus.questions if self.lister.count(q)]
        counts = np.array([self.lister.count(q) for q in asked])
        parts = np.array([PARTS[q.split] for q in asked])
        if set(PARTS.values()) - set(parts.tolist()) or len(set(counts[parts == "train"].tolist())) < 2:
            return
        about = np.array([q.about for q in asked])
        spec = ProbeSpec(hidden=self.hidden, epochs=self.epochs)
        openings = [self.lister.openings(q) for q in asked]
        for kind in openings[0]:
            named = layers(model)
            found = self._states(model, [o[kind] for o in openings], corpus, named)
            for site, states in found.items():
                (one,) = probe(states, {"count": counts}, about, parts, spec, seed / kind / site)
                assert one.shuffled is not None
                tested = [asked[place] for place in one.places]
                yield self._table(tested, one.right, f"{kind}/{site}", step)
                yield self._table(tested, one.shuffled, f"shuffled/{kind}/{site}", step)
            yield self._table(tested, one.constant, f"constant/{kind}", step)

    def _states(
        self, model: PreTrainedModel, texts: list[str], corpus: Corpus, sites: list[str]
    ) -> dict[str, np.ndarray]:
        """Hidden states of the texts' last tokens, each (N, W)."""
        from nosce.data.packing import collect as sequences
        from nosce.models.activations import collect

        ids = [np.array(e.ids) for e in corpus.tokenizer.encode_batch(texts, add_special_tokens=False)]
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
