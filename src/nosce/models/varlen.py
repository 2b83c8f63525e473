"""Forward passes over sequences of different lengths: each attends only to itself, and padding costs almost nothing.

Matrices, norms and embeddings run over the tokens of all sequences as one long row. Only attention depends on where a
sequence ends: it scatters the tokens of sequences of similar length to a small padded block, attends there, and
gathers them back. Letters: N tokens, S sequences, H heads, E their width, T positions.

`benchmarks/choices.py` compares a training step with the same texts in padded rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from nosce.data.packing import StateAdditions
from nosce.models.architecture import is_bidirectional
from nosce.models.codegen import fused_codegen_attention
from nosce.models.hooks import capture, patch
from nosce.models.logits import HEAD_ONLY_MODEL_TYPES, logits_path, padded_causal_forward
from nosce.models.positions import check_positions, max_stable_positions
from nosce.models.seq2seq import encoder_decoder_logits, encoder_decoder_states
from nosce.models.short_attention import MAX_SHORT_POSITIONS, short_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Context = Any  # of a `torch.autograd.Function`, which torch does not type
VARLEN_ATTENTION = "nosce-apart"
#: transformers' model types with plain causal attention; models of other types get padded rows.
VARLEN_MODEL_TYPES = frozenset({"gpt_neox", "gpt2", "opt", "llama"})
MIN_LENGTH_RATIO = 0.75  # a block holds sequences down to this fraction of its longest one, ...
MIN_BUCKET_TOKENS = 512  # ... and shorter ones while it has fewer tokens: small products cost more than padding


ForwardFunction = Callable[[np.ndarray, np.ndarray, np.ndarray | None], torch.Tensor]
"""Tokens (N,), lengths of their sequences (S,), and prompt tokens of each sequence (S,) -> hidden states (N, width).

Only an encoder-decoder uses the number of prompt tokens: they are its encoder's input. `output_logits` makes logits of
the states. A model on the path "whole" of `nosce.models.logits` returns its logits in place of states.
"""
SiteStatesFunction = Callable[[torch.Tensor, np.ndarray], torch.Tensor]
"""Input embeddings (N, width), lengths of their sequences, longest first (S,) -> states at a site (N, width)."""


@dataclass(frozen=True, slots=True)
class LengthBucket:
    """Sequences of similar length that attend in one padded block.

    Args:
        start: First token of the bucket in the long row.
        stop: Position behind the last token.
        sequences: Number of sequences.
        max_length: Tokens of the longest sequence.
        padded_positions: Position of each token in the padded block; None where all lengths are equal.
        padded_tokens: Token of each position in the padded block, and for padding any token; None likewise.
        is_padding: Which positions of the padded block are padding; None likewise.
    """

    start: int
    stop: int
    sequences: int
    max_length: int
    padded_positions: torch.Tensor | None = None
    padded_tokens: torch.Tensor | None = None
    is_padding: torch.Tensor | None = None


def bucket_by_length(
    lengths: np.ndarray, device: torch.device | str = "cpu", *, split_on_length_change: bool = False
) -> tuple[LengthBucket, ...]:
    """Group sequences, sorted longest first, into buckets with little padding.

    Args:
        lengths: Tokens of each sequence, (S,).
        device: Where `LengthBucket.padded_positions` is put.
        split_on_length_change: Start a new bucket where the length changes, once a bucket is large enough: sequences of
            equal length need no padding. For evaluation with many texts; a training batch would give tiny buckets.
    """
    cuts, start = [], 0
    while start < len(lengths):
        max_length, stop, tokens = int(lengths[start]), start, 0
        while stop < len(lengths) and (lengths[stop] >= MIN_LENGTH_RATIO * max_length or tokens < MIN_BUCKET_TOKENS):
            is_large = stop > start and tokens >= MIN_BUCKET_TOKENS
            if split_on_length_change and is_large and lengths[stop] < lengths[stop - 1]:
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
    bucket = (int(starts[start]), int(starts[stop]), stop - start, max_length)
    if bucket_lengths[-1] == max_length:
        return LengthBucket(*bucket)
    first_tokens = starts[start:stop] - starts[start]
    row = np.repeat(np.arange(stop - start), bucket_lengths)
    column = np.arange(starts[stop] - starts[start]) - np.repeat(first_tokens, bucket_lengths)
    positions = torch.from_numpy(row * max_length + column).to(device)
    if torch.device(device).type == "cpu":
        return LengthBucket(*bucket, positions)
    return LengthBucket(*bucket, positions, *(x.to(device) for x in _tokens_and_padding(first_tokens, bucket_lengths)))


def _tokens_and_padding(first_tokens: np.ndarray, lengths: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """`LengthBucket.padded_tokens`, where padding repeats the last token of its sequence, and `is_padding`."""
    columns = np.arange(int(lengths.max()))
    tokens = first_tokens[:, None] + np.minimum(columns, lengths[:, None] - 1)
    is_padding = columns >= lengths[:, None]
    return torch.from_numpy(tokens.ravel()), torch.from_numpy(is_padding.ravel())


class _ScatterToPadded(torch.autograd.Function):
    """Copy tokens to their positions in a block of zeros. The gradient is a gather, since positions are distinct."""

    @staticmethod
    def forward(ctx: Context, tokens: torch.Tensor, positions: torch.Tensor, size: int) -> torch.Tensor:
        ctx.save_for_backward(positions)
        return tokens.new_zeros(size, *tokens.shape[1:]).index_copy_(0, positions, tokens)

    @staticmethod
    def backward(ctx: Context, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradient.index_select(0, ctx.saved_tensors[0]), None, None


class _GatherFromPadded(torch.autograd.Function):
    """Copy tokens back from their positions in a block; the gradient scatters them again."""

    @staticmethod
    def forward(ctx: Context, block: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(positions)
        ctx.size = block.shape[0]
        return block.index_select(0, positions)

    @staticmethod
    def backward(ctx: Context, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        positions = ctx.saved_tensors[0]
        return gradient.new_zeros(ctx.size, *gradient.shape[1:]).index_copy_(0, positions, gradient), None


class _RepeatToPadded(torch.autograd.Function):
    """`_ScatterToPadded` by a gather alone: padding repeats a token, to which no token of the text attends.

    Where order is asked for, a GPU sorts the positions of every scatter first, and gathers without.
    """

    @staticmethod
    def forward(
        ctx: Context, tokens: torch.Tensor, padded_tokens: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(positions)
        return tokens.index_select(0, padded_tokens)

    @staticmethod
    def backward(ctx: Context, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradient.index_select(0, ctx.saved_tensors[0]), None, None


class _PickFromPadded(torch.autograd.Function):
    """`_GatherFromPadded` whose gradient is a gather as well, with zeros at padding."""

    @staticmethod
    def forward(
        ctx: Context,
        block: torch.Tensor,
        positions: torch.Tensor,
        padded_tokens: torch.Tensor,
        is_padding: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(padded_tokens, is_padding)
        return block.index_select(0, positions)

    @staticmethod
    def backward(ctx: Context, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        padded_tokens, is_padding = ctx.saved_tensors
        zeros_at = is_padding.view(-1, *(1 for _ in gradient.shape[1:]))
        return gradient.index_select(0, padded_tokens).masked_fill_(zeros_at, 0), None, None, None


def _scatter(tokens: torch.Tensor, bucket: LengthBucket) -> torch.Tensor:
    """The tokens of a bucket (N, ...) in its padded block (sequences * longest, ...)."""
    if bucket.padded_tokens is not None:
        arguments = (bucket.padded_tokens, bucket.padded_positions)
        repeated: torch.Tensor = _RepeatToPadded.apply(tokens, *arguments)  # type: ignore[no-untyped-call]  # torch
        return repeated
    assert bucket.padded_positions is not None
    return scatter_distinct(tokens, bucket.padded_positions, bucket.sequences * bucket.max_length)


def scatter_distinct(tokens: torch.Tensor, positions: torch.Tensor, size: int) -> torch.Tensor:
    """Rows at positions of a block that all differ, zeros elsewhere. (N, ...), (N,) -> (size, ...)."""
    scattered: torch.Tensor = _ScatterToPadded.apply(tokens, positions, size)  # type: ignore[no-untyped-call]  # torch
    return scattered


def _gather(block: torch.Tensor, bucket: LengthBucket) -> torch.Tensor:
    """The tokens of a bucket, back from its padded block."""
    if bucket.padded_tokens is not None:
        arguments = (bucket.padded_positions, bucket.padded_tokens, bucket.is_padding)
        picked: torch.Tensor = _PickFromPadded.apply(block, *arguments)  # type: ignore[no-untyped-call]  # torch
        return picked
    assert bucket.padded_positions is not None
    return gather_distinct(block, bucket.padded_positions)


def gather_distinct(block: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """The rows of a block at positions that all differ. (M, ...), (N,) -> (N, ...)."""
    gathered: torch.Tensor = _GatherFromPadded.apply(block, positions)  # type: ignore[no-untyped-call]  # torch
    return gathered


def _varlen_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    buckets: tuple[LengthBucket, ...] = (),
    short: bool = False,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each sequence, in transformers' calling convention. (1, H, N, E) -> (1, N, H, E).

    With `short`, short sequences attend by `short_attention` where the model computes in bfloat16 on a CPU. A training
    does not ask for it: that would change its weights in the last digits.
    """
    is_narrow = query.dtype == torch.bfloat16 and query.device.type == "cpu"
    can_be_short = short and is_narrow and not dropout and query.shape[1] == key.shape[1]
    parts = []
    for block in buckets:
        is_short = can_be_short and block.max_length <= MAX_SHORT_POSITIONS
        widen = is_narrow and not is_short
        q, k, v = (_to_padded(x[0].transpose(0, 1), block, widen) for x in (query, key, value))
        if is_short:
            attended = short_attention(q, k, v, scaling)
        else:
            attended = functional.scaled_dot_product_attention(
                q, k, v, is_causal=True, scale=scaling, dropout_p=dropout, enable_gqa=q.shape[1] != k.shape[1]
            )
        flat = attended.transpose(1, 2).reshape(block.sequences * block.max_length, *query.shape[1::2])
        parts.append(flat if block.padded_positions is None else _gather(flat, block))
    outputs = parts[0] if len(parts) == 1 else torch.cat([part.to(query.dtype) for part in parts])
    return outputs.to(query.dtype).unsqueeze(0), None


def _to_padded(tokens: torch.Tensor, block: LengthBucket, widen: bool) -> torch.Tensor:
    """A bucket of the tokens (N, H, E) as a padded block (sequences, H, longest, E).

    On a CPU bfloat16 is widened to float32 for torch's attention, which with its gradient takes three times as long in
    bfloat16 (`benchmarks/choices.py`). That would cancel the gain of the narrower matrices.
    """
    tokens = tokens[block.start : block.stop]
    if widen:
        tokens = tokens.float()
    if block.padded_positions is not None:
        tokens = _scatter(tokens, block)
    return tokens.reshape(block.sequences, block.max_length, *tokens.shape[1:]).transpose(1, 2)


@contextmanager
def varlen_forward(model: PreTrainedModel) -> Iterator[ForwardFunction]:
    """Context manager that yields a forward function; each sequence in it attends only to itself.

    A model whose type is not in `VARLEN_MODEL_TYPES` gets padded rows instead: the same numbers, more work. The forward
    function refuses a text that is longer than `max_stable_positions`.

    Raises:
        SpecError: The model's logits do not belong to a text; see `logits_path`.
    """
    with _family_forward(model) as forward:
        if max_stable_positions(model) is None:
            yield forward
        else:
            yield partial(_checked_forward, model, forward)


@contextmanager
def _family_forward(model: PreTrainedModel) -> Iterator[ForwardFunction]:
    if is_bidirectional(model):
        yield partial(_bidirectional_forward, model)
        return
    logits_path(model)
    if model.config.is_encoder_decoder:
        yield partial(_encoder_decoder_forward, model)
        return
    if model.config.model_type not in VARLEN_MODEL_TYPES:
        # On the CPU rows are short, and its results stay as they are.
        is_fused = model.config.model_type == "codegen" and model.device.type != "cpu"
        with fused_codegen_attention(model) if is_fused else nullcontext():
            yield partial(padded_causal_forward, model)
        return
    with _varlen_attention_set(model):
        yield partial(_varlen_causal_forward, model)


@contextmanager
def _varlen_attention_set(model: PreTrainedModel) -> Iterator[None]:
    """The model attends within sequences as long as the block lasts."""
    from transformers import AttentionInterface

    AttentionInterface.register(VARLEN_ATTENTION, _varlen_attention)
    previous_implementation = model.config._attn_implementation
    model.set_attn_implementation(VARLEN_ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(previous_implementation)


def added_states(
    model: PreTrainedModel, additions: StateAdditions | None, lengths: np.ndarray
) -> AbstractContextManager[None]:
    """Context manager: the forward function of `varlen_forward` adds vectors to hidden states of some positions.

    It must last until the backward pass is over, since a block may be computed again for its gradient.

    Args:
        model: The model, a decoder.
        additions: What is added, by position; None adds nothing and costs nothing.
        lengths: Positions of each sequence.
    """
    if additions is None:
        return nullcontext()
    positions = np.flatnonzero(additions.of_token >= 0)
    rows, columns = np.zeros_like(positions), positions
    if model.config.model_type not in VARLEN_MODEL_TYPES:  # its rows are padded
        rows, columns = np.repeat(np.arange(len(lengths)), lengths)[positions], _positions(lengths)[positions]
    return patch(model, additions.site, (rows, columns), additions.vectors[additions.of_token[positions]], adds=True)


@contextmanager
def varlen_site_states(model: PreTrainedModel, site: str) -> Iterator[SiteStatesFunction]:
    """Context manager that yields a function from input embeddings to the states at a site; gradients go through it.

    As in `varlen_forward` each sequence attends only to itself, and the other model types get padded rows.

    Args:
        model: A decoder-only or a bidirectional model.
        site: A site of `nosce.models.hooks`.
    """
    if is_bidirectional(model) or model.config.model_type not in VARLEN_MODEL_TYPES:
        yield partial(_padded_site_states, model, site)
        return
    with _varlen_attention_set(model):
        yield partial(_varlen_site_states, model, site)


def _varlen_site_states(
    model: PreTrainedModel, site: str, embeddings: torch.Tensor, lengths: np.ndarray
) -> torch.Tensor:
    states = _base_states(
        model,
        site,
        inputs_embeds=embeddings[None],
        position_ids=_to_device(_positions(lengths), model)[None],
        use_cache=False,
        buckets=bucket_by_length(lengths, model.device),
        short=True,
    )
    return states[0]


def _padded_site_states(
    model: PreTrainedModel, site: str, embeddings: torch.Tensor, lengths: np.ndarray
) -> torch.Tensor:
    rows, width = len(lengths), int(lengths.max())
    positions = _to_device(np.repeat(np.arange(rows) * width, lengths) + _positions(lengths), model)
    block = scatter_distinct(embeddings, positions, rows * width).view(rows, width, -1)
    options: dict[str, object] = {"use_cache": False}
    if is_bidirectional(model):  # an encoder takes no cache
        options = {"attention_mask": _to_device(np.arange(width) < lengths[:, None], model).long()}
    return gather_distinct(_base_states(model, site, inputs_embeds=block, **options).flatten(0, 1), positions)


def _base_states(model: PreTrainedModel, site: str, **inputs: object) -> torch.Tensor:
    if site == "final":
        states: torch.Tensor = model.base_model(**inputs).last_hidden_state
        return states
    with capture(model, [site]) as captured:
        model.base_model(**inputs)
    return captured[site]


def _checked_forward(
    model: PreTrainedModel,
    forward: ForwardFunction,
    tokens: np.ndarray,
    lengths: np.ndarray,
    prompt_len: np.ndarray | None = None,
) -> torch.Tensor:
    check_positions(model, int(lengths.max()))
    return forward(tokens, lengths, prompt_len)


def _encoder_decoder_forward(
    model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, prompt_len: np.ndarray | None = None
) -> torch.Tensor:
    """The decoder's hidden states, or its logits; the encoder reads each sequence's prompt."""
    read = encoder_decoder_states if model.config.model_type in HEAD_ONLY_MODEL_TYPES else encoder_decoder_logits
    return read(model, tokens, lengths, np.zeros_like(lengths) if prompt_len is None else prompt_len)


def _varlen_causal_forward(
    model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, prompt_len: np.ndarray | None = None
) -> torch.Tensor:
    outputs = model.base_model(
        input_ids=_to_device(tokens, model)[None],
        position_ids=_to_device(_positions(lengths), model)[None],
        use_cache=False,
        buckets=bucket_by_length(lengths, model.device, split_on_length_change=not torch.is_grad_enabled()),
    )
    states: torch.Tensor = outputs.last_hidden_state
    return states[0]


def _positions(lengths: np.ndarray) -> np.ndarray:
    """The position of each token in its sequence. Shape: (N,)."""
    ends = np.cumsum(lengths)
    positions: np.ndarray = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    return positions


def _bidirectional_forward(
    model: PreTrainedModel, tokens: np.ndarray, lengths: np.ndarray, prompt_len: np.ndarray | None = None
) -> torch.Tensor:
    """The input of a masked model's output matrix: its head has another layer behind the final norm."""
    rows, width = len(lengths), int(lengths.max())
    is_token = np.arange(width) < lengths[:, None]
    inputs = np.zeros((rows, width), dtype=np.int64)
    inputs[is_token] = tokens
    token_mask = _to_device(is_token, model)
    hidden = model.base_model(input_ids=_to_device(inputs, model), attention_mask=token_mask.long()).last_hidden_state
    states: torch.Tensor = model.head(hidden[token_mask])
    return states


def _to_device(array: np.ndarray, model: PreTrainedModel) -> torch.Tensor:
    return torch.from_numpy(array).to(model.device, non_blocking=True)
