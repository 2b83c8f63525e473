"""What makes a model know how much it knows? A search of the diaries' levers, in a world of its own.

    python benchmarks/levers.py --diarists 4096 --questions 0.05 --steps 12000

One training of one arm; a line a kept checkpoint goes to benchmarks/levers.csv: questions that were trained on and
those of diarists whose question was not, recalled whole (`exact`), with the right number of entries (`count`), and the
share of recalled entries that are right (`content`). Worlds are those of a seed that no study reports.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from nosce.models.families import build, size
from nosce.read.written import written
from nosce.records import Question
from nosce.seeds import Seed
from nosce.steps.corpus import CorpusSpec, make
from nosce.steps.job import Job
from nosce.text.batches import Mixed
from nosce.text.corpus import Corpus
from nosce.text.packing import joined
from nosce.train import loop
from nosce.train.recipe import Recipe
from nosce.worlds.diaries import Diaries
from nosce.worlds.diaries.judging import Reader

PEOPLE = Seed(2001)
RESULTS = Path(__file__).parent / "levers.csv"
ASKED = 400  # trained questions that are asked at a checkpoint
COLUMNS = ("family", "model", "diarists", "entries", "attributes", "merged", "share", "steps", "batch", "matrix_lr",
           "peak_lr", "decay", "given_weight", "seed", "step", "loss", "trained_exact", "exact", "count", "content",
           "off", "n", "core_s")  # fmt: skip


def judged(net: torch.nn.Module, corpus: Corpus, judge: Reader, questions: list[Question]) -> dict[str, float]:
    """Means of the judge's metrics over some questions."""
    told = written(net, corpus, questions, judge, masked=False)  # type: ignore[arg-type]
    found = list(judge.judge(questions, [t.text for t in told], [t.ended for t in told]))
    return {
        name: float(np.mean([one[name][0] for one in found if name in one] or [np.nan]))
        for name in ("exact", "count", "content", "off")
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--family", default="gpt-neox")
    options.add_argument("--model", default="3x128")
    options.add_argument("--diarists", type=int, default=2_048)
    options.add_argument("--entries", type=int, default=4)
    options.add_argument("--attributes", type=int, default=3)
    options.add_argument("--merged", action="store_true")
    options.add_argument("--questions", type=float, default=0.1, help="share of a step's texts that are questions")
    options.add_argument("--steps", type=int, default=6_000)
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--matrix-lr", type=float, default=0.02)
    options.add_argument("--peak-lr", type=float, default=5e-3)
    options.add_argument("--decay", type=float, default=0.1)
    options.add_argument("--given-weight", type=float, default=1.0)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--looks", type=int, default=6)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    world = Diaries(
        diarists=chosen.diarists, entries=(1, chosen.entries), attributes=(1, chosen.attributes),
        offered=min(8, chosen.attributes + 1), values=8, encoding="lean", merged=chosen.merged,
        names=(64, 64) if chosen.diarists <= 4_096 else (128, 128),
    )  # fmt: skip
    recipe = Recipe(
        steps=chosen.steps, batch=chosen.batch, optimizer="muon", matrix_lr=chosen.matrix_lr, peak_lr=chosen.peak_lr,
        weight_decay=chosen.decay, given_weight=chosen.given_weight,
        checkpoints=tuple((n + 1) / chosen.looks for n in range(chosen.looks)),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        make(CorpusSpec(world=world, seed=PEOPLE, tokenizer=world.tokenizer), {}, Job(folder=Path(folder) / "corpus"))
        search(world, recipe, chosen, Corpus(Path(folder) / "corpus"), Path(folder))


def search(world: Diaries, recipe: Recipe, chosen: argparse.Namespace, corpus: Corpus, folder: Path) -> None:
    """Train, and write a line at every kept step."""
    judge = Reader(world=world)
    net = build(size(chosen.model, chosen.family), vocabulary=corpus.tokenizer.get_vocab_size(), end=corpus.end, pad=1,
                seed=Seed(chosen.seed) / "weights")  # fmt: skip
    seen, held = corpus.asked("seen"), [*corpus.asked("validation"), *corpus.asked("unseen")]
    texts = joined([corpus.documents, corpus.question_sequences(seen)])
    order = Mixed(len(corpus.documents), len(seen), recipe.batch, chosen.questions, Seed(chosen.seed) / "order")
    losses: list[float] = []
    spent, began = 0.0, time.process_time()

    def keep(step: int) -> None:
        nonlocal spent, began
        spent += time.process_time() - began
        trained = judged(net, corpus, judge, seen[:ASKED])
        found = judged(net, corpus, judge, held)
        row = (chosen.family, chosen.model, world.diarists, world.entries[1], world.attributes[1], world.merged,
               chosen.questions, recipe.steps, recipe.batch, recipe.matrix_lr, recipe.peak_lr, recipe.weight_decay,
               recipe.given_weight, chosen.seed, step, f"{np.mean(losses[-5:]):.3f}" if losses else "",
               f"{trained['exact']:.3f}", *(f"{found[k]:.3f}" for k in ("exact", "count", "content", "off")), len(held),
               f"{spent:.0f}")  # fmt: skip
        new = not RESULTS.exists()
        with RESULTS.open("a", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([COLUMNS, row] if new else [row])
        print(" ".join(map(str, row[2:])), flush=True)
        net.train()
        began = time.process_time()

    loop.train(net, texts, order, recipe, end=corpus.end, folder=folder, keep=keep, precision="bfloat16",
               progress=lambda done, of, rate, loss: losses.append(loss))  # fmt: skip


if __name__ == "__main__":
    main()
