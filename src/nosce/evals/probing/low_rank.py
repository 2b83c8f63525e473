"""Probes behind a frozen network whose input embedding they may update: a norm, a linear layer, and a low rank.

All tasks are trained in one pass: each has rows of its own, with its own update added to what the network is given.
With rank 0 there is no update: cheaper, and another thing.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), sections 5.1 and 5.2, appendices E and F (norms, ranks, AdamW with
weight decay 0.3 and a rate of 1e-3 that falls to zero along a line). Letters: K tasks, B texts, T tokens, P places,
W width, C classes of the largest task.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nosce.errors import DataError, SpecError
from nosce.seeds import Seed

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


GROUPS = 8  # of texts of like length that are run through the network at once


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How probes are trained; the paper's are 30,000 steps of 50 texts, or of 200 names."""

    rank: int
    steps: int
    batch: int
    peak_lr: float = 1e-3
    decay: float = 0.3
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if self.rank < 0 or min(self.steps, self.batch) < 1 or self.peak_lr <= 0 or self.decay < 0:
            raise SpecError(
                f"Fit of rank {self.rank}, {self.steps} steps of {self.batch} texts at {self.peak_lr:g} learns nothing;"
                " take a rank of 0 or more, a step, a text, and a positive rate."
            )

    @property
    def part(self) -> tuple[Fit, float]:
        """A few small steps, and how many times as long all of them take: for whoever prices a read-out."""
        few = replace(self, steps=min(self.steps, 4), batch=min(self.batch, 4))
        return few, self.steps * self.batch / (few.steps * few.batch)


@dataclass(frozen=True, eq=False)
class Asked:
    """Texts with the places they are read at, and what is to be told there.

    `tokens` (N, T) are padded behind; `places` (N, P) are positions; `classes` (K, N) are counted from 0 (-1:
    unknown); `pending` (K, N, P) says at which places the value has not been told yet.
    """

    tokens: np.ndarray
    places: np.ndarray
    classes: np.ndarray
    pending: np.ndarray
    sizes: tuple[int, ...]  # classes of each task


def probed(
    model: PreTrainedModel, asked: Asked, train: np.ndarray, test: np.ndarray, fit: Fit, seed: Seed,
    norm: Literal["layer", "batch"] = "layer", site: str = "final",
) -> np.ndarray:  # fmt: skip
    """The classes that probes choose for the texts `test`, once trained on `train`. Shape: (K, test texts, places).

    What is chosen at places that do not count (`Asked.pending`) means nothing.

    Args:
        model: It is left as it was.
        site: Where its hidden states are read (`nosce.models.hooks`).
        norm: Before the linear layer: over features (P-probing) or over texts (Q-probing).

    Raises:
        DataError: There is nothing to train on, or nothing to test.
    """
    import torch

    if not len(train) or not len(test):
        raise DataError("probes were asked for, but one of the two halves of the people is empty; split them.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed.integer())
        frozen = model.eval().requires_grad_(False)
        probes = _Probes(frozen, asked, fit, norm, site)
        how: Any = torch.optim.AdamW(probes.weights, lr=fit.peak_lr, eps=fit.epsilon, weight_decay=fit.decay)
        rng = (seed / "order").numpy()
        order: list[int] = []
        for step in range(fit.steps):
            while len(order) < fit.batch:
                order += rng.permutation(train).tolist()
            rows, order = np.array(order[: fit.batch]), order[fit.batch :]
            for group in how.param_groups:
                group["lr"] = fit.peak_lr * (1 - step / fit.steps)
            loss: Any = probes.loss(rows)
            how.zero_grad()
            loss.backward()
            how.step()
        return probes.chosen(test)


@dataclass(eq=False)
class _Probes:
    """Norm, linear layer and embedding update of every task, side by side."""

    model: PreTrainedModel
    asked: Asked
    fit: Fit
    norm: Literal["layer", "batch"]
    site: str
    weights: list[torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        import torch

        from nosce.models.architecture import sees_both_ways

        table = self.model.get_input_embeddings().weight
        tasks, width, classes = len(self.asked.sizes), table.shape[1], max(self.asked.sizes)
        where = {"device": table.device}
        self._table = table
        self._scale = torch.ones(tasks, 1, width, **where, requires_grad=True)
        self._shift = torch.zeros(tasks, 1, width, **where, requires_grad=True)
        self._linear = (torch.randn(tasks, width, classes, **where) * width**-0.5).requires_grad_()
        self._bias = torch.zeros(tasks, 1, classes, **where, requires_grad=True)
        # As LoRA begins: one factor random, the other zero, so that at first nothing is changed.
        self._down = torch.zeros(tasks, table.shape[0], max(1, self.fit.rank), **where, requires_grad=True)
        self._up = (torch.randn(tasks, max(1, self.fit.rank), width, **where) * 0.02).requires_grad_()
        none = torch.arange(classes, **where)[None] >= torch.tensor(self.asked.sizes, **where)[:, None]
        self._none = none[:, None]  # (K, 1, C)
        self._mean = torch.zeros(tasks, 1, width, **where)
        self._spread = torch.ones(tasks, 1, width, **where)
        # What stands behind the last place that counts for a task changes nothing before it, and is not computed;
        # unless the norm is over all texts, or the network sees both ways.
        counted, length = self.asked.pending * (self.asked.places + 1), self.asked.tokens.shape[1]
        apart = self.norm == "layer" and not sees_both_ways(self.model)
        self._groups = GROUPS if apart else 1
        self._ends = counted.max(-1).clip(min=1) if apart else np.full(counted.shape[:2], length)  # (K, N)
        self.weights = [self._scale, self._shift, self._linear, self._bias]
        self.weights += [self._down, self._up] if self.fit.rank else []

    def loss(self, rows: np.ndarray) -> torch.Tensor:
        """The mean over tasks of the cross-entropy at places that count."""
        import torch

        scores = self._scores(rows, learning=True)  # (K, B * P, C)
        classes = torch.from_numpy(self.asked.classes[:, rows]).to(scores.device)
        counted = torch.from_numpy(self.asked.pending[:, rows]).to(scores.device).flatten(1)
        targets = classes[:, :, None].expand(-1, -1, self.asked.places.shape[1]).flatten(1)
        targets = torch.where(counted, targets, -100)
        return torch.nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=-100)

    def chosen(self, rows: np.ndarray) -> np.ndarray:
        """The likeliest class. Shape: (K, rows, P)."""
        import torch

        places, found = self.asked.places.shape[1], []
        with torch.no_grad():
            for first in range(0, len(rows), self.fit.batch):
                part = rows[first : first + self.fit.batch]
                best = self._scores(part, learning=False).argmax(-1).cpu().numpy()
                found.append(best.reshape(len(self.asked.sizes), len(part), places))
        return np.concatenate(found, 1)

    def _scores(self, rows: np.ndarray, *, learning: bool) -> torch.Tensor:
        import torch

        states = self._states(rows)  # (K, B * P, W)
        if self.norm == "layer":
            states = torch.nn.functional.layer_norm(states, states.shape[-1:])
        else:
            if learning:
                mean, spread = states.mean(1, keepdim=True), states.var(1, keepdim=True, unbiased=False)
                with torch.no_grad():  # running values, for when nothing is learnt
                    self._mean.lerp_(mean, 0.1)
                    self._spread.lerp_(spread, 0.1)
            else:
                mean, spread = self._mean, self._spread
            states = (states - mean) / (spread + 1e-5).sqrt()
        scores: torch.Tensor = (states * self._scale + self._shift) @ self._linear + self._bias
        return scores.masked_fill(self._none, float("-inf"))

    def _states(self, rows: np.ndarray) -> torch.Tensor:
        """Last hidden states at the places, each task's with its own update of the embedding."""
        import torch

        device, tasks = self._table.device, len(self.asked.sizes)
        tokens = torch.from_numpy(self.asked.tokens[rows]).to(device)
        places = torch.from_numpy(self.asked.places[rows]).to(device)
        given = self._table[tokens]  # (B, T, W)
        if not self.fit.rank:
            hidden = self._hidden(given, places)
            read: torch.Tensor = hidden.gather(1, places[:, :, None].expand(-1, -1, hidden.shape[-1])).flatten(0, 1)
            return read[None].expand(tasks, -1, -1)
        update = self._down[:, tokens] @ self._up[:, None]  # (K, B, T, W)
        changed, at = (given[None] + update).flatten(0, 1), places.repeat(tasks, 1)
        found, ends = [], self._ends[:, rows].ravel()
        order = np.argsort(ends, kind="stable")
        for group in np.array_split(order, min(self._groups, len(order))):
            end, mine = int(ends[group[-1]]), torch.from_numpy(group).to(device)
            here = at[mine].clamp(max=end - 1)  # what lies behind the end counts for nothing
            hidden = self._hidden(changed[:, :end][mine], here)
            found.append(hidden.gather(1, here[:, :, None].expand(-1, -1, hidden.shape[-1])))
        back = torch.from_numpy(np.argsort(order)).to(device)
        return torch.cat(found)[back].view(tasks, -1, changed.shape[-1])

    def _hidden(self, given: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """States at the site, of rows of embeddings; who sees both ways is shown nothing behind the last place."""
        import torch

        from nosce.models.architecture import sees_both_ways
        from nosce.models.hooks import watched

        how: dict[str, Any] = {"use_cache": False}
        if sees_both_ways(self.model):
            ends = places.max(1, keepdim=True).values
            how = {"attention_mask": (torch.arange(given.shape[1], device=given.device) <= ends).long()}
        if self.site == "final":
            return self.model.base_model(inputs_embeds=given, **how).last_hidden_state  # type: ignore[no-any-return]
        with watched(self.model, [self.site]) as seen:
            self.model.base_model(inputs_embeds=given, **how)
        return seen[self.site]
