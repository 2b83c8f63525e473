"""Texts as token sequences, and several of them packed into one row.

A text is encoded as its tokens and an end token. A row starts with an end token and holds whole
texts one after the other: none is cut, so that no value is ever asked of a model which cannot see
the name. Letters: B rows, T positions, D texts.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Encoding, Tokenizer

from nosce.errors import DataError, SpecError
from nosce.records import Document, Question, Span

CHUNK = 4_096  # texts encoded at once: bounds memory, and the library works on batches


@dataclass(frozen=True)
class Sequences:
    """Many token sequences in one flat array: text i is `tokens[offsets[i]:offsets[i + 1]]`.

    `counted` marks the tokens that are to be learnt, position by position as `tokens`. The others are given: a
    question's prompt, a program's specification; `Recipe.given_weight` says how much their loss counts.
    """

    tokens: np.ndarray  # int32
    counted: np.ndarray  # bool
    offsets: np.ndarray  # int64, one more than there are texts

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens per text, end token included."""
        return np.diff(self.offsets)

    @cached_property
    def given(self) -> np.ndarray:
        """How many tokens stand before the first that counts, in each text. Shape: (texts,)."""
        counted = np.append(np.flatnonzero(self.counted), len(self.tokens))
        first = counted[np.searchsorted(counted, self.offsets[:-1])]
        return np.minimum(first - self.offsets[:-1], self.lengths)  # type: ignore[no-any-return]

    def text(self, index: int) -> np.ndarray:
        """The tokens of one text."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def mask(self, index: int) -> np.ndarray:
        """Which tokens of one text are counted."""
        return self.counted[self.offsets[index] : self.offsets[index + 1]]

    def save(self, path: Path) -> None:
        """Write to a safetensors file."""
        save_file({"tokens": self.tokens, "counted": self.counted, "offsets": self.offsets}, path)

    @classmethod
    def load(cls, path: Path) -> Sequences:
        """Read what `save` wrote."""
        return cls(**load_file(path))


def collect(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> Sequences:
    """Sequences from pairs of (tokens, counted)."""
    tokens, counted, offsets = [], [], [0]
    for ids, mask in parts:
        tokens.append(ids)
        counted.append(mask)
        offsets.append(offsets[-1] + len(ids))
    if not tokens:
        raise DataError("token sequences were asked for, but there is not one text; make the world larger.")
    return Sequences(np.concatenate(tokens), np.concatenate(counted), np.array(offsets, dtype=np.int64))


def joined(parts: Sequence[Sequences]) -> Sequences:
    """Sequences one behind the other."""
    if not any(len(part) for part in parts):
        raise DataError("token sequences were asked for, but there is not one text; make the world larger.")
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([part.lengths for part in parts]))])
    return Sequences(
        np.concatenate([part.tokens for part in parts]), np.concatenate([part.counted for part in parts]), offsets
    )


def encode(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[Encoding]:
    """Encodings of the texts in order, without special tokens, a chunk at a time."""
    stream = iter(texts)
    while chunk := list(islice(stream, CHUNK)):
        yield from tokenizer.encode_batch(chunk, add_special_tokens=False)


def document_tokens(documents: Sequence[Document], encodings: Sequence[Encoding], end: int) -> Sequences:
    """Tokens of documents, each with its end; counted are all but those of what a document is given.

    Raises:
        DataError: A token reaches over the end of what is given.
    """
    each = [encoding.ids for encoding in encodings]
    lengths = np.array([len(ids) + 1 for ids in each], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.full(offsets[-1], end, dtype=np.int32)
    inside = np.ones(offsets[-1], dtype=bool)
    inside[offsets[1:] - 1] = False
    tokens[inside] = np.fromiter(itertools.chain.from_iterable(each), dtype=np.int32, count=int(inside.sum()))
    counted = np.ones(offsets[-1], dtype=bool)
    for number, (document, encoding) in enumerate(zip(documents, encodings, strict=True)):
        if document.given:
            counted[offsets[number] : offsets[number] + _given(document, encoding)] = False
    return Sequences(tokens, counted, offsets)


def _given(document: Document, encoding: Encoding) -> int:
    """How many tokens spell the first `document.given` characters."""
    starts = [first for first, _ in encoding.offsets]
    ends = [last for _, last in encoding.offsets]
    count = bisect_left(starts, document.given)
    if count and ends[count - 1] > document.given:
        if document.text[starts[count - 1] : document.given].isspace():
            return count - 1  # a space between the two belongs to the token behind it
        raise DataError(
            f"in document {document.id!r} a token reaches over the end of what is given, "
            f"{document.text[: document.given][-20:]!r}; put a space or a mark there."
        )
    return count


def question_tokens(tokenizer: Tokenizer, questions: Sequence[Question], end: int) -> Sequences:
    """Prompt, target and end of each question; counted are the target and the end alone.

    Prompt and target are encoded apart, so that what is trained is what a model is asked with.
    """
    prompts = encode(tokenizer, (q.prompt for q in questions))
    targets = encode(tokenizer, (q.target for q in questions))
    return collect(_question(p.ids, t.ids, end) for p, t in zip(prompts, targets, strict=True))


def _question(prompt: list[int], target: list[int], end: int) -> tuple[np.ndarray, np.ndarray]:
    ids = np.array([*prompt, *target, end], dtype=np.int32)
    counted = np.ones(len(ids), dtype=bool)
    counted[: len(prompt)] = False
    return ids, counted


def token_span(encoding: Encoding, span: Span, document: Document) -> tuple[int, int]:
    """The tokens (first, last + 1) that spell the characters of a span.

    Raises:
        DataError: A token reaches over the span's edge, so that the value has no tokens of its own.
    """
    first, last = encoding.char_to_token(span.start), encoding.char_to_token(span.end - 1)
    if first is None or last is None:
        raise DataError(f"no token covers {span} of document {document.id!r}; check the spans of its world.")
    # `offsets` would make them all, many times as slow.
    (start, _), (_, end) = encoding.token_to_chars(first), encoding.token_to_chars(last)  # type: ignore[misc]
    inside = document.text[start:end]
    if inside.strip() != document.text[span.start : span.end]:
        raise DataError(
            f"in document {document.id!r} the value {document.text[span.start : span.end]!r} shares a token with "
            f"its surroundings ({inside!r}); put a space or a mark between them."
        )
    return first, last + 1


def rows_of(lengths: Sequence[int], window: int) -> list[list[int]]:
    """Which texts share a row: best fit, longest first, each row at most `window` long.

    Args:
        lengths: Tokens of each text, its end included.
        window: T, of which one position goes to the end token that opens the row.

    Raises:
        SpecError: A text is longer than a row.

    Source:
        Best-fit decreasing; at a window of 256 it left 8 % of the positions empty for 48 biographies at
        once, 4.4 % for 200 and 3.7 % for 1,000.
    """
    room = window - 1
    if (longest := max(lengths, default=0)) > room:
        raise SpecError(
            f"a text of {longest} tokens does not fit a window of {window} (one goes to the opening end token); "
            f"set window to {longest + 1} or more."
        )
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (room left, row), sorted
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        place = bisect_left(free, (lengths[index], -1))
        if place == len(free):
            rows.append([index])
            left, row = room - lengths[index], len(rows) - 1
        else:
            left, row = free.pop(place)
            rows[row].append(index)
            left -= lengths[index]
        if left > 0:
            insort(free, (left, row))
    return rows
