"""Measures and figures beside the mirage test: how steep a curve is, whether one link holds, how good forecasts are.

Letters: S seeds, J sizes, N items, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from nosce.analysis.emergence.forecasts import FORECAST_METHOD_LABELS, ForecastMethod, forecast_sizes
from nosce.analysis.emergence.jumps import rise_shape
from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec, pooled_scaling_curve
from nosce.analysis.emergence.test import MIN_SHARP_RISE
from nosce.analysis.figures import Figure
from nosce.analysis.measures import RESAMPLING_SEED, Measure
from nosce.analysis.render.figure import FigureRow
from nosce.analysis.stats.arrays import FloatArray
from nosce.analysis.stats.intervals import influence_interval, nested_interval
from nosce.analysis.stats.level import interval_level, interval_tails
from nosce.analysis.stats.ranges import NON_NEGATIVE, SHARE_RANGE, UNBOUNDED, ValueRange
from nosce.errors import DataError
from nosce.records import Estimate

FORECAST_SEED = RESAMPLING_SEED / "foretold"
LINK_RESAMPLES = 1_000


@dataclass(frozen=True, kw_only=True)
class Steepness(Measure):
    """The largest share of its rise that a curve makes within a quarter of the range of log size.

    A straight line makes a quarter of its rise there; a half is a jump. The share is taken of each seed's curve after
    isotonic regression.

    Args:
        scaling: The scaling curve.
        score: Which of its scores.
    """

    scaling: ScalingCurveSpec
    score: Literal["sharp", "continuous"]

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The share, with an interval over seeds and items.

        Raises:
            DataError: Readings are missing, the curve has no continuous score, or the score hardly rises.
        """
        outcomes = self.scaling.outcomes(readings)
        table = outcomes.sharp if self.score == "sharp" else outcomes.continuous
        if table is None:
            raise DataError(f"the curve {self.scaling.id!r} has no continuous score; name one, or ask for the sharp.")
        logs = np.log10(outcomes.sizes)
        self._check_rise(table, logs)
        window_shares = rise_shape(table.mean(2), logs).window_share  # (S,)
        pseudo_values = np.concatenate(_window_pseudo_values(table, logs, window_shares))
        item_names = [str(number) for _ in table for number in range(table.shape[2])]
        seeds = np.repeat(np.arange(len(table)), table.shape[2]).tolist()
        value = float(window_shares.mean())
        interval = influence_interval(value, pseudo_values, item_names, seeds, unit=unit, value_range=SHARE_RANGE)
        return replace(interval, n=table.size, method=f"jackknifed; {interval.method}")

    def _check_rise(self, table: FloatArray, logs: FloatArray) -> None:
        min_rise = MIN_SHARP_RISE if self.score == "sharp" else 1e-9
        if (gain := float(rise_shape(table.mean((0, 2)), logs).rise[0])) < min_rise:
            raise DataError(
                f"the {self.score} score of {self.scaling.id!r} rises by {gain:.3g} over all sizes, which "
                "is too little to be steep anywhere."
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
        """0 or above; percentiles of drifts keep it."""
        return NON_NEGATIVE

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The drift, with the 95 % range over resampled items and, given at least three, seeds.

        Raises:
            DataError: Readings are missing, or the curve has no continuous score.
        """
        outcomes = self.scaling.outcomes(readings)
        predicted = outcomes.link_predictions(RESAMPLING_SEED / "link")
        if predicted is None:
            raise DataError(f"the curve {self.scaling.id!r} has no continuous score to link; name one.")
        logs = np.log10(outcomes.sizes)
        resampled = []
        for sharp, _, off in outcomes.resampled_curves(predicted, RESAMPLING_SEED / "drift", LINK_RESAMPLES):
            resampled.append(_drift(sharp.mean(1), off.mean(1), logs))
        residual = outcomes.sharp - predicted
        observed = _drift(outcomes.sharp.mean((0, 2))[None], residual.mean((0, 2))[None], logs)
        low, high = np.quantile(np.concatenate(resampled), interval_tails())
        return Estimate(
            value=float(observed[0]),
            low=float(low),
            high=float(high),
            n=outcomes.sharp.size,
            clusters=outcomes.sharp.shape[2],
            seeds=outcomes.sharp.shape[0],
            unit=unit,
            method=f"{LINK_RESAMPLES:,} resamplings of items and seeds",
            level=interval_level(),
        )


def _drift(sharp: FloatArray, residual: FloatArray, logs: FloatArray) -> FloatArray:
    """The range of the residuals as a share of the rise, for each of R curves. Shapes: (R, J)."""
    drift: FloatArray = np.ptp(residual, axis=-1) / np.maximum(rise_shape(sharp, logs).rise, 1e-9)
    return drift


@dataclass(frozen=True, kw_only=True)
class ForecastSkill(Measure):
    """By how many nats an outcome one method's forecasts of the next size are worse than another method's.

    A positive value means that `method` is worse than `reference`. Each seed's curve is forecast by itself; the
    interval is over the forecast sizes.

    Args:
        scaling: The scaling curve.
        method: The forecasting method.
        reference: The method that it is compared with.
    """

    scaling: ScalingCurveSpec
    method: ForecastMethod
    reference: ForecastMethod
    quantity: str = "nats"

    @property
    def value_range(self) -> ValueRange:
        """Any number: a difference of costs."""
        return UNBOUNDED

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference of logarithmic scores.

        Raises:
            DataError: Readings are missing, or there are too few sizes to forecast one from the others.
        """
        outcomes = self.scaling.outcomes(readings)
        values, sizes, seeds = [], [], []
        for seed in range(len(outcomes.sharp)):
            seed_forecasts = forecast_sizes(pooled_scaling_curve(outcomes.single_seed(seed)), FORECAST_SEED / seed)
            nats = {one.size: one.excess_nats for one in seed_forecasts if one.method == self.method}
            reference_nats = {one.size: one.excess_nats for one in seed_forecasts if one.method == self.reference}
            for size in nats.keys() & reference_nats.keys():
                values.append(nats[size] - reference_nats[size])
                sizes.append(f"{size:g}")
                seeds.append(seed)
        if not values:
            raise DataError(
                f"{len(outcomes.sizes)} sizes of {self.scaling.id!r} leave none to be forecast; train more."
            )
        interval = nested_interval(values, sizes, seeds, unit="size")
        return replace(interval, n=outcomes.sharp.size)


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
