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
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, EncoderDecoderCache

from nosce.errors import SpecError
from nosce.models.apart import KNOWN
from nosce.read.likelihood import spoken
from nosce.seeds import Seed
from nosce.text.packing import collect

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS = 256  # decoded side by side: more of them no longer helped on one core, and memory grows with them
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
    if drafts is not None:
        _check_drafts(model, prompts, drafts, end, most, replies, begun)
    shown = [np.concatenate([p, b]).astype(np.int64) for p, b in zip(prompts, begun, strict=True)]
    left = sorted((i for i, reply in enumerate(replies) if reply is None), key=lambda i: (-len(shown[i]), i))
    for first in range(0, len(left), rows):
        part = left[first : first + rows]
        room = np.array([most - len(begun[i]) for i in part])
        draws = None if sampling is None else _draws(sampling, part, most)
        for number, tokens, ended in _written(model, [shown[i] for i in part], end, room, draws, heat):
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
    whole = most if model.config.is_encoder_decoder else longest + most
    limit = getattr(model.config, "max_position_embeddings", None)
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


def _check_drafts(
    model: PreTrainedModel,
    prompts: Sequence[np.ndarray],
    drafts: Sequence[np.ndarray],
    end: int,
    most: int,
    replies: list[Reply | None],
    begun: list[np.ndarray],
) -> None:
    """Read every draft in one pass: whole replies where it was right, else all up to the first other token."""
    cut = [np.append(d, end)[:most] for d in drafts]
    texts = [(np.concatenate([p, c]), np.ones(len(p) + len(c), dtype=bool)) for p, c in zip(prompts, cut, strict=True)]
    if not texts:
        return
    spans = [(i, len(p), len(p) + len(c)) for i, (p, c) in enumerate(zip(prompts, cut, strict=True))]
    for item, heard in enumerate(spoken(model, collect(texts), spans, end=end)):
        said = heard.said.astype(np.int64)
        if said[-1] == end:
            replies[item] = Reply(said[:-1], True)
        elif len(said) == most:
            replies[item] = Reply(said, False)
        else:
            begun[item] = said


def _draws(sampling: Sampling, items: list[int], most: int) -> np.ndarray:
    """Where in the distribution each token of each item falls. Shape: (B, most), in [0, 1)."""
    return np.stack([sampling.seeds[i].numpy().random(most) for i in items])


def _written(
    model: PreTrainedModel,
    prompts: list[np.ndarray],
    end: int,
    room: np.ndarray,
    draws: np.ndarray | None,
    temperature: float,
) -> Iterator[tuple[int, np.ndarray, bool]]:
    """(row, tokens, ended) of every row, as they end."""
    most = int(room.max())
    written = np.zeros((len(prompts), most), dtype=np.int64)
    alive = np.arange(len(prompts))
    state = _State(model, prompts, end, most)
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

    def __init__(self, model: PreTrainedModel, prompts: list[np.ndarray], end: int, most: int) -> None:
        self.model, self.end = model, end
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
        layers = model.config.get_text_config(decoder=True).num_hidden_layers
        room = most if self.encoder else width + most
        self.memory = Cache(layers=[_Room(room) for _ in range(layers)])
        self.most = most

    def _on(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.model.device)

    def opened(self) -> torch.Tensor:
        """Logits of the first token of every row. Shape: (B, V)."""
        if self.encoder:
            mask = None if self.full else self.there
            self.read = self.model.get_encoder()(input_ids=self.prompt, attention_mask=mask)
            self.both = EncoderDecoderCache(self.memory, DynamicCache())
            begin = self.model.config.decoder_start_token_id
            return self._decoder(torch.full((len(self.held), 1), begin, device=self.model.device))
        causal = torch.ones(self.prompt.shape[1], self.prompt.shape[1], dtype=torch.bool, device=self.model.device)
        # A padded place may look at itself: a row of attention with nothing to look at would be no number.
        seen = (causal.tril() & self.there[:, None, None]) | torch.eye(
            len(causal), dtype=torch.bool, device=causal.device
        )
        self.places = self.there.sum(-1)
        positions = (self.there.cumsum(-1) - 1).clamp(min=0)
        return self._causal(self.prompt, positions, seen)

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
            logits = self._causal(self._on(said), self.places[:, None], self.there[:, None, None])
            self.places = self.places + 1
        return logits if len(kept) == len(self.held) else logits[self._on(kept)]

    def _causal(self, tokens: torch.Tensor, positions: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        mask: Any = None
        if not self.full:
            mask = seen if self.model.config.model_type in KNOWN else self.there.long()
        return self._logits(
            input_ids=tokens, position_ids=positions, attention_mask=mask, past_key_values=self.memory, logits_to_keep=1
        )

    def _decoder(self, tokens: torch.Tensor) -> torch.Tensor:
        mask = None if self.full else self.there
        return self._logits(
            encoder_outputs=self.read, attention_mask=mask, decoder_input_ids=tokens, past_key_values=self.both
        )

    def _logits(self, **given: Any) -> torch.Tensor:
        return self.model(**given, use_cache=True).logits[:, -1]  # type: ignore[no-any-return]

    def _keep(self, rows: torch.Tensor) -> None:
        self.there = self.there[rows]
        if self.encoder:
            self.read.last_hidden_state = self.read.last_hidden_state[rows]
            self.both.batch_select_indices(rows)
        else:
            self.places = self.places[rows]
            self.memory.batch_select_indices(rows)


class _Room(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer in a block that has room for all that will come: nothing is copied twice."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write what is new behind what is there; views of all so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.used = 0
            self.blocks = [self._block(new) for new in (key_states, value_states)]
        last = self.used + key_states.shape[-2]
        for block, new in zip(self.blocks, (key_states, value_states), strict=True):
            block[..., self.used : last, :] = new
        self.used = last
        self.keys, self.values = (block[..., :last, :] for block in self.blocks)
        return self.keys, self.values

    def _block(self, like: torch.Tensor) -> torch.Tensor:
        return like.new_empty(*like.shape[:2], self.room, like.shape[3])

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Hold these rows alone."""
        before = [block[indices, :, : self.used] for block in self.blocks]
        self.blocks = [self._block(rows) for rows in before]
        for block, rows in zip(self.blocks, before, strict=True):
            block[..., : self.used, :] = rows
        self.keys, self.values = (block[..., : self.used, :] for block in self.blocks)
