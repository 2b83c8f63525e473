"""The step `guards`: what must be true of a corpus and an order of training before either is used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from nosce.data import leakage as guards
from nosce.data.corpus import Corpus
from nosce.data.packing import Sequences, collect, encode
from nosce.data.sampling import Order
from nosce.data.worlds.base import World
from nosce.pipeline.context import Job
from nosce.seeds import Seed
from nosce.train.config import Recipe

VERSION = 2


@dataclass(frozen=True, kw_only=True)
class GuardsSpec:
    """The world and the seed of its facts, and the recipe and order that will be trained with."""

    world: World
    world_seed: Seed
    recipe: Recipe
    order_seed: Seed


def make(spec: GuardsSpec, inputs: Mapping[str, Path], job: Job) -> None:
    """Write `leakage.json`, a list of what was looked for and found.

    Raises:
        GuardError: A guard found a leak; nothing has been trained.
    """
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    corpus = Corpus(inputs["corpus"])
    order = Order(len(corpus.documents), spec.recipe.batch, spec.order_seed)
    about = corpus.things["about"].to_list()
    found = [
        guards.window_sharing(corpus.documents, about, order, spec.recipe.steps, spec.recipe.window),
        guards.split_is_clean(corpus.questions),
        guards.questions_are_unique(corpus.questions),
        guards.prompts_are_new(corpus.documents, _prompts(corpus)),
        guards.majority(corpus.asked("seen"), known=getattr(spec.world, "guessable", ())),
        guards.same_bytes_everywhere(spec.world.documents, spec.world_seed),
    ]
    (job.folder / "leakage.json").write_text(json.dumps([asdict(g) for g in found], indent=2) + "\n")


def _prompts(corpus: Corpus) -> Sequences:
    """What the unseen questions ask, as tokens."""
    encodings = encode(corpus.tokenizer, [question.prompt for question in corpus.asked("unseen")])
    return collect(
        (ids, np.zeros(len(ids), dtype=bool)) for ids in (np.array(e.ids, dtype=np.int32) for e in encodings)
    )
