"""Reading a model by one teacher-forced pass, where that tells what greedy decoding would say.

Given the true tokens so far, the model's first choice is compared with the next true token. All of
them right is the same as greedy decoding writing the target and its end: up to its first mistake,
greedy decoding has written the true tokens itself. One pass replaces as many as the reply has tokens.
Letters: S spans, B texts, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from nosce.data.packing import Sequences
from nosce.data.sampling import by_length, pack
from nosce.errors import DataError
from nosce.models.architecture import sees_both_ways
from nosce.models.varlen import apart
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

POSITIONS = {"cpu": 4_096}  # tokens of one pass: on a processor as many as its caches hold
OTHERWISE = 65_536  # on a device: bounds the memory it takes
SAMPLE = 64  # spans on which the change from batch to batch is measured


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the model prefers at one span, given the truth before it."""

    chosen: np.ndarray  # its first choice at each token of the span
    true: np.ndarray  # the tokens of the span
    each: np.ndarray  # negative log-likelihood of each token of the span (nats)

    @property
    def nats(self) -> float:
        """The negative log-likelihood of the span: the sum over its tokens."""
        return float(self.each.sum())

    @property
    def exact(self) -> bool:
        """Would greedy decoding write the whole span?"""
        return bool((self.chosen == self.true).all())

    @property
    def first(self) -> bool:
        """Is the first token right?"""
        return bool(self.chosen[0] == self.true[0])

    @property
    def said(self) -> np.ndarray:
        """What greedy decoding would write, up to and including its first mistake; what follows is unknown."""
        wrong = np.flatnonzero(self.chosen != self.true)
        return self.chosen if not len(wrong) else self.chosen[: wrong[0] + 1]


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Inside the block the model is in evaluation mode; afterwards in the mode it was in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def suited(model: PreTrainedModel) -> int:
    """How many tokens one pass over texts takes where the model is."""
    return POSITIONS.get(model.device.type, OTHERWISE)


@dataclass(frozen=True, slots=True)
class BatchChange:
    """The largest change of a span's log-likelihood between a pass of one text and one of many."""

    nats: float
    choices: int  # spans of which the model's first choices changed, where two were as good as equal
    spans: int  # that were compared


@dataclass(frozen=True, eq=False)
class Pass:
    """Some spans that were read in one go. R is the sum of their tokens."""

    numbers: list[int]  # which spans
    cuts: list[slice]  # where each one's rows are
    true: np.ndarray  # (R,) their tokens
    logits: torch.Tensor  # (R, V) what the model makes of each, given the truth before it, or on both sides


@torch.no_grad()
def passes(
    model: PreTrainedModel,
    sequences: Sequences,
    spans: Sequence[tuple[int, int, int]],
    *,
    end: int,
    positions: int | None = None,
) -> Iterator[Pass]:
    """All spans (text, first token, last token + 1), each once, texts of like length together.

    Each text is read alone, behind an end token, as a text that opens a row is trained. A model that sees both ways
    is shown the text with masks in place of the span, one span at a time.

    Args:
        positions: Tokens of one pass at most, or where None what suits the device; a longer text has its own pass.
    """
    if sees_both_ways(model):
        yield from _masked(model, sequences, spans, end, positions or suited(model))
        return
    by_text: dict[int, list[int]] = {}
    for number, (text, _, _) in enumerate(spans):
        by_text.setdefault(text, []).append(number)
    with evaluating(model), apart(model) as forward:
        for texts in by_length(list(by_text), sequences.lengths, positions or suited(model)):
            batch = pack(sequences, texts, window=None, end=end)
            starts = np.cumsum(batch.lengths) - batch.lengths
            # `pack` puts the longest first, as `texts` has them; a token at place p is predicted at position p.
            wanted = [(int(at), *spans[n], n) for at, t in zip(starts, texts, strict=True) for n in by_text[t]]
            places = np.concatenate([np.arange(at + start, at + stop) for at, _, start, stop, _ in wanted])
            hidden = forward(batch.inputs, batch.lengths, batch.given)[torch.from_numpy(places).to(model.device)]
            true = np.concatenate([sequences.text(text)[start:stop] for _, text, start, stop, _ in wanted])
            ends = np.cumsum([stop - start for _, _, start, stop, _ in wanted]).tolist()
            cuts = [slice(first, last) for first, last in zip([0, *ends], ends, strict=False)]
            yield Pass([n for *_, n in wanted], cuts, true, model.get_output_embeddings()(hidden).float())


def _masked(
    model: PreTrainedModel, sequences: Sequences, spans: Sequence[tuple[int, int, int]], end: int, positions: int
) -> Iterator[Pass]:
    """Spans in their texts with masks in their place; the end of a text is never masked, so it is no part of a span."""
    texts = np.array([text for text, _, _ in spans])
    lengths = sequences.lengths[texts]
    stops = [min(stop, int(length) - 1) for (_, _, stop), length in zip(spans, lengths, strict=True)]
    with evaluating(model), apart(model) as forward:
        for numbers in by_length(list(range(len(spans))), lengths, positions):
            batch = pack(sequences, texts[numbers], window=None, end=end)
            starts = np.cumsum(batch.lengths) - batch.lengths
            # A token of a text stands one place behind its number, after the opening end.
            wanted = [
                (int(at) + 1 + spans[n][1], int(at) + 1 + stops[n]) for at, n in zip(starts, numbers, strict=True)
            ]
            places = np.concatenate([np.arange(first, last) for first, last in wanted])
            true, inputs = batch.inputs[places], batch.inputs.copy()
            inputs[places] = model.config.mask_token_id
            hidden = forward(inputs, batch.lengths, batch.given)[torch.from_numpy(places).to(model.device)]
            ends = np.cumsum([last - first for first, last in wanted]).tolist()
            cuts = [slice(first, last) for first, last in zip([0, *ends], ends, strict=False)]
            yield Pass(numbers, cuts, true, model.get_output_embeddings()(hidden).float())


@torch.no_grad()
def spoken(
    model: PreTrainedModel,
    sequences: Sequences,
    spans: Sequence[tuple[int, int, int]],
    *,
    end: int,
    positions: int | None = None,
) -> list[Spoken]:
    """The model's choices at spans (text, first token, last token + 1), in the order given; see `passes`."""
    found: dict[int, Spoken] = {}
    for one in passes(model, sequences, spans, end=end, positions=positions):
        chosen = one.logits.argmax(-1).cpu().numpy()
        target = torch.from_numpy(one.true.astype(np.int64)).to(one.logits.device)
        nats = torch.nn.functional.cross_entropy(one.logits, target, reduction="none").double().cpu().numpy()
        for number, cut in zip(one.numbers, one.cuts, strict=True):
            found[number] = Spoken(chosen[cut], one.true[cut], nats[cut])
    return [found[number] for number in range(len(spans))]


def batch_change(
    model: PreTrainedModel, sequences: Sequences, spans: Sequence[tuple[int, int, int]], *, end: int, seed: Seed
) -> BatchChange:
    """How much the company of other texts in a pass moves a log-probability that it should not move.

    `SAMPLE` spans drawn from `seed` are read all in one pass and then one text a pass; whatever differs
    is rounding. Readings that lie closer together than this say nothing about which is larger.
    """
    if not spans:
        raise DataError("how much the batch moves a reading was asked for, but there is nothing to read.")
    drawn = sorted(seed.numpy().choice(len(spans), min(SAMPLE, len(spans)), replace=False).tolist())
    few = [spans[i] for i in drawn]
    together = spoken(model, sequences, few, end=end)
    alone = spoken(model, sequences, few, end=end, positions=1)
    nats = max(abs(a.nats - b.nats) for a, b in zip(together, alone, strict=True))
    choices = sum(bool((a.chosen != b.chosen).any()) for a, b in zip(together, alone, strict=True))
    return BatchChange(nats, choices, len(few))


def counted_spans(sequences: Sequences) -> list[tuple[int, int, int]]:
    """The counted stretch of each text, e.g. target and end of a question, as spans."""
    found = []
    for text in range(len(sequences)):
        places = np.flatnonzero(sequences.mask(text))
        found.append((text, int(places[0]), int(places[-1]) + 1))
    return found
