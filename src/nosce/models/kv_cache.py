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

from nosce.models.varlen import KNOWN

if TYPE_CHECKING:
    from transformers import PreTrainedModel

STRIDE = 32  # places by which memory grows
NAME = "nosce-step"
STEPWISE = KNOWN | {"t5"}  # families whose attention we know, by transformers' model type
SLACK = 0.75  # of the rows that are held, so few are still writing when the others are dropped from memory


def limit_of(model: PreTrainedModel) -> int | None:
    """How many positions a model reads; None where it does not say."""
    return getattr(model.config, "max_position_embeddings", None)


class Rows:
    """Rows being written: what the model remembers of each, and which of them are still held.

    Prompts of a decoder are padded on the left, so that all rows write at the same place.
    """

    def __init__(self, model: PreTrainedModel, prompts: list[np.ndarray], end: int, stepwise: bool) -> None:
        self.model, self.end, self.stepwise = model, end, stepwise
        self.held = np.arange(len(prompts))
        self.encoder = bool(model.config.is_encoder_decoder)
        shown = prompts if self.encoder else [np.concatenate([[end], p]) for p in prompts]
        width = max(len(p) for p in shown)
        padded = np.full((len(shown), width), end, dtype=np.int64)
        there = np.zeros((len(shown), width), dtype=bool)
        for row, prompt in enumerate(shown):
            cut = slice(0, len(prompt)) if self.encoder else slice(width - len(prompt), width)
            padded[row, cut], there[row, cut] = prompt, True
        self.prompt, self.there = self._on(padded), self._on(there)
        self.full = bool(there.all())
        self.memory = Cache(layer_class_to_replicate=partial(_Room, stepwise))

    def _on(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.model.device)

    def opened(self) -> torch.Tensor:
        """Logits of the first token of every row. Shape: (B, V)."""
        if self.encoder:
            self.seen = _added(self.there[:, None, None]) if self.stepwise else None if self.full else self.there
            self.read = self.model.get_encoder()(input_ids=self.prompt, attention_mask=self.seen)
            self.cross = DynamicCache()
            self.both = EncoderDecoderCache(self.memory, self.cross)
            begin = self.model.config.decoder_start_token_id
            return self._decoder(torch.full((len(self.held), 1), begin, device=self.model.device))
        causal = torch.ones(self.prompt.shape[1], self.prompt.shape[1], dtype=torch.bool, device=self.model.device)
        # A padded place may look at itself: a row of attention with nothing to look at would be no number.
        seen = (causal.tril() & self.there[:, None, None]) | torch.eye(len(causal), device=causal.device).bool()
        self.last = (limit_of(self.model) or sys.maxsize) - 1
        self.places = self.there.sum(-1).clamp(max=self.last)
        positions = (self.there.cumsum(-1) - 1).clamp(min=0)
        if self.stepwise and self.prompt.shape[1] == 1:
            return self._causal(self.prompt, positions, self._filled(self.there))
        return self._causal(self.prompt, positions, self._padding() if self.full or not self.stepwise else seen)

    def after(self, alive: np.ndarray, tokens: np.ndarray) -> torch.Tensor:
        """Logits of the token after `tokens`, one for each row still alive. Shape: (alive, V)."""
        kept = np.searchsorted(self.held, alive)
        if len(alive) <= SLACK * len(self.held):
            self._keep(self._on(kept))
            self.held, kept = alive, np.arange(len(alive))
        said = np.full((len(self.held), 1), self.end, dtype=np.int64)
        said[kept, 0] = tokens
        if self.encoder:
            logits = self._decoder(self._on(said))
        else:
            if not self.full:
                more = torch.ones(len(self.held), 1, dtype=torch.bool, device=self.there.device)
                self.there = torch.cat([self.there, more], dim=1)
            mask = self._filled(self.there) if self.stepwise else self._padding()
            logits = self._causal(self._on(said), self.places[:, None], mask)
            self.places = (self.places + 1).clamp(max=self.last)  # rows that have ended may be written beyond it
        return logits if len(kept) == len(self.held) else logits[self._on(kept)]

    def _padding(self) -> torch.Tensor | None:
        """Which places hold tokens, as transformers' own attention is told; None where all do."""
        return None if self.full else self.there.long()

    def _causal(self, tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        return self._logits(
            input_ids=tokens, position_ids=positions, attention_mask=mask, past_key_values=self.memory, logits_to_keep=1
        )

    def _decoder(self, tokens: torch.Tensor) -> torch.Tensor:
        mask = None
        if self.stepwise:
            mask = self._filled(torch.ones(len(tokens), 0, dtype=torch.bool, device=tokens.device))
        return self._logits(
            encoder_outputs=self.read, attention_mask=self.seen, decoder_input_ids=tokens, decoder_attention_mask=mask,
            past_key_values=self.both,
        )  # fmt: skip

    def _filled(self, there: torch.Tensor) -> torch.Tensor:
        """What is added to attention over a whole block: nothing where a token is, minus infinity elsewhere.

        Args:
            there: Where tokens are, up to the one that is read now; what it does not reach is all there.
        """
        used = self.memory.get_seq_length() + 1
        block = torch.zeros(len(there), STRIDE * math.ceil(used / STRIDE), dtype=torch.bool, device=there.device)
        block[:, :used] = True
        block[:, : there.shape[1]] &= there
        return _added(block[:, None, None])

    def _logits(self, **given: Any) -> torch.Tensor:
        return self.model(**given, use_cache=True).logits[:, -1]  # type: ignore[no-any-return]

    def _keep(self, rows: torch.Tensor) -> None:
        self.there = self.there[rows]
        self.memory.batch_select_indices(rows)
        if self.encoder:
            self.read.last_hidden_state = self.read.last_hidden_state[rows]
            self.seen = None if self.seen is None else self.seen[rows]
            self.cross.batch_select_indices(rows)
        else:
            self.places = self.places[rows]


def _added(seen: torch.Tensor) -> torch.Tensor:
    return torch.zeros(seen.shape, device=seen.device).masked_fill_(~seen, -torch.inf)


class _Room(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer in blocks with room to spare: what is there is copied once in `STRIDE` steps.

    Args:
        whole: Give out the whole blocks, as `_step` wants them, or views of what is filled, as others do.
    """

    def __init__(self, whole: bool) -> None:
        super().__init__()
        self.whole, self.used = whole, 0
        self.blocks: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write what is new behind what is there; all so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.blocks = [new.new_zeros(*new.shape[:2], 0, new.shape[3]) for new in (key_states, value_states)]
        last = self.used + key_states.shape[-2]
        if last > self.blocks[0].shape[-2]:
            more = STRIDE * math.ceil(last / STRIDE) - self.blocks[0].shape[-2]
            self.blocks = [functional.pad(block, (0, 0, 0, more)) for block in self.blocks]
        for block, new in zip(self.blocks, (key_states, value_states), strict=True):
            block[..., self.used : last, :] = new
        self.used = last
        self.keys, self.values = (block[..., :last, :] for block in self.blocks)
        if self.whole and key_states.shape[-2] == 1:
            return self.blocks[0], self.blocks[1]
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Hold these rows alone."""
        self.blocks = [block[indices] for block in self.blocks]
        self.keys, self.values = (block[..., : self.used, :] for block in self.blocks)


@contextmanager
def stepping(model: PreTrainedModel) -> Iterator[bool]:
    """Inside the block a family that we know attends by `_step`; is it one?"""
    if model.config.model_type not in STEPWISE:
        yield False
        return
    AttentionInterface.register(NAME, _step)
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield True
    finally:
        model.set_attn_implementation(before)


def _step(
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
    for hidden in (attention_mask, kwargs.get("position_bias")):
        if hidden is not None:
            scores += hidden
    seen = torch.bmm(scores.softmax(-1).view(rows * heads, 1, -1), value)
    return seen.view(rows, 1, heads, width), None
