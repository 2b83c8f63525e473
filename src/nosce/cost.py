"""What a plan would cost: tokens, operations, disk, and minutes by a calibration on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from nosce.models.families import Architecture
from nosce.plan import Plan, Step
from nosce.text import tokenizer as tokenizers

SAMPLE = 200  # texts that the mean length and the time of a step are taken from
SECONDS = 1.5  # that one shape is timed for
OPERATIONS = 1e11  # of one timed step at most: larger batches are timed on a part and scaled up


@dataclass(frozen=True, slots=True)
class Cost:
    """The expected cost of one training step of the plan."""

    step: Step
    tokens: float
    flops: float
    bytes: float
    seconds: float


def price(plan: Plan, todo: Sequence[Step]) -> list[Cost]:
    """The cost of every training among the steps to do; each shape is timed once, for a few seconds.

    FLOPs are 6 × parameters × tokens (attention left out); disk counts the kept checkpoints.
    """
    corpora: dict[str, Any] = {}
    timed: dict[Any, float] = {}
    found = []
    for step in todo:
        if step.kind != "training":
            continue
        model, shape = _model(step), _shape(step)
        sample = corpora.setdefault(_world_key(step), None) or _sample(step)
        corpora[_world_key(step)] = sample
        vocabulary, sequences = sample["vocabulary"], sample[step.spec.on]
        recipe = step.spec.recipe
        parameters = model.parameters(vocabulary) if isinstance(model, Architecture) else _size_of(model)
        tokens = float(recipe.steps * recipe.batch * sequences.lengths.mean())
        if shape not in timed:
            timed[shape] = _seconds_per_step(model, sequences, recipe, vocabulary)
        found.append(Cost(step, tokens, 6 * parameters * tokens, 4.0 * parameters * len(recipe.kept),
                          timed[shape] * recipe.steps))  # fmt: skip
    return found


def minutes(costs: Sequence[Cost], workers: int) -> float:
    """Minutes until the last training ends: the critical path, or the sum over the workers if that is more."""
    ends: dict[str, float] = {}
    seconds = {cost.step.name: cost.seconds for cost in costs}
    for cost in costs:
        before = max((ends.get(given.name, 0.0) for given in cost.step.inputs.values()), default=0.0)
        ends[cost.step.name] = before + seconds[cost.step.name]
    return max([*ends.values(), sum(seconds.values()) / workers], default=0.0) / 60


def _model(step: Step) -> Any:
    while step.spec.model is None:
        step = step.inputs["start"]
    return step.spec.model


def _world_key(step: Step) -> str:
    return step.inputs["corpus"].name


def _shape(step: Step) -> Any:
    recipe = step.spec.recipe
    how = (recipe.batch, recipe.window, recipe.dtype, recipe.optimizer, recipe.accumulate, recipe.given_weight)
    return _model(step), how, step.spec.on, step.spec.adapter is not None


def _size_of(model: Any) -> int:
    from pathlib import Path

    return sum(file.stat().st_size for file in Path(model.folder).glob("*.safetensors")) // 4


def _sample(step: Step) -> dict[str, Any]:
    """A few of a world's texts as tokens, without making its corpus."""
    from pathlib import Path

    from nosce.text.packing import document_tokens, encode, question_tokens

    spec = step.inputs["corpus"].spec
    if isinstance(spec.tokenizer, tokenizers.TokenizerSpec):
        tokenizer = tokenizers.make(spec.tokenizer, spec.world.samples(spec.seed))
        end = tokenizers.end_token(tokenizer)
    else:
        tokenizer = tokenizers.load(Path(spec.tokenizer.folder))
        end = tokenizers.end_token(tokenizer, Path(spec.tokenizer.folder))
    texts = list(islice(spec.world.documents(spec.seed), SAMPLE))
    return {
        "vocabulary": tokenizer.get_vocab_size(),
        "documents": document_tokens(texts, list(encode(tokenizer, (d.text for d in texts))), end),
        "questions": question_tokens(tokenizer, list(islice(spec.world.questions(spec.seed), SAMPLE)), end),
    }


def _seconds_per_step(model: Any, sequences: Any, recipe: Any, vocabulary: int) -> float:
    """Seconds of one optimizer step of this shape on one core, the median over as many as fit."""
    import statistics

    import torch

    from nosce.models.apart import apart
    from nosce.models.families import build
    from nosce.seeds import Seed
    from nosce.text.batches import Order, pack
    from nosce.train.loss import next_token_nats
    from nosce.train.optimizer import Optimizer, inner_matrices
    from nosce.train.precision import Twin, chosen

    torch.set_num_threads(1)
    mean = float(sequences.lengths.mean())
    parameters = model.parameters(vocabulary) if isinstance(model, Architecture) else _size_of(model)
    texts = int(min(recipe.batch, max(2, OPERATIONS / (6 * parameters * mean))))
    net = build(model, vocabulary=vocabulary, end=0, pad=None, seed=Seed(0) / "calibration")
    twin = Twin(net, chosen(recipe.dtype, width=net.config.hidden_size, device="cpu", memory=None))
    optimizer = Optimizer(twin.named, recipe, inner_matrices(net))
    order = Order(len(sequences), texts, Seed(0) / "calibration")
    taken: list[float] = []
    while len(taken) < 2 or (sum(taken) < SECONDS and len(taken) < 50):
        start = time.process_time()
        batch = pack(sequences, order.step(len(taken)), window=recipe.window, end=0, given_weight=recipe.given_weight)
        with apart(twin.model) as forward:
            (next_token_nats(twin.model, forward, batch) / batch.weight).backward()  # type: ignore[no-untyped-call]
        twin.collect()
        optimizer.step(len(taken))
        twin.refresh()
        taken.append(time.process_time() - start)  # of this process: other work on the machine does not count
    return float(statistics.median(taken[1:]) * recipe.batch / texts)
