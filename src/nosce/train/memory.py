"""The memory that a training needs on its device, by arithmetic.

Activations are what the backward pass keeps of the forward pass. They are proportional to the tokens of a micro-batch,
and where a family writes its attention scores out, to the length of a row as well. `BYTES_PER_LAYER` counts the tensors
that the layers of transformers save for each family; `tests/train/test_memory.py` counts the same on small models.

A sharded training splits weights, gradients and moments over its devices. Each device gathers in turn what it computes
with: the weights outside the blocks, one block and the next, their gradients, and a buffer for the sum of gradients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nosce.models.architecture import Architecture, Family
from nosce.models.number_format import Precision
from nosce.models.varlen import VARLEN_MODEL_TYPES
from nosce.train.config import LoRA, TrainingConfig

#: Bytes that a layer keeps, by token and unit of width, in float32 and in bfloat16 (with float32 attention, as on the
#: CPU, so an upper limit for a GPU). T5's are those of an encoder and a decoder layer, by token of both together.
BYTES_PER_LAYER: dict[Family, tuple[float, float]] = {
    "gpt-neox": (72.5, 40.4),
    "gpt2": (112.5, 66.4),
    "opt": (48.5, 34.4),
    "llama": (82.9, 55.6),
    "codegen": (112.4, 56.3),
    "t5": (70.2, 51.2),
    "modernbert": (83.0, 41.6),
}
BYTES_PER_SCORE = {"t5": 2.05}  # by head, token and position of its row; the other families keep no scores
BYTES_OUTSIDE = (21.0, 14.0)  # of embedding, last norm and head, by token and unit of width: at most
LOGIT_BYTES = 8  # by token with loss and token of the vocabulary: log-probabilities in float32, and their gradient


@dataclass(frozen=True, kw_only=True)
class TrainingMemory:
    """Bytes that a training needs on each of its devices.

    Args:
        weights: Float32 weights, and the rounded copy of a training in bfloat16.
        gradients: Gradients of the trained weights, likewise.
        optimizer: Moments of AdamW, or Muon's momentum.
        activations: What the backward pass of one micro-batch keeps.
        logits: Log-probabilities of one micro-batch and their gradient.
        gathered: Whole weights and gradients that a sharded training has at once, at most.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    gathered: float = 0.0

    @property
    def total(self) -> float:
        """The sum; the allocator of a GPU wants about a tenth more."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits + self.gathered


def training_memory(
    model: Architecture,
    config: TrainingConfig,
    vocab_size: int,
    *,
    mean_tokens: float,
    max_tokens: int,
    precision: Precision,
    adapter: LoRA | None = None,
    gradient_checkpointing: bool = False,
    shards: int | None = None,
) -> TrainingMemory:
    """The memory of a training on an accelerator.

    Args:
        model: The architecture.
        config: The training; its micro-batches are a `grad_accum_steps`-th of a batch.
        vocab_size: Tokens of the tokenizer.
        mean_tokens: Mean tokens of a text.
        max_tokens: Tokens of the longest text.
        precision: Number format of forward and backward pass.
        adapter: Low-rank updates, in whose place the weights are frozen.
        gradient_checkpointing: Whether blocks keep their inputs only.
        shards: Devices over which the model is split. None: each device has the whole model.
    """
    n_weights = model.parameter_count(vocab_size)
    n_trained = n_weights if adapter is None else _adapter_weights(model, adapter, vocab_size)
    row = config.window or max_tokens
    tokens, loss_tokens = micro_batch_tokens(model, config, mean_tokens, max_tokens)
    is_rounded = precision == "bfloat16"
    outside = tokens * model.width * BYTES_OUTSIDE[is_rounded]
    layer = tokens * model.width * BYTES_PER_LAYER[model.family][is_rounded]
    layer += tokens * model.heads * row * BYTES_PER_SCORE.get(model.family, 0.0)
    inputs = tokens * model.width * (2 if is_rounded else 4)  # of a block
    layers = model.layers * inputs + layer if gradient_checkpointing else model.layers * layer
    own = (6 if is_rounded else 4) if shards is None else 4 / shards  # bytes a weight: a shard has no rounded copy
    return TrainingMemory(
        weights=own * n_weights,
        gradients=own * n_trained,
        optimizer=_optimizer_bytes(model, config, n_trained, adapter) / (shards or 1),
        gathered=0.0 if shards is None else _gathered_bytes(model, vocab_size, n_trained / n_weights, precision),
        activations=outside + layers,
        logits=LOGIT_BYTES * loss_tokens * vocab_size,
    )


def micro_batch_tokens(
    model: Architecture, config: TrainingConfig, mean_tokens: float, max_tokens: int
) -> tuple[float, float]:
    """Positions of a micro-batch, and those of them with loss; a family with padded rows has more positions."""
    texts = math.ceil(config.batch_size / config.grad_accum_steps)
    loss_tokens = texts * mean_tokens
    if model.family.replace("-", "_") in VARLEN_MODEL_TYPES:
        return loss_tokens, loss_tokens
    if config.window is None:
        return float(texts * max_tokens), loss_tokens
    return float(math.ceil(loss_tokens / config.window) * config.window), loss_tokens


def _adapter_weights(model: Architecture, adapter: LoRA, vocab_size: int) -> int:
    per_layer = adapter.rank * (model.width + 3 * model.width)  # of query, key and value in one matrix
    return model.layers * per_layer + adapter.embedding_rank * (vocab_size + model.width)


def _gathered_bytes(model: Architecture, vocab_size: int, trained: float, precision: Precision) -> float:
    """Weights outside the blocks and of two blocks, gradients of one block less, and the buffer of a sum in float32."""
    size = 2 if precision == "bfloat16" else 4
    block = model.parameter_count(0) / model.layers
    outside = model.parameter_count(vocab_size) - model.parameter_count(0)
    return size * (outside + 2 * block) + trained * (size * (outside + block) + 4 * max(outside, block))


def _optimizer_bytes(model: Architecture, config: TrainingConfig, n_trained: int, adapter: LoRA | None) -> float:
    """Two float32 moments a weight, of Muon one for the matrices of the blocks."""
    if config.optimizer == "adamw" or adapter is not None:
        return 8.0 * n_trained
    n_block = model.parameter_count(0)
    return 4.0 * n_block + 8.0 * (n_trained - n_block)
