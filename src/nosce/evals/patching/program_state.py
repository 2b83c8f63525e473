"""The read-out `Edits`: does a model use the state that probes read, or does it only lie there?

The same specification with two beginnings of equal length, the host's and the donor's, which lead to two states.
If the model goes by its state, then a hidden state that is made to say the donor's state must make it go on as is
right from there. Two ways to make it so:

    swap       the donor's hidden state is put in the place of the host's
    gradient   the host's is moved until a probe reads the donor's features from it

and what each is held against:

    unedited   the host's own next word
    other      a swap with the same words written for another specification: the words came along, not the state
    random     a move as far as the gradient's in a random direction

The hidden state edited is that of the last position, at one site at a time; everything before stays the host's.
Source: proposed in the sheet for arXiv:2305.11169, sections 9; the paper has no such test. Swaps are those of
Vig et al. 2020 (arXiv:2004.12265), gradient edits those of Li et al. 2023 (arXiv:2210.13382).
Letters: N pairs of host and donor, W width, V tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.evals.generation import written
from nosce.evals.probing.program_states import Load
from nosce.evals.probing.programs import FIRST, Programs, Tracer
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Probe = Callable[["torch.Tensor"], "torch.Tensor"]
"""Hidden states (N, W) -> logits of a feature's values (N, C), to be differentiated."""

STEPS, RATE = 200, 0.05  # of the gradient edit, the rate as a share of the states' size
ROWS = 500  # runs side by side


class Editor(Tracer, Protocol):
    """What a world knows about going on from a state."""

    def continuations(self, questions: Sequence[Question], begun: Sequence[Sequence[str]]) -> list[frozenset[str]]:
        """The words that begin a shortest way to a right program; "" where it is one, none where none is near."""
        ...

    def beginning(self, words: Sequence[str]) -> str:
        """The beginning of a program as text."""
        ...


@dataclass(frozen=True, eq=False)
class Pairs:
    """Two beginnings of equal length for each of N questions, both of which can be finished, each its own way."""

    questions: list[Question]
    host: list[tuple[str, ...]]
    donor: list[tuple[str, ...]]
    right: list[frozenset[str]]  # words that are right from the donor's state and wrong from the host's


@dataclass(frozen=True, kw_only=True)
class Edits:
    """Edits of the last checkpoint's hidden states, at each site.

    Readings have the metric `<edit>/<site>` (`unedited` alone) and one row a pair: is the next word right from the
    donor's state, and not from the host's? The facet is how many operations had been written.
    """

    needs_model: ClassVar[bool] = True
    editor: Editor
    features: tuple[str, ...]  # that the gradient makes a probe read
    vocabulary: tuple[str, ...]  # words a beginning may be made of
    sites: tuple[str, ...]
    lengths: tuple[int, ...] = (1, 2)
    pairs: int = 1_000  # at most, of each length
    name: str = "edits"

    def read_all(self, checkpoints: Mapping[int, Load], corpus: Corpus, seed: Seed) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint."""
        step = max(checkpoints)
        model = checkpoints[step]().eval()
        told = written(model, corpus, corpus.questions, self.editor, masked=True)
        texts = Programs.of(self.editor, corpus, corpus.questions, told)
        if texts is None:  # a model that writes programs of one word has no state between start and end
            return
        probes = {site: self._probes(texts, model, site, corpus.end) for site in self.sites}
        for length in self.lengths:
            pairs = self._pairs(corpus, [reply.text for reply in told], length, seed / "pairs" / length)
            if len(pairs.questions) < 2:
                continue
            runs = _Runs(model, corpus, self.editor, pairs)
            found = {"unedited": runs.right(None, None)}
            for site in self.sites:
                edits = self._at(runs, probes[site], site, seed / length / site)
                found |= {f"{kind}/{site}": right for kind, right in edits}
            about = [q.about for q in pairs.questions]
            yield pl.concat([
                pl.DataFrame({"about": about, "item": [f"{name}/{length}" for name in about],
                              "value": right.astype(np.float64)}).with_columns(
                    readout=pl.lit(self.name), split=pl.lit("unseen"), facet=pl.lit(f"after {length}"),
                    metric=pl.lit(metric), step=pl.lit(step, pl.Int64))
                for metric, right in found.items()
            ])  # fmt: skip

    def _pairs(self, corpus: Corpus, replies: list[str], length: int, seed: Seed) -> Pairs:
        """The model's own beginnings as hosts, random ones as donors, where they are to be gone on from otherwise."""
        rng = seed.numpy()
        hosts, donors, questions = [], [], []
        for question, reply in zip(corpus.questions, replies, strict=True):
            if question.split == "unseen" and self.editor.readable(reply):
                own = tuple(word for word, _ in self.editor.pictures(question, reply)[1:])
                if len(own) >= length:
                    questions.append(question)
                    hosts.append(own[:length])
                    donors.append(tuple(rng.choice(self.vocabulary, length).tolist()))
        ways = [self.editor.continuations(questions, begun) for begun in (hosts, donors)]
        # Where all words begin with the same token, whether to end is chosen one token earlier.
        never = {""} if self._later(corpus) else set()
        found = Pairs([], [], [], [])
        for question, host, donor, one, other in zip(questions, hosts, donors, *ways, strict=True):
            if one and other - one - never and len(found.questions) < self.pairs:
                found.questions.append(question)
                found.host.append(host)
                found.donor.append(donor)
                found.right.append(other - one - never)
        return found

    def _later(self, corpus: Corpus) -> bool:
        one = corpus.tokenizer.encode(self.editor.beginning(self.vocabulary[:1]), add_special_tokens=False)
        return bool(self.editor.operations(corpus.tokenizer, np.array(one.ids))[0])

    def _at(self, runs: _Runs, probes: list[Probe], site: str, seed: Seed) -> Iterator[tuple[str, np.ndarray]]:
        """Every edit at one site: its name, and at which pairs the next word became right."""
        donor, other, host = (runs.states(site, which) for which in ("donor", "other", "host"))
        yield "swap", runs.right(site, donor)
        yield "other", runs.right(site, other)
        moved = self._moved(runs, probes, host)
        yield "gradient", runs.right(site, moved)
        drawn = (seed / "random").numpy().normal(size=host.shape)
        size = np.linalg.norm(moved - host, axis=1, keepdims=True)
        yield "random", runs.right(site, (host + drawn / np.linalg.norm(drawn, axis=1, keepdims=True) * size))

    def _probes(self, texts: Programs, model: PreTrainedModel, site: str, end: int) -> list[Probe]:
        """A linear probe a feature, of the state that is reached, from the seen questions' programs."""
        states = texts.states(model, site, end)
        labels = texts.labels(self.features, (-1,), FIRST, edges=True)
        return [_linear(states, values, ~texts.test & (values >= 0)) for values in labels.values()]

    def _moved(self, runs: _Runs, probes: list[Probe], host: np.ndarray) -> np.ndarray:
        """The host's states, moved until the probes read the donor's features from them. Shape: (N, W)."""
        import torch
        from torch.nn import functional

        wanted = self.editor.trace(runs.pairs.questions, [self.editor.beginning(d) for d in runs.pairs.donor], FIRST)
        last = [wanted.features()[name][:, len(runs.pairs.donor[0]) - 1] for name in self.features]
        targets = [torch.from_numpy(values.copy()) for values in last]
        moved = torch.from_numpy(host.copy()).requires_grad_()
        rate = RATE * float(np.linalg.norm(host, axis=1).mean())
        for _ in range(STEPS):
            logits = [probe(moved) for probe in probes]
            known = [t.clamp(max=x.shape[1] - 1) for t, x in zip(targets, logits, strict=True)]
            read = torch.stack([(x.softmax(-1).gather(1, t[:, None]) > 0.95)[:, 0]
                                for x, t in zip(logits, known, strict=True)]).all(0)  # fmt: skip
            if bool(read.all()):
                break
            loss = sum(functional.cross_entropy(x, t, reduction="sum") for x, t in zip(logits, known, strict=True))
            (slope,) = torch.autograd.grad(loss, moved)  # type: ignore[arg-type]
            way = slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-9)
            with torch.no_grad():
                moved -= rate * way * (~read)[:, None]
        return moved.detach().numpy()


def _linear(states: np.ndarray, labels: np.ndarray, known: np.ndarray) -> Probe:
    """A linear probe as a function of raw states that can be differentiated."""
    import torch
    from torch.nn import functional

    inputs, targets = torch.from_numpy(np.ascontiguousarray(states[known])), torch.from_numpy(labels[known])
    centre, scale = inputs.mean(0), inputs.std(0) + 1e-6
    weight = torch.zeros(inputs.shape[1], int(targets.max()) + 1, requires_grad=True)
    bias = torch.zeros(int(targets.max()) + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        nats = functional.cross_entropy((inputs - centre) / scale @ weight + bias, targets) + 1e-3 * (weight**2).sum()
        nats.backward()  # type: ignore[no-untyped-call]
        return nats

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return lambda x: (x - centre) / scale @ weight.detach() + bias.detach()


@dataclass(frozen=True, eq=False)
class _Runs:
    """The pairs' texts run through the model, with hidden states read or put in."""

    model: PreTrainedModel
    corpus: Corpus
    editor: Editor
    pairs: Pairs

    def texts(self, which: str) -> list[np.ndarray]:
        """Prompt and beginning as tokens behind an end token: of the hosts, the donors, or the donors' words after
        the next pair's prompt.
        """
        questions, begun = self.pairs.questions, self.pairs.host if which == "host" else self.pairs.donor
        if which == "other":
            questions = questions[1:] + questions[:1]
        tokenizer, end = self.corpus.tokenizer, self.corpus.end
        prompts = tokenizer.encode_batch([q.prompt for q in questions], add_special_tokens=False)
        words = tokenizer.encode_batch([self.editor.beginning(b) for b in begun], add_special_tokens=False)
        tails = [self._until_predicting(np.array(w.ids)) for w in words]
        return [np.array([end, *p.ids, *t]) for p, t in zip(prompts, tails, strict=True)]

    def _until_predicting(self, tokens: np.ndarray) -> list[int]:
        """The tokens, and where a word begins with one that all words share, that one too: the next one is chosen."""
        first = self.editor.operations(self.corpus.tokenizer, tokens)[0]
        return [*tokens.tolist(), *tokens[:first].tolist()]

    def states(self, site: str, which: str) -> np.ndarray:
        """Hidden states of the last positions. Shape: (N, W)."""
        from nosce.models.hooks import watched

        found = []
        with watched(self.model, [site]) as seen:
            for tokens, places in self._batches(which):
                self._logits(tokens, places, None, None)
                found.append(seen[site][np.arange(len(tokens)), places].float().numpy())
        return np.concatenate(found)

    def right(self, site: str | None, states: np.ndarray | None) -> np.ndarray:
        """Is the hosts' next word right from the donor's state, these states in their last positions? (N,), bool."""
        words = sorted({word for ways in self.pairs.right for word in ways})
        ids = {word: self._id(word) for word in words}
        said = []
        first = 0
        for tokens, places in self._batches("host"):
            part = None if states is None else states[first : first + len(tokens)]
            said.append(self._logits(tokens, places, site, part).argmax(-1).numpy())
            first += len(tokens)
        chosen = np.concatenate(said)
        return np.array([token in {ids[w] for w in ways} for token, ways in zip(chosen, self.pairs.right, strict=True)])

    def _id(self, word: str) -> int:
        if not word:
            return self.corpus.end
        tokens = np.array(self.corpus.tokenizer.encode(self.editor.beginning((word,)), add_special_tokens=False).ids)
        return int(tokens[self.editor.operations(self.corpus.tokenizer, tokens)[0]])

    def _batches(self, which: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Texts padded behind, and the places of their last tokens."""
        texts = self.texts(which)
        for first in range(0, len(texts), ROWS):
            part = texts[first : first + ROWS]
            padded = np.full((len(part), max(map(len, part))), self.corpus.end)
            for row, text in enumerate(part):
                padded[row, : len(text)] = text
            yield padded, np.array([len(text) - 1 for text in part])

    def _logits(
        self, tokens: np.ndarray, places: np.ndarray, site: str | None, states: np.ndarray | None
    ) -> torch.Tensor:
        """Logits behind the last tokens. Shape: (B, V)."""
        import torch

        from nosce.models.hooks import replaced

        where = (np.arange(len(tokens)), places)
        with torch.no_grad(), replaced(self.model, site, where, states):
            hidden = self.model.base_model(input_ids=torch.from_numpy(tokens), use_cache=False).last_hidden_state
            return self.model.get_output_embeddings()(hidden[where])  # type: ignore[no-any-return]
