"""Images named in context: each of L may be named rightly long before all of them are.

A sequence shows some classes under new random names, each image with its name, and then asks for the names of L more
images. What can be known of the names is in the sequence alone. An image and its name stand at one place.

Source: Schaeffer et al. 2023 (arXiv:2304.15004), section 5: a decoder on Omniglot, correct only if all images of a
sequence are; set-up after Chan et al. 2022, images embedded by a convolution. Numbers are ours.
Letters: B sequences, T places of one, L images asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from nosce.errors import SpecError
from nosce.evals.base import Experiment
from nosce.seeds import Seed
from nosce.studies.emergence.vision.images import DEFAULT_IMAGES, ImageDataset, ImageDatasetConfig
from nosce.studies.emergence.vision.reconstruction import vision_readings

if TYPE_CHECKING:
    from torch import nn

CONV_CHANNELS = 8  # of the convolution
TEST_BATCH_SIZE = 1_000  # sequences read at once
_ImagePool = tuple[np.ndarray, list[np.ndarray]]  # images (N, H, W), and the indices of each class among them


@dataclass(frozen=True, kw_only=True)
class InContextNaming(Experiment):
    """A small decoder that names images, read on sequences of held-out images.

    Metrics: `right` (of one image asked for, whose position is the attribute), `all <L>` and `nats <L>` (of the first
    L asked for).
    """

    width: int
    layers: int = 2
    images: ImageDatasetConfig = DEFAULT_IMAGES
    ways: int = 3  # classes of a sequence
    shots: int = 2  # images of each with their names
    n_queries: int = 5  # images whose names are asked for
    new_classes: bool = False  # sequences of held-out images show classes that no training sequence does
    n_test_sequences: int = 1_000  # sequences
    steps: int = 1_000
    batch_size: int = 64
    peak_lr: float = 3e-3
    name: str = "sequences"

    def __post_init__(self) -> None:
        if (
            min(self.width, self.layers, self.shots, self.n_queries, self.n_test_sequences, self.steps, self.batch_size)
            < 1
        ):
            raise SpecError(f"{self} learns or measures nothing; take positive numbers.")
        if self.ways < 2 or self.width % 4:
            raise SpecError(
                f"InContextNaming of {self.ways} classes by width {self.width} cannot be built; take two classes "
                "or more, and a multiple of 4."
            )

    def timing_subset(self) -> tuple[InContextNaming, float]:
        """A short one to take the time of, and how much longer this one is."""
        return replace(self, steps=min(self.steps, 40)), self.steps / min(self.steps, 40)

    def run(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """Train, and read the test sequences, the same for every width."""
        import torch
        from torch.nn import functional

        from nosce.studies.emergence.vision.fitting import seeded_network, train_network

        torch.set_num_threads(1)
        dataset = self.images.load()
        train, test = self._image_pools(dataset)

        def loss(net: torch.nn.Module, numbers: torch.Tensor) -> torch.Tensor:
            images, names = self._sample_sequences(train, (seed / "sequences" / int(numbers)).numpy(), self.batch_size)
            scores = net(torch.from_numpy(images), torch.from_numpy(names))
            return functional.cross_entropy(
                scores.flatten(0, 1), torch.from_numpy(names)[:, self._query_start :].flatten()
            )

        net = train_network(
            seeded_network(lambda: _build_network(self, dataset), seed / "weights"),
            loss,
            (torch.tensor(step) for step in range(self.steps)),
            steps=self.steps,
            peak_lr=self.peak_lr,
        )
        images, names = self._sample_sequences(test, (Seed(0) / "sequences").numpy(), self.n_test_sequences)
        true = torch.from_numpy(names)[:, self._query_start :]
        with torch.no_grad():
            parts = (torch.split(torch.from_numpy(array), TEST_BATCH_SIZE) for array in (images, names))
            scores = torch.cat([net(*part) for part in zip(*parts, strict=True)]).double()
        nats = functional.cross_entropy(scores.flatten(0, 1), true.flatten(), reduction="none").view(true.shape).numpy()
        right = (scores.argmax(-1) == true).double().numpy()
        for place in range(self.n_queries):
            yield vision_readings(
                self.name, "right", right[:, place], attribute=f"image {place + 1}", item_prefix="sequence"
            )
        for count in range(1, self.n_queries + 1):
            yield vision_readings(self.name, f"all {count}", right[:, :count].min(1), item_prefix="sequence")
            yield vision_readings(self.name, f"nats {count}", nats[:, :count].sum(1), item_prefix="sequence")

    @property
    def _query_start(self) -> int:
        """Where what is asked begins."""
        return self.ways * self.shots

    def _image_pools(self, dataset: ImageDataset) -> tuple[_ImagePool, _ImagePool]:
        """(images, those of each class) to learn from and to be asked about."""
        pools = [(dataset.train_images, dataset.train_labels), (dataset.test_images, dataset.test_labels)]
        parts = []
        for pool_index, (images, classes) in enumerate(pools):
            known = range(dataset.n_classes)
            if self.new_classes:
                whole = np.concatenate([i for i, _ in pools]), np.concatenate([c for _, c in pools])
                images, classes = whole
                known = (
                    range(dataset.n_classes * 4 // 5)
                    if pool_index == 0
                    else range(dataset.n_classes * 4 // 5, dataset.n_classes)
                )
            indices_by_class = [np.flatnonzero(classes == one) for one in known]
            indices_by_class = [places for places in indices_by_class if len(places) >= self.shots + 1]
            if len(indices_by_class) < self.ways:
                raise SpecError(
                    f"{self.images.source} has {len(indices_by_class)} classes of {self.shots + 1} images or more, and "
                    f"a sequence shows {self.ways}; show fewer."
                )
            parts.append((images, indices_by_class))
        return parts[0], parts[1]

    def _sample_sequences(
        self, pool: _ImagePool, rng: np.random.Generator, n_sequences: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Images (B, T, H, W) and their names (B, T), none of them shown twice in a sequence where there are enough."""
        images, indices_by_class = pool
        chosen = np.argsort(rng.random((n_sequences, len(indices_by_class))), 1)[:, : self.ways]
        shown_slots = np.argsort(rng.random((n_sequences, self._query_start)), 1) % self.ways
        query_slots = rng.integers(self.ways, size=(n_sequences, self.n_queries))
        class_slots = np.concatenate([shown_slots, query_slots], 1)  # place in `chosen`
        classes = np.take_along_axis(chosen, class_slots, 1)
        names = np.take_along_axis(np.argsort(rng.random((n_sequences, self.ways)), 1), class_slots, 1)
        lengths = np.array([len(places) for places in indices_by_class])
        padded = np.stack([np.resize(places, lengths.max()) for places in indices_by_class])
        # The nth image of a class in a sequence: from a start on, at a distance, both the sequence's own.
        occurrence = np.zeros_like(class_slots)
        for way in range(self.ways):
            is_way = class_slots == way
            occurrence = np.where(is_way, np.cumsum(is_way, 1) - 1, occurrence)
        start, stride = rng.integers(1 << 30, size=(2, n_sequences, self.ways))
        stride = 1 + stride % max(1, lengths.min() // (self.shots + self.n_queries))
        image_indices = (
            np.take_along_axis(start, class_slots, 1) + occurrence * np.take_along_axis(stride, class_slots, 1)
        ) % lengths[classes]
        return images[padded[classes, image_indices]], names


def _build_network(spec: InContextNaming, dataset: ImageDataset) -> nn.Module:
    """Images by a convolution, names of those shown by a table, into a GPT-2; scores of names at those asked for."""
    import torch
    from torch import nn
    from transformers import GPT2Config, GPT2Model

    rows, columns = dataset.train_images.shape[1:]

    class Namer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen = nn.Sequential(
                nn.Conv2d(1, CONV_CHANNELS, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(CONV_CHANNELS * (rows // 2) * (columns // 2), spec.width),
            )
            self.names = nn.Embedding(spec.ways, spec.width)
            nn.init.normal_(self.names.weight, std=spec.width**-0.5)
            config = GPT2Config(
                n_layer=spec.layers,
                n_embd=spec.width,
                n_head=max(1, spec.width // 16),
                vocab_size=1,
                n_positions=spec._query_start + spec.n_queries,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                # The library's 0.02 is for wide ones: nothing was learnt from it in 2,000 steps.
                attn_pdrop=0.0,
                initializer_range=spec.width**-0.5,
                bos_token_id=None,
                eos_token_id=None,
            )
            self.read = GPT2Model(config)
            self.told = nn.Linear(spec.width, spec.ways)

        def forward(self, images: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
            batch, places = names.shape
            seen = self.seen(images.reshape(batch * places, 1, rows, columns)).view(batch, places, -1)
            shown = (torch.arange(places) < spec._query_start)[:, None]
            both = seen + self.names(names) * shown
            scores: torch.Tensor = self.told(self.read(inputs_embeds=both).last_hidden_state[:, spec._query_start :])
            return scores

    return Namer()
