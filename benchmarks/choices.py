"""The small numbers behind choices in the engine, each side by side with what was not chosen, on one core.

attention           forward and backward in float32 against bfloat16 (why `models/varlen.py` widens)
one query           two plain products against torch's fused attention, one query a row (`models/kv_cache.py`)
apart               a training step over texts apart against the same texts in padded rows
packing             its share of a training step
whitening           passes a linear probe needs, on whitened states against standardised ones
profile             where the time of a training step and of generation goes, by torch's profiler
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from measure import cpu_seconds, in_turns, shares, write
from probes import states
from recipes import candidate, data, learnt
from torch.nn import functional

from nosce.data.sampling import EpochSampler, pack
from nosce.evals.probing import probe as probes
from nosce.models import varlen as texts_apart
from nosce.models.architecture import Architecture, build_model
from nosce.models.generation import generate
from nosce.seeds import Seed
from nosce.train.loss import summed_cross_entropy
from nosce.train.optimizer import Optimizer, block_matrix_names
from nosce.train.precision import MasterWeights

SEED = Seed(78)


def attention(dtype: torch.dtype) -> float:
    """Seconds of causal attention and its gradient: 60 texts of 64 tokens, 4 heads of 32."""
    q, k, v = (torch.randn(60, 4, 64, 32).to(dtype).requires_grad_() for _ in range(3))

    def once() -> None:
        functional.scaled_dot_product_attention(q, k, v, is_causal=True).float().sum().backward()  # type: ignore[no-untyped-call]

    once()
    return cpu_seconds(lambda: [once() for _ in range(10)]) / 10


def one_query(fused: bool) -> float:
    """Seconds of attention of one query a row: 256 rows that remember 100 places, 4 heads of 32."""
    q, k, v = torch.randn(256, 4, 1, 32), torch.randn(256, 4, 100, 32), torch.randn(256, 4, 100, 32)

    def once() -> torch.Tensor:
        if fused:
            return functional.scaled_dot_product_attention(q, k, v)
        return (q @ k.transpose(-1, -2) / 32**0.5).softmax(-1) @ v

    once()
    return cpu_seconds(lambda: [once() for _ in range(20)]) / 20


class Training:
    """Steps of the demo's recipe, width 128, in bfloat16."""

    def __init__(self) -> None:
        self.told = data("multi5+permute")
        self.recipe = candidate(1, 32, optimizer="muon", peak_lr=2e-2, muon_lr=0.03)
        net = build_model(
            Architecture.named("3x128"), vocab_size=self.told.vocabulary, eos_id=self.told.end, pad_id=None, seed=SEED
        )
        self.twin = MasterWeights(net, "bfloat16")
        self.optimizer = Optimizer(self.twin.trainable_parameters, self.recipe, block_matrix_names(net))
        self.order = EpochSampler(len(self.told.sequences), 32, SEED)
        self.packing = 0.0

    def steps(self, count: int, padded: bool = False) -> float:
        """Processor seconds of so many steps."""
        self.packing, began = 0.0, time.process_time()
        known = texts_apart.VARLEN_MODEL_TYPES
        texts_apart.VARLEN_MODEL_TYPES = frozenset() if padded else known  # a family that is not known is padded
        try:
            with texts_apart.varlen_forward(self.twin.compute_model) as forward:
                for step in range(count):
                    start = time.process_time()
                    batch = pack(self.told.sequences, self.order.batch_indices(step), window=None, eos_id=self.told.end)
                    self.packing += time.process_time() - start
                    (summed_cross_entropy(self.twin.compute_model, forward, batch) / batch.total_weight).backward()  # type: ignore[no-untyped-call]
                    self.twin.accumulate_gradients()
                    self.optimizer.step(0)
                    self.twin.update_compute_weights()
        finally:
            texts_apart.VARLEN_MODEL_TYPES = known
        return time.process_time() - began


def probed(states: np.ndarray, tasks: dict[str, np.ndarray], entity: np.ndarray, white: bool) -> tuple[float, float]:
    """CPU seconds of 36 linear probes in as many epochs as they are given by default, and their held-out accuracy."""
    scaled = lambda x, train: ((x - x[train].mean(0)) / (x[train].std(0) + 1e-9)).astype(np.float32)  # noqa: E731
    before = probes._whiten
    probes._whiten = before if white else scaled  # type: ignore[assignment]
    found: list[probes.ProbeResult] = []
    try:
        parts = probes.split_by_entity(entity, SEED / "split")
        spent = cpu_seconds(
            lambda: found.extend(
                probes.train_probes(states, tasks, entity, parts, probes.ProbeConfig(), SEED, controls=False)
            )
        )
    finally:
        probes._whiten = before  # type: ignore[assignment]
    return spent, float(np.mean([one.accuracy for one in found]))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--steps", type=int, default=20)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    pair = in_turns({"f": lambda: attention(torch.float32), "b": lambda: attention(torch.bfloat16)}, chosen.repeats)
    write(
        "choices", "attention with gradient, float32 against bfloat16", pair["f"], pair["b"], "CPU seconds of one pass"
    )
    pair = in_turns({"two": lambda: one_query(False), "fused": lambda: one_query(True)}, chosen.repeats)
    write(
        "choices", "one query a row, two products against fused", pair["two"], pair["fused"], "CPU seconds of one pass"
    )
    training = Training()
    training.steps(2), training.steps(2, padded=True)
    packed: list[float] = []

    def ours() -> float:
        took = training.steps(chosen.steps)
        packed.append(training.packing / took)
        return took / chosen.steps

    pair = in_turns(
        {"apart": ours, "padded": lambda: training.steps(chosen.steps, padded=True) / chosen.steps}, chosen.repeats
    )
    note = f"CPU seconds of a step, padded rows attending in bfloat16; packing is {np.median(packed):.1%} of it"
    write("choices", "a training step, texts apart against padded rows", pair["apart"], pair["padded"], note)
    held, tasks, entity = states(1_000)
    (ours_s, good), (theirs_s, other) = (probed(held, tasks, entity, white) for white in (True, False))
    note = f"CPU seconds at equal epochs; mean held-out accuracy {good:.3f} against {other:.3f}"
    write("choices", "36 linear probes, whitened against standardised states", [ours_s], [theirs_s], note)
    write("choices", "profile of training", [training.steps(5) / 5], None, shares(lambda: training.steps(5)))
    told = training.told
    net = build_model(Architecture.named("3x128"), vocab_size=told.vocabulary, eos_id=told.end, pad_id=None, seed=SEED)
    learnt(told, candidate(10, 32, optimizer="muon", peak_lr=2e-2, muon_lr=0.03), net=net)
    prompts = [told.sequences.text_tokens(text).astype(np.int64)[:20] for text in range(200)]
    writing = lambda: generate(net, prompts, eos_id=told.end, max_new_tokens=72)  # noqa: E731
    writing()
    write("choices", "profile of generation without drafts", [cpu_seconds(writing)], None, shares(writing))


if __name__ == "__main__":
    main()
