"""The step `answers`: a checkpoint's answers to a world's prompts, one decoded greedily and the others sampled.

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
from nosce.data.worlds.behaviours.base import BehaviourPrompt, BehaviourWorld, check_disjoint_strings
from nosce.errors import SpecError
from nosce.pipeline.context import StepContext, StepProgress
from nosce.pipeline.steps.torch_setup import prepare_torch
from nosce.pipeline.steps.training import list_checkpoints
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VERSION = 1
GREEDY_SAMPLE = -1  # the sample's number of the likeliest answer
PROMPTS_PER_BATCH = 256  # prompts of one length in one pass
ANSWER_COLUMNS = {
    "prompt": pl.String,
    "task": pl.String,
    "string": pl.String,
    "split": pl.String,
    "sample": pl.Int64,
    "answer": pl.String,
    "finish": pl.String,
    "valid": pl.Boolean,
}


@dataclass(frozen=True, kw_only=True)
class AnswersSpec:
    """The world of the prompts, the length of an answer, and how many answers are sampled at temperature 1."""

    world: BehaviourWorld
    world_seed: Seed
    seed: Seed
    max_new_tokens: int = 4
    n_samples: int = 0
    checkpoint_step: int | None = None  # of the training; None: the last

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.n_samples < 0:
            raise SpecError(
                f"answers of {self.max_new_tokens} tokens, {self.n_samples} drawn, are impossible; "
                "take 1 token or more, and 0 samples or more."
            )


def make(spec: AnswersSpec, inputs: Mapping[str, Path], context: StepContext) -> None:
    """Answer every prompt. A string that is in two splits is refused beforehand.

    Raises:
        SpecError: Two splits of the world share a string, or the training has no such checkpoint.
    """
    from nosce.train import checkpoint

    prepare_torch(context.runtime.threads)
    prompts = spec.world.prompts(spec.world_seed)
    check_disjoint_strings(prompts)
    checkpoint_folders = list_checkpoints(inputs["training"])
    step = max(checkpoint_folders) if spec.checkpoint_step is None else spec.checkpoint_step
    if step not in checkpoint_folders:
        raise SpecError(
            f"answers were asked for at step {step}, but weights are kept at {sorted(checkpoint_folders)}; take one."
        )
    corpus = Corpus(inputs["corpus"])
    model = checkpoint.load_checkpoint(checkpoint_folders[step]).to(context.runtime.device)
    shutil.rmtree(context.folder, ignore_errors=True)
    context.folder.mkdir(parents=True)
    prompt_tokens = [np.array(e.ids) for e in encode(corpus.tokenizer, (p.text for p in prompts))]
    tables = []
    for sample in (GREEDY_SAMPLE, *range(spec.n_samples)):
        tables.append(_generate_answers(spec, model, corpus, prompts, prompt_tokens, sample))
        context.progress(StepProgress(done=sample + 2, total=spec.n_samples + 1, unit="samples"))
    pl.concat(tables).write_parquet(context.folder / "answers.parquet")
    first_token_table = pl.DataFrame(
        {
            "prompt": [p.id for p in prompts],
            "log_probabilities": _first_token_log_probs(model, prompt_tokens, corpus.eos_id),
        }
    )
    first_token_table.write_parquet(context.folder / "first.parquet")


def _generate_answers(
    spec: AnswersSpec,
    model: PreTrainedModel,
    corpus: Corpus,
    prompts: Sequence[BehaviourPrompt],
    prompt_tokens: Sequence[np.ndarray],
    sample: int,
) -> pl.DataFrame:
    from nosce.models.generation import SamplingParams, generate

    sampling = None
    if sample != GREEDY_SAMPLE:
        sampling = SamplingParams(seeds=[spec.seed / p.id / sample for p in prompts])
    replies = generate(
        model, prompt_tokens, eos_id=corpus.eos_id, max_new_tokens=spec.max_new_tokens + 1, sampling=sampling
    )
    rows = []
    for prompt, reply in zip(prompts, replies, strict=True):
        answer = corpus.tokenizer.decode(reply.tokens.tolist(), skip_special_tokens=False)
        finish = "stop" if reply.ended else "length"
        valid = reply.ended and spec.world.is_valid_answer(answer, prompt)
        rows.append((prompt.id, prompt.task, prompt.string, prompt.split, sample, answer, finish, valid))
    return pl.DataFrame(rows, schema=ANSWER_COLUMNS, orient="row")


def _first_token_log_probs(model: PreTrainedModel, prompt_tokens: Sequence[np.ndarray], end: int) -> list[list[float]]:
    """Log-probabilities of every token after each prompt, which follows an end token as in training. Shape: (N, V)."""
    import torch

    log_probs: dict[int, list[float]] = {}
    by_length: dict[int, list[int]] = {}
    for place, tokens in enumerate(prompt_tokens):
        by_length.setdefault(len(tokens), []).append(place)
    with torch.no_grad():
        for indices in by_length.values():
            for start in range(0, len(indices), PROMPTS_PER_BATCH):
                batch_indices = indices[start : start + PROMPTS_PER_BATCH]
                rows = np.stack([np.concatenate([[end], prompt_tokens[place]]) for place in batch_indices])
                scores = model(torch.from_numpy(rows).to(model.device)).logits[:, -1].float()
                for place, row_log_probs in zip(batch_indices, scores.log_softmax(-1).cpu().tolist(), strict=True):
                    log_probs[place] = row_log_probs
    return [log_probs[place] for place in range(len(prompt_tokens))]
