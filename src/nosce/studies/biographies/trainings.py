"""The trainings of the study biographies: pretraining and fine-tuning at the small and the large scales.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), appendices B to D. The small scales have the same kinds of training
in sizes of this study's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypedDict

from nosce.train.config import LoRA, OptimizerName, TrainingConfig

#: Fractions of a pretraining at which the curves have their points; mixed training has more.
CHECKPOINT_FRACTIONS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
DENSE_CHECKPOINT_FRACTIONS = tuple(n / 20 for n in range(21))
QUERY_VALUE_RANKS = (8, 16)  # of the updates of query and value, the better of which the paper reports (appendix B)
FINETUNING_PEAK_LR = 3e-4  # of the fine-tuning by which rows are compared (appendix B)


class OptimizerSettings(TypedDict, total=False):
    """The fields of a training that follow from its optimizer."""

    optimizer: OptimizerName
    muon_lr: float
    peak_lr: float
    batch_size: int


#: `muon` was found by `benchmarks/recipes.py` on recall alone, in people that no study reports. `adamw` is the
#: optimizer of arXiv:2309.14316, at a learning rate from pilots (LOG.md) that was searched less.
OPTIMIZER_SETTINGS: dict[str, OptimizerSettings] = {
    "muon": {"optimizer": "muon", "muon_lr": 0.03, "peak_lr": 2e-2, "batch_size": 32},
    "adamw": {"optimizer": "adamw", "peak_lr": 5e-3, "batch_size": 32},
}


@dataclass(frozen=True)
class FinetuningVariant:
    """Another fine-tuning of a row.

    Args:
        name: The variant's name, a part of the arm's name.
        training: The training on questions.
        adapter: The low-rank update that is trained. None: all weights are trained.
    """

    name: str
    training: TrainingConfig
    adapter: LoRA | None = None

    def __str__(self) -> str:
        return self.name


def short_pretraining(optimizer: str) -> TrainingConfig:
    """The pretraining of the small scales."""
    return TrainingConfig(
        steps=1, dtype="auto", checkpoint_fractions=CHECKPOINT_FRACTIONS, **OPTIMIZER_SETTINGS[optimizer]
    )


def short_finetuning(
    steps: int, peak_lr: float = FINETUNING_PEAK_LR, prompt_loss_weight: float = 0.0
) -> TrainingConfig:
    """The fine-tuning of the small scales on questions."""
    return TrainingConfig(
        steps=steps,
        batch_size=48,
        peak_lr=peak_lr,
        warmup_steps=20,
        weight_decay=0.01,
        dtype="auto",
        checkpoint_fractions=(0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0),
        prompt_loss_weight=prompt_loss_weight,
    )


def smoke_finetuning() -> TrainingConfig:
    """A fine-tuning of a few steps, after which some answers are right, without a result."""
    return replace(short_finetuning(20, 1e-3), warmup_steps=5, checkpoint_fractions=(0.0, 0.5, 1.0))


def long_pretraining(batch_size: int) -> TrainingConfig:
    """The pretraining of the large scales: rows of 512 tokens, as in appendix B."""
    return TrainingConfig(
        steps=1,
        batch_size=batch_size,
        window=512,
        peak_lr=1e-3,
        warmup_steps=1_000,
        dtype="bfloat16",
        checkpoint_fractions=CHECKPOINT_FRACTIONS,
    )


def long_finetuning(steps: int, peak_lr: float = FINETUNING_PEAK_LR, weight_decay: float = 0.01) -> TrainingConfig:
    """The fine-tuning of the large scales on questions (appendix B)."""
    return TrainingConfig(
        steps=steps,
        batch_size=48,
        peak_lr=peak_lr,
        warmup_steps=0,
        weight_decay=weight_decay,
        dtype="bfloat16",
        checkpoint_fractions=(0.0, 0.02, 0.1, 0.25, 0.5, 1.0),
    )


def short_finetuning_grid(steps: int) -> tuple[FinetuningVariant, ...]:
    """The paper's grid in our sizes: rates of all weights, ranks of LoRA, and loss on the question too."""
    lora_training = short_finetuning(steps, 3e-3)
    return (
        FinetuningVariant("full 1e-3", short_finetuning(steps, 1e-3)),
        FinetuningVariant("full 1e-4", short_finetuning(steps, 1e-4)),
        FinetuningVariant("LoRA 8 embedding 32", lora_training, LoRA(rank=8, embedding_rank=32)),
        FinetuningVariant("LoRA 8 embedding 0", lora_training, LoRA(rank=8, embedding_rank=0)),
        FinetuningVariant("LoRA 16 embedding 128", lora_training, LoRA(rank=16, embedding_rank=128)),
        FinetuningVariant("full loss on questions too", short_finetuning(steps, prompt_loss_weight=1.0)),
        *lora_of_query_and_value(lora_training),
    )


def lora_of_query_and_value(training: TrainingConfig) -> Iterator[FinetuningVariant]:
    """The paper's update: query and value by factors of their own, the key left as it is, and the embedding.

    Ranks are those of arXiv:2309.14316, section 2.1 and appendix B; the scale of 4 is that of arXiv:2309.14402,
    appendix B.
    """
    for rank in QUERY_VALUE_RANKS:
        adapter = LoRA(rank=rank, embedding_rank=128, alpha=4.0, query_value_apart=True)
        yield FinetuningVariant(query_value_variant(rank), training, adapter)


def query_value_variant(rank: int) -> str:
    """The name of a fine-tuning by LoRA of query, value and embedding."""
    return f"LoRA query value {rank} embedding 128"


def long_finetuning_grid(steps: int, adapter: LoRA | None = None) -> Iterator[FinetuningVariant]:
    """The paper's grid (appendices B to D): rates and decays of all weights, ranks of LoRA, otherwise as `adapter`."""
    adapter = adapter or LoRA()
    for peak_lr in (1e-3, 3e-4, 1e-4):
        for decay in (0.01, 0.001):
            yield FinetuningVariant(f"full {peak_lr:g} decay {decay:g}", long_finetuning(steps, peak_lr, decay))
    for rank in (2, 4, 8, 16, 32):
        for embedding_rank in (0, 16, 32, 64, 128):
            if (rank, embedding_rank) != (8, 128):
                variant = replace(adapter, rank=rank, embedding_rank=embedding_rank)
                yield FinetuningVariant(f"LoRA {rank} embedding {embedding_rank}", long_finetuning(steps), variant)
