"""Number formats of a training: float32, or bfloat16 with float32 master weights.

In bfloat16 a copy of the model has rounded weights and computes forward and backward pass. Its gradients are added up
in float32, the float32 weights take the step, and the copy is rounded again. No small update is ever added to a large
weight in bfloat16.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import torch

from nosce.data.sampling import Batch
from nosce.models.number_format import PRECISIONS, Precision, bfloat16_copy
from nosce.models.varlen import ForwardFunction
from nosce.train.loss import summed_cross_entropy

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class MasterWeights:
    """The float32 weights that are trained, and the model that computes; in float32 they are the same."""

    def __init__(self, model: PreTrainedModel, precision: Precision) -> None:
        self.trainable_parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.compute_model = model if precision == "float32" else bfloat16_copy(model)
        compute_parameters = dict(self.compute_model.named_parameters())
        self._pairs: list[tuple[torch.nn.Parameter, torch.nn.Parameter]] = []
        if self.compute_model is not model:
            self._pairs = [(p, compute_parameters[n]) for n, p in self.trainable_parameters.items()]

    def summed_loss(self, forward: ForwardFunction, batch: Batch) -> torch.Tensor:
        """Negative log-likelihood in nats, summed over a micro-batch."""
        return summed_cross_entropy(self.compute_model, forward, batch)

    def accumulate_gradients(self) -> None:
        """Add the compute model's gradients to those of the float32 weights."""
        for whole, rounded in self._pairs:
            if rounded.grad is not None:
                gradient = rounded.grad.float()
                whole.grad = gradient if whole.grad is None else whole.grad.add_(gradient)
                rounded.grad = None

    def gather(self) -> None:
        """Nothing is to do before a checkpoint: the trained weights are those of the given model."""

    def update_compute_weights(self) -> None:
        """Copy the float32 weights to the compute model, rounded."""
        if self._pairs:
            with torch.no_grad():
                torch._foreach_copy_([r for _, r in self._pairs], [w for w, _ in self._pairs])


@lru_cache(maxsize=8)
def muon_bfloat16_speedup(width: int) -> float:
    """The speedup of a step of Muon in bfloat16 over float32, on one thread, by the median ratio of turns."""
    from nosce.train.muon import Muon

    generator = torch.Generator().manual_seed(0)
    shapes = [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width)] * 2
    optimizers = []
    for dtype in (torch.float32, torch.bfloat16):
        matrices = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape, generator=generator)
        optimizers.append(Muon(matrices, lr=1e-3, weight_decay=0.0, momentum=0.95, precision=dtype))
    return _median_ratio([optimizer.step for optimizer in optimizers])


@lru_cache(maxsize=8)
def bfloat16_speedup(width: int) -> float:
    """The speedup of training a small model of this width in bfloat16 over float32, on one thread.

    The two take turns, so that a slower machine slows both, and the result is the median of the ratios. It takes about
    a second.
    """
    import numpy as np

    from nosce.models.architecture import Architecture, build_model
    from nosce.models.varlen import varlen_forward
    from nosce.seeds import Seed

    architecture = Architecture(layers=2, width=width, heads=1 if width % 32 else width // 32, max_positions=64)
    tokens = Seed(0).numpy().integers(500, size=16 * 64)
    batch = Batch(tokens, np.roll(tokens, -1), np.full(16, 64))
    variants = []
    for precision in PRECISIONS:
        model = build_model(architecture, vocab_size=500, eos_id=0, pad_id=None, seed=Seed(0))
        variants.append(MasterWeights(model, precision))

    def step(variant: MasterWeights) -> None:
        with varlen_forward(variant.compute_model) as forward:
            torch.autograd.backward(summed_cross_entropy(variant.compute_model, forward, batch) / len(tokens))
            variant.accumulate_gradients()
            variant.update_compute_weights()

    return _median_ratio([partial(step, variant) for variant in variants])


def _median_ratio(variants: list[Callable[[], object]]) -> float:
    """The median over eight turns of the seconds of the first over those of the second, after one to warm up."""
    ratios = []
    for repetition in range(9):
        seconds = []
        for variant in variants:
            start = time.perf_counter()
            variant()
            seconds.append(time.perf_counter() - start)
        if repetition:
            ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios)
