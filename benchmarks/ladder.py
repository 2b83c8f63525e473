"""Which arithmetic makes exact match jump while its log-likelihood stays smooth? A search over tasks and sizes.

    python benchmarks/ladder.py --operations "*" --digits 2 --widths 8 12 16 24 32 48

One training a width and seed; a line each goes to benchmarks/ladder.csv with exact match, edit distance, log-likelihood
and the time it took. The worlds are those of a seed that no study reports.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from pathlib import Path

import polars as pl
import torch

from nosce.data.corpus import Corpus
from nosce.data.sampling import EpochSampler
from nosce.data.worlds.arithmetic import Arithmetic
from nosce.evals.item_scores import ItemScores
from nosce.models.architecture import Architecture, build_model
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps.corpus import CorpusSpec, make
from nosce.seeds import Seed
from nosce.train import loop
from nosce.train.config import TrainingConfig

WORLD = Seed(2_002)
RESULTS = Path(__file__).parent / "ladder.csv"
COLUMNS = (
    "operations",
    "digits",
    "other",
    "least",
    "padded",
    "reversed",
    "records",
    "layers",
    "width",
    "heads",
    "weights",
    "optimizer",
    "peak_lr",
    "steps",
    "batch",
    "seed",
    "exact",
    "edit",
    "tokens",
    "log_likelihood",
    "n",
    "core_s",
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--operations", nargs="+", default=["+"])
    options.add_argument("--digits", type=int, default=3)
    options.add_argument("--other", type=int, help="digits of the second operand; else as many")
    options.add_argument("--least", type=int, default=0, help="operand")
    options.add_argument("--plain", action="store_true", help="numbers are not filled up with zeros")
    options.add_argument("--forward", action="store_true", help="the first digit first")
    options.add_argument("--records", type=int, default=200_000)
    options.add_argument("--layers", type=int, default=2)
    options.add_argument("--widths", type=int, nargs="+", default=[8, 16, 32])
    options.add_argument("--steps", type=int, default=1_500)
    options.add_argument("--batch", type=int, default=256)
    options.add_argument("--optimizer", default="adamw")
    options.add_argument("--rate", type=float, help="peak learning rate; else the sheet's by width")
    options.add_argument("--matrix-lr", type=float, default=0.02)
    options.add_argument("--dtype", default="float32")
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    chosen = options.parse_args()
    torch.set_num_threads(1)
    world = Arithmetic(
        operations=tuple(chosen.operations),
        digits=chosen.digits,
        second_digits=chosen.other,
        min_operand=chosen.least,
        zero_padded=not chosen.plain,
        reverse_digits=not chosen.forward,
        records=chosen.records,
        unseen_questions=1_000,
    )
    with tempfile.TemporaryDirectory() as folder:
        make(
            CorpusSpec(world=world, seed=WORLD, tokenizer=world.tokenizer),
            {},
            StepContext(folder=Path(folder) / "corpus"),
        )
        corpus = Corpus(Path(folder) / "corpus")
        for width in chosen.widths:
            for seed in chosen.seeds:
                trained(world, corpus, chosen, width, seed, Path(folder))


def rate_of(width: int) -> float:
    """The sheet's peak learning rates, section 8."""
    return 1e-2 if width <= 8 else 5e-3 if width <= 24 else 3e-3


def trained(world: Arithmetic, corpus: Corpus, chosen: argparse.Namespace, width: int, seed: int, folder: Path) -> None:
    """Train one size, and write its line."""
    heads = max(1, width // 16)
    shape = Architecture(family="gpt2", layers=chosen.layers, width=width, heads=heads, max_positions=32)
    net = build_model(
        shape,
        vocab_size=corpus.tokenizer.get_vocab_size(),
        eos_id=corpus.eos_id,
        pad_id=None,
        seed=Seed(seed) / "weights",
    )
    rate = chosen.rate or rate_of(width)
    recipe = TrainingConfig(
        steps=chosen.steps,
        batch_size=chosen.batch,
        optimizer=chosen.optimizer,
        peak_lr=rate,
        min_lr_ratio=0.05,
        muon_lr=chosen.matrix_lr,
        dtype=chosen.dtype,
    )
    order = EpochSampler(len(corpus.documents), recipe.batch_size, Seed(seed) / "order")
    began = time.process_time()
    run = folder / f"{width}-{seed}"
    loop.train(
        net,
        corpus.documents,
        order,
        recipe,
        eos_id=corpus.eos_id,
        folder=run,
        on_checkpoint=lambda step: None,
        precision="float32" if chosen.dtype == "float32" else "bfloat16",
    )
    spent = time.process_time() - began
    (rows,) = ItemScores().evaluate_checkpoints({recipe.steps: lambda: net}, corpus, Seed(0))
    mean = dict(rows.group_by("metric").agg(pl.col("value").mean()).iter_rows())
    line = (
        "".join(world.operations),
        world.digits,
        world.resolved_second_digits,
        world.min_operand,
        world.zero_padded,
        world.reverse_digits,
        world.records,
        chosen.layers,
        width,
        heads,
        shape.parameter_count(0),
        recipe.optimizer,
        rate,
        recipe.steps,
        recipe.batch_size,
        seed,
        *(f"{mean[k]:.4f}" for k in ("exact", "edit", "tokens", "log_likelihood")),
        rows.filter(metric="exact").height,
        f"{spent:.0f}",
    )
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        csv.writer(file).writerows([COLUMNS, line] if new else [line])
    print(*line, flush=True)


if __name__ == "__main__":
    main()
