"""How the study introspection injects concepts into its small models and teaches one to report them."""

from __future__ import annotations

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
        strengths: Strengths of tested injections.
        lines_per_concept: Lines on which each concept is tested.
    """

    training: TrainingConfig
    n_documents: int
    layer: int
    taught_strengths: tuple[float, ...] = (1.0, 2.0)
    strengths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    lines_per_concept: int = 4

    def __post_init__(self) -> None:
        if not set(self.taught_strengths) <= set(self.strengths):
            raise SpecError(
                f"InjectionConfig.strengths={self.strengths} must have all of taught_strengths="
                f"{self.taught_strengths}, at which the claims are judged; add them."
            )
        if self.training.checkpoint_fractions != (0.0, 1.0):
            raise SpecError(
                f"InjectionConfig.training keeps the checkpoints {self.training.checkpoint_fractions}, but the first "
                "and the last are compared; take 0,1."
            )
