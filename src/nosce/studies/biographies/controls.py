"""The controls of our own shortcuts: the core of the study `biographies`, trained otherwise.

What is claimed after the fast optimizer, and after questions that each stand alone, must hold after these too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nosce.studies.biographies.study import core_study
from nosce.study import Arm, Scale, Study


def adamw(scale: Scale, settings: Sequence[str] = ()) -> Study:
    """The same arms, claims and figures, trained with the paper's optimizer, AdamW (arXiv:2309.14316, section 2.1)."""
    return core_study(scale, optimizer="adamw", name="biographies_adamw", settings=settings)


def packed(scale: Scale, settings: Sequence[str] = ()) -> Study:
    """As `adamw`, with the questions of fine-tuning packed into rows of 64 tokens, where each sees those before it."""
    whole = core_study(scale, optimizer="adamw", name="biographies_packed", settings=settings)
    return replace(whole, arms=tuple(map(_with_packed_questions, whole.arms)))


def _with_packed_questions(arm: Arm) -> Arm:
    stages = (replace(stage, training=replace(stage.training, window=64)) for stage in arm.stages)
    return replace(arm, stages=tuple(stages))
