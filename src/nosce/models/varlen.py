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

from nosce.models.architecture import sees_both_ways
from nosce.models.seq2seq import hidden_states

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "nosce-apart"
#: Families whose attention is plain and causal, by transformers' model type; others are padded.
KNOWN = frozenset({"gpt_neox", "gpt2", "opt", "llama"})
SHORTEST = 0.75  # a block holds stretches down to this share of its longest, ...
LEAST = 512  # ... and shorter ones still while it has fewer tokens than this: small products cost more than padding


Forward = Callable[[np.ndarray, np.ndarray, np.ndarray | None], torch.Tensor]
"""Tokens (N,), the lengths (S,) of the stretches they fall into, and how much of each is given -> states (N, width).

What is given (S,) matters to an encoder-decoder alone.
"""


@dataclass(frozen=True, slots=True)
class Block:
    """Stretches of like length that are attended to together: tokens `first` to `last` of the long row."""

    first: int
    last: int
    stretches: int
    longest: int
    places: torch.Tensor | None  # where each token lies in the padded block; None where all are equally long


def blocks(lengths: np.ndarray, device: torch.device | str = "cpu", *, alike: bool = False) -> tuple[Block, ...]:
    """Stretches, longest first, cut into blocks that waste little on padding.

    Args:
        alike: Cut where lengths change too, once a block is large enough: what is equally long need not be spread.
            For reading, where many texts are; the batch of a training step would fall into crumbs.
    """
    found, first = [], 0
    while first < len(lengths):
        longest, last, tokens = int(lengths[first]), first, 0
        while last < len(lengths) and (lengths[last] >= SHORTEST * longest or tokens < LEAST):
            if alike and last > first and tokens >= LEAST and lengths[last] < lengths[last - 1]:
                break
            tokens += int(lengths[last])
            last += 1
        found.append((first, last, longest))
        first = last
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return tuple(_block(lengths, starts, *cut, device) for cut in found)


def _block(
    lengths: np.ndarray, starts: np.ndarray, first: int, last: int, longest: int, device: torch.device | str
) -> Block:
    mine = lengths[first:last]
    places = None
    if mine[-1] < longest:
        number = np.repeat(np.arange(last - first), mine)
        within = np.arange(starts[last] - starts[first]) - np.repeat(starts[first:last] - starts[first], mine)
        places = torch.from_numpy(number * longest + within).to(device)
    return Block(int(starts[first]), int(starts[last]), last - first, longest, places)


class _Spread(torch.autograd.Function):
    """Tokens to their places among zeros. Its gradient is a plain gather: no place is taken twice."""

    @staticmethod
    def forward(ctx: Any, tokens: torch.Tensor, places: torch.Tensor, size: int) -> torch.Tensor:
        ctx.save_for_backward(places)
        return tokens.new_zeros(size, *tokens.shape[1:]).index_copy_(0, places, tokens)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradient.index_select(0, ctx.saved_tensors[0]), None, None


class _Gather(torch.autograd.Function):
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


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    stretches: tuple[Block, ...] = (),
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each stretch, in transformers' calling convention. (1, H, N, E) -> (1, N, H, E)."""
    narrow = query.dtype == torch.bfloat16 and query.device.type == "cpu"
    parts = []
    for block in stretches:
        q, k, v = (_laid(x[0].transpose(0, 1)[block.first : block.last], block, narrow) for x in (query, key, value))
        seen = functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scaling, dropout_p=dropout, enable_gqa=q.shape[1] != k.shape[1]
        )
        flat = seen.transpose(1, 2).reshape(block.stretches * block.longest, *query.shape[1::2])
        parts.append(flat if block.places is None else _Gather.apply(flat, block.places))  # type: ignore[no-untyped-call]
    whole = parts[0] if len(parts) == 1 else torch.cat(parts)
    return whole.to(query.dtype).unsqueeze(0), None


def _laid(tokens: torch.Tensor, block: Block, narrow: bool) -> torch.Tensor:
    """Tokens (n, H, E) as a padded block (stretches, H, longest, E).

    On a processor bfloat16 is widened here: torch's attention and its gradient take three times as long in
    bfloat16 as in float32 (`benchmarks/choices.py`), which eats all that narrower matrices win.
    """
    if narrow:
        tokens = tokens.float()
    if block.places is not None:
        tokens = _Spread.apply(tokens, block.places, block.stretches * block.longest)  # type: ignore[no-untyped-call]
    return tokens.reshape(block.stretches, block.longest, *tokens.shape[1:]).transpose(1, 2)


@contextmanager
def apart(model: PreTrainedModel) -> Iterator[Forward]:
    """Inside the block, a function that runs texts through the model, each apart from the others.

    A family whose attention we do not know is given padded rows instead: the same numbers, more work.
    """
    if model.config.is_encoder_decoder:
        yield partial(_written, model)
        return
    if sees_both_ways(model):
        yield partial(_both_ways, model)
        return
    if model.config.model_type not in KNOWN:
        yield partial(_padded, model)
        return
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _attend)
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield partial(_flat, model)
    finally:
        model.set_attn_implementation(before)


def _written(
    model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, given: np.ndarray | None = None
) -> torch.Tensor:
    """What the decoder makes of each text, the encoder having read what is given of it."""
    return hidden_states(model, tokens, lengths, np.zeros_like(lengths) if given is None else given)


def _flat(
    model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, given: np.ndarray | None = None
) -> torch.Tensor:
    ends = np.cumsum(lengths)
    positions = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    found = model.base_model(
        input_ids=_on(tokens, model)[None],
        position_ids=_on(positions, model)[None],
        use_cache=False,
        stretches=blocks(lengths, model.device, alike=not torch.is_grad_enabled()),
    )
    return found.last_hidden_state[0]  # type: ignore[no-any-return]


def _padded(
    model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, given: np.ndarray | None = None
) -> torch.Tensor:
    rows, width = len(lengths), int(lengths.max())
    there = np.arange(width) < lengths[:, None]
    inputs = np.zeros((rows, width), dtype=np.int64)  # a causal model cannot look at what stands behind
    inputs[there] = tokens
    hidden = model.base_model(input_ids=_on(inputs, model), use_cache=False).last_hidden_state
    return hidden[_on(there, model)]  # type: ignore[no-any-return]


def _both_ways(
    model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, given: np.ndarray | None = None
) -> torch.Tensor:
    """What a masked model's head reads: it has a layer between its last norm and its output matrix."""
    rows, width = len(lengths), int(lengths.max())
    there = np.arange(width) < lengths[:, None]
    inputs = np.zeros((rows, width), dtype=np.int64)
    inputs[there] = tokens
    seen = _on(there, model)
    hidden = model.base_model(input_ids=_on(inputs, model), attention_mask=seen.long()).last_hidden_state
    return model.head(hidden[seen])  # type: ignore[no-any-return]


def _on(array: np.ndarray, model: PreTrainedModel) -> torch.Tensor:
    return torch.from_numpy(array).to(model.device, non_blocking=True)
