"""The evaluation `StateEditing`: does a model use the program state that probes read, or is the state only stored?

The same specification gets two beginnings of equal length, the host's and the donor's, which lead to two program
states. If the model continues from its state, then a hidden state edited to encode the donor's program state must make
it continue as is correct from there. There are two edits:

    swap       replaces the host's hidden state by the donor's
    gradient   moves the host's hidden state until a probe reads the donor's features from it

and three controls:

    unedited   the host's own next word
    other      a swap with the same words written for another specification: the words came along, not the state
    random     a move as far as the gradient's, in a random direction

The edited hidden state is that of the last position, at one site at a time. All earlier positions stay the host's.

A swap brings the donor's words along with its state. So that the control "other", which brings the same words with
another state, can lose, a pair may be kept only where three states need different next words: the host's, the donor's,
and the control's (`StateEditing.apart`). A model that follows its words makes donor and control right equally often.
One that follows its state makes the control wrong.

Source: the program states of Jin and Rinard 2024 (arXiv:2305.11169), who have no such test; swaps as in Vig et al. 2020
(arXiv:2004.12265), gradient edits as in Li et al. 2023 (arXiv:2210.13382).
Letters: N pairs of host and donor, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl
from tokenizers import Tokenizer

from nosce.data.corpus import Corpus
from nosce.evals.base import CheckpointCosts, MultiCheckpointEvaluation, first_sites
from nosce.evals.generation import generate_completions
from nosce.evals.patching.base import (
    Patch,
    PatchBatch,
    PatchBatching,
    PatchReader,
    SpanStates,
    capture_states,
    pair_readings,
    read_patched,
)
from nosce.evals.probing.program_states import CheckpointLoader
from nosce.evals.probing.programs import ORIGINAL_MEANING, ProgramDataset, ProgramTracer
from nosce.records import Question
from nosce.seeds import Seed
from nosce.store.spec import LATER

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

DifferentiableProbe = Callable[["torch.Tensor"], "torch.Tensor"]
"""Hidden states (N, W) -> logits of a feature's values (N, C), to be differentiated."""

GRADIENT_STEPS = 200  # of the gradient edit at most
RELATIVE_STEP_SIZE = 0.05  # of the gradient edit, as a share of the hidden states' mean norm
N_TRIED_OTHERS = 3  # specifications among which a pair looks for one under which the donor's words need another word


class ContinuationOracle(ProgramTracer, Protocol):
    """What a world knows about continuing a program from a state."""

    def correct_continuations(
        self, questions: Sequence[Question], prefixes: Sequence[Sequence[str]]
    ) -> list[frozenset[str]]:
        """The words that begin a shortest way to a correct program.

        The word "" stands for a program that is already correct. The set is empty if no correct program is near.
        """
        ...

    def written_operations(self, reply: str) -> tuple[str, ...]:
        """The words of a reply that is a program of operations alone; none of another reply."""
        ...

    def prefix_text(self, words: Sequence[str]) -> str:
        """The beginning of a program as text."""
        ...

    def shared_opening(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        """The tokens with which every word begins, e.g. an indentation."""
        ...

    def opening_positions(self, tokenizer: Tokenizer, reply: np.ndarray) -> np.ndarray:
        """Positions behind the shared opening of each word in a reply's tokens; there a hidden state is edited."""
        ...


@dataclass(frozen=True, eq=False)
class PrefixPairs:
    """Two beginnings of equal length for each of N questions. Both can be completed, and differently.

    Attributes:
        questions: One a pair.
        host_prefixes: Words of each host.
        donor_prefixes: Words of each donor.
        correct_words: Words that are correct from the donor's state and wrong from the host's.
        other_questions: The question under which the donor's words stand as the control "other"; none: the next pair's.
    """

    questions: list[Question]
    host_prefixes: list[tuple[str, ...]]
    donor_prefixes: list[tuple[str, ...]]
    correct_words: list[frozenset[str]]
    other_questions: list[Question] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Prefix:
    """A prompt and the beginning of a program as tokens after an end token; the span is the last position."""

    tokens: np.ndarray

    @property
    def span(self) -> tuple[int, int]:
        return len(self.tokens) - 1, len(self.tokens)


@dataclass(frozen=True, kw_only=True)
class StateEditing(MultiCheckpointEvaluation):
    """Edits hidden states of the last checkpoint, at each site.

    Metrics, one row a pair: `<edit>/<site>`, and `unedited`. Is the next word correct from the donor's state and wrong
    from the host's? The attribute is the number of operations written before.

    Attributes:
        oracle: The world's interpreter.
        features: Features of the program state that the gradient edit changes.
        vocabulary: Words of the donors' beginnings.
        sites: Names of `nosce.models.hooks`.
        prefix_lengths: Numbers of operations written before the edit.
        max_pairs: Pairs of each length at most.
        name: Name of the evaluation in the readings.
        apart: Keep only pairs in which host, donor and the control "other" need different next words.
    """

    oracle: ContinuationOracle
    features: tuple[str, ...]
    vocabulary: tuple[str, ...]
    sites: tuple[str, ...]
    prefix_lengths: tuple[int, ...] = (1, 2)
    max_pairs: int = 1_000
    name: str = "edits"
    apart: bool = field(default=False, metadata=LATER)

    @property
    def checkpoint_costs(self) -> CheckpointCosts:
        """Earlier checkpoints are not read."""
        return "the last alone"

    def on_shallow_model(self, layers: int) -> tuple[StateEditing, float]:
        """With the sites of the first blocks."""
        sites, times = first_sites(self.sites, layers)
        return replace(self, sites=sites), times

    def evaluate_checkpoints(
        self, checkpoints: Mapping[int, CheckpointLoader], corpus: Corpus, seed: Seed
    ) -> Iterator[pl.DataFrame]:
        """Readings of the last checkpoint."""
        step = max(checkpoints)
        model = checkpoints[step]().eval()
        completions = generate_completions(model, corpus, corpus.questions, self.oracle, constrained=True)
        locate = self.oracle.opening_positions
        programs = ProgramDataset.from_completions(self.oracle, corpus, corpus.questions, completions, locate)
        if programs is None:  # a model that writes programs of one word has no state between start and end
            return
        probes = self._fit_probes(programs, programs.hidden_states(model, self.sites, corpus.eos_id))
        replies = [completion.text for completion in completions]
        for length in self.prefix_lengths:
            pairs = self._pair_prefixes(corpus, replies, length, seed / "pairs" / length)
            if len(pairs.questions) < 2:
                continue
            entities = [question.entity for question in pairs.questions]
            tables = pair_readings(
                self.name,
                step,
                self._edit_metrics(model, corpus, pairs, probes, seed / length),
                items=[f"{entity}/{length}" for entity in entities],
                entities=entities,
                attributes=[f"after {length}"] * len(entities),
            )
            yield pl.concat(tables)

    def _pair_prefixes(self, corpus: Corpus, replies: list[str], length: int, seed: Seed) -> PrefixPairs:
        """The model's own beginnings as hosts and random ones as donors, if their continuations differ."""
        rng = seed.numpy()
        hosts, donors, questions = [], [], []
        for question, reply in zip(corpus.questions, replies, strict=True):
            if question.split == "unseen" and self.oracle.is_traceable(reply):
                written_words = self.oracle.written_operations(reply)
                if len(written_words) >= length:
                    questions.append(question)
                    hosts.append(written_words[:length])
                    donors.append(tuple(rng.choice(self.vocabulary, length).tolist()))
        from_hosts, from_donors = (self.oracle.correct_continuations(questions, some) for some in (hosts, donors))
        others = self._others_apart(questions, donors, from_donors) if self.apart else [*questions[1:], *questions[:1]]
        encoder = _PrefixEncoder(corpus, self.oracle)
        told_apart = _TellingWords(encoder, self.vocabulary)
        pairs = PrefixPairs([], [], [], [])
        for question, other, host, donor, from_host, from_donor in zip(
            questions, others, hosts, donors, from_hosts, from_donors, strict=True
        ):
            if len(pairs.questions) == self.max_pairs or not encoder.equally_long(host, donor):
                continue
            correct_words = told_apart.of(from_donor - from_host)
            is_apart = not self.apart or (other is not None and not from_donor & from_host)
            if from_host and correct_words and is_apart:
                pairs.questions.append(question)
                pairs.host_prefixes.append(host)
                pairs.donor_prefixes.append(donor)
                pairs.correct_words.append(correct_words)
                if self.apart and other is not None:
                    pairs.other_questions.append(other)
        return pairs

    def _others_apart(
        self, questions: Sequence[Question], donors: Sequence[tuple[str, ...]], from_donors: Sequence[frozenset[str]]
    ) -> list[Question | None]:
        """For each question another one, under which the donor's words need none of the same next words; None: none."""
        others: list[Question | None] = [None] * len(questions)
        for shift in range(1, min(N_TRIED_OTHERS, len(questions) - 1) + 1):
            shifted = [*questions[shift:], *questions[:shift]]
            missing = [n for n, other in enumerate(others) if other is None and from_donors[n]]
            continuations = self.oracle.correct_continuations(
                [shifted[n] for n in missing], [donors[n] for n in missing]
            )
            for index, words in zip(missing, continuations, strict=True):
                if words and not words & from_donors[index]:
                    others[index] = shifted[index]
        return others

    def _edit_metrics(
        self,
        model: PreTrainedModel,
        corpus: Corpus,
        pairs: PrefixPairs,
        probes: Mapping[str, list[DifferentiableProbe]],
        seed: Seed,
    ) -> dict[str, np.ndarray]:
        """Metric -> is the next word of each pair correct? Shape of each: (N,)."""
        batching = PatchBatching(pad=corpus.eos_id)
        encoder = _PrefixEncoder(corpus, self.oracle)
        prefixes = encoder.prefixes_by_role(pairs)
        states = {role: capture_states(model, some, self.sites, batching) for role, some in prefixes.items()}
        next_word_correct = _next_word_reader(model, encoder.first_tokens(pairs.correct_words))
        targets = self._donor_features(pairs)
        metrics = {"unedited": read_patched(model, prefixes["host"], next_word_correct, batching)}
        for site in self.sites:
            for edit, edited in _edited_states(states, probes[site], targets, site, seed / site).items():
                patched = Patch(site, "last", edited)
                metrics[f"{edit}/{site}"] = read_patched(model, prefixes["host"], next_word_correct, batching, patched)
        return metrics

    def _fit_probes(
        self, programs: ProgramDataset, states: Mapping[str, np.ndarray]
    ) -> dict[str, list[DifferentiableProbe]]:
        """By site, for each feature a linear probe of the present program state, of the seen questions' programs."""
        labels = programs.labels(self.features, (-1,), ORIGINAL_MEANING, include_final=True).values()
        probes = {}
        for site, seen in states.items():
            probes[site] = [_fit_linear_probe(seen, one, ~programs.is_test & (one >= 0)) for one in labels]
        return probes

    def _donor_features(self, pairs: PrefixPairs) -> list[np.ndarray]:
        """The value of every feature after each donor's beginning. Shape of each: (N,)."""
        replies = [self.oracle.prefix_text(prefix) for prefix in pairs.donor_prefixes]
        features = self.oracle.trace(pairs.questions, replies, ORIGINAL_MEANING).features()
        return [features[name][:, len(pairs.donor_prefixes[0]) - 1] for name in self.features]


@dataclass(frozen=True, eq=False)
class _PrefixEncoder:
    """Beginnings of programs as tokens."""

    corpus: Corpus
    oracle: ContinuationOracle
    _known: dict[tuple[str, ...], tuple[int, ...]] = field(default_factory=dict)

    def prefixes_by_role(self, pairs: PrefixPairs) -> dict[str, list[_Prefix]]:
        """The hosts, the donors, and as "other" the donors' words after another question's prompt."""
        other_questions = pairs.other_questions or pairs.questions[1:] + pairs.questions[:1]
        return {
            "host": self._encode(pairs.questions, pairs.host_prefixes),
            "donor": self._encode(pairs.questions, pairs.donor_prefixes),
            "other": self._encode(other_questions, pairs.donor_prefixes),
        }

    def first_tokens(self, words_by_pair: Sequence[frozenset[str]]) -> list[set[int]]:
        """For each pair, the tokens that begin one of its words."""
        return [{self.first_token(word) for word in words} for words in words_by_pair]

    def _encode(self, questions: Sequence[Question], prefixes: Sequence[tuple[str, ...]]) -> list[_Prefix]:
        tokenizer, end = self.corpus.tokenizer, self.corpus.eos_id
        prompts = tokenizer.encode_batch([q.prompt for q in questions], add_special_tokens=False)
        words = tokenizer.encode_batch([self.oracle.prefix_text(p) for p in prefixes], add_special_tokens=False)
        replies = [self._until_predicting(np.array(word.ids)) for word in words]
        return [_Prefix(np.array([end, *p.ids, *reply])) for p, reply in zip(prompts, replies, strict=True)]

    def _until_predicting(self, tokens: np.ndarray) -> list[int]:
        """The tokens, and any that all words begin with: the next token is the first that differs between words."""
        return [*tokens.tolist(), *self.shared_opening]

    @cached_property
    def shared_opening(self) -> tuple[int, ...]:
        """The tokens with which every word begins."""
        return self.oracle.shared_opening(self.corpus.tokenizer)

    def equally_long(self, one: Sequence[str], other: Sequence[str]) -> bool:
        """Have two beginnings equally many tokens, so that a hidden state of one may stand in the other?"""
        return len(self._tokens(tuple(one))) == len(self._tokens(tuple(other)))

    def first_token(self, word: str) -> int:
        """The first token in which a word differs from another one."""
        return self._tokens((word,))[len(self.shared_opening)] if word else self.corpus.eos_id

    def _tokens(self, words: tuple[str, ...]) -> tuple[int, ...]:
        if words not in self._known:
            encoding = self.corpus.tokenizer.encode(self.oracle.prefix_text(words), add_special_tokens=False)
            self._known[words] = tuple(encoding.ids)
        return self._known[words]


@dataclass(frozen=True, eq=False)
class _TellingWords:
    """Words of which the next token alone says that one of them is begun."""

    encoder: _PrefixEncoder
    vocabulary: tuple[str, ...]

    def of(self, correct: frozenset[str]) -> frozenset[str]:
        """The correct words whose first token begins no word that is not correct.

        If all words begin with the same token, the model chooses one token earlier whether to end, so the end is none.
        """
        candidates = correct - {""} if self.encoder.shared_opening else correct
        wrong_tokens = {self.encoder.first_token(word) for word in self.vocabulary if word not in correct}
        return frozenset(word for word in candidates if self.encoder.first_token(word) not in wrong_tokens)


def _next_word_reader(model: PreTrainedModel, correct_tokens: Sequence[set[int]]) -> PatchReader:
    """Reads whether the likeliest next token is one of the pair's correct ones."""

    def next_word_correct(batch: PatchBatch, hidden: torch.Tensor) -> np.ndarray:
        chosen = model.get_output_embeddings()(hidden[batch.positions("last")]).argmax(-1).cpu().numpy()
        pairs = zip(chosen.tolist(), batch.indices.tolist(), strict=True)
        return np.array([token in correct_tokens[index] for token, index in pairs])

    return next_word_correct


def _edited_states(
    states: Mapping[str, SpanStates],
    probes: Sequence[DifferentiableProbe],
    targets: Sequence[np.ndarray],
    site: str,
    seed: Seed,
) -> dict[str, np.ndarray]:
    """Edit -> what replaces the hosts' hidden states at a site. Shape of each: (N, W)."""
    host, donor, other = (states[role].at(site, "last") for role in ("host", "donor", "other"))
    moved = _gradient_edit(host, probes, targets)
    directions = (seed / "random").numpy().normal(size=host.shape)
    distances = np.linalg.norm(moved - host, axis=1, keepdims=True)
    random = host + directions / np.linalg.norm(directions, axis=1, keepdims=True) * distances
    return {"swap": donor, "other": other, "gradient": moved, "random": random}


def _gradient_edit(
    host: np.ndarray, probes: Sequence[DifferentiableProbe], targets: Sequence[np.ndarray]
) -> np.ndarray:
    """The hosts' states, moved until each probe reads its target. Shape: (N, W).

    Args:
        host: Hidden states. Shape: (N, W).
        probes: A probe a feature.
        targets: The values of each feature that its probe is to read, each (N,).
    """
    import torch
    from torch.nn import functional

    target_tensors = [torch.from_numpy(values.copy()) for values in targets]
    edited = torch.from_numpy(host.copy()).requires_grad_()
    step_size = RELATIVE_STEP_SIZE * float(np.linalg.norm(host, axis=1).mean())
    for _ in range(GRADIENT_STEPS):
        read_by_probe, losses = [], []
        for probe, values in zip(probes, target_tensors, strict=True):
            logits = probe(edited)
            known = values.clamp(max=logits.shape[1] - 1)  # a probe has no class for a value outside its training
            read_by_probe.append((logits.softmax(-1).gather(1, known[:, None]) > 0.95)[:, 0])
            losses.append(functional.cross_entropy(logits, known, reduction="sum"))
        is_read = torch.stack(read_by_probe).all(0)
        if bool(is_read.all()):
            break
        (gradient,) = torch.autograd.grad(reduce(torch.add, losses), edited)
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
        nats.backward()  # type: ignore[no-untyped-call]  # torch
        return nats

    optimizer.step(loss)  # type: ignore[no-untyped-call]  # torch
    return lambda x: (x - centre) / scale @ weight.detach() + bias.detach()
