"""Generation: greedy decoding and sampling for decoder-only and encoder-decoder models.

It generates the same tokens as transformers' `generate`, and is faster on small models. Keys and values are written to
preallocated blocks instead of being copied at every step. Finished rows leave the batch. Where the expected reply is
known, one forward pass checks it as a draft, and only rows that differ from their draft are decoded.
Letters: B rows, P positions of a prompt, T positions of prompt and reply, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from nosce.data.grammar import TokenGrammar
from nosce.data.packing import dataset_from_arrays
from nosce.errors import SpecError
from nosce.models.kv_cache import KVCacheBatch, stepwise_attention
from nosce.models.likelihood import score_spans
from nosce.models.logits import eval_mode
from nosce.models.positions import check_positions, max_positions_of
from nosce.models.recompute import RecomputedBatch, decoding_batch
from nosce.models.varlen import varlen_forward
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DECODE_BATCH_SIZE = 128  # rows per batch: on one core larger batches were not faster, since they outgrow the caches
DRAFT_PILOT_SIZE = 32  # drafts that are checked first, to decide whether the others are worth checking
MIN_DRAFT_ACCEPTANCE = 0.25  # fraction of the first drafts' tokens that must be correct for the others to be checked


@dataclass(frozen=True, slots=True)
class TokenCompletion:
    """A generated reply.

    Args:
        tokens: Its tokens, without the end-of-text token.
        ended: Did the model generate the end-of-text token? False: the reply was cut at `max_new_tokens`.
    """

    tokens: np.ndarray
    ended: bool


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Sampling in place of greedy decoding; each prompt has a random generator of its own.

    A reply depends on its own seed alone, and neither on its batch nor on other prompts.

    Args:
        seeds: One seed per prompt.
        temperature: Divisor of the logits. 1 samples from the model's own distribution.
    """

    seeds: Sequence[Seed]
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise SpecError(
                f"SamplingParams.temperature={self.temperature} is not positive; leave sampling out for greedy."
            )


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    prompts: Sequence[np.ndarray],
    *,
    eos_id: int,
    max_new_tokens: int,
    sampling: SamplingParams | None = None,
    drafts: Sequence[np.ndarray] | None = None,
    grammar: TokenGrammar | None = None,
    batch_size: int = DECODE_BATCH_SIZE,
) -> list[TokenCompletion]:
    """One reply per prompt, in the given order.

    Args:
        model: The model that replies.
        prompts: Token ids. A decoder-only model reads each behind `eos_id`, as in training; for an encoder-decoder the
            prompt is the encoder's input.
        eos_id: The token that ends a reply.
        max_new_tokens: Most tokens of a reply, including its end. A longer reply is cut and has `ended=False`.
        sampling: Seeds and temperature. None: greedy decoding.
        drafts: The expected replies without their ends, for greedy decoding of a decoder-only model. They do not change
            the replies; where the model agrees with a draft, its reply takes one forward pass.
        grammar: The tokens that may be generated in each state. None: all tokens.
        batch_size: Replies that are generated side by side.

    Raises:
        SpecError: Prompt and reply together exceed the model's positions, or the arguments contradict each other.
    """
    _check_arguments(model, prompts, max_new_tokens, sampling, drafts, grammar)
    if grammar is not None:
        grammar = grammar.with_vocabulary(model.config.get_text_config().vocab_size)
    temperature = 1.0 if sampling is None else sampling.temperature
    replies: list[TokenCompletion | None] = [None] * len(prompts)
    accepted = [np.zeros(0, dtype=np.int64)] * len(prompts)
    for draft_indices in _draft_batches(len(prompts)) if drafts is not None else ():
        assert drafts is not None
        if not _check_drafts(model, prompts, drafts, draft_indices, eos_id, max_new_tokens, replies, accepted):
            break
    contexts = [np.concatenate([p, b]).astype(np.int64) for p, b in zip(prompts, accepted, strict=True)]
    pending = sorted((i for i, reply in enumerate(replies) if reply is None), key=lambda i: (-len(contexts[i]), i))
    with eval_mode(model), varlen_forward(model) as forward, stepwise_attention(model) as stepwise:
        for offset in range(0, len(pending), batch_size):
            batch_items = pending[offset : offset + batch_size]
            cache = decoding_batch(model, [contexts[i] for i in batch_items], eos_id, stepwise, forward)
            remaining = np.array([max_new_tokens - len(accepted[i]) for i in batch_items])
            uniforms = None if sampling is None else _uniform_draws(sampling, batch_items, max_new_tokens)
            for row, tokens, ended in _decode(cache, eos_id, remaining, uniforms, temperature, grammar):
                item = batch_items[row]
                replies[item] = TokenCompletion(np.concatenate([accepted[item], tokens]), ended)
    return [reply for reply in replies if reply is not None]


def _check_arguments(
    model: PreTrainedModel,
    prompts: Sequence[np.ndarray],
    max_new_tokens: int,
    sampling: SamplingParams | None,
    drafts: Sequence[np.ndarray] | None,
    grammar: TokenGrammar | None,
) -> None:
    _check_lengths(model, prompts, max_new_tokens)
    if drafts is not None and (sampling is not None or grammar is not None or model.config.is_encoder_decoder):
        raise SpecError(
            "drafts work for greedy decoding of a decoder-only model alone; leave them out when sampling, under a "
            "grammar and for an encoder-decoder."
        )
    per_prompt = {"drafts": drafts, "sampling seeds": None if sampling is None else sampling.seeds}
    for name, given in per_prompt.items():
        if given is not None and len(given) != len(prompts):
            raise SpecError(f"{len(prompts)} prompts came with {len(given)} {name}; give one for each.")


def _check_lengths(model: PreTrainedModel, prompts: Sequence[np.ndarray], max_new_tokens: int) -> None:
    if max_new_tokens < 1:
        raise SpecError(f"replies of at most {max_new_tokens} tokens were asked for; take 1 or more.")
    max_prompt_tokens = max((len(p) for p in prompts), default=0)
    needed_positions = max_prompt_tokens + max_new_tokens
    if model.config.is_encoder_decoder:
        needed_positions = max(max_prompt_tokens, max_new_tokens)
    check_positions(model, needed_positions)
    limit = max_positions_of(model)
    if limit is not None and needed_positions > limit:
        raise SpecError(
            f"a prompt of {max_prompt_tokens} tokens and a reply of {max_new_tokens} need {needed_positions} "
            f"positions, but the model reads {limit}; take shorter ones, or give the model more positions."
        )


def _draft_batches(count: int) -> list[range]:
    """A few drafts first, then the rest: where the model seldom agrees with its drafts, checking them costs time."""
    return [range(min(DRAFT_PILOT_SIZE, count)), range(min(DRAFT_PILOT_SIZE, count), count)]


def _check_drafts(
    model: PreTrainedModel,
    prompts: Sequence[np.ndarray],
    drafts: Sequence[np.ndarray],
    items: Sequence[int],
    eos_id: int,
    max_new_tokens: int,
    replies: list[TokenCompletion | None],
    accepted: list[np.ndarray],
) -> bool:
    """Score drafts in one forward pass and keep each up to and including the model's first different token.

    Args:
        model: The model that replies.
        prompts: All prompts.
        drafts: All drafts.
        items: The prompts whose drafts are checked now.
        eos_id: The token that ends a reply.
        max_new_tokens: Most tokens of a reply.
        replies: Gets the replies that are complete.
        accepted: Gets the beginnings of the other replies.

    Returns:
        Whether enough draft tokens were correct for further drafts to be worth checking.
    """
    truncated_drafts = {i: _through_eos(np.append(drafts[i], eos_id), eos_id)[:max_new_tokens] for i in items}
    if not truncated_drafts:
        return False
    texts, spans = [], []
    for text, (item, draft) in enumerate(truncated_drafts.items()):
        stop = len(prompts[item]) + len(draft)
        texts.append((np.concatenate([prompts[item], draft]), np.ones(stop, dtype=bool)))
        spans.append((text, len(prompts[item]), stop))
    span_scores = score_spans(model, dataset_from_arrays(texts), spans, eos_id=eos_id)
    n_accepted = 0
    for item, span_score in zip(truncated_drafts, span_scores, strict=True):
        greedy_tokens = span_score.greedy_tokens.astype(np.int64)
        n_accepted += len(greedy_tokens) - 1 + int(span_score.exact_match)
        if greedy_tokens[-1] == eos_id:
            replies[item] = TokenCompletion(greedy_tokens[:-1], True)
        elif len(greedy_tokens) == max_new_tokens:
            replies[item] = TokenCompletion(greedy_tokens, False)
        else:
            accepted[item] = greedy_tokens
    return n_accepted >= MIN_DRAFT_ACCEPTANCE * sum(len(c) for c in truncated_drafts.values())


def _through_eos(tokens: np.ndarray, eos_id: int) -> np.ndarray:
    """The tokens up to and including the first end-of-text token; there must be one."""
    return tokens[: int(np.argmax(tokens == eos_id)) + 1]


def _uniform_draws(sampling: SamplingParams, items: list[int], max_new_tokens: int) -> np.ndarray:
    """The uniform random number of each token of each item, in [0, 1). Shape: (B, max_new_tokens)."""
    return np.stack([sampling.seeds[i].numpy().random(max_new_tokens) for i in items])


def _decode(
    cache: KVCacheBatch | RecomputedBatch,
    eos_id: int,
    remaining: np.ndarray,
    uniforms: np.ndarray | None,
    temperature: float,
    grammar: TokenGrammar | None = None,
) -> Iterator[tuple[int, np.ndarray, bool]]:
    """Yield (row, tokens, ended) of each row when its reply is complete."""
    max_new_tokens = int(remaining.max())
    generated = np.zeros((len(remaining), max_new_tokens), dtype=np.int64)
    active = np.arange(len(remaining))
    logits = cache.prefill()
    grammar_states = np.zeros(len(remaining), dtype=np.int64)
    forbidden = None if grammar is None else torch.from_numpy(~grammar.allowed).to(logits.device)
    for length in range(1, max_new_tokens + 1):
        if forbidden is not None:
            states = torch.from_numpy(grammar_states[active]).to(logits.device)
            logits = logits.masked_fill(forbidden[states], -torch.inf)
        if uniforms is None:
            tokens = _greedy_tokens(logits)
        else:
            tokens = _sample_tokens(logits, uniforms[active, length - 1], temperature)
        if grammar is not None:
            grammar_states[active] = grammar.transitions[grammar_states[active], tokens]
        generated[active, length - 1] = tokens
        ended = tokens == eos_id
        finished = ended | (remaining[active] <= length)
        for row, ended_itself in zip(active[finished], ended[finished], strict=True):
            yield int(row), generated[row, : length - int(ended_itself)].copy(), bool(ended_itself)
        active, tokens = active[~finished], tokens[~finished]
        if not len(active):
            return
        logits = cache.step(active, tokens)


def _greedy_tokens(logits: torch.Tensor) -> np.ndarray:
    return logits.argmax(-1).cpu().numpy()


def _sample_tokens(logits: torch.Tensor, uniforms: np.ndarray, temperature: float) -> np.ndarray:
    """The token whose interval of the cumulative distribution contains each uniform number."""
    # The sums are computed on the CPU: on a GPU torch sums floats in no fixed order, and refuses where order is asked
    # for (`prepare_torch`).
    cumulative = (logits.double() / temperature).softmax(-1).cpu().cumsum(-1)
    thresholds = torch.from_numpy(uniforms)[:, None] * cumulative[:, -1:]
    tokens = torch.searchsorted(cumulative, thresholds, right=True).squeeze(-1)
    return tokens.clamp(max=logits.shape[-1] - 1).numpy()
