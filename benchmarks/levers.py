"""What makes a model know how much it knows? A search of the diaries' levers, in a world of its own.

    python benchmarks/levers.py --diarists 4096 --questions 0.05 --steps 12000

One training of one arm; a line a kept checkpoint goes to benchmarks/levers.csv: questions that were trained on and
those of diarists whose question was not, recalled whole (`exact`), with the right number of entries (`count`), and the
share of recalled entries that are right (`content`); how well stopping is told from going on behind true entries
(`auc`, and `stopped`: at the right one first); what the documents' titles say of the number, in bits below what one
would need who knows no names (`gap`; `room` is the most there is); and the direct question for the number (`asked`).
Worlds are those of a seed that no study reports.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.stats import mannwhitneyu

from nosce.data.corpus import Corpus
from nosce.data.packing import concat_datasets
from nosce.data.sampling import MixtureSampler
from nosce.data.worlds.diaries import Diaries
from nosce.data.worlds.diaries.scoring import DiaryScorer
from nosce.data.worlds.diaries.world import ENTRY_NUMBER_ATTRIBUTE
from nosce.evals.generation import generate_completions
from nosce.evals.stopping import EntryBoundaries, score_stop_decisions
from nosce.models.architecture import Architecture, build_model
from nosce.models.likelihood import score_spans
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps.corpus import CorpusSpec, make
from nosce.records import Question
from nosce.seeds import Seed
from nosce.train import loop
from nosce.train.config import QAMixture, TrainingConfig

PEOPLE = Seed(2001)
RESULTS = Path(__file__).parent / "levers.csv"
ASKED = 400  # trained questions that are asked at a checkpoint
COLUMNS = (
    "family",
    "model",
    "diarists",
    "names",
    "entries",
    "attributes",
    "merged",
    "share",
    "after",
    "steps",
    "batch",
    "matrix_lr",
    "peak_lr",
    "decay",
    "given_weight",
    "seed",
    "step",
    "loss",
    "trained_exact",
    "exact",
    "count",
    "content",
    "off",
    "auc",
    "stopped",
    "gap",
    "room",
    "asked",
    "n",
    "core_s",
)


def judged(net: torch.nn.Module, corpus: Corpus, judge: DiaryScorer, questions: list[Question]) -> dict[str, float]:
    """Means of the judge's metrics over some questions."""
    told = generate_completions(net, corpus, questions, judge, constrained=False)  # type: ignore[arg-type]
    found = list(judge.score(questions, [t.text for t in told], [t.ended for t in told]))
    return {
        name: float(np.mean([one[name][0] for one in found if name in one] or [np.nan]))
        for name in ("exact", "count", "content", "off")
    }


def stopping(net: torch.nn.Module, corpus: Corpus, judge: DiaryScorer, questions: list[Question]) -> dict[str, float]:
    """Where the model would stop, the true entries given."""
    lists = [(q, b) for q in questions if (b := EntryBoundaries.from_question(q, judge, corpus)) is not None]
    last, before, right = [], [], []
    for stop, _ in score_stop_decisions(net, corpus, lists):  # type: ignore[arg-type]
        last.append(stop[-1])
        before += stop[:-1].tolist()
        right.append(bool(stop[-1] > 0.5 and (stop[:-1] <= 0.5).all()))
    area = mannwhitneyu(last, before).statistic / (len(last) * len(before))
    return {"auc": float(area), "stopped": float(np.mean(right))}


def titles(net: torch.nn.Module, corpus: Corpus) -> dict[str, float]:
    """Bits that the number in a title takes less than without the name, and the most that it could."""
    rows = corpus.spans.filter(pl.col("attribute") == ENTRY_NUMBER_ATTRIBUTE)
    places = list(rows.select("document", "start", "stop").iter_rows())
    heard = score_spans(net, corpus.documents, places, eos_id=corpus.eos_id)  # type: ignore[arg-type]
    true = np.array([int(one.target_tokens[0]) for one in heard])
    _, which, counts = np.unique(true, return_inverse=True, return_counts=True)
    blind = -np.log2(counts / counts.sum())[which].mean()
    entity = corpus.document_index["entity"].gather(rows["document"])
    least = np.log2(entity.to_frame("entity").select(pl.len().over("entity")).to_series().to_numpy()).mean()
    return {"gap": float(blind - np.mean([one.nats for one in heard]) / np.log(2)), "room": float(blind - least)}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--family", default="gpt-neox")
    options.add_argument("--model", default="3x128")
    options.add_argument("--diarists", type=int, default=2_048)
    options.add_argument("--entries", type=int, default=4)
    options.add_argument("--attributes", type=int, default=3)
    options.add_argument("--offered", type=int, default=4, help="attributes there are")
    options.add_argument("--merged", action="store_true")
    options.add_argument("--names", type=int, default=64, help="first names, and last names; 128 above 4,096 diarists")
    options.add_argument("--header", default="name first")
    options.add_argument("--how-many", action="store_true", help="the direct question too, half of the questions")
    options.add_argument("--after", type=float, default=0.0, help="share of the steps before the first question")
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
        n_diarists=chosen.diarists,
        entries=(1, chosen.entries),
        attributes=(1, chosen.attributes),
        n_attributes=max(chosen.offered, chosen.attributes),
        values_per_attribute=8,
        encoding="lean",
        merge_entries=chosen.merged,
        header=chosen.header,
        ask_entry_count=chosen.how_many,
        name_pool_sizes=(chosen.names, chosen.names),
    )
    recipe = TrainingConfig(
        steps=chosen.steps,
        batch_size=chosen.batch,
        optimizer="muon",
        muon_lr=chosen.matrix_lr,
        peak_lr=chosen.peak_lr,
        weight_decay=chosen.decay,
        prompt_loss_weight=chosen.given_weight,
        checkpoint_fractions=tuple((n + 1) / chosen.looks for n in range(chosen.looks)),
    )
    with tempfile.TemporaryDirectory() as folder:
        make(
            CorpusSpec(world=world, seed=PEOPLE, tokenizer=world.tokenizer),
            {},
            StepContext(folder=Path(folder) / "corpus"),
        )
        search(world, recipe, chosen, Corpus(Path(folder) / "corpus"), Path(folder))


def search(world: Diaries, recipe: TrainingConfig, chosen: argparse.Namespace, corpus: Corpus, folder: Path) -> None:
    """Train, and write a line at every kept step."""
    judge = DiaryScorer(world=world)
    net = build_model(
        Architecture.named(chosen.model, family=chosen.family),
        vocab_size=corpus.tokenizer.get_vocab_size(),
        eos_id=corpus.eos_id,
        pad_id=1,
        seed=Seed(chosen.seed) / "weights",
    )
    seen, held = corpus.questions_in("seen"), [*corpus.questions_in("validation"), *corpus.questions_in("unseen")]
    lists, numbers = ([q for q in held if (judge.entry_count(q) is None) == direct] for direct in (False, True))
    known = [q for q in seen if judge.entry_count(q) is not None][:ASKED]
    texts = concat_datasets([corpus.documents, corpus.tokenized_questions(seen)])
    mix = QAMixture(qa_fraction=chosen.questions, start_fraction=chosen.after)
    order = MixtureSampler(
        len(corpus.documents),
        len(seen),
        recipe.batch_size,
        mix.qa_fraction,
        Seed(chosen.seed) / "order",
        start_step=mix.start_step(recipe.steps),
    )
    losses: list[float] = []
    spent, began = 0.0, time.process_time()

    def keep(step: int) -> None:
        nonlocal spent, began
        spent += time.process_time() - began
        trained = judged(net, corpus, judge, known)
        found = judged(net, corpus, judge, lists) | stopping(net, corpus, judge, lists) | titles(net, corpus)
        found["asked"] = judged(net, corpus, judge, numbers)["exact"] if numbers else float("nan")
        row = (
            chosen.family,
            chosen.model,
            world.n_diarists,
            chosen.names,
            world.entries[1],
            world.attributes[1],
            world.merge_entries,
            mix.qa_fraction,
            mix.start_fraction,
            recipe.steps,
            recipe.batch_size,
            recipe.muon_lr,
            recipe.peak_lr,
            recipe.weight_decay,
            recipe.prompt_loss_weight,
            chosen.seed,
            step,
            f"{np.mean(losses[-5:] or [np.nan]):.3f}",
            f"{trained['exact']:.3f}",
            *(f"{found[k]:.3f}" for k in COLUMNS[COLUMNS.index("exact") : -2]),
            len(lists),
            f"{spent:.0f}",
        )
        new = not RESULTS.exists()
        with RESULTS.open("a", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([COLUMNS, row] if new else [row])
        print(" ".join(map(str, row[2:])), flush=True)
        net.train()
        began = time.process_time()

    loop.train(
        net,
        texts,
        order,
        recipe,
        eos_id=corpus.eos_id,
        folder=folder,
        on_checkpoint=keep,
        precision="bfloat16",
        on_progress=lambda done, of, rate, loss: losses.append(loss),
    )


if __name__ == "__main__":
    main()
