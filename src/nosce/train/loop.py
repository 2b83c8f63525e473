"""The training loop: one function, the same for every study, model and stage.

The batch of a step is a function of seed and step, so a run that was killed goes on from its last
save and ends with the same bytes. The loop knows no task: the loss is that of the counted tokens.
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
from nosce.errors import TrainingError
from nosce.models.varlen import ForwardFunction, varlen_forward
from nosce.store.files import SCRATCH
from nosce.train import checkpoint
from nosce.train.config import RuntimeConfig, TrainingConfig
from nosce.train.loss import summed_cross_entropy
from nosce.train.optimizer import Optimizer, block_matrix_names
from nosce.train.precision import MasterWeights, Precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PREFETCH_STEPS = 4  # steps whose batches are prepared while an accelerator computes
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
    runtime: RuntimeConfig | None = None,
    precision: Precision = "float32",
    masking: WholeWordMasking | None = None,
) -> None:
    """Train in place on packed batches; what was kept and logged lies below `folder` afterwards.

    Args:
        model: Any transformers model; only weights that require a gradient are trained.
        dataset: The texts, with the tokens that carry loss.
        sampler: Which texts each step takes.
        eos_id: The token that opens every row or text.
        folder: Gets `metrics.jsonl` (step, loss in nats per weighted token, learning rate, gradient norm,
            counted tokens of that step) and `scratch/`, from which an interrupted run goes on.
        on_checkpoint: Called after each kept step with the number of steps taken.
        on_progress: Called at every log with what a person wants to see.
        runtime: What only changes the speed.
        precision: What is computed with; the weights are float32 either way.
        masking: Of a model that sees both ways: which words are hidden and to be told, in place of the next token.

    Raises:
        TrainingError: The loss or its gradient is not a finite number.
    """
    runtime = runtime or RuntimeConfig()
    master_weights = MasterWeights(model, precision)
    parameters = master_weights.trainable_parameters
    optimizer = Optimizer(parameters, config, block_matrix_names(model))
    start_step = checkpoint.restore_training_state(folder / SCRATCH, parameters, optimizer)
    master_weights.update_compute_weights()
    log = _MetricsLog(folder / "metrics.jsonl", start_step)
    if start_step == 0 and 0 in config.checkpoint_steps:
        on_checkpoint(0)
    master_weights.compute_model.train()
    pending_losses: list[torch.Tensor] = []
    last_log_time = time.monotonic()
    next_save_time, tokens_since_log = last_log_time + runtime.save_interval_seconds, 0
    with varlen_forward(master_weights.compute_model) as forward:
        for step, parts in enumerate(
            _batches(dataset, sampler, config, start_step, eos_id, runtime, masking), start_step
        ):
            nats, loss_tokens = _accumulate_gradients(master_weights, forward, parts)
            norm = torch.nn.utils.clip_grad_norm_(parameters.values(), config.max_grad_norm)
            optimizer.step(step)
            master_weights.update_compute_weights()
            pending_losses.append(nats)  # not .item(): reading here would make the host wait
            tokens_since_log += loss_tokens
            steps_done = step + 1
            if steps_done % config.log_every == 0 or steps_done == config.steps:
                loss = torch.stack(pending_losses).mean().item()
                _raise_if_not_finite(loss, norm.item(), steps_done, config)
                log.add(step=steps_done, nats=loss, lr=config.lr(step), gradient_norm=norm.item(), counted=loss_tokens)
                now = time.monotonic()
                on_progress(steps_done, config.steps, tokens_since_log / max(now - last_log_time, 1e-9), loss)
                pending_losses, tokens_since_log, last_log_time = [], 0, now
            if steps_done in config.checkpoint_steps:
                on_checkpoint(steps_done)
            if steps_done % config.log_every == 0 and (now := time.monotonic()) >= next_save_time:
                log.flush()
                checkpoint.save_training_state(folder / SCRATCH, steps_done, parameters, optimizer)
                save_duration = time.monotonic() - now
                next_save_time = now + save_duration + max(runtime.save_interval_seconds, 50 * save_duration)
    log.flush()


def _accumulate_gradients(
    master_weights: MasterWeights, forward: ForwardFunction, micro_batches: list[Batch]
) -> tuple[torch.Tensor, int]:
    """Leave the gradient of the mean loss over all parts with the weights; the loss, and over how many tokens.

    Every part is divided by the weight of all, so that it does not matter how many parts there are.
    """
    loss_tokens, weight = (
        sum(part.n_loss_tokens for part in micro_batches),
        sum(part.total_weight for part in micro_batches),
    )
    nats = torch.zeros((), device=master_weights.compute_model.device)
    for part in micro_batches:
        share = summed_cross_entropy(master_weights.compute_model, forward, part) / weight
        share.backward()  # type: ignore[no-untyped-call]
        master_weights.accumulate_gradients()
        nats += share.detach()
    return nats, loss_tokens


def _batches(
    dataset: TokenDataset,
    sampler: EpochSampler | MixtureSampler,
    config: TrainingConfig,
    start_step: int,
    eos_id: int,
    runtime: RuntimeConfig,
    masking: WholeWordMasking | None,
) -> Iterator[list[Batch]]:
    """The parts of each step, prepared ahead by a thread where an accelerator would otherwise wait for them.

    On a processor there is nobody to overlap with.
    """

    def parts(step: int) -> list[Batch]:
        whole = pack(
            dataset,
            sampler.batch_indices(step),
            window=config.window,
            eos_id=eos_id,
            prompt_loss_weight=config.prompt_loss_weight,
        )
        return (whole if masking is None else masking.mask_batch(whole, step)).split(config.grad_accum_steps)

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
            f"after step {step:,} of {config.steps:,} the loss is {loss} and the gradient's norm {grad_norm}, so "
            "nothing "
            f"learnt from here on would mean anything; lower peak_lr (it is {config.peak_lr:g}) or raise warmup_steps."
        )


class _MetricsLog:
    """The lines of metrics.jsonl, cut back to the step from which a run goes on."""

    def __init__(self, path: Path, start_step: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        existing_lines = path.read_text().splitlines() if path.exists() else []
        self.path = path
        self.lines = [line for line in existing_lines if _step_of(line) <= start_step]
        self.flush()

    def add(self, **metrics: float) -> None:
        self.lines.append(json.dumps(metrics))

    def flush(self) -> None:
        self.path.write_text("".join(line + "\n" for line in self.lines))


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # the half line of a killed process
        return float("inf")
