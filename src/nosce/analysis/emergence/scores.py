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
import scipy

from nosce.analysis.stats.arrays import BoolArray, FloatArray, IntArray
from nosce.seeds import Seed

MAX_WEIGHTS = 4_000_000  # weights held at once
MIN_LINK_OUTCOMES = 200  # outcomes of one length, below which all lengths share a link
MAX_RESAMPLED_ITEMS = 10_000  # more items are resampled in so many random groups of equal size


@dataclass(frozen=True, eq=False)
class ItemOutcomes:
    """Outcomes of the same items at every size and seed.

    Args:
        sizes: (J,) The sizes, ascending, e.g. numbers of parameters.
        sharp: (S, J, N) The sharp scores, from 0 to 1.
        continuous: (S, J, N) The continuous scores, larger is better; None where there are none.
        target_tokens: (N,) The lengths of the targets in tokens; None where they are unknown.
        log_likelihood: Whether the continuous score is the natural log of the whole target's probability.
        chance: The mean sharp score of guessing.
    """

    sizes: FloatArray
    sharp: FloatArray
    continuous: FloatArray | None
    target_tokens: IntArray | None = None
    log_likelihood: bool = False
    chance: float = 0.0

    def single_seed(self, seed: int) -> ItemOutcomes:
        """One seed's outcomes alone."""
        smooth = None if self.continuous is None else self.continuous[[seed]]
        return replace(self, sharp=self.sharp[[seed]], continuous=smooth)

    def items(self, chosen: BoolArray) -> ItemOutcomes:
        """The outcomes of some items. Shape: (N,)."""
        smooth = None if self.continuous is None else self.continuous[:, :, chosen]
        lengths = None if self.target_tokens is None else self.target_tokens[chosen]
        return replace(self, sharp=self.sharp[:, :, chosen], continuous=smooth, target_tokens=lengths)

    @property
    def counts(self) -> tuple[FloatArray, FloatArray]:
        """The numbers of right items and of all items, each (S, J)."""
        return self.sharp.sum(2), np.full(self.sharp.shape[:2], float(self.sharp.shape[2]))

    def means(self) -> tuple[FloatArray, FloatArray | None]:
        """Both scores, each (S, J)."""
        return self.sharp.mean(2), None if self.continuous is None else self.continuous.mean(2)

    def link_predictions(self, seed: Seed) -> FloatArray | None:
        """The sharp scores that a link fitted on other items predicts from the continuous ones. Shape: (S, J, N)."""
        if self.continuous is None:
            return None
        first_half = (seed / "halves").numpy().permutation(self.sharp.shape[2]) % 2 == 0
        predictions = np.empty_like(self.sharp)
        for group in self._link_groups():
            for predicted_items in (first_half & group, ~first_half & group):
                fitted_items = ~predicted_items & group
                link = _IsotonicLink(
                    self.continuous[:, :, fitted_items].ravel(), self.sharp[:, :, fitted_items].ravel()
                )
                predictions[:, :, predicted_items] = link(self.continuous[:, :, predicted_items])
        return predictions

    def _link_groups(self) -> list[BoolArray]:
        """Items that share a link: those of a length, where there are enough and lengths differ."""
        everything = np.ones(self.sharp.shape[2], dtype=bool)
        if self.target_tokens is None or self.log_likelihood:
            return [everything]
        by_length = [self.target_tokens == n for n in np.unique(self.target_tokens)]
        enough = all(g.sum() * self.sharp.shape[0] * self.sharp.shape[1] >= 2 * MIN_LINK_OUTCOMES for g in by_length)
        return by_length if enough and all(g.sum() >= 2 for g in by_length) else [everything]

    def resampled_curves(
        self, predicted: FloatArray | None, seed: Seed, resamples: int
    ) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
        """Curves of resampled seeds and items: both scores, and what the link is off by, each (D, S, J), in parts."""
        seeds, sizes, items = self.sharp.shape
        rng = (seed / "items").numpy()
        residual = None if predicted is None else self.sharp - predicted
        tables = [self.sharp, self.continuous, residual]
        if items > MAX_RESAMPLED_ITEMS:
            tables, items = _group_means(tables, (seed / "item groups").numpy())
        chunk = max(1, MAX_WEIGHTS // items)
        for first in range(0, resamples, chunk):
            count = min(chunk, resamples - first)
            weights = rng.multinomial(items, np.full(items, 1 / items), size=count) / items
            seed_choice = (
                rng.integers(seeds, size=(count, seeds)) if seeds > 2 else np.tile(np.arange(seeds), (count, 1))
            )
            rows = np.arange(count)[:, None]
            curves = []
            for table in tables:
                if table is None:
                    curves.append(np.full((count, seeds, sizes), np.nan))
                    continue
                seed_curves = (weights @ table.reshape(-1, items).T).reshape(count, seeds, sizes)
                curves.append(seed_curves[rows, seed_choice])
            yield curves[0], curves[1], curves[2]


def _group_means(tables: list[FloatArray | None], rng: np.random.Generator) -> tuple[list[FloatArray | None], int]:
    """Tables (S, J, N) as means of random groups of items, and the number of groups.

    A mean over resampled groups varies as one over resampled items does, and takes a fraction of the time. Up to one
    group's items less one, drawn at random, are left out.
    """
    items = next(len(table[0, 0]) for table in tables if table is not None)
    group_size = -(-items // MAX_RESAMPLED_ITEMS)
    groups = items // group_size
    order = rng.permutation(items)[: groups * group_size]
    means: list[FloatArray | None] = []
    for table in tables:
        grouped = None if table is None else table[:, :, order].reshape(*table.shape[:2], groups, group_size)
        means.append(None if grouped is None else grouped.mean(3))
    return means, groups


@dataclass(frozen=True, eq=False)
class CountOutcomes:
    """Outcomes of which only counts are known. In place of seeds there are series, e.g. models over their training.

    Args:
        sizes: (J,) The sizes, ascending.
        n_correct: (S, J) Number of right items.
        n_total: (S, J) Number of items.
        continuous: (S, J) The mean continuous score, larger is better; None where there is none.
        log_likelihood: Whether the continuous score is the natural log of the whole target's probability.
        chance: The share that guessing gets right.
        continuous_stderr: (S, J) The standard error of the continuous score; None takes it as exact.
    """

    sizes: FloatArray
    n_correct: FloatArray
    n_total: FloatArray
    continuous: FloatArray | None
    log_likelihood: bool = False
    chance: float = 0.0
    continuous_stderr: FloatArray | None = None

    @property
    def counts(self) -> tuple[FloatArray, FloatArray]:
        """The numbers of right items and of all items, each (S, J)."""
        return self.n_correct, self.n_total

    def means(self) -> tuple[FloatArray, FloatArray | None]:
        """Both scores."""
        return self.n_correct / self.n_total, self.continuous

    def link_predictions(self, seed: Seed) -> FloatArray | None:
        """The sharp scores that a link predicts from the continuous ones. Shape: (S, J).

        The link is fitted on the other series. With one or two series it is fitted on the other sizes and has two
        parameters, since a free link would explain any curve.
        """
        if self.continuous is None:
            return None
        shares = self.n_correct / self.n_total
        if len(shares) > 2:
            predictions = []
            for s, own in enumerate(self.continuous):
                link = _IsotonicLink(np.delete(self.continuous, s, 0).ravel(), np.delete(shares, s, 0).ravel())
                predictions.append(link(own))
            return np.stack(predictions)
        per_series = zip(self.continuous, self.n_correct, self.n_total, strict=True)
        return np.stack([_leave_one_out_predictions(c, r, a, self.chance) for c, r, a in per_series])

    def resampled_curves(
        self, predicted: FloatArray | None, seed: Seed, resamples: int
    ) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
        """Curves of resampled series and binomial counts."""
        rng = (seed / "counts").numpy()
        shares = self.n_correct / self.n_total
        series = len(shares)
        sharp = rng.binomial(self.n_total.astype(np.int64), shares, size=(resamples, *shares.shape)) / self.n_total
        series_choice = (
            rng.integers(series, size=(resamples, series)) if series > 2 else np.tile(np.arange(series), (resamples, 1))
        )
        rows = np.arange(resamples)[:, None]
        blank = np.full(sharp.shape, np.nan)
        smooth = blank if self.continuous is None else np.broadcast_to(self.continuous, sharp.shape)
        if self.continuous_stderr is not None:
            smooth = smooth + (seed / "continuous").numpy().normal(size=sharp.shape) * self.continuous_stderr
        residual = blank if predicted is None else sharp - predicted
        yield sharp[rows, series_choice], smooth[rows, series_choice], residual[rows, series_choice]


@dataclass(frozen=True, eq=False)
class ContinuousOutcomes:
    """A continuous score alone, whose items cannot be resampled.

    Args:
        sizes: (J,) The sizes, ascending.
        continuous: (S, J) The mean score, larger is better.
    """

    sizes: FloatArray
    continuous: FloatArray


class _IsotonicLink:
    """A rising step function from continuous to sharp scores, by isotonic regression."""

    def __init__(self, continuous: FloatArray, sharp: FloatArray) -> None:
        self.at, which, counts = np.unique(continuous, return_inverse=True, return_counts=True)
        means = np.bincount(which, weights=sharp) / counts
        self.values = np.asarray(scipy.optimize.isotonic_regression(means, weights=counts).x)

    def __call__(self, continuous: FloatArray) -> FloatArray:
        found: FloatArray = np.interp(continuous, self.at, self.values)
        return found


def _leave_one_out_predictions(
    continuous: FloatArray, n_correct: FloatArray, n_total: FloatArray, chance: float
) -> FloatArray:
    """For every size the sharp score by a link of two numbers from all other sizes. Shape: (J,).

    The sharp score is a step softened in the continuous one, or in the logarithm of its negative where it is an error
    or a log-likelihood; of a logistic and a complementary log-log step the likelier one is taken. A step begins at what
    guessing gets: one that began at nothing could not follow a score that never falls below chance.
    """
    scales = [continuous, np.log(-continuous)] if (continuous < 0).all() else [continuous]
    predictions = np.empty(len(continuous))
    for left_out in range(len(continuous)):
        others = np.arange(len(continuous)) != left_out
        fits = []
        for scale in scales:
            x = (scale - scale.mean()) / (scale.std() or 1.0)
            for step in (_logistic_step, _log_log_step):
                nats, weights = _fit_link(step, x[others], n_correct[others], n_total[others], chance)
                share = float(step(weights[0] + weights[1] * x[left_out]))
                fits.append((nats, chance + (1 - chance) * share))
        predictions[left_out] = min(fits)[1]
    return predictions


def _logistic_step(z: npt.ArrayLike) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -30, 30))))


def _log_log_step(z: npt.ArrayLike) -> FloatArray:
    return np.asarray(np.exp(-np.exp(np.clip(z, -30, 30))))


def _fit_link(
    step: Callable[[FloatArray], FloatArray],
    x: FloatArray,
    n_correct: FloatArray,
    n_total: FloatArray,
    chance: float,
) -> tuple[float, FloatArray]:
    """Least nats, and the two numbers that have them, by binomial likelihood."""

    def negative(weights: FloatArray) -> float:
        p = np.clip(chance + (1 - chance) * step(weights[0] + weights[1] * x), 1e-12, 1 - 1e-12)
        return float(-(n_correct * np.log(p) + (n_total - n_correct) * np.log1p(-p)).sum())

    starts = [(0.0, slope) for slope in (-4.0, -1.0, 1.0, 4.0)]
    best = min(
        (scipy.optimize.minimize(negative, start, method="Nelder-Mead") for start in starts), key=lambda r: float(r.fun)
    )
    return float(best.fun), np.asarray(best.x)
