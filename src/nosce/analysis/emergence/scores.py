"""Outcomes by size, as the mirage test takes them: item by item, as counts, or a continuous score alone.

Each says what it is on average, what a link learned elsewhere makes of its continuous score, and how it might have come
out with other items and seeds. A link that was free at every size would explain any curve; hence the same at all sizes,
and never fitted on the outcomes it is held against.

Letters: D draws, S seeds, J sizes, N items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import optimize

from nosce.seeds import Seed

Floats = npt.NDArray[np.float64]

CHUNK = 4_000_000  # weights held at once
LEAST_LINK = 200  # outcomes of one length, below which all lengths share a link


@dataclass(frozen=True, eq=False)
class Items:
    """Outcomes of the same items at every size and seed."""

    sizes: Floats  # (J,) ascending, e.g. parameters
    sharp: Floats  # (S, J, N) from 0 to 1
    continuous: Floats | None  # (S, J, N), larger is better
    length: npt.NDArray[np.int64] | None = None  # (N,) of the targets, e.g. in tokens
    log_likelihood: bool = False  # the continuous score is the natural log of the whole target's probability
    chance: float = 0.0  # the sharp score of guessing, on average over items

    def of_seed(self, seed: int) -> Items:
        """One seed's outcomes alone."""
        smooth = None if self.continuous is None else self.continuous[[seed]]
        return replace(self, sharp=self.sharp[[seed]], continuous=smooth)

    @property
    def counts(self) -> tuple[Floats, Floats]:
        """How many are right, and of how many, each (S, J)."""
        return self.sharp.sum(2), np.full(self.sharp.shape[:2], float(self.sharp.shape[2]))

    def means(self) -> tuple[Floats, Floats | None]:
        """Both scores, each (S, J)."""
        return self.sharp.mean(2), None if self.continuous is None else self.continuous.mean(2)

    def predicted(self, seed: Seed) -> Floats | None:
        """What a link learned on other items makes of each continuous score. Shape: (S, J, N)."""
        if self.continuous is None:
            return None
        half = (seed / "halves").numpy().permutation(self.sharp.shape[2]) % 2 == 0
        found = np.empty_like(self.sharp)
        for group in self._groups():
            for mine in (half & group, ~half & group):
                other = ~mine & group
                link = _Link(self.continuous[:, :, other].ravel(), self.sharp[:, :, other].ravel())
                found[:, :, mine] = link(self.continuous[:, :, mine])
        return found

    def _groups(self) -> list[npt.NDArray[np.bool_]]:
        """Items that share a link: those of a length, where there are enough and lengths differ."""
        everything = np.ones(self.sharp.shape[2], dtype=bool)
        if self.length is None or self.log_likelihood:
            return [everything]
        each = [self.length == n for n in np.unique(self.length)]
        enough = all(g.sum() * self.sharp.shape[0] * self.sharp.shape[1] >= 2 * LEAST_LINK for g in each)
        return each if enough and all(g.sum() >= 2 for g in each) else [everything]

    def drawn(self, predicted: Floats | None, seed: Seed, draws: int) -> Iterator[tuple[Floats, Floats, Floats]]:
        """Curves of resampled seeds and items: both scores, and what the link is off by, each (D, S, J), in parts."""
        seeds, sizes, items = self.sharp.shape
        rng = (seed / "items").numpy()
        off = None if predicted is None else self.sharp - predicted
        tables = [self.sharp, self.continuous, off]
        part = max(1, CHUNK // items)
        for first in range(0, draws, part):
            count = min(part, draws - first)
            weights = rng.multinomial(items, np.full(items, 1 / items), size=count) / items
            chosen = rng.integers(seeds, size=(count, seeds)) if seeds > 2 else np.tile(np.arange(seeds), (count, 1))
            rows = np.arange(count)[:, None]
            curves = []
            for table in tables:
                if table is None:
                    curves.append(np.full((count, seeds, sizes), np.nan))
                    continue
                whole = (weights @ table.reshape(-1, items).T).reshape(count, seeds, sizes)
                curves.append(whole[rows, chosen])
            yield curves[0], curves[1], curves[2]


@dataclass(frozen=True, eq=False)
class Counts:
    """Outcomes of which only sums are known; what are seeds for items are series here, e.g. models over training."""

    sizes: Floats  # (J,) ascending
    right: Floats  # (S, J)
    asked: Floats  # (S, J)
    continuous: Floats | None  # (S, J), larger is better; taken as known without error
    log_likelihood: bool = False
    chance: float = 0.0  # the share that guessing gets

    @property
    def counts(self) -> tuple[Floats, Floats]:
        """How many are right, and of how many."""
        return self.right, self.asked

    def means(self) -> tuple[Floats, Floats | None]:
        """Both scores."""
        return self.right / self.asked, self.continuous

    def predicted(self, seed: Seed) -> Floats | None:
        """What a link makes of each continuous score: one learned on the other series, or from the other sizes.

        With one or two series a free link would explain any curve, so that it is given a form of two numbers.
        """
        if self.continuous is None:
            return None
        shares = self.right / self.asked
        if len(shares) > 2:
            links = [_Link(np.delete(self.continuous, s, 0).ravel(), np.delete(shares, s, 0).ravel())
                     for s in range(len(shares))]  # fmt: skip
            return np.stack([link(own) for link, own in zip(links, self.continuous, strict=True)])
        told = zip(self.continuous, self.right, self.asked, strict=True)
        return np.stack([_left_out(c, r, a) for c, r, a in told])

    def drawn(self, predicted: Floats | None, seed: Seed, draws: int) -> Iterator[tuple[Floats, Floats, Floats]]:
        """Curves of resampled series and binomial counts."""
        rng = (seed / "counts").numpy()
        shares = self.right / self.asked
        series = len(shares)
        sharp = rng.binomial(self.asked.astype(np.int64), shares, size=(draws, *shares.shape)) / self.asked
        chosen = rng.integers(series, size=(draws, series)) if series > 2 else np.tile(np.arange(series), (draws, 1))
        rows = np.arange(draws)[:, None]
        blank = np.full(sharp.shape, np.nan)
        smooth = blank if self.continuous is None else np.broadcast_to(self.continuous, sharp.shape)
        off = blank if predicted is None else sharp - predicted
        yield sharp[rows, chosen], smooth[rows, chosen], off[rows, chosen]


@dataclass(frozen=True, eq=False)
class Series:
    """A continuous score alone, of which no resampling of items is known: does it break?"""

    sizes: Floats  # (J,) ascending
    continuous: Floats  # (S, J), larger is better


class _Link:
    """A rising step function from continuous to sharp scores, by isotonic regression."""

    def __init__(self, continuous: Floats, sharp: Floats) -> None:
        self.at, which, counts = np.unique(continuous, return_inverse=True, return_counts=True)
        means = np.bincount(which, weights=sharp) / counts
        self.values = np.asarray(optimize.isotonic_regression(means, weights=counts).x)

    def __call__(self, continuous: Floats) -> Floats:
        found: Floats = np.interp(continuous, self.at, self.values)
        return found


def _left_out(continuous: Floats, right: Floats, asked: Floats) -> Floats:
    """For every size the sharp score by a link of two numbers from all other sizes. Shape: (J,).

    The sharp score is a step softened in the continuous one, or in the logarithm of its negative where it is an error
    or a log-likelihood; of a logistic and a complementary log-log step the likelier one is taken.
    """
    scales = [continuous, np.log(-continuous)] if (continuous < 0).all() else [continuous]
    found = np.empty(len(continuous))
    for place in range(len(continuous)):
        others = np.arange(len(continuous)) != place
        fits = []
        for scale in scales:
            x = (scale - scale.mean()) / (scale.std() or 1.0)
            for step in (_logistic_step, _log_log_step):
                nats, weights = _fitted(step, x[others], right[others], asked[others])
                fits.append((nats, float(step(weights[0] + weights[1] * x[place]))))
        found[place] = min(fits)[1]
    return found


def _logistic_step(z: npt.ArrayLike) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -30, 30))))


def _log_log_step(z: npt.ArrayLike) -> Floats:
    return np.asarray(np.exp(-np.exp(np.clip(z, -30, 30))))


def _fitted(step: Callable[[Floats], Floats], x: Floats, right: Floats, asked: Floats) -> tuple[float, Floats]:
    """Least nats, and the two numbers that have them, by binomial likelihood."""

    def negative(weights: Floats) -> float:
        p = np.clip(step(weights[0] + weights[1] * x), 1e-12, 1 - 1e-12)
        return float(-(right * np.log(p) + (asked - right) * np.log1p(-p)).sum())

    starts = [(0.0, slope) for slope in (-4.0, -1.0, 1.0, 4.0)]
    best = min(
        (optimize.minimize(negative, start, method="Nelder-Mead") for start in starts), key=lambda r: float(r.fun)
    )
    return float(best.fun), np.asarray(best.x)
