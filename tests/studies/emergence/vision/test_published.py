"""Published images: the files as they were published, or one sentence that says which is missing."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imsave

from nosce.errors import SpecError
from nosce.pipeline.study_loading import load_study
from nosce.studies.emergence.arms import vision_runs
from nosce.studies.emergence.config import emergence_config
from nosce.studies.emergence.study import study
from nosce.studies.emergence.vision import images, published
from nosce.studies.emergence.vision.images import ImageDatasetConfig

RNG = np.random.default_rng(0)


def idx(array: np.ndarray) -> bytes:
    """The IDX format, for bytes, packed."""
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(head + array.astype(np.uint8).tobytes(), mtime=0)


def png(ink: np.ndarray) -> bytes:
    """A drawing."""
    stream = io.BytesIO()
    imsave(stream, ink, cmap="gray", vmin=0, vmax=1, format="png")
    return stream.getvalue()


def archive_of(names: dict[str, bytes]) -> bytes:
    """A zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in names.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tar_of(names: dict[str, bytes]) -> bytes:
    """A packed tar archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in names.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def drawings(part: str, letters: int, each: int = 8) -> bytes:
    """Characters of an alphabet, each so many times; what a Mac adds is no image."""
    names = {f"images_{part}/__init__.txt": b"", f"__MACOSX/images_{part}/a/._1.png": b"none"}
    for letter in range(letters):
        for number in range(each):
            names[f"images_{part}/Greek/character{letter:02}/{number}.png"] = png(RNG.random((105, 105)).round())
    return archive_of(names)


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    """Small files of the published kinds, by name."""
    cifar = RNG.integers(256, size=(20, 3_074)).astype(np.uint8)
    cifar[:, 1] = np.arange(20) % 5
    return {
        "train-images-idx3-ubyte.gz": idx(RNG.integers(256, size=(40, 28, 28))),
        "train-labels-idx1-ubyte.gz": idx(np.arange(40) % 10),
        "t10k-images-idx3-ubyte.gz": idx(RNG.integers(256, size=(12, 28, 28))),
        "t10k-labels-idx1-ubyte.gz": idx(np.arange(12) % 10),
        "images_background.zip": drawings("background", 4),
        "images_evaluation.zip": drawings("evaluation", 3),
        "cifar-100-binary.tar.gz": tar_of(
            {"cifar-100-binary/train.bin": cifar.tobytes(), "cifar-100-binary/test.bin": cifar[:11].tobytes()}
        ),
    }


@pytest.fixture
def folder(tmp_path, monkeypatch, contents):
    """A folder with small files, which stand for the published ones."""
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    known = {}
    for name, dataset in published.PUBLISHED_IMAGES.items():
        files = tuple(
            published.PublishedFile(one.name, len(contents[one.name]), hashlib.sha256(contents[one.name]).hexdigest())
            for one in dataset.files
        )
        known[name] = replace(dataset, files=files, n_test_images={"mnist": 12, "omniglot": 24, "cifar-100": 11}[name])
    for module in (published, images):
        monkeypatch.setattr(module, "PUBLISHED_IMAGES", known)
    return tmp_path


def test_each_set_is_read_from_its_published_files(folder):
    """Shapes, splits of their own, and classes; characters that are asked about are others than those learnt."""
    sets = {name: ImageDatasetConfig.from_published(folder, name).load() for name in published.PUBLISHED_IMAGES}
    assert sets["mnist"].train_images.shape == (40, 28, 28)
    assert sets["mnist"].test_labels.tolist() == (np.arange(12) % 10).tolist()
    assert sets["cifar-100"].test_images.shape == (11, 32, 32)
    assert sets["cifar-100"].n_classes == 5
    omniglot = sets["omniglot"]
    assert omniglot.train_images.shape == (32, 35, 35)  # a third of 105
    assert set(omniglot.train_labels) == {0, 1, 2, 3}
    assert set(omniglot.test_labels) == {4, 5, 6}
    assert 0 < omniglot.train_images.mean() < 1


@pytest.mark.parametrize("name", published.PUBLISHED_IMAGES)
def test_what_is_missing_is_one_sentence_and_nothing_is_fetched(name, folder):
    """Which file, where it was published, and that the user puts it there."""
    file = published.PUBLISHED_IMAGES[name].files[-1].name
    (folder / file).unlink()
    with pytest.raises(SpecError, match=rf"has no file {file}; put the file of .* there .*nothing is downloaded.*\.$"):
        ImageDatasetConfig.from_published(folder, name)


@pytest.mark.parametrize(
    ("change", "said"), [(lambda b: b + b"1", "bytes and the file of"), (lambda b: b[:-1] + b"?", "another SHA-256")]
)
@pytest.mark.parametrize("name", published.PUBLISHED_IMAGES)
def test_another_file_than_the_published_one_is_refused(name, change, said, folder):
    """By its size, or by its bytes; also where it changed after the study was planned."""
    config = ImageDatasetConfig.from_published(folder, name)
    path = folder / published.PUBLISHED_IMAGES[name].files[0].name
    path.write_bytes(change(path.read_bytes()))
    for read in (lambda: ImageDatasetConfig.from_published(folder, name), config.load):
        with pytest.raises(SpecError, match=said):
            read()


def test_what_lies_unpacked_beside_is_not_read(folder):
    """Only the checked files are."""
    (folder / "train-images-idx3-ubyte").write_bytes(b"other")
    assert len(ImageDatasetConfig.from_published(folder, "mnist").load().train_images) == 40


def test_an_unknown_set_is_refused(folder):
    """One sentence with those that are known."""
    with pytest.raises(SpecError, match=r"take one of mnist, omniglot, cifar-100\.$"):
        ImageDatasetConfig.from_published(folder, "svhn")


def test_a_folder_gives_each_kind_of_network_the_papers_images(folder):
    """CIFAR-100 for autoencoders, MNIST for LeNets, Omniglot for decoders; every one of them trains."""
    config = emergence_config(
        "paper", [f"images_folder={folder}", "reconstruction_epochs=1", "classification_epochs=1"]
    )
    config = replace(config, sequence_steps=2, n_test_sequences=5)
    runs = vision_runs(config)
    assert [run.experiments[0].experiment.images.published for run in runs] == ["cifar-100", "mnist", "omniglot"]
    assert runs[1].experiments[0].experiment.architecture == "lenet"
    assert [run.ladder.images for run in runs] == ["CIFAR-100", "MNIST", "Omniglot"]
    assert runs[1].ladder.metrics[3] == "channels"
    for run in runs:
        first = run.experiments[0].experiment
        if run.ladder.kind == "classes":
            first = replace(first, subset_sizes=(1, 3))
        metrics = set().union(*(set(table["metric"]) for table in first.run(images.Seed(0))))
        assert set(run.ladder.metrics[:2]) - {"all 10", "nats 10"} <= metrics


def test_an_error_counts_as_small_by_the_same_amount_a_pixel(folder):
    """0.5 of 64 pixels is 8 of 1,024."""
    small = emergence_config("laptop")
    large = replace(small, images_folder=str(folder))
    for config, sharp in ((small, "within 0.5"), (large, "within 8")):
        assert vision_runs(config)[0].ladder.metrics[0] == sharp
    assert vision_runs(large)[0].experiments[0].experiment.error_thresholds == (8.0, 24.0)


def test_without_a_folder_the_study_says_what_stands_in():
    """The paper's scale can be planned anywhere, and its page says which images it had."""
    (note,) = load_study("emergence", "paper").notes
    assert "images_folder" in note
    assert load_study("emergence", "laptop").notes == ()


def test_a_folder_that_is_not_there_is_refused_before_any_work(tmp_path):
    """When the study is read."""
    with pytest.raises(SpecError, match=r"has no file"):
        study("paper", (f"images_folder={tmp_path / 'none'}",))
