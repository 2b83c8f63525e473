"""The step `corpus`: a world's documents and questions, tokenized and on disk.

Where another corpus is among the inputs as `words`, its tokenizer is taken: what a model is taught or asked later is in
the words that it was made with.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nosce.data import corpus, tokenizer
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.base import World
from nosce.models.architecture import Pretrained
from nosce.pipeline.context import StepContext
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
    encode_world: Any = getattr(spec.world, "encoded", None)
    partial_corpus = corpus.Corpus(context.folder)
    encoded = None if encode_world is None else encode_world(spec.seed, partial_corpus.tokenizer, partial_corpus.eos_id)
    corpus.write_corpus(
        context.folder,
        _document_source(spec),
        spec.world.questions(spec.seed),
        encoded,
        n_processes=context.runtime.threads,
    )


def write_tokenizer(spec: CorpusSpec, folder: Path) -> None:
    """The files of the tokenizer that a corpus is read with."""
    if isinstance(spec.tokenizer, Pretrained):
        folder.mkdir(parents=True, exist_ok=True)
        for name in (tokenizer.TOKENIZER_FILE, tokenizer.TOKENIZER_CONFIG_FILE):
            if (source_file := Path(spec.tokenizer.folder) / name).is_file():
                shutil.copyfile(source_file, folder / name)
    else:
        tokenizer.save_tokenizer(tokenizer.build_tokenizer(spec.tokenizer, spec.world.samples(spec.seed)), folder)


def _document_source(spec: CorpusSpec) -> Any:
    """The world's documents; by parts that processes can make, where it can tell of some of its things alone."""
    documents_about: Any = getattr(spec.world, "documents_about", None)
    if documents_about is None:
        return spec.world.documents(spec.seed)
    n_entities, documents_per_entity = spec.world.things, spec.world.documents_per_thing  # type: ignore[attr-defined]
    size = max(1, corpus.DOCUMENTS_PER_FILE // documents_per_entity)
    return [
        partial(documents_about, first, min(first + size, n_entities), spec.seed)
        for first in range(0, n_entities, size)
    ]
