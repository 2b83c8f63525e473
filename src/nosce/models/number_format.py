"""The number formats in which a model computes, and the choice between them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, Precision] = ("float32", "bfloat16")


def bfloat16_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the model with rounded weights; its buffers keep their format."""
    rounded = copy.deepcopy(model)
    for parameter in rounded.parameters():  # not the buffers: rotary angles need float32
        parameter.data = parameter.data.bfloat16()
    return rounded


def choose_precision(requested: Precision | Literal["auto"], *, device: str) -> Precision:
    """The requested precision, or for "auto" bfloat16 where the device multiplies it.

    The choice depends on the machine alone. A measurement would choose otherwise on a busy machine, and steps of equal
    keys would have other bytes; `nosce doctor` measures, and says so where bfloat16 is slower.

    Args:
        requested: A precision, or "auto".
        device: Device of torch.
    """
    if requested != "auto":
        return requested
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if device.startswith("cpu") and cpu_multiplies_bfloat16() else "float32"


def cpu_multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for it: AMX, or AVX-512 BF16. Others convert, which takes longer.

    On an EPYC with AVX-512 BF16 a training in bfloat16 is faster by 1.13 to 1.34 at width 32 and by more above.
    """
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
