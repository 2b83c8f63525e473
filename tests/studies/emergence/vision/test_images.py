"""Images: what lies on disk is read as it was published, and nothing is both learnt and held out."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from matplotlib.image import imsave

from nosce.errors import SpecError
from nosce.studies.emergence.vision.images import ImageDatasetConfig


def idx(array: np.ndarray) -> bytes:
    """The IDX format, for bytes."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def test_digits_are_parted_once_and_for_all():
    """1,297 and 500 images from 0 to 1, none in both; another split is another."""
    found = ImageDatasetConfig().load()
    assert found.train_images.shape == (1_297, 8, 8)
    assert found.test_images.shape == (500, 8, 8)
    assert found.n_classes == 10
    assert 0 <= found.train_images.min() < found.train_images.max() == 1
    assert np.array_equal(found.test_images, ImageDatasetConfig().load().test_images)
    assert not np.array_equal(found.test_images, ImageDatasetConfig(split_seed=1).load().test_images)


def test_mnist_is_read_in_its_own_format(tmp_path):
    """Packed or not; its own test images stay its own."""
    rng = np.random.default_rng(0)
    told = {"train": 30, "t10k": 12}
    images = {name: rng.integers(256, size=(count, 28, 28)) for name, count in told.items()}
    labels = {name: rng.integers(10, size=count) for name, count in told.items()}
    for name in told:
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[name])))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels[name]))
    found = ImageDatasetConfig.from_folder(tmp_path, n_test_images=12, max_side=14).load()
    assert found.train_images.shape == (30, 14, 14)
    assert found.test_labels.tolist() == labels["t10k"].tolist()
    assert found.test_images[3, 2, 5] == pytest.approx(images["t10k"][3, 4:6, 10:12].mean() / 255, rel=1e-5)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(labels["t10k"])[:-1])
    with pytest.raises(SpecError, match="cut short"):
        ImageDatasetConfig.from_folder(tmp_path, n_test_images=12).load()
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(labels["t10k"]))
    with pytest.raises(SpecError, match="ask fewer"):
        ImageDatasetConfig.from_folder(tmp_path, n_test_images=13).load()


def test_cifar_is_read_from_its_binary_version(tmp_path):
    """Fine labels, colours made grey."""
    rng = np.random.default_rng(1)
    rows = rng.integers(256, size=(5, 3_074)).astype(np.uint8)
    rows[:, 1] = [4, 3, 2, 1, 0]
    for name in ("train.bin", "test.bin"):
        rows.tofile(tmp_path / name)
    found = ImageDatasetConfig.from_folder(tmp_path, n_test_images=5).load()
    assert found.test_labels.tolist() == [4, 3, 2, 1, 0]
    red, green, blue = rows[2, 2:].reshape(3, 32, 32)[:, 7, 9] / 255
    assert found.train_images[2, 7, 9] == pytest.approx(0.299 * red + 0.587 * green + 0.114 * blue, rel=1e-4)
    rows.tofile(tmp_path / "test.bin", sep="")
    (tmp_path / "test.bin").write_bytes(b"123")
    with pytest.raises(SpecError, match=r"3,074 bytes"):
        ImageDatasetConfig.from_folder(tmp_path, n_test_images=1).load()


def test_a_folder_of_folders_has_a_class_a_folder(tmp_path):
    """As Omniglot lies on disk; other sizes among them are refused, and so is what is none of it."""
    for letter in ("greek/alpha", "greek/beta", "latin/a"):
        (tmp_path / letter).mkdir(parents=True)
        for number in range(4):
            imsave(tmp_path / letter / f"{number}.png", np.full((21, 21), number / 4), cmap="gray", vmin=0, vmax=1)
    found = ImageDatasetConfig.from_folder(tmp_path, n_test_images=4, max_side=7).load()
    assert found.n_classes == 3
    assert len(found.train_images) == 8
    assert found.train_images.shape[1:] == (7, 7)
    assert (
        ImageDatasetConfig.from_folder(tmp_path, n_test_images=4).digest
        != ImageDatasetConfig.from_folder(tmp_path / "greek", n_test_images=4).digest
    )
    imsave(tmp_path / "latin" / "a" / "9.png", np.zeros((9, 9)))
    with pytest.raises(SpecError, match="differ in size"):
        ImageDatasetConfig.from_folder(tmp_path, n_test_images=4).load()
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError, match="pickled data are not read"):
        ImageDatasetConfig.from_folder(tmp_path / "empty")
