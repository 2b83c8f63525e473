"""The training loop: one function, the same for every study, model and stage.

The batch of a step is a function of seed and step, so a run that was killed goes on from its last
save and ends with the same bytes. The loop knows no task: the loss is that of the counted tokens.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nosce.errors import TrainingError
from nosce.files import SCRATCH
from nosce.text.batches import Batch, Order, pack
from nosce.text.packing import Sequences
from nosce.train import checkpoint
from nosce.train.loss import next_token_nats
from nosce.train.recipe import Machine, Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Keep = Callable[[int], None]
Progress = Callable[[int, int, float, float], None]  # steps done, steps in all, tokens per second, loss


def train(
    model: PreTrainedModel,
    sequences: Sequences,
    order: Order,
    recipe: Recipe,
    *,
    end: int,
    folder: Path,
    keep: Keep,
    progress: Progress = lambda *_: None,
    machine: Machine | None = None,
) -> None:
    """Train in place on packed batches; what was kept and logged lies below `folder` afterwards.

    Args:
        model: Any causal transformers model; only weights that require a gradient are trained.
        sequences: The texts, with the tokens that carry loss.
        order: Which texts each step takes.
        end: The token that opens a row and fills empty places.
        folder: Gets `metrics.jsonl` (step, loss in nats per counted token, learning rate, gradient norm,
            counted tokens of that step) and `scratch/`, from which an interrupted run goes on.
        keep: Called after each kept step with the number of steps taken.
        progress: Called at every log with what a person wants to see.
        machine: What only changes the speed.

    Raises:
        TrainingError: The loss or its gradient is not a finite number.
    """
    machine = machine or Machine()
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = optimizer_of(named, recipe)
    first = checkpoint.restore_state(folder / SCRATCH, named, optimizer)
    log = _Log(folder / "metrics.jsonl", first)
    if first == 0 and 0 in recipe.kept:
        keep(0)
    model.train()
    unread: list[torch.Tensor] = []
    seen_at = time.monotonic()
    save_at, seen = seen_at + machine.save_seconds, 0
    for step, batch in zip(range(first, recipe.steps), _batches(sequences, order, recipe, first, end), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr(step)
        with _precision(recipe, machine):
            nats = next_token_nats(model, _tensor(batch.inputs, machine), _tensor(batch.labels, machine))
        nats.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(named.values(), recipe.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        unread.append(nats.detach())  # not .item(): reading here would make the host wait
        seen += batch.counted
        done = step + 1
        if done % recipe.log_every == 0 or done == recipe.steps:
            loss = torch.stack(unread).mean().item()
            _finite(loss, norm.item(), done, recipe)
            log.add(step=done, nats=loss, lr=recipe.lr(step), gradient_norm=norm.item(), counted=batch.counted)
            now = time.monotonic()
            progress(done, recipe.steps, seen / max(now - seen_at, 1e-9), loss)
            unread, seen, seen_at = [], 0, now
        if done in recipe.kept:
            keep(done)
        if done % recipe.log_every == 0 and (now := time.monotonic()) >= save_at:
            log.flush()
            checkpoint.save_state(folder / SCRATCH, done, named, optimizer)
            took = time.monotonic() - now
            save_at = now + took + max(machine.save_seconds, 50 * took)
    log.flush()


def optimizer_of(named: dict[str, torch.nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW on the trainable weights, decaying matrices alone."""
    matrices = [p for p in named.values() if p.ndim >= 2]
    others = [p for p in named.values() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=recipe.peak_lr, betas=recipe.betas, eps=recipe.epsilon, fused=True
    )


def _batches(sequences: Sequences, order: Order, recipe: Recipe, first: int, end: int) -> Iterator[Batch]:
    for step in range(first, recipe.steps):
        yield pack(sequences, order.step(step), window=recipe.window, end=end)


def _tensor(array, machine: Machine) -> torch.Tensor:  # type: ignore[no-untyped-def]
    return torch.from_numpy(array).to(machine.device, non_blocking=True)


def _precision(recipe: Recipe, machine: Machine) -> AbstractContextManager[object]:
    if recipe.dtype == "bfloat16":
        return torch.autocast(machine.device.partition(":")[0], dtype=torch.bfloat16)
    return nullcontext()


def _finite(loss: float, norm: float, step: int, recipe: Recipe) -> None:
    if not (abs(loss) < float("inf") and abs(norm) < float("inf")):
        raise TrainingError(
            f"after step {step:,} of {recipe.steps:,} the loss is {loss} and the gradient's norm {norm}, so nothing "
            f"learnt from here on would mean anything; lower peak_lr (it is {recipe.peak_lr:g}) or lengthen warmup."
        )


class _Log:
    """The lines of metrics.jsonl, cut back to the step from which a run goes on."""

    def __init__(self, path: Path, first: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text().splitlines() if path.exists() else []
        self.path = path
        self.lines = [line for line in before if _step_of(line) <= first]
        self.flush()

    def add(self, **numbers: float) -> None:
        self.lines.append(json.dumps(numbers))

    def flush(self) -> None:
        self.path.write_text("".join(line + "\n" for line in self.lines))


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # the half line of a killed process
        return float("inf")
