"""Reading a model by one teacher-forced pass, where that tells what greedy decoding would say.

Given the true tokens so far, the model's first choice is compared with the next true token. All of
them right is the same as greedy decoding writing the target and its end: up to its first mistake,
greedy decoding has written the true tokens itself. One pass replaces as many as the reply has tokens.
Letters: S spans, B texts, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from nosce.text.packing import Sequences

if TYPE_CHECKING:
    from transformers import PreTrainedModel

POSITIONS = 16_384  # rows times width of one pass: bounds the memory that logits take


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the model prefers at one span, given the truth before it."""

    chosen: np.ndarray  # its first choice at each token of the span
    true: np.ndarray  # the tokens of the span
    nats: float  # negative log-likelihood of the span, summed over its tokens

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


@torch.no_grad()
def spoken(
    model: PreTrainedModel, sequences: Sequences, spans: Sequence[tuple[int, int, int]], *, end: int
) -> list[Spoken]:
    """The model's choices at spans (text, first token, last token + 1), in the order given.

    Each text is read alone, behind an end token, as in a row that it opens.
    """
    by_text: dict[int, list[int]] = {}
    for number, (text, _, _) in enumerate(spans):
        by_text.setdefault(text, []).append(number)
    found: dict[int, Spoken] = {}
    was_training = model.training
    model.eval()
    for texts in _batches(list(by_text), sequences.lengths):
        inputs = _inputs(sequences, texts, end)
        wanted = [(row, *spans[number], number) for row, text in enumerate(texts) for number in by_text[text]]
        hidden = model.base_model(input_ids=inputs.to(model.device), use_cache=False).last_hidden_state
        rows = np.concatenate([np.full(stop - start, row) for row, _, start, stop, _ in wanted])
        places = np.concatenate([np.arange(start, stop) for _, _, start, stop, _ in wanted])
        # The token at place p of a text is predicted at position p: the end token in front shifts by one.
        logits = model.get_output_embeddings()(hidden[torch.from_numpy(rows), torch.from_numpy(places)]).float()
        true = np.concatenate([sequences.text(text)[start:stop] for _, text, start, stop, _ in wanted])
        chosen = logits.argmax(-1).cpu().numpy()
        target = torch.from_numpy(true.astype(np.int64)).to(logits.device)
        nats = torch.nn.functional.cross_entropy(logits, target, reduction="none").double().cpu().numpy()
        at = 0
        for _, _, start, stop, number in wanted:
            cut = slice(at, at := at + stop - start)
            found[number] = Spoken(chosen[cut], true[cut], float(nats[cut].sum()))
    model.train(was_training)
    return [found[number] for number in range(len(spans))]


def counted_spans(sequences: Sequences) -> list[tuple[int, int, int]]:
    """The counted stretch of each text, e.g. target and end of a question, as spans."""
    found = []
    for text in range(len(sequences)):
        places = np.flatnonzero(sequences.mask(text))
        found.append((text, int(places[0]), int(places[-1]) + 1))
    return found


def _batches(texts: list[int], lengths: np.ndarray) -> Iterator[list[int]]:
    """Texts of like length together, so that little is computed on empty places."""
    ordered = sorted(texts, key=lambda t: (int(lengths[t]), t))
    batch: list[int] = []
    for text in ordered:
        if batch and (len(batch) + 1) * int(lengths[text]) > POSITIONS:
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch


def _inputs(sequences: Sequences, texts: Sequence[int], end: int) -> torch.Tensor:
    width = max(int(sequences.lengths[t]) for t in texts)
    inputs = np.full((len(texts), width), end, dtype=np.int64)
    for row, text in enumerate(texts):
        tokens = sequences.text(text)
        inputs[row, 1 : len(tokens)] = tokens[:-1]
    return torch.from_numpy(inputs)
