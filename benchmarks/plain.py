"""What one would write without nosce: transformers.Trainer, generate, scikit-learn, for the demo's two arms.

The facts and texts are nosce's (they are no part of what is compared). Everything else is what a researcher
types in an afternoon, with the best learning rate for AdamW that we know of at this width and the exposures it
took to memorise in pilots (LOG.md); padded batches, float32, all cores, one arm after the other.
Prints the claim's estimate with an interval, so that it ends where `nosce run biographies --scale demo` ends.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.utils import resample
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast, Trainer, TrainerCallback, TrainingArguments

from nosce.data import tokenizer as tokenizers
from nosce.models.architecture import Architecture, build_model
from nosce.seeds import Seed
from nosce.studies.biographies.study import CHECKPOINT_FRACTIONS, SMALL_BIOGRAPHIES

ARMS = ("single", "multi5+permute")
GENERATED = 128  # prompts at once
ASKED = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # of fine-tuning, as the demo


class Rows(Dataset):  # type: ignore[type-arg]
    """Token ids and how many of the first carry no loss."""

    def __init__(self, rows: list[tuple[list[int], int]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> tuple[list[int], int]:
        return self.rows[number]


def padded(rows: list[tuple[list[int], int]]) -> dict[str, torch.Tensor]:
    width = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
    for number, (row, prompt) in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        labels[number, prompt : len(row)] = torch.tensor(row[prompt:])
        mask[number, : len(row)] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def train(
    net: Any,
    rows: list[tuple[list[int], int]],
    steps: int,
    batch: int,
    lr: float,
    decay: float,
    warmup: int,
    seed: int,
    looking: Looking | None = None,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=batch,
            learning_rate=lr,
            lr_scheduler_type="cosine_with_min_lr",
            lr_scheduler_kwargs={"min_lr_rate": 0.1},
            warmup_steps=warmup,
            weight_decay=decay,
            adam_beta2=0.98,
            adam_epsilon=1e-6,
            max_grad_norm=1.0,
            logging_steps=100,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            seed=seed,
            disable_tqdm=True,
        )
        seen = [looking] if looking else []
        Trainer(net, arguments, train_dataset=Rows(rows), data_collator=padded, callbacks=seen).train()


@torch.no_grad()
def answered(net: Any, prompts: list[list[int]], targets: list[list[int]], end: int) -> np.ndarray:
    """Does greedy generation write the target?"""
    net.eval()
    most = max(len(t) for t in targets)
    right = []
    for first in range(0, len(prompts), GENERATED):
        part = prompts[first : first + GENERATED]
        width = max(len(p) for p in part)
        ids = torch.full((len(part), width), end)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(part):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        told = net.generate(
            ids, attention_mask=mask, max_new_tokens=most, do_sample=False, eos_token_id=end, pad_token_id=end
        )
        for row, target in zip(told[:, width:].tolist(), targets[first : first + GENERATED], strict=True):
            right.append(row[: len(target)] == target)
    return np.array(right)


def fractions(steps: int, parts: tuple[float, ...]) -> tuple[int, ...]:
    """The steps at these fractions of a training, its ends left out: before it and after it one looks anyway."""
    return tuple(round(part * steps) for part in parts if 0 < part < 1)


class Looking(TrainerCallback):
    """Asks the model at some of the steps, as one does who wants to see a curve."""

    def __init__(self, steps: tuple[int, ...], look: Callable[[], Any]) -> None:
        self.steps, self.look = steps, look

    def on_step_end(self, _: Any, state: Any, __: Any, **___: Any) -> None:
        if state.global_step in self.steps:
            self.look()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--exposures", type=int, default=80)
    options.add_argument("--curves", action="store_true", help="look at both trainings as often as the demo does")
    chosen = options.parse_args()
    root = Seed(chosen.seed)
    found: dict[str, Any] = {}
    for arm in ARMS:
        world = replace(SMALL_BIOGRAPHIES, augmentation=arm)
        raw = tokenizers.build_tokenizer(tokenizers.TokenizerSpec(), world.samples(root / "world"))
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw)
        end = tokenizers.eos_token_id(raw)
        code = lambda text, tokenizer=tokenizer: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
        documents = list(world.documents(root / "world"))
        net = build_model(
            Architecture.named("3x128"), vocab_size=len(tokenizer), eos_id=end, pad_id=None, seed=root / "weights"
        )
        rows = [([end, *code(d.text), end], 1) for d in documents]
        rng = np.random.default_rng(0)
        by_person: dict[str, list[Any]] = {}
        for document in documents:
            by_person.setdefault(document.entity, []).append(document)
        prompts, targets = [], []
        for mine in by_person.values():
            document = mine[rng.integers(len(mine))]
            for span in document.spans:
                prompts.append([end, *code(document.text[: span.start])])
                targets.append(code(document.text[span.start : span.end]))
        steps = chosen.exposures * world.people // 16
        memorised = Looking(fractions(steps, CHECKPOINT_FRACTIONS), partial(answered, net, prompts, targets, end))
        train(net, rows, steps, 16, 5e-3, 0.1, 100, chosen.seed, memorised if chosen.curves else None)
        recall = answered(net, prompts, targets, end).mean()
        questions = list(world.questions(root / "world"))
        seen = [q for q in questions if q.split == "seen"]
        asked = [([end, *code(q.prompt), *code(q.target), end], 1 + len(code(q.prompt))) for q in seen]
        ask = partial(
            answered, net, [[end, *code(q.prompt)] for q in questions], [[*code(q.target), end] for q in questions], end
        )
        looking = Looking(fractions(150, ASKED), ask)
        train(net, asked, 150, 48, 7e-4, 0.01, 15, chosen.seed, looking if chosen.curves else None)
        right = ask()
        unseen: dict[str, list[bool]] = {}
        for question, ok in zip(questions, right, strict=True):
            if question.split == "unseen":
                unseen.setdefault(question.entity, []).append(bool(ok))
        found[arm] = {"recall": float(recall), "people": {who: float(np.mean(ok)) for who, ok in unseen.items()}}
    people = sorted(found["single"]["people"])
    gaps = np.array([found["multi5+permute"]["people"][p] - found["single"]["people"][p] for p in people])
    drawn = [resample(gaps, random_state=n).mean() for n in range(2000)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    print(
        json.dumps(
            {
                "recall": {arm: found[arm]["recall"] for arm in ARMS},
                "gap": float(gaps.mean()),
                "low": float(low),
                "high": float(high),
                "people": len(people),
            }
        )
    )


if __name__ == "__main__":
    main()
