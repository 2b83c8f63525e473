"""Images named in context: each of L may be named rightly long before all of them are.

A sequence shows some classes under names dealt anew, each image with its name, and then asks for the names of L more
images. What can be known of the names is in the sequence alone. An image and its name stand at one place.

Source: Schaeffer et al. 2023 (arXiv:2304.15004), section 5: a decoder on Omniglot, correct only if all images of a
sequence are; set-up after Chan et al. 2022, images embedded by a convolution. Numbers are ours.
Letters: B sequences, T places of one, L images asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from nosce.errors import SpecError
from nosce.seeds import Seed
from nosce.studies.emergence.vision.images import DEFAULT, Images, Pictures
from nosce.studies.emergence.vision.reconstruction import table

CHANNELS = 8  # of the convolution
_Pool = tuple[Any, list[Any]]  # images, and the places of each class among them


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """A small decoder that names images, read on sequences of held-out images.

    Metrics: `right` (of one image asked for, facet its place), `all <L>` and `nats <L>` (of the first L asked for).
    """

    width: int
    layers: int = 2
    images: Images = DEFAULT
    ways: int = 3  # classes of a sequence
    shots: int = 2  # images of each with their names
    asked: int = 5  # images whose names are asked for
    new_classes: bool = False  # sequences of held-out images show classes that no training sequence does
    tests: int = 1_000  # sequences
    steps: int = 1_000
    batch: int = 64
    peak_lr: float = 3e-3
    name: str = "sequences"

    def __post_init__(self) -> None:
        if min(self.width, self.layers, self.shots, self.asked, self.tests, self.steps, self.batch) < 1:
            raise SpecError(f"{self} learns or measures nothing; take positive numbers.")
        if self.ways < 2 or self.width % 4:
            raise SpecError(f"Sequences of {self.ways} classes by width {self.width} cannot be told; take two classes "
                            "or more, and a multiple of 4.")  # fmt: skip

    def part(self) -> tuple[Sequences, float]:
        """A short one to take the time of, and how much longer this one is."""
        return replace(self, steps=min(self.steps, 40)), self.steps / min(self.steps, 40)

    def read(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """Train, and read the test sequences, the same for every width."""
        import torch
        from torch.nn import functional

        from nosce.studies.emergence.vision.fitting import fit, seeded

        torch.set_num_threads(1)
        pictures = self.images.load()
        train, test = self._pools(pictures)

        def loss(net: torch.nn.Module, numbers: torch.Tensor) -> torch.Tensor:
            images, names = self._drawn(train, (seed / "sequences" / int(numbers)).numpy(), self.batch)
            scores = net(torch.from_numpy(images), torch.from_numpy(names))
            return functional.cross_entropy(scores.flatten(0, 1), torch.from_numpy(names)[:, self._first :].flatten())

        net = fit(seeded(lambda: _net(self, pictures), seed / "weights"), loss,
                  (torch.tensor(step) for step in range(self.steps)), steps=self.steps,
                  peak_lr=self.peak_lr)  # fmt: skip
        images, names = self._drawn(test, (Seed(0) / "sequences").numpy(), self.tests)
        true = torch.from_numpy(names)[:, self._first :]
        with torch.no_grad():
            scores = net(torch.from_numpy(images), torch.from_numpy(names)).double()
        nats = functional.cross_entropy(scores.flatten(0, 1), true.flatten(), reduction="none").view(true.shape).numpy()
        right = (scores.argmax(-1) == true).double().numpy()
        for place in range(self.asked):
            yield table(self.name, "right", right[:, place], facet=f"image {place + 1}", what="sequence")
        for count in range(1, self.asked + 1):
            yield table(self.name, f"all {count}", right[:, :count].min(1), what="sequence")
            yield table(self.name, f"nats {count}", nats[:, :count].sum(1), what="sequence")

    @property
    def _first(self) -> int:
        """Where what is asked begins."""
        return self.ways * self.shots

    def _pools(self, pictures: Pictures) -> tuple[_Pool, _Pool]:
        """(images, those of each class) to learn from and to be asked about."""
        pools = [(pictures.train, pictures.train_classes), (pictures.test, pictures.test_classes)]
        parts = []
        for number, (images, classes) in enumerate(pools):
            known = range(pictures.classes)
            if self.new_classes:
                whole = np.concatenate([i for i, _ in pools]), np.concatenate([c for _, c in pools])
                images, classes = whole
                known = range(pictures.classes * 4 // 5) if number == 0 else range(
                    pictures.classes * 4 // 5, pictures.classes)  # fmt: skip
            each = [np.flatnonzero(classes == one) for one in known]
            each = [places for places in each if len(places) >= self.shots + 1]
            if len(each) < self.ways:
                raise SpecError(f"{self.images.source} has {len(each)} classes of {self.shots + 1} images or more, and "
                                f"a sequence shows {self.ways}; show fewer.")  # fmt: skip
            parts.append((images, each))
        return parts[0], parts[1]

    def _drawn(self, pool: _Pool, rng: np.random.Generator, count: int) -> tuple[Any, Any]:
        """Images (B, T, H, W) and their names (B, T), none of them shown twice in a sequence where there are enough."""
        images, each = pool
        chosen = np.argsort(rng.random((count, len(each))), 1)[:, : self.ways]
        shown = np.argsort(rng.random((count, self._first)), 1) % self.ways
        asked = rng.integers(self.ways, size=(count, self.asked))
        which = np.concatenate([shown, asked], 1)  # place in `chosen`
        classes = np.take_along_axis(chosen, which, 1)
        names = np.take_along_axis(np.argsort(rng.random((count, self.ways)), 1), which, 1)
        lengths = np.array([len(places) for places in each])
        padded = np.stack([np.resize(places, lengths.max()) for places in each])
        # The nth image of a class in a sequence: from a start on, at a distance, both the sequence's own.
        nth = np.zeros_like(which)
        for way in range(self.ways):
            mine = which == way
            nth = np.where(mine, np.cumsum(mine, 1) - 1, nth)
        start, far = rng.integers(1 << 30, size=(2, count, self.ways))
        far = 1 + far % max(1, lengths.min() // (self.shots + self.asked))
        at = (np.take_along_axis(start, which, 1) + nth * np.take_along_axis(far, which, 1)) % lengths[classes]
        return images[padded[classes, at]], names


def _net(of: Sequences, pictures: Pictures):  # type: ignore[no-untyped-def]
    """Images by a convolution, names of those shown by a table, into a GPT-2; scores of names at those asked for."""
    import torch
    from torch import nn
    from transformers import GPT2Config, GPT2Model

    rows, columns = pictures.train.shape[1:]

    class Namer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen = nn.Sequential(nn.Conv2d(1, CHANNELS, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                                      nn.Linear(CHANNELS * (rows // 2) * (columns // 2), of.width))  # fmt: skip
            self.names = nn.Embedding(of.ways, of.width)
            nn.init.normal_(self.names.weight, std=of.width**-0.5)
            config = GPT2Config(n_layer=of.layers, n_embd=of.width, n_head=max(1, of.width // 16), vocab_size=1,
                                n_positions=of._first + of.asked, resid_pdrop=0.0, embd_pdrop=0.0,
                                # The library's 0.02 is for wide ones: nothing was learnt from it in 2,000 steps.
                                attn_pdrop=0.0, initializer_range=of.width**-0.5, bos_token_id=None,
                                eos_token_id=None)  # fmt: skip
            self.read = GPT2Model(config)
            self.told = nn.Linear(of.width, of.ways)

        def forward(self, images: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
            batch, places = names.shape
            seen = self.seen(images.reshape(batch * places, 1, rows, columns)).view(batch, places, -1)
            shown = (torch.arange(places) < of._first)[:, None]
            both = seen + self.names(names) * shown
            scores: torch.Tensor = self.told(self.read(inputs_embeds=both).last_hidden_state[:, of._first :])
            return scores

    return Namer()
