"""The step `corpus`: a world's documents and questions, tokenized and on disk."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nosce.models.families import Pretrained
from nosce.seeds import Seed
from nosce.steps.job import Job
from nosce.text import corpus, tokenizer
from nosce.text.tokenizer import TokenizerSpec
from nosce.worlds.contract import World

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """A world, the seed of its facts and texts, and its tokenizer: a new one or a pretrained model's."""

    world: World
    seed: Seed
    tokenizer: TokenizerSpec | Pretrained


def make(spec: CorpusSpec, inputs: Mapping[str, Path], job: Job) -> None:
    """Write the corpus folder; see `nosce.text.corpus` for what lies in it."""
    shutil.rmtree(job.folder, ignore_errors=True)  # quick to make, so never taken up half-way
    job.folder.mkdir(parents=True)
    place = job.folder / "tokenizer"
    if isinstance(spec.tokenizer, Pretrained):
        place.mkdir()
        for name in (tokenizer.FILE, tokenizer.SETTINGS):
            if (theirs := Path(spec.tokenizer.folder) / name).is_file():
                shutil.copyfile(theirs, place / name)
    else:
        tokenizer.save(tokenizer.make(spec.tokenizer, spec.world.samples(spec.seed)), place)
    chosen = tokenizer.load(place)
    end = tokenizer.end_token(chosen, place)
    corpus.write(job.folder, spec.world.documents(spec.seed), spec.world.questions(spec.seed), chosen, end)
