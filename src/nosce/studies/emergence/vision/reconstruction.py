"""Images squeezed through a bottleneck: squared error falls smoothly, "close enough" jumps.

Source: Schaeffer et al. 2023 (arXiv:2304.15004), section 5: an autoencoder with one hidden layer on CIFAR100, and the
constructed metric Reconstruction_c; sizes here are the sheet's, section 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from nosce.errors import SpecError
from nosce.seeds import Seed
from nosce.studies.emergence.vision.images import DEFAULT, Images


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """An autoencoder pixels-bottleneck-pixels with tanh, and how close it comes to each held-out image.

    Metrics: `squared_error` (of the whole image), `within <c>` (is that below c?).
    """

    bottleneck: int
    images: Images = DEFAULT
    limits: tuple[float, ...] = (0.5, 1.5)
    epochs: int = 150
    batch: int = 64
    peak_lr: float = 3e-3
    name: str = "reconstruction"

    def __post_init__(self) -> None:
        if min(self.bottleneck, self.epochs, self.batch) < 1 or not all(limit > 0 for limit in self.limits):
            raise SpecError(f"{self} learns or measures nothing; take positive numbers.")

    def part(self) -> tuple[Reconstruction, float]:
        """A short one to take the time of, and how much longer this one is."""
        return replace(self, epochs=min(self.epochs, 8)), self.epochs / min(self.epochs, 8)

    def read(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """Train, and read every held-out image."""
        import torch

        from nosce.studies.emergence.vision.fitting import fit, seeded, shuffled

        pictures = self.images.load()
        flat = torch.from_numpy(pictures.train.reshape(len(pictures.train), -1))
        pixels = flat.shape[1]

        def make() -> torch.nn.Module:
            return torch.nn.Sequential(
                torch.nn.Linear(pixels, self.bottleneck), torch.nn.Tanh(), torch.nn.Linear(self.bottleneck, pixels)
            )

        def loss(net: torch.nn.Module, which: torch.Tensor) -> torch.Tensor:
            images = flat[which]
            error: torch.Tensor = ((net(images) - images) ** 2).mean()
            return error

        steps = self.epochs * -(-len(flat) // self.batch)
        batches = shuffled(len(flat), self.batch, seed / "order")
        net = fit(seeded(make, seed / "weights"), loss, batches, steps=steps, peak_lr=self.peak_lr)
        with torch.no_grad():
            images = torch.from_numpy(pictures.test.reshape(len(pictures.test), -1))
            errors = ((net(images) - images) ** 2).sum(1).numpy().astype(np.float64)
        yield table(self.name, "squared_error", errors)
        for limit in self.limits:
            yield table(self.name, f"within {limit:g}", (errors < limit).astype(np.float64))


def table(readout: str, metric: str, values: Any, *, facet: str = "", what: str = "image") -> pl.DataFrame:
    """Readings of things that are numbered through, with an outcome where they are right or wrong."""
    names = [f"{what}/{number}" for number in range(len(values))]
    return pl.DataFrame({"item": names, "about": names, "value": np.asarray(values, dtype=np.float64)}).with_columns(
        readout=pl.lit(readout), split=pl.lit("unseen"), facet=pl.lit(facet), metric=pl.lit(metric)
    )
