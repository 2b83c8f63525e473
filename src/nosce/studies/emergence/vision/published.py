"""MNIST, Omniglot and CIFAR-100 from the files that their authors published, which the user puts into a folder.

Nothing is downloaded and nothing is unpacked to disk: each file must have the published size and SHA-256, and is read
as it is. The pickled version of CIFAR-100 is not read.

Source: Schaeffer et al. 2023 (arXiv:2304.15004), section 5, for the choice of data.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from nosce.errors import SpecError
from nosce.studies.emergence.vision.formats import (
    LabeledImages,
    labeled_idx_images,
    parse_cifar,
    parse_idx,
    read_png,
    stack_by_folder,
)

READ_BYTES = 1 << 20  # of a file that are hashed at once


@dataclass(frozen=True)
class PublishedFile:
    """A file as it was published.

    Args:
        name: Its name.
        n_bytes: Its size.
        sha256: The SHA-256 of its bytes, as hexadecimal digits.
    """

    name: str
    n_bytes: int
    sha256: str


@dataclass(frozen=True)
class PublishedImages:
    """A published data set of images.

    Args:
        title: Its name in messages.
        home: Where it was published, for messages.
        files: Its files.
        n_test_images: Its own test images.
        max_side: Rows and columns that larger images are shrunk to.
    """

    title: str
    home: str
    files: tuple[PublishedFile, ...]
    n_test_images: int
    max_side: int | None = None


PUBLISHED_IMAGES: dict[str, PublishedImages] = {
    "mnist": PublishedImages(
        "MNIST",
        "yann.lecun.com/exdb/mnist",
        (
            PublishedFile(
                "train-images-idx3-ubyte.gz",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            PublishedFile(
                "train-labels-idx1-ubyte.gz",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            PublishedFile(
                "t10k-images-idx3-ubyte.gz",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            PublishedFile(
                "t10k-labels-idx1-ubyte.gz",
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
        n_test_images=10_000,
    ),
    "omniglot": PublishedImages(
        "Omniglot",
        "github.com/brendenlake/omniglot, folder python",
        (
            PublishedFile(
                "images_background.zip",
                9_464_212,
                "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
            ),
            PublishedFile(
                "images_evaluation.zip",
                6_462_886,
                "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
            ),
        ),
        n_test_images=13_180,  # 20 drawings of each of 659 characters that no training sequence shows
        max_side=35,  # a third of 105
    ),
    "cifar-100": PublishedImages(
        "CIFAR-100",
        "www.cs.toronto.edu/~kriz/cifar.html, binary version",
        (
            PublishedFile(
                "cifar-100-binary.tar.gz",
                168_513_733,
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            ),
        ),
        n_test_images=10_000,
    ),
}


def check_published(folder: Path, name: str) -> str:
    """Check that a folder has the published files of a data set, and return a digest of them.

    Raises:
        SpecError: There is no such folder or data set, or a file is missing or another one.
    """
    if name not in PUBLISHED_IMAGES:
        raise SpecError(f"images {name!r} are not known; take one of {', '.join(PUBLISHED_IMAGES)}.")
    dataset = PUBLISHED_IMAGES[name]
    advice = f"put the file of {dataset.home} there as it was published (nothing is downloaded or unpacked for you)."
    for file in dataset.files:
        path = folder / file.name
        if not path.is_file():
            raise SpecError(f"{dataset.title} was asked for, but {folder} has no file {file.name}; {advice}")
        if (size := path.stat().st_size) != file.n_bytes:
            raise SpecError(
                f"{path} has {size:,} bytes and the file of {dataset.title} that was published {file.n_bytes:,}; "
                f"{advice}"
            )
        if _sha256(path) != file.sha256:
            raise SpecError(f"{path} has another SHA-256 than the published file of {dataset.title}; {advice}")
    return hashlib.sha256("\n".join(file.sha256 for file in dataset.files).encode()).hexdigest()


def read_published(folder: Path, name: str) -> tuple[LabeledImages, LabeledImages]:
    """The training images and the test images of a data set, whose files are checked first.

    Raises:
        SpecError: A file is missing or another one.
    """
    check_published(folder, name)
    return _READERS[name](folder)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _read_mnist(folder: Path) -> tuple[LabeledImages, LabeledImages]:
    parts = []
    for name in ("train", "t10k"):
        paths = (folder / f"{name}-images-idx3-ubyte.gz", folder / f"{name}-labels-idx1-ubyte.gz")
        images, labels = (parse_idx(gzip.decompress(path.read_bytes()), path) for path in paths)
        parts.append(labeled_idx_images(images, labels))
    return parts[0], parts[1]


def _read_omniglot(folder: Path) -> tuple[LabeledImages, LabeledImages]:
    """Background characters to learn from, evaluation characters to be asked about, numbered on from them."""
    background, evaluation = (_read_png_zip(folder / f"images_{part}.zip") for part in ("background", "evaluation"))
    return background, (evaluation[0], evaluation[1] + background[1].max() + 1)


def _read_png_zip(path: Path) -> LabeledImages:
    """The images of a zip archive, a class a folder; the archive is not unpacked to disk."""
    images, folders = [], []
    with zipfile.ZipFile(path) as archive:
        names = (name for name in archive.namelist() if name.endswith(".png") and not name.startswith("__MACOSX"))
        for name in sorted(names):
            images.append(read_png(io.BytesIO(archive.read(name))))
            folders.append(str(PurePosixPath(name).parent))
    return stack_by_folder(images, folders, path)


def _read_cifar(folder: Path) -> tuple[LabeledImages, LabeledImages]:
    path, parts = folder / "cifar-100-binary.tar.gz", []
    with tarfile.open(path, "r:gz", encoding="utf-8") as archive:
        for name in ("train.bin", "test.bin"):
            member = archive.extractfile(f"cifar-100-binary/{name}")
            assert member is not None  # the archive is the published one
            parts.append(parse_cifar(np.frombuffer(member.read(), np.uint8), f"{name} in {path}"))
    return parts[0], parts[1]


_READERS: dict[str, Callable[[Path], tuple[LabeledImages, LabeledImages]]] = {
    "mnist": _read_mnist,
    "omniglot": _read_omniglot,
    "cifar-100": _read_cifar,
}
