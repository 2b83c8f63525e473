"""A study of one's own on a built-in world: how much does each further wording add?

The paper compares one wording with five. Here the number of wordings is a dose, the claim is about its slope,
and both the slope and the figure of the dose are made in this file.

    nosce run docs/examples/own_study.py:study --scale smoke
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from nosce import (
    Architecture,
    Arm,
    ArmBarFigure,
    Claim,
    Estimate,
    EvalSpec,
    Figure,
    FigureRow,
    MajorityBaseline,
    Mean,
    Measure,
    QAEval,
    RecallEval,
    Selection,
    Stage,
    Study,
    TrainingConfig,
)
from nosce.analysis.stats.intervals import nested_interval
from nosce.data.worlds.biographies.world import Augmentation
from nosce.errors import DataError, UsageError
from nosce.studies.biographies.study import SMALL_BIOGRAPHIES, recall_precondition

ASKING = "asking"
DOSES = ("multi1", "multi2", "multi3")  # `multi1` tells what `single` tells
UNSEEN = Selection(evaluation="questions", split="unseen", stage=ASKING)


@dataclass(frozen=True, kw_only=True)
class SlopeWithinPerson(Measure):
    """What a doubling of the wordings adds: the slope of each person's score over the arms, averaged.

    The arms of a training seed tell of the same people, so the slope is taken within each person and the
    luck of the draw falls out, as in a paired difference.
    """

    selection: Selection
    arms: tuple[str, ...]

    def estimate(self, readings: pl.DataFrame, unit: str) -> Estimate:
        """The mean slope per doubling, with an interval over people and seeds.

        Raises:
            DataError: An arm has no readings, or a person is missing from one.
        """
        rows = self.selection.rows(readings).filter(pl.col("arm").is_in(self.arms))
        if lost := [arm for arm in self.arms if arm not in rows["arm"]]:
            raise DataError(f"a slope over {len(self.arms)} arms was asked for, but {lost} were not read; run them.")
        means = rows.group_by("seed", "entity", "arm").agg(pl.col("value").mean())
        people = means.pivot(on="arm", index=["seed", "entity"], values="value").sort("seed", "entity")
        doublings = np.log2([dose(arm) for arm in self.arms])
        weights = (doublings - doublings.mean()) / ((doublings - doublings.mean()) ** 2).sum()
        scores = people.select(self.arms).to_numpy()
        slopes = (scores - scores[:, :1]) @ weights  # differences first: arms that answer alike have a slope of 0
        found = nested_interval(slopes, people["entity"].to_list(), people["seed"].to_list(), unit=unit)
        return replace(found, n=len(rows), method=f"slope within each {unit}; {found.method}")


@dataclass(frozen=True, kw_only=True)
class DoseCurve(Figure):
    """A figure with the number of wordings along the axis, and one line a split.

    Args:
        selection: The readings, without an arm or a split.
    """

    selection: Selection
    kind: Literal["curves"] = "curves"
    x_label: str = "wordings of each person"
    y_label: str = "exact match"

    def rows(self, readings: pl.DataFrame, arms: Sequence[str], unit: str) -> Iterator[FigureRow]:
        """One row a split and arm."""
        splits: tuple[Literal["seen", "unseen"], ...] = ("seen", "unseen")
        for split in splits:
            for arm in arms:
                estimate = Mean(selection=replace(self.selection, split=split, arm=arm)).estimate(readings, unit)
                yield FigureRow(group=f"{split} people", x=float(dose(arm))).with_estimate(estimate)


def dose(arm: str) -> int:
    """How many wordings of each person an arm reads; arms bear the names of augmentations."""
    return Augmentation.parse(arm).entries_per_person


CLAIM = Claim(
    id="slope",
    text="Every doubling of the wordings adds to what unseen people can be asked for",
    source="our guess",
    measure=SlopeWithinPerson(selection=UNSEEN, arms=DOSES),
    threshold=0.0,
    preconditions=tuple(recall_precondition(arm) for arm in DOSES),
)


def study(scale: str) -> Study:
    """The arms differ in the number of wordings alone; every person is met equally often in each."""
    if scale == "smoke":
        world, model, exposures, batch, asking = (
            replace(SMALL_BIOGRAPHIES, people=40, name_pool_sizes=(8, 8, 16)),
            Architecture.named("2x64"),
            20,
            16,
            20,
        )
    elif scale == "laptop":  # the sizes of `biographies_adamw`
        world, model, exposures, batch, asking = SMALL_BIOGRAPHIES, Architecture.named("3x128"), 260, 32, 600
    else:
        raise UsageError(f"doses has no scale {scale!r}; take smoke or laptop.")
    recipe = TrainingConfig(steps=exposures * world.people // batch, batch_size=batch, window=80, peak_lr=5e-3)
    stage = Stage(
        name=ASKING, training=TrainingConfig(steps=asking, batch_size=48, window=64, peak_lr=3e-4, warmup_steps=20)
    )
    arms = tuple(
        Arm(name=name, world=replace(world, augmentation=name), model=model, training=recipe, stages=(stage,))
        for name in DOSES
    )
    return Study(
        name="doses",
        title="Each further wording",
        question="How much easier does each further wording make it to ask for a fact?",
        paper="after arXiv:2309.14316",
        scale=scale,
        unit="person",
        arms=arms,
        seeds=(0,),
        evals=(EvalSpec(RecallEval()), EvalSpec(MajorityBaseline()), EvalSpec(QAEval(), stage=ASKING)),
        claims=(CLAIM,),
        figures=(
            DoseCurve(
                id="dose",
                title="Questions answered, by number of wordings",
                caption="Exact match after fine-tuning on questions about the seen people.",
                selection=replace(UNSEEN, split=None),
            ),
            ArmBarFigure(
                id="attributes",
                title="Unseen people, by attribute",
                caption="The same questions, one group of bars an attribute; dashes are the most frequent answer.",
                y_label="exact match",
                selection=UNSEEN,
                baseline=Selection(evaluation="majority", split="unseen"),
            ),
        ),
    )
