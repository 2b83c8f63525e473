"""The loss of a batch, with logits taken only where a label carries loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from nosce.data.sampling import IGNORE_INDEX, Batch
from nosce.models.varlen import ForwardFunction

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def loss_position_logits(model: PreTrainedModel, forward: ForwardFunction, batch: Batch) -> torch.Tensor:
    """Logits at the counted positions alone, in float32. Shape: (counted, V).

    In question fine-tuning nine positions of ten carry no loss, and the head is the widest matrix.
    """
    hidden = forward(batch.inputs, batch.lengths, batch.prompt_len)
    has_loss = torch.from_numpy(batch.labels != IGNORE_INDEX).to(hidden.device, non_blocking=True)
    head = model.get_output_embeddings()
    return head(hidden if bool((batch.labels != IGNORE_INDEX).all()) else hidden[has_loss]).float()  # type: ignore[no-any-return]


def summed_cross_entropy(model: PreTrainedModel, forward: ForwardFunction, batch: Batch) -> torch.Tensor:
    """Negative log-likelihood in nats, summed over the counted tokens by their weights."""
    logits = loss_position_logits(model, forward, batch)
    has_loss = batch.labels != IGNORE_INDEX
    labels = torch.from_numpy(batch.labels[has_loss]).to(logits.device, non_blocking=True)
    if batch.weights is None:
        return functional.cross_entropy(logits, labels, reduction="sum")
    weights = torch.from_numpy(batch.weights[has_loss]).to(logits.device, non_blocking=True)
    return functional.cross_entropy(logits, labels, reduction="none") @ weights
