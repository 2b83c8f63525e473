"""The read-out `CountPatching`: does the number of entries that a model tells move with a hidden state?

A host has more entries than a donor. The host's true list is given, and read is behind which entry the model would
first stop; with the donor's hidden states in the question's place, at one layer, does it stop where the donor's list
ends? Held against: the host as it is, and a donor who has as many entries as the host, whose state comes from a
stranger as well and should change nothing.

Source: proposed in the sheet for arXiv:2502.19573, section 7.3 (patching a k = 2 diarist's state into a k = 6 one).
Letters: N pairs of host and donor, Q tokens of the question, T tokens, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.evals.stopping import EntryBoundaries, ListTask
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

COUNT_PATCHING_BATCH_SIZE = 500  # texts side by side


@dataclass(frozen=True, eq=False)
class _ListQuestion:
    """A question with its list as tokens behind an end token."""

    question: Question
    tokens: np.ndarray
    question_length: int  # tokens of the question, the end token not among them
    boundaries: EntryBoundaries


@dataclass(frozen=True, kw_only=True)
class CountPatching:
    """Patches of the last checkpoint's hidden states at the question: its last token alone, or all of it.

    Readings have the metric `<last or whole>/<donor or same>/<layer>`, or `unpatched`, and one row a pair: is the entry
    behind which stopping first is likelier than going on the donor's last? The facet is `<host's> to <donor's>`.
    """

    needs_model: ClassVar[bool] = True
    at_layers: ClassVar[bool] = True
    list_task: ListTask
    max_pairs: int = 200  # at most
    name: str = "patched"

    def read_all(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint; none where there are no two lists to pair."""
        from nosce.models.hooks import layer_sites

        step = max(checkpoints)
        model = checkpoints[step]().eval()
        hosts, donors, same_count_donors = self._pair_lists(corpus, seed)
        if not hosts:
            return
        donor_counts = np.array([len(d.boundaries.decision_positions) for d in donors])
        values_by_metric = {"unpatched": _first_stops(model, hosts, corpus, None, {}) == donor_counts}
        for extent in ("last", "whole"):
            for site in layer_sites(model):
                for donor_kind, sources in (("donor", donors), ("same", same_count_donors)):
                    states = _states(model, sources, corpus, site, extent)
                    stops = _first_stops(model, hosts, corpus, site, states)
                    values_by_metric[f"{extent}/{donor_kind}/{site}"] = stops == donor_counts
        attributes = [
            f"{len(h.boundaries.decision_positions)} to {count}" for h, count in zip(hosts, donor_counts, strict=True)
        ]
        entities = [h.question.entity for h in hosts]
        item_ids = [f"{h.question.id}/{d.question.id}" for h, d in zip(hosts, donors, strict=True)]
        for metric, correct in values_by_metric.items():
            columns = {
                "item": item_ids,
                "entity": entities,
                "attribute": attributes,
                "value": correct.astype(np.float64),
            }
            yield pl.DataFrame(columns).with_columns(
                evaluation=pl.lit(self.name), split=pl.lit("unseen"), metric=pl.lit(metric), step=pl.lit(step, pl.Int64)
            )

    def _pair_lists(
        self, corpus: Corpus, seed: Seed
    ) -> tuple[list[_ListQuestion], list[_ListQuestion], list[_ListQuestion]]:
        """Hosts, each with a donor who has fewer entries and one who has as many, questions equally long."""
        rng = (seed / "pairs").numpy()
        lists = self._lists(corpus)
        hosts: list[_ListQuestion] = []
        donors: list[_ListQuestion] = []
        same_count_donors: list[_ListQuestion] = []
        for index in rng.permutation(len(lists)).tolist():
            host = lists[index]
            candidates = [x for x in lists if x is not host and x.question_length == host.question_length]
            fewer = [
                x for x in candidates if len(x.boundaries.decision_positions) < len(host.boundaries.decision_positions)
            ]
            equal = [
                x for x in candidates if len(x.boundaries.decision_positions) == len(host.boundaries.decision_positions)
            ]
            if fewer and equal and len(hosts) < self.max_pairs:
                hosts.append(host)
                donors.append(fewer[rng.integers(len(fewer))])
                same_count_donors.append(equal[rng.integers(len(equal))])
        return hosts, donors, same_count_donors

    def _lists(self, corpus: Corpus) -> list[_ListQuestion]:
        lists = []
        for question in corpus.questions_in("unseen"):
            if (
                self.list_task.entry_count(question)
                and (boundaries := EntryBoundaries.from_question(question, self.list_task, corpus)) is not None
            ):
                prompt, target = (
                    corpus.tokenizer.encode(text, add_special_tokens=False).ids
                    for text in (question.prompt, question.target)
                )
                lists.append(
                    _ListQuestion(question, np.array([corpus.eos_id, *prompt, *target]), len(prompt), boundaries)
                )
        return lists


def _batches(lists: list[_ListQuestion], end: int) -> Iterator[tuple[list[_ListQuestion], np.ndarray]]:
    """Lists, and their tokens padded behind, (B, T)."""
    for first in range(0, len(lists), COUNT_PATCHING_BATCH_SIZE):
        part = lists[first : first + COUNT_PATCHING_BATCH_SIZE]
        padded = np.full((len(part), max(len(x.tokens) for x in part)), end)
        for row, one in enumerate(part):
            padded[row, : len(one.tokens)] = one.tokens
        yield part, padded


def _where(part: list[_ListQuestion], which: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and positions of the questions' last tokens, or of all their tokens."""
    begin = [x.question_length if which == "last" else 1 for x in part]
    sizes = [x.question_length + 1 - first for x, first in zip(part, begin, strict=True)]
    return np.repeat(np.arange(len(part)), sizes), np.concatenate(
        [np.arange(first, x.question_length + 1) for x, first in zip(part, begin, strict=True)]
    )


def _states(
    model: PreTrainedModel, lists: list[_ListQuestion], corpus: Corpus, site: str, which: str
) -> dict[str, np.ndarray]:
    """The hidden states at the lists' questions, one row a place, in the lists' order."""
    import torch

    from nosce.models.hooks import capture

    found = []
    with torch.no_grad(), capture(model, [site]) as seen:
        for part, padded in _batches(lists, corpus.eos_id):
            model.base_model(input_ids=torch.from_numpy(padded).to(model.device), use_cache=False)
            found.append(seen[site][_where(part, which)].float().cpu().numpy())
    return {which: np.concatenate(found)}


def _first_stops(
    model: PreTrainedModel,
    lists: list[_ListQuestion],
    corpus: Corpus,
    site: str | None,
    states: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Behind which entry stopping first is likelier than going on, 0 where behind none. Shape: (N,)."""
    import torch

    from nosce.models.hooks import patch

    found, first = [], 0
    for part, padded in _batches(lists, corpus.eos_id):
        where, rows = (np.zeros(0, dtype=int),) * 2, None
        for which, whole in states.items():
            where = _where(part, which)
            rows = whole[first : first + len(where[0])]
            first += len(where[0])
        with torch.no_grad(), patch(model, site, where, rows):
            hidden = model.base_model(
                input_ids=torch.from_numpy(padded).to(model.device), use_cache=False
            ).last_hidden_state
            for row, one in enumerate(part):
                # A token is predicted one position earlier; the end token stands before the question.
                here = model.get_output_embeddings()(
                    hidden[row, one.question_length + one.boundaries.decision_positions]
                )
                stop = (
                    here[:, corpus.eos_id]
                    > here[np.arange(len(one.boundaries.decision_positions)), one.boundaries.continue_tokens]
                )
                places = np.flatnonzero(stop.cpu().numpy())
                found.append(int(places[0]) + 1 if len(places) else 0)
    return np.array(found)
