"""The batch of a step as a function of seed and step, so that resuming needs no loader's state.

Texts come in an endless order: a fresh shuffle of all of them every epoch. Step s takes the next
`batch_size` texts of it and packs them into rows. So what a model had seen after any step is known
exactly, without having counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from nosce.data.packing import TokenDataset, best_fit_pack
from nosce.errors import SpecError
from nosce.seeds import Seed

IGNORE_INDEX = -100  # the label on which no loss is taken, as in torch


class EpochSampler:
    """The endless order of `n_texts` things, `batch_size` a step: a new permutation every epoch."""

    def __init__(self, n_texts: int, batch_size: int, seed: Seed) -> None:
        if batch_size < 1 or n_texts < 1:
            raise SpecError(f"a batch of {batch_size} out of {n_texts} texts holds nothing; take at least one of each.")
        self.n_texts, self.batch_size, self.seed = n_texts, batch_size, seed
        self._permutations: dict[int, np.ndarray] = {}

    def epoch_permutation(self, epoch_index: int) -> np.ndarray:
        """The permutation of one epoch; the last two are remembered, as a step may straddle them."""
        if epoch_index not in self._permutations:
            if len(self._permutations) >= 2:
                self._permutations.pop(min(self._permutations))
            self._permutations[epoch_index] = (self.seed / "epoch" / epoch_index).numpy().permutation(self.n_texts)
        return self._permutations[epoch_index]

    def batch_indices(self, step: int) -> np.ndarray:
        """The texts of one step, in order."""
        return self.indices_between(step * self.batch_size, (step + 1) * self.batch_size)

    def indices_between(self, first: int, last: int) -> np.ndarray:
        """Places `first` to `last` (excluded) of the endless order."""
        parts = [np.zeros(0, dtype=np.int64)]
        while first < last:
            epoch, within = divmod(first, self.n_texts)
            indices = self.epoch_permutation(epoch)[within : within + last - first]
            parts.append(indices)
            first += len(indices)
        return np.concatenate(parts)

    def exposures(self, steps: int) -> np.ndarray:
        """How often each text was met in the first `steps` steps. Shape: (texts,)."""
        return self.exposures_in(steps * self.batch_size)

    def exposures_in(self, positions: int) -> np.ndarray:
        """How often each text stands in the first `positions` places. Shape: (texts,)."""
        full_epochs, rest = divmod(positions, self.n_texts)
        counts = np.full(self.n_texts, full_epochs, dtype=np.int64)
        if rest:
            counts[self.epoch_permutation(full_epochs)[:rest]] += 1
        return counts


def second_source_count(positions: int, share: float, start: int = 0) -> int:
    """How many of so many texts come from the second of two mixed orders, which joins in after so many texts."""
    return int(max(0, positions - start) * Fraction(share).limit_denominator(10_000))


class MixtureSampler:
    """Two endless orders side by side: of every `batch_size` texts, from `start_step` on, a share is of the second.

    Each order has epochs of its own, so that what the second holds is met as often as the share says, however few
    texts it has. Its texts are numbered behind those of the first. Over any number of steps the share is exact to
    within one text.
    """

    def __init__(
        self, n_first: int, n_second: int, batch_size: int, second_share: float, seed: Seed, *, start_step: int = 0
    ) -> None:
        if not 0 < second_share < 1 or start_step < 0:
            raise SpecError(
                f"a share of {second_share} after {start_step} steps mixes nothing; take one between 0 and 1, and no "
                "step below 0."
            )
        self.first_sampler, self.second_sampler = (
            EpochSampler(n_first, batch_size, seed / "first"),
            EpochSampler(n_second, batch_size, seed / "second"),
        )
        self.batch_size, self.second_share, self.start_step = batch_size, second_share, start_step

    def batch_indices(self, step: int) -> np.ndarray:
        """The texts of one step: those of the first order, then those of the second."""
        before, after = self.second_count(step), self.second_count(step + 1)
        texts = self.first_sampler.indices_between(
            step * self.batch_size - before, (step + 1) * self.batch_size - after
        )
        return np.concatenate([texts, self.first_sampler.n_texts + self.second_sampler.indices_between(before, after)])

    def second_count(self, steps: int) -> int:
        """How many texts of the second order there are in so many steps."""
        return second_source_count(steps * self.batch_size, self.second_share, self.start_step * self.batch_size)

    def exposures(self, steps: int) -> np.ndarray:
        """How often each text was met in the first `steps` steps. Shape: (texts of both,)."""
        n_second = self.second_count(steps)
        return np.concatenate(
            [
                self.first_sampler.exposures_in(steps * self.batch_size - n_second),
                self.second_sampler.exposures_in(n_second),
            ]
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Stretches of text one behind the other, none of which sees another: N positions, S stretches.

    Nothing is padded: what has no token is not computed. `labels` stand one position before the token
    they name, or where words were masked (`nosce.data.masking`) at its own; tokens that carry no loss are
    `IGNORE_INDEX`. Stretches come longest first.
    """

    inputs: np.ndarray  # (N,) int64
    labels: np.ndarray  # (N,) int64
    lengths: np.ndarray  # (S,) int64, positions of each stretch; they sum to N
    weights: np.ndarray | None = None  # (N,) float32, of each label's loss; None: all alike
    prompt_len: np.ndarray | None = (
        None  # (S,) leading tokens of each stretch that are given; None: of rows of many texts
    )

    @property
    def n_loss_tokens(self) -> int:
        """How many labels carry loss."""
        return int((self.labels != IGNORE_INDEX).sum())

    @property
    def total_weight(self) -> float:
        """The sum of the labels' weights, by which a summed loss becomes a mean."""
        return self.n_loss_tokens if self.weights is None else float(self.weights.sum(dtype=np.float64))

    @property
    def positions(self) -> np.ndarray:
        """The place of each token within its stretch. Shape: (N,)."""
        return concatenated_aranges(self.lengths)

    def split(self, n_parts: int) -> list[Batch]:
        """The same stretches in at most `n_parts` batches, as equal as dealing them out in turn makes them."""
        starts = np.cumsum(self.lengths) - self.lengths
        sequence_groups = [
            np.arange(first, len(self.lengths), n_parts) for first in range(min(n_parts, len(self.lengths)))
        ]
        if len(sequence_groups) == 1:
            return [self]
        token_indices = [
            concatenated_aranges(self.lengths[mine]) + np.repeat(starts[mine], self.lengths[mine])
            for mine in sequence_groups
        ]
        return [
            Batch(
                self.inputs[w],
                self.labels[w],
                self.lengths[mine],
                None if self.weights is None else self.weights[w],
                None if self.prompt_len is None else self.prompt_len[mine],
            )
            for w, mine in zip(token_indices, sequence_groups, strict=True)
        ]


def concatenated_aranges(lengths: np.ndarray) -> np.ndarray:
    """0 … n-1 for each length n, one behind the other."""
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
    """The chosen texts, each as a stretch of its own, or several in a row of at most `window` positions.

    Every stretch opens with `eos_id`, so that the first token of a text is predicted too. What is given and not
    counted has labels where `prompt_loss_weight` is not zero, and loss of that weight.
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
    inputs = np.roll(tokens, 1)
    inputs[np.cumsum(row_lengths) - row_lengths] = eos_id
    loss_mask = sequences.loss_mask[token_indices]
    prompt_len = sequences.prompt_len[texts] if window is None else None
    if prompt_loss_weight and not loss_mask.all():
        return Batch(
            inputs, tokens, row_lengths, np.where(loss_mask, 1.0, prompt_loss_weight).astype(np.float32), prompt_len
        )
    return Batch(inputs, np.where(loss_mask, tokens, IGNORE_INDEX), row_lengths, prompt_len=prompt_len)


def length_sorted_batches(texts: Sequence[int], lengths: np.ndarray, max_positions: int) -> Iterator[list[int]]:
    """Texts of like length together, longest first, as many at once as `max_positions` hold; one at least.

    Args:
        lengths: Tokens of every text, by its number.
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
