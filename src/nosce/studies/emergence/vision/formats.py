"""The file formats of published images: IDX, the binary version of CIFAR-100, and folders or archives of .png.

Letters: N images, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from nosce.errors import SpecError

GreyImages = npt.NDArray[np.float32]
ClassLabels = npt.NDArray[np.int64]
LabeledImages = tuple[GreyImages, ClassLabels]  # (N, H, W) from 0 to 1, (N,)

CIFAR_IMAGE_BYTES = 3_074  # a coarse label, a fine label, and three colours of 32 x 32
GREY_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


def parse_idx(data: bytes, name: object) -> npt.NDArray[np.uint8]:
    """An array in the IDX format: two zeros, the type (8: bytes), the number of axes, their lengths, the values.

    Args:
        data: The file's bytes, unpacked.
        name: The file, for messages.

    Raises:
        SpecError: These are no bytes of IDX, or they are cut short.
    """
    axes = data[3] if len(data) > 4 else 0
    shape = np.frombuffer(data, ">u4", axes, 4).tolist() if len(data) >= 4 + 4 * axes else []
    if data[:3] != b"\0\0\x08" or len(data) != 4 + 4 * axes + int(np.prod(shape)):
        raise SpecError(f"{name} is no IDX file of bytes, or is cut short; get it anew.")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def labeled_idx_images(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> LabeledImages:
    """MNIST's images and labels, from 0 to 1."""
    return images.astype(np.float32) / np.float32(255), labels.astype(np.int64)


def parse_cifar(data: npt.NDArray[np.uint8], name: object) -> LabeledImages:
    """Images in grey with their fine labels, of CIFAR-100's binary version.

    Raises:
        SpecError: The number of bytes is that of no whole images.
    """
    if len(data) % CIFAR_IMAGE_BYTES:
        raise SpecError(f"{name} is no file of CIFAR-100's binary version (3,074 bytes an image).")
    rows = data.reshape(-1, CIFAR_IMAGE_BYTES)
    colours = rows[:, 2:].reshape(-1, 3, 32, 32).astype(np.float32) / 255
    grey = np.tensordot(colours, np.array(GREY_WEIGHTS, np.float32), (1, 0))
    return grey.astype(np.float32), rows[:, 1].astype(np.int64)


def read_png(file: Path | BinaryIO) -> GreyImages:
    """One image in grey, from 0 to 1. Shape: (H, W)."""
    from matplotlib.image import imread

    image = np.asarray(imread(file), dtype=np.float32)
    return image[..., :3].mean(-1) if image.ndim == 3 else image


def stack_by_folder(images: Sequence[GreyImages], folders: Sequence[str], name: object) -> LabeledImages:
    """Images of folders, a class a folder, numbered in the order of their names.

    Raises:
        SpecError: The images differ in size.
    """
    if len({image.shape for image in images}) > 1:
        raise SpecError(f"the images in {name} differ in size; make them equal.")
    numbers = {folder: number for number, folder in enumerate(sorted(set(folders)))}
    return np.stack(list(images)), np.array([numbers[folder] for folder in folders], dtype=np.int64)
