"""The step `corpus`: a world's documents and questions, tokenized and on disk.

If another corpus is among the inputs as `words`, this corpus has its tokenizer: later training data and questions of
a model need the vocabulary that the model was trained with.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nosce.data import corpus, tokenizer
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.base import World
from nosce.models.architecture import Pretrained
from nosce.pipeline.context import StepContext
from nosce.records import Document
from nosce.seeds import Seed

VERSION = 2


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """A world, the seed of its facts and texts, and its tokenizer: a new one or a pretrained model's."""

    world: World
    seed: Seed
    tokenizer: TokenizerSpec | Pretrained


def make(spec: CorpusSpec, inputs: Mapping[str, Path], context: StepContext) -> None:
    """Write the corpus folder; see `nosce.data.corpus` for what lies in it."""
    shutil.rmtree(context.folder, ignore_errors=True)  # quick to make, so never taken up half-way
    context.folder.mkdir(parents=True)
    if "words" in inputs:
        shutil.copytree(inputs["words"] / "tokenizer", context.folder / "tokenizer")
    else:
        write_tokenizer(spec, context.folder / "tokenizer")
    partial_corpus = corpus.Corpus(context.folder)
    encoded = spec.world.encoded_documents(spec.seed, partial_corpus.tokenizer, partial_corpus.eos_id)
    corpus.write_corpus(
        context.folder,
        _document_source(spec),
        spec.world.questions(spec.seed),
        encoded,
        n_processes=context.runtime.threads,
    )
    if isinstance(spec.tokenizer, Pretrained):
        _check_token_ids(partial_corpus, Path(spec.tokenizer.folder))


def _check_token_ids(written: corpus.Corpus, folder: Path) -> None:
    """Check that the model has all tokens of the corpus; a tokenizer may have more, which no text needs.

    Raises:
        SpecError: It has not.
    """
    from nosce.models.pretrained import check_token_ids, folder_vocab_size

    if written.tokenizer.get_vocab_size() > folder_vocab_size(folder):
        datasets = (written.documents, written.tokenized_questions(written.questions))
        check_token_ids(folder, [int(each.tokens.max(initial=0)) for each in datasets])


def write_tokenizer(spec: CorpusSpec, folder: Path) -> None:
    """Write the files of the tokenizer of a corpus."""
    if isinstance(spec.tokenizer, Pretrained):
        tokenizer.copy_tokenizer(Path(spec.tokenizer.folder), folder)
    else:
        tokenizer.save_tokenizer(tokenizer.build_tokenizer(spec.tokenizer, spec.world.samples(spec.seed)), folder)


def _document_source(spec: CorpusSpec) -> Iterable[Document] | list[Callable[[], Iterator[Document]]]:
    """The world's documents; in parts that processes can make, where the world can write those of some entities."""
    world = spec.world
    if world.n_entities is None or world.documents_per_entity is None or world.documents_for(0, 0, spec.seed) is None:
        return world.documents(spec.seed)
    size = max(1, corpus.DOCUMENTS_PER_FILE // world.documents_per_entity)
    starts = range(0, world.n_entities, size)
    parts: list[Callable[[], Iterator[Document]]] = []
    for first in starts:
        parts.append(partial(_documents_of, world, first, min(first + size, world.n_entities), spec.seed))
    return parts


def _documents_of(world: World, first: int, last: int, seed: Seed) -> Iterator[Document]:
    documents = world.documents_for(first, last, seed)
    assert documents is not None  # asked before
    return documents
