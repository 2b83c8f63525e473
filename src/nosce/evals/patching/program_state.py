"""The read-out `StateEditing`: does a model use the state that probes read, or does it only lie there?

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
from nosce.evals.generation import generate_completions
from nosce.evals.probing.program_states import CheckpointLoader
from nosce.evals.probing.programs import ORIGINAL_MEANING, ProgramDataset, ProgramTracer
from nosce.records import Question
from nosce.seeds import Seed

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

DifferentiableProbe = Callable[["torch.Tensor"], "torch.Tensor"]
"""Hidden states (N, W) -> logits of a feature's values (N, C), to be differentiated."""

GRADIENT_STEPS, RELATIVE_STEP_SIZE = 200, 0.05  # of the gradient edit, the rate as a share of the states' size
STATE_EDITING_BATCH_SIZE = 500  # runs side by side


class ContinuationOracle(ProgramTracer, Protocol):
    """What a world knows about going on from a state."""

    def correct_continuations(
        self, questions: Sequence[Question], prefixes: Sequence[Sequence[str]]
    ) -> list[frozenset[str]]:
        """The words that begin a shortest way to a right program; "" where it is one, none where none is near."""
        ...

    def prefix_text(self, words: Sequence[str]) -> str:
        """The beginning of a program as text."""
        ...


@dataclass(frozen=True, eq=False)
class PrefixPairs:
    """Two beginnings of equal length for each of N questions, both of which can be finished, each its own way."""

    questions: list[Question]
    host_prefixes: list[tuple[str, ...]]
    donor_prefixes: list[tuple[str, ...]]
    correct_words: list[frozenset[str]]  # words that are right from the donor's state and wrong from the host's


@dataclass(frozen=True, kw_only=True)
class StateEditing:
    """Edits of the last checkpoint's hidden states, at each site.

    Readings have the metric `<edit>/<site>` (`unedited` alone) and one row a pair: is the next word right from the
    donor's state, and not from the host's? The facet is how many operations had been written.
    """

    needs_model: ClassVar[bool] = True
    oracle: ContinuationOracle
    features: tuple[str, ...]  # that the gradient makes a probe read
    vocabulary: tuple[str, ...]  # words a beginning may be made of
    sites: tuple[str, ...]
    prefix_lengths: tuple[int, ...] = (1, 2)
    max_pairs: int = 1_000  # at most, of each length
    name: str = "edits"

    def read_all(
        self, checkpoints: Mapping[int, CheckpointLoader], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint."""
        step = max(checkpoints)
        model = checkpoints[step]().eval()
        completions = generate_completions(model, corpus, corpus.questions, self.oracle, constrained=True)
        programs = ProgramDataset.from_completions(self.oracle, corpus, corpus.questions, completions)
        if programs is None:  # a model that writes programs of one word has no state between start and end
            return
        probes = {site: self._fit_probes(programs, model, site, corpus.eos_id) for site in self.sites}
        for length in self.prefix_lengths:
            pairs = self._pair_prefixes(corpus, [reply.text for reply in completions], length, seed / "pairs" / length)
            if len(pairs.questions) < 2:
                continue
            runs = _PrefixRuns(model, corpus, self.oracle, pairs)
            values_by_metric = {"unedited": runs.right(None, None)}
            for site in self.sites:
                edits = self._edits_at(runs, probes[site], site, seed / length / site)
                values_by_metric |= {f"{kind}/{site}": right for kind, right in edits}
            entities = [q.entity for q in pairs.questions]
            yield pl.concat(
                [
                    pl.DataFrame(
                        {
                            "entity": entities,
                            "item": [f"{name}/{length}" for name in entities],
                            "value": right.astype(np.float64),
                        }
                    ).with_columns(
                        evaluation=pl.lit(self.name),
                        split=pl.lit("unseen"),
                        attribute=pl.lit(f"after {length}"),
                        metric=pl.lit(metric),
                        step=pl.lit(step, pl.Int64),
                    )
                    for metric, right in values_by_metric.items()
                ]
            )

    def _pair_prefixes(self, corpus: Corpus, replies: list[str], length: int, seed: Seed) -> PrefixPairs:
        """The model's own beginnings as hosts, random ones as donors, where they are to be gone on from otherwise."""
        rng = seed.numpy()
        hosts, donors, questions = [], [], []
        for question, reply in zip(corpus.questions, replies, strict=True):
            if question.split == "unseen" and self.oracle.is_traceable(reply):
                written_words = tuple(word for word, _ in self.oracle.render_steps(question, reply)[1:])
                if len(written_words) >= length:
                    questions.append(question)
                    hosts.append(written_words[:length])
                    donors.append(tuple(rng.choice(self.vocabulary, length).tolist()))
        continuations = [self.oracle.correct_continuations(questions, begun) for begun in (hosts, donors)]
        # Where all words begin with the same token, whether to end is chosen one token earlier.
        excluded = {""} if self._words_share_first_token(corpus) else set()
        pairs = PrefixPairs([], [], [], [])
        for question, host, donor, host_continuations, donor_continuations in zip(
            questions, hosts, donors, *continuations, strict=True
        ):
            if (
                host_continuations
                and donor_continuations - host_continuations - excluded
                and len(pairs.questions) < self.max_pairs
            ):
                pairs.questions.append(question)
                pairs.host_prefixes.append(host)
                pairs.donor_prefixes.append(donor)
                pairs.correct_words.append(donor_continuations - host_continuations - excluded)
        return pairs

    def _words_share_first_token(self, corpus: Corpus) -> bool:
        encoding = corpus.tokenizer.encode(self.oracle.prefix_text(self.vocabulary[:1]), add_special_tokens=False)
        return bool(self.oracle.operation_positions(corpus.tokenizer, np.array(encoding.ids))[0])

    def _edits_at(
        self, runs: _PrefixRuns, probes: list[DifferentiableProbe], site: str, seed: Seed
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Every edit at one site: its name, and at which pairs the next word became right."""
        donor, shifted, host = (runs.states(site, which) for which in ("donor", "other", "host"))
        yield "swap", runs.right(site, donor)
        yield "other", runs.right(site, shifted)
        gradient_states = self._gradient_edit(runs, probes, host)
        yield "gradient", runs.right(site, gradient_states)
        random_directions = (seed / "random").numpy().normal(size=host.shape)
        edit_norms = np.linalg.norm(gradient_states - host, axis=1, keepdims=True)
        yield (
            "random",
            runs.right(
                site, (host + random_directions / np.linalg.norm(random_directions, axis=1, keepdims=True) * edit_norms)
            ),
        )

    def _fit_probes(
        self, programs: ProgramDataset, model: PreTrainedModel, site: str, end: int
    ) -> list[DifferentiableProbe]:
        """A linear probe a feature, of the state that is reached, from the seen questions' programs."""
        states = programs.hidden_states(model, site, end)
        labels = programs.labels(self.features, (-1,), ORIGINAL_MEANING, include_final=True)
        return [_fit_linear_probe(states, values, ~programs.is_test & (values >= 0)) for values in labels.values()]

    def _gradient_edit(self, runs: _PrefixRuns, probes: list[DifferentiableProbe], host: np.ndarray) -> np.ndarray:
        """The host's states, moved until the probes read the donor's features from them. Shape: (N, W)."""
        import torch
        from torch.nn import functional

        donor_traces = self.oracle.trace(
            runs.pairs.questions, [self.oracle.prefix_text(d) for d in runs.pairs.donor_prefixes], ORIGINAL_MEANING
        )
        donor_features = [
            donor_traces.features()[name][:, len(runs.pairs.donor_prefixes[0]) - 1] for name in self.features
        ]
        targets = [torch.from_numpy(values.copy()) for values in donor_features]
        edited = torch.from_numpy(host.copy()).requires_grad_()
        step_size = RELATIVE_STEP_SIZE * float(np.linalg.norm(host, axis=1).mean())
        for _ in range(GRADIENT_STEPS):
            logits = [probe(edited) for probe in probes]
            clamped_targets = [t.clamp(max=x.shape[1] - 1) for t, x in zip(targets, logits, strict=True)]
            is_read = torch.stack(
                [
                    (x.softmax(-1).gather(1, t[:, None]) > 0.95)[:, 0]
                    for x, t in zip(logits, clamped_targets, strict=True)
                ]
            ).all(0)
            if bool(is_read.all()):
                break
            loss = sum(
                functional.cross_entropy(x, t, reduction="sum") for x, t in zip(logits, clamped_targets, strict=True)
            )
            (gradient,) = torch.autograd.grad(loss, edited)  # type: ignore[arg-type]
            direction = gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-9)
            with torch.no_grad():
                edited -= step_size * direction * (~is_read)[:, None]
        return edited.detach().numpy()


def _fit_linear_probe(states: np.ndarray, labels: np.ndarray, train_mask: np.ndarray) -> DifferentiableProbe:
    """A linear probe as a function of raw states that can be differentiated."""
    import torch
    from torch.nn import functional

    inputs, targets = torch.from_numpy(np.ascontiguousarray(states[train_mask])), torch.from_numpy(labels[train_mask])
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
class _PrefixRuns:
    """The pairs' texts run through the model, with hidden states read or put in."""

    model: PreTrainedModel
    corpus: Corpus
    oracle: ContinuationOracle
    pairs: PrefixPairs

    def token_sequences(self, role: str) -> list[np.ndarray]:
        """Prompt and beginning as tokens behind an end token: of the hosts, the donors, or the donors' words after
        the next pair's prompt.
        """
        questions, prefixes = (
            self.pairs.questions,
            self.pairs.host_prefixes if role == "host" else self.pairs.donor_prefixes,
        )
        if role == "other":
            questions = questions[1:] + questions[:1]
        tokenizer, end = self.corpus.tokenizer, self.corpus.eos_id
        prompts = tokenizer.encode_batch([q.prompt for q in questions], add_special_tokens=False)
        words = tokenizer.encode_batch([self.oracle.prefix_text(b) for b in prefixes], add_special_tokens=False)
        tails = [self._until_predicting(np.array(w.ids)) for w in words]
        return [np.array([end, *p.ids, *t]) for p, t in zip(prompts, tails, strict=True)]

    def _until_predicting(self, tokens: np.ndarray) -> list[int]:
        """The tokens, and where a word begins with one that all words share, that one too: the next one is chosen."""
        operation_position = self.oracle.operation_positions(self.corpus.tokenizer, tokens)[0]
        return [*tokens.tolist(), *tokens[:operation_position].tolist()]

    def states(self, site: str, which: str) -> np.ndarray:
        """Hidden states of the last positions. Shape: (N, W)."""
        from nosce.models.hooks import capture

        found = []
        with capture(self.model, [site]) as seen:
            for tokens, places in self._batches(which):
                self._logits(tokens, places, None, None)
                found.append(seen[site][np.arange(len(tokens)), places].float().numpy())
        return np.concatenate(found)

    def right(self, site: str | None, states: np.ndarray | None) -> np.ndarray:
        """Is the hosts' next word right from the donor's state, these states in their last positions? (N,), bool."""
        words = sorted({word for ways in self.pairs.correct_words for word in ways})
        ids = {word: self._first_token(word) for word in words}
        said = []
        first = 0
        for tokens, places in self._batches("host"):
            part = None if states is None else states[first : first + len(tokens)]
            said.append(self._logits(tokens, places, site, part).argmax(-1).numpy())
            first += len(tokens)
        chosen = np.concatenate(said)
        return np.array(
            [token in {ids[w] for w in ways} for token, ways in zip(chosen, self.pairs.correct_words, strict=True)]
        )

    def _first_token(self, word: str) -> int:
        if not word:
            return self.corpus.eos_id
        tokens = np.array(self.corpus.tokenizer.encode(self.oracle.prefix_text((word,)), add_special_tokens=False).ids)
        return int(tokens[self.oracle.operation_positions(self.corpus.tokenizer, tokens)[0]])

    def _batches(self, which: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Texts padded behind, and the places of their last tokens."""
        texts = self.token_sequences(which)
        for first in range(0, len(texts), STATE_EDITING_BATCH_SIZE):
            part = texts[first : first + STATE_EDITING_BATCH_SIZE]
            padded = np.full((len(part), max(map(len, part))), self.corpus.eos_id)
            for row, text in enumerate(part):
                padded[row, : len(text)] = text
            yield padded, np.array([len(text) - 1 for text in part])

    def _logits(
        self, tokens: np.ndarray, places: np.ndarray, site: str | None, states: np.ndarray | None
    ) -> torch.Tensor:
        """Logits behind the last tokens. Shape: (B, V)."""
        import torch

        from nosce.models.hooks import patch

        where = (np.arange(len(tokens)), places)
        with torch.no_grad(), patch(self.model, site, where, states):
            hidden = self.model.base_model(input_ids=torch.from_numpy(tokens), use_cache=False).last_hidden_state
            return self.model.get_output_embeddings()(hidden[where])  # type: ignore[no-any-return]
