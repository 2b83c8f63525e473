"""Generation: replies token by token, greedy or sampled, decoder-only and encoder-decoder.

What transformers' `generate` spends on small models is left out: keys and values are written into a
block of memory made once instead of being copied at every step, a row whose reply has ended is dropped
instead of being carried along, and where the expected reply is known it is checked in one pass, so that
only rows that differ from it are decoded at all. Every one of these gives the tokens that `generate` gives.
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
from nosce.models.kv_cache import KVCacheBatch, max_positions_of, stepwise_attention
from nosce.models.likelihood import eval_mode, score_spans
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DECODE_BATCH_SIZE = (
    128  # decoded side by side: more no longer helped on one core, where their memory outgrows the caches
)
DRAFT_PILOT_SIZE = 32  # drafts that are checked before it is decided whether the others are
MIN_DRAFT_ACCEPTANCE = 0.25  # of their tokens must have been right


@dataclass(frozen=True, slots=True)
class TokenCompletion:
    """What a model wrote: its tokens without the end, and whether it ended by itself."""

    tokens: np.ndarray
    ended: bool  # False: it was cut at the most it was given


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Tokens drawn instead of the first choice; each item from a generator of its own.

    A reply depends on its item's seed alone: not on the batch it was written in, nor on other items.
    """

    seeds: Sequence[Seed]  # one an item
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
    """One reply a prompt, in the order given; greedy unless `sampling` is there.

    Args:
        prompts: Token ids. To a decoder-only model each is shown behind `eos_id`, as texts are trained; an
            encoder-decoder gets it as its encoder's input.
        eos_id: The token that ends a reply.
        max_new_tokens: Tokens of a reply, its end included; one that is longer is cut, and says so.
        drafts: What each reply is expected to be, without its end. A greedy reply is the same with and
            without; where the model says what is expected it comes many times faster. Decoder-only.
        grammar: What may be written; the choice is then among that.
        batch_size: Replies that are written side by side.

    Raises:
        SpecError: A prompt and its reply are longer than the model can read, or the arguments do not fit.
    """
    _check_arguments(model, prompts, max_new_tokens, sampling, drafts, grammar)
    temperature = 1.0 if sampling is None else sampling.temperature
    replies: list[TokenCompletion | None] = [None] * len(prompts)
    accepted = [np.zeros(0, dtype=np.int64)] * len(prompts)
    for draft_indices in _draft_batches(len(prompts)) if drafts is not None else ():
        assert drafts is not None
        if not _check_drafts(model, prompts, drafts, draft_indices, eos_id, max_new_tokens, replies, accepted):
            break
    contexts = [np.concatenate([p, b]).astype(np.int64) for p, b in zip(prompts, accepted, strict=True)]
    pending = sorted((i for i, reply in enumerate(replies) if reply is None), key=lambda i: (-len(contexts[i]), i))
    with eval_mode(model), stepwise_attention(model) as stepwise:
        for offset in range(0, len(pending), batch_size):
            batch_items = pending[offset : offset + batch_size]
            cache = KVCacheBatch(model, [contexts[i] for i in batch_items], eos_id, stepwise)
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
    max_prompt_tokens = max((len(p) for p in prompts), default=0)
    needed_positions = (
        max(max_prompt_tokens, max_new_tokens)
        if model.config.is_encoder_decoder
        else max_prompt_tokens + max_new_tokens
    )
    limit = max_positions_of(model)
    if max_new_tokens < 1:
        raise SpecError(f"replies of at most {max_new_tokens} tokens were asked for; take 1 or more.")
    if limit is not None and needed_positions > limit:
        raise SpecError(
            f"a prompt of {max_prompt_tokens} tokens and a reply of {max_new_tokens} need {needed_positions} "
            f"positions, but the model reads {limit}; ask for less, or give the model more positions."
        )
    if drafts is not None and (sampling is not None or grammar is not None or model.config.is_encoder_decoder):
        raise SpecError(
            "drafts were given where they cannot help; leave them out when sampling, under a grammar and for encoders."
        )
    if grammar is not None and grammar.transitions.shape[1] != (
        vocab_size := model.config.get_text_config().vocab_size
    ):
        raise SpecError(
            f"a grammar of {grammar.transitions.shape[1]} tokens does not fit a model of {vocab_size}; use its "
            "tokenizer."
        )
    counts = {"drafts": drafts, "sampling seeds": None if sampling is None else sampling.seeds}
    for name, given in counts.items():
        if given is not None and len(given) != len(prompts):
            raise SpecError(f"{len(prompts)} prompts came with {len(given)} {name}; give one for each.")


def _draft_batches(count: int) -> list[range]:
    """A few drafts first, then the rest: where a model says little of what is expected, checking costs more."""
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
    """Read these drafts in one pass: whole replies where they were right, else all up to the first other token.

    Returns:
        Whether enough of them was right for the others to be worth checking.
    """
    truncated_drafts = {i: _through_eos(np.append(drafts[i], eos_id), eos_id)[:max_new_tokens] for i in items}
    if not truncated_drafts:
        return False
    texts = [
        (np.concatenate([prompts[i], c]), np.ones(len(prompts[i]) + len(c), dtype=bool))
        for i, c in truncated_drafts.items()
    ]
    spans = [(n, len(prompts[i]), len(prompts[i]) + len(c)) for n, (i, c) in enumerate(truncated_drafts.items())]
    n_accepted = 0
    for item, span_score in zip(
        truncated_drafts, score_spans(model, dataset_from_arrays(texts), spans, eos_id=eos_id), strict=True
    ):
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
    """Up to the first end, which is there."""
    return tokens[: int(np.argmax(tokens == eos_id)) + 1]


def _uniform_draws(sampling: SamplingParams, items: list[int], max_new_tokens: int) -> np.ndarray:
    """Where in the distribution each token of each item falls. Shape: (B, most), in [0, 1)."""
    return np.stack([sampling.seeds[i].numpy().random(max_new_tokens) for i in items])


def _decode(
    cache: KVCacheBatch,
    eos_id: int,
    remaining: np.ndarray,
    uniforms: np.ndarray | None,
    temperature: float,
    grammar: TokenGrammar | None = None,
) -> Iterator[tuple[int, np.ndarray, bool]]:
    """(row, tokens, ended) of every row, as they end."""
    max_new_tokens = int(remaining.max())
    generated = np.zeros((len(remaining), max_new_tokens), dtype=np.int64)
    active = np.arange(len(remaining))
    logits = cache.prefill()
    grammar_states = np.zeros(len(remaining), dtype=np.int64)  # in the grammar
    forbidden = None if grammar is None else torch.from_numpy(~grammar.allowed).to(logits.device)
    for length in range(1, max_new_tokens + 1):
        if forbidden is not None:
            logits = logits.masked_fill(
                forbidden[torch.from_numpy(grammar_states[active]).to(logits.device)], -torch.inf
            )
        tokens = (
            _greedy_tokens(logits)
            if uniforms is None
            else _sample_tokens(logits, uniforms[active, length - 1], temperature)
        )
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
    """The token in whose stretch of the distribution each number of [0, 1) falls."""
    cumulative = (logits.double() / temperature).softmax(-1).cumsum(-1)
    thresholds = torch.from_numpy(uniforms).to(cumulative.device)[:, None] * cumulative[:, -1:]
    return (
        torch.searchsorted(cumulative, thresholds, right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1).cpu().numpy()
    )
