"""Probes: is a label written in the hidden states, and would the same probe have found just any label?

All probes of one site are trained together: their first layers are one matrix product over the shared hidden states,
and later layers are one batched product. Each probe keeps the weights of its own best epoch on the validation split.
Splits divide entities, never places, so no probe is tested on an entity that it was trained on.

Three controls come with every probe: the best constant; the same task with labels shuffled among entities, which must
end at chance; and a task of the same shape that can only be memorised (Hewitt and Liang 2019, "selectivity"). The last
two are trained in the same product and cost little. A fourth control, the same probes on an untrained model, needs that
model's hidden states and is a second call.

Letters: P places (hidden states with labels), W width, K probes, C classes of the largest task, B batch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from nosce.errors import DataError, SpecError
from nosce.seeds import Seed

UNKNOWN_LABEL = -1  # the place has no label and is left out of that task
MIN_BATCHES_PER_EPOCH = 16  # of small data, so that an epoch is more than a few steps
DECAY_FACTOR = 0.95  # of the learning rate at each of `ProbeConfig.decay_points`
NORM_MOMENTUM, NORM_EPSILON = 0.1, 1e-5  # torch's own of batch norm
MIN_RELATIVE_VARIANCE = 1e-10  # of the largest variance: directions that vary less are not blown up further
ProbeSplit = Literal["train", "validation", "test"]
PROBE_SPLITS: tuple[ProbeSplit, ...] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """The shape of a probe and its training.

    Attributes:
        hidden_layer_sizes: Widths of hidden layers. None of them: a linear probe; one or two: a small perceptron.
        peak_lr: Learning rate of the first step, which falls linearly to zero. None: 0.02 for a linear probe, 0.005
            with hidden layers.
        weight_decay: Decoupled weight decay.
        batch_size: Places of a batch at most; small data still have `MIN_BATCHES_PER_EPOCH` batches an epoch.
        max_epochs: Epochs at most.
        patience: Training stops after so many epochs in which no probe had a better validation loss.
        batch_norm: Normalise each hidden layer's output, behind its ReLU, over the places of a batch; and decay the
            matrices alone, not biases and norms.
        decay_points: The learning rate falls by a twentieth at so many evenly spaced points, in place of linearly. 0:
            linearly.
    """

    hidden_layer_sizes: tuple[int, ...] = ()
    peak_lr: float | None = None
    weight_decay: float = 0.0
    batch_size: int = 512
    max_epochs: int = 12
    patience: int = 4
    batch_norm: bool = False
    decay_points: int = 0

    def __post_init__(self) -> None:
        if len(self.hidden_layer_sizes) > 2 or any(width < 1 for width in self.hidden_layer_sizes):
            raise SpecError(
                f"ProbeConfig.hidden_layer_sizes={self.hidden_layer_sizes} is not none, one or two widths of 1 or more."
            )
        rate = 1.0 if self.peak_lr is None else self.peak_lr
        if (
            min(self.batch_size, self.max_epochs, self.patience, self.decay_points + 1) < 1
            or not 0 < rate < math.inf
            or not 0 <= self.weight_decay < math.inf
        ):
            raise SpecError(
                "ProbeConfig wants a positive learning rate, and batch, epochs and patience of 1 or more, "
                "and no negative decay."
            )

    @property
    def lr(self) -> float:
        """The learning rate of the first step."""
        return self.peak_lr if self.peak_lr is not None else 5e-3 if self.hidden_layer_sizes else 2e-2

    def lr_at(self, fraction_done: float) -> float:
        """The learning rate after a fraction of all epochs."""
        if self.decay_points:
            return self.lr * float(DECAY_FACTOR ** math.floor(fraction_done * self.decay_points))
        return self.lr * (1 - fraction_done)


@dataclass(frozen=True)
class ProbeResult:
    """The outcome of one task on one site, at the test places that have a label, in their order.

    Attributes:
        task: Name of the task.
        test_indices: Indices of the test places.
        predictions: The probe's most likely class, for each.
        confidence: The probability of that class, 0 to 1.
        correct: Is it the label? For each, bool.
        majority_correct: Is the most frequent training label the label? For each, bool.
        shuffled_correct: As `correct`, of the probe that was trained on labels shuffled among entities.
        control_correct: As `correct`, of the control task and its labels. None where places have no control type.
        best_epoch: The epoch after which the probe had its best weights.
    """

    task: str
    test_indices: np.ndarray
    predictions: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray
    majority_correct: np.ndarray
    shuffled_correct: np.ndarray | None
    control_correct: np.ndarray | None
    best_epoch: int

    @property
    def accuracy(self) -> float:
        """Share of test places at which the prediction is right."""
        return float(self.correct.mean())

    @property
    def selectivity(self) -> float | None:
        """Accuracy minus that on the control task, which can only be memorised. None without a control task."""
        return None if self.control_correct is None else float(self.correct.mean() - self.control_correct.mean())


def split_by_entity(
    entities: Sequence[str] | np.ndarray, seed: Seed, *, validation: float = 0.1, test: float = 0.2
) -> np.ndarray:
    """The split of every place, equal for all places of an entity. Shape: (P,).

    Args:
        entities: What each place is about.
        seed: Seed of the draw.
        validation: Share of the entities in "validation".
        test: Share of the entities in "test"; the rest is "train".

    Raises:
        SpecError: The shares leave a split without an entity.
    """
    unique_entities, entity_index = np.unique(np.asarray(entities), return_inverse=True)
    counts = [round(test * len(unique_entities)), round(validation * len(unique_entities))]
    if min(*counts, len(unique_entities) - sum(counts)) < 1:
        raise SpecError(
            f"{len(unique_entities)} entities cannot be split into {validation:.0%}, {test:.0%} and a rest."
        )
    order = seed.numpy().permutation(len(unique_entities))
    splits = np.full(len(unique_entities), PROBE_SPLITS[0], dtype="<U10")
    splits[order[: counts[0]]] = PROBE_SPLITS[2]
    splits[order[counts[0] : sum(counts)]] = PROBE_SPLITS[1]
    return splits[entity_index]


def train_probes(
    states: np.ndarray,
    tasks: Mapping[str, np.ndarray],
    entities: Sequence[str] | np.ndarray,
    splits: np.ndarray,
    config: ProbeConfig,
    seed: Seed,
    *,
    control_types: np.ndarray | None = None,
    controls: bool = True,
) -> list[ProbeResult]:
    """Train one probe a task on the states of one site, with its controls, and test it.

    Args:
        states: (P, W) hidden states.
        tasks: Name -> (P,) labels counted from 0; `UNKNOWN_LABEL` leaves a place out.
        entities: (P,) what each place is about.
        splits: (P,) "train", "validation" or "test", for example from `split_by_entity`.
        config: Shape and training.
        seed: Seed of initial weights, batches and the controls' labels.
        control_types: (P,) a property of each place that test places share with training places, for example the
            token. The control task gives each type a random label. Without types there is no selectivity.
        controls: False trains the tasks alone, in half the time. Only the best constant is then left for comparison.

    Raises:
        DataError: An entity is in two splits, a split is empty, or a task has fewer than two classes.
    """
    entities, task_labels = np.asarray(entities), {k: np.asarray(v) for k, v in tasks.items()}
    _validate_inputs(states, task_labels, entities, splits)
    labels_by_probe = {("task", name): true_labels for name, true_labels in task_labels.items()}
    for name, true_labels in task_labels.items() if controls else ():
        labels_by_probe["shuffled", name] = _shuffled_labels(true_labels, entities, splits, seed / "shuffled" / name)
        if control_types is not None:
            labels_by_probe["memorised", name] = _control_task(
                true_labels, control_types, splits, seed / "memorised" / name
            )
    outputs, best_epochs = fit_probes(states, np.stack(list(labels_by_probe.values())), splits, config, seed)
    trained = _TrainedProbes(labels_by_probe, outputs, best_epochs)
    return [trained.result(name, true_labels, splits) for name, true_labels in task_labels.items()]


@dataclass(frozen=True, eq=False)
class _TrainedProbes:
    """Labels of the tasks and of their controls, with what their probes predict; a row of the outputs for each."""

    labels_by_probe: Mapping[tuple[str, str], np.ndarray]
    outputs: ProbeOutputs
    best_epochs: np.ndarray

    def result(self, task: str, labels: np.ndarray, splits: np.ndarray) -> ProbeResult:
        """The outcome of a task at its test places."""
        test_indices = np.flatnonzero((splits == "test") & (labels != UNKNOWN_LABEL))
        majority = np.bincount(labels[(splits == "train") & (labels != UNKNOWN_LABEL)]).argmax()
        row, true_labels = self._row("task", task), labels[test_indices]
        predictions = self.outputs.predictions[row, test_indices]
        return ProbeResult(
            task=task,
            test_indices=test_indices,
            predictions=predictions,
            confidence=self.outputs.confidence[row, test_indices],
            correct=predictions == true_labels,
            majority_correct=true_labels == majority,
            shuffled_correct=self._control_correct("shuffled", task, labels, test_indices),
            control_correct=self._control_correct(
                "memorised", task, self.labels_by_probe.get(("memorised", task), labels), test_indices
            ),
            best_epoch=int(self.best_epochs[row]),
        )

    def _row(self, kind: str, task: str) -> int:
        return list(self.labels_by_probe).index((kind, task))

    def _control_correct(
        self, control: str, task: str, labels: np.ndarray, test_indices: np.ndarray
    ) -> np.ndarray | None:
        if (control, task) not in self.labels_by_probe:
            return None
        correct: np.ndarray = self.outputs.predictions[self._row(control, task), test_indices] == labels[test_indices]
        return correct


def _validate_inputs(
    states: np.ndarray, tasks: Mapping[str, np.ndarray], entities: np.ndarray, splits: np.ndarray
) -> None:
    lengths = {len(states), len(entities), len(splits), *map(len, tasks.values())}
    if not tasks or len(lengths) > 1:
        raise DataError(
            f"{len(tasks)} tasks came with states, entities, splits and labels of {sorted(lengths)} places; "
            "give at least one task, and everything for the same places."
        )
    if not np.isfinite(states).all():
        raise DataError(
            "some hidden states are infinite or NaN, so a probe's prediction there would mean nothing; check the model."
        )
    if unknown := set(splits.tolist()) - set(PROBE_SPLITS):
        raise DataError(f"places are in the splits {sorted(unknown)}; name them {', '.join(PROBE_SPLITS)}.")
    entity_index = np.unique(entities, return_inverse=True)[1]
    split_of_entity = np.zeros(entity_index.max() + 1, dtype=splits.dtype)
    split_of_entity[entity_index] = splits
    if (split_of_entity[entity_index] != splits).any():
        repeated = str(entities[np.flatnonzero(split_of_entity[entity_index] != splits)[0]])
        raise DataError(
            f"{repeated!r} is in two splits, so a probe would be tested on an entity of its training; split by entity."
        )
    for name, labels in tasks.items():
        is_labelled = labels != UNKNOWN_LABEL
        classes = {part: len(np.unique(labels[is_labelled & (splits == part)])) for part in PROBE_SPLITS}
        if classes["train"] < 2 or not classes["validation"] or not classes["test"]:
            raise DataError(
                f"task {name!r} has {classes['train']} classes to train on, {classes['validation']} to validate and "
                f"{classes['test']} to test; it needs two, one and one."
            )


def _shuffled_labels(labels: np.ndarray, entities: np.ndarray, splits: np.ndarray, seed: Seed) -> np.ndarray:
    """The labels of each entity's places, shuffled, and given to another entity of the same split.

    An entity with more places than the other gets that entity's labels repeatedly.
    """
    shuffled = labels.copy()
    rng = seed.numpy()
    for part in PROBE_SPLITS[:2]:  # test places keep their true labels, so the accuracy must be chance
        indices = np.flatnonzero(splits == part)
        unique_entities, entity_index = np.unique(entities[indices], return_inverse=True)
        indices_by_entity = np.split(
            indices[np.argsort(entity_index, kind="stable")], np.cumsum(np.bincount(entity_index))[:-1]
        )
        for source, target in enumerate(rng.permutation(len(unique_entities))):
            # Shuffled too, since in some tasks all entities have the same row of labels.
            source_labels = rng.permutation(labels[indices_by_entity[source]])
            shuffled[indices_by_entity[target]] = np.resize(source_labels, len(indices_by_entity[target]))
    return shuffled


def _control_task(labels: np.ndarray, control_types: np.ndarray, splits: np.ndarray, seed: Seed) -> np.ndarray:
    """A random label for each control type, with classes as frequent among types as among training places."""
    train_labels = labels[(splits == "train") & (labels != UNKNOWN_LABEL)]
    unique_types, type_index = np.unique(np.asarray(control_types), return_inverse=True)
    shares = (np.arange(len(unique_types)) + 0.5) / len(unique_types)
    label_of_type = seed.numpy().permutation(np.sort(train_labels)[(shares * len(train_labels)).astype(int)])
    return np.where(labels == UNKNOWN_LABEL, UNKNOWN_LABEL, label_of_type[type_index])


class _ProbeStack(torch.nn.Module):
    """Probes with about equally many classes over the same inputs: (B, W), (B, K) -> (B, K, C)."""

    def __init__(
        self, width: int, members: np.ndarray, class_counts: np.ndarray, config: ProbeConfig, seed: Seed
    ) -> None:
        super().__init__()
        hidden_layer_sizes = config.hidden_layer_sizes
        self.members = members  # indices of these among all probes
        count, max_classes = len(members), int(class_counts[members].max())
        sizes = (width, *hidden_layer_sizes, max_classes)
        generator = torch.Generator().manual_seed(seed.integer())
        self.weights, self.biases = torch.nn.ParameterList(), torch.nn.ParameterList()
        for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            shape = (fan_in, count * fan_out) if layer == 0 else (count, fan_in, fan_out)
            initial = torch.randn(shape, generator=generator) / math.sqrt(fan_in)
            self.weights.append(torch.nn.Parameter(initial if hidden_layer_sizes else torch.zeros(shape)))
            self.biases.append(
                torch.nn.Parameter(torch.zeros((1, count * fan_out) if layer == 0 else (count, 1, fan_out)))
            )
        widths = hidden_layer_sizes if config.batch_norm else ()
        self.norms = torch.nn.ModuleList(_ProbeNorm(count, hidden_width) for hidden_width in widths)
        self.beyond = torch.arange(max_classes) >= torch.from_numpy(class_counts[members])[:, None]  # no such class
        self.ragged = bool(self.beyond.any())

    def forward(self, states: torch.Tensor, labelled: torch.Tensor | None = None) -> torch.Tensor:
        """Logits, minus infinity where a task has no such class. Norms count the labelled places (B, K) alone."""
        if labelled is None:
            labelled = torch.ones(len(states), len(self.members), dtype=torch.bool)
        x = torch.addmm(self.biases[0], states, self.weights[0]).view(len(states), len(self.members), -1)
        if len(self.weights) > 1:
            x = x.transpose(0, 1)
            for layer, (weight, bias) in enumerate(zip(list(self.weights)[1:], list(self.biases)[1:], strict=True)):
                hidden = functional.relu(x)
                x = torch.baddbmm(bias, self.norms[layer](hidden, labelled) if self.norms else hidden, weight)
            x = x.transpose(0, 1)
        return x.masked_fill(self.beyond, -torch.inf) if self.ragged else x

    def tensors(self) -> list[torch.Tensor]:
        """All that makes these probes: weights, and the statistics of their norms."""
        return [*self.parameters(), *self.buffers()]

    def copy_weights_into(self, best: list[torch.Tensor], improved: torch.Tensor) -> None:
        """Copy the weights of some of these probes, as they are now, into `best`."""
        for best_weights, parameter in zip(best, self.tensors(), strict=True):
            current = parameter.detach()
            if current.ndim == 2:  # the first layer: probes lie side by side in its columns
                best_weights, current = self._by_probe(best_weights), self._by_probe(current)
            best_weights[improved] = current[improved]

    def _by_probe(self, first_layer: torch.Tensor) -> torch.Tensor:
        """A view of the first layer's weights with a slice a probe. Shape: (d, P * h) -> (P, d, h)."""
        return first_layer.view(len(first_layer), len(self.members), -1).transpose(0, 1)


class _ProbeNorm(torch.nn.Module):
    """Batch norm of each unit of each probe: (K, B, h) -> (K, B, h)."""

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(count, 1, width))
        self.shift = torch.nn.Parameter(torch.zeros(count, 1, width))
        self.register_buffer("mean", torch.zeros(count, 1, width))
        self.register_buffer("variance", torch.ones(count, 1, width))

    def forward(self, states: torch.Tensor, labelled: torch.Tensor) -> torch.Tensor:
        """Normalised by the batch's labelled places while a probe learns, by running statistics while it predicts."""
        if torch.is_grad_enabled():
            counted = labelled.T[:, :, None].to(states)  # (K, B, 1)
            count = counted.sum(1, keepdim=True)
            mean = (states * counted).sum(1, keepdim=True) / count.clamp(min=1)
            variance = ((states - mean).square() * counted).sum(1, keepdim=True) / count.clamp(min=1)
            with torch.no_grad():
                share = NORM_MOMENTUM * (count > 0)
                self.mean.add_((mean - self.mean) * share)
                self.variance.add_((variance - self.variance) * share)
        else:
            mean, variance = self.mean, self.variance
        return (states - mean) * (variance + NORM_EPSILON).rsqrt() * self.scale + self.shift


def _build_stacks(width: int, class_counts: np.ndarray, config: ProbeConfig, seed: Seed) -> list[_ProbeStack]:
    """All probes, in stacks in which the smallest task has at least two thirds as many classes as the largest."""
    order = np.argsort(-class_counts, kind="stable")
    stacks, first = [], 0
    while first < len(order):
        last = first
        while last < len(order) and 1.5 * class_counts[order[last]] >= class_counts[order[first]]:
            last += 1
        stacks.append(_ProbeStack(width, order[first:last], class_counts, config, seed / "weights" / first))
        first = last
    return stacks


def fit_probes(
    states: np.ndarray, labels: np.ndarray, splits: np.ndarray, config: ProbeConfig, seed: Seed
) -> tuple[ProbeOutputs, np.ndarray]:
    """Train probes together, each on its own labels.

    Args:
        states: (P, W) hidden states.
        labels: (K, P) labels counted from 0, or `UNKNOWN_LABEL`.
        splits: (P,) "train" and "validation" are used; other places are predicted alone.
        config: Shape and training.
        seed: Seed of initial weights and batches.

    Returns:
        The outputs of every probe's best weights at all places, and the epoch (K,) after which it had them.
    """
    train, validation = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "validation")
    inputs = torch.from_numpy(_whiten(states, train))
    targets = torch.from_numpy(np.ascontiguousarray(labels.T.astype(np.int64)))  # (P, K)
    stacks = _build_stacks(inputs.shape[1], labels.max(1) + 1, config, seed)
    optimizer = _optimizer(stacks, config)
    best = [[tensor.detach().clone() for tensor in stack.tensors()] for stack in stacks]
    lowest_loss, best_epochs = torch.full((len(labels),), torch.inf), np.zeros(len(labels), dtype=int)
    batch_size = min(config.batch_size, math.ceil(len(train) / MIN_BATCHES_PER_EPOCH))
    validation_rows = torch.from_numpy(validation)
    for epoch in range(1, config.max_epochs + 1):
        order = (seed / "order" / epoch).numpy().permutation(train)
        for first in range(0, len(order), batch_size):
            fraction_done = (epoch - 1 + first / len(order)) / config.max_epochs
            for group in optimizer.param_groups:
                group["lr"] = config.lr_at(fraction_done)
            rows = torch.from_numpy(order[first : first + batch_size])
            loss = torch.stack([_nats(stack, inputs, targets, rows).sum() for stack in stacks]).sum()
            loss.backward()  # type: ignore[no-untyped-call]  # torch
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for stack, best_weights in zip(stacks, best, strict=True):
                nats, members = _nats(stack, inputs, targets, validation_rows), torch.from_numpy(stack.members)
                better = nats < lowest_loss[members] - 1e-4
                lowest_loss[members] = torch.where(better, nats, lowest_loss[members])
                best_epochs[stack.members[better.numpy()]] = epoch
                stack.copy_weights_into(best_weights, better)
        if epoch - best_epochs.max() >= config.patience:
            break
    return _predict(stacks, best, inputs, targets, batch_size), best_epochs


def _optimizer(stacks: Sequence[_ProbeStack], config: ProbeConfig) -> torch.optim.Optimizer:
    """AdamW over all probes; with batch norm biases and norms have no decay."""
    parameters = [p for stack in stacks for p in stack.parameters()]
    if not config.batch_norm:
        return torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)
    matrices = [p for stack in stacks for p in stack.weights]
    ids = {id(p) for p in matrices}
    others = [p for p in parameters if id(p) not in ids]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def _whiten(states: np.ndarray, train: np.ndarray) -> np.ndarray:
    """States rotated and scaled so that all directions have equal variance over the training places. Shape: (P, W).

    Hidden states vary a thousand times more along some directions than along others, and a probe would spend its
    epochs on the first. Whitening does not change which functions a linear probe can express;
    `benchmarks/choices.py` compares probes with and without it.
    """
    given = np.asarray(states, dtype=np.float64)
    centred = given - given[train].mean(0)
    eigenvalues, eigenvectors = np.linalg.eigh(centred[train].T @ centred[train] / len(train))
    scale = 1 / np.sqrt(np.maximum(eigenvalues, 0) + MIN_RELATIVE_VARIANCE * max(eigenvalues.max(), 1e-12))
    whitened: np.ndarray = (centred @ (eigenvectors * scale)).astype(np.float32)
    return whitened


def _nats(stack: _ProbeStack, inputs: torch.Tensor, targets: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of each of the stack's probes over its labelled rows. Shape: (K,)."""
    labels = targets[rows][:, torch.from_numpy(stack.members)]
    logits = stack(inputs[rows], labels != UNKNOWN_LABEL)
    nats = functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=UNKNOWN_LABEL, reduction="none"
    )
    return nats.view(labels.shape).sum(0) / (labels != UNKNOWN_LABEL).sum(0).clamp(min=1)


@dataclass(frozen=True)
class ProbeOutputs:
    """What probes predict at all places. Shape of each: (K, P).

    Attributes:
        predictions: Most likely classes.
        confidence: Their probabilities.
        nats: Negative log-likelihoods of the true labels, 0 where there is no label.
    """

    predictions: np.ndarray
    confidence: np.ndarray
    nats: np.ndarray


@torch.no_grad()
def _predict(
    stacks: list[_ProbeStack],
    best: list[list[torch.Tensor]],
    inputs: torch.Tensor,
    targets: torch.Tensor,
    batch_size: int,
) -> ProbeOutputs:
    shape = targets.shape[1], len(inputs)
    outputs = ProbeOutputs(np.empty(shape, dtype=np.int64), *(np.empty(shape, dtype=np.float32) for _ in range(2)))
    for stack, weights in zip(stacks, best, strict=True):
        for tensor, best_weights in zip(stack.tensors(), weights, strict=True):
            tensor.copy_(best_weights)
        for first in range(0, len(inputs), batch_size):
            rows = slice(first, first + batch_size)
            labels = targets[rows][:, torch.from_numpy(stack.members)]
            logits = stack(inputs[rows], labels != UNKNOWN_LABEL)
            confidence, prediction = logits.softmax(-1).max(-1)
            flat, true = logits.flatten(0, 1), labels.flatten()
            nats = functional.cross_entropy(flat, true, ignore_index=UNKNOWN_LABEL, reduction="none")
            outputs.predictions[stack.members, rows] = prediction.T.numpy()
            outputs.confidence[stack.members, rows] = confidence.T.numpy()
            outputs.nats[stack.members, rows] = nats.view(labels.shape).T.numpy()
    return outputs
