"""What a claim can rest on beside the mirage test: how steeply a curve rises, and whether one link holds.

And a figure of what could have been foreseen.
Letters: S seeds, J sizes, N items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from nosce.analysis.emergence.forecasts import FORECAST_METHOD_LABELS, ForecastMethod, forecast_sizes
from nosce.analysis.emergence.jumps import rise_shape
from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec, pooled_scaling_curve
from nosce.analysis.emergence.test import MIN_SHARP_RISE
from nosce.analysis.measures import RESAMPLING_SEED
from nosce.analysis.stats.intervals import nested_bootstrap
from nosce.errors import DataError
from nosce.records import Estimate

FORECAST_SEED = RESAMPLING_SEED / "foretold"


@dataclass(frozen=True, kw_only=True)
class Steepness:
    """The largest share of its rise that a curve makes within a quarter of the range of log size: a half is a jump.

    A straight line makes a quarter. Of each seed's curve, after the closest rising curve has been taken.
    """

    scaling: ScalingCurveSpec
    score: Literal["sharp", "continuous"]
    quantity: str = "share"

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The share, seeds and items resampled.

        Raises:
            DataError: Something was not read, or there is no continuous score.
        """
        outcomes = self.scaling.outcomes(readings)
        table = outcomes.sharp if self.score == "sharp" else outcomes.continuous
        if table is None:
            raise DataError(f"the curve {self.scaling.id!r} has no continuous score; name one, or ask for the sharp.")
        logs = np.log10(outcomes.sizes)
        min_rise = MIN_SHARP_RISE if self.score == "sharp" else 1e-9
        if (gain := float(rise_shape(table.mean((0, 2)), logs).rise[0])) < min_rise:
            raise DataError(
                f"the {self.score} score of {self.scaling.id!r} rises by {gain:.3g} over all sizes, which "
                "is too little to be steep anywhere."
            )
        window_shares = rise_shape(table.mean(2), logs).window_share  # (S,)
        pseudo_values = []
        for seed, rows in enumerate(table):  # each item's share in the number is how far it moves where it is left out
            n = rows.shape[1]
            leave_one_out = rise_shape(((rows.sum(1)[:, None] - rows) / (n - 1)).T, logs).window_share
            pseudo_values.append(n * window_shares[seed] - (n - 1) * leave_one_out)
            pseudo_values[-1] += window_shares[seed] - pseudo_values[-1].mean()
        item_names = [str(number) for _ in table for number in range(table.shape[2])]
        seeds = np.repeat(np.arange(len(table)), table.shape[2]).tolist()
        interval = nested_bootstrap(np.concatenate(pseudo_values), item_names, seeds, seed=RESAMPLING_SEED, unit=unit)
        clipped = {
            name: min(1.0, max(0.0, end)) for name in ("low", "high") if (end := getattr(interval, name)) is not None
        }
        return replace(interval, n=table.size, method=f"jackknifed; {interval.method}; cut to [0, 1]", **clipped)


@dataclass(frozen=True, kw_only=True)
class LinkDrift:
    """How far one link from the continuous to the sharp score is off at one size more than at another.

    As a share of the sharp score's rise. The link is learned on the other half of the items, at all sizes together.
    """

    scaling: ScalingCurveSpec
    quantity: str = "share"

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The drift, with the 95 % range over resampled items and, from three on, seeds.

        Raises:
            DataError: Something was not read, or there is no continuous score.
        """
        outcomes = self.scaling.outcomes(readings)
        predicted = outcomes.link_predictions(RESAMPLING_SEED / "link")
        if predicted is None:
            raise DataError(f"the curve {self.scaling.id!r} has no continuous score to link; name one.")
        logs = np.log10(outcomes.sizes)

        def drift(sharp: np.ndarray, off: np.ndarray) -> np.ndarray:
            return np.asarray(np.ptp(off, axis=-1) / np.maximum(rise_shape(sharp, logs).rise, 1e-9))

        resampled = np.concatenate(
            [
                drift(sharp.mean(1), off.mean(1))
                for sharp, _, off in outcomes.resampled_curves(predicted, RESAMPLING_SEED / "drift", 1_000)
            ]
        )
        observed = drift(outcomes.sharp.mean((0, 2))[None], (outcomes.sharp - predicted).mean((0, 2))[None])
        low, high = np.quantile(resampled, [0.025, 0.975])
        return Estimate(
            value=float(observed[0]),
            low=float(low),
            high=float(high),
            n=outcomes.sharp.size,
            clusters=outcomes.sharp.shape[2],
            seeds=outcomes.sharp.shape[0],
            unit=unit,
            method="1,000 resamplings of items and seeds",
        )


@dataclass(frozen=True, kw_only=True)
class ForecastSkill:
    """By how many nats an outcome one way of foretelling the next size costs more than another does.

    Each seed's curve is foretold by itself; what is resampled are the sizes that were foretold.
    """

    scaling: ScalingCurveSpec
    method: ForecastMethod
    reference: ForecastMethod
    quantity: str = "nats"

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference of logarithmic scores.

        Raises:
            DataError: Something was not read, or there are too few sizes to foretell one from the others.
        """
        outcomes = self.scaling.outcomes(readings)
        values, sizes, seeds = [], [], []
        for seed in range(len(outcomes.sharp)):
            seed_forecasts = forecast_sizes(pooled_scaling_curve(outcomes.single_seed(seed)), FORECAST_SEED / seed)
            nats_by_method = {
                how: {one.size: one.excess_nats for one in seed_forecasts if one.method == how}
                for how in (self.method, self.reference)
            }
            for size in nats_by_method[self.method].keys() & nats_by_method[self.reference].keys():
                values.append(nats_by_method[self.method][size] - nats_by_method[self.reference][size])
                sizes.append(f"{size:g}")
                seeds.append(seed)
        if not values:
            raise DataError(
                f"{len(outcomes.sizes)} sizes of {self.scaling.id!r} leave none to be foretold; train more."
            )
        interval = nested_bootstrap(values, sizes, seeds, seed=RESAMPLING_SEED, unit="size")
        return replace(interval, n=outcomes.sharp.size)


@dataclass(frozen=True, kw_only=True)
class ForecastFigure:
    """A figure of the sharp score at each size beside what was foretold of it from all smaller ones, with intervals."""

    id: str
    title: str
    caption: str
    x_label: str
    y_label: str
    scaling_curves: tuple[ScalingCurveSpec, ...]  # a panel each
    unit: Literal["share", "number"] = "share"
    x_scale: Literal["linear", "log"] = "log"
    kind: Literal["curves"] = "curves"

    def table(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> pl.DataFrame:
        """The figure's rows: one a panel, size and rival; the intervals are those of what would be observed."""
        rows: list[dict[str, object]] = []
        for scaling in self.scaling_curves:
            try:
                curve = pooled_scaling_curve(scaling.outcomes(readings))
            except DataError:  # nothing was read: an empty panel says so
                continue
            position = {"panel": scaling.title, "tick": "", "baseline": False}
            rows += [
                {
                    **position,
                    "group": "observed",
                    "x": float(size),
                    "value": float(share),
                    "low": None,
                    "high": None,
                    "n": int(n),
                }
                for size, share, n in zip(curve.sizes, curve.shares, curve.n_total, strict=True)
            ]
            rows += [
                {
                    **position,
                    "group": FORECAST_METHOD_LABELS[forecast.method],
                    "x": forecast.size,
                    "value": forecast.predicted,
                    "low": forecast.low,
                    "high": forecast.high,
                    "n": forecast.n_fit_sizes,
                }
                for forecast in forecast_sizes(curve, FORECAST_SEED)
            ]
        columns = {
            "panel": pl.String,
            "group": pl.String,
            "x": pl.Float64,
            "tick": pl.String,
            "value": pl.Float64,
            "low": pl.Float64,
            "high": pl.Float64,
            "n": pl.Int64,
            "baseline": pl.Boolean,
        }
        return pl.DataFrame(rows, schema=columns)
