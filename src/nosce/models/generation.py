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

from nosce.data.grammar import Grammar
from nosce.data.packing import collect
from nosce.errors import SpecError
from nosce.models.kv_cache import Rows, limit_of, stepping
from nosce.models.likelihood import evaluating, spoken
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS = 128  # decoded side by side: more no longer helped on one core, where their memory outgrows the caches
FEW = 32  # drafts that are checked before it is decided whether the others are
WORTH = 0.25  # of their tokens must have been right


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model wrote: its tokens without the end, and whether it ended by itself."""

    tokens: np.ndarray
    ended: bool  # False: it was cut at the most it was given


@dataclass(frozen=True, slots=True)
class Sampling:
    """Tokens drawn instead of the first choice; each item from a generator of its own.

    A reply depends on its item's seed alone: not on the batch it was written in, nor on other items.
    """

    seeds: Sequence[Seed]  # one an item
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise SpecError(f"Sampling.temperature={self.temperature} is not positive; leave sampling out for greedy.")


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    prompts: Sequence[np.ndarray],
    *,
    end: int,
    most: int,
    sampling: Sampling | None = None,
    drafts: Sequence[np.ndarray] | None = None,
    grammar: Grammar | None = None,
    rows: int = ROWS,
) -> list[Reply]:
    """One reply a prompt, in the order given; greedy unless `sampling` is there.

    Args:
        prompts: Token ids. To a decoder-only model each is shown behind `end`, as texts are trained; an
            encoder-decoder gets it as its encoder's input.
        end: The token that ends a reply.
        most: Tokens of a reply, its end included; one that is longer is cut, and says so.
        drafts: What each reply is expected to be, without its end. A greedy reply is the same with and
            without; where the model says what is expected it comes many times faster. Decoder-only.
        grammar: What may be written; the choice is then among that.
        rows: Replies that are written side by side.

    Raises:
        SpecError: A prompt and its reply are longer than the model can read, or the arguments do not fit.
    """
    _fits(model, prompts, most, sampling, drafts, grammar)
    heat = 1.0 if sampling is None else sampling.temperature
    replies: list[Reply | None] = [None] * len(prompts)
    begun = [np.zeros(0, dtype=np.int64)] * len(prompts)
    for few in _worth_checking(len(prompts)) if drafts is not None else ():
        assert drafts is not None
        if not _check_drafts(model, prompts, drafts, few, end, most, replies, begun):
            break
    shown = [np.concatenate([p, b]).astype(np.int64) for p, b in zip(prompts, begun, strict=True)]
    left = sorted((i for i, reply in enumerate(replies) if reply is None), key=lambda i: (-len(shown[i]), i))
    with evaluating(model), stepping(model) as stepwise:
        for first in range(0, len(left), rows):
            part = left[first : first + rows]
            state = Rows(model, [shown[i] for i in part], end, stepwise)
            room = np.array([most - len(begun[i]) for i in part])
            draws = None if sampling is None else _draws(sampling, part, most)
            for number, tokens, ended in _written(state, end, room, draws, heat, grammar):
                item = part[number]
                replies[item] = Reply(np.concatenate([begun[item], tokens]), ended)
    return [reply for reply in replies if reply is not None]


def _fits(
    model: PreTrainedModel,
    prompts: Sequence[np.ndarray],
    most: int,
    sampling: Sampling | None,
    drafts: Sequence[np.ndarray] | None,
    grammar: Grammar | None,
) -> None:
    longest = max((len(p) for p in prompts), default=0)
    whole = max(longest, most) if model.config.is_encoder_decoder else longest + most
    limit = limit_of(model)
    if most < 1:
        raise SpecError(f"replies of at most {most} tokens were asked for; take 1 or more.")
    if limit is not None and whole > limit:
        raise SpecError(
            f"a prompt of {longest} tokens and a reply of {most} need {whole} positions, but the model reads {limit}; "
            "ask for less, or give the model more positions."
        )
    if drafts is not None and (sampling is not None or grammar is not None or model.config.is_encoder_decoder):
        raise SpecError(
            "drafts were given where they cannot help; leave them out when sampling, under a grammar and for encoders."
        )
    if grammar is not None and grammar.then.shape[1] != (held := model.config.get_text_config().vocab_size):
        raise SpecError(
            f"a grammar of {grammar.then.shape[1]} tokens does not fit a model of {held}; use its tokenizer."
        )
    counts = {"drafts": drafts, "sampling seeds": None if sampling is None else sampling.seeds}
    for name, given in counts.items():
        if given is not None and len(given) != len(prompts):
            raise SpecError(f"{len(prompts)} prompts came with {len(given)} {name}; give one for each.")


def _worth_checking(count: int) -> list[range]:
    """A few drafts first, then the rest: where a model says little of what is expected, checking costs more."""
    return [range(min(FEW, count)), range(min(FEW, count), count)]


def _check_drafts(
    model: PreTrainedModel,
    prompts: Sequence[np.ndarray],
    drafts: Sequence[np.ndarray],
    items: Sequence[int],
    end: int,
    most: int,
    replies: list[Reply | None],
    begun: list[np.ndarray],
) -> bool:
    """Read these drafts in one pass: whole replies where they were right, else all up to the first other token.

    Returns:
        Whether enough of them was right for the others to be worth checking.
    """
    cut = {i: _until(np.append(drafts[i], end), end)[:most] for i in items}
    if not cut:
        return False
    texts = [(np.concatenate([prompts[i], c]), np.ones(len(prompts[i]) + len(c), dtype=bool)) for i, c in cut.items()]
    spans = [(n, len(prompts[i]), len(prompts[i]) + len(c)) for n, (i, c) in enumerate(cut.items())]
    right = 0
    for item, heard in zip(cut, spoken(model, collect(texts), spans, end=end), strict=True):
        said = heard.said.astype(np.int64)
        right += len(said) - 1 + int(heard.exact)
        if said[-1] == end:
            replies[item] = Reply(said[:-1], True)
        elif len(said) == most:
            replies[item] = Reply(said, False)
        else:
            begun[item] = said
    return right >= WORTH * sum(len(c) for c in cut.values())


def _until(tokens: np.ndarray, end: int) -> np.ndarray:
    """Up to the first end, which is there."""
    return tokens[: int(np.argmax(tokens == end)) + 1]


def _draws(sampling: Sampling, items: list[int], most: int) -> np.ndarray:
    """Where in the distribution each token of each item falls. Shape: (B, most), in [0, 1)."""
    return np.stack([sampling.seeds[i].numpy().random(most) for i in items])


def _written(
    state: Rows,
    end: int,
    room: np.ndarray,
    draws: np.ndarray | None,
    temperature: float,
    grammar: Grammar | None = None,
) -> Iterator[tuple[int, np.ndarray, bool]]:
    """(row, tokens, ended) of every row, as they end."""
    most = int(room.max())
    written = np.zeros((len(room), most), dtype=np.int64)
    alive = np.arange(len(room))
    logits = state.opened()
    where = np.zeros(len(room), dtype=np.int64)  # in the grammar
    forbidden = None if grammar is None else torch.from_numpy(~grammar.allowed).to(logits.device)
    for length in range(1, most + 1):
        if forbidden is not None:
            logits = logits.masked_fill(forbidden[torch.from_numpy(where[alive]).to(logits.device)], -torch.inf)
        tokens = _first(logits) if draws is None else _drawn(logits, draws[alive, length - 1], temperature)
        if grammar is not None:
            where[alive] = grammar.then[where[alive], tokens]
        written[alive, length - 1] = tokens
        ended = tokens == end
        over = ended | (room[alive] <= length)
        for row, whole in zip(alive[over], ended[over], strict=True):
            yield int(row), written[row, : length - int(whole)].copy(), bool(whole)
        alive, tokens = alive[~over], tokens[~over]
        if not len(alive):
            return
        logits = state.after(alive, tokens)


def _first(logits: torch.Tensor) -> np.ndarray:
    return logits.argmax(-1).cpu().numpy()


def _drawn(logits: torch.Tensor, where: np.ndarray, temperature: float) -> np.ndarray:
    """The token in whose stretch of the distribution each number of [0, 1) falls."""
    heights = (logits.double() / temperature).softmax(-1).cumsum(-1)
    sought = torch.from_numpy(where).to(heights.device)[:, None] * heights[:, -1:]
    return torch.searchsorted(heights, sought, right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1).cpu().numpy()
