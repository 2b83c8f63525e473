"""Number formats of a training: float32, or bfloat16 with float32 master weights.

In bfloat16 a copy of the model has rounded weights and computes forward and backward pass. Its gradients are added up
in float32, the float32 weights take the step, and the copy is rounded again. No small update is ever added to a large
weight in bfloat16.
"""

from __future__ import annotations

import copy
import json
import statistics
import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from filelock import FileLock

from nosce.store.files import load_json_object, warn_skipped, write_atomically
from nosce.store.provenance import cpu_model
from nosce.store.typecheck import has_type

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, Precision] = ("float32", "bfloat16")
MIN_BFLOAT16_SPEEDUP = 1.1  # bfloat16 is chosen where it is faster by this factor


class MasterWeights:
    """The float32 weights that are trained, and the model that computes; in float32 they are the same."""

    def __init__(self, model: PreTrainedModel, precision: Precision) -> None:
        self.trainable_parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.compute_model = model if precision == "float32" else _bfloat16_copy(model)
        compute_parameters = dict(self.compute_model.named_parameters())
        self._pairs: list[tuple[torch.nn.Parameter, torch.nn.Parameter]] = []
        if self.compute_model is not model:
            self._pairs = [(p, compute_parameters[n]) for n, p in self.trainable_parameters.items()]

    def accumulate_gradients(self) -> None:
        """Add the compute model's gradients to those of the float32 weights."""
        for whole, rounded in self._pairs:
            if rounded.grad is not None:
                gradient = rounded.grad.float()
                whole.grad = gradient if whole.grad is None else whole.grad.add_(gradient)
                rounded.grad = None

    def update_compute_weights(self) -> None:
        """Copy the float32 weights to the compute model, rounded."""
        if self._pairs:
            with torch.no_grad():
                torch._foreach_copy_([r for _, r in self._pairs], [w for w, _ in self._pairs])


def _bfloat16_copy(model: PreTrainedModel) -> PreTrainedModel:
    rounded = copy.deepcopy(model)
    for parameter in rounded.parameters():  # not the buffers: rotary angles need float32
        parameter.data = parameter.data.bfloat16()
    return rounded


def choose_precision(
    requested: Precision | Literal["auto"], *, width: int, device: str, cache_path: Path | None
) -> Precision:
    """The requested precision, or for "auto" the one that is faster on this machine at this width.

    Args:
        requested: A precision, or "auto".
        width: Width of the model; narrow models gain nothing from bfloat16.
        device: On an accelerator "auto" is bfloat16 where torch supports it.
        cache_path: A file that keeps the measurement, so that all runs of a store on this machine compute alike.
    """
    if requested != "auto":
        return requested
    if not device.startswith("cpu"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    if cache_path is None:
        return "bfloat16" if bfloat16_speedup(width) >= MIN_BFLOAT16_SPEEDUP else "float32"
    return _faster_precision(f"width {width}", lambda: bfloat16_speedup(width), cache_path)


def choose_muon_precision(*, width: int, device: str, cache_path: Path | None) -> Precision:
    """The number format of Muon's iterations that is faster on this machine for blocks of this width.

    Args:
        width: Width of the model. Narrow matrices gain nothing from bfloat16, nor does a processor that cannot
            multiply it.
        device: On an accelerator bfloat16 where torch supports it.
        cache_path: A file that keeps the measurement, so that all runs of a store on this machine compute alike.
    """
    if not device.startswith("cpu"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    if cache_path is None:
        return "bfloat16" if muon_bfloat16_speedup(width) >= MIN_BFLOAT16_SPEEDUP else "float32"
    return _faster_precision(f"muon of width {width}", lambda: muon_bfloat16_speedup(width), cache_path)


def _faster_precision(what: str, measure: Callable[[], float], cache_path: Path) -> Precision:
    """The faster number format by the measurement in the file, made and kept there if it is missing."""
    key = f"{cpu_model()} | torch {torch.__version__} | {what}"
    cache_path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{cache_path}.lock"):
        speedups = _measured_speedups(cache_path)
        if key not in speedups:
            speedups[key] = measure()
            write_atomically(cache_path, json.dumps(speedups, indent=2) + "\n")
    return "bfloat16" if speedups[key] >= MIN_BFLOAT16_SPEEDUP else "float32"


def _measured_speedups(cache_path: Path) -> dict[str, float]:
    """The measurements of a file; none where it is damaged, since they can be made again."""
    if not cache_path.exists():
        return {}
    try:
        measured = load_json_object(cache_path)
        if not has_type(measured, dict[str, float]):
            raise ValueError("it holds something else than numbers")
    except ValueError as error:
        warn_skipped(cache_path, str(error))
        return {}
    return measured


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

    from nosce.data.sampling import Batch
    from nosce.models.architecture import Architecture, build_model
    from nosce.models.varlen import varlen_forward
    from nosce.seeds import Seed
    from nosce.train.loss import summed_cross_entropy

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
