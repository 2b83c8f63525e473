"""A linear map some of whose weights stay as they are."""

from __future__ import annotations

import torch


class MaskedLinear(torch.nn.Linear):
    """A linear map without bias whose weights count where a mask is 1; elsewhere they have no effect and no gradient.

    Attributes:
        mask: As the weight, 0 or 1. Shape: (outputs, inputs).
    """

    mask: torch.Tensor

    def __init__(self, weight: torch.nn.Parameter, mask: torch.Tensor) -> None:
        outputs, inputs = weight.shape
        super().__init__(inputs, outputs, bias=False, device="meta")
        self.weight = weight
        self.register_buffer("mask", mask.to(weight), persistent=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """The outputs. (..., inputs) -> (..., outputs)."""
        return torch.nn.functional.linear(states, self.weight * self.mask)
