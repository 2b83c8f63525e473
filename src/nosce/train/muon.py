"""Muon: momentum whose update is orthogonalised, so that a step has the same size in every direction of a matrix.

Orthogonalising means five Newton-Schulz iterations X ← (a I + b A + c A²) X with A = X Xᵀ. Two things make them
cheap on a processor. All matrices of one shape go through one batched product. And where the matrix is wide, the
iterations run on the small Gram matrix A alone: the factors are polynomials of one symmetric matrix, so they
commute, A becomes P A P with P = a I + b A + c A², and only the product of all factors meets X, once.

Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; the coefficients, the Nesterov momentum and
the learning rate of tall matrices are those of `torch.optim.Muon`, which iterates in bfloat16.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch

from nosce.train.sharding import own_part, sharded_like, whole_of

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
MIN_NORM = 1e-7  # keeps the division of a matrix of zeros finite
GRAM_ASPECT = 1.5  # columns a row from which the Gram matrix takes fewer multiplications: 17 + 2 r against 5 + 10 r
MAX_STACKED_NUMBERS = 2**24  # numbers that one batched product takes, 64 MB in float32


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay, for weights with two dimensions.

    Args:
        matrices: The weights, each of two dimensions.
        lr: Learning rate; a matrix with more rows than columns takes it times the root of their ratio.
        weight_decay: Share of a weight that a step of learning rate 1 takes away.
        momentum: Share of the mean gradient that a step keeps.
        precision: Number format of the iterations; bfloat16 pays where the device multiplies it faster.
    """

    def __init__(
        self,
        matrices: Iterable[torch.nn.Parameter],
        *,
        lr: float,
        weight_decay: float,
        momentum: float,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.precision = precision
        super().__init__(list(matrices), {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch: a closure may return a loss
        """Take a step with the gradients that are there; weights without one stay."""
        for group in self.param_groups:
            with_gradient = [p for p in group["params"] if p.grad is not None]
            for matrices in _stacks(with_gradient):
                self._step_stack(matrices, group["lr"], group["weight_decay"], group["momentum"])

    def _step_stack(self, matrices: list[torch.nn.Parameter], lr: float, weight_decay: float, momentum: float) -> None:
        """The step of matrices of one shape."""
        weights = [own_part(p.detach()) for p in matrices]
        gradients = [own_part(p.grad) for p in matrices if p.grad is not None]
        buffers = [own_part(self._momentum_buffer(p)) for p in matrices]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        smoothed = torch._foreach_lerp(gradients, buffers, momentum)
        whole = torch.stack([whole_of(part, like) for part, like in zip(smoothed, matrices, strict=True)])
        orthogonal = orthogonalize(whole, self.precision)  # of whole matrices, in every process: parts have others
        updates = [own_part(sharded_like(u, like)) for u, like in zip(orthogonal, matrices, strict=True)]
        rows, columns = matrices[0].shape
        torch._foreach_mul_(weights, 1 - lr * weight_decay)
        torch._foreach_add_(weights, updates, alpha=-lr * max(1.0, rows / columns) ** 0.5)

    def _momentum_buffer(self, matrix: torch.nn.Parameter) -> torch.Tensor:
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        buffer: torch.Tensor = state["momentum_buffer"]
        return buffer


def orthogonalize(matrices: torch.Tensor, precision: torch.dtype = torch.float32) -> torch.Tensor:
    """Matrices with the singular vectors of the given ones and singular values of about 1 (0.7 to 1.2).

    Args:
        matrices: Shape (stack, rows, columns).
        precision: Number format of the iterations; in bfloat16 they always run on the matrices themselves, because
            the Gram matrix squares the rounding.

    Returns:
        The matrices, of the same shape and number format.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    wide = (matrices.mT if tall else matrices).to(precision)
    wide = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=MIN_NORM)  # no singular value above 1
    small = precision == torch.float32 and wide.shape[2] >= GRAM_ASPECT * wide.shape[1]
    result = (_iterate_gram if small else _iterate)(wide).to(matrices.dtype)
    return result.mT if tall else result


def _iterate(wide: torch.Tensor) -> torch.Tensor:
    """The iterations on the matrices themselves."""
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = wide @ wide.mT
        wide = torch.baddbmm(wide, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide


def _iterate_gram(wide: torch.Tensor) -> torch.Tensor:
    """The iterations on the Gram matrices; all factors together meet the matrices once."""
    a, b, c = COEFFICIENTS
    gram = wide @ wide.mT
    product: torch.Tensor | None = None
    for iteration in range(ITERATIONS):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        product = factor if product is None else factor @ product
        if iteration < ITERATIONS - 1:
            gram = factor @ gram @ factor
    assert product is not None
    return product @ wide


def _stacks(matrices: list[torch.nn.Parameter]) -> list[list[torch.nn.Parameter]]:
    """The matrices by shape and device, in groups that one batched product can hold."""
    by_shape: defaultdict[tuple[torch.Size, torch.device], list[torch.nn.Parameter]] = defaultdict(list)
    for matrix in matrices:
        by_shape[matrix.shape, matrix.device].append(matrix)
    stacks = []
    for (shape, _), alike in by_shape.items():
        size = max(1, MAX_STACKED_NUMBERS // shape.numel())
        stacks += [alike[start : start + size] for start in range(0, len(alike), size)]
    return stacks
