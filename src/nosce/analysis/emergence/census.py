"""Is there a step on top of a smooth curve? A calibrated test for a score over size, and for many at once.

    null          a cubic in log size, and scatter between models that resembles its neighbour's
    alternative   the same, and one step upward between two sizes

A smooth curve may bend, so that curvature alone is no step. The statistic is the largest t of a step over all places.
Its null distribution is simulated with the series' own sizes, scatter and autocorrelation. It depends neither on the
height nor on the slope or bend of the curve, since the cubic is taken out of series and draws alike.

Source: the largest t over places is Andrews' 1993 (Econometrica 61); false discoveries are controlled as by Benjamini
and Hochberg 1995, and under any dependence by Benjamini and Yekutieli 2001. The emergence score is that of Schaeffer et
al. 2023 (arXiv:2304.15004), section 4.
Letters: D draws, J sizes, P places of a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy

from nosce.analysis.emergence.jumps import emergence_score, noise_p_value, rise_shape
from nosce.analysis.stats.arrays import FloatArray
from nosce.errors import DataError
from nosce.seeds import Seed

MIN_STEP_POINTS = 7  # a cubic, a step and two more
MIN_SIDE = 2  # sizes on either side of a step, so that no single model is one
#: With fewer the smallest p of some 200 series is too large for a q below 0.05 under any dependence.
STEP_DRAWS = 19_999
POWER_Z = 0.84  # standard errors above the critical t with which four of five steps are found
MAX_AUTOCORRELATION = 0.9
MAX_GRID_DRAWS = 300  # draws for each autocorrelation that is tried
CALIBRATION_LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class ScoreSeries:
    """A sharp score over sizes.

    Args:
        table: The table that holds it.
        task: The task; series of one task hang together.
        name: What distinguishes the series within its table.
        sizes: (J,) The sizes, ascending.
        values: (J,) The scores.
        item_errors: (J,) Standard errors from the number of items; 0 where that is unknown.
    """

    table: str
    task: str
    name: str
    sizes: FloatArray
    values: FloatArray
    item_errors: FloatArray


@dataclass(frozen=True)
class StepTest:
    """The largest step upward on top of a smooth curve.

    Args:
        t: Its t.
        p: How often scatter alone has one as large.
        height: The height of the step.
        size: The size in the middle of its two.
        scatter: Standard deviation of a model around curve and step.
        autocorrelation: That of neighbouring models.
        detectable: Height of a step at the best place that four of five such series would show with p below 0.05.
    """

    t: float
    p: float
    height: float
    size: float
    scatter: float
    autocorrelation: float
    detectable: float


class _StepDesign:
    """A cubic and all steps on a series' sizes."""

    def __init__(self, sizes: FloatArray) -> None:
        logs = np.log10(sizes)
        scaled = 2 * (logs - logs[0]) / (logs[-1] - logs[0]) - 1
        self.smooth = np.linalg.qr(np.vander(scaled, 4))[0]  # (J, 4)
        self.places = np.arange(MIN_SIDE, len(sizes) - MIN_SIDE + 1)  # first size above the step
        steps = (np.arange(len(sizes))[:, None] >= self.places).astype(float)
        rest = self.without_smooth(steps.T).T
        self.lengths = np.linalg.norm(rest, axis=0)
        self.steps = rest / self.lengths  # (J, P)
        self.freedom = len(sizes) - self.smooth.shape[1] - 1

    def without_smooth(self, curves: FloatArray) -> FloatArray:
        """Curves less their cubic. Shapes: (D, J) -> (D, J)."""
        rest: FloatArray = curves - (curves @ self.smooth) @ self.smooth.T
        return rest

    def largest_t(self, curves: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Of each curve the largest t of a step, which place has it, and the residuals around curve and step."""
        rest = self.without_smooth(curves)
        along = rest @ self.steps  # (D, P)
        spread = np.sqrt(np.maximum((rest**2).sum(1)[:, None] - along**2, 1e-24) / self.freedom)
        t = along / spread
        best = t.argmax(1)
        rows = np.arange(len(t))
        residuals = rest - along[rows, best, None] * self.steps[:, best].T
        return t[rows, best], best, residuals


def step_test(series: ScoreSeries, seed: Seed, *, draws: int = STEP_DRAWS) -> StepTest:
    """Hold the largest step of a series against scatter.

    Raises:
        DataError: The series has too few sizes, sizes that do not ascend, or no scatter at all.
    """
    if len(series.sizes) < MIN_STEP_POINTS or not (np.diff(series.sizes) > 0).all() or series.sizes[0] <= 0:
        raise DataError(
            f"{series.table}, {series.name}: a step needs {MIN_STEP_POINTS} ascending sizes above zero; found "
            f"{len(series.sizes)}."
        )
    if np.ptp(series.values) == 0:
        raise DataError(f"{series.table}, {series.name}: all scores are equal, so there is nothing to test.")
    design = _StepDesign(series.sizes)
    t, best, residuals = design.largest_t(series.values[None])
    rng = seed.numpy()
    spread = noise_profile(series.item_errors, float((residuals**2).sum() / design.freedom))
    white = rng.normal(size=(draws, len(series.sizes)))
    autocorrelation = _autocorrelation(design, spread, white[:MAX_GRID_DRAWS], residuals)
    null = design.largest_t(autocorrelated(white, autocorrelation) * spread)[0]
    place = int(best[0])
    above = design.places[place]
    scatter = float(np.sqrt((spread**2).mean()))
    height = float((design.without_smooth(series.values[None]) @ design.steps)[0, place] / design.lengths[place])
    return StepTest(
        t=float(t[0]),
        p=float((1 + (null >= t[0]).sum()) / (1 + draws)),
        height=height,
        size=float(np.sqrt(series.sizes[above - 1] * series.sizes[above])),
        scatter=scatter,
        autocorrelation=autocorrelation,
        detectable=(float(np.quantile(null, 1 - CALIBRATION_LEVEL)) + POWER_Z) * scatter / float(design.lengths.max()),
    )


def noise_profile(item_errors: FloatArray, variance: float) -> FloatArray:
    """The standard deviation at each size: of the items, and of models, so that the mean variance is as found. (J,)."""
    from_items = item_errors**2
    between = variance - float(from_items.mean())
    if between >= 0:
        return np.asarray(np.sqrt(from_items + between))
    return np.asarray(np.sqrt(from_items * variance / from_items.mean()))


def autocorrelated(white: FloatArray, correlation: float) -> FloatArray:
    """Noise of unit variance whose neighbours correlate, from independent noise. Shapes: (D, J) -> (D, J)."""
    noise = white.copy()
    for place in range(1, white.shape[1]):
        noise[:, place] = correlation * noise[:, place - 1] + math.sqrt(1 - correlation**2) * white[:, place]
    return noise


def _autocorrelation(design: _StepDesign, spread: FloatArray, white: FloatArray, residuals: FloatArray) -> float:
    """The autocorrelation of scatter that would leave residuals correlated as these are, and a standard error more.

    A cubic takes out slow waves, so that residuals are correlated less than the scatter is. Without the standard error
    (of J independent residuals) a tenth of smooth series of 26 sizes and a correlation of 0.5 would have p below 0.05.
    """
    grid = np.linspace(0.0, MAX_AUTOCORRELATION, 10)
    left = np.empty(len(grid))
    for index, correlation in enumerate(grid):
        noise = autocorrelated(white, float(correlation)) * spread
        left[index] = _neighbour_correlation(design.largest_t(noise)[2]).mean()
    upper = float(_neighbour_correlation(residuals)[0]) + 1 / math.sqrt(len(spread))
    return float(np.interp(upper, np.maximum.accumulate(left), grid))


def _neighbour_correlation(residuals: FloatArray) -> FloatArray:
    """Correlation of neighbouring residuals. Shape: (D,)."""
    found: FloatArray = (residuals[:, 1:] * residuals[:, :-1]).sum(1) / np.maximum((residuals**2).sum(1), 1e-300)
    return found


def line_p_value(series: ScoreSeries, scatter: FloatArray, seed: Seed, *, draws: int = STEP_DRAWS) -> float:
    """How often a straight line in log size with this scatter has an emergence score as far from 0; NaN without one.

    Args:
        scatter: (J,) Standard deviations around the line.
    """
    score = emergence_score(series.values)
    if not np.isfinite(score):
        return float("nan")
    logs = np.log10(series.sizes)
    line = np.polyval(np.polyfit(logs, series.values, 1), logs)
    noisy = line + seed.numpy().normal(size=(draws, len(logs))) * scatter
    steps = np.sqrt(np.median(np.diff(noisy, axis=1) ** 2, axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        null = np.ptp(noisy, axis=1) / steps
    return float((1 + (null >= abs(score)).sum()) / (1 + draws))


def census(all_series: Sequence[ScoreSeries], seed: Seed) -> pl.DataFrame:
    """One row a series that can be tested, with q-values over all of them.

    Returns:
        `table`, `task`, `series`, `points`, `rise` and `steepest_quarter` (the share of the rise there), `emergence`
        (E, null where it is not defined), `p_noise` and `p_line` (how often noise, and a line with the same scatter,
        reach E), `step` (its height), `step_size`, `t`, `p`, `scatter`, `autocorrelation`,
        `detectable` (the height that four of five such series would show), `q` (Benjamini and Hochberg) and
        `q_any` (Benjamini and Yekutieli).

    Raises:
        DataError: No series can be tested.
    """
    rows = list(_census_rows(all_series, seed))
    if not rows:
        raise DataError(f"none of {len(all_series)} series has {MIN_STEP_POINTS} sizes and scores that differ.")
    table = pl.DataFrame(rows, infer_schema_length=None).with_columns(
        pl.col("emergence", "p_noise", "p_line").fill_nan(None)
    )
    p_values = table["p"].to_numpy()
    return table.with_columns(
        q=pl.Series(scipy.stats.false_discovery_control(p_values)),
        q_any=pl.Series(scipy.stats.false_discovery_control(p_values, method="by")),
    )


def _census_rows(all_series: Sequence[ScoreSeries], seed: Seed) -> Iterator[dict[str, object]]:
    for series in all_series:
        if len(series.sizes) < MIN_STEP_POINTS or np.ptp(series.values) == 0:
            continue
        own_seed = seed / series.table / series.name
        found = step_test(series, own_seed / "step")
        shape = rise_shape(series.values, np.log10(series.sizes))
        score = emergence_score(series.values)
        profile = noise_profile(series.item_errors, found.scatter**2)
        yield {
            "table": series.table,
            "task": series.task,
            "series": series.name,
            "points": len(series.sizes),
            "rise": float(shape.rise[0]),
            "steepest_quarter": float(shape.window_share[0]),
            "emergence": score,
            "p_noise": noise_p_value(score, len(series.sizes)),
            "p_line": line_p_value(series, profile, own_seed / "line"),
            "step": found.height,
            "step_size": found.size,
            "t": found.t,
            "p": found.p,
            "scatter": found.scatter,
            "autocorrelation": found.autocorrelation,
            "detectable": found.detectable,
        }


def calibration(
    all_series: Sequence[ScoreSeries], seed: Seed, *, correlation: float, repeats: int = 10, draws: int = 499
) -> tuple[int, int]:
    """How many of how many simulated smooth series have p below 0.05, with the designs of these.

    Each is a logistic curve over the whole range, as high as the series rises, with the series' scatter.

    Args:
        correlation: Autocorrelation of the scatter.
        repeats: Simulated series for each design.
        draws: Draws of each null.
    """
    below = total = 0
    for series in all_series:
        if len(series.sizes) < MIN_STEP_POINTS or np.ptp(series.values) == 0:
            continue
        own_seed = seed / series.table / series.name
        design = _StepDesign(series.sizes)
        residuals = design.largest_t(series.values[None])[2]
        spread = noise_profile(series.item_errors, float((residuals**2).sum() / design.freedom))
        logs = np.log10(series.sizes)
        way = (logs - logs[0]) / (logs[-1] - logs[0])
        curve = np.ptp(series.values) / (1 + np.exp(-6 * (way - 0.5)))
        rng = (own_seed / "smooth").numpy()
        noise = autocorrelated(rng.normal(size=(repeats, len(logs))), correlation) * spread
        for number, values in enumerate(curve + noise):
            smooth = ScoreSeries(
                series.table, series.task, series.name, series.sizes, values, item_errors=series.item_errors
            )
            below += step_test(smooth, own_seed / number, draws=draws).p <= CALIBRATION_LEVEL
            total += 1
    return int(below), total
