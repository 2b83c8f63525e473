"""The step `leakage`: what must be true of a corpus and an order of training before either is used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from nosce.data import leakage as guards
from nosce.data.corpus import Corpus
from nosce.data.packing import TokenDataset, dataset_from_arrays, encode
from nosce.data.sampling import EpochSampler
from nosce.data.worlds.base import World
from nosce.pipeline.context import StepContext
from nosce.seeds import Seed
from nosce.train.config import TrainingConfig

VERSION = 2


@dataclass(frozen=True, kw_only=True)
class LeakageSpec:
    """The world and the seed of its facts, and the recipe and order that will be trained with."""

    world: World
    world_seed: Seed
    training: TrainingConfig
    sampler_seed: Seed


def make(spec: LeakageSpec, inputs: Mapping[str, Path], context: StepContext) -> None:
    """Write `leakage.json`, a list of what was looked for and found.

    Raises:
        GuardError: A guard found a leak; nothing has been trained.
    """
    shutil.rmtree(context.folder, ignore_errors=True)
    context.folder.mkdir(parents=True)
    corpus = Corpus(inputs["corpus"])
    sampler = EpochSampler(len(corpus.documents), spec.training.batch_size, spec.sampler_seed)
    entities = corpus.document_index["entity"].to_list()
    findings = [
        guards.check_window_sharing(corpus.documents, entities, sampler, spec.training.steps, spec.training.window),
        guards.check_disjoint_splits(corpus.questions),
        guards.check_unique_prompts(corpus.questions),
        guards.check_prompt_contamination(corpus.documents, _prompt_tokens(corpus)),
        guards.check_majority_share(corpus.questions_in("seen"), constant_attributes=spec.world.constant_attributes),
        guards.check_deterministic_rendering(spec.world.documents, spec.world_seed),
    ]
    (context.folder / "leakage.json").write_text(json.dumps([asdict(g) for g in findings], indent=2) + "\n")


def _prompt_tokens(corpus: Corpus) -> TokenDataset:
    """What the unseen questions ask, as tokens."""
    encodings = encode(corpus.tokenizer, [question.prompt for question in corpus.questions_in("unseen")])
    prompts = [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
    return dataset_from_arrays((ids, np.zeros(len(ids), dtype=bool)) for ids in prompts)
