"""The study `biographies` with its questions packed into rows of 64 tokens, where each sees those before it.

The control of reading questions apart in fine-tuning. Models, optimizer and all that is memorised are those of
`biographies_adamw`; the fine-tuning alone differs.
"""

from __future__ import annotations

from dataclasses import replace

from nosce.studies import biographies
from nosce.study import Scale, Study


def study(scale: Scale) -> Study:
    """The study at a scale, questions in rows of 64."""
    whole = biographies.core(scale, optimizer="adamw", name="biographies_packed")
    arms = tuple(
        replace(arm, stages=tuple(replace(s, recipe=replace(s.recipe, window=64)) for s in arm.stages))
        for arm in whole.arms
    )
    return replace(whole, arms=arms)
