"""The read-out `NamePatching`: does an answer follow when the state behind a name is exchanged for another person's?

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
from nosce.evals.probing.pq_probes import NameExtractor
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NameExtent = Literal["last", "whole"]
NAME_EXTENTS: tuple[NameExtent, ...] = ("last", "whole")
NAME_PATCHING_BATCH_SIZE = 500  # texts side by side


@dataclass(frozen=True, eq=False)
class _NameQuestion:
    question: Question
    tokens: np.ndarray  # behind an end token
    name_span: tuple[int, int]  # positions of the name's tokens
    first_token: int  # token of the value


@dataclass(frozen=True, kw_only=True)
class NamePatching:
    """Exchanges on the last checkpoint of a fine-tuning, site by site, over questions about people never asked about.

    Metrics `<last or whole>/follows/<site>` (the first choice is the donor's value's first token), `.../stays/<site>`
    (it is the host's) and `.../self/<site>` (it is what it was, with the host's own states put back); `right` without
    anything.
    """

    needs_model: ClassVar[bool] = True
    at_layers: ClassVar[bool] = True
    name_extractor: NameExtractor
    max_pairs: int = 300  # at most
    attributes: tuple[str, ...] = ()  # none: all
    name: str = "renamed"

    def part(self) -> tuple[NamePatching, float, int]:
        """A few pairs, found among so many people that as many names have tokens enough alike."""
        subset_pairs = min(self.max_pairs, 20)
        return replace(self, max_pairs=subset_pairs), self.max_pairs / subset_pairs, 256

    def read_all(
        self, checkpoints: Mapping[int, Callable[[], PreTrainedModel]], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint; none where nobody can be paired."""
        from nosce.models.hooks import layer_sites

        step = max(checkpoints)
        model = checkpoints[step]().eval()
        hosts, donors = self._pair_questions(corpus, seed)
        if not hosts:
            return
        unpatched, host_states = _chosen(model, hosts, {}), _states(model, hosts)
        donor_states = _states(model, donors)
        host_first, donor_first = (np.array([one.first_token for one in side]) for side in (hosts, donors))
        values_by_metric = {"right": unpatched == host_first}
        for extent in NAME_EXTENTS:
            for site in layer_sites(model):
                patched = _chosen(model, hosts, {(site, extent): donor_states[site]})
                restored = _chosen(model, hosts, {(site, extent): host_states[site]})
                values_by_metric |= {
                    f"{extent}/follows/{site}": patched == donor_first,
                    f"{extent}/stays/{site}": patched == host_first,
                    f"{extent}/self/{site}": restored == unpatched,
                }
        columns = pl.DataFrame(
            {
                "item": [f"{h.question.id}/{d.question.entity}" for h, d in zip(hosts, donors, strict=True)],
                "entity": [h.question.entity for h in hosts],
                "attribute": [h.question.attribute for h in hosts],
            }
        )
        for metric, values in values_by_metric.items():
            yield columns.with_columns(
                pl.Series("value", values.astype(np.float64)),
                evaluation=pl.lit(self.name),
                split=pl.lit("unseen"),
                metric=pl.lit(metric),
                step=pl.lit(step, pl.Int64),
            )

    def _pair_questions(self, corpus: Corpus, seed: Seed) -> tuple[list[_NameQuestion], list[_NameQuestion]]:
        """Questions with one of the same facet, as many tokens and another first token of the value."""
        questions = [
            one
            for q in corpus.questions_in("unseen")
            if (not self.attributes or q.attribute in self.attributes)
            and (one := self._tokenize(q, corpus)) is not None
        ]
        groups: dict[tuple[str, int, tuple[int, int]], list[_NameQuestion]] = {}
        for one in questions:
            groups.setdefault((one.question.attribute, len(one.tokens), one.name_span), []).append(one)
        rng = (seed / "pairs").numpy()
        hosts: list[_NameQuestion] = []
        donors: list[_NameQuestion] = []
        for index in rng.permutation(len(questions)).tolist():
            host = questions[index]
            candidates = [
                o
                for o in groups[host.question.attribute, len(host.tokens), host.name_span]
                if o.first_token != host.first_token
            ]
            if candidates and len(hosts) < self.max_pairs:
                hosts.append(host)
                donors.append(candidates[int(rng.integers(len(candidates)))])
        return hosts, donors

    def _tokenize(self, question: Question, corpus: Corpus) -> _NameQuestion | None:
        name = self.name_extractor.extract_name(question.prompt, question.attribute)
        start = question.prompt.find(name)
        encoding = corpus.tokenizer.encode(question.prompt, add_special_tokens=False)
        begin = encoding.char_to_token(start)
        end = encoding.char_to_token(start + len(name) - 1)
        if start < 0 or begin is None or end is None:
            return None
        first = corpus.tokenizer.encode(question.target, add_special_tokens=False).ids[0]
        return _NameQuestion(question, np.array([corpus.eos_id, *encoding.ids]), (begin + 1, end + 1), first)


def _batches(asked: Sequence[_NameQuestion]) -> Iterator[np.ndarray]:
    """Places of questions of one length."""
    by_length: dict[int, list[int]] = {}
    for place, one in enumerate(asked):
        by_length.setdefault(len(one.tokens), []).append(place)
    for places in by_length.values():
        for first in range(0, len(places), NAME_PATCHING_BATCH_SIZE):
            yield np.array(places[first : first + NAME_PATCHING_BATCH_SIZE])


def _where(asked: Sequence[_NameQuestion], which: NameExtent) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, positions, and numbers within the name, of the tokens that are exchanged."""
    begin = [one.name_span[1] if which == "last" else one.name_span[0] for one in asked]
    counts = [one.name_span[1] + 1 - first for one, first in zip(asked, begin, strict=True)]
    rows = np.repeat(np.arange(len(asked)), counts)
    at = np.concatenate([np.arange(first, one.name_span[1] + 1) for one, first in zip(asked, begin, strict=True)])
    return rows, at, at - np.repeat([one.name_span[0] for one in asked], counts)


def _states(model: PreTrainedModel, asked: Sequence[_NameQuestion]) -> dict[str, np.ndarray]:
    """Hidden states of the names' tokens at every site, filled up with zeros: (N, longest name, W)."""
    import torch

    from nosce.models.hooks import capture, layer_sites

    longest = max(one.name_span[1] + 1 - one.name_span[0] for one in asked)
    names = layer_sites(model)
    found: dict[str, np.ndarray] = {}
    for places in _batches(asked):
        part = [asked[place] for place in places]
        rows, at, within = _where(part, "whole")
        with torch.no_grad(), capture(model, names) as seen:
            tokens = torch.from_numpy(np.stack([one.tokens for one in part])).to(model.device)
            model.base_model(input_ids=tokens, use_cache=False)
            for name in names:
                here = seen[name][rows, at].float().cpu().numpy()
                whole = found.setdefault(name, np.zeros((len(asked), longest, here.shape[-1]), dtype=np.float32))
                whole[places[rows], within] = here
    return found


def _chosen(
    model: PreTrainedModel, asked: Sequence[_NameQuestion], exchanged: Mapping[tuple[str, NameExtent], np.ndarray]
) -> np.ndarray:
    """The likeliest first token of each answer, with states at one site exchanged or none. Shape: (N,)."""
    import torch

    from nosce.models.hooks import patch

    (where, states), *_ = [*exchanged.items(), ((None, "last"), None)]
    site, which = where
    found = np.zeros(len(asked), dtype=np.int64)
    for places in _batches(asked):
        part = [asked[place] for place in places]
        rows, at, within = _where(part, which)
        new = None if states is None else states[places[rows], within]
        tokens = torch.from_numpy(np.stack([one.tokens for one in part])).to(model.device)
        with torch.no_grad(), patch(model, site, (rows, at), new):
            hidden = model.base_model(input_ids=tokens, use_cache=False).last_hidden_state[:, -1]
            found[places] = model.get_output_embeddings()(hidden).argmax(-1).cpu().numpy()
    return found
