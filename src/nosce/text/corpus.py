"""A corpus on disk: documents, their tokens, where the values stand in them, and the questions.

documents-00000.parquet …   the texts with character spans, ten thousand a file
documents.safetensors       their tokens, flat
spans.parquet               one row a value: document number, facet, wording, first and last + 1 token
things.parquet              one row a document: its id and what it is about
questions.parquet           the questions with targets and split
tokenizer/                  tokenizer.json and tokenizer_config.json
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
from tokenizers import Tokenizer

from nosce.errors import DataError
from nosce.records import Document, Question, read_parquet, write_parquet
from nosce.text import tokenizer as tokenizers
from nosce.text.packing import Sequences, collect, document_tokens, encode, question_tokens, token_span

PART = 10_000  # documents a Parquet file, which is also how many are held at once


def write(
    folder: Path, documents: Iterable[Document], questions: Iterable[Question], tokenizer: Tokenizer, end: int
) -> None:
    """Write a corpus, holding the tokens of all documents but the texts of only one part.

    The tokenizer's own files are the caller's to write; `end` is the token that ends a text.

    Raises:
        DataError: The tokenizer does not know a word of a text.
    """
    spans: list[pl.DataFrame] = []
    things: list[pl.DataFrame] = []

    def parts() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        stream, number = iter(documents), 0
        while part := list(islice(stream, PART)):
            write_parquet(part, Document, folder / f"documents-{number:05d}.parquet")
            encodings = list(encode(tokenizer, (d.text for d in part)))
            rows = [
                (number * PART + place, span.facet, wording, *token_span(encoding, span, document))
                for place, (document, encoding) in enumerate(zip(part, encodings, strict=True))
                for span, wording in zip(document.spans, document.wordings or [""] * len(document.spans), strict=True)
            ]
            columns = {
                "document": pl.Int64,
                "facet": pl.String,
                "wording": pl.String,
                "start": pl.Int64,
                "stop": pl.Int64,
            }
            spans.append(pl.DataFrame(rows, schema=columns, orient="row"))
            things.append(pl.DataFrame({"id": [d.id for d in part], "about": [d.about for d in part]}))
            for encoding in encodings:
                yield document_tokens(encoding, end)
            number += 1

    told = collect(parts())
    asked = list(questions)
    for sequences in (told, question_tokens(tokenizer, asked, end)):
        _all_known(sequences, tokenizer)
    told.save(folder / "documents.safetensors")
    pl.concat(spans).write_parquet(folder / "spans.parquet")
    pl.concat(things).write_parquet(folder / "things.parquet")
    write_parquet(asked, Question, folder / "questions.parquet")


def _all_known(sequences: Sequences, tokenizer: Tokenizer) -> None:
    """A word that the tokenizer does not know would be learnt as any other such word."""
    unknown = tokenizer.token_to_id(tokenizers.UNKNOWN)
    if unknown is None or not len(found := np.flatnonzero(sequences.tokens == unknown)):
        return
    text = int(np.searchsorted(sequences.offsets, found[0], side="right")) - 1
    first = tokenizer.decode(sequences.text(text).tolist(), skip_special_tokens=False)
    raise DataError(
        f"{len(found):,} words of the texts are unknown to the tokenizer, the first in {first!r}; "
        "let the world's samples() hold them."
    )


@dataclass(frozen=True)
class Corpus:
    """The corpus in a folder; each part is read when it is first asked for."""

    folder: Path

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer the texts were encoded with."""
        return tokenizers.load(self.tokenizer_folder)

    @property
    def tokenizer_folder(self) -> Path:
        """Where the tokenizer's files lie."""
        return self.folder / "tokenizer"

    @cached_property
    def end(self) -> int:
        """The id of the token that ends a text."""
        return tokenizers.end_token(self.tokenizer, self.tokenizer_folder)

    @cached_property
    def documents(self) -> Sequences:
        """The documents as tokens, in the order of `things`."""
        return Sequences.load(self.folder / "documents.safetensors")

    @cached_property
    def things(self) -> pl.DataFrame:
        """One row a document: `id`, `about`."""
        return pl.read_parquet(self.folder / "things.parquet")

    @cached_property
    def spans(self) -> pl.DataFrame:
        """One row a value: `document` (number), `facet`, `wording`, `start`, `stop` (tokens)."""
        return pl.read_parquet(self.folder / "spans.parquet")

    @cached_property
    def questions(self) -> list[Question]:
        """All questions of both splits."""
        return read_parquet(self.folder / "questions.parquet", Question)

    def asked(self, split: str) -> list[Question]:
        """The questions of one split."""
        return [q for q in self.questions if q.split == split]

    def question_sequences(self, questions: list[Question], *, everything: bool = False) -> Sequences:
        """Questions as tokens; loss on target and end, or on everything."""
        return question_tokens(self.tokenizer, questions, self.end, everything=everything)
