"""Images to learn from and to be asked about: scikit-learn's digits, or a data set that lies on disk.

    digits                              1,797 images of 8 x 8, with scikit-learn (BSD-3, from UCI)
    folder of *-idx3-ubyte[.gz]         MNIST as published, with the labels beside
    folder of train.bin and test.bin    CIFAR-100, its binary version (the other one is pickled, and is not read)
    folder of folders of .png           one folder a class, at any depth, e.g. Omniglot
    the published files themselves      `ImageDatasetConfig.published`, checked by size and SHA-256

Source: Schaeffer et al. 2023 (arXiv:2304.15004), section 5, for MNIST, CIFAR-100 and Omniglot.
Letters: N images, H rows, W columns.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nosce.errors import SpecError
from nosce.seeds import Seed
from nosce.store.spec import LATER
from nosce.studies.emergence.vision.formats import (
    ClassLabels,
    GreyImages,
    LabeledImages,
    labeled_idx_images,
    parse_cifar,
    parse_idx,
    read_png,
    stack_by_folder,
)
from nosce.studies.emergence.vision.published import PUBLISHED_IMAGES, check_published, read_published

DIGITS_SOURCE = "digits"


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Images in grey from 0 to 1, and what they show as numbers from 0 on."""

    train_images: GreyImages  # (N, H, W)
    train_labels: ClassLabels  # (N,)
    test_images: GreyImages  # (N, H, W)
    test_labels: ClassLabels  # (N,)

    @property
    def n_classes(self) -> int:
        """How many different things are shown."""
        return int(max(self.train_labels.max(), self.test_labels.max())) + 1


@dataclass(frozen=True, kw_only=True)
class ImageDatasetConfig:
    """Which images, and which of them are held out."""

    source: str = DIGITS_SOURCE  # or a folder
    digest: str = ""  # of the folder's files by name and size, so that other data are another spec
    n_test_images: int = 500  # images held out
    split_seed: int = 0  # which of the random divisions, where the source has none of its own
    max_side: int | None = None  # rows and columns that larger images are shrunk to
    published: str = field(default="", metadata=LATER)  # which of `PUBLISHED_IMAGES` the folder holds

    def __post_init__(self) -> None:
        if self.n_test_images < 1 or (self.max_side is not None and self.max_side < 2):
            raise SpecError(
                f"Images with {self.n_test_images} tests of side {self.max_side} show nothing; hold out one image at "
                "least, of two rows or more."
            )

    @classmethod
    def from_folder(
        cls, folder: str | Path, *, n_test_images: int = 500, max_side: int | None = None
    ) -> ImageDatasetConfig:
        """The data set of a folder.

        Raises:
            SpecError: It is none of the kinds that are known.
        """
        path = Path(folder).resolve()
        _reader_for(path)
        file_hash = hashlib.sha256()
        for file in sorted(path.rglob("*")):
            if file.is_file():
                file_hash.update(f"{file.relative_to(path)} {file.stat().st_size}\n".encode())
        return cls(source=str(path), digest=file_hash.hexdigest(), n_test_images=n_test_images, max_side=max_side)

    @classmethod
    def from_published(cls, folder: str | Path, name: str) -> ImageDatasetConfig:
        """A data set of `PUBLISHED_IMAGES`, from a folder with the files that were published.

        Raises:
            SpecError: A file is missing or is not the published one.
        """
        path = Path(folder).expanduser().resolve()
        digest, known = check_published(path, name), PUBLISHED_IMAGES[name]
        return cls(
            source=str(path),
            digest=digest,
            n_test_images=known.n_test_images,
            max_side=known.max_side,
            published=name,
        )

    def load(self) -> ImageDataset:
        """All images, shrunk, those that are held out apart.

        Raises:
            SpecError: The folder is no data set, or has fewer images than are to be held out.
        """
        train, test = self._load_splits()
        if test is None:
            order = (Seed(0) / "images" / self.split_seed).numpy().permutation(len(train[0]))
            test_indices, train_indices = order[: self.n_test_images], order[self.n_test_images :]
            train, test = (
                (train[0][train_indices], train[1][train_indices]),
                (train[0][test_indices], train[1][test_indices]),
            )
        if len(test[0]) < self.n_test_images or not len(train[0]):
            raise SpecError(
                f"{self.source} has {len(train[0]) + len(test[0]):,} images, and {self.n_test_images:,} were to be "
                "held out; ask fewer."
            )
        resized = [_downsample(images, self.max_side) for images in (train[0], test[0][: self.n_test_images])]
        return ImageDataset(resized[0], train[1], resized[1], test[1][: self.n_test_images])

    def _load_splits(self) -> tuple[LabeledImages, LabeledImages | None]:
        if self.source == DIGITS_SOURCE:
            from sklearn.datasets import load_digits

            digits = load_digits()
            return (digits.images.astype(np.float32) / 16, digits.target.astype(np.int64)), None
        if self.published:
            return read_published(Path(self.source), self.published)
        return _reader_for(Path(self.source))(Path(self.source))


DEFAULT_IMAGES = ImageDatasetConfig()


def _reader_for(path: Path) -> Callable[[Path], tuple[LabeledImages, LabeledImages | None]]:
    """The function that reads such a folder."""
    if path.is_dir():
        if list(path.glob("train-images*idx3-ubyte*")):
            return _read_mnist
        if (path / "train.bin").is_file() and (path / "test.bin").is_file():
            return _read_cifar
        if next(path.rglob("*.png"), None) is not None:
            return _read_png_folders
    raise SpecError(
        f"images were asked for at {path}, which is no folder of idx files, of train.bin and test.bin, or of folders "
        "with .png; give one of these (pickled data are not read)."
    )


def _read_mnist(path: Path) -> tuple[LabeledImages, LabeledImages | None]:
    parts: list[LabeledImages] = []
    for name in ("train", "t10k"):
        images, labels = (_read_idx(path, f"{name}-{what}") for what in ("images*idx3-ubyte*", "labels*idx1-ubyte*"))
        parts.append(labeled_idx_images(images, labels))
    return parts[0], parts[1]


def _read_idx(path: Path, pattern: str) -> npt.NDArray[np.uint8]:
    file = next(iter(sorted(path.glob(pattern))), None)
    if file is None:
        raise SpecError(f"{path} has no file {pattern}; give all four files of the data set.")
    return parse_idx(gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes(), file)


def _read_cifar(path: Path) -> tuple[LabeledImages, LabeledImages | None]:
    files = (path / "train.bin", path / "test.bin")
    train, test = (parse_cifar(np.fromfile(file, np.uint8), file) for file in files)
    return train, test


def _read_png_folders(path: Path) -> tuple[LabeledImages, LabeledImages | None]:
    files = sorted(path.rglob("*.png"))
    return stack_by_folder([read_png(file) for file in files], [str(file.parent) for file in files], path), None


def _downsample(images: GreyImages, side: int | None) -> GreyImages:
    """Means over equal blocks, what does not fill one cut off evenly."""
    if side is None or images.shape[1] <= side:
        return np.ascontiguousarray(images, dtype=np.float32)
    block = images.shape[1] // side
    start = (images.shape[1] - block * side) // 2
    kept = images[:, start : start + block * side, start : start + block * side]
    means: GreyImages = kept.reshape(len(images), side, block, side, block).mean((2, 4)).astype(np.float32)
    return means
