"""Probes trained together against scikit-learn one by one, on the same activations and the same split.

36 linear read-outs and 6 small perceptrons of what a model's last position holds about a biography it has
just read: values, first and last words of values, the order of the sentences, their wordings, lengths.
scikit-learn is used as one does: `LogisticRegression` on standardised states, `MLPClassifier` with early
stopping. Both are trained on the same part and tested on the same people.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from measure import cpu_seconds, in_turns, shares, write
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from nosce.data import tokenizer as tokenizers
from nosce.data.packing import encode, tokenize_documents
from nosce.data.sampling import EpochSampler
from nosce.evals.probing.probe import ProbeConfig, split_by_entity, train_probes
from nosce.models.activations import collect_activations
from nosce.models.architecture import Architecture, build_model
from nosce.seeds import Seed
from nosce.studies.biographies.study import SMALL_BIOGRAPHIES
from nosce.train import loop
from nosce.train.config import TrainingConfig

SEED, SITE = Seed(77), "residual.2"


def states(people: int) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Activations at the end of every biography, 36 labels of each, and whom it is about."""
    world = replace(SMALL_BIOGRAPHIES, people=people, name_pool_sizes=(60, 60, 120), augmentation="multi5+permute")
    tokenizer = tokenizers.build_tokenizer(tokenizers.TokenizerSpec(), world.samples(SEED))
    end = tokenizers.eos_token_id(tokenizer)
    documents = list(world.documents(SEED))
    texts = tokenize_documents(documents, list(encode(tokenizer, (d.text for d in documents))), end)
    net = build_model(
        Architecture.named("3x128"), vocab_size=tokenizer.get_vocab_size(), eos_id=end, pad_id=None, seed=SEED
    )
    recipe = TrainingConfig(steps=300, batch_size=16, optimizer="muon", peak_lr=5e-3)
    rows = []
    for number, document in enumerate(documents):
        row = {"text": number, "token": int(texts.lengths[number]) - 2, "entity": document.entity}
        order = sorted(document.spans, key=lambda span: span.start)
        for span, wording in zip(document.spans, document.wordings, strict=True):
            words = document.text[span.start : span.end].split()
            row |= {
                f"{span.attribute}/first": words[0],
                f"{span.attribute}/last": words[-1],
                f"{span.attribute}/wording": wording,
                f"{span.attribute}/order": str(order.index(span)),
                f"{span.attribute}/initial": words[0][0],
                f"{span.attribute}/half": str(order.index(span) < 3),
            }
        rows.append(row)
    with tempfile.TemporaryDirectory() as folder:
        loop.train(
            net,
            texts,
            EpochSampler(len(texts), 16, SEED),
            recipe,
            eos_id=end,
            folder=Path(folder),
            on_checkpoint=lambda _: None,
            precision="bfloat16",
        )
        found = collect_activations(net, texts, pl.DataFrame(rows), [SITE], Path(folder) / "activations", eos_id=end)
        held = np.array(found.load_site(SITE))
    table = pl.DataFrame(rows)
    tasks = {name: np.unique(table[name].to_numpy(), return_inverse=True)[1] for name in table.columns[3:]}
    return held, tasks, table["entity"].to_numpy()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--people", type=int, default=2000)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)  # scikit-learn's too: threads that wait for each other would count as work
    held, tasks, entity = states(chosen.people)
    parts = split_by_entity(entity, Seed(0))
    few = dict(list(tasks.items())[::6])
    compare("linear", held, tasks, entity, parts, ProbeConfig(), chosen.repeats)
    compare("one hidden layer of 64", held, few, entity, parts, ProbeConfig(hidden_layer_sizes=(64,)), chosen.repeats)


def compare(
    name: str,
    held: np.ndarray,
    tasks: dict[str, np.ndarray],
    entity: np.ndarray,
    parts: np.ndarray,
    spec: ProbeConfig,
    repeats: int,
) -> None:
    """All tasks by ours in one go and by scikit-learn one by one, in turns."""
    accuracy: dict[str, float] = {}

    def ours() -> None:
        found = train_probes(held, tasks, entity, parts, spec, Seed(1), controls=False)
        accuracy["ours"] = float(np.mean([p.accuracy for p in found]))

    def theirs() -> None:
        train, test = parts == "train", parts == "test"
        scale = StandardScaler().fit(held[train])
        right = []
        for labels in tasks.values():
            if spec.hidden_layer_sizes:
                fit = MLPClassifier(spec.hidden_layer_sizes, early_stopping=True, random_state=0)
            else:
                fit = LogisticRegression(max_iter=1000)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fit.fit(scale.transform(held[train]), labels[train])
            right.append((fit.predict(scale.transform(held[test])) == labels[test]).mean())
        accuracy["theirs"] = float(np.mean(right))

    found = in_turns({"ours": lambda: cpu_seconds(ours), "theirs": lambda: cpu_seconds(theirs)}, repeats)
    note = (
        f"mean held-out accuracy {accuracy['ours']:.4f} against {accuracy['theirs']:.4f}; {len(held)} places of "
        f"{len(set(entity.tolist()))} people; CPU seconds"
    )
    write("probes", f"{len(tasks)} probes, {name}", found["ours"], found["theirs"], note)
    write("probes", f"profile of {len(tasks)} probes, {name}", [min(found["ours"])], None, shares(ours))


if __name__ == "__main__":
    main()
