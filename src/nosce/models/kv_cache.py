"""Rows of replies while they are being written: what a model remembers of each, and how it attends to it.

Letters: B rows, P positions of a prompt, H heads, E their width, V vocabulary.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional
from transformers import AttentionInterface
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, EncoderDecoderCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from nosce.models.varlen import VARLEN_MODEL_TYPES

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CACHE_BLOCK_SIZE = 32  # places by which memory grows
STEPWISE_ATTENTION = "nosce-step"
STEPWISE_MODEL_TYPES = VARLEN_MODEL_TYPES | {"t5"}  # families whose attention we know, by transformers' model type
COMPACTION_RATIO = 0.75  # of the rows that are held, so few are still writing when the others are dropped from memory


def max_positions_of(model: PreTrainedModel) -> int | None:
    """How many positions a model reads; None where it does not say."""
    return getattr(model.config, "max_position_embeddings", None)


class KVCacheBatch:
    """Rows being written: what the model remembers of each, and which of them are still held.

    Prompts of a decoder are padded on the left, so that all rows write at the same place.
    """

    def __init__(self, model: PreTrainedModel, prompts: list[np.ndarray], eos_id: int, stepwise: bool) -> None:
        self.model, self.eos_id, self.stepwise = model, eos_id, stepwise
        self.row_indices = np.arange(len(prompts))
        self.is_encoder_decoder = bool(model.config.is_encoder_decoder)
        contexts = prompts if self.is_encoder_decoder else [np.concatenate([[eos_id], p]) for p in prompts]
        width = max(len(p) for p in contexts)
        padded = np.full((len(contexts), width), eos_id, dtype=np.int64)
        has_token = np.zeros((len(contexts), width), dtype=bool)
        for row, prompt in enumerate(contexts):
            columns = slice(0, len(prompt)) if self.is_encoder_decoder else slice(width - len(prompt), width)
            padded[row, columns], has_token[row, columns] = prompt, True
        self.prompt, self.token_mask = self._to_device(padded), self._to_device(has_token)
        self.unpadded = bool(has_token.all())
        self.self_attention_cache = Cache(layer_class_to_replicate=partial(_BlockCacheLayer, stepwise))

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.model.device)

    def prefill(self) -> torch.Tensor:
        """Logits of the first token of every row. Shape: (B, V)."""
        if self.is_encoder_decoder:
            self.encoder_mask = (
                _additive_mask(self.token_mask[:, None, None])
                if self.stepwise
                else None
                if self.unpadded
                else self.token_mask
            )
            self.encoder_outputs = self.model.get_encoder()(input_ids=self.prompt, attention_mask=self.encoder_mask)
            self.cross_attention_cache = DynamicCache()
            self.encoder_decoder_cache = EncoderDecoderCache(self.self_attention_cache, self.cross_attention_cache)
            start_token = self.model.config.decoder_start_token_id
            return self._decoder_logits(torch.full((len(self.row_indices), 1), start_token, device=self.model.device))
        causal = torch.ones(self.prompt.shape[1], self.prompt.shape[1], dtype=torch.bool, device=self.model.device)
        # A padded place may look at itself: a row of attention with nothing to look at would be no number.
        attention_mask = (causal.tril() & self.token_mask[:, None, None]) | torch.eye(
            len(causal), device=causal.device
        ).bool()
        self.last_position = (max_positions_of(self.model) or sys.maxsize) - 1
        self.next_positions = self.token_mask.sum(-1).clamp(max=self.last_position)
        positions = (self.token_mask.cumsum(-1) - 1).clamp(min=0)
        if self.stepwise and self.prompt.shape[1] == 1:
            return self._causal_logits(self.prompt, positions, self._block_mask(self.token_mask))
        return self._causal_logits(
            self.prompt, positions, self._padding_mask() if self.unpadded or not self.stepwise else attention_mask
        )

    def step(self, active: np.ndarray, tokens: np.ndarray) -> torch.Tensor:
        """Logits of the token after `tokens`, one for each row still alive. Shape: (alive, V)."""
        active_positions = np.searchsorted(self.row_indices, active)
        if len(active) <= COMPACTION_RATIO * len(self.row_indices):
            self._select_rows(self._to_device(active_positions))
            self.row_indices, active_positions = active, np.arange(len(active))
        step_tokens = np.full((len(self.row_indices), 1), self.eos_id, dtype=np.int64)
        step_tokens[active_positions, 0] = tokens
        if self.is_encoder_decoder:
            logits = self._decoder_logits(self._to_device(step_tokens))
        else:
            if not self.unpadded:
                new_column = torch.ones(len(self.row_indices), 1, dtype=torch.bool, device=self.token_mask.device)
                self.token_mask = torch.cat([self.token_mask, new_column], dim=1)
            mask = self._block_mask(self.token_mask) if self.stepwise else self._padding_mask()
            logits = self._causal_logits(self._to_device(step_tokens), self.next_positions[:, None], mask)
            self.next_positions = (self.next_positions + 1).clamp(
                max=self.last_position
            )  # rows that have ended may be written beyond it
        return logits if len(active_positions) == len(self.row_indices) else logits[self._to_device(active_positions)]

    def _padding_mask(self) -> torch.Tensor | None:
        """Which places hold tokens, as transformers' own attention is told; None where all do."""
        return None if self.unpadded else self.token_mask.long()

    def _causal_logits(self, tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        return self._logits(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=self.self_attention_cache,
            logits_to_keep=1,
        )

    def _decoder_logits(self, tokens: torch.Tensor) -> torch.Tensor:
        mask = None
        if self.stepwise:
            mask = self._block_mask(torch.ones(len(tokens), 0, dtype=torch.bool, device=tokens.device))
        return self._logits(
            encoder_outputs=self.encoder_outputs,
            attention_mask=self.encoder_mask,
            decoder_input_ids=tokens,
            decoder_attention_mask=mask,
            past_key_values=self.encoder_decoder_cache,
        )

    def _block_mask(self, token_mask: torch.Tensor) -> torch.Tensor:
        """What is added to attention over a whole block: nothing where a token is, minus infinity elsewhere.

        Args:
            token_mask: Where tokens are, up to the one that is read now; what it does not reach is all there.
        """
        used = self.self_attention_cache.get_seq_length() + 1
        block = torch.zeros(
            len(token_mask),
            CACHE_BLOCK_SIZE * math.ceil(used / CACHE_BLOCK_SIZE),
            dtype=torch.bool,
            device=token_mask.device,
        )
        block[:, :used] = True
        block[:, : token_mask.shape[1]] &= token_mask
        return _additive_mask(block[:, None, None])

    def _logits(self, **given: Any) -> torch.Tensor:
        return self.model(**given, use_cache=True).logits[:, -1]  # type: ignore[no-any-return]

    def _select_rows(self, rows: torch.Tensor) -> None:
        self.token_mask = self.token_mask[rows]
        self.self_attention_cache.batch_select_indices(rows)
        if self.is_encoder_decoder:
            self.encoder_outputs.last_hidden_state = self.encoder_outputs.last_hidden_state[rows]
            self.encoder_mask = None if self.encoder_mask is None else self.encoder_mask[rows]
            self.cross_attention_cache.batch_select_indices(rows)
        else:
            self.next_positions = self.next_positions[rows]


def _additive_mask(visible: torch.Tensor) -> torch.Tensor:
    return torch.zeros(visible.shape, device=visible.device).masked_fill_(~visible, -torch.inf)


class _BlockCacheLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer in blocks with room to spare, copied once in `CACHE_BLOCK_SIZE` steps.

    Args:
        return_blocks: Give out the whole blocks, as `_stepwise_attention` wants them, or views of what is filled, as
            others do.
    """

    def __init__(self, return_blocks: bool) -> None:
        super().__init__()
        self.return_blocks, self.filled_length = return_blocks, 0
        self.blocks: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write what is new behind what is there; all so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.blocks = [new.new_zeros(*new.shape[:2], 0, new.shape[3]) for new in (key_states, value_states)]
        new_length = self.filled_length + key_states.shape[-2]
        if new_length > self.blocks[0].shape[-2]:
            padding = CACHE_BLOCK_SIZE * math.ceil(new_length / CACHE_BLOCK_SIZE) - self.blocks[0].shape[-2]
            self.blocks = [functional.pad(block, (0, 0, 0, padding)) for block in self.blocks]
        for block, new in zip(self.blocks, (key_states, value_states), strict=True):
            block[..., self.filled_length : new_length, :] = new
        self.filled_length = new_length
        self.keys, self.values = (block[..., :new_length, :] for block in self.blocks)
        if self.return_blocks and key_states.shape[-2] == 1:
            return self.blocks[0], self.blocks[1]
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Hold these rows alone."""
        self.blocks = [block[indices] for block in self.blocks]
        self.keys, self.values = (block[..., : self.filled_length, :] for block in self.blocks)


@contextmanager
def stepwise_attention(model: PreTrainedModel) -> Iterator[bool]:
    """Inside the block a family that we know attends by `_stepwise_attention`; is it one?"""
    if model.config.model_type not in STEPWISE_MODEL_TYPES:
        yield False
        return
    AttentionInterface.register(STEPWISE_ATTENTION, _stepwise_attention)
    previous = model.config._attn_implementation
    model.set_attn_implementation(STEPWISE_ATTENTION)
    try:
        yield True
    finally:
        model.set_attn_implementation(previous)


def _stepwise_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention in transformers' calling convention, by two plain products where a row has one query.

    On a processor they took a third of the time of torch's fused attention (2.13, EPYC), which is made for
    many queries. (B, H, 1, E) -> (B, 1, H, E); the mask is added, and hides what is not filled yet.
    """
    if query.shape[2] > 1:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)  # type: ignore[no-any-return]
    rows, heads, _, width = query.shape
    if heads != key.shape[1]:  # grouped queries
        key, value = (x.repeat_interleave(heads // x.shape[1], dim=1) for x in (key, value))
    scaling = kwargs["scaling"] if kwargs.get("scaling") is not None else width**-0.5
    query, key, value = (x.reshape(rows * heads, -1, width) for x in (query * scaling, key, value))
    scores = torch.bmm(query, key.transpose(1, 2)).view(rows, heads, 1, -1)
    for bias in (attention_mask, kwargs.get("position_bias")):
        if bias is not None:
            scores += bias
    attended = torch.bmm(scores.softmax(-1).view(rows * heads, 1, -1), value)
    return attended.view(rows, 1, heads, width), None
