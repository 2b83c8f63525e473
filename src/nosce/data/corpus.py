"""A corpus on disk: documents, their tokens, where the values stand in them, and the questions.

documents-00000.parquet …   the texts with character spans, ten thousand a file (of a world that writes its own
                            tokens the first file alone)
documents.safetensors       their tokens, flat
spans.parquet               one row a value: document number, attribute, wording, first and last + 1 token
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
from nosce.data.packing import TokenDataset, concat_datasets, encode, token_span, tokenize_documents, tokenize_questions
from nosce.errors import DataError
from nosce.records import Document, Question, read_parquet, to_table, write_parquet

DOCUMENTS_PER_FILE = 10_000  # documents a Parquet file, which is also how many are held at once


def write_corpus(
    folder: Path,
    documents: Iterable[Document] | Sequence[Callable[[], Iterable[Document]]],
    questions: Iterable[Question],
    encoded_documents: Iterable[TokenDataset] | None = None,
    n_processes: int = 1,
) -> None:
    """Write a corpus, holding the tokens of all documents but the texts of only one part.

    The tokenizer's own files are the caller's to write, and lie there already.

    Args:
        documents: One after the other, or functions that can be sent to a process and give a part of them each,
            all as many but the last; these are made on several cores.
        encoded_documents: The tokens of all documents, from a world that writes them itself, many times faster than
            through text. They are held against the texts of the first part, which alone are kept.

    Raises:
        DataError: The tokenizer does not know a word of a text, or a world's own tokens are not those of its texts.
    """
    corpus = Corpus(folder)
    with _part_stream(corpus, documents, n_processes, 1 if encoded_documents is not None else None) as part_stream:
        _write_questions(corpus, questions)  # while others make the documents
        parts = _with_global_document_numbers(part_stream)
    dataset = concat_datasets([part.tokens for part in parts])
    document_index = pl.concat([part.document_index for part in parts])
    if encoded_documents is not None:
        dataset = _checked_world_tokens(dataset, concat_datasets(list(encoded_documents)))
        document_index = _full_document_index(document_index, len(dataset))
    _check_known_tokens(dataset, corpus.tokenizer)
    dataset.save(folder / "documents.safetensors")
    pl.concat([part.spans for part in parts]).write_parquet(folder / "spans.parquet")
    document_index.write_parquet(folder / "things.parquet")


def _write_questions(corpus: Corpus, questions: Iterable[Question]) -> None:
    """The questions as a table, read by the tokenizer to see that it knows every word."""
    stream, tables = iter(questions), [to_table([], Question)]
    while chunk := list(islice(stream, DOCUMENTS_PER_FILE)):
        for text in (q.prompt for q in chunk), (q.target for q in chunk):
            _check_known_words(corpus.tokenizer, list(text))
        tables.append(to_table(chunk, Question))
    pl.concat(tables).write_parquet(corpus.folder / "questions.parquet")


@dataclass(frozen=True, slots=True)
class _CorpusPart:
    tokens: TokenDataset
    spans: pl.DataFrame  # documents counted from the part's first
    document_index: pl.DataFrame


SPAN_SCHEMA = {"document": pl.Int64, "attribute": pl.String, "wording": pl.String, "start": pl.Int64, "stop": pl.Int64}


@contextmanager
def _part_stream(
    corpus: Corpus, documents: Any, n_processes: int, max_parts: int | None
) -> Iterator[Iterator[_CorpusPart]]:
    """Inside the block all parts, or the first `max_parts`, in order; on several cores they are made ahead."""
    if not (isinstance(documents, Sequence) and documents and callable(documents[0])):
        stream = iter(documents)
        chunks = iter(lambda: list(islice(stream, DOCUMENTS_PER_FILE)), [])
        yield (_write_part(corpus, number, part) for number, part in enumerate(islice(chunks, max_parts)))
    elif n_processes < 2 or len(documents) < 2:
        yield (_write_part_from(corpus.folder, number, give) for number, give in enumerate(documents[:max_parts]))
    else:
        spawn_context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            min(n_processes, len(documents)), spawn_context, initializer=_exit_with_parent
        ) as pool:
            yield pool.map(_write_part_from, repeat(corpus.folder), range(len(documents)), documents[:max_parts])


def _exit_with_parent() -> None:
    """End this process with the one that started it: where that was killed, nobody would send another part."""

    def wait() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _with_global_document_numbers(parts: Iterator[_CorpusPart]) -> list[_CorpusPart]:
    """The parts, with spans that count documents from the first of all."""
    renumbered: list[_CorpusPart] = []
    n_before = 0
    for part in parts:
        renumbered.append(replace(part, spans=part.spans.with_columns(pl.col("document") + n_before)))
        n_before += len(part.document_index)
    return renumbered


def _write_part_from(folder: Path, number: int, make_documents: Callable[[], Iterable[Document]]) -> _CorpusPart:
    return _write_part(Corpus(folder), number, list(make_documents()))


def _write_part(corpus: Corpus, number: int, documents: list[Document]) -> _CorpusPart:
    """Write the texts of a part; what is kept of it in memory is small."""
    write_parquet(documents, Document, corpus.folder / f"documents-{number:05d}.parquet")
    encodings = list(encode(corpus.tokenizer, (d.text for d in documents)))
    rows = [
        (index, span.attribute, wording, *token_span(encoding, span, document))
        for index, (document, encoding) in enumerate(zip(documents, encodings, strict=True))
        for span, wording in zip(document.spans, document.wordings or [""] * len(document.spans), strict=True)
    ]
    return _CorpusPart(
        tokens=tokenize_documents(documents, encodings, corpus.eos_id),
        spans=pl.DataFrame(rows, schema=SPAN_SCHEMA, orient="row"),
        document_index=pl.DataFrame({"id": [d.id for d in documents], "entity": [d.entity for d in documents]}),
    )


def _checked_world_tokens(tokenized: TokenDataset, world_tokens: TokenDataset) -> TokenDataset:
    """A world's own tokens, once they are those that the tokenizer reads in its first texts."""
    size, count = len(tokenized.tokens), len(tokenized)
    same = (
        np.array_equal(tokenized.tokens, world_tokens.tokens[:size])
        and np.array_equal(tokenized.loss_mask, world_tokens.loss_mask[:size])
        and np.array_equal(tokenized.offsets, world_tokens.offsets[: count + 1])
    )
    if not same:
        raise DataError(
            f"the world's own tokens differ from those of its first {count:,} texts; let `encoded` give what the "
            "tokenizer reads in `documents`, ends and what is given included."
        )
    return world_tokens


def _full_document_index(document_index: pl.DataFrame, count: int) -> pl.DataFrame:
    """Ids of documents that were never made as texts: as those before them, `<word>/<number>`."""
    number = pl.Series(range(count), dtype=pl.Int64).cast(pl.String)
    rows = pl.DataFrame({name: document_index[name][0].rpartition("/")[0] + "/" + number for name in ("id", "entity")})
    if not rows.head(len(document_index)).equals(document_index):
        raise DataError(
            f"documents of a world that writes its own tokens are called <word>/<number>, but the first is "
            f"{document_index['id'][0]!r} about {document_index['entity'][0]!r}; number them from 0."
        )
    return rows


def _check_known_words(tokenizer: Tokenizer, texts: list[str]) -> None:
    """A word that the tokenizer does not know would be learnt as any other such word."""
    unknown = tokenizer.token_to_id(tokenizers.UNK_TOKEN)
    if unknown is None:
        return
    counts = [encoding.ids.count(unknown) for encoding in encode(tokenizer, texts)]
    if any(counts):
        raise _unknown_words_error(sum(counts), next(text for text, count in zip(texts, counts, strict=True) if count))


def _check_known_tokens(sequences: TokenDataset, tokenizer: Tokenizer) -> None:
    unknown = tokenizer.token_to_id(tokenizers.UNK_TOKEN)
    if unknown is not None and len(unknown_positions := np.flatnonzero(sequences.tokens == unknown)):
        text = int(np.searchsorted(sequences.offsets, unknown_positions[0], side="right")) - 1
        raise _unknown_words_error(
            len(unknown_positions),
            tokenizer.decode(sequences.text_tokens(text)[:-1].tolist(), skip_special_tokens=False),
        )


def _unknown_words_error(count: int, first: str) -> DataError:
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
        return tokenizers.load_tokenizer(self.tokenizer_folder)

    @property
    def tokenizer_folder(self) -> Path:
        """Where the tokenizer's files lie."""
        return self.folder / "tokenizer"

    @cached_property
    def eos_id(self) -> int:
        """The id of the token that ends a text."""
        return tokenizers.eos_token_id(self.tokenizer, self.tokenizer_folder)

    @cached_property
    def documents(self) -> TokenDataset:
        """The documents as tokens, in the order of `document_index`."""
        return TokenDataset.load(self.folder / "documents.safetensors")

    @cached_property
    def document_index(self) -> pl.DataFrame:
        """One row a document: `id`, `entity`."""
        return pl.read_parquet(self.folder / "things.parquet")

    @cached_property
    def spans(self) -> pl.DataFrame:
        """One row a value: `document` (number), `attribute`, `wording`, `start`, `stop` (tokens)."""
        return pl.read_parquet(self.folder / "spans.parquet")

    @cached_property
    def questions(self) -> list[Question]:
        """All questions of both splits."""
        return read_parquet(self.folder / "questions.parquet", Question)

    def questions_in(self, split: str) -> list[Question]:
        """The questions of one split."""
        return [q for q in self.questions if q.split == split]

    def tokenized_questions(self, questions: list[Question]) -> TokenDataset:
        """Questions as tokens; counted are target and end."""
        return tokenize_questions(self.tokenizer, questions, self.eos_id)
