"""Generation: replies token by token, greedy or sampled, decoder-only and encoder-decoder.

What transformers' `generate` spends on small models is left out: keys and values are written into a
block of memory made once instead of being copied at every step, a row whose reply has ended is dropped
instead of being carried along, and where the expected reply is known it is checked in one pass, so that
only rows that differ from it are decoded at all. Every one of these gives the tokens that `generate` gives.
Letters: B rows, P positions of a prompt, T positions of prompt and reply, V vocabulary.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional
from transformers import AttentionInterface
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, EncoderDecoderCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from nosce.errors import SpecError
from nosce.models.apart import KNOWN
from nosce.read.likelihood import spoken
from nosce.seeds import Seed
from nosce.text.packing import collect

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS = 128  # decoded side by side: more no longer helped on one core, where their memory outgrows the caches
FEW = 32  # drafts that are checked before it is decided whether the others are
WORTH = 0.25  # of their tokens must have been right
STRIDE = 32  # places by which memory grows
NAME = "nosce-step"
STEPWISE = KNOWN | {"t5"}  # families whose attention we know, by transformers' model type
SLACK = 0.75  # of the rows that are held, so few are still writing when the others are dropped from memory


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
        rows: Replies that are written side by side.

    Raises:
        SpecError: A prompt and its reply are longer than the model can read, or the arguments do not fit.
    """
    _fits(model, prompts, most, sampling, drafts)
    heat = 1.0 if sampling is None else sampling.temperature
    was_training = model.training
    model.eval()
    replies: list[Reply | None] = [None] * len(prompts)
    begun = [np.zeros(0, dtype=np.int64)] * len(prompts)
    for few in _worth_checking(len(prompts)) if drafts is not None else ():
        assert drafts is not None
        if not _check_drafts(model, prompts, drafts, few, end, most, replies, begun):
            break
    shown = [np.concatenate([p, b]).astype(np.int64) for p, b in zip(prompts, begun, strict=True)]
    left = sorted((i for i, reply in enumerate(replies) if reply is None), key=lambda i: (-len(shown[i]), i))
    with _stepping(model) as stepwise:
        for first in range(0, len(left), rows):
            part = left[first : first + rows]
            state = _State(model, [shown[i] for i in part], end, stepwise)
            room = np.array([most - len(begun[i]) for i in part])
            draws = None if sampling is None else _draws(sampling, part, most)
            for number, tokens, ended in _written(state, end, room, draws, heat):
                item = part[number]
                replies[item] = Reply(np.concatenate([begun[item], tokens]), ended)
    model.train(was_training)
    return [reply for reply in replies if reply is not None]


def _fits(
    model: PreTrainedModel,
    prompts: Sequence[np.ndarray],
    most: int,
    sampling: Sampling | None,
    drafts: Sequence[np.ndarray] | None,
) -> None:
    longest = max((len(p) for p in prompts), default=0)
    whole = max(longest, most) if model.config.is_encoder_decoder else longest + most
    limit = _limit(model)
    if most < 1:
        raise SpecError(f"replies of at most {most} tokens were asked for; take 1 or more.")
    if limit is not None and whole > limit:
        raise SpecError(
            f"a prompt of {longest} tokens and a reply of {most} need {whole} positions, but the model reads {limit}; "
            "ask for less, or give the model more positions."
        )
    if drafts is not None and (sampling is not None or model.config.is_encoder_decoder):
        raise SpecError("drafts were given where they cannot help; leave them out when sampling and for encoders.")
    counts = {"drafts": drafts, "sampling seeds": None if sampling is None else sampling.seeds}
    for name, given in counts.items():
        if given is not None and len(given) != len(prompts):
            raise SpecError(f"{len(prompts)} prompts came with {len(given)} {name}; give one for each.")


def _limit(model: PreTrainedModel) -> int | None:
    return getattr(model.config, "max_position_embeddings", None)


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
    state: _State, end: int, room: np.ndarray, draws: np.ndarray | None, temperature: float
) -> Iterator[tuple[int, np.ndarray, bool]]:
    """(row, tokens, ended) of every row, as they end."""
    most = int(room.max())
    written = np.zeros((len(room), most), dtype=np.int64)
    alive = np.arange(len(room))
    logits = state.opened()
    for length in range(1, most + 1):
        tokens = _first(logits) if draws is None else _drawn(logits, draws[alive, length - 1], temperature)
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


class _State:
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
        self.last = (_limit(self.model) or sys.maxsize) - 1
        self.places = self.there.sum(-1).clamp(max=self.last)
        positions = (self.there.cumsum(-1) - 1).clamp(min=0)
        return self._causal(self.prompt, positions, None if self.full else seen)

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
            logits = self._causal(self._on(said), self.places[:, None], None)
            self.places = (self.places + 1).clamp(max=self.last)  # rows that have ended may be written beyond it
        return logits if len(kept) == len(self.held) else logits[self._on(kept)]

    def _causal(self, tokens: torch.Tensor, positions: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        mask: Any = seen if seen is not None or self.full else self.there.long()
        if self.stepwise and tokens.shape[1] == 1:
            mask = self._filled(self.there)
        elif seen is not None and not self.stepwise:
            mask = self.there.long()
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
def _stepping(model: PreTrainedModel) -> Iterator[bool]:
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
