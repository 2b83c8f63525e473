"""A study's scaling curve as a table of outcomes for the mirage test: the size of each arm, and the two scores.

A size is an arm, or a step of one training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import polars as pl

from nosce.analysis.emergence.forecasts import ScalingCurve, forecast_onsets
from nosce.analysis.emergence.loss_threshold import compare_loss_forms
from nosce.analysis.emergence.scores import ItemOutcomes
from nosce.analysis.emergence.test import mirage_test
from nosce.analysis.measures import RESAMPLING_SEED
from nosce.analysis.selection import Selection, scored_rows
from nosce.errors import DataError

PAIRING_COLUMNS = ("seed", "entity")


@dataclass(frozen=True, kw_only=True)
class ScalingCurveSpec:
    """One scaling curve: arms by size, a sharp score of each item, and possibly a continuous one.

    Args:
        id: Name of the curve, unique within the study.
        title: The title of the curve's figure.
        x_label: What the size is, in words.
        points: The size and the arm of each point.
        steps: The optimizer step of each point, where sizes are steps of a training; () takes those of the readings'
            selections, which are the last ones unless these say otherwise.
        sharp: The sharp readings, e.g. exact match, without an arm.
        continuous: The continuous readings, without an arm; an item's score is their sum.
        lower_is_better: Whether smaller continuous readings are better, e.g. nats.
        log_likelihood: Whether the continuous readings are the nats of the whole target.
        target_tokens: Tokens of a target; given these, forms of the score in the loss of a token are compared too.
    """

    id: str
    title: str
    x_label: str
    points: tuple[tuple[float, str], ...]
    steps: tuple[int, ...] = ()
    sharp: Selection
    continuous: tuple[Selection, ...] = ()
    lower_is_better: bool = True
    log_likelihood: bool = True
    target_tokens: float | None = None

    def outcomes(self, readings: pl.DataFrame) -> ItemOutcomes:
        """The outcomes of the items that every size has, for the seeds that all arms have.

        Raises:
            DataError: Readings are missing, or the arms have no items in common.
        """
        point_steps: list[int | None] = [*self.steps]
        if not point_steps:
            point_steps = [None for _ in self.points]
        points = sorted(zip(self.points, point_steps, strict=True), key=lambda point: point[0])
        scores_by_size = [self._arm_scores(readings, arm, step) for (_, arm), step in points]
        common = scores_by_size[0].select(*PAIRING_COLUMNS)
        for size_scores in scores_by_size[1:]:
            common = common.join(size_scores.select(*PAIRING_COLUMNS), on=list(PAIRING_COLUMNS), how="semi")
        seeds = set(scores_by_size[0]["seed"].to_list()).intersection(
            *(size_scores["seed"].to_list() for size_scores in scores_by_size[1:])
        )
        common = common.filter(pl.col("seed").is_in(list(seeds))).sort(*PAIRING_COLUMNS)
        n_items = min(common["seed"].value_counts()["count"].to_list(), default=0)
        if not n_items:
            raise DataError(f"the arms of {self.id!r} have no items in common; ask all of them the same of one seed.")
        # Splits of other seeds may be an item longer or shorter.
        common = common.group_by("seed", maintain_order=True).head(n_items)
        shape = (common["seed"].n_unique(), len(points), n_items)
        sharp, smooth = (np.empty(shape) for _ in range(2))
        for size_index, size_scores in enumerate(scores_by_size):
            paired_scores = common.join(size_scores, on=list(PAIRING_COLUMNS), how="left", maintain_order="left")
            sharp[:, size_index] = paired_scores["sharp"].to_numpy().reshape(shape[0], shape[2])
            if self.continuous:
                smooth[:, size_index] = paired_scores["continuous"].to_numpy().reshape(shape[0], shape[2])
        sign = -1.0 if self.lower_is_better else 1.0
        continuous = sign * smooth if self.continuous else None
        sizes = np.array([size for (size, _), _ in points])
        return ItemOutcomes(sizes=sizes, sharp=sharp, continuous=continuous, log_likelihood=self.log_likelihood)

    def _arm_scores(self, readings: pl.DataFrame, arm: str, step: int | None) -> pl.DataFrame:
        """One row a seed and entity: `sharp` and `continuous`."""
        rows = scored_rows(_of_point(self.sharp, arm, step), readings)
        scores = rows.group_by(*PAIRING_COLUMNS).agg(sharp=pl.col("value").mean())
        for index, selection in enumerate(self.continuous):
            rows = scored_rows(_of_point(selection, arm, step), readings)
            continuous_scores = rows.group_by(*PAIRING_COLUMNS).agg(pl.col("value").mean().alias(f"c{index}"))
            scores = scores.join(continuous_scores, on=list(PAIRING_COLUMNS), how="inner")
        if not self.continuous:
            return scores
        return scores.with_columns(continuous=pl.sum_horizontal(f"c{n}" for n in range(len(self.continuous))))


def _of_point(selection: Selection, arm: str, step: int | None) -> Selection:
    """The selection of an arm, at a step of its own where there is one."""
    return replace(selection, arm=arm, step=selection.step if step is None else step)


def scaling_curve_over_training(
    id: str,
    title: str,
    arm: str,
    steps: Sequence[int],
    x_per_step: float,
    *scores: Selection,
    x_label: str,
) -> ScalingCurveSpec:
    """The scaling curve of one arm over its kept steps without step 0, which has no logarithm.

    Args:
        id: Name of the curve.
        title: The title of the curve's figure.
        arm: Name of the arm.
        steps: The kept optimizer steps.
        x_per_step: What turns steps into the unit of `x_label`.
        scores: The sharp readings, then the continuous ones, in nats.
        x_label: What the size is, in words.
    """
    kept_steps = tuple(step for step in steps if step)
    return ScalingCurveSpec(
        id=id,
        title=title,
        x_label=x_label,
        points=tuple((step * x_per_step, arm) for step in kept_steps),
        steps=kept_steps,
        sharp=scores[0],
        continuous=scores[1:],
        log_likelihood=False,
    )


def audit_scaling_curve(
    scaling: ScalingCurveSpec, readings: pl.DataFrame
) -> tuple[Mapping[str, object], ItemOutcomes | None]:
    """The mirage test's result as JSON, with onsets and thresholds, and the outcomes; without outcomes, the reason."""
    from nosce.analysis.emergence.summary import mirage_result_json

    try:
        outcomes = scaling.outcomes(readings)
        result = mirage_test(outcomes, RESAMPLING_SEED / "audit")
    except DataError as error:
        return {"id": scaling.id, "title": scaling.title, "verdict": None, "why": str(error)}, None
    onsets = forecast_onsets(pooled_scaling_curve(outcomes), RESAMPLING_SEED / "onsets")
    extra = {
        "onsets": [_finite_or_none(asdict(onset)) for onset in onsets],
        "thresholds": _loss_forms(scaling, outcomes),
    }
    return {"id": scaling.id, "title": scaling.title, **mirage_result_json(result), **extra}, outcomes


def pooled_scaling_curve(outcomes: ItemOutcomes) -> ScalingCurve:
    """The curve for forecasts, pooled over seeds."""
    n_correct, n_total = outcomes.counts
    smooth = outcomes.means()[1]
    return ScalingCurve(
        outcomes.sizes,
        n_correct.sum(0),
        n_total.sum(0),
        None if smooth is None else smooth.mean(0),
        outcomes.chance,
        outcomes.log_likelihood,
    )


def _finite_or_none(row: dict[str, object]) -> dict[str, object]:
    return {name: None if isinstance(v, float) and not np.isfinite(v) else v for name, v in row.items()}


def _loss_forms(scaling: ScalingCurveSpec, outcomes: ItemOutcomes) -> dict[str, object] | None:
    """Forms of the sharp score in the loss of a token, over all sizes and seeds."""
    if scaling.target_tokens is None or outcomes.continuous is None:
        return None
    n_correct, n_total = outcomes.counts
    loss = -outcomes.continuous.mean(2).ravel() / scaling.target_tokens
    try:
        comparison = compare_loss_forms(
            loss, n_correct.ravel(), n_total.ravel(), chance=outcomes.chance, target_tokens=scaling.target_tokens
        )
    except DataError:
        return None
    return {**asdict(comparison), "best": comparison.best}
