"""How the study introspection injects concepts into its small models and teaches one to report them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nosce.errors import SpecError
from nosce.train.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class InjectionConfig:
    """How concepts are injected, and how reports of them are taught.

    Args:
        training: The training on reports. Its first checkpoint is the untaught model.
        n_documents: Documents of the training; half of them come from the model's own corpus.
        layer: Blocks below the place where concepts are injected while reports are taught.
        taught_strengths: Strengths of taught injections, in units of the residual stream's mean norm.
        strengths: Strengths of tested injections, beside those that are taught.
        lines_per_concept: Lines on which each concept is tested.
    """

    training: TrainingConfig
    n_documents: int
    layer: int
    taught_strengths: tuple[float, ...] = (1.0, 2.0)
    strengths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    lines_per_concept: int = 4

    def __post_init__(self) -> None:
        if (
            not all(0 < one < math.inf for one in (*self.taught_strengths, *self.strengths))
            or not self.taught_strengths
        ):
            raise SpecError(
                f"concepts cannot be injected with strengths={self.strengths} and taught_strengths="
                f"{self.taught_strengths}; take numbers above 0, and one that is taught."
            )
        if self.training.checkpoint_fractions != (0.0, 1.0):
            raise SpecError(
                f"InjectionConfig.training keeps the checkpoints {self.training.checkpoint_fractions}, but the first "
                "and the last are compared; take 0,1."
            )

    @property
    def tested_strengths(self) -> tuple[float, ...]:
        """All strengths of tested injections, the least first."""
        return tuple(sorted({*self.strengths, *self.taught_strengths}))
