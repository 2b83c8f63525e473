"""Attention of CodeGen through torch's fused kernels.

transformers writes CodeGen's attention out: the softmax (heads, T, T) of each row and layer stays in memory for the
backward pass, in float32 and again in the format of the values. The fused kernels keep none of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def fused_codegen_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within the block the attention layers of a CodeGen model compute by `scaled_dot_product_attention`."""
    from transformers.models.codegen.modeling_codegen import CodeGenAttention

    layers = [module for module in model.modules() if isinstance(module, CodeGenAttention)]
    for layer in layers:
        layer._attn = MethodType(_fused_attention, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer._attn


def _fused_attention(
    layer: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
) -> tuple[torch.Tensor, None]:
    """Attention in CodeGen's calling convention, without the weights. Shapes: (rows, heads, T, head width)."""
    mask = None if attention_mask is None else attention_mask.to(value.dtype)
    attended = functional.scaled_dot_product_attention(
        query.to(value.dtype), key.to(value.dtype), value, attn_mask=mask, is_causal=mask is None
    )
    return attended, None
