"""The read-out `Patched`: does the number of entries that a model tells move with a hidden state?

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
from nosce.evals.stopping import Boundaries, Lister
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS = 500  # texts side by side


@dataclass(frozen=True, eq=False)
class _List:
    """A question with its list as tokens behind an end token."""

    question: Question
    tokens: np.ndarray
    asked: int  # tokens of the question, the end token not among them
    at: Boundaries


@dataclass(frozen=True, kw_only=True)
class Patched:
    """Patches of the last checkpoint's hidden states at the question: its last token alone, or all of it.

    Readings have the metric `<last or whole>/<donor or same>/<layer>`, or `unpatched`, and one row a pair: is the entry
    behind which stopping first is likelier than going on the donor's last? The facet is `<host's> to <donor's>`.
    """

    needs_model: ClassVar[bool] = True
    at_layers: ClassVar[bool] = True
    lister: Lister
    pairs: int = 200  # at most
    name: str = "patched"

    def read_all(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint; none where there are no two lists to pair."""
        from nosce.models.hooks import layers

        step = max(checkpoints)
        model = checkpoints[step]().eval()
        hosts, donors, likes = self._pairs(corpus, seed)
        if not hosts:
            return
        wanted = np.array([len(d.at.places) for d in donors])
        found = {"unpatched": _first_stops(model, hosts, corpus, None, {}) == wanted}
        for which in ("last", "whole"):
            for site in layers(model):
                for kind, givers in (("donor", donors), ("same", likes)):
                    states = _states(model, givers, corpus, site, which)
                    stops = _first_stops(model, hosts, corpus, site, states)
                    found[f"{which}/{kind}/{site}"] = stops == wanted
        facets = [f"{len(h.at.places)} to {count}" for h, count in zip(hosts, wanted, strict=True)]
        abouts = [h.question.about for h in hosts]
        names = [f"{h.question.id}/{d.question.id}" for h, d in zip(hosts, donors, strict=True)]
        for metric, right in found.items():
            columns = {"item": names, "about": abouts, "facet": facets, "value": right.astype(np.float64)}
            yield pl.DataFrame(columns).with_columns(
                readout=pl.lit(self.name), split=pl.lit("unseen"), metric=pl.lit(metric), step=pl.lit(step, pl.Int64)
            )

    def _pairs(self, corpus: Corpus, seed: Seed) -> tuple[list[_List], list[_List], list[_List]]:
        """Hosts, each with a donor who has fewer entries and one who has as many, questions equally long."""
        rng = (seed / "pairs").numpy()
        lists = self._lists(corpus)
        hosts: list[_List] = []
        donors: list[_List] = []
        likes: list[_List] = []
        for place in rng.permutation(len(lists)).tolist():
            host = lists[place]
            others = [x for x in lists if x is not host and x.asked == host.asked]
            fewer = [x for x in others if len(x.at.places) < len(host.at.places)]
            equal = [x for x in others if len(x.at.places) == len(host.at.places)]
            if fewer and equal and len(hosts) < self.pairs:
                hosts.append(host)
                donors.append(fewer[rng.integers(len(fewer))])
                likes.append(equal[rng.integers(len(equal))])
        return hosts, donors, likes

    def _lists(self, corpus: Corpus) -> list[_List]:
        found = []
        for question in corpus.asked("unseen"):
            if self.lister.count(question) and (at := Boundaries.of(question, self.lister, corpus)) is not None:
                prompt, target = (corpus.tokenizer.encode(text, add_special_tokens=False).ids
                                  for text in (question.prompt, question.target))  # fmt: skip
                found.append(_List(question, np.array([corpus.end, *prompt, *target]), len(prompt), at))
        return found


def _batches(lists: list[_List], end: int) -> Iterator[tuple[list[_List], np.ndarray]]:
    """Lists, and their tokens padded behind, (B, T)."""
    for first in range(0, len(lists), ROWS):
        part = lists[first : first + ROWS]
        padded = np.full((len(part), max(len(x.tokens) for x in part)), end)
        for row, one in enumerate(part):
            padded[row, : len(one.tokens)] = one.tokens
        yield part, padded


def _where(part: list[_List], which: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and positions of the questions' last tokens, or of all their tokens."""
    begin = [x.asked if which == "last" else 1 for x in part]
    sizes = [x.asked + 1 - first for x, first in zip(part, begin, strict=True)]
    return np.repeat(np.arange(len(part)), sizes), np.concatenate(
        [np.arange(first, x.asked + 1) for x, first in zip(part, begin, strict=True)]
    )


def _states(model: PreTrainedModel, lists: list[_List], corpus: Corpus, site: str, which: str) -> dict[str, np.ndarray]:
    """The hidden states at the lists' questions, one row a place, in the lists' order."""
    import torch

    from nosce.models.hooks import watched

    found = []
    with torch.no_grad(), watched(model, [site]) as seen:
        for part, padded in _batches(lists, corpus.end):
            model.base_model(input_ids=torch.from_numpy(padded).to(model.device), use_cache=False)
            found.append(seen[site][_where(part, which)].float().cpu().numpy())
    return {which: np.concatenate(found)}


def _first_stops(
    model: PreTrainedModel, lists: list[_List], corpus: Corpus, site: str | None, states: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Behind which entry stopping first is likelier than going on, 0 where behind none. Shape: (N,)."""
    import torch

    from nosce.models.hooks import replaced

    found, first = [], 0
    for part, padded in _batches(lists, corpus.end):
        where, rows = (np.zeros(0, dtype=int),) * 2, None
        for which, whole in states.items():
            where = _where(part, which)
            rows = whole[first : first + len(where[0])]
            first += len(where[0])
        with torch.no_grad(), replaced(model, site, where, rows):
            hidden = model.base_model(
                input_ids=torch.from_numpy(padded).to(model.device), use_cache=False
            ).last_hidden_state
            for row, one in enumerate(part):
                # A token is predicted one position earlier; the end token stands before the question.
                here = model.get_output_embeddings()(hidden[row, one.asked + one.at.places])
                stop = here[:, corpus.end] > here[np.arange(len(one.at.places)), one.at.onward]
                places = np.flatnonzero(stop.cpu().numpy())
                found.append(int(places[0]) + 1 if len(places) else 0)
    return np.array(found)
