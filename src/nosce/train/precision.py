"""Which numbers a training computes with: float32, or bfloat16 beside weights that stay float32.

In bfloat16 the model has a twin whose weights are rounded copies. The twin computes; its gradients are
added up in float32, the float32 weights take the step, and the twin is rounded anew. Nothing small is
ever added to something large in bfloat16.
"""

from __future__ import annotations

import copy
import json
import statistics
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from filelock import FileLock

from nosce.store.files import write_atomically
from nosce.store.provenance import processor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Precision = Literal["float32", "bfloat16"]
PAYS = 1.1  # bfloat16 is chosen where it is faster by this factor


class Twin:
    """A model to compute with and the float32 weights that learn; in float32 they are one."""

    def __init__(self, model: PreTrainedModel, precision: Precision) -> None:
        self.named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.model = model if precision == "float32" else _rounded(model)
        mirrored = dict(self.model.named_parameters())
        self._pairs = [(p, mirrored[n]) for n, p in self.named.items()] if self.model is not model else []

    def collect(self) -> None:
        """Add the twin's gradients to those of the float32 weights."""
        for whole, rounded in self._pairs:
            if rounded.grad is not None:
                gradient = rounded.grad.float()
                whole.grad = gradient if whole.grad is None else whole.grad.add_(gradient)
                rounded.grad = None

    def refresh(self) -> None:
        """Round the float32 weights into the twin."""
        if self._pairs:
            with torch.no_grad():
                torch._foreach_copy_([r for _, r in self._pairs], [w for w, _ in self._pairs])


def _rounded(model: PreTrainedModel) -> PreTrainedModel:
    twin = copy.deepcopy(model)
    for parameter in twin.parameters():  # weights alone: the angles of rotary positions need their digits
        parameter.data = parameter.data.bfloat16()
    return twin


def chosen(asked: Precision | Literal["auto"], *, width: int, device: str, memory: Path | None) -> Precision:
    """The precision that was asked for, or for "auto" the one that is faster here at this width.

    Args:
        width: Of the model; narrow ones gain nothing from bfloat16.
        device: On an accelerator "auto" is bfloat16 wherever torch says the device has it.
        memory: A file that keeps the answer, so that all runs of a store on this machine compute alike.
    """
    if asked != "auto":
        return asked
    if not device.startswith("cpu"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    if memory is None:
        return "bfloat16" if gain(width) >= PAYS else "float32"
    key = f"{processor()} | torch {torch.__version__} | width {width}"
    memory.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{memory}.lock"):
        known = json.loads(memory.read_text()) if memory.exists() else {}
        if key not in known:
            known[key] = gain(width)
            write_atomically(memory, json.dumps(known, indent=2) + "\n")
    return "bfloat16" if known[key] >= PAYS else "float32"


@lru_cache(maxsize=8)
def gain(width: int) -> float:
    """How many times faster a small model of this width trains in bfloat16 than in float32, on this thread.

    Both take turns at the same steps, so that a machine that slows down slows both; the median of the
    ratios counts. Takes about a second.
    """
    import numpy as np

    from nosce.data.sampling import Batch
    from nosce.models.architecture import Architecture, build
    from nosce.models.varlen import apart
    from nosce.seeds import Seed
    from nosce.train.loss import next_token_nats

    shape = Architecture(layers=2, width=width, heads=1 if width % 32 else width // 32, positions=64)
    tokens = Seed(0).numpy().integers(500, size=16 * 64)
    batch = Batch(tokens, np.roll(tokens, -1), np.full(16, 64))
    twins = [Twin(build(shape, vocabulary=500, end=0, pad=None, seed=Seed(0)), p) for p in ("float32", "bfloat16")]
    ratios = []
    for turn in range(9):
        taken = []
        for twin in twins:
            with apart(twin.model) as forward:
                start = time.perf_counter()
                (next_token_nats(twin.model, forward, batch) / len(tokens)).backward()  # type: ignore[no-untyped-call]
                twin.collect()
                twin.refresh()
                taken.append(time.perf_counter() - start)
        if turn:  # the first one warms up
            ratios.append(taken[0] / taken[1])
    return statistics.median(ratios)
