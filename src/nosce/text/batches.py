"""The batch of a step as a function of seed and step, so that resuming needs no loader's state.

Texts come in an endless order: a fresh shuffle of all of them every epoch. Step s takes the next
`batch` texts of it and packs them into rows. So what a model had seen after any step is known
exactly, without having counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nosce.errors import SpecError
from nosce.seeds import Seed
from nosce.text.packing import Sequences, rows_of

IGNORED = -100  # the label on which no loss is taken, as in torch


class Order:
    """The endless order of `texts` things, `batch` a step: a new permutation every epoch."""

    def __init__(self, texts: int, batch: int, seed: Seed) -> None:
        if batch < 1 or texts < 1:
            raise SpecError(f"a batch of {batch} out of {texts} texts holds nothing; take at least one of each.")
        self.texts, self.batch, self.seed = texts, batch, seed
        self._epochs: dict[int, np.ndarray] = {}

    def epoch(self, number: int) -> np.ndarray:
        """The permutation of one epoch; the last two are remembered, as a step may straddle them."""
        if number not in self._epochs:
            if len(self._epochs) >= 2:
                self._epochs.pop(min(self._epochs))
            self._epochs[number] = (self.seed / "epoch" / number).numpy().permutation(self.texts)
        return self._epochs[number]

    def step(self, step: int) -> np.ndarray:
        """The texts of one step, in order."""
        return self.between(step * self.batch, (step + 1) * self.batch)

    def between(self, first: int, last: int) -> np.ndarray:
        """Places `first` to `last` (excluded) of the endless order."""
        parts = []
        while first < last:
            epoch, within = divmod(first, self.texts)
            taken = self.epoch(epoch)[within : within + last - first]
            parts.append(taken)
            first += len(taken)
        return np.concatenate(parts)

    def counts(self, steps: int) -> np.ndarray:
        """How often each text was met in the first `steps` steps. Shape: (texts,)."""
        whole, rest = divmod(steps * self.batch, self.texts)
        counts = np.full(self.texts, whole, dtype=np.int64)
        if rest:
            counts[self.epoch(whole)[:rest]] += 1
        return counts


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to predict: `inputs` at positions 0..T-1 and the `labels` that follow them. Shape: (B, T)."""

    inputs: np.ndarray
    labels: np.ndarray

    @property
    def counted(self) -> int:
        """How many labels carry loss."""
        return int((self.labels != IGNORED).sum())


def pack(sequences: Sequences, chosen: Sequence[int] | np.ndarray, *, window: int, end: int) -> Batch:
    """The chosen texts in as few rows as best fit needs, cut to the longest row.

    Labels stand one position before the token they name; empty places and uncounted tokens are
    `IGNORED`. An empty place holds `end`, which a causal model cannot look back from.
    """
    lengths = sequences.lengths[chosen]
    rows = rows_of(lengths.tolist(), window)
    width = max(int(lengths[row].sum()) for row in rows)
    inputs = np.full((len(rows), width), end, dtype=np.int64)
    labels = np.full((len(rows), width), IGNORED, dtype=np.int64)
    for number, row in enumerate(rows):
        at = 0
        for index in row:
            text, counted = sequences.text(chosen[index]), sequences.mask(chosen[index])
            stop = at + len(text)
            labels[number, at:stop] = np.where(counted, text, IGNORED)
            inputs[number, at + 1 : stop + 1] = text[: width - 1 - at]
            at = stop
    return Batch(inputs, labels)
