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

from nosce.data.packing import TokenDataset
from nosce.data.sampling import length_sorted_batches, pack
from nosce.errors import DataError
from nosce.models.architecture import is_bidirectional
from nosce.models.varlen import varlen_forward
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENS_PER_PASS = {"cpu": 4_096}  # tokens of one pass: on a processor as many as its caches hold
DEFAULT_TOKENS_PER_PASS = 65_536  # on a device: bounds the memory it takes
BATCH_CHANGE_SPANS = 64  # spans on which the change from batch to batch is measured


@dataclass(frozen=True, slots=True)
class SpanScore:
    """What the model prefers at one span, given the truth before it."""

    predicted_tokens: np.ndarray  # its first choice at each token of the span
    target_tokens: np.ndarray  # the tokens of the span
    token_nats: np.ndarray  # negative log-likelihood of each token of the span (nats)

    @property
    def nats(self) -> float:
        """The negative log-likelihood of the span: the sum over its tokens."""
        return float(self.token_nats.sum())

    @property
    def exact_match(self) -> bool:
        """Would greedy decoding write the whole span?"""
        return bool((self.predicted_tokens == self.target_tokens).all())

    @property
    def first_token_correct(self) -> bool:
        """Is the first token right?"""
        return bool(self.predicted_tokens[0] == self.target_tokens[0])

    @property
    def greedy_tokens(self) -> np.ndarray:
        """What greedy decoding would write, up to and including its first mistake; what follows is unknown."""
        wrong = np.flatnonzero(self.predicted_tokens != self.target_tokens)
        return self.predicted_tokens if not len(wrong) else self.predicted_tokens[: wrong[0] + 1]


@contextmanager
def eval_mode(model: PreTrainedModel) -> Iterator[None]:
    """Inside the block the model is in evaluation mode; afterwards in the mode it was in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def tokens_per_pass(model: PreTrainedModel) -> int:
    """How many tokens one pass over texts takes where the model is."""
    return TOKENS_PER_PASS.get(model.device.type, DEFAULT_TOKENS_PER_PASS)


@dataclass(frozen=True, slots=True)
class BatchChange:
    """The largest change of a span's log-likelihood between a pass of one text and one of many."""

    nats: float
    choices: int  # spans of which the model's first choices changed, where two were as good as equal
    spans: int  # that were compared


@dataclass(frozen=True, eq=False)
class SpanBatch:
    """Some spans that were read in one go. R is the sum of their tokens."""

    span_indices: list[int]  # which spans
    row_slices: list[slice]  # where each one's rows are
    target_tokens: np.ndarray  # (R,) their tokens
    logits: torch.Tensor  # (R, V) what the model makes of each, given the truth before it, or on both sides


@torch.no_grad()
def iter_span_batches(
    model: PreTrainedModel,
    dataset: TokenDataset,
    spans: Sequence[tuple[int, int, int]],
    *,
    eos_id: int,
    max_tokens: int | None = None,
) -> Iterator[SpanBatch]:
    """All spans (text, first token, last token + 1), each once, texts of like length together.

    Each text is read alone, behind an end token, as a text that opens a row is trained. A model that sees both ways
    is shown the text with masks in place of the span, one span at a time.

    Args:
        max_tokens: Tokens of one pass at most, or where None what suits the device; a longer text has its own pass.
    """
    if is_bidirectional(model):
        yield from _iter_masked_span_batches(model, dataset, spans, eos_id, max_tokens or tokens_per_pass(model))
        return
    spans_by_text: dict[int, list[int]] = {}
    for span_index, (text, _, _) in enumerate(spans):
        spans_by_text.setdefault(text, []).append(span_index)
    with eval_mode(model), varlen_forward(model) as forward:
        for texts in length_sorted_batches(list(spans_by_text), dataset.lengths, max_tokens or tokens_per_pass(model)):
            batch = pack(dataset, texts, window=None, eos_id=eos_id)
            starts = np.cumsum(batch.lengths) - batch.lengths
            # `pack` puts the longest first, as `texts` has them; a token at place p is predicted at position p.
            requested = [(int(at), *spans[n], n) for at, t in zip(starts, texts, strict=True) for n in spans_by_text[t]]
            token_positions = np.concatenate([np.arange(at + start, at + stop) for at, _, start, stop, _ in requested])
            hidden = forward(batch.inputs, batch.lengths, batch.prompt_len)[
                torch.from_numpy(token_positions).to(model.device)
            ]
            target_tokens = np.concatenate(
                [dataset.text_tokens(text)[start:stop] for _, text, start, stop, _ in requested]
            )
            ends = np.cumsum([stop - start for _, _, start, stop, _ in requested]).tolist()
            row_slices = [slice(first, last) for first, last in zip([0, *ends], ends, strict=False)]
            yield SpanBatch(
                [n for *_, n in requested], row_slices, target_tokens, model.get_output_embeddings()(hidden).float()
            )


def _iter_masked_span_batches(
    model: PreTrainedModel, dataset: TokenDataset, spans: Sequence[tuple[int, int, int]], eos_id: int, max_tokens: int
) -> Iterator[SpanBatch]:
    """Spans in their texts with masks in their place; the end of a text is never masked, so it is no part of a span."""
    texts = np.array([text for text, _, _ in spans])
    lengths = dataset.lengths[texts]
    stops = [min(stop, int(length) - 1) for (_, _, stop), length in zip(spans, lengths, strict=True)]
    with eval_mode(model), varlen_forward(model) as forward:
        for span_indices in length_sorted_batches(list(range(len(spans))), lengths, max_tokens):
            batch = pack(dataset, texts[span_indices], window=None, eos_id=eos_id)
            starts = np.cumsum(batch.lengths) - batch.lengths
            # A token of a text stands one place behind its number, after the opening end.
            token_ranges = [
                (int(at) + 1 + spans[n][1], int(at) + 1 + stops[n]) for at, n in zip(starts, span_indices, strict=True)
            ]
            token_positions = np.concatenate([np.arange(first, last) for first, last in token_ranges])
            target_tokens, inputs = batch.inputs[token_positions], batch.inputs.copy()
            inputs[token_positions] = model.config.mask_token_id
            hidden = forward(inputs, batch.lengths, batch.prompt_len)[
                torch.from_numpy(token_positions).to(model.device)
            ]
            ends = np.cumsum([last - first for first, last in token_ranges]).tolist()
            row_slices = [slice(first, last) for first, last in zip([0, *ends], ends, strict=False)]
            yield SpanBatch(span_indices, row_slices, target_tokens, model.get_output_embeddings()(hidden).float())


@torch.no_grad()
def score_spans(
    model: PreTrainedModel,
    dataset: TokenDataset,
    spans: Sequence[tuple[int, int, int]],
    *,
    eos_id: int,
    max_tokens: int | None = None,
) -> list[SpanScore]:
    """The model's choices at spans (text, first token, last token + 1), in the order given; see `iter_span_batches`."""
    scores: dict[int, SpanScore] = {}
    for span_batch in iter_span_batches(model, dataset, spans, eos_id=eos_id, max_tokens=max_tokens):
        predicted_tokens = span_batch.logits.argmax(-1).cpu().numpy()
        target = torch.from_numpy(span_batch.target_tokens.astype(np.int64)).to(span_batch.logits.device)
        nats = torch.nn.functional.cross_entropy(span_batch.logits, target, reduction="none").double().cpu().numpy()
        for span_index, cut in zip(span_batch.span_indices, span_batch.row_slices, strict=True):
            scores[span_index] = SpanScore(predicted_tokens[cut], span_batch.target_tokens[cut], nats[cut])
    return [scores[span_index] for span_index in range(len(spans))]


def measure_batch_change(
    model: PreTrainedModel, dataset: TokenDataset, spans: Sequence[tuple[int, int, int]], *, eos_id: int, seed: Seed
) -> BatchChange:
    """How much the company of other texts in a pass moves a log-probability that it should not move.

    `BATCH_CHANGE_SPANS` spans drawn from `seed` are read all in one pass and then one text a pass; whatever differs
    is rounding. Readings that lie closer together than this say nothing about which is larger.
    """
    if not spans:
        raise DataError("how much the batch moves a reading was asked for, but there is nothing to read.")
    span_indices = sorted(seed.numpy().choice(len(spans), min(BATCH_CHANGE_SPANS, len(spans)), replace=False).tolist())
    sampled_spans = [spans[i] for i in span_indices]
    batched_scores = score_spans(model, dataset, sampled_spans, eos_id=eos_id)
    single_scores = score_spans(model, dataset, sampled_spans, eos_id=eos_id, max_tokens=1)
    nats = max(abs(a.nats - b.nats) for a, b in zip(batched_scores, single_scores, strict=True))
    changed_choices = sum(
        bool((a.predicted_tokens != b.predicted_tokens).any())
        for a, b in zip(batched_scores, single_scores, strict=True)
    )
    return BatchChange(nats, changed_choices, len(sampled_spans))


def loss_mask_spans(dataset: TokenDataset) -> list[tuple[int, int, int]]:
    """The counted stretch of each text, e.g. target and end of a question, as spans."""
    spans = []
    for text in range(len(dataset)):
        positions = np.flatnonzero(dataset.text_loss_mask(text))
        spans.append((text, int(positions[0]), int(positions[-1]) + 1))
    return spans
