"""The key-value cache of a batch that is being generated, and the attention over it.

Letters: B rows, P positions of a prompt, H heads, E their width, V vocabulary.
"""

from __future__ import annotations

import inspect
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

from nosce.models.positions import max_positions_of
from nosce.models.varlen import VARLEN_MODEL_TYPES

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CACHE_BLOCK_SIZE = 32  # positions by which the cache grows
STEPWISE_ATTENTION = "nosce-step"
STEPWISE_MODEL_TYPES = VARLEN_MODEL_TYPES | {"t5"}  # transformers' model types that `_stepwise_attention` supports
COMPACTION_RATIO = 0.75  # finished rows are dropped once at most this fraction of the cached rows is still active


class KVCacheBatch:
    """The rows of a batch that is being generated, with their key-value cache.

    The prompts of a decoder-only model are padded on the left, so all rows write at the same position.
    """

    def __init__(self, model: PreTrainedModel, prompts: list[np.ndarray], eos_id: int, stepwise: bool) -> None:
        self.model, self.eos_id, self.stepwise = model, eos_id, stepwise
        self.row_indices = np.arange(len(prompts))
        self.is_encoder_decoder = bool(model.config.is_encoder_decoder)
        self.cache_argument = _cache_argument(model)
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
            return self._prefill_encoder_decoder()
        causal = torch.ones(self.prompt.shape[1], self.prompt.shape[1], dtype=torch.bool, device=self.model.device)
        # A padding position may attend to itself: the softmax over a row without any position would be NaN.
        diagonal = torch.eye(len(causal), device=causal.device).bool()
        attention_mask = (causal.tril() & self.token_mask[:, None, None]) | diagonal
        self.last_position = (max_positions_of(self.model) or sys.maxsize) - 1
        self.next_positions = self.token_mask.sum(-1).clamp(max=self.last_position)
        positions = (self.token_mask.cumsum(-1) - 1).clamp(min=0)
        if self.stepwise and self.prompt.shape[1] == 1:
            return self._causal_logits(self.prompt, positions, self._block_mask(self.token_mask))
        return self._causal_logits(
            self.prompt, positions, self._padding_mask() if self.unpadded or not self.stepwise else attention_mask
        )

    def _prefill_encoder_decoder(self) -> torch.Tensor:
        self.encoder_mask = None if self.unpadded else self.token_mask
        if self.stepwise:
            self.encoder_mask = _additive_mask(self.token_mask[:, None, None])
        self.encoder_outputs = self.model.get_encoder()(input_ids=self.prompt, attention_mask=self.encoder_mask)
        self.cross_attention_cache = DynamicCache()
        self.encoder_decoder_cache = EncoderDecoderCache(self.self_attention_cache, self.cross_attention_cache)
        start_token = self.model.config.decoder_start_token_id
        return self._decoder_logits(torch.full((len(self.row_indices), 1), start_token, device=self.model.device))

    def step(self, active: np.ndarray, tokens: np.ndarray) -> torch.Tensor:
        """Logits of the next token of each active row. Shape: (active, V).

        Args:
            active: Indices of the rows that are still generating.
            tokens: The last token of each of these rows.
        """
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
            # Finished rows stay in the cache for a while, and their positions must not exceed the model's last one.
            self.next_positions = (self.next_positions + 1).clamp(max=self.last_position)
        return logits if len(active_positions) == len(self.row_indices) else logits[self._to_device(active_positions)]

    def _padding_mask(self) -> torch.Tensor | None:
        """The attention mask in transformers' format; None where no row is padded."""
        return None if self.unpadded else self.token_mask.long()

    def _causal_logits(self, tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        return self._logits(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=mask,
            **{self.cache_argument: self.self_attention_cache},
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
            **{self.cache_argument: self.encoder_decoder_cache},
        )

    def _block_mask(self, token_mask: torch.Tensor) -> torch.Tensor:
        """The additive attention mask over the whole cache block: 0 at tokens and minus infinity elsewhere.

        Args:
            token_mask: Where tokens are. Positions behind its end and up to the current token all hold tokens.
        """
        used = self.self_attention_cache.get_seq_length() + 1
        size = CACHE_BLOCK_SIZE * math.ceil(used / CACHE_BLOCK_SIZE)
        block = torch.zeros(len(token_mask), size, dtype=torch.bool, device=token_mask.device)
        block[:, :used] = True
        block[:, : token_mask.shape[1]] &= token_mask
        return _additive_mask(block[:, None, None])

    def _logits(self, **inputs: object) -> torch.Tensor:
        logits: torch.Tensor = self.model(**inputs, use_cache=True).logits
        return logits[:, -1]

    def _select_rows(self, rows: torch.Tensor) -> None:
        self.token_mask = self.token_mask[rows]
        self.self_attention_cache.batch_select_indices(rows)
        if self.is_encoder_decoder:
            self.encoder_outputs.last_hidden_state = self.encoder_outputs.last_hidden_state[rows]
            self.encoder_mask = None if self.encoder_mask is None else self.encoder_mask[rows]
            self.cross_attention_cache.batch_select_indices(rows)
        else:
            self.next_positions = self.next_positions[rows]


def _cache_argument(model: PreTrainedModel) -> str:
    """What the model's forward calls its cache: `cache` since transformers 5.24, family by family."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def _additive_mask(visible: torch.Tensor) -> torch.Tensor:
    return torch.zeros(visible.shape, device=visible.device).masked_fill_(~visible, -torch.inf)


class _BlockCacheLayer(DynamicLayer):  # type: ignore[misc]  # mypy does not follow transformers
    """Keys and values of one layer in preallocated blocks, copied once in `CACHE_BLOCK_SIZE` steps.

    Args:
        return_blocks: Return whole blocks, which `_stepwise_attention` needs. False: return views of the filled part,
            which every other attention needs.
    """

    def __init__(self, return_blocks: bool) -> None:
        super().__init__()
        self.return_blocks, self.filled_length = return_blocks, 0
        self.blocks: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values, and return those of all positions so far."""
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
        """Keep only these rows."""
        self.blocks = [block[indices] for block in self.blocks]
        self.keys, self.values = (block[..., : self.filled_length, :] for block in self.blocks)


@contextmanager
def stepwise_attention(model: PreTrainedModel) -> Iterator[bool]:
    """Context manager: the model uses `_stepwise_attention` where its family is supported; yields whether it is."""
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
    **kwargs: Any,  # as transformers passes them
) -> tuple[torch.Tensor, None]:
    """Attention in transformers' calling convention, by two matrix products where each row has one query.

    On a CPU the products took a third of the time of torch's fused attention (torch 2.13, EPYC), which is made for
    many queries. (B, H, 1, E) -> (B, 1, H, E). The additive mask hides the part of a block that is not filled yet.
    """
    if query.shape[2] > 1:
        attended, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return attended, None
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
