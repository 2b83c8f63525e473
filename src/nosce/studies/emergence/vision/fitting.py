"""One training loop for all small networks: AdamW, shuffled batches, a cosine, one thread, named randomness."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch

from nosce.seeds import Seed


def seeded_network(build: Callable[[], torch.nn.Module], seed: Seed) -> torch.nn.Module:
    """A network whose first weights are drawn from a seed; the global generator is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed.integer())
        return build()


def train_network(
    network: torch.nn.Module,
    loss: Callable[[torch.nn.Module, torch.Tensor], torch.Tensor],
    batches: Iterator[torch.Tensor],
    *,
    steps: int,
    peak_lr: float,
) -> torch.nn.Module:
    """Train for so many steps; what a batch is made of is `loss`'s affair.

    Args:
        loss: (network, batch) -> scalar.
    """
    torch.set_num_threads(1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak_lr, weight_decay=0.0)
    for step, batch in zip(range(steps), batches, strict=False):
        warm = min(1.0, (step + 1) / max(1, steps // 20))
        for group in optimizer.param_groups:
            group["lr"] = peak_lr * warm * (0.05 + 0.95 * (1 + math.cos(math.pi * step / steps)) / 2)
        optimizer.zero_grad(set_to_none=True)
        loss(network, batch).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return network.eval()


def shuffled_batches(count: int, batch_size: int, seed: Seed) -> Iterator[torch.Tensor]:
    """Batches of numbers below `count`, every epoch in another order. Shape: (size,), or what is left of an epoch."""
    epoch = 0
    while True:
        order = torch.from_numpy((seed / epoch).numpy().permutation(count))
        yield from torch.split(order, batch_size)
        epoch += 1
