"""Probes: is something written in a hidden state, and would the same probe have found anything?

All probes of one site are trained together. Their first layers are one matrix product over the shared
activations, whatever follows is one batched product; each keeps the weights of its own best epoch on the
validation part. Entities are split, never places, so no probe is tested on somebody it was trained on.

Three controls are trained in the same product and cost little: the best constant, the same task with
labels dealt out anew among entities (must end at chance), and a task of the same shape that can only be
memorised (Hewitt and Liang 2019, "selectivity"). A fourth, the same probes on a model that was never
trained, needs that model's activations and is a second call.

Letters: P places, W width, K probes, C classes of the largest task, H hidden units, B batch.
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

UNKNOWN_LABEL = -1  # a label that is missing: the place is left out of that task
MIN_BATCHES_PER_EPOCH = 16
MIN_RELATIVE_VARIANCE = 1e-10  # of the largest variance: directions that vary less are not blown up further
ProbeSplit = Literal["train", "validation", "test"]
PROBE_SPLITS: tuple[ProbeSplit, ...] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """The shape of a probe and how it is trained."""

    hidden_layer_sizes: tuple[
        int, ...
    ] = ()  # widths of hidden layers: none is linear, one or two are small perceptrons
    peak_lr: float | None = None  # falls to zero along a line; None: 0.02 where linear, 0.005 with hidden layers
    weight_decay: float = 0.0  # decoupled weight decay
    batch_size: int = 512  # at most; small data still have `MIN_BATCHES_PER_EPOCH` an epoch
    max_epochs: int = 12  # at most
    patience: int = 4  # epochs without a better validation loss of any probe after which all stop

    def __post_init__(self) -> None:
        if len(self.hidden_layer_sizes) > 2 or any(width < 1 for width in self.hidden_layer_sizes):
            raise SpecError(
                f"ProbeConfig.hidden_layer_sizes={self.hidden_layer_sizes} is not none, one or two widths of 1 or more."
            )
        rate = 1.0 if self.peak_lr is None else self.peak_lr
        if (
            min(self.batch_size, self.max_epochs, self.patience) < 1
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


@dataclass(frozen=True)
class ProbeResult:
    """What became of one task on one site: test places only, in their order."""

    task: str
    test_indices: np.ndarray  # which places were tested
    predictions: np.ndarray  # its first choice, for each
    confidence: np.ndarray  # the probability of that choice, 0 to 1
    correct: np.ndarray  # bool, for each
    majority_correct: np.ndarray  # bool: would the most frequent training label have been right?
    shuffled_correct: np.ndarray | None  # bool: was the probe right that learnt labels dealt out anew among entities?
    control_correct: np.ndarray | None  # bool: was the control task right? None where places have no kind
    best_epoch: int  # after which its best weights were found

    @property
    def accuracy(self) -> float:
        """Share of test places that were right."""
        return float(self.correct.mean())

    @property
    def selectivity(self) -> float | None:
        """Accuracy above that on a task which can only be memorised; None where there was none."""
        return None if self.control_correct is None else float(self.correct.mean() - self.control_correct.mean())


def split_by_entity(
    entities: Sequence[str] | np.ndarray, seed: Seed, *, validation: float = 0.1, test: float = 0.2
) -> np.ndarray:
    """ "train", "validation" or "test" for every place, all places of an entity alike. Shape: (P,).

    Raises:
        SpecError: The shares leave nobody for a part.
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
        states: (P, W) activations.
        tasks: Name -> (P,) labels counted from 0; `UNKNOWN_LABEL` leaves a place out.
        entities: (P,) what each place is about.
        splits: (P,) of "train", "validation", "test", e.g. from `split_by_entity`.
        config: Shape and training.
        seed: Of initial weights, batches and the controls' labels.
        control_types: (P,) what a place shows that test places show too, e.g. its token. The control task gives
            each kind a random label; without kinds there is no selectivity.
        controls: False trains the tasks alone: half the time, and nothing to hold the result against but
            the best constant.

    Raises:
        DataError: An entity is in two parts, a part is empty, or a task has fewer than two classes.
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
    stacked_labels = np.stack(list(labels_by_probe.values()))
    outputs, best_epochs = _train(states, stacked_labels, splits, config, seed)
    predictions, confidence = outputs.predictions, outputs.confidence
    test = splits == "test"
    row_of = {key: k for k, key in enumerate(labels_by_probe)}
    results = []
    for name, true_labels in task_labels.items():
        test_indices = np.flatnonzero(test & (true_labels != UNKNOWN_LABEL))
        majority = np.bincount(true_labels[(splits == "train") & (true_labels != UNKNOWN_LABEL)]).argmax()
        results.append(
            ProbeResult(
                task=name,
                test_indices=test_indices,
                predictions=predictions[row_of["task", name], test_indices],
                confidence=confidence[row_of["task", name], test_indices],
                correct=predictions[row_of["task", name], test_indices] == true_labels[test_indices],
                majority_correct=true_labels[test_indices] == majority,
                shuffled_correct=predictions[row_of["shuffled", name], test_indices] == true_labels[test_indices]
                if controls
                else None,
                control_correct=_control_task_correct(
                    predictions, stacked_labels, row_of.get(("memorised", name)), test_indices
                ),
                best_epoch=int(best_epochs[row_of["task", name]]),
            )
        )
    return results


def online_code_lengths(
    states: np.ndarray,
    tasks: Mapping[str, np.ndarray],
    entities: Sequence[str] | np.ndarray,
    config: ProbeConfig,
    seed: Seed,
    *,
    fractions: Sequence[float] = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0),
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What it costs to tell labels to somebody who has the states and learns a probe as the labels come.

    Labels are told in portions; those of one cost what a probe says that was trained on all before it, those of
    the first portion what equally likely classes would. A probe that is accurate for having been shown much, and
    not because the states make the task easy, costs much.

    Args:
        states: (P, W) activations.
        tasks: Name -> (P,) labels counted from 0; `UNKNOWN_LABEL` leaves a place out.
        entities: (P,) what each place is about; an entity's places come in one portion.
        config: Shape and training of the probes.
        seed: Of the order of entities and of the probes.
        fractions: Shares of the entities that have been told after each portion, the last of them 1.

    Returns:
        Task -> bits of each place by the probes, and by how often each class was told before, which knows no state.
        Both (P,), null (NaN) where there is no label or in the first portion, which both tell alike. Tasks that have
        too few labels for the first portion to have two classes are left out.

    Source:
        Voita and Titov 2020 (arXiv:2003.12298), section 2.2, online code.
    """
    entities = np.asarray(entities)
    unique_entities, entity_index = np.unique(entities, return_inverse=True)
    rank_of_entity = np.empty(len(unique_entities), dtype=np.int64)
    rank_of_entity[seed.numpy().permutation(len(unique_entities))] = np.arange(len(unique_entities))
    block = np.searchsorted(
        np.asarray(fractions) * len(unique_entities), rank_of_entity[entity_index], side="right"
    )  # portion of each place
    is_validation = rank_of_entity[entity_index] % 10 == 0  # of what is known a tenth says when to stop
    codable = {
        name: np.asarray(values)
        for name, values in tasks.items()
        if _is_codable(np.asarray(values), block == 0, is_validation)
    }
    if not codable:
        return {}
    labels = np.stack(list(codable.values()))
    bits, prior = (np.full(labels.shape, np.nan) for _ in range(2))
    for current in range(1, len(fractions)):
        earlier, now = block < current, block == current
        # What is not yet told teaches nothing.
        splits = np.where(earlier & is_validation, PROBE_SPLITS[1], np.where(earlier, PROBE_SPLITS[0], PROBE_SPLITS[2]))
        visible_labels = np.where((earlier | now)[None], labels, UNKNOWN_LABEL)
        outputs, _ = _train(states, visible_labels, splits, config, seed / current)
        for task_row, row in enumerate(visible_labels):
            in_block = now & (row != UNKNOWN_LABEL)
            counts = np.bincount(row[earlier & (row != UNKNOWN_LABEL)], minlength=labels[task_row].max() + 1) + 1.0
            bits[task_row, in_block] = outputs.nats[task_row, in_block] / math.log(2)
            prior[task_row, in_block] = -np.log2(counts / counts.sum())[row[in_block]]
    return {name: (bits[task_row], prior[task_row]) for task_row, name in enumerate(codable)}


def _is_codable(labels: np.ndarray, in_first_block: np.ndarray, is_validation: np.ndarray) -> bool:
    """Has the first portion two classes to learn, and a label to stop by?"""
    is_labelled = labels != UNKNOWN_LABEL
    return len(np.unique(labels[in_first_block & ~is_validation & is_labelled])) > 1 and bool(
        (in_first_block & is_validation & is_labelled).any()
    )


def _control_task_correct(
    predictions: np.ndarray, stacked_labels: np.ndarray, row: int | None, test_indices: np.ndarray
) -> np.ndarray | None:
    return None if row is None else predictions[row, test_indices] == stacked_labels[row, test_indices]


def _validate_inputs(
    states: np.ndarray, tasks: Mapping[str, np.ndarray], entities: np.ndarray, splits: np.ndarray
) -> None:
    lengths = {len(states), len(entities), len(splits), *map(len, tasks.values())}
    if not tasks or len(lengths) > 1:
        raise DataError(
            f"{len(tasks)} tasks came with states, entities, parts and labels of {sorted(lengths)} places; "
            "give at least one task, and everything for the same places."
        )
    if not np.isfinite(states).all():
        raise DataError(
            "some states are no finite numbers, so a probe's answer there would mean nothing; look at the model."
        )
    if unknown := set(splits.tolist()) - set(PROBE_SPLITS):
        raise DataError(f"places are in the parts {sorted(unknown)}; name them {', '.join(PROBE_SPLITS)}.")
    entity_index = np.unique(entities, return_inverse=True)[1]
    split_of_entity = np.zeros(entity_index.max() + 1, dtype=splits.dtype)
    split_of_entity[entity_index] = splits
    if (split_of_entity[entity_index] != splits).any():
        repeated = str(entities[np.flatnonzero(split_of_entity[entity_index] != splits)[0]])
        raise DataError(f"{repeated!r} is in two parts, so a probe would be tested on whom it knows; split by entity.")
    for name, labels in tasks.items():
        is_labelled = labels != UNKNOWN_LABEL
        classes = {part: len(np.unique(labels[is_labelled & (splits == part)])) for part in PROBE_SPLITS}
        if classes["train"] < 2 or not classes["validation"] or not classes["test"]:
            raise DataError(
                f"task {name!r} has {classes['train']} classes to train on and labels of {classes['validation']} and "
                f"{classes['test']} classes to choose by and to test; it needs two, one and one."
            )


def _shuffled_labels(labels: np.ndarray, entities: np.ndarray, splits: np.ndarray, seed: Seed) -> np.ndarray:
    """The labels of each entity's places, shuffled, given to another of the same part, again if it has more."""
    shuffled = labels.copy()
    rng = seed.numpy()
    for part in PROBE_SPLITS[:2]:  # what is tested keeps its true labels: chance is what must come out
        indices = np.flatnonzero(splits == part)
        unique_entities, entity_index = np.unique(entities[indices], return_inverse=True)
        indices_by_entity = np.split(
            indices[np.argsort(entity_index, kind="stable")], np.cumsum(np.bincount(entity_index))[:-1]
        )
        for source, target in enumerate(rng.permutation(len(unique_entities))):
            source_labels = rng.permutation(
                labels[indices_by_entity[source]]
            )  # of some tasks everybody has the same row of labels
            shuffled[indices_by_entity[target]] = np.resize(source_labels, len(indices_by_entity[target]))
    return shuffled


def _control_task(labels: np.ndarray, control_types: np.ndarray, splits: np.ndarray, seed: Seed) -> np.ndarray:
    """A label for each kind, dealt out at random so that each occurs among kinds as it does in training."""
    train_labels = labels[(splits == "train") & (labels != UNKNOWN_LABEL)]
    unique_types, type_index = np.unique(np.asarray(control_types), return_inverse=True)
    shares = (np.arange(len(unique_types)) + 0.5) / len(unique_types)
    label_of_type = seed.numpy().permutation(np.sort(train_labels)[(shares * len(train_labels)).astype(int)])
    return np.where(labels == UNKNOWN_LABEL, UNKNOWN_LABEL, label_of_type[type_index])


class _ProbeStack(torch.nn.Module):
    """Probes with about equally many classes over the same inputs: (B, W) -> (B, K, C)."""

    def __init__(
        self, width: int, members: np.ndarray, class_counts: np.ndarray, hidden_layer_sizes: tuple[int, ...], seed: Seed
    ) -> None:
        super().__init__()
        self.members = members  # which of all probes these are
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
        self.beyond = torch.arange(max_classes) >= torch.from_numpy(class_counts[members])[:, None]  # no such class
        self.ragged = bool(self.beyond.any())

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Logits, minus infinity where a task has no such class."""
        x = torch.addmm(self.biases[0], states, self.weights[0]).view(len(states), len(self.members), -1)
        if len(self.weights) > 1:
            x = x.transpose(0, 1)
            for weight, bias in zip(list(self.weights)[1:], list(self.biases)[1:], strict=True):
                x = torch.baddbmm(bias, functional.relu(x), weight)
            x = x.transpose(0, 1)
        return x.masked_fill(self.beyond, -torch.inf) if self.ragged else x

    def copy_weights_into(self, best: list[torch.Tensor], improved: torch.Tensor) -> None:
        """Copy the weights of some of these probes, as they are now, into `best`."""
        for best_weights, parameter in zip(best, self.parameters(), strict=True):
            current = parameter.detach()
            if current.ndim == 2:  # the first layer: probes lie side by side in its columns
                best_weights, current = (
                    x.view(len(x), len(improved), -1).transpose(0, 1) for x in (best_weights, current)
                )
            best_weights[improved] = current[improved]


def _build_stacks(width: int, class_counts: np.ndarray, config: ProbeConfig, seed: Seed) -> list[_ProbeStack]:
    """All probes, in stacks whose smallest task fills two thirds of what its largest takes."""
    order = np.argsort(-class_counts, kind="stable")
    stacks, first = [], 0
    while first < len(order):
        last = first
        while last < len(order) and 1.5 * class_counts[order[last]] >= class_counts[order[first]]:
            last += 1
        stacks.append(
            _ProbeStack(width, order[first:last], class_counts, config.hidden_layer_sizes, seed / "weights" / first)
        )
        first = last
    return stacks


def _train(
    states: np.ndarray, labels: np.ndarray, splits: np.ndarray, config: ProbeConfig, seed: Seed
) -> tuple[_ProbeOutputs, np.ndarray]:
    """What the best weights of every probe say at all places, and after which epoch these weights came (K,)."""
    train, validation = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "validation")
    inputs = torch.from_numpy(_whiten(states, train))
    targets = torch.from_numpy(np.ascontiguousarray(labels.T.astype(np.int64)))  # (P, K)
    stacks = _build_stacks(inputs.shape[1], labels.max(1) + 1, config, seed)
    parameters = [p for stack in stacks for p in stack.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)
    best = [[p.detach().clone() for p in stack.parameters()] for stack in stacks]
    lowest_loss, best_epochs = torch.full((len(labels),), torch.inf), np.zeros(len(labels), dtype=int)
    batch_size = min(config.batch_size, math.ceil(len(train) / MIN_BATCHES_PER_EPOCH))
    validation_rows = torch.from_numpy(validation)
    for epoch in range(1, config.max_epochs + 1):
        order = (seed / "order" / epoch).numpy().permutation(train)
        for first in range(0, len(order), batch_size):
            fraction_done = (epoch - 1 + first / len(order)) / config.max_epochs
            optimizer.param_groups[0]["lr"] = config.lr * (1 - fraction_done)
            rows = torch.from_numpy(order[first : first + batch_size])
            sum(_nats(stack, inputs, targets, rows).sum() for stack in stacks).backward()  # type: ignore[union-attr]
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


def _whiten(states: np.ndarray, train: np.ndarray) -> np.ndarray:
    """States turned and scaled so that over the training places all directions vary alike. Shape: (P, W).

    Activations vary a thousand times more along some directions than along others, and a probe would
    spend its epochs on the first. A linear probe can say the same before and after;
    `benchmarks/choices.py` holds the two against each other.
    """
    given = np.asarray(states, dtype=np.float64)
    centred = given - given[train].mean(0)
    eigenvalues, eigenvectors = np.linalg.eigh(centred[train].T @ centred[train] / len(train))
    scale = 1 / np.sqrt(np.maximum(eigenvalues, 0) + MIN_RELATIVE_VARIANCE * max(eigenvalues.max(), 1e-12))
    whitened: np.ndarray = (centred @ (eigenvectors * scale)).astype(np.float32)
    return whitened


def _nats(stack: _ProbeStack, inputs: torch.Tensor, targets: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of each of the stack's probes over its labelled rows. Shape: (K,)."""
    logits = stack(inputs[rows])
    labels = targets[rows][:, torch.from_numpy(stack.members)]
    nats = functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=UNKNOWN_LABEL, reduction="none"
    )
    return nats.view(labels.shape).sum(0) / (labels != UNKNOWN_LABEL).sum(0).clamp(min=1)


@dataclass(frozen=True)
class _ProbeOutputs:
    """What probes say at all places. Shapes: (K, P)."""

    predictions: np.ndarray  # first choices
    confidence: np.ndarray  # their probabilities
    nats: np.ndarray  # negative log-likelihoods of the true labels, 0 where there is none


@torch.no_grad()
def _predict(
    stacks: list[_ProbeStack],
    best: list[list[torch.Tensor]],
    inputs: torch.Tensor,
    targets: torch.Tensor,
    batch_size: int,
) -> _ProbeOutputs:
    shape = targets.shape[1], len(inputs)
    outputs = _ProbeOutputs(np.empty(shape, dtype=np.int64), *(np.empty(shape, dtype=np.float32) for _ in range(2)))
    for stack, weights in zip(stacks, best, strict=True):
        for parameter, best_weights in zip(stack.parameters(), weights, strict=True):
            parameter.copy_(best_weights)
        for first in range(0, len(inputs), batch_size):
            rows = slice(first, first + batch_size)
            logits = stack(inputs[rows])
            confidence, prediction = logits.softmax(-1).max(-1)
            labels = targets[rows][:, torch.from_numpy(stack.members)]
            flat, true = logits.flatten(0, 1), labels.flatten()
            nats = functional.cross_entropy(flat, true, ignore_index=UNKNOWN_LABEL, reduction="none")
            outputs.predictions[stack.members, rows] = prediction.T.numpy()
            outputs.confidence[stack.members, rows] = confidence.T.numpy()
            outputs.nats[stack.members, rows] = nats.view(labels.shape).T.numpy()
    return outputs
