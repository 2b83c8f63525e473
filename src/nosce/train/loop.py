"""The training loop: one function for every study, model and stage.

The batch of a step is a function of seed and step. A killed run therefore resumes from its last save and ends with the
same bytes. The loop knows no task: the dataset says which tokens carry loss.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nosce.data.masking import WholeWordMasking
from nosce.data.packing import TokenDataset
from nosce.data.sampling import Batch, EpochSampler, MixtureSampler, pack
from nosce.errors import SpecError, TrainingError
from nosce.models.logits import logits_path
from nosce.models.number_format import Precision
from nosce.models.positions import check_positions
from nosce.models.varlen import ForwardFunction, added_states, varlen_forward
from nosce.store.files import SCRATCH
from nosce.train import checkpoint
from nosce.train.config import RuntimeConfig, TrainingConfig
from nosce.train.optimizer import NamedParameters, Optimizer, block_matrix_names
from nosce.train.precision import MasterWeights
from nosce.train.sharding import ShardedWeights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from nosce.train.parallel import ProcessGroup

PREFETCH_STEPS = 4  # steps whose batches are prepared in advance while an accelerator computes
CheckpointCallback = Callable[[int], None]
ProgressCallback = Callable[[int, int, float, float], None]  # steps done, steps in all, tokens per second, loss


def train(
    model: PreTrainedModel,
    dataset: TokenDataset,
    sampler: EpochSampler | MixtureSampler,
    config: TrainingConfig,
    *,
    eos_id: int,
    folder: Path,
    on_checkpoint: CheckpointCallback,
    on_progress: ProgressCallback = lambda *_: None,
    runtime: RuntimeConfig = RuntimeConfig(),  # noqa: B008  # frozen
    precision: Precision = "float32",
    masking: WholeWordMasking | None = None,
    group: ProcessGroup | None = None,
) -> None:
    """Train a model in place on packed batches, with metrics and the state for resuming in `folder`.

    Args:
        model: Any transformers model; only weights that require a gradient are trained.
        dataset: The texts, with the tokens that carry loss.
        sampler: Chooses the texts of each step.
        config: The training's configuration.
        eos_id: The token that opens each row or text.
        folder: Gets `metrics.jsonl` (step, loss in nats per weighted token, learning rate, gradient norm, tokens with
            loss in that step) and `scratch/`, from which an interrupted run resumes.
        on_checkpoint: Called after each step of `config.checkpoint_steps` with the number of steps taken.
        on_progress: Called at each line of metrics with steps taken, all steps, tokens per second, and loss.
        runtime: What changes only the speed.
        precision: Number format of forward and backward pass; the weights are float32 either way.
        masking: Chooses the masked words of a masked language model. None: next-token prediction.
        group: The processes that share the rows of each step; only the first one writes and calls back.

    Raises:
        SpecError: The model's logits do not belong to a text (`logits_path`), or its rotary positions depend on the
            batch at this length.
        TrainingError: The loss or its gradient is not a finite number.
    """
    _check_model(model, config.window or int(dataset.lengths.max()))
    if not (is_first := group is None or group.rank == 0):
        on_checkpoint = on_progress = _ignore
    master_weights = _master_weights(model, precision, runtime, group)
    parameters = master_weights.trainable_parameters
    on_checkpoint = _after_gathering(master_weights, on_checkpoint)
    device = master_weights.compute_model.device.type
    optimizer = Optimizer(parameters, config, block_matrix_names(model), device=device)
    start_step, pending_losses = checkpoint.restore_training_state(folder / SCRATCH, parameters, optimizer)
    master_weights.update_compute_weights()
    if start_step == 0 and 0 in config.checkpoint_steps:
        on_checkpoint(0)
    progress = _Progress(folder if is_first else None, start_step, config, on_progress, pending_losses)
    saver = _StateSaver(folder, parameters, optimizer, progress, runtime, group)
    batches = _batches(dataset, sampler, config, start_step, eos_id, runtime, masking)
    with varlen_forward(master_weights.compute_model.train()) as forward:
        for step, parts in enumerate(batches, start_step):
            nats, loss_tokens = _accumulate_gradients(master_weights, forward, parts, group)
            progress.add(step + 1, nats, optimizer.clipped_step(step), loss_tokens)
            master_weights.update_compute_weights()
            if step + 1 in config.checkpoint_steps:
                on_checkpoint(step + 1)
            saver.save_if_due(step + 1)
    progress.log.flush()


def _check_model(model: PreTrainedModel, longest: int) -> None:
    """Refuse a model whose logits do not belong to a text of so many tokens."""
    logits_path(model)
    check_positions(model, longest)


def _master_weights(
    model: PreTrainedModel, precision: Precision, runtime: RuntimeConfig, group: ProcessGroup | None
) -> MasterWeights | ShardedWeights:
    """The weights that are trained, and the model that computes, as the runtime asks for them."""
    if runtime.sharded:
        assert group is not None
        weights: MasterWeights | ShardedWeights = ShardedWeights(model, precision, group)
    else:
        weights = MasterWeights(model, precision)
    if runtime.gradient_checkpointing:
        enable_gradient_checkpointing(weights.compute_model)
    return weights


def _after_gathering(weights: MasterWeights | ShardedWeights, on_checkpoint: CheckpointCallback) -> CheckpointCallback:
    """The callback, for which the trained weights lie in the given model."""

    def call(step: int) -> None:
        weights.gather()
        on_checkpoint(step)

    return call


def _ignore(*_: object) -> None:
    """Another process of the training calls back."""


def enable_gradient_checkpointing(model: PreTrainedModel) -> None:
    """Have the model keep only the input of each block and compute the rest again in the backward pass.

    Raises:
        SpecError: transformers cannot do that with this model.
    """
    if not model.supports_gradient_checkpointing:
        raise SpecError(
            f"gradient checkpointing was asked for, but transformers has none for {model.config.model_type}; leave it "
            "out and take more grad_accum_steps."
        )
    options = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):  # the name since transformers 5.20 or so
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=options)
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)


class _StateSaver:
    """Saves the state for resuming by the clock.

    Not only at lines of metrics: between two of them lies a two-hundredth of the training.
    """

    def __init__(
        self,
        folder: Path,
        parameters: NamedParameters,
        optimizer: Optimizer,
        progress: _Progress,
        config: RuntimeConfig,
        group: ProcessGroup | None,
    ) -> None:
        self.is_first, self.shards = group is None or group.rank == 0, group if config.sharded else None
        self.folder, self.parameters, self.optimizer, self.progress = folder, parameters, optimizer, progress
        self.interval = config.save_interval_seconds
        self.next_time = time.monotonic() + self.interval

    def save_if_due(self, steps_done: int) -> None:
        """Save after so many steps, if it is time; saving takes a fiftieth of the run at most."""
        start = time.monotonic()
        is_due = start >= self.next_time
        if not (is_due and self.is_first if self.shards is None else self.shards.first_says(is_due)):
            return
        self.progress.log.flush()
        checkpoint.save_training_state(
            self.folder / SCRATCH,
            steps_done,
            self.parameters,
            self.optimizer,
            self.progress.losses,
            is_first=self.is_first,
        )
        end = time.monotonic()
        self.next_time = end + max(self.interval, 50 * (end - start))


class _Progress:
    """Collects the losses of steps, and reports their mean at every line of metrics."""

    def __init__(
        self,
        folder: Path | None,
        start_step: int,
        config: TrainingConfig,
        on_progress: ProgressCallback,
        losses: list[torch.Tensor],
    ) -> None:
        self.log = _MetricsLog(None if folder is None else folder / "metrics.jsonl", start_step)
        self.config, self.on_progress = config, on_progress
        self.losses = losses  # 0-d, of the steps since the last line of metrics
        self.tokens, self.last_time = 0, time.monotonic()

    def add(self, steps_done: int, nats: torch.Tensor, grad_norm: torch.Tensor, loss_tokens: int) -> None:
        """Add a step, and report if a line of metrics is due.

        Raises:
            TrainingError: The mean loss or the gradient's norm is not finite.
        """
        self.losses.append(nats)  # not .item(), for which the host would wait at every step
        self.tokens += loss_tokens
        if steps_done % self.config.log_every and steps_done != self.config.steps:
            return
        loss, norm = torch.stack(self.losses).mean().item(), grad_norm.item()
        _raise_if_not_finite(loss, norm, steps_done, self.config)
        lr = self.config.lr(steps_done - 1)
        self.log.add(step=steps_done, nats=loss, lr=lr, gradient_norm=norm, counted=loss_tokens)
        now = time.monotonic()
        self.on_progress(steps_done, self.config.steps, self.tokens / max(now - self.last_time, 1e-9), loss)
        self.losses, self.tokens, self.last_time = [], 0, now


def _accumulate_gradients(
    master_weights: MasterWeights | ShardedWeights,
    forward: ForwardFunction,
    micro_batches: list[Batch],
    group: ProcessGroup | None,
) -> tuple[torch.Tensor, int]:
    """Accumulate the gradient of the mean loss over all micro-batches; return the loss and its number of tokens.

    Of several processes each computes its share of the micro-batches.

    Each micro-batch is divided by the total weight, so the result does not depend on the number of micro-batches.
    """
    loss_tokens = sum(part.n_loss_tokens for part in micro_batches)
    weight = sum(part.total_weight for part in micro_batches)
    nats = torch.zeros((), device=master_weights.compute_model.device)
    for part, factor in _own_parts(micro_batches, group, is_sharded=isinstance(master_weights, ShardedWeights)):
        with added_states(master_weights.compute_model, part.additions, part.lengths):
            share = factor * master_weights.summed_loss(forward, part) / weight
            torch.autograd.backward(share)
        master_weights.accumulate_gradients()
        nats += share.detach()
    if isinstance(master_weights, ShardedWeights):
        assert group is not None
        nats = group.total(nats)
    elif group is not None:
        nats = group.sum_gradients(master_weights.trainable_parameters.values(), nats)
    return nats, loss_tokens


def _own_parts(
    micro_batches: list[Batch], group: ProcessGroup | None, *, is_sharded: bool
) -> list[tuple[Batch, float]]:
    """The micro-batches that this process computes, and the factor of each in the loss.

    Processes with shards gather weights together, so each computes as many: one without rows computes the first
    micro-batch again, and it counts nothing.
    """
    if group is None:
        return [(part, 1.0) for part in micro_batches]
    own = [(part, 1.0) for part in micro_batches[group.rank :: group.size]]
    missing = -(-len(micro_batches) // group.size) - len(own) if is_sharded else 0
    return own + [(micro_batches[0], 0.0)] * missing


def _batches(
    dataset: TokenDataset,
    sampler: EpochSampler | MixtureSampler,
    config: TrainingConfig,
    start_step: int,
    eos_id: int,
    runtime: RuntimeConfig,
    masking: WholeWordMasking | None,
) -> Iterator[list[Batch]]:
    """The micro-batches of each step. For an accelerator a thread prepares them in advance; a CPU has no idle time."""

    def parts(step: int) -> list[Batch]:
        whole = pack(
            dataset,
            sampler.batch_indices(step),
            window=config.window,
            eos_id=eos_id,
            prompt_loss_weight=config.prompt_loss_weight,
        )
        masked = whole if masking is None else masking.mask_batch(whole, step)
        return masked.split(config.grad_accum_steps * runtime.processes)

    steps = range(start_step, config.steps)
    if runtime.device.startswith("cpu"):
        yield from map(parts, steps)
        return
    with ThreadPoolExecutor(1) as thread:
        pending = deque(thread.submit(parts, step) for step in steps[:PREFETCH_STEPS])
        for step in steps:
            ready = pending.popleft().result()
            if step + PREFETCH_STEPS < config.steps:
                pending.append(thread.submit(parts, step + PREFETCH_STEPS))
            yield ready


def _raise_if_not_finite(loss: float, grad_norm: float, step: int, config: TrainingConfig) -> None:
    if not (abs(loss) < float("inf") and abs(grad_norm) < float("inf")):
        raise TrainingError(
            f"after step {step:,} of {config.steps:,} the loss is {loss} and the gradient norm {grad_norm}, so further "
            f"training is meaningless; lower peak_lr (it is {config.peak_lr:g}) or raise warmup_steps."
        )


class _MetricsLog:
    """The lines of metrics.jsonl; lines behind the step from which a run resumes are dropped."""

    def __init__(self, path: Path | None, start_step: int) -> None:
        """Of the file `path`; None: of no file."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        existing_lines: list[str] = []
        if path is not None and path.exists():
            existing_lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        self.path = path
        self.lines = [line for line in existing_lines if _step_of(line) <= start_step]
        self.flush()

    def add(self, **metrics: float) -> None:
        self.lines.append(json.dumps(metrics))

    def flush(self) -> None:
        if self.path is not None:
            self.path.write_text("".join(line + "\n" for line in self.lines), encoding="utf-8")


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # a killed process left half a line
        return float("inf")
