"""Measures and figures beside the mirage test: how steep a curve is, whether one link holds, how good forecasts are.

Letters: S seeds, J sizes, N items, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from nosce.analysis.emergence.forecasts import FORECAST_METHOD_LABELS, MIN_FIT_SIZES, ForecastMethod, forecast_sizes
from nosce.analysis.emergence.jumps import rise_shape
from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec, pooled_scaling_curve
from nosce.analysis.emergence.scores import ItemOutcomes
from nosce.analysis.emergence.test import MIN_SHARP_RISE
from nosce.analysis.figures import Figure
from nosce.analysis.measures import RESAMPLING_SEED, Measure
from nosce.analysis.render.figure import FigureRow
from nosce.analysis.stats.arrays import FloatArray
from nosce.analysis.stats.intervals import influence_interval
from nosce.analysis.stats.ranges import NON_NEGATIVE, SHARE_RANGE, UNBOUNDED, ValueRange
from nosce.analysis.stats.seed_groups import MIN_GROUPED_SEEDS, seed_groups
from nosce.analysis.stats.time_series import mean_over_seeds
from nosce.errors import DataError
from nosce.records import Estimate
from nosce.seeds import Seed

FORECAST_SEED = RESAMPLING_SEED / "foretold"
ITEM_GROUPS = 8  # of items that are left out in turn
ERROR_DIFFERENCE_RANGE = ValueRange(-1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Steepness(Measure):
    """The largest share of its rise that a curve makes within a quarter of the range of log size.

    A straight line makes a quarter of its rise there; a half is a jump. The share is taken of each seed's curve after
    isotonic regression. Where seeds form two groups at a size, the estimate says so: there the mean curve rises by how
    many trainings learn it, which each seed's own curve shows as a jump (arXiv:2502.17356).

    Args:
        scaling: The scaling curve.
        score: Which of its scores.
    """

    scaling: ScalingCurveSpec
    score: Literal["sharp", "continuous"]

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The share, with an interval over seeds and items.

        Raises:
            DataError: Readings are missing, the curve has no continuous score, or the score of a seed hardly rises.
        """
        outcomes = self.scaling.outcomes(readings)
        table = outcomes.sharp if self.score == "sharp" else outcomes.continuous
        if table is None:
            raise DataError(f"the curve {self.scaling.id!r} has no continuous score; name one, or ask for the sharp.")
        logs = np.log10(outcomes.sizes)
        _check_rises(self.scaling.id, self.score, table, logs)
        window_shares = rise_shape(table.mean(2), logs).window_share  # (S,)
        pseudo_values = np.concatenate(_window_pseudo_values(table, logs, window_shares))
        item_names = [str(number) for _ in table for number in range(table.shape[2])]
        seeds = np.repeat(np.arange(len(table)), table.shape[2]).tolist()
        value = float(window_shares.mean())
        interval = influence_interval(value, pseudo_values, item_names, seeds, unit=unit, value_range=SHARE_RANGE)
        note = _groups_by_size(table.mean(2), outcomes.sizes, SHARE_RANGE if self.score == "sharp" else UNBOUNDED)
        return replace(interval, n=table.size, method=f"jackknifed; {interval.method}", seed_note=note)


def _check_rises(curve_id: str, score: Literal["sharp", "continuous"], table: FloatArray, logs: FloatArray) -> None:
    """Refuse a curve that hardly rises, in its mean or in one seed. Shapes: (S, J, N), (J,).

    A seed that never rises has no share of its rise: 0 would say that it rises evenly, and to leave the seed out would
    choose the seeds by their result.
    """
    _check_rise(f"the {score} score of {curve_id!r}", score, table.mean((0, 2)), logs)
    for index, curve in enumerate(table.mean(2)):
        where = f"the {score} score of {curve_id!r} in seed {index + 1} of {len(table)}, counted from 1,"
        _check_rise(where, score, curve, logs)


def _check_rise(
    what: str,
    score: Literal["sharp", "continuous"],
    curve: FloatArray,
    logs: FloatArray,
    too_little: str = "to be steep anywhere",
) -> None:
    min_rise = MIN_SHARP_RISE if score == "sharp" else 1e-9
    if (gain := float(rise_shape(curve, logs).rise[0])) < min_rise:
        raise DataError(f"{what} rises by {gain:.3g} over all sizes, which is too little {too_little}.")


def _groups_by_size(means: FloatArray, sizes: FloatArray, value_range: ValueRange) -> str:
    """At which sizes seeds form two groups, in a sentence; "" where at none. Shapes: (S, J), (J,)."""
    found = []
    for size, values in zip(sizes.tolist(), means.T.tolist(), strict=True):
        groups = seed_groups(values, value_range, comparisons=len(sizes))
        if groups is not None:
            where = f"{groups.n_low} at {groups.low:.3g} and {groups.n_high} at {groups.high:.3g}"
            found.append(f"{where} at size {size:,.0f}")
    if not found:
        return ""
    return (
        f"The seeds form two groups at {len(found)} of {len(sizes)} sizes ({'; '.join(found)}): what the mean rises by "
        "there is how many trainings learn it."
    )


def _window_pseudo_values(table: FloatArray, logs: FloatArray, window_shares: FloatArray) -> list[FloatArray]:
    """Each seed's jackknife pseudo-values (N,), one an item, of the share of the rise in the steepest window.

    Their mean is the share itself: a curve that was made monotone has kinks, at which the jackknife's estimate of a
    bias means nothing.
    """
    pseudo_values = []
    for seed, rows in enumerate(table):
        n = rows.shape[1]
        leave_one_out = rise_shape(((rows.sum(1)[:, None] - rows) / (n - 1)).T, logs).window_share
        values = n * window_shares[seed] - (n - 1) * leave_one_out
        values += window_shares[seed] - values.mean()
        pseudo_values.append(values)
    return pseudo_values


@dataclass(frozen=True, kw_only=True)
class LinkDrift(Measure):
    """How much the error of one link from the continuous to the sharp score varies over sizes.

    The drift is the range of the errors as a share of the sharp score's rise. The link is fitted to the other half of
    the items, over all sizes.

    Args:
        scaling: The scaling curve, with a continuous score.
    """

    scaling: ScalingCurveSpec

    @property
    def value_range(self) -> ValueRange:
        """0 or above."""
        return NON_NEGATIVE

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The drift, with an interval over seeds and items.

        Raises:
            DataError: Readings are missing, the curve has no continuous score, or the sharp score hardly rises.
        """
        outcomes = self.scaling.outcomes(readings)
        if outcomes.continuous is None:
            raise DataError(f"the curve {self.scaling.id!r} has no continuous score to link; name one.")
        what = f"the sharp score of {self.scaling.id!r}"  # two flat curves would be linked without any drift
        logs = np.log10(outcomes.sizes)
        _check_rise(what, "sharp", outcomes.sharp.mean((0, 2)), logs, "to be linked to another score")
        return self.interval(outcomes, unit)

    def interval(self, outcomes: ItemOutcomes, unit: str) -> Estimate:
        """The drift of outcomes with both scores, with its interval.

        Near 0, where a link holds, a drift varies by as much as elsewhere, so that on a log scale its interval would
        explode. No truth lies below 0, so to leave that out costs no coverage, and the estimate always lies inside.
        """
        logs, residual = np.log10(outcomes.sizes), outcomes.sharp - _link_predictions(outcomes)
        pseudo_values = _drift_pseudo_values(outcomes.sharp, residual, logs)
        n_seeds, _, n_items = outcomes.sharp.shape
        item_names = [str(number) for number in range(n_items)] * n_seeds
        seeds = np.repeat(np.arange(n_seeds), n_items).tolist()
        found = influence_interval(float(pseudo_values.mean()), pseudo_values, item_names, seeds, unit=unit)
        assert found.low is not None
        return replace(found, low=max(found.low, 0.0), n=outcomes.sharp.size, method=f"jackknifed; {found.method}")


def link_drift(outcomes: ItemOutcomes) -> float:
    """The range over sizes of the errors of one link between the scores, as a share of the sharp score's rise."""
    residual = outcomes.sharp - _link_predictions(outcomes)
    mean_curves = outcomes.sharp.mean((0, 2))[None], residual.mean((0, 2))[None]
    return float(_drift(*mean_curves, np.log10(outcomes.sizes))[0])


def _link_predictions(outcomes: ItemOutcomes) -> FloatArray:
    predicted = outcomes.link_predictions(RESAMPLING_SEED / "link")
    assert predicted is not None  # there is a continuous score
    return predicted


def _drift(sharp: FloatArray, residual: FloatArray, logs: FloatArray) -> FloatArray:
    """The range of the residuals as a share of the rise, for each of R curves. Shapes: (R, J)."""
    drift: FloatArray = np.ptp(residual, axis=-1) / np.maximum(rise_shape(sharp, logs).rise, 1e-9)
    return drift


def _drift_pseudo_values(sharp: FloatArray, residual: FloatArray, logs: FloatArray) -> FloatArray:
    """The jackknife's pseudo-values of the drift, one an item of a seed, seed by seed. Shapes: (S, J, N) -> (S * N,).

    Their mean is the drift, as of a window's share: a range has kinks too.
    """
    tables = [table.transpose(0, 2, 1).reshape(-1, len(logs)) for table in (sharp, residual)]
    n = len(tables[0])
    left_out = [(table.sum(0) - table) / (n - 1) for table in tables]
    value = _drift(tables[0].mean(0)[None], tables[1].mean(0)[None], logs)[0]
    values = n * value - (n - 1) * _drift(left_out[0], left_out[1], logs)
    return np.asarray(values + value - values.mean())


@dataclass(frozen=True, kw_only=True)
class ForecastSkill(Measure):
    """By how much one method's forecasts of the next size are further off than another method's.

    Each seed's sharp score at every size with enough smaller sizes is forecast from the smaller sizes of the same seed.
    The error of a forecast is its distance from the observed score, and a seed's number is the difference of the mean
    errors of both methods. A positive value means that `method` is worse than `reference`.

    The sizes are fixed: nobody drew them, so the number is about these sizes. Seeds and items are drawn; the interval
    is Student's t over seeds and, with fewer than five seeds, over items too.

    Errors are compared by their size and not by their logarithmic score, which for a few forecasts is so skewed over
    seeds that Student's t covers 90 % of a nominal 95 % (simulated with 3 to 12 seeds; errors: 94 to 96 %).

    Args:
        scaling: The scaling curve.
        method: The forecasting method.
        reference: The method that it is compared with.
    """

    scaling: ScalingCurveSpec
    method: ForecastMethod
    reference: ForecastMethod

    @property
    def is_difference(self) -> bool:
        """A difference of two distances between shares, shown in points."""
        return True

    @property
    def value_range(self) -> ValueRange:
        """-1 to 1, since each error is at most 1."""
        return ERROR_DIFFERENCE_RANGE

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference of mean errors.

        Raises:
            DataError: Readings are missing, or there are too few sizes to forecast one from the others.
        """
        outcomes = self.scaling.outcomes(readings)
        n_seeds, n_sizes, n_items = outcomes.sharp.shape
        alone = [(outcomes.single_seed(seed), FORECAST_SEED / seed) for seed in range(n_seeds)]
        per_seed = [self.seed_skill(one, seed) for one, seed in alone]
        groups: list[Sequence[float]] = []
        if n_seeds < MIN_GROUPED_SEEDS:
            groups = [self.item_values(one, full, seed) for (one, seed), full in zip(alone, per_seed, strict=True)]
        interval = self.interval(per_seed, groups, unit)
        n_forecasts = n_sizes - MIN_FIT_SIZES
        method = f"mean error at {n_forecasts} fixed sizes; {interval.method}"
        return replace(interval, n=outcomes.sharp.size, clusters=n_seeds * n_items, method=method)

    def interval(self, per_seed: Sequence[float], item_values: Sequence[Sequence[float]], unit: str) -> Estimate:
        """The interval from the number of each seed, and with fewer than five seeds from their values over items.

        Args:
            per_seed: The number of each seed.
            item_values: What `item_values` has of each seed; () with five seeds or more.
            unit: Name of the items.
        """
        if not item_values:
            return mean_over_seeds(per_seed, unit=unit, value_range=self.value_range)
        names = [str(group) for values in item_values for group in range(len(values))]
        seeds = [seed for seed, values in enumerate(item_values) for _ in values]
        pseudo_values = np.concatenate(item_values)
        value = float(np.mean(per_seed))
        return influence_interval(value, pseudo_values, names, seeds, unit=unit, value_range=self.value_range)

    def item_values(self, outcomes: ItemOutcomes, full: float, seed: Seed) -> list[float]:
        """Jackknife pseudo-values of one seed, over random groups of items that are left out in turn.

        Args:
            outcomes: The outcomes of the seed.
            full: Its number with all items.
            seed: Where its forecasts are drawn from.
        """
        groups = (FORECAST_SEED / "items").numpy().permutation(outcomes.sharp.shape[2]) % ITEM_GROUPS
        left_out = [self.seed_skill(outcomes.items(groups != group), seed) for group in range(ITEM_GROUPS)]
        # Their mean is the number itself: at kinks of a forecast the jackknife's estimate of a bias means nothing.
        return [full + (ITEM_GROUPS - 1) * (float(np.mean(left_out)) - one) for one in left_out]

    def seed_skill(self, outcomes: ItemOutcomes, seed: Seed) -> float:
        """The difference of the mean errors of one seed.

        Raises:
            DataError: There are too few sizes to forecast one from the others.
        """
        methods = (self.method, self.reference)
        forecasts = forecast_sizes(pooled_scaling_curve(outcomes), seed, methods=methods)
        errors = [[abs(f.predicted - f.observed) for f in forecasts if f.method == method] for method in methods]
        if not all(errors):
            raise DataError(
                f"{len(outcomes.sizes)} sizes of {self.scaling.id!r} leave none to be forecast by both methods; train "
                "more."
            )
        return float(np.mean(errors[0]) - np.mean(errors[1]))


@dataclass(frozen=True, kw_only=True)
class ForecastFigure(Figure):
    """A figure of the sharp score at each size, beside each method's forecast from all smaller sizes.

    Args:
        scaling_curves: The scaling curves, one panel for each.
    """

    scaling_curves: tuple[ScalingCurveSpec, ...]
    x_scale: Literal["linear", "log"] = "log"
    kind: Literal["curves"] = "curves"

    def rows(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> Iterator[FigureRow]:
        """One row a panel, size and method; intervals are predictive, i.e. of the share that would be observed."""
        for scaling in self.scaling_curves:
            try:
                curve = pooled_scaling_curve(scaling.outcomes(readings))
            except DataError:  # without readings the panel stays empty
                continue
            for size, share, n in zip(curve.sizes, curve.shares, curve.n_total, strict=True):
                yield FigureRow(panel=scaling.title, group="observed", x=float(size), value=float(share), n=int(n))
            for forecast in forecast_sizes(curve, FORECAST_SEED):
                yield FigureRow(
                    panel=scaling.title,
                    group=FORECAST_METHOD_LABELS[forecast.method],
                    x=float(forecast.size),
                    value=forecast.predicted,
                    low=forecast.low,
                    high=forecast.high,
                    n=forecast.n_fit_sizes,
                )
