"""The likelihood of given targets under a model in a folder, by one teacher-forced forward pass a batch.

Letters: B rows, P tokens of a prompt, T tokens of a target, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def target_log_likelihoods(
    model: PreTrainedModel, rows: Sequence[tuple[Sequence[int], Sequence[int]]], pad_id: int
) -> list[float]:
    """The natural log-probability of each target behind its prompt, summed over its tokens, in nats.

    Args:
        model: A decoder, which reads the target behind the prompt, or an encoder-decoder, which decodes the target.
        rows: The tokens of prompt and target, at least one of each.
        pad_id: The token behind the shorter rows, which no token of a row attends to.
    """
    import torch

    scored = []
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            inputs, mask = _padded([prompt for prompt, _ in rows], pad_id, model.device)
            labels, _ = _padded([target for _, target in rows], pad_id, model.device)
            logits = model(input_ids=inputs, attention_mask=mask, labels=labels).logits
            scored = [logits[row, : len(target)] for row, (_, target) in enumerate(rows)]
        else:
            inputs, mask = _padded([[*prompt, *target] for prompt, target in rows], pad_id, model.device)
            logits = model(input_ids=inputs, attention_mask=mask, use_cache=False).logits
            for row, (prompt, target) in enumerate(rows):
                scored.append(logits[row, len(prompt) - 1 : len(prompt) + len(target) - 1])
    values = []
    for (_, target), own in zip(rows, scored, strict=True):
        log_probabilities = own.float().log_softmax(-1).double()  # (T, V)
        tokens = torch.tensor(target, device=log_probabilities.device)
        values.append(float(log_probabilities.gather(1, tokens[:, None]).sum()))
    return values


def _padded(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows with padding behind them, and where there is none. Shape: (B, P + T)."""
    import torch

    width = max(map(len, rows))
    tokens = [[*row, *[pad_id] * (width - len(row))] for row in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    return torch.tensor(tokens, device=device), torch.tensor(mask, device=device)
