"""The configuration of a training: what changes its result, and separately what only changes its speed.

Only `TrainingConfig`, `QAMixture` and `LoRA` are hashed into the keys of steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from nosce.errors import SpecError
from nosce.store.spec import LATER
from nosce.store.typecheck import require_types

OptimizerName = Literal["adamw", "muon"]
Dtype = Literal["float32", "bfloat16", "auto"]
LRSchedule = Literal["cosine", "linear"]
OPTIMIZER_NAMES, DTYPE_NAMES, LR_SCHEDULES = get_args(OptimizerName), get_args(Dtype), get_args(LRSchedule)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything about a training that changes its result.

    Defaults for which no reason is given follow arXiv:2309.14316, section 2.1 and appendix B.

    Args:
        steps: Optimizer steps.
        batch_size: Texts per optimizer step.
        window: Tokens per packed row, in which a text attends to the texts before it. None: each text attends to
            itself alone, so that no padding and no other text enters its loss.
        grad_accum_steps: Micro-batches of one optimizer step, to save memory. 1: the whole batch at once.
        optimizer: "adamw", or "muon" for the matrices inside the blocks and AdamW for everything else.
        peak_lr: Peak learning rate of AdamW.
        muon_lr: Peak learning rate of Muon; 0.02 is the value of Jordan et al. 2024.
        muon_momentum: Momentum of Muon; 0.95 is the value of Jordan et al. 2024.
        warmup_steps: Steps of linear warm-up, and at most a tenth of all steps. A tenth of the paper's 1,000, since
            trainings here are shorter.
        min_lr_ratio: Final learning rate, as a fraction of the peak.
        weight_decay: Weight decay of matrices; biases and norms have none.
        betas: Decay rates of AdamW's moments. The second is 0.98 in place of 0.999, since small trainings are short.
        epsilon: Added to the root of AdamW's second moment.
        max_grad_norm: Gradients are clipped to this norm over all weights; 1 is the usual value.
        dtype: Number format of forward and backward pass; the weights stay float32. "auto": the faster one on this
            machine, so the result depends on the machine; the default does not.
        prompt_loss_weight: Weight of prompt tokens in the loss, from 0 to 1: the prompts of questions and the first
            `Document.prompt_chars` of documents. 0: a model learns answers, not to ask questions.
        checkpoint_fractions: Fractions of the steps after which a checkpoint is kept. The last is 1: the final weights
            are always kept.
        lr_schedule: How the learning rates fall after the warm-up: "cosine", or "linear" as in the code released with
            arXiv:2305.11169.
    """

    steps: int
    batch_size: int
    window: int | None = None
    grad_accum_steps: int = 1
    optimizer: OptimizerName = "adamw"
    peak_lr: float = 1e-3
    muon_lr: float = 0.02
    muon_momentum: float = 0.95
    warmup_steps: int = 100
    min_lr_ratio: float = 0.1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-6
    max_grad_norm: float = 1.0
    dtype: Dtype = "float32"
    prompt_loss_weight: float = 0.0
    checkpoint_fractions: tuple[float, ...] = (1.0,)
    lr_schedule: LRSchedule = field(default="cosine", metadata=LATER)

    def __post_init__(self) -> None:
        self._check_name("optimizer", self.optimizer, OPTIMIZER_NAMES)
        self._check_name("lr_schedule", self.lr_schedule, LR_SCHEDULES)
        self._check_name("dtype", self.dtype, DTYPE_NAMES)
        require_types(self)
        self._check_sizes()
        self._check_checkpoints()
        self._check_rates()

    def _check_sizes(self) -> None:
        if min(self.steps, self.batch_size) < 1 or (self.window is not None and self.window < 2):
            raise SpecError(
                f"TrainingConfig of {self.steps} steps of {self.batch_size} texts in rows of {self.window} trains "
                "nothing; take at least one step, one text and rows of two tokens."
            )
        if not 1 <= self.grad_accum_steps <= self.batch_size:
            raise SpecError(
                f"TrainingConfig.grad_accum_steps={self.grad_accum_steps} does not split a batch of {self.batch_size} "
                "texts into non-empty micro-batches; take 1 to batch_size."
            )

    def _check_checkpoints(self) -> None:
        fractions = self.checkpoint_fractions
        if not fractions or not all(0 <= fraction <= 1 for fraction in fractions) or fractions[-1] != 1:
            raise SpecError(
                f"TrainingConfig.checkpoint_fractions={fractions} must be fractions between 0 and 1, the last of them "
                "1, so that the final weights are kept."
            )

    def _check_name(self, field: str, name: str, known: tuple[str, ...]) -> None:
        if name not in known:
            raise SpecError(f"TrainingConfig.{field}={name!r} is not known; take one of {', '.join(known)}.")

    def _check_rates(self) -> None:
        if not (
            0 <= self.weight_decay < math.inf
            and self.warmup_steps >= 0
            and all(0 <= beta < 1 for beta in self.betas)
            and 0 < self.epsilon < math.inf
        ):
            raise SpecError(
                f"TrainingConfig with weight_decay={self.weight_decay}, warmup_steps={self.warmup_steps}, "
                f"betas={self.betas}, epsilon={self.epsilon} cannot learn; weight_decay and warmup_steps must be 0 or "
                "more, betas from 0 to below 1, and epsilon above 0."
            )
        positive = all(0 < rate < math.inf for rate in (self.peak_lr, self.muon_lr, self.max_grad_norm))  # not NaN
        fractions = 0 <= self.min_lr_ratio <= 1 and 0 <= self.muon_momentum < 1 and 0 <= self.prompt_loss_weight <= 1
        if not (positive and fractions):
            raise SpecError(
                f"TrainingConfig with peak_lr={self.peak_lr}, muon_lr={self.muon_lr}, "
                f"max_grad_norm={self.max_grad_norm}, min_lr_ratio={self.min_lr_ratio}, "
                f"muon_momentum={self.muon_momentum}, prompt_loss_weight={self.prompt_loss_weight} cannot learn; the "
                "first three must be positive and the others fractions."
            )

    @property
    def checkpoint_steps(self) -> tuple[int, ...]:
        """The steps after which a checkpoint is kept, in order and without repeats."""
        return tuple(sorted({round(fraction * self.steps) for fraction in self.checkpoint_fractions}))

    @property
    def log_every(self) -> int:
        """Steps between two lines of metrics."""
        return max(1, self.steps // 200)

    def lr_multiplier(self, step: int) -> float:
        """Fraction of the peak learning rates at a step counted from 0: linear warm-up, then the schedule's decay."""
        warmup = min(self.warmup_steps, self.steps // 10)
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, self.steps - warmup)
        if self.lr_schedule == "linear":
            return self.min_lr_ratio + (1 - self.min_lr_ratio) * (1 - progress)
        return self.min_lr_ratio + (1 - self.min_lr_ratio) * (1 + math.cos(math.pi * progress)) / 2

    def lr(self, step: int) -> float:
        """Learning rate of AdamW at a step counted from 0."""
        return self.peak_lr * self.lr_multiplier(step)


@dataclass(frozen=True, kw_only=True)
class QAMixture:
    """Questions of the seen split mixed into the documents of one training.

    Args:
        qa_fraction: Fraction of a batch's texts that are questions.
        start_fraction: Fraction of the steps that pass before the first question. 0: questions from the first step.
    """

    qa_fraction: float
    start_fraction: float = 0.0

    def __post_init__(self) -> None:
        require_types(self)
        if not (0 < self.qa_fraction < 1 and 0 <= self.start_fraction < 1):
            raise SpecError(
                f"QAMixture(qa_fraction={self.qa_fraction}, start_fraction={self.start_fraction}) mixes nothing; take "
                "a qa_fraction between 0 and 1, and a start_fraction from 0 to below 1."
            )

    def start_step(self, steps: int) -> int:
        """The first step with questions, in a training of `steps` steps."""
        return int(self.start_fraction * steps)


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """Low-rank updates of a frozen model (Hu et al. 2021), with the defaults of arXiv:2309.14316, section 2.1.

    Args:
        rank: Rank of the update of query and value matrices. Where a family fuses query, key and value in one matrix,
            the update is on that matrix, unless `query_value_apart`.
        embedding_rank: Rank of the update of the input embedding; 0 leaves the embedding frozen.
        alpha: Scale of the update, independent of the rank; 2 is the usual `lora_alpha` of twice the rank.
        query_value_apart: Where a family fuses query, key and value in one matrix: update query and value by factors
            of their own, each of this rank, and leave the key as it is. False: one update of the fused matrix.
    """

    rank: int = 8
    embedding_rank: int = 128
    alpha: float = 2.0
    query_value_apart: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        require_types(self)
        if self.rank < 1 or self.embedding_rank < 0 or not 0 < self.alpha < math.inf:
            raise SpecError(
                f"LoRA of rank {self.rank}, embedding rank {self.embedding_rank} and alpha {self.alpha} updates "
                "nothing; take a rank of 1 or more, 0 or more for the embedding, and an alpha above 0."
            )


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """What changes the speed and the cost of a run and never its result; not hashed.

    Args:
        threads: CPU threads of one step. 1: a second thread gains little on small models, steps side by side use the
            cores better, and sums over one thread are reproducible.
        device: Device of torch, e.g. "cuda". The CPU is everywhere.
        processes: Processes of one training, each with an equal share of the rows of a step. With "cuda" each has a
            GPU of its own. The gradient is a sum in another order, so losses agree to rounding.
        sharded: Split weights, gradients and moments of a training over its processes, for models that outgrow a card;
            else every process has all of them. Losses agree to rounding.
        gradient_checkpointing: Keep only the inputs of a model's blocks and compute the rest a second time in the
            backward pass: a training takes a third longer and a fraction of the memory. Losses agree to rounding.
        max_cost: Most that a run may spend on requests to endpoints, in the currency of their prices; what its earlier
            commands spent counts. None: the limit of each `EndpointConfig` holds.
        ledger_name: Name of the file in the store's `replies/` in which a run's costs are added up. None: the costs of
            a step are its own.
        save_interval_seconds: Shortest time between two saves of the state for resuming. Saving never takes more than
            a fiftieth of the run, so the interval grows with the model.
    """

    threads: int = 1
    device: str = "cpu"
    processes: int = 1
    sharded: bool = False
    gradient_checkpointing: bool = False
    max_cost: float | None = None
    ledger_name: str | None = None
    save_interval_seconds: float = 5.0

    def __post_init__(self) -> None:
        if min(self.threads, self.processes) < 1:
            raise SpecError(
                f"RuntimeConfig of {self.threads} threads and {self.processes} processes computes nothing; take at "
                "least one of each."
            )
        if self.sharded and self.processes == 1:
            raise SpecError("RuntimeConfig(sharded=True) splits a model over 1 process; take two processes or more.")
