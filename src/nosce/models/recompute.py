"""Generation without a cache, and the choice between it and the key-value cache.

`KVCacheBatch` pads prompts on the left and hands the model a cache of keys and values. Recurrent models keep another
state, and some families compute positions from the padding. A model of an unknown family is therefore checked once: if
a few tokens get other logits with the cache than without, its replies are generated without it. Every token then costs
a forward pass over its whole text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch

from nosce.models.kv_cache import STEPWISE_MODEL_TYPES, KVCacheBatch
from nosce.models.logits import max_relative_error, output_logits, relative_tolerance
from nosce.models.varlen import ForwardFunction

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CACHED_MODEL_TYPES = STEPWISE_MODEL_TYPES | {"codegen"}  # families of `Architecture`, whose cache the tests check
PROBE_PROMPT_LENGTHS = (9, 4, 1)  # tokens of the prompts on which the cache is checked
PROBE_STEPS = 3
_cache_verdicts: WeakKeyDictionary[torch.nn.Module, bool] = WeakKeyDictionary()


class RecomputedBatch:
    """The rows of a batch that is being generated; every step reads whole texts. Replaces `KVCacheBatch`."""

    def __init__(
        self, model: PreTrainedModel, prompts: list[np.ndarray], eos_id: int, forward: ForwardFunction
    ) -> None:
        self.model, self.forward = model, forward
        self.texts = [np.concatenate([[eos_id], prompt]).astype(np.int64) for prompt in prompts]
        self.prompt_len = np.array([len(prompt) for prompt in prompts])

    def prefill(self) -> torch.Tensor:
        """Logits of the first token of every row. Shape: (B, V)."""
        if self.model.config.is_encoder_decoder:  # the decoder's first token, which the forward function replaces
            self.texts = [np.append(text, text[0]) for text in self.texts]
        return self._last_logits(np.arange(len(self.texts)))

    def step(self, active: np.ndarray, tokens: np.ndarray) -> torch.Tensor:
        """Logits of the next token of each active row. Shape: (active, V).

        Args:
            active: Indices of the rows that are still generating.
            tokens: The last token of each of these rows.
        """
        for row, token in zip(active, tokens, strict=True):
            self.texts[row] = np.append(self.texts[row], token)
        return self._last_logits(active)

    def _last_logits(self, rows: np.ndarray) -> torch.Tensor:
        lengths = np.array([len(self.texts[row]) for row in rows])
        order = np.argsort(-lengths, kind="stable")  # a forward function may expect the longest text first
        tokens = np.concatenate([self.texts[row] for row in rows[order]])
        hidden = self.forward(tokens, lengths[order], self.prompt_len[rows[order]])
        last = np.cumsum(lengths[order])[np.argsort(order)] - 1
        return output_logits(self.model, hidden[torch.from_numpy(last).to(hidden.device)])


def decoding_batch(
    model: PreTrainedModel, prompts: list[np.ndarray], eos_id: int, stepwise: bool, forward: ForwardFunction
) -> KVCacheBatch | RecomputedBatch:
    """A batch with a cache, where the model's cache gives the logits of its texts; else a batch without one.

    Args:
        model: The model that replies.
        prompts: Token ids of the prompts, without the opening end token.
        eos_id: The end-of-text token.
        stepwise: Does the model use nosce's attention for one query; see `stepwise_attention`.
        forward: The model's forward function; see `varlen_forward`.
    """
    if model.config.model_type not in CACHED_MODEL_TYPES and model not in _cache_verdicts:
        _cache_verdicts[model] = _cache_agrees(model, eos_id, forward)
    if model.config.model_type in CACHED_MODEL_TYPES or _cache_verdicts[model]:
        return KVCacheBatch(model, prompts, eos_id, stepwise)
    return RecomputedBatch(model, prompts, eos_id, forward)


def _cache_agrees(model: PreTrainedModel, eos_id: int, forward: ForwardFunction) -> bool:
    """Do the first tokens behind prompts of different lengths get the same logits with and without a cache?"""
    vocab_size = model.get_input_embeddings().num_embeddings
    prompts = [(3 + 5 * np.arange(length)) % vocab_size for length in PROBE_PROMPT_LENGTHS]
    rows = np.arange(len(prompts))
    recomputed = RecomputedBatch(model, prompts, eos_id, forward)
    try:
        cached = KVCacheBatch(model, prompts, eos_id, False)
        expected, logits = recomputed.prefill(), cached.prefill()
        for step in range(PROBE_STEPS):
            if max_relative_error(logits, expected) > relative_tolerance(model):
                return False
            tokens = (7 + step + 11 * rows) % vocab_size
            expected, logits = recomputed.step(rows, tokens), cached.step(rows, tokens)
    except Exception:  # whatever a family's code does not expect: its replies are generated without a cache
        return False
    return max_relative_error(logits, expected) <= relative_tolerance(model)
