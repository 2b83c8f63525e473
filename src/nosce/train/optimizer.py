"""The optimizer of a recipe: AdamW for all weights, or Muon for the inner matrices and AdamW for the rest.

Muon (Jordan et al. 2024, as shipped with torch) takes a step of the same size in every direction of a
matrix. Embeddings, head, norms and biases are no such matrices and stay with AdamW.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from nosce.train.config import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Named = dict[str, torch.nn.Parameter]


class Optimizer:
    """One or two of torch's optimizers that follow one schedule."""

    def __init__(self, named: Named, recipe: Recipe, inner: frozenset[str] = frozenset()) -> None:
        self.recipe = recipe
        muon = {n: p for n, p in named.items() if n in inner} if recipe.optimizer == "muon" else {}
        rest = [p for n, p in named.items() if n not in muon]
        self._parts: list[tuple[torch.optim.Optimizer, float]] = []
        if muon:
            matrices = torch.optim.Muon(
                muon.values(), lr=recipe.matrix_lr, weight_decay=recipe.weight_decay, momentum=recipe.momentum
            )
            self._parts.append((matrices, recipe.matrix_lr))
        if rest:
            self._parts.append((_adamw(rest, recipe), recipe.peak_lr))

    def step(self, step: int) -> None:
        """Take step number `step`, counted from 0, from the gradients that lie there, and drop them."""
        for optimizer, peak in self._parts:
            for group in optimizer.param_groups:
                group["lr"] = peak * self.recipe.share(step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def moments(self, parameter: torch.nn.Parameter) -> dict[str, torch.Tensor]:
        """What is remembered of a weight between steps; empty before the first."""
        return dict(self._of(parameter).state.get(parameter, {}))

    def remember(self, parameter: torch.nn.Parameter, moments: dict[str, torch.Tensor]) -> None:
        """Put back what `moments` gave."""
        self._of(parameter).state[parameter] = moments

    def _of(self, parameter: torch.nn.Parameter) -> torch.optim.Optimizer:
        for optimizer, _ in self._parts:
            if any(p is parameter for group in optimizer.param_groups for p in group["params"]):
                return optimizer
        raise KeyError("no optimizer was given this weight")


def inner_matrices(model: PreTrainedModel) -> frozenset[str]:
    """The names of the matrices inside the blocks: of two dimensions, and neither embedding nor head."""
    outer: set[int] = set()
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            outer.update(id(p) for p in module.parameters())
    head: Any = model.get_output_embeddings()
    outer.update(id(p) for p in (head.parameters() if head is not None else ()))
    inner = ((n, p) for n, p in model.named_parameters() if p.ndim == 2 and id(p) not in outer)
    return frozenset(n for n, _ in inner if "lora_embedding" not in n)  # peft's updates of the embedding


def _adamw(weights: list[torch.nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW that decays matrices alone."""
    groups = [
        {"params": [p for p in weights if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=recipe.peak_lr, betas=recipe.betas, eps=recipe.epsilon, fused=True
    )
