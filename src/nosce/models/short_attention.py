"""Causal attention of short sequences in bfloat16 on a CPU, by plain matrix products.

On an EPYC torch's fused attention with its gradient takes four times as long in bfloat16 as in float32, and 1.4 to 1.8
times as long in float32 as these products. Scores and their softmax are float32, as in fused attention on a GPU;
probabilities and gradients are multiplied in bfloat16.
Letters: R rows times heads, T positions, E width of a head.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch

Context = Any  # of a `torch.autograd.Function`, which torch does not type
MAX_SHORT_POSITIONS = 256  # the scores of longer sequences take more memory than all else


def short_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None) -> torch.Tensor:
    """Causal attention, (sequences, heads, T, E) in bfloat16 each -> (sequences, heads, T, E).

    Args:
        query: Queries.
        key: Keys, with as many heads as the queries.
        value: Values.
        scaling: Factor of the scores; None: one over the square root of E.
    """
    scale = 1 / math.sqrt(query.shape[-1]) if scaling is None else scaling
    flat = (x.reshape(-1, *x.shape[2:]) for x in (query, key, value))
    attended: torch.Tensor = _ShortAttention.apply(*flat, scale)  # type: ignore[no-untyped-call]  # torch
    return attended.view(query.shape)


class _ShortAttention(torch.autograd.Function):
    """The products and their gradients, (R, T, E) each."""

    @staticmethod
    def forward(
        ctx: Context, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        mask = _causal_mask(query.shape[1])
        scores = torch.baddbmm(mask, query.float(), key.float().transpose(1, 2), alpha=scale)
        probabilities = scores.softmax(-1).to(query.dtype)
        ctx.save_for_backward(query, key, value, probabilities)
        ctx.scale = scale
        return torch.bmm(probabilities, value)

    @staticmethod
    def backward(ctx: Context, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        query, key, value, probabilities = ctx.saved_tensors
        by_value = torch.bmm(probabilities.transpose(1, 2), gradient)
        by_probability = torch.bmm(gradient, value.transpose(1, 2))
        by_score = torch._softmax_backward_data(by_probability, probabilities, -1, probabilities.dtype).mul_(ctx.scale)
        return torch.bmm(by_score, key), torch.bmm(by_score.transpose(1, 2), query), by_value, None


@lru_cache(maxsize=256)
def _causal_mask(length: int) -> torch.Tensor:
    """Minus infinity where a position would see a later one. Shape: (1, T, T)."""
    return torch.full((1, length, length), -math.inf).triu(1)
