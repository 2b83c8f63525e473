"""The batch of a step as a function of seed and step, so a resumed run needs no loader state.

The texts have an endless order: a new shuffle of all texts every epoch. Step s takes the next `batch_size` texts and
packs them into rows. The texts that a model has seen at any step are therefore known exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from nosce.data.packing import StateAdditions, TokenDataset, best_fit_pack
from nosce.errors import SpecError
from nosce.seeds import Seed

IGNORE_INDEX = -100  # the label on which no loss is taken, as in torch


class EpochSampler:
    """The endless order of `n_texts` texts, `batch_size` per step, with a new permutation every epoch."""

    def __init__(self, n_texts: int, batch_size: int, seed: Seed) -> None:
        if batch_size < 1 or n_texts < 1:
            raise SpecError(f"a batch of {batch_size} out of {n_texts} texts is empty; take at least one of each.")
        self.n_texts, self.batch_size, self.seed = n_texts, batch_size, seed
        self._permutations: dict[int, np.ndarray] = {}

    def epoch_permutation(self, epoch_index: int) -> np.ndarray:
        """The permutation of one epoch. The last two are cached, because a step may lie in two epochs."""
        if epoch_index not in self._permutations:
            if len(self._permutations) >= 2:
                self._permutations.pop(min(self._permutations))
            self._permutations[epoch_index] = (self.seed / "epoch" / epoch_index).numpy().permutation(self.n_texts)
        return self._permutations[epoch_index]

    def batch_indices(self, step: int) -> np.ndarray:
        """The texts of one step, in order."""
        return self.indices_between(step * self.batch_size, (step + 1) * self.batch_size)

    def indices_between(self, first: int, last: int) -> np.ndarray:
        """The texts at positions `first` to `last` (excluded) of the endless order."""
        parts = [np.zeros(0, dtype=np.int64)]
        while first < last:
            epoch, within = divmod(first, self.n_texts)
            indices = self.epoch_permutation(epoch)[within : within + last - first]
            parts.append(indices)
            first += len(indices)
        return np.concatenate(parts)

    def exposures(self, steps: int) -> np.ndarray:
        """How often each text occurs in the first `steps` steps. Shape: (texts,)."""
        return self.exposures_in(steps * self.batch_size)

    def exposures_in(self, positions: int) -> np.ndarray:
        """How often each text occurs in the first `positions` positions. Shape: (texts,)."""
        full_epochs, rest = divmod(positions, self.n_texts)
        counts = np.full(self.n_texts, full_epochs, dtype=np.int64)
        if rest:
            counts[self.epoch_permutation(full_epochs)[:rest]] += 1
        return counts


def second_source_count(positions: int, share: float, start: int = 0) -> int:
    """The number of texts from the second source among the first `positions` texts, if it joins after `start` texts."""
    return int(max(0, positions - start) * Fraction(share).limit_denominator(10_000))


class MixtureSampler:
    """Two endless orders in one: from `start_step` on, a share of the texts of each step is of the second order.

    Each order has its own epochs, so the share alone determines how often the texts of the second order occur, however
    few they are. The texts of the second order are numbered after those of the first. The share over any number of
    steps is exact to within one text.
    """

    def __init__(
        self, n_first: int, n_second: int, batch_size: int, second_share: float, seed: Seed, *, start_step: int = 0
    ) -> None:
        if not 0 < second_share < 1 or start_step < 0:
            raise SpecError(
                f"a second share of {second_share} from step {start_step} on mixes nothing; take a share between 0 "
                "and 1, and a step of 0 or more."
            )
        self.first_sampler = EpochSampler(n_first, batch_size, seed / "first")
        self.second_sampler = EpochSampler(n_second, batch_size, seed / "second")
        self.batch_size, self.second_share, self.start_step = batch_size, second_share, start_step

    def batch_indices(self, step: int) -> np.ndarray:
        """The texts of one step: first those of the first order, then those of the second."""
        before, after = self.second_count(step), self.second_count(step + 1)
        texts = self.first_sampler.indices_between(
            step * self.batch_size - before, (step + 1) * self.batch_size - after
        )
        return np.concatenate([texts, self.first_sampler.n_texts + self.second_sampler.indices_between(before, after)])

    def second_count(self, steps: int) -> int:
        """The number of texts of the second order in the first `steps` steps."""
        return second_source_count(steps * self.batch_size, self.second_share, self.start_step * self.batch_size)

    def exposures(self, steps: int) -> np.ndarray:
        """How often each text occurs in the first `steps` steps. Shape: (texts of both orders,)."""
        n_second = self.second_count(steps)
        return np.concatenate(
            [
                self.first_sampler.exposures_in(steps * self.batch_size - n_second),
                self.second_sampler.exposures_in(n_second),
            ]
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences one after the other, which do not attend to each other: N positions, S sequences, longest first.

    There is no padding. A label is one position before its token, or for masked words (`nosce.data.masking`) at its
    position.

    Args:
        inputs: Token ids. Shape: (N,), int64.
        labels: Token ids to predict, or `IGNORE_INDEX` for no loss. Shape: (N,), int64.
        lengths: Positions of each sequence; their sum is N. Shape: (S,), int64.
        weights: Weight of each label's loss. Shape: (N,), float32. None: all weights are 1.
        prompt_len: Leading prompt tokens of each sequence. Shape: (S,). None: the sequences are rows of several texts.
        additions: What is added to hidden states, by position. None: nothing.
    """

    inputs: np.ndarray
    labels: np.ndarray
    lengths: np.ndarray
    weights: np.ndarray | None = None
    prompt_len: np.ndarray | None = None
    additions: StateAdditions | None = None

    @property
    def n_loss_tokens(self) -> int:
        """The number of labels with loss."""
        return int((self.labels != IGNORE_INDEX).sum())

    @property
    def total_weight(self) -> float:
        """The sum of the labels' weights, which turns a summed loss into a mean."""
        return self.n_loss_tokens if self.weights is None else float(self.weights.sum(dtype=np.float64))

    @property
    def positions(self) -> np.ndarray:
        """The position of each token within its sequence. Shape: (N,)."""
        return concatenated_aranges(self.lengths)

    def split(self, n_parts: int) -> list[Batch]:
        """The same sequences in at most `n_parts` batches. The sequences are dealt out in turn, so the batches have
        similar sizes.
        """
        n_batches = min(n_parts, len(self.lengths))
        if n_batches == 1:
            return [self]
        return [self._subset(np.arange(first, len(self.lengths), n_parts)) for first in range(n_batches)]

    def _subset(self, sequences: np.ndarray) -> Batch:
        """The batch of the sequences with these indices."""
        starts = np.cumsum(self.lengths) - self.lengths
        lengths = self.lengths[sequences]
        token_indices = concatenated_aranges(lengths) + np.repeat(starts[sequences], lengths)
        return Batch(
            self.inputs[token_indices],
            self.labels[token_indices],
            lengths,
            None if self.weights is None else self.weights[token_indices],
            None if self.prompt_len is None else self.prompt_len[sequences],
            None if self.additions is None else self.additions.take(token_indices),
        )


def concatenated_aranges(lengths: np.ndarray) -> np.ndarray:
    """0 … n-1 for each length n, concatenated."""
    ends = np.cumsum(lengths)
    positions: np.ndarray = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    return positions


def pack(
    sequences: TokenDataset,
    indices: Sequence[int] | np.ndarray,
    *,
    window: int | None,
    eos_id: int,
    prompt_loss_weight: float = 0.0,
) -> Batch:
    """The chosen texts, each as its own sequence, or several in a row of at most `window` positions.

    Every sequence begins with `eos_id`, so that the first token of a text is predicted too. Prompt tokens have labels,
    and a loss of this weight, only if `prompt_loss_weight` is not zero.
    """
    indices = np.asarray(indices)
    lengths = sequences.lengths[indices]
    rows = [[i] for i in range(len(indices))] if window is None else best_fit_pack(lengths.tolist(), window)
    rows.sort(key=lambda row: -int(lengths[row].sum()))
    packed_order = np.concatenate([np.asarray(row) for row in rows])
    texts, sizes = indices[packed_order], lengths[packed_order]
    token_indices = concatenated_aranges(sizes) + np.repeat(sequences.offsets[texts], sizes)
    tokens = sequences.tokens[token_indices].astype(np.int64)
    row_lengths = np.array([int(lengths[row].sum()) for row in rows], dtype=np.int64)
    inputs, first_positions = np.roll(tokens, 1), np.cumsum(row_lengths) - row_lengths
    inputs[first_positions] = eos_id
    additions = None
    if sequences.additions is not None:
        additions = sequences.additions.take(np.roll(token_indices, 1))
        additions.of_token[first_positions] = -1
    loss_mask = sequences.loss_mask[token_indices]
    prompt_len = sequences.prompt_len[texts] if window is None else None
    if prompt_loss_weight and not loss_mask.all():
        weights = np.where(loss_mask, 1.0, prompt_loss_weight).astype(np.float32)
        return Batch(inputs, tokens, row_lengths, weights, prompt_len, additions)
    labels = np.where(loss_mask, tokens, IGNORE_INDEX)
    return Batch(inputs, labels, row_lengths, prompt_len=prompt_len, additions=additions)


def length_sorted_batches(texts: Sequence[int], lengths: np.ndarray, max_positions: int) -> Iterator[list[int]]:
    """Batches of texts of similar length, longest first, of at most `max_positions` tokens but at least one text.

    Args:
        texts: Indices of the texts.
        lengths: Number of tokens of every text, by index.
        max_positions: Most tokens of a batch.
    """
    batch: list[int] = []
    n_positions = 0
    for text in sorted(texts, key=lambda t: (-int(lengths[t]), t)):
        if batch and n_positions + int(lengths[text]) > max_positions:
            yield batch
            batch, n_positions = [], 0
        batch.append(text)
        n_positions += int(lengths[text])
    if batch:
        yield batch
