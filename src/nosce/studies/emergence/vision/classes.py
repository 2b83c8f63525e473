"""Image classification: accuracy rises gently, "all of K right" jumps.

Source: Schaeffer et al. 2023 (arXiv:2304.15004), section 5: LeNets on MNIST, and the constructed metric of subset
accuracy; sizes are this study's own, so that two cores suffice. Letters: N images, K of a subset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import comb
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from nosce.errors import SpecError
from nosce.evals.base import Experiment
from nosce.seeds import Seed
from nosce.store.spec import LATER
from nosce.studies.emergence.vision.images import DEFAULT_IMAGES, ImageDataset, ImageDatasetConfig
from nosce.studies.emergence.vision.reconstruction import vision_readings

if TYPE_CHECKING:
    from torch import nn

TEST_BATCH_SIZE = 1_000  # images read at once
NUM_SUBSETS = 1_000  # random ones of each size, the same for every network


@dataclass(frozen=True, kw_only=True)
class ImageClassification(Experiment):
    """A classifier of so many hidden units, or a LeNet of so many channels, read on every held-out image.

    Metrics: `right` and `nats` (of an image); for each K `all <K>` (are all of K images right? of a random subset) and
    `nats <K>` (the subset's); with `subset_accuracy` also `right <K>` (which share of that subset
    is right: accuracy per image); `share <K>` (of all subsets of K held-out images: C(m, K) / C(n, K) where m of n are
    right, one number a network).
    """

    hidden_units: int
    architecture: Literal["mlp", "lenet"] = "mlp"
    images: ImageDatasetConfig = DEFAULT_IMAGES
    subset_sizes: tuple[int, ...] = (1, 2, 3, 4, 5, 10)
    epochs: int = 60
    batch_size: int = 64
    peak_lr: float = 1e-2
    name: str = "classes"
    subset_accuracy: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        if (
            min(self.hidden_units, self.epochs, self.batch_size, *self.subset_sizes) < 1
            or max(self.subset_sizes) > self.images.n_test_images
        ):
            raise SpecError(f"{self} learns or measures nothing; take positive numbers, and subsets of what is tested.")
        if self.architecture not in ("mlp", "lenet"):
            raise SpecError(f"ImageClassification.architecture={self.architecture!r} is not known; take mlp or lenet.")

    def timing_subset(self) -> tuple[ImageClassification, float]:
        """A short one to take the time of, and how much longer this one is."""
        return replace(self, epochs=min(self.epochs, 8)), self.epochs / min(self.epochs, 8)

    def run(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """Train, and read every held-out image and some subsets of them."""
        dataset = self.images.load()
        nats, right = self._train_and_score(dataset, seed)
        yield vision_readings(self.name, "nats", nats)
        yield vision_readings(self.name, "right", right)
        count, m = len(right), int(right.sum())
        for k in self.subset_sizes:
            subset_indices = np.stack(
                [(Seed(0) / "subsets" / k / number).numpy().permutation(count)[:k] for number in range(NUM_SUBSETS)]
            )
            yield vision_readings(self.name, f"all {k}", right[subset_indices].min(1), item_prefix=f"subset of {k}")
            yield vision_readings(self.name, f"nats {k}", nats[subset_indices].sum(1), item_prefix=f"subset of {k}")
            if self.subset_accuracy:
                per_image = right[subset_indices].mean(1)
                yield vision_readings(self.name, f"right {k}", per_image, item_prefix=f"subset of {k}")
            yield vision_readings(self.name, f"share {k}", [comb(m, k) / comb(count, k)], item_prefix="all")

    def _train_and_score(self, dataset: ImageDataset, seed: Seed) -> tuple[np.ndarray, np.ndarray]:
        """Nats of the true class and whether it is the first choice, each (N,)."""
        import torch
        from torch.nn import functional

        from nosce.studies.emergence.vision.fitting import seeded_network, shuffled_batches, train_network

        images, classes = torch.from_numpy(dataset.train_images), torch.from_numpy(dataset.train_labels)

        def loss(net: torch.nn.Module, which: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(net(images[which]), classes[which])

        steps = self.epochs * -(-len(images) // self.batch_size)
        initial_network = seeded_network(lambda: _build_network(self, dataset), seed / "weights")
        network = train_network(
            initial_network,
            loss,
            shuffled_batches(len(images), self.batch_size, seed / "order"),
            steps=steps,
            peak_lr=self.peak_lr,
        )
        with torch.no_grad():
            parts = torch.split(torch.from_numpy(dataset.test_images), TEST_BATCH_SIZE)
            scores = torch.cat([network(part) for part in parts]).double()
        true = torch.from_numpy(dataset.test_labels)
        nats = functional.cross_entropy(scores, true, reduction="none")
        return nats.numpy(), (scores.argmax(1) == true).double().numpy()


def n_classifier_parameters(spec: ImageClassification, dataset: ImageDataset) -> int:
    """Weights of the network."""
    return sum(weights.numel() for weights in _build_network(spec, dataset).parameters())


def _build_network(spec: ImageClassification, dataset: ImageDataset) -> nn.Module:
    """One hidden layer; or two convolutions with pooling and a layer, as LeNet has."""
    import torch
    from torch import nn

    rows, columns = dataset.train_images.shape[1:]
    if spec.architecture == "mlp":
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(rows * columns, spec.hidden_units),
            nn.ReLU(),
            nn.Linear(spec.hidden_units, dataset.n_classes),
        )
    convolutions = nn.Sequential(
        nn.Unflatten(1, (1, rows)),
        nn.Conv2d(1, spec.hidden_units, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(spec.hidden_units, 2 * spec.hidden_units, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    with torch.no_grad():
        width = convolutions(torch.zeros(1, rows, columns)).shape[1]
    return nn.Sequential(convolutions, nn.Linear(width, dataset.n_classes))
