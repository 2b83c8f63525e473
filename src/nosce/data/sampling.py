"""The batch of a step as a function of seed and step, so that resuming needs no loader's state.

Texts come in an endless order: a fresh shuffle of all of them every epoch. Step s takes the next
`batch` texts of it and packs them into rows. So what a model had seen after any step is known
exactly, without having counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from nosce.data.packing import Sequences, rows_of
from nosce.errors import SpecError
from nosce.seeds import Seed

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
        parts = [np.zeros(0, dtype=np.int64)]
        while first < last:
            epoch, within = divmod(first, self.texts)
            taken = self.epoch(epoch)[within : within + last - first]
            parts.append(taken)
            first += len(taken)
        return np.concatenate(parts)

    def counts(self, steps: int) -> np.ndarray:
        """How often each text was met in the first `steps` steps. Shape: (texts,)."""
        return self.met(steps * self.batch)

    def met(self, places: int) -> np.ndarray:
        """How often each text stands in the first `places` places. Shape: (texts,)."""
        whole, rest = divmod(places, self.texts)
        counts = np.full(self.texts, whole, dtype=np.int64)
        if rest:
            counts[self.epoch(whole)[:rest]] += 1
        return counts


def seconds_met(places: int, share: float, after: int = 0) -> int:
    """How many of so many texts come from the second of two mixed orders, which joins in after so many texts."""
    return int(max(0, places - after) * Fraction(share).limit_denominator(10_000))


class Mixed:
    """Two endless orders side by side: of every `batch` texts, from step `after` on, a share comes from the second.

    Each order has epochs of its own, so that what the second holds is met as often as the share says, however few
    texts it has. Its texts are numbered behind those of the first. Over any number of steps the share is exact to
    within one text.
    """

    def __init__(self, first: int, second: int, batch: int, share: float, seed: Seed, *, after: int = 0) -> None:
        if not 0 < share < 1 or after < 0:
            raise SpecError(
                f"a share of {share} after {after} steps mixes nothing; take one between 0 and 1, and no step below 0."
            )
        self.one, self.other = Order(first, batch, seed / "first"), Order(second, batch, seed / "second")
        self.batch, self.share, self.after = batch, share, after

    def step(self, step: int) -> np.ndarray:
        """The texts of one step: those of the first order, then those of the second."""
        before, after = self.seconds(step), self.seconds(step + 1)
        texts = self.one.between(step * self.batch - before, (step + 1) * self.batch - after)
        return np.concatenate([texts, self.one.texts + self.other.between(before, after)])

    def seconds(self, steps: int) -> int:
        """How many texts of the second order there are in so many steps."""
        return seconds_met(steps * self.batch, self.share, self.after * self.batch)

    def counts(self, steps: int) -> np.ndarray:
        """How often each text was met in the first `steps` steps. Shape: (texts of both,)."""
        second = self.seconds(steps)
        return np.concatenate([self.one.met(steps * self.batch - second), self.other.met(second)])


@dataclass(frozen=True, slots=True)
class Batch:
    """Stretches of text one behind the other, none of which sees another: N positions, S stretches.

    Nothing is padded: what has no token is not computed. `labels` stand one position before the token
    they name, or where words were masked (`nosce.data.masking`) at its own; tokens that carry no loss are
    `IGNORED`. Stretches come longest first.
    """

    inputs: np.ndarray  # (N,) int64
    labels: np.ndarray  # (N,) int64
    lengths: np.ndarray  # (S,) int64, positions of each stretch; they sum to N
    weights: np.ndarray | None = None  # (N,) float32, of each label's loss; None: all alike
    given: np.ndarray | None = None  # (S,) leading tokens of each stretch that are given; None: of rows of many texts

    @property
    def counted(self) -> int:
        """How many labels carry loss."""
        return int((self.labels != IGNORED).sum())

    @property
    def weight(self) -> float:
        """The sum of the labels' weights, by which a summed loss becomes a mean."""
        return self.counted if self.weights is None else float(self.weights.sum(dtype=np.float64))

    @property
    def positions(self) -> np.ndarray:
        """The place of each token within its stretch. Shape: (N,)."""
        return aranges(self.lengths)

    def parts(self, count: int) -> list[Batch]:
        """The same stretches in at most `count` batches, as equal as dealing them out in turn makes them."""
        starts = np.cumsum(self.lengths) - self.lengths
        dealt = [np.arange(first, len(self.lengths), count) for first in range(min(count, len(self.lengths)))]
        if len(dealt) == 1:
            return [self]
        where = [aranges(self.lengths[mine]) + np.repeat(starts[mine], self.lengths[mine]) for mine in dealt]
        return [
            Batch(
                self.inputs[w],
                self.labels[w],
                self.lengths[mine],
                None if self.weights is None else self.weights[w],
                None if self.given is None else self.given[mine],
            )
            for w, mine in zip(where, dealt, strict=True)
        ]


def aranges(lengths: np.ndarray) -> np.ndarray:
    """0 … n-1 for each length n, one behind the other."""
    ends = np.cumsum(lengths)
    counted: np.ndarray = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    return counted


def pack(
    sequences: Sequences,
    chosen: Sequence[int] | np.ndarray,
    *,
    window: int | None,
    end: int,
    given_weight: float = 0.0,
) -> Batch:
    """The chosen texts, each as a stretch of its own, or several in a row of at most `window` positions.

    Every stretch opens with `end`, so that the first token of a text is predicted too. What is given and not
    counted has labels where `given_weight` is not zero, and loss of that weight.
    """
    chosen = np.asarray(chosen)
    lengths = sequences.lengths[chosen]
    rows = [[i] for i in range(len(chosen))] if window is None else rows_of(lengths.tolist(), window)
    rows.sort(key=lambda row: -int(lengths[row].sum()))
    places = np.concatenate([np.asarray(row) for row in rows])
    texts, sizes = chosen[places], lengths[places]
    where = aranges(sizes) + np.repeat(sequences.offsets[texts], sizes)
    tokens = sequences.tokens[where].astype(np.int64)
    stretches = np.array([int(lengths[row].sum()) for row in rows], dtype=np.int64)
    inputs = np.roll(tokens, 1)
    inputs[np.cumsum(stretches) - stretches] = end
    counted = sequences.counted[where]
    given = sequences.given[texts] if window is None else None
    if given_weight and not counted.all():
        return Batch(inputs, tokens, stretches, np.where(counted, 1.0, given_weight).astype(np.float32), given)
    return Batch(inputs, np.where(counted, tokens, IGNORED), stretches, given=given)


def by_length(texts: Sequence[int], lengths: np.ndarray, positions: int) -> Iterator[list[int]]:
    """Texts of like length together, longest first, as many at once as `positions` hold; one at least.

    Args:
        lengths: Tokens of every text, by its number.
    """
    batch: list[int] = []
    held = 0
    for text in sorted(texts, key=lambda t: (-int(lengths[t]), t)):
        if batch and held + int(lengths[text]) > positions:
            yield batch
            batch, held = [], 0
        batch.append(text)
        held += int(lengths[text])
    if batch:
        yield batch
