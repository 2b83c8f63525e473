"""The loss of a packed batch, with logits taken only where a label carries loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from nosce.text.batches import IGNORED

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def counted_logits(model: PreTrainedModel, input_ids: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Logits at the counted positions alone. Shapes: (B, T), (B, T) bool -> (counted, V).

    In question fine-tuning nine positions of ten carry no loss, and the head is the widest matrix.
    """
    hidden = model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state
    head = model.get_output_embeddings()
    return head(hidden[counted])  # type: ignore[no-any-return]


def next_token_nats(model: PreTrainedModel, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood, in nats per counted token, of labels of shape (B, T)."""
    counted = labels != IGNORED
    return functional.cross_entropy(counted_logits(model, input_ids, counted).float(), labels[counted])
