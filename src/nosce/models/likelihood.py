"""Likelihoods and greedy predictions of spans, by one teacher-forced forward pass.

Given the true tokens so far, the model's most likely token is compared with the next true token. If all are equal,
greedy decoding would generate the target and its end: up to its first mistake, greedy decoding has generated the true
tokens itself. One pass replaces as many passes as the reply has tokens.
Letters: S spans, B texts, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from nosce.data.packing import TokenDataset
from nosce.data.sampling import length_sorted_batches, pack
from nosce.errors import DataError
from nosce.models.architecture import is_bidirectional
from nosce.models.logits import eval_mode, output_logits
from nosce.models.positions import check_positions
from nosce.models.varlen import varlen_forward
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENS_PER_PASS = {"cpu": 4_096}  # tokens of one pass on a CPU: their activations fit in its caches
DEFAULT_TOKENS_PER_PASS = 65_536  # tokens of one pass on an accelerator: bounds the memory
BATCH_CHANGE_SPANS = 64  # spans on which `measure_batch_change` compares two batch sizes


@dataclass(frozen=True, slots=True)
class SpanScore:
    """The model's predictions at one span, given the true tokens before each.

    Args:
        predicted_tokens: The most likely token at each position of the span.
        target_tokens: The tokens of the span.
        token_nats: Negative log-likelihood of each token of the span, in nats.
    """

    predicted_tokens: np.ndarray
    target_tokens: np.ndarray
    token_nats: np.ndarray

    @property
    def nats(self) -> float:
        """The negative log-likelihood of the span in nats: the sum over its tokens."""
        return float(self.token_nats.sum())

    @property
    def exact_match(self) -> bool:
        """Would greedy decoding generate the whole span?"""
        return bool((self.predicted_tokens == self.target_tokens).all())

    @property
    def first_token_correct(self) -> bool:
        """Is the first predicted token correct?"""
        return bool(self.predicted_tokens[0] == self.target_tokens[0])

    @property
    def greedy_tokens(self) -> np.ndarray:
        """The tokens of greedy decoding up to and including its first mistake; later ones are not known."""
        wrong = np.flatnonzero(self.predicted_tokens != self.target_tokens)
        return self.predicted_tokens if not len(wrong) else self.predicted_tokens[: wrong[0] + 1]


def tokens_per_pass(model: PreTrainedModel) -> int:
    """How many tokens one forward pass takes on the model's device."""
    return TOKENS_PER_PASS.get(model.device.type, DEFAULT_TOKENS_PER_PASS)


@dataclass(frozen=True, slots=True)
class BatchChange:
    """The largest change of a span's log-likelihood between a forward pass of one text and one of many.

    Args:
        nats: The largest change, in nats.
        choices: Spans whose most likely tokens changed, because two tokens were nearly equally likely.
        spans: Number of compared spans.
    """

    nats: float
    choices: int
    spans: int


@dataclass(frozen=True, eq=False)
class SpanBatch:
    """The spans of one forward pass. R is the number of their tokens.

    Args:
        span_indices: Indices of the spans.
        row_slices: The rows of each span.
        target_tokens: The tokens of the spans, (R,).
        logits: The model's logits at these tokens, (R, V), given the true tokens before each. A masked language model
            is given the true tokens on both sides of the span.
    """

    span_indices: list[int]
    row_slices: list[slice]
    target_tokens: np.ndarray
    logits: torch.Tensor


@torch.no_grad()
def iter_span_batches(
    model: PreTrainedModel,
    dataset: TokenDataset,
    spans: Sequence[tuple[int, int, int]],
    *,
    eos_id: int,
    max_tokens: int | None = None,
) -> Iterator[SpanBatch]:
    """The logits of all spans (text, first token, last token + 1), each span once, texts of similar length together.

    Each text attends only to itself, behind an opening end token, like the first text of a row in training. A masked
    language model reads the text with mask tokens in place of the span, one span at a time.

    Args:
        model: The model to evaluate.
        dataset: The texts.
        spans: The spans.
        eos_id: The token that opens each text.
        max_tokens: Most tokens of one pass; a longer text has a pass of its own. None: a number that suits the device.
    """
    if is_bidirectional(model):
        yield from _iter_masked_span_batches(model, dataset, spans, eos_id, max_tokens or tokens_per_pass(model))
        return
    check_positions(model, max((int(dataset.lengths[text]) for text, _, _ in spans), default=0))
    spans_by_text: dict[int, list[int]] = {}
    for span_index, (text, _, _) in enumerate(spans):
        spans_by_text.setdefault(text, []).append(span_index)
    with eval_mode(model), varlen_forward(model) as forward:
        for texts in length_sorted_batches(list(spans_by_text), dataset.lengths, max_tokens or tokens_per_pass(model)):
            batch = pack(dataset, texts, window=None, eos_id=eos_id)
            starts = np.cumsum(batch.lengths) - batch.lengths
            # `pack` sorts the longest first, as `texts` is sorted; token p of a text is predicted at its position p.
            requested = [(int(at), *spans[n], n) for at, t in zip(starts, texts, strict=True) for n in spans_by_text[t]]
            token_positions = np.concatenate([np.arange(at + start, at + stop) for at, _, start, stop, _ in requested])
            states = forward(batch.inputs, batch.lengths, batch.prompt_len)
            hidden = states[torch.from_numpy(token_positions).to(model.device)]
            span_tokens = [dataset.text_tokens(text)[start:stop] for _, text, start, stop, _ in requested]
            row_slices = _consecutive_slices([stop - start for _, _, start, stop, _ in requested])
            logits = output_logits(model, hidden)
            yield SpanBatch([n for *_, n in requested], row_slices, np.concatenate(span_tokens), logits)


def _iter_masked_span_batches(
    model: PreTrainedModel, dataset: TokenDataset, spans: Sequence[tuple[int, int, int]], eos_id: int, max_tokens: int
) -> Iterator[SpanBatch]:
    """Spans replaced by mask tokens. The end of a text is never masked in training, so spans are cut before it."""
    texts = np.array([text for text, _, _ in spans])
    lengths = dataset.lengths[texts]
    stops = [min(stop, int(length) - 1) for (_, _, stop), length in zip(spans, lengths, strict=True)]
    with eval_mode(model), varlen_forward(model) as forward:
        for span_indices in length_sorted_batches(list(range(len(spans))), lengths, max_tokens):
            batch = pack(dataset, texts[span_indices], window=None, eos_id=eos_id)
            starts = np.cumsum(batch.lengths) - batch.lengths
            token_ranges = []
            for at, n in zip(starts.tolist(), span_indices, strict=True):
                # The opening end token shifts the tokens of a text by one position.
                token_ranges.append((at + 1 + spans[n][1], at + 1 + stops[n]))
            token_positions = np.concatenate([np.arange(first, last) for first, last in token_ranges])
            target_tokens, inputs = batch.inputs[token_positions], batch.inputs.copy()
            inputs[token_positions] = model.config.mask_token_id
            states = forward(inputs, batch.lengths, batch.prompt_len)
            hidden = states[torch.from_numpy(token_positions).to(model.device)]
            row_slices = _consecutive_slices([last - first for first, last in token_ranges])
            yield SpanBatch(span_indices, row_slices, target_tokens, output_logits(model, hidden))


def _consecutive_slices(sizes: list[int]) -> list[slice]:
    """Slices of these sizes, one behind another."""
    ends = np.cumsum(sizes).tolist()
    return [slice(first, last) for first, last in zip([0, *ends], ends, strict=False)]


@torch.no_grad()
def score_spans(
    model: PreTrainedModel,
    dataset: TokenDataset,
    spans: Sequence[tuple[int, int, int]],
    *,
    eos_id: int,
    max_tokens: int | None = None,
) -> list[SpanScore]:
    """The scores of spans (text, first token, last token + 1), in the given order; see `iter_span_batches`."""
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
    """How much the other texts of a forward pass change a span's log-likelihood, which is rounding error.

    `BATCH_CHANGE_SPANS` spans drawn from `seed` are scored in one pass, and again with one text per pass. Two
    log-likelihoods that differ by less than the result cannot be ordered.

    Raises:
        DataError: There are no spans.
    """
    if not spans:
        raise DataError("the effect of the batch on a log-likelihood cannot be measured without spans; give some.")
    span_indices = sorted(seed.numpy().choice(len(spans), min(BATCH_CHANGE_SPANS, len(spans)), replace=False).tolist())
    sampled_spans = [spans[i] for i in span_indices]
    batched_scores = score_spans(model, dataset, sampled_spans, eos_id=eos_id)
    single_scores = score_spans(model, dataset, sampled_spans, eos_id=eos_id, max_tokens=1)
    nats = max(abs(a.nats - b.nats) for a, b in zip(batched_scores, single_scores, strict=True))
    score_pairs = zip(batched_scores, single_scores, strict=True)
    changed_choices = [bool((a.predicted_tokens != b.predicted_tokens).any()) for a, b in score_pairs]
    return BatchChange(nats, sum(changed_choices), len(sampled_spans))


def loss_mask_spans(dataset: TokenDataset) -> list[tuple[int, int, int]]:
    """The tokens of each text that carry loss, e.g. target and end of a question, as spans."""
    spans = []
    for text in range(len(dataset)):
        positions = np.flatnonzero(dataset.text_loss_mask(text))
        spans.append((text, int(positions[0]), int(positions[-1]) + 1))
    return spans
