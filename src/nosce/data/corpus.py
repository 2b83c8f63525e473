"""A corpus on disk: documents, their tokens, where the values stand in them, and the questions.

documents-00000.parquet …   the texts with character spans, ten thousand a file (of a world that writes its own
                            tokens the first file alone)
documents.safetensors       their tokens, flat
spans.parquet               one row a value: document number, facet, wording, first and last + 1 token
things.parquet              one row a document: its id and what it is about
questions.parquet           the questions with targets and split
tokenizer/                  tokenizer.json and tokenizer_config.json
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tokenizers import Tokenizer

from nosce.data import tokenizer as tokenizers
from nosce.data.packing import Sequences, document_tokens, encode, joined, question_tokens, token_span
from nosce.errors import DataError
from nosce.records import Document, Question, read_parquet, to_table, write_parquet

PART = 10_000  # documents a Parquet file, which is also how many are held at once


def write(
    folder: Path,
    documents: Iterable[Document] | Sequence[Callable[[], Iterable[Document]]],
    questions: Iterable[Question],
    encoded: Iterable[Sequences] | None = None,
    cores: int = 1,
) -> None:
    """Write a corpus, holding the tokens of all documents but the texts of only one part.

    The tokenizer's own files are the caller's to write, and lie there already.

    Args:
        documents: One after the other, or functions that can be sent to a process and give a part of them each,
            all as many but the last; these are made on several cores.
        encoded: The tokens of all documents, from a world that writes them itself, many times faster than
            through text. They are held against the texts of the first part, which alone are kept.

    Raises:
        DataError: The tokenizer does not know a word of a text, or a world's own tokens are not those of its texts.
    """
    corpus = Corpus(folder)
    with _making(corpus, documents, cores, 1 if encoded is not None else None) as made:
        _write_questions(corpus, questions)  # while others make the documents
        parts = _counted_on(made)
    told = joined([part.tokens for part in parts])
    things = pl.concat([part.things for part in parts])
    if encoded is not None:
        told = _own(told, joined(list(encoded)))
        things = _numbered(things, len(told))
    _tokens_known(told, corpus.tokenizer)
    told.save(folder / "documents.safetensors")
    pl.concat([part.spans for part in parts]).write_parquet(folder / "spans.parquet")
    things.write_parquet(folder / "things.parquet")


def _write_questions(corpus: Corpus, questions: Iterable[Question]) -> None:
    """The questions as a table, read by the tokenizer to see that it knows every word."""
    stream, tables = iter(questions), [to_table([], Question)]
    while asked := list(islice(stream, PART)):
        for text in (q.prompt for q in asked), (q.target for q in asked):
            _words_known(corpus.tokenizer, list(text))
        tables.append(to_table(asked, Question))
    pl.concat(tables).write_parquet(corpus.folder / "questions.parquet")


@dataclass(frozen=True, slots=True)
class _Part:
    tokens: Sequences
    spans: pl.DataFrame  # documents counted from the part's first
    things: pl.DataFrame


SPANS = {"document": pl.Int64, "facet": pl.String, "wording": pl.String, "start": pl.Int64, "stop": pl.Int64}


@contextmanager
def _making(corpus: Corpus, documents: Any, cores: int, most: int | None) -> Iterator[Iterator[_Part]]:
    """Inside the block all parts, or the first `most`, in order; on several cores they are made ahead."""
    if not (isinstance(documents, Sequence) and documents and callable(documents[0])):
        stream = iter(documents)
        cut = iter(lambda: list(islice(stream, PART)), [])
        yield (_part(corpus, number, part) for number, part in enumerate(islice(cut, most)))
    elif cores < 2 or len(documents) < 2:
        yield (_given_part(corpus.folder, number, give) for number, give in enumerate(documents[:most]))
    else:
        spawned = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(cores, len(documents)), spawned, initializer=_leave_with_parent) as pool:
            yield pool.map(_given_part, repeat(corpus.folder), range(len(documents)), documents[:most])


def _leave_with_parent() -> None:
    """End this process with the one that started it: where that was killed, nobody would send another part."""

    def wait() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _counted_on(parts: Iterator[_Part]) -> list[_Part]:
    """The parts, with spans that count documents from the first of all."""
    found: list[_Part] = []
    before = 0
    for part in parts:
        found.append(replace(part, spans=part.spans.with_columns(pl.col("document") + before)))
        before += len(part.things)
    return found


def _given_part(folder: Path, number: int, give: Callable[[], Iterable[Document]]) -> _Part:
    return _part(Corpus(folder), number, list(give()))


def _part(corpus: Corpus, number: int, part: list[Document]) -> _Part:
    """Write the texts of a part; what is kept of it in memory is small."""
    write_parquet(part, Document, corpus.folder / f"documents-{number:05d}.parquet")
    encodings = list(encode(corpus.tokenizer, (d.text for d in part)))
    rows = [
        (place, span.facet, wording, *token_span(encoding, span, document))
        for place, (document, encoding) in enumerate(zip(part, encodings, strict=True))
        for span, wording in zip(document.spans, document.wordings or [""] * len(document.spans), strict=True)
    ]
    return _Part(
        tokens=document_tokens(part, encodings, corpus.end),
        spans=pl.DataFrame(rows, schema=SPANS, orient="row"),
        things=pl.DataFrame({"id": [d.id for d in part], "about": [d.about for d in part]}),
    )


def _own(read: Sequences, own: Sequences) -> Sequences:
    """A world's own tokens, once they are those that the tokenizer reads in its first texts."""
    size, count = len(read.tokens), len(read)
    same = (
        np.array_equal(read.tokens, own.tokens[:size])
        and np.array_equal(read.counted, own.counted[:size])
        and np.array_equal(read.offsets, own.offsets[: count + 1])
    )
    if not same:
        raise DataError(
            f"the world's own tokens differ from those of its first {count:,} texts; let `encoded` give what the "
            "tokenizer reads in `documents`, ends and what is given included."
        )
    return own


def _numbered(things: pl.DataFrame, count: int) -> pl.DataFrame:
    """Ids of documents that were never made as texts: as those before them, `<word>/<number>`."""
    number = pl.Series(range(count), dtype=pl.Int64).cast(pl.String)
    rows = pl.DataFrame({name: things[name][0].rpartition("/")[0] + "/" + number for name in ("id", "about")})
    if not rows.head(len(things)).equals(things):
        raise DataError(
            f"documents of a world that writes its own tokens are called <word>/<number>, but the first is "
            f"{things['id'][0]!r} about {things['about'][0]!r}; number them from 0."
        )
    return rows


def _words_known(tokenizer: Tokenizer, texts: list[str]) -> None:
    """A word that the tokenizer does not know would be learnt as any other such word."""
    unknown = tokenizer.token_to_id(tokenizers.UNKNOWN)
    if unknown is None:
        return
    counts = [encoding.ids.count(unknown) for encoding in encode(tokenizer, texts)]
    if any(counts):
        raise _lost(sum(counts), next(text for text, count in zip(texts, counts, strict=True) if count))


def _tokens_known(sequences: Sequences, tokenizer: Tokenizer) -> None:
    unknown = tokenizer.token_to_id(tokenizers.UNKNOWN)
    if unknown is not None and len(found := np.flatnonzero(sequences.tokens == unknown)):
        text = int(np.searchsorted(sequences.offsets, found[0], side="right")) - 1
        raise _lost(len(found), tokenizer.decode(sequences.text(text)[:-1].tolist(), skip_special_tokens=False))


def _lost(count: int, first: str) -> DataError:
    return DataError(
        f"{count:,} words of the texts are unknown to the tokenizer, the first in {first!r}; "
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

    def question_sequences(self, questions: list[Question]) -> Sequences:
        """Questions as tokens; counted are target and end."""
        return question_tokens(self.tokenizer, questions, self.end)
