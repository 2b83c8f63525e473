"""A study's scaling curve as a table of outcomes, for the mirage test: which arms are of which size, and what is held
against what. Sizes are arms, or the steps of one training; beside the test's own, measures that a claim can rest on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from nosce.analysis.emergence.forecasts import Curve, onsets
from nosce.analysis.emergence.loss_threshold import held
from nosce.analysis.emergence.scores import Items
from nosce.analysis.emergence.test import audit
from nosce.analysis.measures import RESAMPLING, Select, scored
from nosce.errors import DataError

KEYS = ("seed", "about")


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """One curve: arms by size, a sharp reading of each item, and a continuous one.

    Each item has one sharp reading; continuous ones are summed over its selections. Selections name no arm.
    """

    id: str
    title: str
    x_label: str
    points: tuple[tuple[float, str], ...]  # size, arm
    steps: tuple[int, ...] = ()  # of each point, where they are those of a training; none: the last ones
    sharp: Select
    continuous: tuple[Select, ...] = ()
    lower_is_better: bool = True  # of the continuous readings, e.g. nats
    log_likelihood: bool = True  # they are the nats of the whole target
    tokens: float | None = None  # of a target, where loss is to be an axis too

    def items(self, readings: pl.DataFrame) -> Items:
        """The table that the mirage test takes: items that are there at every size, of seeds that all arms have.

        Raises:
            DataError: Something was not read, or nothing is left that all arms have.
        """
        told: Sequence[int | str] = self.steps or ("last",) * len(self.points)
        points = sorted(zip(self.points, told, strict=True), key=lambda point: point[0])
        parts = [self._of(readings, arm, step) for (_, arm), step in points]
        common = parts[0].select(*KEYS)
        for part in parts[1:]:
            common = common.join(part.select(*KEYS), on=list(KEYS), how="semi")
        seeds = set(parts[0]["seed"].to_list()).intersection(*(part["seed"].to_list() for part in parts[1:]))
        common = common.filter(pl.col("seed").is_in(list(seeds))).sort(*KEYS)
        least = min(common["seed"].value_counts()["count"].to_list(), default=0)
        if not least:
            raise DataError(f"the arms of {self.id!r} have no items in common; ask all of them the same of one seed.")
        # Splits of other seeds may be an item longer or shorter.
        common = common.group_by("seed", maintain_order=True).head(least)
        shape = (common["seed"].n_unique(), len(points), least)
        sharp, smooth = (np.empty(shape) for _ in range(2))
        for place, part in enumerate(parts):
            mine = common.join(part, on=list(KEYS), how="left", maintain_order="left")
            sharp[:, place] = mine["sharp"].to_numpy().reshape(shape[0], shape[2])
            if self.continuous:
                smooth[:, place] = mine["continuous"].to_numpy().reshape(shape[0], shape[2])
        way = -1.0 if self.lower_is_better else 1.0
        continuous = way * smooth if self.continuous else None
        sizes = np.array([size for (size, _), _ in points])
        return Items(sizes=sizes, sharp=sharp, continuous=continuous, log_likelihood=self.log_likelihood)

    def _of(self, readings: pl.DataFrame, arm: str, step: int | str) -> pl.DataFrame:
        """One row a seed and thing: `sharp` and `continuous`."""
        where: dict[str, Any] = {"arm": arm, "step": step}
        found = scored(replace(self.sharp, **where), readings).group_by(*KEYS).agg(sharp=pl.col("value").mean())
        for number, select in enumerate(self.continuous):
            more = (
                scored(replace(select, **where), readings)
                .group_by(*KEYS)
                .agg(pl.col("value").mean().alias(f"c{number}"))
            )
            found = found.join(more, on=list(KEYS), how="inner")
        if not self.continuous:
            return found
        return found.with_columns(continuous=pl.sum_horizontal(f"c{n}" for n in range(len(self.continuous))))


def along_training(
    id: str,
    title: str,
    arm: str,
    steps: Sequence[int],
    per_step: float,
    *scores: Select,
    x_label: str,
) -> Scaling:
    """The curve of one arm over its kept steps, the beginning left out, which has no logarithm.

    Args:
        scores: The sharp one first, then those that are nats.
    """
    looked = tuple(step for step in steps if step)
    return Scaling(id=id, title=title, x_label=x_label, points=tuple((step * per_step, arm) for step in looked),
                   steps=looked, sharp=scores[0], continuous=scores[1:], log_likelihood=False)  # fmt: skip


def audited(scaling: Scaling, readings: pl.DataFrame) -> tuple[Mapping[str, object], Items | None]:
    """What the mirage test says of it, as JSON, with onsets and thresholds; or why it could not be asked."""
    from nosce.analysis.emergence.summary import as_json

    try:
        items = scaling.items(readings)
        found = audit(items, RESAMPLING / "audit")
    except DataError as error:
        return {"id": scaling.id, "title": scaling.title, "verdict": None, "why": str(error)}, None
    more = {"onsets": [_plain(asdict(one)) for one in onsets(of_items(items), RESAMPLING / "onsets")],
            "thresholds": _thresholds(scaling, items)}  # fmt: skip
    return {"id": scaling.id, "title": scaling.title, **as_json(found), **more}, items


def of_items(items: Items) -> Curve:
    """The curve that forecasts are made of, seeds taken together."""
    right, asked = items.counts
    smooth = items.means()[1]
    return Curve(items.sizes, right.sum(0), asked.sum(0), None if smooth is None else smooth.mean(0),
                 items.chance, items.log_likelihood)  # fmt: skip


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(v, float) and not np.isfinite(v) else v for name, v in row.items()}


def _thresholds(scaling: Scaling, items: Items) -> dict[str, Any] | None:
    """Forms of the sharp score in the loss of a token, over all sizes and seeds."""
    if scaling.tokens is None or items.continuous is None:
        return None
    right, asked = items.counts
    loss = -items.continuous.mean(2).ravel() / scaling.tokens
    try:
        found = held(loss, right.ravel(), asked.ravel(), chance=items.chance, tokens=scaling.tokens)
    except DataError:
        return None
    return {**asdict(found), "best": found.best}
