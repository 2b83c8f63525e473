"""Probes after a frozen network whose input embedding they may update: a norm, a linear layer, and a low-rank update.

All tasks are trained in one pass: each has rows of its own, with its own update added to the network's input. Rank 0
has no update: it is cheaper, and measures what the frozen network has without help.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), sections 5.1 and 5.2, appendices E and F (norms, ranks, AdamW with
weight decay 0.3 and a learning rate of 1e-3 that falls linearly to zero). Letters: K tasks, N texts, B texts of a
batch, T tokens, P positions, W width, C classes of the largest task.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from nosce.errors import DataError, SpecError
from nosce.seeds import Seed

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


MAX_SHARED_TEXTS = 256  # whose embeddings are looked up at once
TOKENS_PER_FORWARD = 2_048  # of a CPU, run through the network at once, so that activations stay in its caches


@dataclass(frozen=True, kw_only=True)
class LowRankProbeConfig:
    """The training of probes. The paper's have 30,000 steps of 50 texts, or of 200 names.

    Attributes:
        rank: Rank of the update of the embedding. 0: no update.
        steps: Optimizer steps.
        batch_size: Texts of a step.
        peak_lr: Learning rate of the first step, which falls linearly to zero.
        weight_decay: Of AdamW.
        epsilon: Of AdamW.
        dtype: The number format of the frozen network: float32, bfloat16, or "auto", as in a training. Embeddings,
            norms and linear layers are float32.
    """

    rank: int
    steps: int
    batch_size: int
    peak_lr: float = 1e-3
    weight_decay: float = 0.3
    epsilon: float = 1e-6
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        if self.rank < 0 or min(self.steps, self.batch_size) < 1 or self.peak_lr <= 0 or self.weight_decay < 0:
            raise SpecError(
                f"LowRankProbeConfig of rank {self.rank}, {self.steps} steps of {self.batch_size} texts at "
                f"{self.peak_lr:g} learns nothing; take a rank of 0 or more, a step, a text, and a positive rate."
            )

    @property
    def timing_subset(self) -> tuple[LowRankProbeConfig, float]:
        """A configuration of a few small steps for timing, and how many times as long all steps take."""
        subset = replace(self, steps=min(self.steps, 4), batch_size=min(self.batch_size, 4))
        return subset, self.steps * self.batch_size / (subset.steps * subset.batch_size)


@dataclass(frozen=True, eq=False)
class LowRankProbeDataset:
    """Texts with the positions at which they are read, and labels.

    Attributes:
        tokens: Padded on the right. Shape: (N, T).
        positions: The positions that are read. Shape: (N, P).
        labels: Classes from 0, or -1 where unknown. Shape: (K, N).
        label_mask: Does the position count, that is, has the text not stated the value before it? Shape: (K, N, P).
        class_counts: Number of classes of each task.
    """

    tokens: np.ndarray
    positions: np.ndarray
    labels: np.ndarray
    label_mask: np.ndarray
    class_counts: tuple[int, ...]


def fit_predict_low_rank_probes(
    model: PreTrainedModel,
    dataset: LowRankProbeDataset,
    train: np.ndarray,
    test: np.ndarray,
    config: LowRankProbeConfig,
    seed: Seed,
    norm: Literal["layer", "batch"] = "layer",
    site: str = "final",
) -> np.ndarray:
    """The likeliest classes for the texts `test`, by probes trained on the texts `train`. Shape: (K, test texts, P).

    Classes at positions that do not count (`LowRankProbeDataset.label_mask`) are arbitrary.

    Args:
        model: The frozen network, which is not changed.
        dataset: All texts.
        train: Indices of the texts to train on.
        test: Indices of the texts to predict.
        config: Training of the probes.
        seed: Seed of initial weights and batches.
        norm: Before the linear layer: over features (P-probing) or over texts (Q-probing).
        site: Where hidden states are read (`nosce.models.hooks`).

    Raises:
        DataError: There is no text to train on or none to predict.
    """
    import torch

    if not len(train) or not len(test):
        raise DataError(
            "probes need entities to train on and others to test on, and one of the two groups is empty; split them."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed.integer())
        frozen = model.eval().requires_grad_(False)
        probes = _LowRankProbes(frozen, dataset, config, norm, site)
        optimizer = torch.optim.AdamW(
            probes.parameters, lr=config.peak_lr, eps=config.epsilon, weight_decay=config.weight_decay, fused=True
        )
        rng = (seed / "order").numpy()
        order: list[int] = []
        for step in range(config.steps):
            while len(order) < config.batch_size:
                order += rng.permutation(train).tolist()
            rows, order = np.array(order[: config.batch_size]), order[config.batch_size :]
            for group in optimizer.param_groups:
                group["lr"] = config.peak_lr * (1 - step / config.steps)
            loss = probes.loss(rows)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch
            optimizer.step()
        return probes.predict(test)


@dataclass(eq=False)
class _LowRankProbes:
    """Norm, linear layer and embedding update of every task, side by side."""

    model: PreTrainedModel
    dataset: LowRankProbeDataset
    config: LowRankProbeConfig
    norm: Literal["layer", "batch"]
    site: str
    parameters: list[torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        import torch

        from nosce.models.architecture import is_bidirectional
        from nosce.models.number_format import bfloat16_copy, choose_precision

        table = self.model.get_input_embeddings().weight
        tasks, width, classes = len(self.dataset.class_counts), table.shape[1], max(self.dataset.class_counts)
        on_device = {"device": table.device}
        self._table = table
        self._scale = torch.ones(tasks, 1, width, **on_device, requires_grad=True)
        self._shift = torch.zeros(tasks, 1, width, **on_device, requires_grad=True)
        self._linear = (torch.randn(tasks, width, classes) * width**-0.5).to(table.device).requires_grad_()
        self._bias = torch.zeros(tasks, 1, classes, **on_device, requires_grad=True)
        # As in LoRA: one factor is random and the other zero, so that the first update is zero.
        self._down = torch.zeros(tasks, table.shape[0], max(1, self.config.rank), **on_device, requires_grad=True)
        up = torch.randn(tasks, max(1, self.config.rank), width) * 0.02  # drawn on the CPU: the same on every device
        self._up = up.to(table.device).requires_grad_()
        is_padding_class = (
            torch.arange(classes, **on_device)[None] >= torch.tensor(self.dataset.class_counts, **on_device)[:, None]
        )
        self._none = is_padding_class[:, None]  # (K, 1, C)
        self._mean = torch.zeros(tasks, 1, width, **on_device)
        self._spread = torch.ones(tasks, 1, width, **on_device)
        # Tokens after the last position that counts for a task do not change earlier states and are not computed. A
        # norm over all texts counts every position; a bidirectional network is shown the text up to its last position.
        read_ends = self.dataset.positions + 1  # (N, P)
        if self.norm == "layer" and not is_bidirectional(self.model):
            self._ends = (self.dataset.label_mask * read_ends).max(-1).clip(min=1)  # (K, N)
        else:
            self._ends = np.tile(read_ends.max(-1), (tasks, 1))
        is_rounded = choose_precision(self.config.dtype, device=table.device.type) == "bfloat16"
        self._network = bfloat16_copy(self.model) if is_rounded else self.model
        self._shared_states = None if self.config.rank else self._all_states()  # (N, P, W)
        self.parameters = [self._scale, self._shift, self._linear, self._bias]
        self.parameters += [self._down, self._up] if self.config.rank else []

    def loss(self, rows: np.ndarray) -> torch.Tensor:
        """The mean over tasks of the cross-entropy at positions that count."""
        import torch

        logits = self._logits(rows, training=True)  # (K, B * P, C)
        labels = torch.from_numpy(self.dataset.labels[:, rows]).to(logits.device)
        label_mask = torch.from_numpy(self.dataset.label_mask[:, rows]).to(logits.device).flatten(1)
        targets = labels[:, :, None].expand(-1, -1, self.dataset.positions.shape[1]).flatten(1)
        targets = torch.where(label_mask, targets, -100)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The likeliest class. Shape: (K, rows, P)."""
        import torch

        places, predictions = self.dataset.positions.shape[1], []
        with torch.no_grad():
            for first in range(0, len(rows), self.config.batch_size):
                batch = rows[first : first + self.config.batch_size]
                best = self._logits(batch, training=False).argmax(-1).cpu().numpy()
                predictions.append(best.reshape(len(self.dataset.class_counts), len(batch), places))
        return np.concatenate(predictions, 1)

    def _logits(self, rows: np.ndarray, *, training: bool) -> torch.Tensor:
        import torch

        states = self._states(rows)  # (K, B * P, W)
        if self.norm == "layer":
            states = torch.nn.functional.layer_norm(states, states.shape[-1:])
        else:
            if training:
                mean, variance = states.mean(1, keepdim=True), states.var(1, keepdim=True, unbiased=False)
                with torch.no_grad():  # running estimates for prediction
                    self._mean.lerp_(mean, 0.1)
                    self._spread.lerp_(variance, 0.1)
            else:
                mean, variance = self._mean, self._spread
            states = (states - mean) / (variance + 1e-5).sqrt()
        logits: torch.Tensor = (states * self._scale + self._shift) @ self._linear + self._bias
        return logits.masked_fill(self._none, float("-inf"))

    def _states(self, rows: np.ndarray) -> torch.Tensor:
        """Hidden states at the positions, for each task with its own update of the embedding. Shape: (K, B * P, W)."""
        import torch

        tasks = len(self.dataset.class_counts)
        if self._shared_states is not None:
            states = self._shared_states[torch.from_numpy(rows).to(self._table.device)].flatten(0, 1)
            return states[None].expand(tasks, -1, -1)
        ends = self._ends[:, rows].ravel()
        tokens = torch.from_numpy(self.dataset.tokens[rows, : ends.max()]).to(self._table.device)
        update = self._down[:, tokens] @ self._up[:, None]  # (K, B, T, W)
        embeddings = (self._table[tokens][None] + update).flatten(0, 1)
        states = self._run_network(embeddings, ends, np.tile(self.dataset.positions[rows], (tasks, 1)))
        return states.view(tasks, -1, states.shape[-1])

    def _all_states(self) -> torch.Tensor:
        """The states of all texts, which are the same for every task as long as no embedding is updated."""
        import torch

        with torch.no_grad():
            parts = []
            for first in range(0, len(self.dataset.tokens), MAX_SHARED_TEXTS):
                part = slice(first, first + MAX_SHARED_TEXTS)
                tokens, positions = self.dataset.tokens[part], self.dataset.positions[part]
                embeddings = self._table[torch.from_numpy(tokens).to(self._table.device)]
                parts.append(self._run_network(embeddings, positions.max(-1) + 1, positions))
            return torch.cat(parts)

    def _run_network(self, embeddings: torch.Tensor, ends: np.ndarray, positions: np.ndarray) -> torch.Tensor:
        """States at the site, at positions of rows of embeddings.

        Args:
            embeddings: Of each row. Shape: (R, T, W).
            ends: Tokens of each row that the network reads. Shape: (R,).
            positions: Positions to read; those behind the end are read at the end and do not count. Shape: (R, P).

        Returns:
            The states in float32. Shape: (R, P, W).
        """
        import torch

        from nosce.models.varlen import gather_distinct, varlen_site_states

        device, width = embeddings.device, embeddings.shape[-1]
        order = np.argsort(-ends, kind="stable")
        lengths, token_starts = ends[order], order * embeddings.shape[1]
        starts = np.cumsum(lengths) - lengths
        indices = torch.from_numpy(np.repeat(token_starts - starts, lengths) + np.arange(lengths.sum())).to(device)
        long_row = gather_distinct(embeddings.flatten(0, 1), indices).to(self._network.dtype)
        passes = (starts + lengths - 1) // (TOKENS_PER_FORWARD if device.type == "cpu" else len(indices))
        outputs, cuts = [], np.flatnonzero(np.diff(passes, prepend=-1, append=-1))
        with varlen_site_states(self._network, self.site) as states_at_site:
            for first, last in itertools.pairwise(cuts):
                start, rows = starts[first], order[first:last]
                stop = starts[last - 1] + lengths[last - 1]
                states = states_at_site(long_row[start:stop], lengths[first:last])
                read = np.minimum(positions[rows], ends[rows, None] - 1) + (starts[first:last, None] - start)
                outputs.append(states[torch.from_numpy(read).to(device)].float())
        inverse_order = torch.from_numpy(np.argsort(order)).to(device)
        return torch.cat(outputs)[inverse_order].view(len(ends), -1, width)
