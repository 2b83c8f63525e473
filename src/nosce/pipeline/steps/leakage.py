"""The step `leakage`: checks of a corpus and of the order of its training, before the training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from nosce.data import leakage
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
    """The world, the seed of its facts, and the configuration and sampler seed of the training."""

    world: World
    world_seed: Seed
    training: TrainingConfig
    sampler_seed: Seed


def make(spec: LeakageSpec, inputs: Mapping[str, Path], context: StepContext) -> None:
    """Write `leakage.json`, a list of the checks and their findings.

    Raises:
        LeakageError: A check found a leak; nothing has been trained.
    """
    shutil.rmtree(context.folder, ignore_errors=True)
    context.folder.mkdir(parents=True)
    corpus = Corpus(inputs["corpus"])
    sampler = EpochSampler(len(corpus.documents), spec.training.batch_size, spec.sampler_seed)
    entities = corpus.document_index["entity"].to_list()
    findings = [
        leakage.check_window_sharing(corpus.documents, entities, sampler, spec.training.steps, spec.training.window),
        leakage.check_disjoint_splits(corpus.questions),
        leakage.check_unique_prompts(corpus.questions),
        leakage.check_prompt_contamination(corpus.documents, _prompt_tokens(corpus)),
        leakage.check_majority_share(corpus.questions_in("seen"), constant_attributes=spec.world.constant_attributes),
        leakage.check_deterministic_rendering(spec.world.documents, spec.world_seed),
    ]
    (context.folder / "leakage.json").write_text(
        json.dumps([asdict(g) for g in findings], indent=2) + "\n", encoding="utf-8"
    )


def _prompt_tokens(corpus: Corpus) -> TokenDataset:
    """The prompts of the unseen questions, as tokens."""
    encodings = encode(corpus.tokenizer, [question.prompt for question in corpus.questions_in("unseen")])
    prompts = [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
    return dataset_from_arrays((ids, np.zeros(len(ids), dtype=bool)) for ids in prompts)
