"""A jump, taken apart: how much of its steepness comes from the metric, few items, kinds of items and groups of seeds.

Steepness is the share of a score's whole rise that lies within the quarter of log size where the sharp score rises
most; an even rise has a quarter there. What a curve has above that is divided among four causes, each undone by another
curve:

    metric       the continuous score in place of the sharp one
    resolution   as if there were endlessly many items (the bootstrap's bias taken off)
    items        each of two kinds of items, easy and hard before the jump, rises and never sags, so that no sag hides
                 a rise of the other
    seeds        the share of seeds in the better of two groups is the same at every size

Every subset of causes is undone, and each cause gets its mean effect over all orders (Shapley 1953). What is left when
all are undone is the ability's own.

Source: the causes are those of Schaeffer et al. 2023 (arXiv:2304.15004, section 2), of arXiv:2410.01692 (kinds of
items) and of arXiv:2502.17356 (groups of seeds); the decomposition is ours.
Letters: D draws, S seeds, K kinds of items, J sizes, N items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import numpy as np

from nosce.analysis.emergence.jumps import JUMP_WINDOW, isotonic_fit, rise_shape
from nosce.analysis.emergence.scores import CountOutcomes, ItemOutcomes
from nosce.analysis.emergence.seed_mixture import MIN_SEEDS, single_group_p_value
from nosce.analysis.emergence.test import MAX_LINK_DRIFT, MIN_SHARP_RISE
from nosce.analysis.stats.arrays import BoolArray, FloatArray, IntArray
from nosce.seeds import Seed

JumpCause = Literal["metric", "resolution", "items", "seeds"]
JUMP_CAUSES: tuple[JumpCause, ...] = get_args(JumpCause)
SHARE_DRAWS = 200
MAX_SINGLE_GROUP_P = 0.05  # corrected for the number of sizes; above it the seeds are one group
MIN_MIXED_SIZES = 2  # with seeds of both groups; at one alone the seeds may jump together, and it lies in the midst
MIN_KIND_ITEMS = 20  # items of a kind; with fewer all items are of one


@dataclass(frozen=True)
class JumpShares:
    """The steepness of a jump, divided among its causes.

    Args:
        steepness: Share of the sharp score's rise within its steepest quarter.
        shares: Cause -> its share of the steepness above an even rise, and "ability" -> what is left; they sum to 1.
        low: Lower ends of 95 % ranges over resampled items.
        high: Upper ends likewise.
        untested: Cause -> why it could not be looked at; its share is 0.
        is_metric_linked: Whether one link holds at every size; if not, the metric's share is not explained by it.
    """

    steepness: float
    shares: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    untested: dict[str, str]
    is_metric_linked: bool


def jump_shares(outcomes: ItemOutcomes | CountOutcomes, seed: Seed, *, draws: int = SHARE_DRAWS) -> JumpShares | None:
    """Take the jump of a sharp score apart; None where the score rises evenly or hardly at all.

    Args:
        outcomes: The outcomes of items, or their counts.
        seed: The source of all random draws.
        draws: Resamplings of items.
    """
    logs = np.log10(outcomes.sizes)
    sharp = outcomes.means()[0]
    shape = rise_shape(sharp.mean(0), logs)
    if float(shape.rise[0]) < MIN_SHARP_RISE or not bool(shape.is_jump[0]):
        return None
    untested = _untested(outcomes, seed)
    half = JUMP_WINDOW * float(logs[-1] - logs[0]) / 2
    window = (float(shape.window_log_size[0]) - half, float(shape.window_log_size[0]) + half)
    kinds = _kinds(outcomes, logs, window[0]) if "items" not in untested else None
    groups = _better_seeds(sharp) if "seeds" not in untested else None
    curves = _Curves(outcomes, logs, window, kinds, groups)
    observed, drawn = curves.observed(), curves.drawn(seed / "shares", draws)
    value = _divided(lambda undone: _steepness_without(undone, observed, drawn, curves, untested)[0])
    over_draws = _divided(lambda undone: _steepness_without(undone, observed, drawn, curves, untested)[1])
    low, high = _ranges(over_draws)
    return JumpShares(
        steepness=float(shape.window_share[0]),
        shares={cause: float(share[0]) for cause, share in value.items()},
        low=low,
        high=high,
        untested=untested,
        is_metric_linked=_is_linked(outcomes, seed, float(shape.rise[0])),
    )


def jump_share_rows(shares: JumpShares | None) -> list[tuple[str, str]]:
    """The division in words: what a number is, and the number."""
    if shares is None:
        return [("the jump, taken apart", "there is none")]
    rows = [
        ("the jump, taken apart", f"of the {shares.steepness:.0%} in the steepest quarter, what is above an even 25%:")
    ]
    labels = {
        "metric": "the metric" if shares.is_metric_linked else "the metric, though no one link holds",
        "resolution": "too few items",
        "items": "kinds of items that cancel",
        "seeds": "seeds that change groups",
        "ability": "the ability's own",
    }
    for cause, label in labels.items():
        if cause in shares.untested:
            rows.append((f"  {label}", f"not known: {shares.untested[cause]}"))
            continue
        share, low, high = (_whole_percent(ends[cause]) for ends in (shares.shares, shares.low, shares.high))
        rows.append((f"  {label}", f"{share} % [{low}, {high}]"))
    return rows


def _whole_percent(value: float) -> int:
    return round(100 * value)


def _untested(outcomes: ItemOutcomes | CountOutcomes, seed: Seed) -> dict[str, str]:
    """Cause -> why it cannot be looked at."""
    reasons = {}
    n_correct, n_total = outcomes.counts
    if outcomes.continuous is None:
        reasons["metric"] = "there is no continuous score"
    if isinstance(outcomes, CountOutcomes):
        reasons["items"] = "counts have no items"
    elif outcomes.sharp.shape[2] < 2 * MIN_KIND_ITEMS:
        reasons["items"] = f"fewer than {2 * MIN_KIND_ITEMS} items"
    if len(n_correct) < MIN_SEEDS:
        reasons["seeds"] = f"fewer than {MIN_SEEDS} seeds"
        return reasons
    p_values = []
    for size_index in range(n_correct.shape[1]):
        group_seed = seed / "groups" / size_index
        p_values.append(single_group_p_value(n_correct[:, size_index], n_total[:, size_index], group_seed))
    n_better = _better_seeds(n_correct / n_total).sum(0)
    if min(p_values) * len(p_values) > MAX_SINGLE_GROUP_P:
        reasons["seeds"] = "the seeds form one group"
    elif ((n_better > 0) & (n_better < len(n_correct))).sum() < MIN_MIXED_SIZES:
        reasons["seeds"] = f"fewer than {MIN_MIXED_SIZES} sizes have seeds of both groups"
    return reasons


def _kinds(outcomes: ItemOutcomes | CountOutcomes, logs: FloatArray, window_start: float) -> IntArray | None:
    """0 for the harder half of the items by the sizes before the jump, 1 for the easier half. Shape: (N,)."""
    assert isinstance(outcomes, ItemOutcomes)
    table = outcomes.sharp if outcomes.continuous is None else outcomes.continuous
    before = logs <= window_start
    if before.sum() < 2:
        return None
    ease = table[:, before].mean((0, 1))
    return np.asarray(np.argsort(np.argsort(ease, kind="stable"), kind="stable") >= len(ease) // 2).astype(np.int64)


def _better_seeds(sharp: FloatArray) -> BoolArray:
    """Which seeds are in the better of two groups at each size, cut half-way between all scores. Shape: (S, J)."""
    better: BoolArray = sharp > (sharp.min() + sharp.max()) / 2
    return better


class _Curves:
    """Mean curves by seed and kind of items of both scores, as observed and resampled."""

    def __init__(
        self,
        outcomes: ItemOutcomes | CountOutcomes,
        logs: FloatArray,
        window: tuple[float, float],
        kinds: IntArray | None,
        groups: BoolArray | None,
    ) -> None:
        self.outcomes, self.logs, self.window, self.groups = outcomes, logs, window, groups
        self.n_kinds = 1 if kinds is None else 2
        self.kinds = kinds

    def observed(self) -> dict[str, FloatArray]:
        """Score -> curves of one draw. Shapes: (1, S, K, J)."""
        if isinstance(self.outcomes, CountOutcomes):
            sharp, smooth = self.outcomes.means()
            return {name: t[None, :, None] for name, t in (("sharp", sharp), ("smooth", smooth)) if t is not None}
        return self._of_weights(np.ones((1, self.outcomes.sharp.shape[2])))

    def drawn(self, seed: Seed, draws: int) -> dict[str, FloatArray]:
        """Score -> curves of resampled items. Shapes: (D, S, K, J)."""
        rng = seed.numpy()
        if isinstance(self.outcomes, CountOutcomes):
            n_correct, n_total = self.outcomes.counts
            size = (draws, *n_total.shape)
            sharp = rng.binomial(n_total.astype(np.int64), n_correct / n_total, size=size) / n_total
            smooth = self.outcomes.continuous
            curves = {"sharp": sharp[:, :, None]}
            if smooth is not None:
                curves["smooth"] = np.broadcast_to(smooth[None, :, None], curves["sharp"].shape)
            return curves
        items = self.outcomes.sharp.shape[2]
        return self._of_weights(
            np.stack([np.bincount(rng.integers(items, size=items), minlength=items) for _ in range(draws)])
        )

    def _of_weights(self, weights: FloatArray) -> dict[str, FloatArray]:
        assert isinstance(self.outcomes, ItemOutcomes)
        seeds, sizes, items = self.outcomes.sharp.shape
        curves = {}
        for name, table in (("sharp", self.outcomes.sharp), ("smooth", self.outcomes.continuous)):
            if table is None:
                continue
            by_kind = []
            for kind in range(self.n_kinds):
                own = weights if self.kinds is None else weights * (self.kinds == kind)
                share = own / np.maximum(own.sum(1, keepdims=True), 1)
                by_kind.append((share @ table.reshape(-1, items).T).reshape(-1, seeds, sizes))
            curves[name] = np.stack(by_kind, axis=2)
        return curves

    def steepness(self, curves: dict[str, FloatArray], undone: frozenset[JumpCause]) -> tuple[FloatArray, FloatArray]:
        """Share of the rise within the jump's window and within each curve's own steepest one, causes undone. (D,)."""
        table = curves["smooth" if "metric" in undone else "sharp"]
        mixed = self._by_kinds(table.mean(1), undone)
        curve = mixed
        if "seeds" in undone and self.groups is not None:
            curve = self._by_kinds(self._fixed_groups(table), undone)
        fitted, whole = isotonic_fit(curve), isotonic_fit(mixed)
        rise = whole[:, -1] - whole[:, 0]  # with the groups as they are: without their change little may rise at all
        inside = np.array([np.diff(np.interp(self.window, self.logs, row))[0] for row in fitted])
        share = np.where(rise > 0, inside / np.where(rise > 0, rise, 1.0), 0.0)
        return share, rise_shape(curve, self.logs).window_share

    def _by_kinds(self, mean: FloatArray, undone: frozenset[JumpCause]) -> FloatArray:
        """The mean over kinds of items, each of which only rises where that cause is undone. (D, K, J) -> (D, J)."""
        if "items" in undone:
            mean = isotonic_fit(mean.reshape(-1, mean.shape[-1])).reshape(mean.shape)
        over_kinds: FloatArray = mean.mean(1)
        return over_kinds

    def _fixed_groups(self, table: FloatArray) -> FloatArray:
        """The mean curve if the same share of seeds were in the better group at every size. Shape: (D, K, J)."""
        assert self.groups is not None
        weight = float(self.groups.mean())
        return weight * self._group_mean(table, self.groups) + (1 - weight) * self._group_mean(table, ~self.groups)

    def _group_mean(self, table: FloatArray, members: BoolArray) -> FloatArray:
        """The mean of a group; where it has no seeds, that of the nearest size where it has some. Shape: (D, K, J)."""
        known = np.flatnonzero(members.any(0))
        means = np.empty((len(table), table.shape[2], table.shape[3]))
        for size in range(table.shape[3]):
            nearest = int(known[np.abs(known - size).argmin()])
            means[:, :, size] = table[..., nearest][:, members[:, nearest]].mean(1)
        return means


def _steepness_without(
    undone: frozenset[JumpCause],
    observed: dict[str, FloatArray],
    drawn: dict[str, FloatArray],
    curves: _Curves,
    untested: dict[str, str],
) -> tuple[FloatArray, FloatArray]:
    """The steepness above an even rise with causes undone, as observed (1,) and in each draw (D,)."""
    tested = frozenset(cause for cause in undone if cause not in untested)
    (value, steepest), (over_draws, steepest_drawn) = (curves.steepness(c, tested) for c in (observed, drawn))
    if "resolution" in undone:  # resampling adds to the steepest window what sampling had added
        bias = max(0.0, float(steepest_drawn.mean() - steepest[0]))
        value, over_draws = value - bias, over_draws - bias
    # Draws scatter around their own mean, which lies as far from the value as the value from the truth.
    centred = over_draws - over_draws.mean() + value[0]
    return np.maximum(value - JUMP_WINDOW, 0.0), np.maximum(centred - JUMP_WINDOW, 0.0)


def _divided(steepness: Callable[[frozenset[JumpCause]], FloatArray]) -> dict[str, FloatArray]:
    """Cause -> its mean effect over all orders, as a share of the whole; and "ability" -> what is left."""
    by_subset = {subset: steepness(subset) for subset in _subsets(JUMP_CAUSES)}
    whole = np.maximum(by_subset[frozenset()], 1e-9)
    shares: dict[str, FloatArray] = {}
    for cause in JUMP_CAUSES:
        others = tuple(other for other in JUMP_CAUSES if other != cause)
        effect = np.zeros_like(whole)
        for subset in _subsets(others):
            weight = 1 / (len(JUMP_CAUSES) * math.comb(len(others), len(subset)))
            effect = effect + weight * (by_subset[subset] - by_subset[subset | {cause}])
        shares[cause] = effect / whole
    shares["ability"] = by_subset[frozenset(JUMP_CAUSES)] / whole
    return shares


def _subsets(causes: tuple[JumpCause, ...]) -> Iterator[frozenset[JumpCause]]:
    for size in range(len(causes) + 1):
        for subset in combinations(causes, size):
            yield frozenset(subset)


def _ranges(over_draws: dict[str, FloatArray]) -> tuple[dict[str, float], dict[str, float]]:
    low, high = {}, {}
    for cause, values in over_draws.items():
        low[cause], high[cause] = (float(end) for end in np.quantile(values, [0.025, 0.975]))
    return low, high


def _is_linked(outcomes: ItemOutcomes | CountOutcomes, seed: Seed, rise: float) -> bool:
    """Whether one link from the continuous to the sharp score is off by little enough at every size."""
    predicted = outcomes.link_predictions(seed)
    if predicted is None:
        return False
    residual = outcomes.means()[0] - (predicted.mean(2) if isinstance(outcomes, ItemOutcomes) else predicted)
    return bool(np.ptp(residual.mean(0)) / rise <= MAX_LINK_DRIFT)
