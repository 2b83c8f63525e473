"""The optimizer of a training: AdamW for all weights, or Muon for the blocks' matrices and AdamW for the rest.

Muon (Jordan et al. 2024) takes a step of the same size in every direction of a matrix. AdamW keeps the embeddings, the
head, the norms and the biases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from nosce.models.number_format import choose_precision
from nosce.train.config import TrainingConfig
from nosce.train.muon import Muon
from nosce.train.sharding import gathered

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NamedParameters = dict[str, torch.nn.Parameter]


class Optimizer:
    """One or two optimizers of torch that follow one learning-rate schedule."""

    def __init__(
        self,
        named_parameters: NamedParameters,
        config: TrainingConfig,
        muon_names: frozenset[str] = frozenset(),
        *,
        device: str = "cpu",
    ) -> None:
        """An optimizer of these weights.

        Args:
            named_parameters: The weights, by name.
            config: Learning rates and their schedule, decay, moments.
            muon_names: The weights that Muon takes, where `config.optimizer` is "muon".
            device: Device of torch; where it multiplies bfloat16, Muon's iterations are computed so.
        """
        self.config, self._parameters = config, list(named_parameters.values())
        muon_precision = choose_precision("auto", device=device)
        muon = {n: p for n, p in named_parameters.items() if n in muon_names} if config.optimizer == "muon" else {}
        rest = [p for n, p in named_parameters.items() if n not in muon]
        self._optimizers: list[tuple[torch.optim.Optimizer, float]] = []
        if muon:
            matrices = Muon(
                muon.values(),
                lr=config.muon_lr,
                weight_decay=config.weight_decay,
                momentum=config.muon_momentum,
                precision=torch.float32 if muon_precision == "float32" else torch.bfloat16,
            )
            self._optimizers.append((matrices, config.muon_lr))
        if rest:
            self._optimizers.append((_adamw(rest, config), config.peak_lr))

    def step(self, step: int) -> None:
        """Take step number `step`, counted from 0, with the accumulated gradients, and clear them."""
        for optimizer, peak in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * self.config.lr_multiplier(step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def clipped_step(self, step: int) -> torch.Tensor:
        """Clip the gradients as configured and take step number `step`; the norm before clipping, 0-d."""
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.max_grad_norm)
        self.step(step)
        return gathered(norm)

    def moments(self, parameter: torch.nn.Parameter) -> dict[str, torch.Tensor]:
        """The optimizer's state of a weight; empty before the first step."""
        return dict(self._optimizer_of(parameter).state.get(parameter, {}))

    def load_moments(self, parameter: torch.nn.Parameter, moments: dict[str, torch.Tensor]) -> None:
        """Restore the state that `moments` returned."""
        self._optimizer_of(parameter).state[parameter] = moments

    def _optimizer_of(self, parameter: torch.nn.Parameter) -> torch.optim.Optimizer:
        for optimizer, _ in self._optimizers:
            if any(p is parameter for group in optimizer.param_groups for p in group["params"]):
                return optimizer
        raise KeyError("no optimizer was given this weight")


def block_matrix_names(model: PreTrainedModel) -> frozenset[str]:
    """The names of the matrices inside the blocks: weights with two dimensions, without embeddings and head."""
    outer: set[int] = set()
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            outer.update(id(p) for p in module.parameters())
    head: torch.nn.Module | None = model.get_output_embeddings()
    outer.update(id(p) for p in (head.parameters() if head is not None else ()))
    inner = ((n, p) for n, p in model.named_parameters() if p.ndim == 2 and id(p) not in outer)
    return frozenset(n for n, _ in inner if "lora_embedding" not in n)  # peft's update of the embedding


def _adamw(weights: list[torch.nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW with weight decay on matrices only."""
    groups = [
        {"params": [p for p in weights if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=config.peak_lr, betas=config.betas, eps=config.epsilon, fused=True
    )
