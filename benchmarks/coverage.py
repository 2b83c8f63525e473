"""How often do nominal 95 % intervals cover the truth?  Planted worlds; writes benchmarks/coverage.csv.

    python benchmarks/coverage.py --studies 2000

    python benchmarks/coverage.py --only forecast   the rows whose name begins so, the others as they stand

A line a quantity and truth, a column a number of training seeds: the share of simulated studies whose interval holds
the truth, and the median width. Seeds differ by more or less of the quantity's spread, or not at all. No interval may
leave the range of its quantity: the script stops where one does. `docs/statistics.md` says what the table shows.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy

from nosce.analysis.bench.planted_readings import Noise
from nosce.analysis.emergence.forecasts import ForecastMethod
from nosce.analysis.emergence.measures import ForecastSkill, LinkDrift
from nosce.analysis.emergence.planters import mean_drift, wavering_outcomes
from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec
from nosce.analysis.emergence.scores import ItemOutcomes
from nosce.analysis.jackknife import _joint_excess, _roc_auc, _spearman, jackknife_values
from nosce.analysis.selection import Selection
from nosce.analysis.stats.intervals import interval_of_units
from nosce.analysis.stats.ranges import CORRELATION_RANGE, NON_NEGATIVE, SHARE_RANGE, UNBOUNDED, ValueRange
from nosce.analysis.stats.seed_groups import MIN_GROUPED_SEEDS
from nosce.analysis.stats.time_series import curve_correlation
from nosce.records import Estimate
from nosce.seeds import Seed

RESULTS = Path(__file__).parent / "coverage.csv"
SEEDS = (3, 5, 8, 12)
FORECAST_POOL, FORECAST_POOL_OF_FEW = 600, 200  # simulated trainings, of which each study draws some anew
SLOW = ("rank", "area", "joint", "correlation", "drift")  # a hundred times as slow
PEOPLE, ITEMS = 60, 3
Draw = Callable[[np.random.Generator, int], tuple[Estimate, float]]  # of a number of seeds: estimate and truth


def nested(scores: np.ndarray, value_range: ValueRange) -> Estimate:
    """The interval of scores with a row a seed."""
    return interval_of_units(np.asarray(scores, dtype=np.float64), value_range=value_range)


def beta(rng: np.random.Generator, mean: np.ndarray | float, spread: float, size: tuple[int, ...]) -> np.ndarray:
    """Shares with a mean and a standard deviation of so much of what a coin with this mean has."""
    if spread == 0:
        return np.broadcast_to(mean, size)
    total = 1 / spread**2 - 1
    mean = np.broadcast_to(np.clip(mean, 1e-9, 1 - 1e-9), size)
    return rng.beta(mean * total, (1 - mean) * total)


def shares(rng: np.random.Generator, seeds: int, mean: float, spread: float) -> np.ndarray:
    """Mean scores of people, whose items are right or wrong, by seed."""
    of_seeds = beta(rng, mean, spread, (seeds, 1))
    return rng.binomial(ITEMS, beta(rng, of_seeds, 0.3, (seeds, PEOPLE))) / ITEMS


def share(mean: float, spread: float) -> Draw:
    return lambda rng, seeds: (nested(shares(rng, seeds, mean, spread), SHARE_RANGE), mean)


def difference(a: float, b: float, spread: float) -> Draw:
    def draw(rng: np.random.Generator, seeds: int) -> tuple[Estimate, float]:
        scores = shares(rng, seeds, a, spread) - shares(rng, seeds, b, spread)
        return nested(scores, CORRELATION_RANGE), a - b

    return draw


def cost(mean: float, spread: float, *, counts: bool) -> Draw:
    """Edit distances (counts of people) or nats."""

    def draw(rng: np.random.Generator, seeds: int) -> tuple[Estimate, float]:
        of_seeds = np.full((seeds, 1), mean) if spread == 0 else rng.gamma(spread**-2, mean * spread**2, (seeds, 1))
        of_people = of_seeds * rng.gamma(2.0, 0.5, (seeds, PEOPLE))
        return nested(rng.poisson(of_people) if counts else of_people, NON_NEGATIVE), mean

    return draw


def unbounded(spread: float) -> Draw:
    """Normal scores, e.g. a difference of nats; `spread` in errors of a seed's mean."""

    def draw(rng: np.random.Generator, seeds: int) -> tuple[Estimate, float]:
        shift = spread * rng.normal(size=(seeds, 1)) / np.sqrt(PEOPLE)
        return nested(rng.normal(size=(seeds, PEOPLE)) + shift, UNBOUNDED), 0.0

    return draw


def jackknifed(columns: list[list[np.ndarray]], statistic: Callable, value_range: ValueRange, **how: bool) -> Estimate:
    """A statistic of columns of values, one list a seed; each row of all columns is a unit."""
    values, entities, start = {}, {}, 0
    for seed, parts in enumerate(columns):
        values[seed] = parts
        together = len({len(part) for part in parts}) == 1 and statistic is not _roc_auc
        entities[seed] = []
        for part in parts:
            entities[seed].append(np.arange(len(part)) + (0 if together else start))
            start += 0 if together else len(part)
    return jackknife_values(values, entities, statistic, "person", value_range, **how)


def spearman(r: float, spread: float) -> Draw:
    """Reported against true numbers of 30 units."""
    at = np.arctanh(r) + spread * np.random.default_rng(0).normal(size=20_000)
    truth = float(np.mean(6 / np.pi * np.arcsin(np.tanh(at) / 2)))

    def draw(rng: np.random.Generator, seeds: int) -> tuple[Estimate, float]:
        columns = []
        for own in np.tanh(np.arctanh(r) + spread * rng.normal(size=seeds)):
            x = rng.normal(size=30)
            columns.append([x, own * x + np.sqrt(1 - own**2) * rng.normal(size=30)])
        return jackknifed(columns, _spearman, CORRELATION_RANGE, corrects_bias=True), truth

    return draw


def auc(distance: float, spread: float) -> Draw:
    truth = float(scipy.stats.norm.cdf(distance / np.sqrt(2 + spread**2)))

    def draw(rng: np.random.Generator, seeds: int) -> tuple[Estimate, float]:
        columns = [[rng.normal(size=25) + distance + spread * rng.normal(), rng.normal(size=25)] for _ in range(seeds)]
        return jackknifed(columns, _roc_auc, SHARE_RANGE), truth

    return draw


def joint_excess(right: float) -> Draw:
    """Two digits that are right or wrong together in a tenth of the answers."""
    together = 0.1
    truth = together * right + (1 - together) * right**2 - right**2

    def draw(rng: np.random.Generator, seeds: int) -> tuple[Estimate, float]:
        columns = []
        for _ in range(seeds):
            one, two = rng.random((2, PEOPLE)) < right
            two = np.where(rng.random(PEOPLE) < together, one, two)
            columns.append([(one & two).astype(float), one.astype(float), two.astype(float)])
        return jackknifed(columns, _joint_excess, ValueRange(-0.25, 0.25)), truth

    return draw


def curves(noise: float) -> Draw:
    """Two curves of 12 checkpoints that rise, with noise of their own and their beginnings apart."""

    def one(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        steps = np.arange(12)
        at = 5 + rng.normal()
        first, second = (1 / (1 + np.exp(-(steps - start) / 1.5)) for start in (at, at + 1 + rng.normal() / 2))
        return first + noise * rng.normal(size=12), second + noise * rng.normal(size=12)

    rng = np.random.default_rng(0)
    truth = float(np.mean([np.corrcoef(*one(rng))[0, 1] for _ in range(20_000)]))

    def draw(rng: np.random.Generator, seeds: int) -> tuple[Estimate, float]:
        pairs = [one(rng) for _ in range(seeds)]
        a, b = [p[0].tolist() for p in pairs], [p[1].tolist() for p in pairs]
        return curve_correlation(a, b, seed=Seed(0), detrended=False, resamples=200), truth

    return draw


def forecast_outcomes(rng: np.random.Generator, items: int = 200) -> ItemOutcomes:
    """A power law of nine sizes whose trainings scatter around it, each seed with a course of its own."""
    sizes = 10.0 ** np.linspace(4, 8, 9)
    at = np.linspace(0, 1, len(sizes)) + 0.05 * rng.normal(size=len(sizes))
    nats = -12 * 100.0 ** -(at + 0.02 * rng.normal())
    sharp = (rng.random((1, len(sizes), items)) < np.exp(nats)[None, :, None]).astype(float)
    smooth = nats[None, :, None] * rng.gamma(100.0, 0.01, sharp.shape)
    return ItemOutcomes(sizes=sizes, sharp=sharp, continuous=smooth, log_likelihood=True)


def forecast_skill(reference: ForecastMethod) -> Draw:
    """By how much forecasts from the score itself are further off than others, at fixed sizes.

    A forecast takes long, so that studies draw their trainings from a pool, whose mean is the truth.
    """
    scaling = ScalingCurveSpec(id="c", title="c", x_label="weights", points=(), sharp=Selection(evaluation="e"))
    measure = ForecastSkill(scaling=scaling, method="direct", reference=reference)
    pools: dict[bool, tuple[np.ndarray, list[list[float]]]] = {}

    def pool(*, few: bool) -> tuple[np.ndarray, list[list[float]]]:
        if few not in pools:
            rng, seed = (Seed(0) / "forecasts" / str(few)).numpy(), Seed(0) / "forecast draws"
            drawn = [forecast_outcomes(rng) for _ in range(FORECAST_POOL_OF_FEW if few else FORECAST_POOL)]
            values = [measure.seed_skill(one, seed / n) for n, one in enumerate(drawn)]
            items = [measure.item_values(one, values[n], seed / n) for n, one in enumerate(drawn)] if few else []
            pools[few] = np.array(values), items
        return pools[few]

    def draw(rng: np.random.Generator, seeds: int) -> tuple[Estimate, float]:
        values, items = pool(few=seeds < MIN_GROUPED_SEEDS)
        chosen = rng.integers(len(values), size=seeds)
        estimate = measure.interval(values[chosen].tolist(), [items[n] for n in chosen] if items else [], "item")
        return estimate, float(values.mean())

    return draw


def drift(waver: float) -> Draw:
    """How much the error of a link varies over nine sizes, where it wavers by so much; 400 items."""
    e, arms = Selection(evaluation="e"), tuple((10.0**n, f"arm {n}") for n in range(9))
    sharp, nats = replace(e, metric="right"), replace(e, metric="log likelihood")
    scaling = ScalingCurveSpec(id="c", title="c", x_label="weights", points=arms, sharp=sharp, continuous=(nats,))
    measure, truth = LinkDrift(scaling=scaling), mean_drift(scaling, waver)

    def draw(rng: np.random.Generator, seeds: int) -> tuple[Estimate, float]:
        outcomes = wavering_outcomes(scaling, waver, Noise(seeds=seeds, units=400), rng)
        return measure.interval(outcomes, "item"), truth

    return draw


def worlds() -> dict[str, tuple[Draw, ValueRange]]:
    """Every quantity and truth by name, with its range."""
    found: dict[str, tuple[Draw, ValueRange]] = {}
    for spread in (0.0, 1.0, 5.0):
        found[f"difference of nats 0, seeds {spread:g}"] = unbounded(spread), UNBOUNDED
    for mean in (0.5, 0.9, 0.97, 0.99):
        for spread in (0.0, 0.05, 0.1):
            found[f"share {mean:g}, seeds {spread:g}"] = share(mean, spread), SHARE_RANGE
    for a, b in ((0.6, 0.5), (0.95, 0.1), (0.98, 0.02)):
        for spread in (0.0, 0.1):
            found[f"difference {a - b:.2g}, seeds {spread:g}"] = difference(a, b, spread), CORRELATION_RANGE
    for counts, name in ((True, "edit distance"), (False, "nats")):
        for mean in (0.05, 0.5, 3.0):
            for spread in (0.0, 0.3):
                found[f"{name} {mean:g}, seeds {spread:g}"] = cost(mean, spread, counts=counts), NON_NEGATIVE
    for r in (0.0, 0.6, 0.95):
        for spread in (0.0, 0.15):
            found[f"rank correlation {r:g}, seeds {spread:g}"] = spearman(r, spread), CORRELATION_RANGE
    for distance in (0.0, 1.0, 3.0):
        for spread in (0.0, 0.3):
            found[f"area under the curve at {distance:g}, seeds {spread:g}"] = auc(distance, spread), SHARE_RANGE
    for right in (0.5, 0.95):
        found[f"joint excess at {right:g}"] = joint_excess(right), ValueRange(-0.25, 0.25)
    for noise in (0.05, 0.2):
        found[f"correlation of curves, noise {noise:g}"] = curves(noise), CORRELATION_RANGE
    references: tuple[ForecastMethod, ...] = ("linked", "product")
    for reference in references:
        found[f"forecast error, direct - {reference}"] = forecast_skill(reference), CORRELATION_RANGE
    for waver in (0.05, 0.1, 0.2):
        found[f"drift of a link that wavers by {waver:g}"] = drift(waver), NON_NEGATIVE
    return found


def covered(draw: Draw, value_range: ValueRange, name: str, seeds: int, studies: int) -> tuple[float, float]:
    """The coverage and the median width of the intervals of simulated studies.

    Raises:
        AssertionError: An interval leaves the range of its quantity.
    """
    rng = (Seed(0) / "coverage" / name / seeds).numpy()
    hits, widths = 0, []
    for _ in range(studies):
        estimate, truth = draw(rng, seeds)
        assert estimate.low is not None, (name, estimate)
        assert estimate.high is not None, (name, estimate)
        assert value_range.contains(np.array([estimate.low, estimate.high])), (name, estimate)
        hits += estimate.low <= truth <= estimate.high
        widths.append(estimate.high - estimate.low)
    return hits / studies, float(np.median(widths))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--studies", type=int, default=2_000)
    options.add_argument("--slow-studies", type=int, default=400, help="of jackknifed numbers and curves")
    options.add_argument("--only", default="", help="the quantities whose name begins so")
    chosen = options.parse_args()
    rows: list[list[str | int]] = []
    for name, (draw, value_range) in worlds().items():
        studies = chosen.slow_studies if name.startswith(SLOW) else chosen.studies
        if name.startswith(chosen.only) and studies:
            cells = [covered(draw, value_range, name, seeds, studies) for seeds in SEEDS]
            shares, widths = [f"{100 * cell[0]:.1f}" for cell in cells], [f"{cell[1]:.3g}" for cell in cells]
            rows.append([name, studies, *shares, *widths])
            print(*rows[-1], sep="  ", flush=True)
    header = ["quantity", "studies", *(f"covered, {n} seeds" for n in SEEDS), *(f"width, {n} seeds" for n in SEEDS)]
    if chosen.only:
        new = {str(row[0]): row for row in rows}
        with RESULTS.open(newline="") as file:
            old = {row[0]: row for row in list(csv.reader(file))[1:]}
        rows = [*({**old, **new}).values()]
    with RESULTS.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


if __name__ == "__main__":
    main()
