"""Images squeezed through a bottleneck: squared error falls smoothly, "close enough" jumps.

Source: Schaeffer et al. 2023 (arXiv:2304.15004), section 5: an autoencoder with one hidden layer on CIFAR100, and the
constructed metric Reconstruction_c; sizes are this study's own, so that two cores suffice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from nosce.errors import SpecError
from nosce.evals.base import Experiment
from nosce.seeds import Seed
from nosce.studies.emergence.vision.images import DEFAULT_IMAGES, ImageDatasetConfig


@dataclass(frozen=True, kw_only=True)
class ImageReconstruction(Experiment):
    """An autoencoder pixels-bottleneck-pixels with tanh, and how close it comes to each held-out image.

    Metrics: `squared_error` (of the whole image), `within <c>` (is that below c?).
    """

    bottleneck: int
    images: ImageDatasetConfig = DEFAULT_IMAGES
    error_thresholds: tuple[float, ...] = (0.5, 1.5)
    epochs: int = 150
    batch_size: int = 64
    peak_lr: float = 3e-3
    name: str = "reconstruction"

    def __post_init__(self) -> None:
        has_positive_thresholds = all(threshold > 0 for threshold in self.error_thresholds)
        if min(self.bottleneck, self.epochs, self.batch_size) < 1 or not has_positive_thresholds:
            raise SpecError(f"{self} learns or measures nothing; take positive numbers.")

    def timing_subset(self) -> tuple[ImageReconstruction, float]:
        """A short one to take the time of, and how much longer this one is."""
        return replace(self, epochs=min(self.epochs, 8)), self.epochs / min(self.epochs, 8)

    def run(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """Train, and read every held-out image."""
        import torch

        from nosce.studies.emergence.vision.fitting import seeded_network, shuffled_batches, train_network

        dataset = self.images.load()
        flat = torch.from_numpy(dataset.train_images.reshape(len(dataset.train_images), -1))
        pixels = flat.shape[1]

        def make() -> torch.nn.Module:
            return torch.nn.Sequential(
                torch.nn.Linear(pixels, self.bottleneck), torch.nn.Tanh(), torch.nn.Linear(self.bottleneck, pixels)
            )

        def loss(net: torch.nn.Module, which: torch.Tensor) -> torch.Tensor:
            images = flat[which]
            error: torch.Tensor = ((net(images) - images) ** 2).mean()
            return error

        steps = self.epochs * -(-len(flat) // self.batch_size)
        batches = shuffled_batches(len(flat), self.batch_size, seed / "order")
        net = train_network(seeded_network(make, seed / "weights"), loss, batches, steps=steps, peak_lr=self.peak_lr)
        with torch.no_grad():
            images = torch.from_numpy(dataset.test_images.reshape(len(dataset.test_images), -1))
            errors = ((net(images) - images) ** 2).sum(1).numpy().astype(np.float64)
        yield vision_readings(self.name, "squared_error", errors)
        for limit in self.error_thresholds:
            yield vision_readings(self.name, f"within {limit:g}", (errors < limit).astype(np.float64))


def vision_readings(
    evaluation: str,
    metric: str,
    values: np.ndarray | Sequence[float],
    *,
    attribute: str = "",
    item_prefix: str = "image",
) -> pl.DataFrame:
    """Readings of things that are numbered through, with an outcome where they are right or wrong."""
    names = [f"{item_prefix}/{number}" for number in range(len(values))]
    return pl.DataFrame({"item": names, "entity": names, "value": np.asarray(values, dtype=np.float64)}).with_columns(
        evaluation=pl.lit(evaluation), split=pl.lit("unseen"), attribute=pl.lit(attribute), metric=pl.lit(metric)
    )
