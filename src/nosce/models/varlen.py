"""Many texts in one forward pass, each seeing only itself, and nothing computed on empty places.

Matrices, norms and embeddings run over all tokens of all texts as one long row. Only attention must
know where a text ends: it spreads the tokens of texts of like length over a small padded block, attends
there, and gathers them back. Letters: N tokens, S stretches, H heads, E their width, T positions.

`benchmarks/choices.py` holds a training step against the same texts in padded rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from nosce.models.architecture import is_bidirectional
from nosce.models.seq2seq import encoder_decoder_states

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VARLEN_ATTENTION = "nosce-apart"
#: Families whose attention is plain and causal, by transformers' model type; others are padded.
VARLEN_MODEL_TYPES = frozenset({"gpt_neox", "gpt2", "opt", "llama"})
MIN_LENGTH_RATIO = 0.75  # a block holds stretches down to this share of its longest, ...
MIN_BUCKET_TOKENS = (
    512  # ... and shorter ones still while it has fewer tokens than this: small products cost more than padding
)


ForwardFunction = Callable[[np.ndarray, np.ndarray, np.ndarray | None], torch.Tensor]
"""Tokens (N,), the lengths (S,) of the stretches they fall into, and how much of each is given -> states (N, width).

What is given (S,) matters to an encoder-decoder alone.
"""


@dataclass(frozen=True, slots=True)
class LengthBucket:
    """Stretches of like length that are attended to together: tokens `start` to `stop` of the long row."""

    start: int
    stop: int
    sequences: int
    max_length: int
    padded_positions: torch.Tensor | None  # where each token lies in the padded block; None where all are equally long


def bucket_by_length(
    lengths: np.ndarray, device: torch.device | str = "cpu", *, split_on_length_change: bool = False
) -> tuple[LengthBucket, ...]:
    """Stretches, longest first, cut into blocks that waste little on padding.

    Args:
        split_on_length_change: Cut where lengths change too, once a block is large enough: what is equally long need
            not be spread. For reading, where many texts are; the batch of a training step would fall into crumbs.
    """
    cuts, start = [], 0
    while start < len(lengths):
        max_length, stop, tokens = int(lengths[start]), start, 0
        while stop < len(lengths) and (lengths[stop] >= MIN_LENGTH_RATIO * max_length or tokens < MIN_BUCKET_TOKENS):
            if (
                split_on_length_change
                and stop > start
                and tokens >= MIN_BUCKET_TOKENS
                and lengths[stop] < lengths[stop - 1]
            ):
                break
            tokens += int(lengths[stop])
            stop += 1
        cuts.append((start, stop, max_length))
        start = stop
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return tuple(_length_bucket(lengths, starts, *cut, device) for cut in cuts)


def _length_bucket(
    lengths: np.ndarray, starts: np.ndarray, start: int, stop: int, max_length: int, device: torch.device | str
) -> LengthBucket:
    bucket_lengths = lengths[start:stop]
    padded_positions = None
    if bucket_lengths[-1] < max_length:
        row = np.repeat(np.arange(stop - start), bucket_lengths)
        column = np.arange(starts[stop] - starts[start]) - np.repeat(starts[start:stop] - starts[start], bucket_lengths)
        padded_positions = torch.from_numpy(row * max_length + column).to(device)
    return LengthBucket(int(starts[start]), int(starts[stop]), stop - start, max_length, padded_positions)


class _ScatterToPadded(torch.autograd.Function):
    """Tokens to their places among zeros. Its gradient is a plain gather: no place is taken twice."""

    @staticmethod
    def forward(ctx: Any, tokens: torch.Tensor, places: torch.Tensor, size: int) -> torch.Tensor:
        ctx.save_for_backward(places)
        return tokens.new_zeros(size, *tokens.shape[1:]).index_copy_(0, places, tokens)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradient.index_select(0, ctx.saved_tensors[0]), None, None


class _GatherFromPadded(torch.autograd.Function):
    """Tokens back from their places; its gradient spreads them out again."""

    @staticmethod
    def forward(ctx: Any, block: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(places)
        ctx.size = block.shape[0]
        return block.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        places = ctx.saved_tensors[0]
        return gradient.new_zeros(ctx.size, *gradient.shape[1:]).index_copy_(0, places, gradient), None


def _varlen_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    buckets: tuple[LengthBucket, ...] = (),
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each stretch, in transformers' calling convention. (1, H, N, E) -> (1, N, H, E)."""
    widen = query.dtype == torch.bfloat16 and query.device.type == "cpu"
    parts = []
    for block in buckets:
        q, k, v = (
            _to_padded(x[0].transpose(0, 1)[block.start : block.stop], block, widen) for x in (query, key, value)
        )
        attended = functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scaling, dropout_p=dropout, enable_gqa=q.shape[1] != k.shape[1]
        )
        flat = attended.transpose(1, 2).reshape(block.sequences * block.max_length, *query.shape[1::2])
        parts.append(flat if block.padded_positions is None else _GatherFromPadded.apply(flat, block.padded_positions))  # type: ignore[no-untyped-call]
    outputs = parts[0] if len(parts) == 1 else torch.cat(parts)
    return outputs.to(query.dtype).unsqueeze(0), None


def _to_padded(tokens: torch.Tensor, block: LengthBucket, widen: bool) -> torch.Tensor:
    """Tokens (n, H, E) as a padded block (stretches, H, longest, E).

    On a processor bfloat16 is widened here: torch's attention and its gradient take three times as long in
    bfloat16 as in float32 (`benchmarks/choices.py`), which eats all that narrower matrices win.
    """
    if widen:
        tokens = tokens.float()
    if block.padded_positions is not None:
        tokens = _ScatterToPadded.apply(tokens, block.padded_positions, block.sequences * block.max_length)  # type: ignore[no-untyped-call]
    return tokens.reshape(block.sequences, block.max_length, *tokens.shape[1:]).transpose(1, 2)


@contextmanager
def varlen_forward(model: PreTrainedModel) -> Iterator[ForwardFunction]:
    """Inside the block, a function that runs texts through the model, each apart from the others.

    A family whose attention we do not know is given padded rows instead: the same numbers, more work.
    """
    if model.config.is_encoder_decoder:
        yield partial(_encoder_decoder_forward, model)
        return
    if is_bidirectional(model):
        yield partial(_bidirectional_forward, model)
        return
    if model.config.model_type not in VARLEN_MODEL_TYPES:
        yield partial(_padded_causal_forward, model)
        return
    from transformers import AttentionInterface

    AttentionInterface.register(VARLEN_ATTENTION, _varlen_attention)
    previous_implementation = model.config._attn_implementation
    model.set_attn_implementation(VARLEN_ATTENTION)
    try:
        yield partial(_varlen_causal_forward, model)
    finally:
        model.set_attn_implementation(previous_implementation)


def _encoder_decoder_forward(
    model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, prompt_len: np.ndarray | None = None
) -> torch.Tensor:
    """What the decoder makes of each text, the encoder having read what is given of it."""
    return encoder_decoder_states(model, tokens, lengths, np.zeros_like(lengths) if prompt_len is None else prompt_len)


def _varlen_causal_forward(
    model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, prompt_len: np.ndarray | None = None
) -> torch.Tensor:
    ends = np.cumsum(lengths)
    positions = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    outputs = model.base_model(
        input_ids=_to_device(tokens, model)[None],
        position_ids=_to_device(positions, model)[None],
        use_cache=False,
        buckets=bucket_by_length(lengths, model.device, split_on_length_change=not torch.is_grad_enabled()),
    )
    return outputs.last_hidden_state[0]  # type: ignore[no-any-return]


def _padded_causal_forward(
    model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, prompt_len: np.ndarray | None = None
) -> torch.Tensor:
    rows, width = len(lengths), int(lengths.max())
    is_token = np.arange(width) < lengths[:, None]
    inputs = np.zeros((rows, width), dtype=np.int64)  # a causal model cannot look at what stands behind
    inputs[is_token] = tokens
    hidden = model.base_model(input_ids=_to_device(inputs, model), use_cache=False).last_hidden_state
    return hidden[_to_device(is_token, model)]  # type: ignore[no-any-return]


def _bidirectional_forward(
    model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, prompt_len: np.ndarray | None = None
) -> torch.Tensor:
    """What a masked model's head reads: it has a layer between its last norm and its output matrix."""
    rows, width = len(lengths), int(lengths.max())
    is_token = np.arange(width) < lengths[:, None]
    inputs = np.zeros((rows, width), dtype=np.int64)
    inputs[is_token] = tokens
    token_mask = _to_device(is_token, model)
    hidden = model.base_model(input_ids=_to_device(inputs, model), attention_mask=token_mask.long()).last_hidden_state
    return model.head(hidden[token_mask])  # type: ignore[no-any-return]


def _to_device(array: np.ndarray, model: PreTrainedModel) -> torch.Tensor:
    return torch.from_numpy(array).to(model.device, non_blocking=True)
