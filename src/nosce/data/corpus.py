"""A corpus on disk: documents, their tokens, the positions of the values in them, and the questions.

documents-00000.parquet …   the texts with character spans, ten thousand per file (only the first file if the world
                            writes its own tokens)
documents.safetensors       their tokens, flat
spans.parquet               one row per value: document number, attribute, wording, first and last + 1 token
things.parquet              one row per document: its id and its entity
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
from typing import TypeGuard, cast

import numpy as np
import polars as pl
from tokenizers import Tokenizer

from nosce.data import tokenizer as tokenizers
from nosce.data.packing import TokenDataset, concat_datasets, encode, token_span, tokenize_documents, tokenize_questions
from nosce.data.round_trip import check_round_trip
from nosce.errors import DataError
from nosce.records import Document, Question, read_parquet, read_table, to_table, write_parquet

HELD_OUT_SPLITS = ("validation", "unseen")  # whose questions no training has
DOCUMENTS_PER_FILE = 10_000  # documents per Parquet file, and most documents in memory at once

DocumentParts = Sequence[Callable[[], Iterable[Document]]]


def write_corpus(
    folder: Path,
    documents: Iterable[Document] | DocumentParts,
    questions: Iterable[Question],
    encoded_documents: Iterable[TokenDataset] | None = None,
    n_processes: int = 1,
) -> None:
    """Write a corpus. Memory holds the tokens of all documents, but the texts of only one part.

    The caller must have written the tokenizer's files to the folder before.

    Args:
        folder: Folder of the corpus.
        documents: All documents in order, or functions that give one part each and can be sent to a process. All parts
            but the last have equal sizes. Several cores make the parts.
        questions: All questions.
        encoded_documents: The tokens of all documents, from a world that writes tokens itself, many times faster than
            through text. They are compared with the texts of the first part, and only these texts are written.
        n_processes: Number of processes that make parts.

    Raises:
        DataError: The tokenizer does not know a word of a text, a text does not come back from its tokens, or a world's
            own tokens differ from those of its texts.
    """
    corpus = Corpus(folder)
    with _part_stream(corpus, documents, n_processes, 1 if encoded_documents is not None else None) as part_stream:
        _write_questions(corpus, questions)  # while other processes make the documents
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
    """Write the questions as a table, after a check that the tokenizer knows every word and loses none."""
    stream, tables = iter(questions), [to_table([], Question)]
    while chunk := list(islice(stream, DOCUMENTS_PER_FILE)):
        _check_known_words(corpus.tokenizer, "prompts", [q.prompt for q in chunk])
        _check_known_words(corpus.tokenizer, "targets", [q.target for q in chunk])
        tables.append(to_table(chunk, Question))
    pl.concat(tables).write_parquet(corpus.folder / "questions.parquet")


@dataclass(frozen=True, slots=True)
class _CorpusPart:
    """A part of the corpus without its texts. The span table numbers the documents from the part's first."""

    tokens: TokenDataset
    spans: pl.DataFrame
    document_index: pl.DataFrame


SPAN_SCHEMA = {"document": pl.Int64, "attribute": pl.String, "wording": pl.String, "start": pl.Int64, "stop": pl.Int64}


def _are_parts(documents: Iterable[Document] | DocumentParts) -> TypeGuard[DocumentParts]:
    return isinstance(documents, Sequence) and bool(documents) and callable(documents[0])


@contextmanager
def _part_stream(
    corpus: Corpus, documents: Iterable[Document] | DocumentParts, n_processes: int, max_parts: int | None
) -> Iterator[Iterator[_CorpusPart]]:
    """Gives all parts, or the first `max_parts`, in order. With several processes, later parts are made ahead."""
    if not _are_parts(documents):
        stream = iter(cast("Iterable[Document]", documents))
        chunks = iter(lambda: list(islice(stream, DOCUMENTS_PER_FILE)), [])
        yield (_write_part(corpus, number, part) for number, part in enumerate(islice(chunks, max_parts)))
    elif n_processes < 2 or len(documents) < 2:
        yield (_write_part_from(corpus.folder, number, part) for number, part in enumerate(documents[:max_parts]))
    else:
        spawn_context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            min(n_processes, len(documents)), spawn_context, initializer=_exit_with_parent
        ) as pool:
            yield pool.map(_write_part_from, repeat(corpus.folder), range(len(documents)), documents[:max_parts])


def _exit_with_parent() -> None:
    """End this process when its parent ends. After a killed parent, no process would send another part."""

    def wait() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _with_global_document_numbers(parts: Iterator[_CorpusPart]) -> list[_CorpusPart]:
    """The parts, with span tables that number the documents of the whole corpus."""
    renumbered: list[_CorpusPart] = []
    n_before = 0
    for part in parts:
        renumbered.append(replace(part, spans=part.spans.with_columns(pl.col("document") + n_before)))
        n_before += len(part.document_index)
    return renumbered


def _write_part_from(folder: Path, number: int, make_documents: Callable[[], Iterable[Document]]) -> _CorpusPart:
    return _write_part(Corpus(folder), number, list(make_documents()))


def _write_part(corpus: Corpus, number: int, documents: list[Document]) -> _CorpusPart:
    """Write the texts of a part. The result is small enough to keep in memory."""
    write_parquet(documents, Document, corpus.folder / f"documents-{number:05d}.parquet")
    encodings = list(encode(corpus.tokenizer, (d.text for d in documents)))
    ids = [encoding.ids for encoding in encodings]
    _check_known_round_trip(corpus.tokenizer, "documents", [d.text for d in documents], ids)
    rows, values = [], []
    for index, (document, encoding) in enumerate(zip(documents, encodings, strict=True)):
        wordings = document.wordings or [""] * len(document.spans)
        for span, wording in zip(document.spans, wordings, strict=True):
            first, last = token_span(encoding, span, document)
            rows.append((index, span.attribute, wording, first, last))
            values.append((document.text[span.start : span.end], ids[index][first:last]))
    _check_known_round_trip(corpus.tokenizer, "values", [text for text, _ in values], [one for _, one in values])
    return _CorpusPart(
        tokens=tokenize_documents(documents, encodings, corpus.eos_id),
        spans=pl.DataFrame(rows, schema=SPAN_SCHEMA, orient="row"),
        document_index=pl.DataFrame({"id": [d.id for d in documents], "entity": [d.entity for d in documents]}),
    )


def _checked_world_tokens(tokenized: TokenDataset, world_tokens: TokenDataset) -> TokenDataset:
    """A world's own tokens, after a check that its first texts have the same tokens."""
    size, count = len(tokenized.tokens), len(tokenized)
    same = (
        np.array_equal(tokenized.tokens, world_tokens.tokens[:size])
        and np.array_equal(tokenized.loss_mask, world_tokens.loss_mask[:size])
        and np.array_equal(tokenized.offsets, world_tokens.offsets[: count + 1])
    )
    if not same:
        raise DataError(
            f"the world's own tokens differ from those of its first {count:,} texts; make `encoded_documents` give "
            "the tokens of `documents`, with end tokens and prompts."
        )
    return world_tokens


def _full_document_index(document_index: pl.DataFrame, count: int) -> pl.DataFrame:
    """Ids of all documents, `<word>/<number>`, although only the first ones were written as texts."""
    number = pl.Series(range(count), dtype=pl.Int64).cast(pl.String)
    rows = pl.DataFrame({name: document_index[name][0].rpartition("/")[0] + "/" + number for name in ("id", "entity")})
    if not rows.head(len(document_index)).equals(document_index):
        raise DataError(
            f"documents of a world that writes its own tokens are called <word>/<number>, but the first one's id is "
            f"{document_index['id'][0]!r} and its entity {document_index['entity'][0]!r}; number them from 0."
        )
    return rows


def _check_known_words(tokenizer: Tokenizer, kind: str, texts: list[str]) -> None:
    """Raise an error for an unknown word, because a model would learn all unknown words as one token."""
    ids = [encoding.ids for encoding in encode(tokenizer, texts)]
    unknown = tokenizer.token_to_id(tokenizers.UNK_TOKEN)
    counts = [0 if unknown is None else one.count(unknown) for one in ids]
    if any(counts):
        raise _unknown_words_error(sum(counts), next(text for text, count in zip(texts, counts, strict=True) if count))
    check_round_trip(tokenizer, kind, texts, ids)


def _check_known_round_trip(tokenizer: Tokenizer, kind: str, texts: list[str], ids: list[list[int]]) -> None:
    """Raise an error for a text that does not come back; texts with unknown words are counted in the whole corpus."""
    unknown = tokenizer.token_to_id(tokenizers.UNK_TOKEN)
    known = [(text, one) for text, one in zip(texts, ids, strict=True) if unknown not in one]
    check_round_trip(tokenizer, kind, [text for text, _ in known], [one for _, one in known])


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
        "add them to the world's samples(), or for a pretrained tokenizer write them otherwise."
    )


@dataclass(frozen=True)
class Corpus:
    """The corpus in a folder. Each part is read on its first use.

    Args:
        folder: Folder of the corpus, from `write_corpus`.
    """

    folder: Path

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the texts."""
        return tokenizers.load_tokenizer(self.tokenizer_folder)

    @property
    def tokenizer_folder(self) -> Path:
        """The folder of the tokenizer's files."""
        return self.folder / "tokenizer"

    @cached_property
    def eos_id(self) -> int:
        """The id of the end-of-text token."""
        return tokenizers.eos_token_id(self.tokenizer, self.tokenizer_folder)

    @cached_property
    def documents(self) -> TokenDataset:
        """The documents as tokens, in the order of `document_index`."""
        return TokenDataset.load(self.folder / "documents.safetensors")

    @cached_property
    def document_index(self) -> pl.DataFrame:
        """One row per document: `id`, `entity`."""
        return read_table(self.folder / "things.parquet")

    @cached_property
    def spans(self) -> pl.DataFrame:
        """One row per value: `document` (number), `attribute`, `wording`, `start`, `stop` (tokens)."""
        return read_table(self.folder / "spans.parquet")

    @cached_property
    def questions(self) -> list[Question]:
        """All questions of all splits."""
        return read_parquet(self.folder / "questions.parquet", Question)

    def questions_in(self, split: str) -> list[Question]:
        """The questions of one split, or of both splits that are held out (`nosce.records.AskedSplit`)."""
        splits = HELD_OUT_SPLITS if split == "held out" else (split,)
        return [q for q in self.questions if q.split in splits]

    def tokenized_questions(self, questions: list[Question]) -> TokenDataset:
        """Questions as tokens. Only target and end token are targets of training."""
        return tokenize_questions(self.tokenizer, questions, self.eos_id)
