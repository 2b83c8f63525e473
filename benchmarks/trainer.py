"""nosce's training loop against `transformers.Trainer`: two runs on two cores, useful tokens per second.

Three sides train the same model from the same weights on the same texts in the same order:

    nosce     two runs side by side, one core each, texts apart, the precision that the self-test picks
    plain     Trainer as one writes it: padded batches, float32, all cores, one run after the other
    best      Trainer at its best: packed rows, bfloat16, two runs side by side, one core each
              (`torch.compile` gained nothing at these sizes for 10 to 15 seconds of compiling)

A useful token is one that carries loss. Start-up, imports and the first step are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from measure import ceiling, in_turns, write

from nosce.data import tokenizer as tokenizers
from nosce.data.packing import TokenDataset, best_fit_pack, dataset_from_arrays, encode, tokenize_documents
from nosce.data.sampling import IGNORE_INDEX, EpochSampler
from nosce.models.architecture import Architecture, build_model
from nosce.models.number_format import choose_precision
from nosce.seeds import Seed
from nosce.studies.biographies.study import SMALL_BIOGRAPHIES
from nosce.train import loop
from nosce.train.config import TrainingConfig

END, BATCH = 0, 32


def biographies() -> tuple[TokenDataset, int]:
    """400 people in five shuffled wordings: 55 to 70 tokens each."""
    world = replace(SMALL_BIOGRAPHIES, augmentation="multi5+permute")
    tokenizer = tokenizers.build_tokenizer(tokenizers.TokenizerSpec(), world.samples(Seed(0)))
    documents = list(world.documents(Seed(0)))
    end = tokenizers.eos_token_id(tokenizer)
    encodings = list(encode(tokenizer, (d.text for d in documents)))
    return tokenize_documents(documents, encodings, end), tokenizer.get_vocab_size()


def diaries() -> tuple[TokenDataset, int]:
    """Texts as long as merged diaries: one to eight entries of a header and one to eight attributes; random tokens."""
    rng, vocabulary = Seed(0).numpy(), 600

    def text() -> tuple[np.ndarray, np.ndarray]:
        entries, attributes = rng.integers(1, 9, size=2)
        tokens = np.append(rng.integers(4, vocabulary, size=entries * (6 + 2 * attributes)), END).astype(np.int32)
        return tokens, np.ones(len(tokens), dtype=bool)

    return dataset_from_arrays(text() for _ in range(2000)), vocabulary


DATA = {"biographies": biographies, "diaries": diaries}


def recipe(steps: int) -> TrainingConfig:
    """AdamW for all three sides."""
    return TrainingConfig(steps=steps, batch_size=BATCH, peak_lr=2e-3, warmup_steps=0, dtype="auto")


def ours(data: str, model: str, steps: int, seed: int) -> dict[str, float]:
    """One run of our loop; seconds without the first step, and the mean loss of the last tenth."""
    torch.set_num_threads(1)
    texts, vocabulary = DATA[data]()
    net = build_model(Architecture.named(model), vocab_size=vocabulary, eos_id=END, pad_id=None, seed=Seed(seed))
    how = recipe(steps)
    precision = choose_precision(how.dtype, device="cpu")
    began: list[float] = []
    _wait()
    with tempfile.TemporaryDirectory() as folder:
        loop.train(
            net,
            texts,
            EpochSampler(len(texts), BATCH, Seed(seed)),
            how,
            eos_id=END,
            folder=Path(folder),
            on_checkpoint=lambda _: None,
            on_progress=lambda *_: began.append(time.perf_counter()),
            precision=precision,
        )
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    tokens = sum(
        int(texts.lengths[EpochSampler(len(texts), BATCH, Seed(seed)).batch_indices(s)].sum()) for s in range(1, steps)
    )
    loss = statistics.mean(line["nats"] for line in lines[-steps // 10 :])
    return {"seconds": began[-1] - began[0], "tokens": tokens, "loss": loss, "bf16": float(precision == "bfloat16")}


def theirs(data: str, model: str, steps: int, seed: int, *, best: bool) -> dict[str, float]:
    """The same run by transformers.Trainer."""
    from torch.utils.data import Dataset, SequentialSampler
    from transformers import Trainer, TrainerCallback, TrainingArguments

    texts, vocabulary = DATA[data]()
    order = EpochSampler(len(texts), BATCH, Seed(seed))

    class Texts(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return steps * BATCH

        def __getitem__(self, place: int) -> np.ndarray:
            return texts.text_tokens(int(order.batch_indices(place // BATCH)[place % BATCH])).astype(np.int64)

    def collated(rows: list[np.ndarray]) -> dict[str, torch.Tensor]:
        if best:
            packed = best_fit_pack([len(r) for r in rows], 256)
            rows = [np.concatenate([rows[i] for i in row]) for row in packed]
        width = 1 + max(len(r) for r in rows)
        tokens = np.full((len(rows), width), END)
        labels = np.full((len(rows), width), IGNORE_INDEX)
        for number, row in enumerate(rows):
            tokens[number, 1 : 1 + len(row)] = labels[number, 1 : 1 + len(row)] = row
        found = {"input_ids": torch.from_numpy(tokens), "labels": torch.from_numpy(labels)}
        if not best:
            found["attention_mask"] = torch.from_numpy((labels != IGNORE_INDEX).astype(np.int64))
            found["attention_mask"][:, 0] = 1
        return found

    class InOrder(Trainer):
        def _get_train_sampler(self, *_: object) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

    times: list[float] = []
    losses: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            times.append(time.perf_counter())

        def on_log(self, _args: object, _state: object, _control: object, logs: dict[str, float], **_: object) -> None:
            losses.extend([logs["loss"]] if "loss" in logs else [])

    how = recipe(steps)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=BATCH,
            learning_rate=how.peak_lr,
            lr_scheduler_type="cosine_with_min_lr",
            lr_scheduler_kwargs={"min_lr_rate": how.min_lr_ratio},
            warmup_steps=0,
            weight_decay=how.weight_decay,
            adam_beta2=how.betas[1],
            adam_epsilon=how.epsilon,
            max_grad_norm=how.max_grad_norm,
            logging_steps=max(1, steps // 10),
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            bf16=best,
            disable_tqdm=True,
        )
        net = build_model(Architecture.named(model), vocab_size=vocabulary, eos_id=END, pad_id=None, seed=Seed(seed))
        trainer = InOrder(net, arguments, train_dataset=Texts(), data_collator=collated, callbacks=[Clock()])
        _wait()
        trainer.train()
    tokens = sum(int(texts.lengths[order.batch_indices(s)].sum()) for s in range(1, steps))
    return {"seconds": times[-1] - times[0], "tokens": tokens, "loss": losses[-1]}


def _wait() -> None:
    """Say that all is ready, and begin when the others are."""
    print("ready", flush=True)
    sys.stdin.readline()


def race(sides: list[list[str]], cores: list[set[int]]) -> list[dict[str, float]]:
    """Run children side by side from one signal; what each of them found."""
    children = []
    for arguments, mine in zip(sides, cores, strict=True):
        command = [sys.executable, "-W", "ignore", __file__, "--child", *arguments]
        threads = str(len(mine))
        environment = os.environ | {"OMP_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"}
        pin = partial(os.sched_setaffinity, 0, mine)
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            preexec_fn=pin,
        )
        children.append(child)
    for child in children:
        while child.stdout and child.stdout.readline().strip() != "ready":
            if child.poll() is not None:
                raise RuntimeError(f"{child.args} ended before it began")
    for child in children:
        child.stdin and (child.stdin.write("\n"), child.stdin.flush())
    found = []
    for child in children:
        out, _ = child.communicate()
        found.append(json.loads(out.strip().splitlines()[-1]))
    return found


def pair(side: str, data: str, model: str, steps: int, seen: dict[str, list[float]]) -> float:
    """Seconds per million useful tokens of two runs."""
    shape = [side, data, model, str(steps)]
    if side == "plain":
        both = set(os.sched_getaffinity(0))
        runs = [race([[*shape, str(seed)]], [both])[0] for seed in (0, 1)]
        seconds = sum(run["seconds"] for run in runs)
    else:
        each = [{core} for core in sorted(os.sched_getaffinity(0))[:2]]
        runs = race([[*shape, "0"], [*shape, "1"]], each)
        seconds = max(run["seconds"] for run in runs)
    seen.setdefault(side, []).append(runs[0]["loss"])
    return seconds / sum(run["tokens"] for run in runs) * 1e6


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options.add_argument("--steps", type=int, default=60)
    options.add_argument("--repeats", type=int, default=3)
    chosen_ = options.parse_args()
    if chosen_.child:
        side, data, model, steps, seed = chosen_.child
        if side == "nosce":
            found = ours(data, model, int(steps), int(seed))
        else:
            found = theirs(data, model, int(steps), int(seed), best=side == "best")
        print(json.dumps(found))
        return
    torch.set_num_threads(1)
    for data in DATA:
        compare(data, "3x128", chosen_.steps, chosen_.repeats)
    for model in ("3x64", "3x128", "4x256"):
        share(model, chosen_.steps, chosen_.repeats)


def compare(data: str, model: str, steps: int, repeats: int) -> None:
    """Both of Trainer's sides against ours, in turns."""
    seen: dict[str, list[float]] = {}
    sides = {side: lambda side=side: pair(side, data, model, steps, seen) for side in ("nosce", "plain", "best")}
    found = in_turns(sides, repeats)
    for side in ("plain", "best"):
        gap = seen[side][0] / seen["nosce"][0] - 1
        note = (
            f"seconds per million useful tokens; last losses {seen['nosce'][0]:.4f} and {seen[side][0]:.4f} "
            f"({gap:+.2%}); matrix product {ceiling():.0f} GFLOP/s float32, "
            f"{ceiling(torch.bfloat16):.0f} bfloat16"
        )
        write("trainer", f"{data}, {model}, two runs, against Trainer {side}", found["nosce"], found[side], note)


def share(model: str, steps: int, repeats: int) -> None:
    """What share of the bare matrix product one run reaches, counting 6 operations a weight and token."""
    _, vocabulary = DATA["biographies"]()
    weights = Architecture.named(model).parameter_count(vocabulary)
    seconds, shares, bf16 = [], [], 0.0
    core = {min(os.sched_getaffinity(0))}
    for _ in range(repeats):
        run = race([["nosce", "biographies", model, str(steps), "0"]], [core])[0]
        bf16 = run["bf16"]
        seconds.append(run["seconds"] / run["tokens"] * 1e6)
        shares.append(6 * weights * run["tokens"] / run["seconds"] / 1e9 / ceiling())
    note = (
        f"{statistics.median(shares):.0%} of the float32 matrix product, computed in "
        f"{'bfloat16' if bf16 else 'float32'}; seconds per million useful tokens"
    )
    write("trainer", f"share of the ceiling, {model}", seconds, None, note)


if __name__ == "__main__":
    main()
