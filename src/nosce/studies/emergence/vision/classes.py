"""Images told apart: accuracy rises gently, "all of K right" jumps.

Source: Schaeffer et al. 2023 (arXiv:2304.15004), section 5: LeNets on MNIST, and the constructed metric of subset
accuracy; sizes here are the sheet's, section 8. Letters: N images, K of a subset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import comb
from typing import Literal

import numpy as np
import polars as pl

from nosce.errors import SpecError
from nosce.seeds import Seed
from nosce.studies.emergence.vision.images import DEFAULT, Images, Pictures
from nosce.studies.emergence.vision.reconstruction import table

SUBSETS = 1_000  # random ones of each size, the same for every network


@dataclass(frozen=True, kw_only=True)
class Classes:
    """A classifier of so many hidden units, or a LeNet of so many channels, read on every held-out image.

    Metrics: `right` and `nats` (of an image); for each K `all <K>` (are all of K images right? of a random subset) and
    `nats <K>` (the subset's); `share <K>` (of all subsets of K held-out images: C(m, K) / C(n, K) where m of n are
    right, one number a network).
    """

    hidden: int
    net: Literal["mlp", "lenet"] = "mlp"
    images: Images = DEFAULT
    subsets: tuple[int, ...] = (1, 2, 3, 4, 5, 10)
    epochs: int = 60
    batch: int = 64
    peak_lr: float = 1e-2
    name: str = "classes"

    def __post_init__(self) -> None:
        if min(self.hidden, self.epochs, self.batch, *self.subsets) < 1 or max(self.subsets) > self.images.tests:
            raise SpecError(f"{self} learns or measures nothing; take positive numbers, and subsets of what is tested.")
        if self.net not in ("mlp", "lenet"):
            raise SpecError(f"Classes.net={self.net!r} is not known; take mlp or lenet.")

    def part(self) -> tuple[Classes, float]:
        """A short one to take the time of, and how much longer this one is."""
        return replace(self, epochs=min(self.epochs, 8)), self.epochs / min(self.epochs, 8)

    def read(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """Train, and read every held-out image and some subsets of them."""
        pictures = self.images.load()
        nats, right = self._judged(pictures, seed)
        yield table(self.name, "nats", nats)
        yield table(self.name, "right", right)
        count, m = len(right), int(right.sum())
        for k in self.subsets:
            drawn = np.stack([(Seed(0) / "subsets" / k / number).numpy().permutation(count)[:k]
                              for number in range(SUBSETS)])  # fmt: skip
            yield table(self.name, f"all {k}", right[drawn].min(1), what=f"subset of {k}")
            yield table(self.name, f"nats {k}", nats[drawn].sum(1), what=f"subset of {k}")
            yield table(self.name, f"share {k}", [comb(m, k) / comb(count, k)], what="all")

    def _judged(self, pictures: Pictures, seed: Seed) -> tuple[np.ndarray, np.ndarray]:
        """Nats of the true class and whether it is the first choice, each (N,)."""
        import torch
        from torch.nn import functional

        from nosce.studies.emergence.vision.fitting import fit, seeded, shuffled

        images, classes = torch.from_numpy(pictures.train), torch.from_numpy(pictures.train_classes)

        def loss(net: torch.nn.Module, which: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(net(images[which]), classes[which])

        steps = self.epochs * -(-len(images) // self.batch)
        made = seeded(lambda: _net(self, pictures), seed / "weights")
        net = fit(made, loss, shuffled(len(images), self.batch, seed / "order"), steps=steps, peak_lr=self.peak_lr)
        with torch.no_grad():
            scores = net(torch.from_numpy(pictures.test)).double()
        true = torch.from_numpy(pictures.test_classes)
        nats = functional.cross_entropy(scores, true, reduction="none")
        return nats.numpy(), (scores.argmax(1) == true).double().numpy()


def parameters(of: Classes, pictures: Pictures) -> int:
    """Weights of the network."""
    return sum(weights.numel() for weights in _net(of, pictures).parameters())


def _net(of: Classes, pictures: Pictures):  # type: ignore[no-untyped-def]
    """One hidden layer; or two convolutions with pooling and a layer, as LeNet has."""
    import torch
    from torch import nn

    rows, columns = pictures.train.shape[1:]
    if of.net == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(rows * columns, of.hidden), nn.ReLU(),
                             nn.Linear(of.hidden, pictures.classes))  # fmt: skip
    seen = nn.Sequential(nn.Unflatten(1, (1, rows)), nn.Conv2d(1, of.hidden, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(of.hidden, 2 * of.hidden, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten())  # fmt: skip
    with torch.no_grad():
        width = seen(torch.zeros(1, rows, columns)).shape[1]
    return nn.Sequential(seen, nn.Linear(width, pictures.classes))
