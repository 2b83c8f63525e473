"""The memory of a training, against the tensors that a small one keeps."""

from contextlib import ExitStack
from typing import get_args

import numpy as np
import pytest
import torch

from nosce.data.sampling import Batch
from nosce.models.architecture import Architecture, Family, build_model
from nosce.models.codegen import fused_codegen_attention
from nosce.models.varlen import varlen_forward
from nosce.seeds import Seed
from nosce.train.config import LoRA, TrainingConfig
from nosce.train.loop import enable_gradient_checkpointing
from nosce.train.loss import summed_cross_entropy
from nosce.train.memory import training_memory
from nosce.train.optimizer import Optimizer, block_matrix_names
from nosce.train.precision import MasterWeights

VOCABULARY, ROWS, LENGTH = 400, 6, 64


def shape(family):
    return Architecture(family=family, layers=3, width=96, heads=4, max_positions=LENGTH)


def batch(family):
    tokens = Seed(0).numpy().integers(4, VOCABULARY, size=ROWS * LENGTH)
    prompt_len = np.full(ROWS, LENGTH // 2) if family == "t5" else None
    return Batch(tokens, np.roll(tokens, -1), np.full(ROWS, LENGTH), prompt_len=prompt_len)


def kept_bytes(family, precision, checkpointing):
    """Bytes of all storages that the forward pass keeps for the backward pass, without the model's own."""
    model = build_model(shape(family), vocab_size=VOCABULARY, eos_id=0, pad_id=1, seed=Seed(0), mask_id=2)
    model = MasterWeights(model, precision).compute_model.train()
    if checkpointing:
        enable_gradient_checkpointing(model)
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept = {}

    def pack(tensor):
        if (storage := tensor.untyped_storage()).data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so that no address comes twice
        return tensor

    with ExitStack() as stack:
        forward = stack.enter_context(varlen_forward(model))
        if family == "codegen":
            stack.enter_context(fused_codegen_attention(model))
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor))
        summed_cross_entropy(model, forward, batch(family))
    return sum(size for size, _ in kept.values())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", get_args(Family))
def test_activations_are_what_the_backward_pass_keeps(family, precision, checkpointing):
    """To a tenth; of a checkpointed training the layer in hand is not among what the forward pass keeps."""
    config = TrainingConfig(steps=1, batch_size=ROWS, window=None)
    size = {"mean_tokens": LENGTH, "max_tokens": LENGTH, "precision": precision}
    if checkpointing:
        memory = training_memory(shape(family), config, VOCABULARY, gradient_checkpointing=True, **size)
        whole = training_memory(shape(family), config, VOCABULARY, **size)
        assert kept_bytes(family, precision, True) < memory.activations + memory.logits < whole.total
        return
    memory = training_memory(shape(family), config, VOCABULARY, **size)
    measured = kept_bytes(family, precision, False)
    assert memory.activations + memory.logits / 2 == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_gradients_and_moments(precision, optimizer):
    """Counted on a model that has taken a step; biases and norms, which the arithmetic leaves out, are a fiftieth."""
    config = TrainingConfig(steps=10, batch_size=ROWS, optimizer=optimizer)
    model = build_model(shape("gpt-neox"), vocab_size=VOCABULARY, eos_id=0, pad_id=1, seed=Seed(0))
    both = MasterWeights(model, precision)
    trained = both.trainable_parameters
    optimizer = Optimizer(trained, config, block_matrix_names(model))
    with varlen_forward(both.compute_model) as forward:
        summed_cross_entropy(both.compute_model, forward, batch("gpt-neox")).backward()
    models = {id(m): m for m in (model, both.compute_model)}.values()
    weights = sum(p.nbytes for m in models for p in m.parameters())
    rounded_gradients = sum(p.grad.nbytes for p in both.compute_model.parameters() if both.compute_model is not model)
    both.accumulate_gradients()
    gradients = rounded_gradients + sum(p.grad.nbytes for p in trained.values())
    optimizer.step(0)
    moments = sum(t.nbytes for p in trained.values() for t in optimizer.moments(p).values())
    memory = training_memory(
        shape("gpt-neox"), config, VOCABULARY, mean_tokens=LENGTH, max_tokens=LENGTH, precision=precision
    )
    assert memory.weights == pytest.approx(weights, rel=0.02)
    assert memory.gradients == pytest.approx(gradients, rel=0.02)
    assert memory.optimizer == pytest.approx(moments, rel=0.02)


def test_what_saves_memory_is_counted():
    """Micro-batches divide activations, and frozen weights have neither gradients nor moments."""
    size = {"mean_tokens": 100, "max_tokens": 128, "precision": "bfloat16"}
    config = TrainingConfig(steps=1, batch_size=64)
    quarter = TrainingConfig(steps=1, batch_size=64, grad_accum_steps=4)
    model = Architecture.named("12x768")
    whole, parts = (training_memory(model, c, 50_257, **size) for c in (config, quarter))
    frozen = training_memory(model, config, 50_257, adapter=LoRA(), **size)
    assert parts.activations == pytest.approx(whole.activations / 4)
    assert (parts.weights, parts.optimizer) == (whole.weights, whole.optimizer)
    assert frozen.optimizer < whole.optimizer / 10
    assert whole.optimizer == pytest.approx(8 * 124e6, rel=0.02)  # of GPT2's 124 million weights
