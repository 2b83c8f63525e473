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
from nosce.pipeline.context import Job
from nosce.seeds import Seed

VERSION = 2


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """A world, the seed of its facts and texts, and its tokenizer: a new one or a pretrained model's."""

    world: World
    seed: Seed
    tokenizer: TokenizerSpec | Pretrained


def make(spec: CorpusSpec, inputs: Mapping[str, Path], job: Job) -> None:
    """Write the corpus folder; see `nosce.data.corpus` for what lies in it."""
    shutil.rmtree(job.folder, ignore_errors=True)  # quick to make, so never taken up half-way
    job.folder.mkdir(parents=True)
    if "words" in inputs:
        shutil.copytree(inputs["words"] / "tokenizer", job.folder / "tokenizer")
    else:
        write_tokenizer(spec, job.folder / "tokenizer")
    own: Any = getattr(spec.world, "encoded", None)
    begun = corpus.Corpus(job.folder)
    encoded = None if own is None else own(spec.seed, begun.tokenizer, begun.end)
    corpus.write(job.folder, _documents(spec), spec.world.questions(spec.seed), encoded, cores=job.machine.threads)


def write_tokenizer(spec: CorpusSpec, folder: Path) -> None:
    """The files of the tokenizer that a corpus is read with."""
    if isinstance(spec.tokenizer, Pretrained):
        folder.mkdir(parents=True, exist_ok=True)
        for name in (tokenizer.FILE, tokenizer.SETTINGS):
            if (theirs := Path(spec.tokenizer.folder) / name).is_file():
                shutil.copyfile(theirs, folder / name)
    else:
        tokenizer.save(tokenizer.make(spec.tokenizer, spec.world.samples(spec.seed)), folder)


def _documents(spec: CorpusSpec) -> Any:
    """The world's documents; by parts that processes can make, where it can tell of some of its things alone."""
    about: Any = getattr(spec.world, "documents_about", None)
    if about is None:
        return spec.world.documents(spec.seed)
    things, each = spec.world.things, spec.world.documents_per_thing  # type: ignore[attr-defined]
    size = max(1, corpus.PART // each)
    return [partial(about, first, min(first + size, things), spec.seed) for first in range(0, things, size)]
