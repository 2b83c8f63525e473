"""The loss of a batch, with logits computed only at positions that carry loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from nosce.data.sampling import IGNORE_INDEX, Batch
from nosce.models.logits import output_logits
from nosce.models.varlen import ForwardFunction

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def loss_position_logits(model: PreTrainedModel, forward: ForwardFunction, batch: Batch) -> torch.Tensor:
    """Logits at the positions that carry loss, in float32. Shape: (positions with loss, V).

    The head is the widest matrix, and in fine-tuning on questions nine of ten positions carry no loss.
    """
    hidden = forward(batch.inputs, batch.lengths, batch.prompt_len)
    has_loss = torch.from_numpy(batch.labels != IGNORE_INDEX).to(hidden.device, non_blocking=True)
    return output_logits(model, hidden if bool((batch.labels != IGNORE_INDEX).all()) else hidden[has_loss])


def summed_cross_entropy(model: PreTrainedModel, forward: ForwardFunction, batch: Batch) -> torch.Tensor:
    """Negative log-likelihood in nats: the weighted sum over the tokens that carry loss."""
    logits = loss_position_logits(model, forward, batch)
    has_loss = batch.labels != IGNORE_INDEX
    labels = torch.from_numpy(batch.labels[has_loss]).to(logits.device, non_blocking=True)
    if batch.weights is None:
        return functional.cross_entropy(logits, labels, reduction="sum")
    weights = torch.from_numpy(batch.weights[has_loss]).to(logits.device, non_blocking=True)
    return functional.cross_entropy(logits, labels, reduction="none") @ weights
