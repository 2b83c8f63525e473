"""The loss of a batch, with logits taken only where a label carries loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from nosce.data.sampling import IGNORED, Batch
from nosce.models.varlen import Forward

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def counted_logits(model: PreTrainedModel, forward: Forward, batch: Batch) -> torch.Tensor:
    """Logits at the counted positions alone, in float32. Shape: (counted, V).

    In question fine-tuning nine positions of ten carry no loss, and the head is the widest matrix.
    """
    hidden = forward(batch.inputs, batch.lengths, batch.given)
    counted = torch.from_numpy(batch.labels != IGNORED).to(hidden.device, non_blocking=True)
    head = model.get_output_embeddings()
    return head(hidden if bool((batch.labels != IGNORED).all()) else hidden[counted]).float()  # type: ignore[no-any-return]


def next_token_nats(model: PreTrainedModel, forward: Forward, batch: Batch) -> torch.Tensor:
    """Negative log-likelihood in nats, summed over the counted tokens by their weights."""
    logits = counted_logits(model, forward, batch)
    there = batch.labels != IGNORED
    labels = torch.from_numpy(batch.labels[there]).to(logits.device, non_blocking=True)
    if batch.weights is None:
        return functional.cross_entropy(logits, labels, reduction="sum")
    weights = torch.from_numpy(batch.weights[there]).to(logits.device, non_blocking=True)
    return functional.cross_entropy(logits, labels, reduction="none") @ weights
