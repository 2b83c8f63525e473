"""The search behind the fast recipe: recall against core-seconds, never a question.

    python benchmarks/recipes.py                  the whole grid; appends lines to benchmarks/recipes.csv
    python benchmarks/recipes.py --only muon/16   only the rows whose name holds this

Every candidate learns the same people (a world of its own, `Seed(1001)`, that no study reports) in both of the
demo's arms. Looked at is the share of attribute values recalled whole inside the biographies. Questions are
never rendered, so nothing here can have been chosen by how well an arm answers them.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nosce.data import tokenizer as tokenizers
from nosce.data.packing import TokenDataset, encode, token_span, tokenize_documents
from nosce.data.sampling import EpochSampler
from nosce.models.architecture import Architecture, build_model
from nosce.models.likelihood import score_spans
from nosce.seeds import Seed
from nosce.studies.biographies.study import SMALL_BIOGRAPHIES
from nosce.train import loop
from nosce.train.config import TrainingConfig

PEOPLE = Seed(1001)
ARMS = ("single", "multi5+permute")
CHECKS = 200  # biographies whose six values are asked for
COLUMNS = ("name", "arm", "seed", "exposures", "share", "recall", "core_s", "steps", "precision")


@dataclass(frozen=True)
class Data:
    """One arm's biographies as tokens, and where the values of some of them stand."""

    sequences: TokenDataset
    spans: list[tuple[int, int, int]]
    vocabulary: int
    end: int


def data(arm: str) -> Data:
    """The arm's world, rendered and encoded."""
    world = replace(SMALL_BIOGRAPHIES, augmentation=arm)
    tokenizer = tokenizers.build_tokenizer(tokenizers.TokenizerSpec(), world.samples(PEOPLE))
    end = tokenizers.eos_token_id(tokenizer)
    documents = list(world.documents(PEOPLE))
    encodings = list(encode(tokenizer, (d.text for d in documents)))
    drawn = np.random.default_rng(0).choice(len(documents), CHECKS, replace=False)
    spans = [(int(i), *token_span(encodings[i], span, documents[i])) for i in drawn for span in documents[i].spans]
    return Data(tokenize_documents(documents, encodings, end), spans, tokenizer.get_vocab_size(), end)


def learnt(
    told: Data,
    recipe: TrainingConfig,
    model: str = "3x128",
    seed: int = 0,
    precision: str = "bfloat16",
    net: Any = None,
) -> list[tuple[float, float, float]]:
    """Train once; (share of the steps, recall, core-seconds of training so far) at every kept step.

    Args:
        net: A model to train in place; None for a fresh one.
    """
    if net is None:
        net = build_model(
            Architecture.named(model),
            vocab_size=told.vocabulary,
            eos_id=told.end,
            pad_id=None,
            seed=Seed(seed) / "weights",
        )
    found, spent, began = [], 0.0, time.process_time()

    def keep(step: int) -> None:
        nonlocal spent, began
        spent += time.process_time() - began
        right = [s.exact_match for s in score_spans(net, told.sequences, told.spans, eos_id=told.end)]
        found.append((step / recipe.steps, float(np.mean(right)), spent))
        net.train()
        began = time.process_time()

    with tempfile.TemporaryDirectory() as folder:
        order = EpochSampler(len(told.sequences), recipe.batch_size, Seed(seed) / "order")
        loop.train(
            net,
            told.sequences,
            order,
            recipe,
            eos_id=told.end,
            folder=Path(folder),
            on_checkpoint=keep,
            precision=precision,
        )
    return found


def candidate(exposures: int, batch: int, **more: object) -> TrainingConfig:
    """A recipe by how often each person is met."""
    more = {"warmup_steps": 100, "checkpoint_fractions": (0.25, 0.5, 0.625, 0.75, 0.875, 1.0)} | more
    return TrainingConfig(steps=exposures * SMALL_BIOGRAPHIES.people // batch, batch_size=batch, **more)


def grid() -> dict[str, TrainingConfig]:
    """What was tried, by name."""
    found = {}
    for batch in (16, 8):
        for lr in (0.02, 0.04, 0.01):
            for exposures in (30, 20):
                found[f"muon/{batch}/{lr:g}/{exposures}"] = candidate(
                    exposures, batch, optimizer="muon", muon_lr=lr, peak_lr=5e-3
                )
    for name, more in {  # around the best of the above, one change at a time
        "outer-2e-3": {"peak_lr": 2e-3},
        "outer-1e-2": {"peak_lr": 1e-2},
        "momentum-0.9": {"muon_momentum": 0.9},
        "decay-0.02": {"weight_decay": 0.02},
        "floor-0": {"min_lr_ratio": 0.0},
        "outer-2e-2": {"peak_lr": 2e-2},
        "outer-4e-2": {"peak_lr": 4e-2},
        "outer-1e-2-decay-0.3": {"peak_lr": 1e-2, "weight_decay": 0.3},
        "outer-1e-2-warmup-20": {"peak_lr": 1e-2, "warmup_steps": 20},
        "outer-2e-2-decay-0.3": {"peak_lr": 2e-2, "weight_decay": 0.3},
        "outer-2e-2-beta2-0.95": {"peak_lr": 2e-2, "betas": (0.9, 0.95)},
    }.items():
        base = {"optimizer": "muon", "muon_lr": 0.02, "peak_lr": 5e-3} | more
        found[f"muon/16/0.02/30/{name}"] = candidate(30, 16, **base)
    for batch, lr, outer in (
        (32, 0.02, 2e-2),
        (32, 0.03, 2e-2),
        (32, 0.04, 2e-2),
        (32, 0.03, 1e-2),
        (32, 0.03, 4e-2),
        (64, 0.04, 2e-2),
        (64, 0.04, 4e-2),
        (64, 0.06, 2e-2),
    ):
        found[f"muon/{batch}/{lr:g}/30/outer-{outer:.0e}".replace("e-0", "e-")] = candidate(
            30, batch, optimizer="muon", muon_lr=lr, peak_lr=outer
        )
    for exposures in (35, 40):  # how many times each person must be met: the chosen recipe
        found[f"muon/32/0.03/{exposures}/chosen"] = candidate(
            exposures, 32, optimizer="muon", muon_lr=0.03, peak_lr=2e-2
        )
    for exposures in (40, 60, 80):
        for batch in (16, 8):
            for lr in (5e-3, 3e-3):
                found[f"adamw/{batch}/{lr:g}/{exposures}"] = candidate(exposures, batch, peak_lr=lr)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", default="", help="rows whose name holds one of these, separated by commas")
    options.add_argument("--arms", default=",".join(ARMS))
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--precision", default="bfloat16")
    options.add_argument("--model", default="3x128")
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "recipes.csv")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    told = {arm: data(arm) for arm in chosen.arms.split(",")}
    new = not chosen.out.exists()
    with chosen.out.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(COLUMNS)
        for name, recipe in grid().items():
            if not any(part in name for part in chosen.only.split(",")):
                continue
            for arm in chosen.arms.split(","):
                for seed in range(chosen.seeds):
                    for share, recall, spent in learnt(told[arm], recipe, chosen.model, seed, chosen.precision):
                        exposures = recipe.steps * recipe.batch_size * share / SMALL_BIOGRAPHIES.people
                        writer.writerow(
                            (
                                name,
                                arm,
                                seed,
                                f"{exposures:.1f}",
                                f"{share:g}",
                                f"{recall:.4f}",
                                f"{spent:.1f}",
                                round(recipe.steps * share),
                                chosen.precision,
                            )
                        )
                        print(f"{name:24s} {arm:15s} {exposures:5.1f} exposures  recall {recall:6.1%}  {spent:6.1f} s")
                    file.flush()


if __name__ == "__main__":
    main()
