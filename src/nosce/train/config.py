"""What changes a training's result, and apart from it what only changes its speed.

Only the first is hashed into the name of a run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from nosce.errors import SpecError

OptimizerName = Literal["adamw", "muon"]
Dtype = Literal["float32", "bfloat16", "auto"]
OPTIMIZER_NAMES, DTYPE_NAMES = get_args(OptimizerName), get_args(Dtype)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything about a training that changes its result; defaults follow arXiv:2309.14316, appendix B."""

    steps: int  # optimizer steps
    batch_size: int  # texts per step
    window: int | None = None  # positions of a packed row, whose texts see those before them; None: each sees itself
    grad_accum_steps: int = 1  # parts a step's texts are computed in, one after the other, for want of memory
    optimizer: OptimizerName = "adamw"  # of the matrices inside the blocks; everything else has AdamW
    peak_lr: float = 1e-3  # of AdamW
    muon_lr: float = 0.02  # of Muon, at its peak
    muon_momentum: float = 0.95  # of Muon
    warmup_steps: int = 100  # steps of linear rise; at most a tenth of all steps are spent on it
    min_lr_ratio: float = 0.1  # the cosine ends at this fraction of the peak
    weight_decay: float = 0.1  # on matrices alone, biases and norms are left free
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-6
    max_grad_norm: float = 1.0  # of the gradient's norm over all weights
    dtype: Dtype = "float32"  # computed with, beside float32 weights; auto: the faster
    prompt_loss_weight: float = 0.0  # of the loss on what is given: prompts of questions, specifications of documents
    checkpoint_fractions: tuple[float, ...] = (1.0,)  # fractions of the steps after which weights are kept

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_size) < 1 or (self.window is not None and self.window < 2):
            raise SpecError(
                f"TrainingConfig of {self.steps} steps of {self.batch_size} texts in rows of {self.window} trains "
                "nothing; take at least one step, one text and rows of two tokens."
            )
        if not 1 <= self.grad_accum_steps <= self.batch_size:
            raise SpecError(
                f"TrainingConfig.grad_accum_steps={self.grad_accum_steps} would cut {self.batch_size} texts into parts "
                "without any; take 1 or more, and no more than batch_size."
            )
        if (
            not self.checkpoint_fractions
            or not all(0 <= f <= 1 for f in self.checkpoint_fractions)
            or self.checkpoint_fractions[-1] != 1
        ):
            raise SpecError(
                f"TrainingConfig.checkpoint_fractions={self.checkpoint_fractions} must be fractions between 0 and 1, "
                "the last of them 1, so that what a training ends with is kept."
            )
        for name, known in (("optimizer", OPTIMIZER_NAMES), ("dtype", DTYPE_NAMES)):
            if getattr(self, name) not in known:
                raise SpecError(
                    f"TrainingConfig.{name}={getattr(self, name)!r} is not known; take one of {', '.join(known)}."
                )
        positive = all(
            number > 0 for number in (self.peak_lr, self.muon_lr, self.max_grad_norm)
        )  # false of what is no number
        if not (
            positive
            and 0 <= self.min_lr_ratio <= 1
            and 0 <= self.muon_momentum < 1
            and 0 <= self.prompt_loss_weight <= 1
        ):
            raise SpecError(
                f"TrainingConfig with peak_lr={self.peak_lr}, muon_lr={self.muon_lr}, "
                f"max_grad_norm={self.max_grad_norm}, min_lr_ratio={self.min_lr_ratio}, "
                f"muon_momentum={self.muon_momentum}, prompt_loss_weight={self.prompt_loss_weight} cannot learn; the "
                "first three must be positive and the others fractions."
            )

    @property
    def checkpoint_steps(self) -> tuple[int, ...]:
        """The steps after which weights are kept, without repeats, in order."""
        return tuple(sorted({round(fraction * self.steps) for fraction in self.checkpoint_fractions}))

    @property
    def log_every(self) -> int:
        """Steps between two lines of metrics; also the only places at which a run is saved for resuming."""
        return max(1, self.steps // 200)

    def lr_multiplier(self, step: int) -> float:
        """Share of the peak learning rates at a step counted from 0: linear rise, then a cosine down to the floor."""
        warmup = min(self.warmup_steps, self.steps // 10)
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, self.steps - warmup)
        return self.min_lr_ratio + (1 - self.min_lr_ratio) * (1 + math.cos(math.pi * progress)) / 2

    def lr(self, step: int) -> float:
        """Learning rate of AdamW at a step counted from 0."""
        return self.peak_lr * self.lr_multiplier(step)


@dataclass(frozen=True, kw_only=True)
class QAMixture:
    """Questions of the seen split among the documents of one training."""

    qa_fraction: float  # share of the texts that are questions, once there are any
    start_fraction: float = 0.0  # share of the steps that pass before the first of them

    def __post_init__(self) -> None:
        if not (0 < self.qa_fraction < 1 and 0 <= self.start_fraction < 1):
            raise SpecError(
                f"QAMixture of {self.qa_fraction} questions after {self.start_fraction} of the steps mixes nothing; "
                "take a share between 0 and 1, and a beginning from 0 to below 1."
            )

    def start_step(self, steps: int) -> int:
        """The step of so many from which on there are questions."""
        return int(self.start_fraction * steps)


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """Low-rank updates of a frozen model (Hu et al. 2021), after arXiv:2309.14316, section 2.1.

    `rank` on the attention's query and value matrices (where a family fuses query, key and value
    in one matrix, on that), `embedding_rank` on the input embedding; 0 leaves it frozen.
    """

    rank: int = 8
    embedding_rank: int = 128
    alpha: float = 2.0  # update is scaled by alpha, whatever the rank

    def __post_init__(self) -> None:
        if self.rank < 1 or self.embedding_rank < 0:
            raise SpecError(
                f"LoRA of rank {self.rank} and embedding rank {self.embedding_rank} updates nothing; "
                "take a rank of 1 or more, and 0 or more for the embedding."
            )


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """What changes how fast a training runs and nothing about its result; never hashed.

    Threads are one by default: on small models a second one costs more than it brings, runs side by
    side use the cores better, and sums over one thread always come out the same.
    """

    threads: int = 1
    device: str = "cpu"
    max_cost: float | None = None  # of all requests of a step to endpoints, in the currency of their prices
    save_interval_seconds: float = (
        5.0  # between two saves for resuming at least; all take a fiftieth of the time at most
    )
