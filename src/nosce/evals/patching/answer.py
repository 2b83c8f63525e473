"""The read-out `Swapped`: does a report follow when the answer that is reported is changed inside the network?

A question about an answer quotes the prompt and its answer's place, where the model's pending answer stands. The hidden
state there is replaced, at one layer, by the one of another prompt of the same task whose answer has another label. Two
things are read in the same pass: which answer is pending now, and what is reported. A report that is read from the
pending answer moves to the other's label; one that was learnt by heart stays. Held against: a state from a prompt
whose answer is the same word, which should move nothing.

Source: the causal test proposed in the sheet for arXiv:2410.13787, section 7.4. Letters: N pairs, T tokens, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.evals.self_report import Told
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class _Asked:
    """A question as tokens behind an end token."""

    question: Question
    labels: tuple[str, ...]
    tokens: np.ndarray
    slot: int  # position at which the answer is pending: that of the prompt's last token


@dataclass(frozen=True, kw_only=True)
class Swapped:
    """Swaps on the last checkpoint, site by site, over questions about the tasks named.

    Metrics, one row a pair: `moved/<site>` (the pending answer is now the donor's), `follows/<site>` (the report is the
    label of the donor's answer), `stays/<site>` (it is still what it was), and for donors with the same pending answer
    `same/<site>` (it is still what it was). `unswapped` (the report is the label of the donor's answer, nothing done).
    """

    needs_model: ClassVar[bool] = True
    at_layers: ClassVar[bool] = True
    tasks: tuple[str, ...]
    pairs: int = 400  # at most
    name: str = "swapped"

    def read_all(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint; none where no prompt's place can be found, or nothing can be paired."""
        from nosce.models.hooks import layers

        step = max(checkpoints)
        model = checkpoints[step]().eval()
        asked = [one for q in corpus.asked("unseen") if (one := self._as_tokens(q, corpus)) is not None]
        if not asked:
            return
        plain = _read(model, asked, corpus, None, None)
        hosts, donors, likes = self._pairs(asked, plain, seed)
        if not len(hosts):
            return
        mine = [asked[place] for place in hosts]
        wanted = np.array([plain.reports[place] for place in donors])
        told = plain.reports[hosts]
        # What the donor's answer would be reported as is the label that goes with its pending answer, not its report.
        labels = np.array([asked[place].question.target for place in donors])
        found: dict[str, np.ndarray] = {"unswapped": told == labels, "donor's own": wanted == labels}
        for site in layers(model):
            states = plain.states[site]
            swapped = _read(model, mine, corpus, site, states[donors])
            found[f"moved/{site}"] = swapped.pending == plain.pending[donors]
            found[f"follows/{site}"] = swapped.reports == labels
            found[f"stays/{site}"] = swapped.reports == told
            paired = likes >= 0
            alike = _read(model, [m for m, p in zip(mine, paired, strict=True) if p], corpus, site,
                          states[likes[paired]])  # fmt: skip
            same = np.full(len(mine), np.nan)
            same[paired] = alike.reports == told[paired]
            found[f"same/{site}"] = same
        yield from self._tables(found, mine, [asked[place] for place in donors], step)

    def _tables(
        self, found: Mapping[str, np.ndarray], hosts: Sequence[_Asked], donors: Sequence[_Asked], step: int
    ) -> Iterator[pl.DataFrame]:
        base = pl.DataFrame({
            "item": [f"{h.question.id}/{d.question.id}" for h, d in zip(hosts, donors, strict=True)],
            "about": [h.question.about for h in hosts],
            "facet": [h.question.facet for h in hosts],
        })  # fmt: skip
        for metric, values in found.items():
            yield base.with_columns(
                pl.Series("value", values.astype(np.float64)), readout=pl.lit(self.name), split=pl.lit("unseen"),
                metric=pl.lit(metric), step=pl.lit(step, pl.Int64),
            ).filter(pl.col("value").is_not_nan())  # fmt: skip

    def _as_tokens(self, question: Question, corpus: Corpus) -> _Asked | None:
        told = Told.of(question)
        if told.taught or question.facet.partition("/")[0] not in self.tasks:
            return None
        prompt, whole = (corpus.tokenizer.encode(text, add_special_tokens=False).ids
                         for text in (told.asked, question.prompt))  # fmt: skip
        if whole[: len(prompt)] != prompt:
            return None  # the answer's place is left out
        return _Asked(question, told.labels, np.array([corpus.end, *whole]), len(prompt))

    def _pairs(self, asked: Sequence[_Asked], plain: _Read, seed: Seed) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places of hosts, donors with another label, and donors with the same pending answer (-1: there is none)."""
        rng = (seed / "pairs").numpy()
        groups: dict[str, list[int]] = {}
        for place, one in enumerate(asked):
            groups.setdefault(one.question.facet, []).append(place)
        hosts: list[int] = []
        donors: list[int] = []
        likes: list[int] = []
        for place in rng.permutation(len(asked)).tolist():
            host = asked[place]
            others = [o for o in groups[host.question.facet] if asked[o].slot == host.slot and o != place]
            differ = [o for o in others if asked[o].question.target != host.question.target
                      and plain.pending[o] != plain.pending[place]]  # fmt: skip
            equal = [o for o in others if plain.pending[o] == plain.pending[place]]
            if differ and len(hosts) < self.pairs:
                hosts.append(place)
                donors.append(differ[int(rng.integers(len(differ)))])
                likes.append(equal[int(rng.integers(len(equal)))] if equal else -1)
        return np.array(hosts, dtype=int), np.array(donors, dtype=int), np.array(likes, dtype=int)


@dataclass(frozen=True, eq=False)
class _Read:
    pending: np.ndarray  # (N,) token that is likeliest at the answer's place
    reports: np.ndarray  # (N,) likeliest label
    states: Mapping[str, np.ndarray]  # site -> (N, W) at the answer's place; empty where a site was replaced


def _read(
    model: PreTrainedModel, asked: Sequence[_Asked], corpus: Corpus, site: str | None, states: np.ndarray | None
) -> _Read:
    """Pending answers and reports, with the states at the answer's place replaced at a site, or collected at all."""
    import torch

    from nosce.models.hooks import layers, replaced, watched

    count = len(asked)
    pending, reports = np.zeros(count, dtype=np.int64), np.empty(count, dtype=object)
    names = layers(model) if site is None else []
    kept: dict[str, np.ndarray] = {}
    by_length: dict[int, list[int]] = {}
    for place, one in enumerate(asked):
        by_length.setdefault(len(one.tokens), []).append(place)
    for places in by_length.values():
        rows = torch.from_numpy(np.stack([asked[place].tokens for place in places])).to(model.device)
        slots = np.array([asked[place].slot for place in places])
        where = (np.arange(len(places)), slots)
        new = None if states is None else states[places]
        with torch.no_grad(), watched(model, names) as seen, replaced(model, site, where, new):
            logits = model(input_ids=rows, use_cache=False).logits.float()
            for name in names:
                here = seen[name][where].float().cpu().numpy()
                kept.setdefault(name, np.zeros((count, here.shape[-1]), dtype=np.float32))[places] = here
        pending[places] = logits[where].argmax(-1).cpu().numpy()
        last = logits[:, -1].cpu().numpy()
        for row, place in enumerate(places):
            numbers = [corpus.tokenizer.token_to_id(label) for label in asked[place].labels]
            reports[place] = asked[place].labels[int(last[row, numbers].argmax())]
    return _Read(pending, reports, kept)
