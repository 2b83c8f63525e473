"""The read-out `CountProbe`: can the number of entries be read from a hidden state before the first of them is told?

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
from nosce.evals.stopping import ListTask
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROBE_SPLIT_OF = {"seen": "train", "validation": "validation", "unseen": "test"}


@dataclass(frozen=True, kw_only=True)
class CountProbe:
    """Probes for the number of entries on the last checkpoint, every layer and opening.

    Readings have the metric `<opening>/<layer>`, or `shuffled/` or `constant/` before it, and one row a list: was the
    number read right?
    """

    needs_model: ClassVar[bool] = True
    list_task: ListTask
    hidden_layer_sizes: tuple[int, ...] = ()  # layers of the probe
    max_epochs: int = 60
    name: str = "counted"

    def read_all(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint; none where a split has nobody."""
        from nosce.evals.probing.probe import ProbeConfig, train_probes
        from nosce.models.hooks import layer_sites

        step = max(checkpoints)
        model = checkpoints[step]().eval()
        asked = [q for q in corpus.questions if self.list_task.entry_count(q)]
        counts = np.array([self.list_task.entry_count(q) for q in asked])
        parts = np.array([PROBE_SPLIT_OF[q.split] for q in asked])
        if set(PROBE_SPLIT_OF.values()) - set(parts.tolist()) or len(set(counts[parts == "train"].tolist())) < 2:
            return
        entity = np.array([q.entity for q in asked])
        spec = ProbeConfig(hidden_layer_sizes=self.hidden_layer_sizes, max_epochs=self.max_epochs)
        openings = [self.list_task.count_probe_texts(q) for q in asked]
        for kind in openings[0]:
            named = layer_sites(model)
            found = self._states(model, [o[kind] for o in openings], corpus, named)
            for site, states in found.items():
                (one,) = train_probes(states, {"count": counts}, entity, parts, spec, seed / kind / site)
                assert one.shuffled_correct is not None
                tested = [asked[place] for place in one.test_indices]
                yield self._table(tested, one.correct, f"{kind}/{site}", step)
                yield self._table(tested, one.shuffled_correct, f"shuffled/{kind}/{site}", step)
            yield self._table(tested, one.majority_correct, f"constant/{kind}", step)

    def _states(
        self, model: PreTrainedModel, texts: list[str], corpus: Corpus, sites: list[str]
    ) -> dict[str, np.ndarray]:
        """Hidden states of the texts' last tokens, each (N, W)."""
        from nosce.data.packing import dataset_from_arrays as sequences
        from nosce.models.activations import collect_activations

        ids = [np.array(e.ids) for e in corpus.tokenizer.encode_batch(texts, add_special_tokens=False)]
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
