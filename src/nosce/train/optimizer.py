"""The optimizer of a recipe: AdamW for all weights, or Muon for the inner matrices and AdamW for the rest.

Muon (Jordan et al. 2024, as shipped with torch) takes a step of the same size in every direction of a
matrix. Embeddings, head, norms and biases are no such matrices and stay with AdamW.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from nosce.train.config import TrainingConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NamedParameters = dict[str, torch.nn.Parameter]


class Optimizer:
    """One or two of torch's optimizers that follow one schedule."""

    def __init__(
        self, named_parameters: NamedParameters, config: TrainingConfig, muon_names: frozenset[str] = frozenset()
    ) -> None:
        self.config = config
        muon = {n: p for n, p in named_parameters.items() if n in muon_names} if config.optimizer == "muon" else {}
        rest = [p for n, p in named_parameters.items() if n not in muon]
        self._optimizers: list[tuple[torch.optim.Optimizer, float]] = []
        if muon:
            matrices = torch.optim.Muon(
                muon.values(), lr=config.muon_lr, weight_decay=config.weight_decay, momentum=config.muon_momentum
            )
            self._optimizers.append((matrices, config.muon_lr))
        if rest:
            self._optimizers.append((_adamw(rest, config), config.peak_lr))

    def step(self, step: int) -> None:
        """Take step number `step`, counted from 0, from the gradients that lie there, and drop them."""
        for optimizer, peak in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * self.config.lr_multiplier(step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def moments(self, parameter: torch.nn.Parameter) -> dict[str, torch.Tensor]:
        """What is remembered of a weight between steps; empty before the first."""
        return dict(self._optimizer_of(parameter).state.get(parameter, {}))

    def load_moments(self, parameter: torch.nn.Parameter, moments: dict[str, torch.Tensor]) -> None:
        """Put back what `moments` gave."""
        self._optimizer_of(parameter).state[parameter] = moments

    def _optimizer_of(self, parameter: torch.nn.Parameter) -> torch.optim.Optimizer:
        for optimizer, _ in self._optimizers:
            if any(p is parameter for group in optimizer.param_groups for p in group["params"]):
                return optimizer
        raise KeyError("no optimizer was given this weight")


def block_matrix_names(model: PreTrainedModel) -> frozenset[str]:
    """The names of the matrices inside the blocks: of two dimensions, and neither embedding nor head."""
    outer: set[int] = set()
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            outer.update(id(p) for p in module.parameters())
    head: Any = model.get_output_embeddings()
    outer.update(id(p) for p in (head.parameters() if head is not None else ()))
    inner = ((n, p) for n, p in model.named_parameters() if p.ndim == 2 and id(p) not in outer)
    return frozenset(n for n, _ in inner if "lora_embedding" not in n)  # peft's updates of the embedding


def _adamw(weights: list[torch.nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW that decays matrices alone."""
    groups = [
        {"params": [p for p in weights if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=config.peak_lr, betas=config.betas, eps=config.epsilon, fused=True
    )
