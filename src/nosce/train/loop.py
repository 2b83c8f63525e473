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

from nosce.data.masking import Masking
from nosce.data.packing import Sequences
from nosce.data.sampling import Batch, Mixed, Order, pack
from nosce.errors import TrainingError
from nosce.models.varlen import Forward, apart
from nosce.store.files import SCRATCH
from nosce.train import checkpoint
from nosce.train.config import Machine, Recipe
from nosce.train.loss import next_token_nats
from nosce.train.optimizer import Optimizer, inner_matrices
from nosce.train.precision import Precision, Twin

if TYPE_CHECKING:
    from transformers import PreTrainedModel

AHEAD = 4  # steps whose batches are prepared while an accelerator computes
Keep = Callable[[int], None]
Progress = Callable[[int, int, float, float], None]  # steps done, steps in all, tokens per second, loss


def train(
    model: PreTrainedModel,
    sequences: Sequences,
    order: Order | Mixed,
    recipe: Recipe,
    *,
    end: int,
    folder: Path,
    keep: Keep,
    progress: Progress = lambda *_: None,
    machine: Machine | None = None,
    precision: Precision = "float32",
    masking: Masking | None = None,
) -> None:
    """Train in place on packed batches; what was kept and logged lies below `folder` afterwards.

    Args:
        model: Any transformers model; only weights that require a gradient are trained.
        sequences: The texts, with the tokens that carry loss.
        order: Which texts each step takes.
        end: The token that opens every row or text.
        folder: Gets `metrics.jsonl` (step, loss in nats per weighted token, learning rate, gradient norm,
            counted tokens of that step) and `scratch/`, from which an interrupted run goes on.
        keep: Called after each kept step with the number of steps taken.
        progress: Called at every log with what a person wants to see.
        machine: What only changes the speed.
        precision: What is computed with; the weights are float32 either way.
        masking: Of a model that sees both ways: which words are hidden and to be told, in place of the next token.

    Raises:
        TrainingError: The loss or its gradient is not a finite number.
    """
    machine = machine or Machine()
    twin = Twin(model, precision)
    named = twin.named
    optimizer = Optimizer(named, recipe, inner_matrices(model))
    first = checkpoint.restore_state(folder / SCRATCH, named, optimizer)
    twin.refresh()
    log = _Log(folder / "metrics.jsonl", first)
    if first == 0 and 0 in recipe.kept:
        keep(0)
    twin.model.train()
    unread: list[torch.Tensor] = []
    seen_at = time.monotonic()
    save_at, seen = seen_at + machine.save_seconds, 0
    with apart(twin.model) as forward:
        for step, parts in enumerate(_batches(sequences, order, recipe, first, end, machine, masking), first):
            nats, counted = _gradients(twin, forward, parts)
            norm = torch.nn.utils.clip_grad_norm_(named.values(), recipe.clip)
            optimizer.step(step)
            twin.refresh()
            unread.append(nats)  # not .item(): reading here would make the host wait
            seen += counted
            done = step + 1
            if done % recipe.log_every == 0 or done == recipe.steps:
                loss = torch.stack(unread).mean().item()
                _finite(loss, norm.item(), done, recipe)
                log.add(step=done, nats=loss, lr=recipe.lr(step), gradient_norm=norm.item(), counted=counted)
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


def _gradients(twin: Twin, forward: Forward, parts: list[Batch]) -> tuple[torch.Tensor, int]:
    """Leave the gradient of the mean loss over all parts with the weights; the loss, and over how many tokens.

    Every part is divided by the weight of all, so that it does not matter how many parts there are.
    """
    counted, weight = sum(part.counted for part in parts), sum(part.weight for part in parts)
    nats = torch.zeros((), device=twin.model.device)
    for part in parts:
        share = next_token_nats(twin.model, forward, part) / weight
        share.backward()  # type: ignore[no-untyped-call]
        twin.collect()
        nats += share.detach()
    return nats, counted


def _batches(
    sequences: Sequences,
    order: Order | Mixed,
    recipe: Recipe,
    first: int,
    end: int,
    machine: Machine,
    masking: Masking | None,
) -> Iterator[list[Batch]]:
    """The parts of each step, prepared ahead by a thread where an accelerator would otherwise wait for them.

    On a processor there is nobody to overlap with.
    """

    def parts(step: int) -> list[Batch]:
        whole = pack(sequences, order.step(step), window=recipe.window, end=end, given_weight=recipe.given_weight)
        return (whole if masking is None else masking.masked(whole, step)).parts(recipe.accumulate)

    steps = range(first, recipe.steps)
    if machine.device.startswith("cpu"):
        yield from map(parts, steps)
        return
    with ThreadPoolExecutor(1) as thread:
        ahead = deque(thread.submit(parts, step) for step in steps[:AHEAD])
        for step in steps:
            ready = ahead.popleft().result()
            if step + AHEAD < recipe.steps:
                ahead.append(thread.submit(parts, step + AHEAD))
            yield ready


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
