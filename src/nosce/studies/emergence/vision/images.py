"""Images to learn from and to be asked about: scikit-learn's digits, or a data set that lies on disk.

    digits                              1,797 images of 8 x 8, with scikit-learn (BSD-3, from UCI)
    folder of *-idx3-ubyte[.gz]         MNIST as published, with the labels beside
    folder of train.bin and test.bin    CIFAR-100, its binary version (the other one is pickled, and is not read)
    folder of folders of .png           one folder a class, at any depth, e.g. Omniglot

Source: the sheet for arXiv:2304.15004, sections 2c and 8. Letters: N images, H rows, W columns.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nosce.errors import SpecError
from nosce.seeds import Seed

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
DIGITS = "digits"
_Part = tuple[Floats, Integers]


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images in grey from 0 to 1, and what they show as numbers from 0 on."""

    train: Floats  # (N, H, W)
    train_classes: Integers  # (N,)
    test: Floats  # (N, H, W)
    test_classes: Integers  # (N,)

    @property
    def classes(self) -> int:
        """How many different things are shown."""
        return int(max(self.train_classes.max(), self.test_classes.max())) + 1


@dataclass(frozen=True, kw_only=True)
class Images:
    """Which images, and which of them are held out."""

    source: str = DIGITS  # or a folder
    digest: str = ""  # of the folder's files by name and size, so that other data are another spec
    tests: int = 500  # images held out
    split: int = 0  # which of the random divisions, where the source has none of its own
    side: int | None = None  # rows and columns that larger images are shrunk to

    def __post_init__(self) -> None:
        if self.tests < 1 or (self.side is not None and self.side < 2):
            raise SpecError(
                f"Images with {self.tests} tests of side {self.side} show nothing; hold out one image at least, of two "
                "rows or more."
            )

    @classmethod
    def at(cls, folder: str | Path, *, tests: int = 500, side: int | None = None) -> Images:
        """The data set of a folder.

        Raises:
            SpecError: It is none of the kinds that are known.
        """
        path = Path(folder).resolve()
        _kind(path)
        whole = hashlib.sha256()
        for file in sorted(path.rglob("*")):
            if file.is_file():
                whole.update(f"{file.relative_to(path)} {file.stat().st_size}\n".encode())
        return cls(source=str(path), digest=whole.hexdigest(), tests=tests, side=side)

    def load(self) -> Pictures:
        """All images, shrunk, those that are held out apart.

        Raises:
            SpecError: The folder is no data set, or has fewer images than are to be held out.
        """
        train, test = self._parts()
        if test is None:
            order = (Seed(0) / "images" / self.split).numpy().permutation(len(train[0]))
            held, kept = order[: self.tests], order[self.tests :]
            train, test = (train[0][kept], train[1][kept]), (train[0][held], train[1][held])
        if len(test[0]) < self.tests or not len(train[0]):
            raise SpecError(
                f"{self.source} has {len(train[0]) + len(test[0]):,} images, and {self.tests:,} were to be held out; "
                "ask fewer."
            )
        shrunk = [_shrunk(images, self.side) for images in (train[0], test[0][: self.tests])]
        return Pictures(shrunk[0], train[1], shrunk[1], test[1][: self.tests])

    def _parts(self) -> tuple[_Part, _Part | None]:
        if self.source == DIGITS:
            from sklearn.datasets import load_digits

            found = load_digits()
            return (found.images.astype(np.float32) / 16, found.target.astype(np.int64)), None
        return _kind(Path(self.source))(Path(self.source))


DEFAULT = Images()


def _kind(path: Path) -> Callable[[Path], tuple[_Part, _Part | None]]:
    """The function that reads such a folder."""
    if path.is_dir():
        if list(path.glob("train-images*idx3-ubyte*")):
            return _mnist
        if (path / "train.bin").is_file() and (path / "test.bin").is_file():
            return _cifar
        if next(path.rglob("*.png"), None) is not None:
            return _folders
    raise SpecError(
        f"images were asked for at {path}, which is no folder of idx files, of train.bin and test.bin, or of folders "
        "with .png; give one of these (pickled data are not read)."
    )


def _mnist(path: Path) -> tuple[_Part, _Part | None]:
    parts: list[_Part] = []
    for name in ("train", "t10k"):
        images, labels = (_idx(path, f"{name}-{what}") for what in ("images*idx3-ubyte*", "labels*idx1-ubyte*"))
        parts.append((images.astype(np.float32) / np.float32(255), labels.astype(np.int64)))
    return parts[0], parts[1]


def _idx(path: Path, pattern: str) -> npt.NDArray[np.uint8]:
    """An array in the IDX format: two zeros, the type (8: bytes), the number of axes, their lengths, the values."""
    file = next(iter(sorted(path.glob(pattern))), None)
    if file is None:
        raise SpecError(f"{path} has no file {pattern}; give all four files of the data set.")
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    axes = data[3] if len(data) > 4 else 0
    shape = np.frombuffer(data, ">u4", axes, 4).tolist() if len(data) >= 4 + 4 * axes else []
    if data[:3] != b"\0\0\x08" or len(data) != 4 + 4 * axes + int(np.prod(shape)):
        raise SpecError(f"{file} is no IDX file of bytes, or is cut short; get it anew.")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _cifar(path: Path) -> tuple[_Part, _Part | None]:
    parts: list[_Part] = []
    for name in ("train.bin", "test.bin"):
        data = np.fromfile(path / name, np.uint8)
        if len(data) % 3_074:
            raise SpecError(f"{path / name} is no file of CIFAR-100's binary version (3,074 bytes an image).")
        rows = data.reshape(-1, 3_074)
        colours = rows[:, 2:].reshape(-1, 3, 32, 32).astype(np.float32) / 255
        grey = np.tensordot(colours, np.array([0.299, 0.587, 0.114], np.float32), (1, 0))
        parts.append((grey.astype(np.float32), rows[:, 1].astype(np.int64)))
    return parts[0], parts[1]


def _folders(path: Path) -> tuple[_Part, _Part | None]:
    from matplotlib.image import imread

    files = sorted(path.rglob("*.png"))
    names = sorted({str(file.parent) for file in files})
    images = []
    for file in files:
        image = np.asarray(imread(file), dtype=np.float32)
        images.append(image[..., :3].mean(-1) if image.ndim == 3 else image)
    if len({image.shape for image in images}) > 1:
        raise SpecError(f"the images in {path} differ in size; make them equal.")
    classes = np.array([names.index(str(file.parent)) for file in files], dtype=np.int64)
    return (np.stack(images), classes), None


def _shrunk(images: Floats, side: int | None) -> Floats:
    """Means over equal blocks, what does not fill one cut off evenly."""
    if side is None or images.shape[1] <= side:
        return np.ascontiguousarray(images, dtype=np.float32)
    block = images.shape[1] // side
    start = (images.shape[1] - block * side) // 2
    kept = images[:, start : start + block * side, start : start + block * side]
    found: Floats = kept.reshape(len(images), side, block, side, block).mean((2, 4)).astype(np.float32)
    return found
