"""Which readings the study diaries speak of, by name: for its claims and for its figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from nosce.analysis.measures import Select
from nosce.data.worlds.diaries.world import NUMBER, entries_of
from nosce.studies.diaries.arms import ASKED, MERGED, PHASES, SCATTERED, Grid, name
from nosce.study import PRETRAIN

TRAINED = "trained"  # the read-out of questions that were trained on
TITLES, BLIND = "titles", "frequencies"  # what the number in a title costs the model, and one who knows no names
SHARES = ("exact", "count", "content", "readable")


def recited(
    arm: str, metric: str = "exact", readout: str = "written", step: Literal["last", "every"] = "last"
) -> Select:
    """What became of the diaries that were asked for."""
    quantity = "share" if metric in SHARES or metric.startswith("fault") else "entries"
    stage = ASKED if arm == PHASES else PRETRAIN
    return Select(readout=readout, metric=metric, arm=arm, stage=stage, step=step, quantity=quantity)


def of_number(arm: str, number: int) -> Select:
    """Whole diaries of so many entries."""
    return replace(recited(arm), facets=(entries_of(number),))


def stops(arm: str, metric: str, readout: str = "stops") -> Select:
    """The decisions behind true entries, or behind retold ones."""
    quantity = "nats" if metric in ("stops", "content") else "share"
    return Select(readout=readout, metric=metric, arm=arm, stage=PRETRAIN, quantity=quantity)


def title(arm: str, metric: str = "nats", readout: str = TITLES) -> Select:
    """What the number in a document's title costs."""
    stage = PRETRAIN if readout == TITLES else None
    return Select(readout=readout, metric=metric, arm=arm, facets=(NUMBER,), stage=stage, quantity="nats")


def counted(arm: str, metric: str) -> Select:
    """Whether a probe reads the number of entries."""
    return Select(readout="counted", metric=metric, arm=arm, stage=PRETRAIN)


def patched(arm: str, metric: str) -> Select:
    """Whether the model stops where the donor's list ends."""
    return Select(readout="patched", metric=metric, arm=arm, stage=PRETRAIN)


def reference(grid: Grid, setup: str = SCATTERED, family: str | None = None) -> str:
    """The arm of the largest size at the middle number of diarists."""
    family = family or grid.families[0]
    return name(family, grid.sizes[family][-1], grid.middle, setup)


def along_diarists(grid: Grid, rung: str, setup: str = SCATTERED, family: str | None = None) -> list[tuple[int, str]]:
    """Numbers of diarists, and the arms of one size."""
    return [(count, name(family or grid.families[0], rung, count, setup)) for count in grid.diarists]


def of_smallest(grid: Grid) -> list[tuple[int, str]]:
    """Numbers of diarists, and the arms of the smallest size."""
    numbers = dict.fromkeys((*grid.diarists, *grid.further))
    family, smallest, _ = grid.first
    return [(count, name(family, smallest, count, SCATTERED)) for count in sorted(numbers)]


def along_sizes(grid: Grid, setup: str = SCATTERED, family: str | None = None) -> list[tuple[str, str]]:
    """Sizes, and the arms at the middle number of diarists."""
    family = family or grid.families[0]
    return [(rung, name(family, rung, grid.middle, setup)) for rung in grid.sizes[family]]


def both(grid: Grid) -> list[tuple[str, str]]:
    """Every cell of the first family: the merged and the scattered arm."""
    cells = grid.cells(grid.families[0])
    return [(name(grid.families[0], r, n, MERGED), name(grid.families[0], r, n, SCATTERED)) for r, n in cells]
