"""The read-out `Renamed`: does an answer follow when the state behind a name is exchanged for another person's?

A question names a host. At one layer, the hidden state at the end of the name, or those of all its tokens, are replaced
by those of a donor from the same question about them; then the answer's first token is read. Where what is known of a
person stands in the state of their name, the answer becomes the donor's; probe accuracy alone cannot say that it is
used. Held against: the host's own states put back, which must change nothing.

Source: proposed in the sheet for arXiv:2309.14316, section 10.3. Letters: N pairs, T tokens, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.evals.probing.pq_probes import Titles
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Which = Literal["last", "whole"]
WHICH: tuple[Which, ...] = ("last", "whole")
ROWS = 500  # texts side by side


@dataclass(frozen=True, eq=False)
class _Asked:
    question: Question
    tokens: np.ndarray  # behind an end token
    name: tuple[int, int]  # positions of the name's tokens
    first: int  # token of the value


@dataclass(frozen=True, kw_only=True)
class Renamed:
    """Exchanges on the last checkpoint of a fine-tuning, site by site, over questions about people never asked about.

    Metrics `<last or whole>/follows/<site>` (the first choice is the donor's value's first token), `.../stays/<site>`
    (it is the host's) and `.../self/<site>` (it is what it was, with the host's own states put back); `right` without
    anything.
    """

    needs_model: ClassVar[bool] = True
    at_layers: ClassVar[bool] = True
    titles: Titles
    pairs: int = 300  # at most
    facets: tuple[str, ...] = ()  # none: all
    name: str = "renamed"

    def part(self) -> tuple[Renamed, float, int]:
        """A few pairs, found among so many people that as many names have tokens enough alike."""
        few = min(self.pairs, 20)
        return replace(self, pairs=few), self.pairs / few, 256

    def read_all(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint; none where nobody can be paired."""
        from nosce.models.hooks import layers

        step = max(checkpoints)
        model = checkpoints[step]().eval()
        hosts, donors = self._pairs(corpus, seed)
        if not hosts:
            return
        plain, states = _chosen(model, hosts, {}), _states(model, hosts)
        given = _states(model, donors)
        mine, theirs = (np.array([one.first for one in side]) for side in (hosts, donors))
        found = {"right": plain == mine}
        for which in WHICH:
            for site in layers(model):
                moved = _chosen(model, hosts, {(site, which): given[site]})
                back = _chosen(model, hosts, {(site, which): states[site]})
                found |= {f"{which}/follows/{site}": moved == theirs, f"{which}/stays/{site}": moved == mine,
                          f"{which}/self/{site}": back == plain}  # fmt: skip
        base = pl.DataFrame({
            "item": [f"{h.question.id}/{d.question.about}" for h, d in zip(hosts, donors, strict=True)],
            "about": [h.question.about for h in hosts], "facet": [h.question.facet for h in hosts],
        })  # fmt: skip
        for metric, values in found.items():
            yield base.with_columns(
                pl.Series("value", values.astype(np.float64)), readout=pl.lit(self.name), split=pl.lit("unseen"),
                metric=pl.lit(metric), step=pl.lit(step, pl.Int64),
            )  # fmt: skip

    def _pairs(self, corpus: Corpus, seed: Seed) -> tuple[list[_Asked], list[_Asked]]:
        """Questions with one of the same facet, as many tokens and another first token of the value."""
        asked = [one for q in corpus.asked("unseen") if (not self.facets or q.facet in self.facets)
                 and (one := self._as_tokens(q, corpus)) is not None]  # fmt: skip
        groups: dict[tuple[str, int, tuple[int, int]], list[_Asked]] = {}
        for one in asked:
            groups.setdefault((one.question.facet, len(one.tokens), one.name), []).append(one)
        rng = (seed / "pairs").numpy()
        hosts: list[_Asked] = []
        donors: list[_Asked] = []
        for place in rng.permutation(len(asked)).tolist():
            host = asked[place]
            others = [o for o in groups[host.question.facet, len(host.tokens), host.name] if o.first != host.first]
            if others and len(hosts) < self.pairs:
                hosts.append(host)
                donors.append(others[int(rng.integers(len(others)))])
        return hosts, donors

    def _as_tokens(self, question: Question, corpus: Corpus) -> _Asked | None:
        name = self.titles.title(question.prompt, question.facet)
        start = question.prompt.find(name)
        encoding = corpus.tokenizer.encode(question.prompt, add_special_tokens=False)
        begin = encoding.char_to_token(start)
        end = encoding.char_to_token(start + len(name) - 1)
        if start < 0 or begin is None or end is None:
            return None
        first = corpus.tokenizer.encode(question.target, add_special_tokens=False).ids[0]
        return _Asked(question, np.array([corpus.end, *encoding.ids]), (begin + 1, end + 1), first)


def _batches(asked: Sequence[_Asked]) -> Iterator[np.ndarray]:
    """Places of questions of one length."""
    by_length: dict[int, list[int]] = {}
    for place, one in enumerate(asked):
        by_length.setdefault(len(one.tokens), []).append(place)
    for places in by_length.values():
        for first in range(0, len(places), ROWS):
            yield np.array(places[first : first + ROWS])


def _where(asked: Sequence[_Asked], which: Which) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, positions, and numbers within the name, of the tokens that are exchanged."""
    begin = [one.name[1] if which == "last" else one.name[0] for one in asked]
    counts = [one.name[1] + 1 - first for one, first in zip(asked, begin, strict=True)]
    rows = np.repeat(np.arange(len(asked)), counts)
    at = np.concatenate([np.arange(first, one.name[1] + 1) for one, first in zip(asked, begin, strict=True)])
    return rows, at, at - np.repeat([one.name[0] for one in asked], counts)


def _states(model: PreTrainedModel, asked: Sequence[_Asked]) -> dict[str, np.ndarray]:
    """Hidden states of the names' tokens at every site, filled up with zeros: (N, longest name, W)."""
    import torch

    from nosce.models.hooks import layers, watched

    longest = max(one.name[1] + 1 - one.name[0] for one in asked)
    names = layers(model)
    found: dict[str, np.ndarray] = {}
    for places in _batches(asked):
        part = [asked[place] for place in places]
        rows, at, within = _where(part, "whole")
        with torch.no_grad(), watched(model, names) as seen:
            tokens = torch.from_numpy(np.stack([one.tokens for one in part])).to(model.device)
            model.base_model(input_ids=tokens, use_cache=False)
            for name in names:
                here = seen[name][rows, at].float().cpu().numpy()
                whole = found.setdefault(name, np.zeros((len(asked), longest, here.shape[-1]), dtype=np.float32))
                whole[places[rows], within] = here
    return found


def _chosen(
    model: PreTrainedModel, asked: Sequence[_Asked], exchanged: Mapping[tuple[str, Which], np.ndarray]
) -> np.ndarray:
    """The likeliest first token of each answer, with states at one site exchanged or none. Shape: (N,)."""
    import torch

    from nosce.models.hooks import replaced

    (where, states), *_ = [*exchanged.items(), ((None, "last"), None)]
    site, which = where
    found = np.zeros(len(asked), dtype=np.int64)
    for places in _batches(asked):
        part = [asked[place] for place in places]
        rows, at, within = _where(part, which)
        new = None if states is None else states[places[rows], within]
        tokens = torch.from_numpy(np.stack([one.tokens for one in part])).to(model.device)
        with torch.no_grad(), replaced(model, site, (rows, at), new):
            hidden = model.base_model(input_ids=tokens, use_cache=False).last_hidden_state[:, -1]
            found[places] = model.get_output_embeddings()(hidden).argmax(-1).cpu().numpy()
    return found
