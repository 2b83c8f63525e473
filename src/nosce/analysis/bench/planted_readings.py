"""Planted readings: tables like those of a study, drawn anew from a few known means.

A cell is what one selection selects: the readings of an evaluation, metric, arm, split, stage and step. The columns
that are the same in all draws are made once; a draw replaces the values.

Letters: C cells, S training seeds, U units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from nosce.analysis.selection import CROSSED_SPLITS, BestStep, PhaseStep, Selection
from nosce.analysis.stats.arrays import FloatArray
from nosce.errors import SpecError

LAST_STEP = 100
PHASE_STEP = 50  # the last step of a planted phase
PHASE_SPACING = 10  # between the kept steps before it
TEXT_COLUMNS = ("answer", "outcome", "target")
Columns = Mapping[str, np.ndarray]  # "value", and those of `TEXT_COLUMNS` that a measure reads; shapes (C, S, U)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How many seeds and units are read, and how much they vary.

    Args:
        seeds: Number of training seeds.
        units: Number of units of each seed.
        seed_spread: Standard deviation between the means of seeds: of shares as a share of what a coin of this mean
            has, of other quantities in their own unit.
        unit_spread: The same between the units of a seed.
    """

    seeds: int = 5
    units: int = 60
    seed_spread: float = 0.05
    unit_spread: float = 0.3


CellDraw = Callable[[np.random.Generator, Noise], Columns]


@dataclass(frozen=True)
class PlantedCells:
    """Cells that are drawn together.

    Args:
        selections: One selection a cell; what a selection leaves open is filled in by `resolved`.
        draw: The columns of a draw.
        attributes: The attribute of each unit, where units differ in it; () takes the selection's.
    """

    selections: tuple[Selection, ...]
    draw: CellDraw
    attributes: tuple[str, ...] = ()


def resolved(selection: Selection) -> Selection:
    """The selection with a value in every column, so that it names one cell."""
    return Selection(
        evaluation=selection.evaluation,
        metric=selection.metric,
        arm=selection.arm or "arm",
        split=selection.split or "unseen",
        attributes=selection.attributes[:1] or ("attribute",),
        stage=selection.stage or "pretrain",
        step=_step(selection),
    )


def _step(selection: Selection) -> int:
    if isinstance(selection.step, PhaseStep):
        return PHASE_STEP - PHASE_SPACING * selection.step.earlier
    return selection.step if isinstance(selection.step, int) else LAST_STEP


class PlantedTable:
    """Readings of several groups of cells.

    Args:
        parts: The groups of cells.
        noise: How many seeds and units there are, and how they vary.
    """

    def __init__(self, parts: Sequence[PlantedCells], noise: Noise) -> None:
        self._parts, self._noise = [*parts, *_step_choices(parts)], noise
        frames = [self._frame(part, selection) for part in self._parts for selection in part.selections]
        self._skeleton = pl.concat(frames)
        self._check()

    def draw(self, rng: np.random.Generator) -> pl.DataFrame:
        """A table with values drawn anew."""
        columns: dict[str, list[np.ndarray]] = {"value": [], **{name: [] for name in TEXT_COLUMNS}}
        for part in self._parts:
            drawn = part.draw(rng, self._noise)
            values = np.asarray(drawn["value"], dtype=np.float64)
            columns["value"].append(values.ravel())
            for name in TEXT_COLUMNS:
                blank = np.full(values.shape, None, dtype=object)
                columns[name].append(np.asarray(drawn.get(name, blank), dtype=object).ravel())
        named = {name: np.concatenate(parts) for name, parts in columns.items()}
        texts = {name: pl.Series(named[name].tolist(), dtype=pl.String) for name in TEXT_COLUMNS}
        target = texts.pop("target").fill_null(self._skeleton["target"])
        return self._skeleton.with_columns(value=pl.Series(named["value"]), target=target, **texts)

    def _frame(self, part: PlantedCells, selection: Selection) -> pl.DataFrame:
        cell, seeds, units = resolved(selection), self._noise.seeds, self._noise.units
        # Units of another split are others; labels alternate, so that matching by label changes nothing.
        names = [f"{cell.split}-{unit}" for unit in range(units)]
        attributes = list(part.attributes) or [cell.attributes[0]] * units
        constants = {
            "arm": cell.arm,
            "stage": cell.stage,
            "step": cell.step,
            "evaluation": cell.evaluation,
            "metric": cell.metric,
        }
        is_crossed = isinstance(selection.step, BestStep) and selection.step.crossed
        return pl.DataFrame(
            {
                "seed": np.repeat(np.arange(seeds), units),
                "entity": names * seeds,
                "item": names * seeds,
                "attribute": attributes * seeds,
                "split": ([*CROSSED_SPLITS] * units)[:units] * seeds if is_crossed else [cell.split] * units * seeds,
                "target": ["label a", "label b"] * (seeds * units // 2) + ["label a"] * (seeds * units % 2),
            }
        ).with_columns(pl.lit(value).alias(name) for name, value in constants.items())

    def _check(self) -> None:
        """Refuse cells of which one selection selects several, since their means would mix."""
        drawn = self.draw(np.random.default_rng(0))  # a phase ends only where values rise
        for part in self._parts:
            for selection in part.selections:
                rows = len(selection.rows(drawn))
                if rows != self._noise.seeds * self._noise.units:
                    raise SpecError(
                        f"{selection.description} selects {rows:,} planted readings and not those of one cell alone; "
                        "plant this claim by hand."
                    )


def _step_choices(parts: Sequence[PlantedCells]) -> list[PlantedCells]:
    """Readings by which a selection's step is chosen: of kept steps there is one, a phase ends where it must."""
    planted = {resolved(selection) for part in parts for selection in part.selections}
    choices: dict[Selection, PlantedCells] = {}
    for part in parts:
        for selection in part.selections:
            if isinstance(selection.step, BestStep):
                (first,) = selection.step.choosing(selection)
                choosing = replace(first, attributes=("choice",), step=selection.step)
                cell = resolved(choosing)
                if replace(cell, attributes=("attribute",)) not in planted:
                    choices[cell] = PlantedCells((choosing,), draw_means([0.5], [selection]))
            if isinstance(selection.step, PhaseStep):
                phase = _phase_choices(selection.step, selection)
                choices |= {cell: cells for cell, cells in phase.items() if cell not in planted}
    return list(choices.values())


def _phase_choices(phase: PhaseStep, selection: Selection) -> dict[Selection, PlantedCells]:
    """A curve of nothing but zeros until its phase ends, then of ones; its floor is zero."""
    curve, *floors = (resolved(choosing) for choosing in phase.choosing(selection))
    steps = range(PHASE_STEP, 0, -PHASE_SPACING)
    zeros = [*(replace(curve, step=step) for step in steps), *floors]
    cells = {one: PlantedCells((one,), _all_equal(0.0)) for one in zeros}
    return {**cells, curve: PlantedCells((curve,), _all_equal(1.0))}


def _all_equal(value: float) -> CellDraw:
    return lambda rng, noise: {"value": np.full((1, noise.seeds, noise.units), value)}


def draw_means(
    means: Sequence[float] | FloatArray, selections: Sequence[Selection], outcomes: Sequence[str | None] = ()
) -> CellDraw:
    """Cells with these means; a mean a cell, or for two groups of seeds a row a group.

    Shares are right or wrong, with a beta distribution between seeds. Quantities of 0 or more have
    gamma distributions, those of 0 or less their mirror, all others normal ones.

    Args:
        means: The mean of each cell. Shape: (C,) or (2, C).
        selections: The selections of the cells, whose range decides the distribution.
        outcomes: The outcome whose share a cell's mean is, where a measure counts outcomes.
    """
    by_group = np.atleast_2d(np.asarray(means, dtype=np.float64))

    def draw(rng: np.random.Generator, noise: Noise) -> Columns:
        groups = rng.integers(len(by_group), size=noise.seeds)
        of_seeds = by_group[groups].T  # (C, S)
        values = np.stack([_cell(s, m, rng, noise) for s, m in zip(selections, of_seeds, strict=True)])
        named = [np.where(v > 0, o or "right", "wrong") for v, o in zip(values, outcomes, strict=False)]
        return {"value": values, "outcome": np.stack(named)} if named else {"value": values}

    return draw


def _cell(selection: Selection, means: FloatArray, rng: np.random.Generator, noise: Noise) -> FloatArray:
    """The values of a cell from its mean in each seed. Shapes: (S,) -> (S, U)."""
    shape, ends = (noise.seeds, noise.units), selection.value_range
    if (ends.low, ends.high) == (0.0, 1.0):
        # A unit has one item, of whose distribution of chances the mean alone matters.
        return (rng.random(shape) < beta_shares(rng, means, noise.seed_spread)[:, None]).astype(np.float64)
    if ends.low is not None and ends.high is not None:
        width = ends.high - ends.low
        of_seeds = beta_shares(rng, (means - ends.low) / width, noise.seed_spread)
        return ends.low + width * beta_shares(rng, np.broadcast_to(of_seeds[:, None], shape), noise.unit_spread)
    if ends.low == 0.0 or ends.high == 0.0:
        sizes = np.abs(means) * _gamma(rng, noise.seed_spread, (noise.seeds,))
        return np.sign(means)[:, None] * sizes[:, None] * _gamma(rng, noise.unit_spread, shape)
    of_seeds = means + noise.seed_spread * rng.normal(size=noise.seeds)
    return of_seeds[:, None] + noise.unit_spread * rng.normal(size=shape)


def beta_shares(rng: np.random.Generator, means: FloatArray, spread: float) -> FloatArray:
    """Shares around means, with a standard deviation of `spread` times the one of a coin."""
    if spread <= 0:
        return means
    total, inner = 1 / spread**2 - 1, np.clip(means, 1e-6, 1 - 1e-6)
    return rng.beta(inner * total, (1 - inner) * total)


def _gamma(rng: np.random.Generator, spread: float, shape: tuple[int, ...]) -> FloatArray:
    """Factors of mean 1 and a standard deviation."""
    return rng.gamma(spread**-2, spread**2, shape) if spread > 0 else np.ones(shape)
