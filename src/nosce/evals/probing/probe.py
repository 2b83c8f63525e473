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

UNKNOWN = -1  # a label that is missing: the place is left out of that task
LEAST_BATCHES = 16
FLOOR = 1e-10  # of the largest variance: directions that vary less are not blown up further
Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class ProbeSpec:
    """The shape of a probe and how it is trained."""

    hidden: tuple[int, ...] = ()  # widths of hidden layers: none is linear, one or two are small perceptrons
    peak_lr: float | None = None  # falls to zero along a line; None: 0.02 where linear, 0.005 with hidden layers
    decay: float = 0.0  # decoupled weight decay
    batch: int = 512  # at most; small data still have `LEAST_BATCHES` an epoch
    epochs: int = 12  # at most
    patience: int = 4  # epochs without a better validation loss of any probe after which all stop

    def __post_init__(self) -> None:
        if len(self.hidden) > 2 or any(width < 1 for width in self.hidden):
            raise SpecError(f"ProbeSpec.hidden={self.hidden} is not none, one or two widths of 1 or more.")
        rate = 1.0 if self.peak_lr is None else self.peak_lr
        if min(self.batch, self.epochs, self.patience) < 1 or not 0 < rate < math.inf or not 0 <= self.decay < math.inf:
            raise SpecError(
                "ProbeSpec wants a positive learning rate, and batch, epochs and patience of 1 or more, "
                "and no negative decay."
            )

    @property
    def lr(self) -> float:
        """The learning rate of the first step."""
        return self.peak_lr if self.peak_lr is not None else 5e-3 if self.hidden else 2e-2


@dataclass(frozen=True)
class Probed:
    """What became of one task on one site: test places only, in their order."""

    task: str
    places: np.ndarray  # which places were tested
    answers: np.ndarray  # its first choice, for each
    sure: np.ndarray  # the probability of that choice, 0 to 1
    right: np.ndarray  # bool, for each
    constant: np.ndarray  # bool: would the most frequent training label have been right?
    shuffled: np.ndarray | None  # bool: was the probe right that learnt labels dealt out anew among entities?
    memorised: np.ndarray | None  # bool: was the control task right? None where places have no kind
    epochs: int  # after which its best weights were found

    @property
    def accuracy(self) -> float:
        """Share of test places that were right."""
        return float(self.right.mean())

    @property
    def selectivity(self) -> float | None:
        """Accuracy above that on a task which can only be memorised; None where there was none."""
        return None if self.memorised is None else float(self.right.mean() - self.memorised.mean())


def split(
    entities: Sequence[str] | np.ndarray, seed: Seed, *, validation: float = 0.1, test: float = 0.2
) -> np.ndarray:
    """ "train", "validation" or "test" for every place, all places of an entity alike. Shape: (P,).

    Raises:
        SpecError: The shares leave nobody for a part.
    """
    names, of = np.unique(np.asarray(entities), return_inverse=True)
    counts = [round(test * len(names)), round(validation * len(names))]
    if min(*counts, len(names) - sum(counts)) < 1:
        raise SpecError(f"{len(names)} entities cannot be split into {validation:.0%}, {test:.0%} and a rest.")
    order = seed.numpy().permutation(len(names))
    part = np.full(len(names), PARTS[0], dtype="<U10")
    part[order[: counts[0]]] = PARTS[2]
    part[order[counts[0] : sum(counts)]] = PARTS[1]
    return part[of]


def probe(
    states: np.ndarray,
    tasks: Mapping[str, np.ndarray],
    entities: Sequence[str] | np.ndarray,
    parts: np.ndarray,
    spec: ProbeSpec,
    seed: Seed,
    *,
    kinds: np.ndarray | None = None,
    controls: bool = True,
) -> list[Probed]:
    """Train one probe a task on the states of one site, with its controls, and test it.

    Args:
        states: (P, W) activations.
        tasks: Name -> (P,) labels counted from 0; `UNKNOWN` leaves a place out.
        entities: (P,) what each place is about.
        parts: (P,) of "train", "validation", "test", e.g. from `split`.
        spec: Shape and training.
        seed: Of initial weights, batches and the controls' labels.
        kinds: (P,) what a place shows that test places show too, e.g. its token. The control task gives
            each kind a random label; without kinds there is no selectivity.
        controls: False trains the tasks alone: half the time, and nothing to hold the result against but
            the best constant.

    Raises:
        DataError: An entity is in two parts, a part is empty, or a task has fewer than two classes.
    """
    entities, whole = np.asarray(entities), {k: np.asarray(v) for k, v in tasks.items()}
    _sound(states, whole, entities, parts)
    labels = {("task", name): given for name, given in whole.items()}
    for name, given in whole.items() if controls else ():
        labels["shuffled", name] = _dealt(given, entities, parts, seed / "shuffled" / name)
        if kinds is not None:
            labels["memorised", name] = _memory(given, kinds, parts, seed / "memorised" / name)
    stacked = np.stack(list(labels.values()))
    heard, epochs = _trained(states, stacked, parts, spec, seed)
    chosen, sure = heard.chosen, heard.sure
    test = parts == "test"
    number = {key: k for k, key in enumerate(labels)}
    found = []
    for name, given in whole.items():
        places = np.flatnonzero(test & (given != UNKNOWN))
        guess = np.bincount(given[(parts == "train") & (given != UNKNOWN)]).argmax()
        found.append(
            Probed(
                task=name,
                places=places,
                answers=chosen[number["task", name], places],
                sure=sure[number["task", name], places],
                right=chosen[number["task", name], places] == given[places],
                constant=given[places] == guess,
                shuffled=chosen[number["shuffled", name], places] == given[places] if controls else None,
                memorised=_hits(chosen, stacked, number.get(("memorised", name)), places),
                epochs=int(epochs[number["task", name]]),
            )
        )
    return found


def online_code(
    states: np.ndarray,
    tasks: Mapping[str, np.ndarray],
    entities: Sequence[str] | np.ndarray,
    spec: ProbeSpec,
    seed: Seed,
    *,
    portions: Sequence[float] = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0),
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What it costs to tell labels to somebody who has the states and learns a probe as the labels come.

    Labels are told in portions; those of one cost what a probe says that was trained on all before it, those of
    the first portion what equally likely classes would. A probe that is accurate for having been shown much, and
    not because the states make the task easy, costs much.

    Args:
        states: (P, W) activations.
        tasks: Name -> (P,) labels counted from 0; `UNKNOWN` leaves a place out.
        entities: (P,) what each place is about; an entity's places come in one portion.
        spec: Shape and training of the probes.
        seed: Of the order of entities and of the probes.
        portions: Shares of the entities that have been told after each portion, the last of them 1.

    Returns:
        Task -> bits of each place by the probes, and by how often each class was told before, which knows no state.
        Both (P,), null (NaN) where there is no label or in the first portion, which both tell alike. Tasks that have
        too few labels for the first portion to have two classes are left out.

    Source:
        Voita and Titov 2020 (arXiv:2003.12298), section 2.2, online code.
    """
    entities = np.asarray(entities)
    names, of = np.unique(entities, return_inverse=True)
    place = np.empty(len(names), dtype=np.int64)
    place[seed.numpy().permutation(len(names))] = np.arange(len(names))
    told = np.searchsorted(np.asarray(portions) * len(names), place[of], side="right")  # portion of each place
    held = place[of] % 10 == 0  # of what is known a tenth says when to stop
    fit = {name: np.asarray(values) for name, values in tasks.items() if _tellable(np.asarray(values), told == 0, held)}
    if not fit:
        return {}
    labels = np.stack(list(fit.values()))
    bits, prior = (np.full(labels.shape, np.nan) for _ in range(2))
    for portion in range(1, len(portions)):
        before, now = told < portion, told == portion
        # What is not yet told teaches nothing.
        parts = np.where(before & held, PARTS[1], np.where(before, PARTS[0], PARTS[2]))
        hidden = np.where((before | now)[None], labels, UNKNOWN)
        heard, _ = _trained(states, hidden, parts, spec, seed / portion)
        for number, row in enumerate(hidden):
            mine = now & (row != UNKNOWN)
            counts = np.bincount(row[before & (row != UNKNOWN)], minlength=labels[number].max() + 1) + 1.0
            bits[number, mine] = heard.nats[number, mine] / math.log(2)
            prior[number, mine] = -np.log2(counts / counts.sum())[row[mine]]
    return {name: (bits[number], prior[number]) for number, name in enumerate(fit)}


def _tellable(labels: np.ndarray, first: np.ndarray, held: np.ndarray) -> bool:
    """Has the first portion two classes to learn, and a label to stop by?"""
    there = labels != UNKNOWN
    return len(np.unique(labels[first & ~held & there])) > 1 and bool((first & held & there).any())


def _hits(chosen: np.ndarray, stacked: np.ndarray, number: int | None, places: np.ndarray) -> np.ndarray | None:
    return None if number is None else chosen[number, places] == stacked[number, places]


def _sound(states: np.ndarray, tasks: Mapping[str, np.ndarray], entities: np.ndarray, parts: np.ndarray) -> None:
    lengths = {len(states), len(entities), len(parts), *map(len, tasks.values())}
    if not tasks or len(lengths) > 1:
        raise DataError(
            f"{len(tasks)} tasks came with states, entities, parts and labels of {sorted(lengths)} places; "
            "give at least one task, and everything for the same places."
        )
    if not np.isfinite(states).all():
        raise DataError(
            "some states are no finite numbers, so a probe's answer there would mean nothing; look at the model."
        )
    if unknown := set(parts.tolist()) - set(PARTS):
        raise DataError(f"places are in the parts {sorted(unknown)}; name them {', '.join(PARTS)}.")
    of = np.unique(entities, return_inverse=True)[1]
    first = np.zeros(of.max() + 1, dtype=parts.dtype)
    first[of] = parts
    if (first[of] != parts).any():
        both = str(entities[np.flatnonzero(first[of] != parts)[0]])
        raise DataError(f"{both!r} is in two parts, so a probe would be tested on whom it knows; split by entity.")
    for name, labels in tasks.items():
        there = labels != UNKNOWN
        classes = {part: len(np.unique(labels[there & (parts == part)])) for part in PARTS}
        if classes["train"] < 2 or not classes["validation"] or not classes["test"]:
            raise DataError(
                f"task {name!r} has {classes['train']} classes to train on and labels of {classes['validation']} and "
                f"{classes['test']} classes to choose by and to test; it needs two, one and one."
            )


def _dealt(labels: np.ndarray, entities: np.ndarray, parts: np.ndarray, seed: Seed) -> np.ndarray:
    """The labels of each entity's places, shuffled, given to another of the same part, again if it has more."""
    dealt = labels.copy()
    rng = seed.numpy()
    for part in PARTS[:2]:  # what is tested keeps its true labels: chance is what must come out
        mine = np.flatnonzero(parts == part)
        names, of = np.unique(entities[mine], return_inverse=True)
        places = np.split(mine[np.argsort(of, kind="stable")], np.cumsum(np.bincount(of))[:-1])
        for giver, taker in enumerate(rng.permutation(len(names))):
            given = rng.permutation(labels[places[giver]])  # of some tasks everybody has the same row of labels
            dealt[places[taker]] = np.resize(given, len(places[taker]))
    return dealt


def _memory(labels: np.ndarray, kinds: np.ndarray, parts: np.ndarray, seed: Seed) -> np.ndarray:
    """A label for each kind, dealt out at random so that each occurs among kinds as it does in training."""
    known = labels[(parts == "train") & (labels != UNKNOWN)]
    names, of = np.unique(np.asarray(kinds), return_inverse=True)
    shares = (np.arange(len(names)) + 0.5) / len(names)
    drawn = seed.numpy().permutation(np.sort(known)[(shares * len(known)).astype(int)])
    return np.where(labels == UNKNOWN, UNKNOWN, drawn[of])


class _Stack(torch.nn.Module):
    """Probes with about equally many classes over the same inputs: (B, W) -> (B, K, C)."""

    def __init__(
        self, width: int, members: np.ndarray, classes: np.ndarray, hidden: tuple[int, ...], seed: Seed
    ) -> None:
        super().__init__()
        self.members = members  # which of all probes these are
        count, most = len(members), int(classes[members].max())
        sizes = (width, *hidden, most)
        generator = torch.Generator().manual_seed(seed.integer())
        self.weights, self.biases = torch.nn.ParameterList(), torch.nn.ParameterList()
        for number, (one, two) in enumerate(itertools.pairwise(sizes)):
            shape = (one, count * two) if number == 0 else (count, one, two)
            drawn = torch.randn(shape, generator=generator) / math.sqrt(one)
            self.weights.append(torch.nn.Parameter(drawn if hidden else torch.zeros(shape)))
            self.biases.append(torch.nn.Parameter(torch.zeros((1, count * two) if number == 0 else (count, 1, two))))
        self.beyond = torch.arange(most) >= torch.from_numpy(classes[members])[:, None]  # no such class
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

    def keep(self, best: list[torch.Tensor], which: torch.Tensor) -> None:
        """Copy the weights of some of these probes, as they are now, into `best`."""
        for kept, parameter in zip(best, self.parameters(), strict=True):
            now = parameter.detach()
            if now.ndim == 2:  # the first layer: probes lie side by side in its columns
                kept, now = (x.view(len(x), len(which), -1).transpose(0, 1) for x in (kept, now))
            kept[which] = now[which]


def _stacks(width: int, classes: np.ndarray, spec: ProbeSpec, seed: Seed) -> list[_Stack]:
    """All probes, in stacks whose smallest task fills two thirds of what its largest takes."""
    order = np.argsort(-classes, kind="stable")
    found, first = [], 0
    while first < len(order):
        last = first
        while last < len(order) and 1.5 * classes[order[last]] >= classes[order[first]]:
            last += 1
        found.append(_Stack(width, order[first:last], classes, spec.hidden, seed / "weights" / first))
        first = last
    return found


def _trained(
    states: np.ndarray, labels: np.ndarray, parts: np.ndarray, spec: ProbeSpec, seed: Seed
) -> tuple[_Heard, np.ndarray]:
    """What the best weights of every probe say at all places, and after which epoch these weights came (K,)."""
    train, validation = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "validation")
    inputs = torch.from_numpy(_white(states, train))
    targets = torch.from_numpy(np.ascontiguousarray(labels.T.astype(np.int64)))  # (P, K)
    stacks = _stacks(inputs.shape[1], labels.max(1) + 1, spec, seed)
    parameters = [p for stack in stacks for p in stack.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=spec.lr, weight_decay=spec.decay, fused=True)
    best = [[p.detach().clone() for p in stack.parameters()] for stack in stacks]
    lowest, epochs = torch.full((len(labels),), torch.inf), np.zeros(len(labels), dtype=int)
    batch = min(spec.batch, math.ceil(len(train) / LEAST_BATCHES))
    of_validation = torch.from_numpy(validation)
    for epoch in range(1, spec.epochs + 1):
        order = (seed / "order" / epoch).numpy().permutation(train)
        for first in range(0, len(order), batch):
            done = (epoch - 1 + first / len(order)) / spec.epochs
            optimizer.param_groups[0]["lr"] = spec.lr * (1 - done)
            rows = torch.from_numpy(order[first : first + batch])
            sum(_nats(stack, inputs, targets, rows).sum() for stack in stacks).backward()  # type: ignore[union-attr]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for stack, kept in zip(stacks, best, strict=True):
                nats, members = _nats(stack, inputs, targets, of_validation), torch.from_numpy(stack.members)
                better = nats < lowest[members] - 1e-4
                lowest[members] = torch.where(better, nats, lowest[members])
                epochs[stack.members[better.numpy()]] = epoch
                stack.keep(kept, better)
        if epoch - epochs.max() >= spec.patience:
            break
    return _heard(stacks, best, inputs, targets, batch), epochs


def _white(states: np.ndarray, train: np.ndarray) -> np.ndarray:
    """States turned and scaled so that over the training places all directions vary alike. Shape: (P, W).

    Activations vary a thousand times more along some directions than along others, and a probe would
    spend its epochs on the first. A linear probe can say the same before and after;
    `benchmarks/choices.py` holds the two against each other.
    """
    given = np.asarray(states, dtype=np.float64)
    centred = given - given[train].mean(0)
    size, turn = np.linalg.eigh(centred[train].T @ centred[train] / len(train))
    scale = 1 / np.sqrt(np.maximum(size, 0) + FLOOR * max(size.max(), 1e-12))
    white: np.ndarray = (centred @ (turn * scale)).astype(np.float32)
    return white


def _nats(stack: _Stack, inputs: torch.Tensor, targets: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of each of the stack's probes over its labelled rows. Shape: (K,)."""
    logits = stack(inputs[rows])
    mine = targets[rows][:, torch.from_numpy(stack.members)]
    nats = functional.cross_entropy(logits.flatten(0, 1), mine.flatten(), ignore_index=UNKNOWN, reduction="none")
    return nats.view(mine.shape).sum(0) / (mine != UNKNOWN).sum(0).clamp(min=1)


@dataclass(frozen=True)
class _Heard:
    """What probes say at all places. Shapes: (K, P)."""

    chosen: np.ndarray  # first choices
    sure: np.ndarray  # their probabilities
    nats: np.ndarray  # negative log-likelihoods of the true labels, 0 where there is none


@torch.no_grad()
def _heard(
    stacks: list[_Stack], best: list[list[torch.Tensor]], inputs: torch.Tensor, targets: torch.Tensor, batch: int
) -> _Heard:
    shape = targets.shape[1], len(inputs)
    found = _Heard(np.empty(shape, dtype=np.int64), *(np.empty(shape, dtype=np.float32) for _ in range(2)))
    for stack, weights in zip(stacks, best, strict=True):
        for parameter, kept in zip(stack.parameters(), weights, strict=True):
            parameter.copy_(kept)
        for first in range(0, len(inputs), batch):
            rows = slice(first, first + batch)
            logits = stack(inputs[rows])
            most, choice = logits.softmax(-1).max(-1)
            mine = targets[rows][:, torch.from_numpy(stack.members)]
            flat, true = logits.flatten(0, 1), mine.flatten()
            nats = functional.cross_entropy(flat, true, ignore_index=UNKNOWN, reduction="none")
            found.chosen[stack.members, rows] = choice.T.numpy()
            found.sure[stack.members, rows] = most.T.numpy()
            found.nats[stack.members, rows] = nats.view(mine.shape).T.numpy()
    return found
