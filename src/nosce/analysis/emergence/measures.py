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

from nosce.analysis.emergence.forecasts import SAID, How, forecasts
from nosce.analysis.emergence.jumps import rises
from nosce.analysis.emergence.scaling_curve import Scaling, of_items
from nosce.analysis.emergence.test import LEAST_RISE
from nosce.analysis.measures import RESAMPLING
from nosce.analysis.stats.intervals import nested_bootstrap
from nosce.errors import DataError
from nosce.records import Estimate

SEED = RESAMPLING / "foretold"


@dataclass(frozen=True, kw_only=True)
class Steepness:
    """The largest share of its rise that a curve makes within a quarter of the range of log size: a half is a jump.

    A straight line makes a quarter. Of each seed's curve, after the closest rising curve has been taken.
    """

    scaling: Scaling
    score: Literal["sharp", "continuous"]
    quantity: str = "share"

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The share, seeds and items resampled.

        Raises:
            DataError: Something was not read, or there is no continuous score.
        """
        items = self.scaling.items(readings)
        table = items.sharp if self.score == "sharp" else items.continuous
        if table is None:
            raise DataError(f"the curve {self.scaling.id!r} has no continuous score; name one, or ask for the sharp.")
        logs = np.log10(items.sizes)
        least = LEAST_RISE if self.score == "sharp" else 1e-9
        if (gain := float(rises(table.mean((0, 2)), logs).rise[0])) < least:
            raise DataError(f"the {self.score} score of {self.scaling.id!r} rises by {gain:.3g} over all sizes, which "
                            "is too little to be steep anywhere.")  # fmt: skip
        whole = rises(table.mean(2), logs).share  # (S,)
        shares = []
        for seed, rows in enumerate(table):  # each item's share in the number is how far it moves where it is left out
            n = rows.shape[1]
            without = rises(((rows.sum(1)[:, None] - rows) / (n - 1)).T, logs).share
            shares.append(n * whole[seed] - (n - 1) * without)
            shares[-1] += whole[seed] - shares[-1].mean()
        abouts = [str(number) for _ in table for number in range(table.shape[2])]
        seeds = np.repeat(np.arange(len(table)), table.shape[2]).tolist()
        found = nested_bootstrap(np.concatenate(shares), abouts, seeds, seed=RESAMPLING, unit=unit)
        cut = {name: min(1.0, max(0.0, end)) for name in ("low", "high") if (end := getattr(found, name)) is not None}
        return replace(found, n=table.size, method=f"jackknifed; {found.method}; cut to [0, 1]", **cut)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far one link from the continuous to the sharp score is off at one size more than at another.

    As a share of the sharp score's rise. The link is learned on the other half of the items, at all sizes together.
    """

    scaling: Scaling
    quantity: str = "share"

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The drift, with the 95 % range over resampled items and, from three on, seeds.

        Raises:
            DataError: Something was not read, or there is no continuous score.
        """
        items = self.scaling.items(readings)
        predicted = items.predicted(RESAMPLING / "link")
        if predicted is None:
            raise DataError(f"the curve {self.scaling.id!r} has no continuous score to link; name one.")
        logs = np.log10(items.sizes)

        def drift(sharp: np.ndarray, off: np.ndarray) -> np.ndarray:
            return np.asarray(np.ptp(off, axis=-1) / np.maximum(rises(sharp, logs).rise, 1e-9))

        drawn = np.concatenate([drift(sharp.mean(1), off.mean(1))
                                for sharp, _, off in items.drawn(predicted, RESAMPLING / "drift", 1_000)])  # fmt: skip
        whole = drift(items.sharp.mean((0, 2))[None], (items.sharp - predicted).mean((0, 2))[None])
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Estimate(value=float(whole[0]), low=float(low), high=float(high), n=items.sharp.size,
                        clusters=items.sharp.shape[2], seeds=items.sharp.shape[0], unit=unit,
                        method="1,000 resamplings of items and seeds")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Foresight:
    """By how many nats an outcome one way of foretelling the next size costs more than another does.

    Each seed's curve is foretold by itself; what is resampled are the sizes that were foretold.
    """

    scaling: Scaling
    one: How
    other: How
    quantity: str = "nats"

    def of(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The difference of logarithmic scores.

        Raises:
            DataError: Something was not read, or there are too few sizes to foretell one from the others.
        """
        items = self.scaling.items(readings)
        values, sizes, seeds = [], [], []
        for seed in range(len(items.sharp)):
            found = forecasts(of_items(items.of_seed(seed)), SEED / seed)
            lost = {how: {one.size: one.lost for one in found if one.how == how} for how in (self.one, self.other)}
            for size in lost[self.one].keys() & lost[self.other].keys():
                values.append(lost[self.one][size] - lost[self.other][size])
                sizes.append(f"{size:g}")
                seeds.append(seed)
        if not values:
            raise DataError(f"{len(items.sizes)} sizes of {self.scaling.id!r} leave none to be foretold; train more.")
        found_ = nested_bootstrap(values, sizes, seeds, seed=RESAMPLING, unit="size")
        return replace(found_, n=items.sharp.size)


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """A figure of the sharp score at each size beside what was foretold of it from all smaller ones, with intervals."""

    id: str
    title: str
    caption: str
    x_label: str
    y_label: str
    scalings: tuple[Scaling, ...]  # a panel each
    unit: Literal["share", "number"] = "share"
    x_scale: Literal["linear", "log"] = "log"
    kind: Literal["curves"] = "curves"

    def table(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> pl.DataFrame:
        """The figure's rows: one a panel, size and rival; the intervals are those of what would be observed."""
        rows: list[dict[str, object]] = []
        for scaling in self.scalings:
            try:
                curve = of_items(scaling.items(readings))
            except DataError:  # nothing was read: an empty panel says so
                continue
            where = {"panel": scaling.title, "tick": "", "baseline": False}
            rows += [
                {
                    **where,
                    "group": "observed",
                    "x": float(size),
                    "value": float(share),
                    "low": None,
                    "high": None,
                    "n": int(n),
                }
                for size, share, n in zip(curve.sizes, curve.shares, curve.asked, strict=True)
            ]
            rows += [{**where, "group": SAID[one.how], "x": one.size, "value": one.share, "low": one.low,
                      "high": one.high, "n": one.known} for one in forecasts(curve, SEED)]  # fmt: skip
        kinds = {"panel": pl.String, "group": pl.String, "x": pl.Float64, "tick": pl.String, "value": pl.Float64,
                 "low": pl.Float64, "high": pl.Float64, "n": pl.Int64, "baseline": pl.Boolean}  # fmt: skip
        return pl.DataFrame(rows, schema=kinds)
