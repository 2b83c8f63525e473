"""The step `answers`: what a checkpoint answers to a world's prompts, once as it prefers and as often as is drawn.

answers.parquet    one row a prompt and sample: its task, string and split, the answer, what became of it
first.parquet      one row a prompt: the log-probability of every token as the answer's first
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from nosce.data.corpus import Corpus
from nosce.data.packing import encode
from nosce.data.worlds.behaviours.base import Behaviours, Prompt, apart
from nosce.errors import SpecError
from nosce.pipeline.context import Job
from nosce.pipeline.steps.training import checkpoints
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VERSION = 1
GREEDY = -1  # the sample's number of the likeliest answer
TOGETHER = 256  # prompts of one length in one pass
COLUMNS = {"prompt": pl.String, "task": pl.String, "string": pl.String, "split": pl.String, "sample": pl.Int64,
           "answer": pl.String, "finish": pl.String, "valid": pl.Boolean}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AnswersSpec:
    """Whose prompts, how long an answer may be, and how many are drawn at temperature 1 beside the likeliest."""

    world: Behaviours
    world_seed: Seed
    seed: Seed
    tokens: int = 4
    draws: int = 0
    step: int | None = None  # of the training; None: the last

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.draws < 0:
            raise SpecError(
                f"answers of {self.tokens} tokens, {self.draws} drawn, cannot be had; take a token at least."
            )


def make(spec: AnswersSpec, inputs: Mapping[str, Path], job: Job) -> None:
    """Ask every prompt; a string that is in two splits is refused before anything is asked.

    Raises:
        SpecError: The world's strings are not apart, or the training has no such step.
    """
    import torch

    from nosce.train import checkpoint

    torch.set_num_threads(job.machine.threads)
    prompts = spec.world.prompts(spec.world_seed)
    apart(prompts)
    kept = checkpoints(inputs["training"])
    step = max(kept) if spec.step is None else spec.step
    if step not in kept:
        raise SpecError(f"answers were asked for at step {step}, but weights are kept at {sorted(kept)}; take one.")
    corpus = Corpus(inputs["corpus"])
    model = checkpoint.load(kept[step]).to(job.machine.device)
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    asked = [np.array(e.ids) for e in encode(corpus.tokenizer, (p.text for p in prompts))]
    tables = []
    for sample in (GREEDY, *range(spec.draws)):
        tables.append(_answered(spec, model, corpus, prompts, asked, sample))
        job.progress(sample + 2, spec.draws + 1, 0.0, float("nan"))
    pl.concat(tables).write_parquet(job.folder / "answers.parquet")
    first = pl.DataFrame({"prompt": [p.id for p in prompts], "log_probabilities": _first(model, asked, corpus.end)})
    first.write_parquet(job.folder / "first.parquet")


def _answered(
    spec: AnswersSpec,
    model: PreTrainedModel,
    corpus: Corpus,
    prompts: Sequence[Prompt],
    asked: Sequence[np.ndarray],
    sample: int,
) -> pl.DataFrame:
    from nosce.models.generation import Sampling, generate

    sampling = None
    if sample != GREEDY:
        sampling = Sampling(seeds=[spec.seed / p.id / sample for p in prompts])
    replies = generate(model, asked, end=corpus.end, most=spec.tokens + 1, sampling=sampling)
    rows = []
    for prompt, reply in zip(prompts, replies, strict=True):
        answer = corpus.tokenizer.decode(reply.tokens.tolist(), skip_special_tokens=False)
        finish = "stop" if reply.ended else "length"
        valid = reply.ended and spec.world.valid(answer, prompt)
        rows.append((prompt.id, prompt.task, prompt.string, prompt.split, sample, answer, finish, valid))
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def _first(model: PreTrainedModel, asked: Sequence[np.ndarray], end: int) -> list[list[float]]:
    """Log-probabilities of every token behind each prompt, as texts are trained: behind `end`. Shape: (N, V)."""
    import torch

    found: dict[int, list[float]] = {}
    by_length: dict[int, list[int]] = {}
    for place, tokens in enumerate(asked):
        by_length.setdefault(len(tokens), []).append(place)
    with torch.no_grad():
        for places in by_length.values():
            for start in range(0, len(places), TOGETHER):
                part = places[start : start + TOGETHER]
                rows = np.stack([np.concatenate([[end], asked[place]]) for place in part])
                scores = model(torch.from_numpy(rows).to(model.device)).logits[:, -1].float()
                for place, logs in zip(part, scores.log_softmax(-1).cpu().tolist(), strict=True):
                    found[place] = logs
    return [found[place] for place in range(len(asked))]
