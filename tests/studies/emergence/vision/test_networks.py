"""Small networks that see: metrics are what they say, sizes matter, and equal seeds give equal tables."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import polars as pl
import pytest

from nosce.errors import SpecError
from nosce.seeds import Seed
from nosce.studies.emergence.vision.classes import ImageClassification, n_classifier_parameters
from nosce.studies.emergence.vision.images import ImageDatasetConfig
from nosce.studies.emergence.vision.reconstruction import ImageReconstruction
from nosce.studies.emergence.vision.sequences import InContextNaming

SEED = Seed(3)


def read(experiment) -> pl.DataFrame:
    """All its tables as one."""
    return pl.concat(list(experiment.run(SEED)))


def values(table: pl.DataFrame, metric: str) -> np.ndarray:
    """The values of a metric, in order."""
    return table.filter(metric=metric)["value"].to_numpy()


def test_a_wider_bottleneck_comes_closer():
    """And close enough is what the error says it is."""
    narrow, wide = (read(ImageReconstruction(bottleneck=n, epochs=12)) for n in (1, 16))
    assert values(wide, "squared_error").mean() < 0.6 * values(narrow, "squared_error").mean()
    for limit in (0.5, 1.5):
        assert values(wide, f"within {limit:g}").tolist() == (values(wide, "squared_error") < limit).tolist()
    assert read(ImageReconstruction(bottleneck=1, epochs=12)).equals(narrow)


@pytest.mark.parametrize("net", ["mlp", "lenet"])
def test_all_of_a_subset_must_be_right(net):
    """Their nats add up, and the share of all subsets is the exact one."""
    found = read(ImageClassification(hidden_units=4, architecture=net, epochs=4))
    right = values(found, "right")
    m, n = int(right.sum()), len(right)
    assert m > 0.3 * n
    assert values(found, "share 3")[0] == pytest.approx(comb(m, 3) / comb(n, 3))
    assert values(found, "all 3").mean() == pytest.approx(values(found, "share 3")[0], abs=0.06)
    assert values(found, "nats 10").mean() == pytest.approx(10 * values(found, "nats").mean(), rel=0.15)
    assert (
        n_classifier_parameters(ImageClassification(hidden_units=4, architecture=net), ImageDatasetConfig().load())
        > 4 * 10
    )


def test_subsets_are_the_same_for_all_sizes():
    """So that sizes are paired: one right everywhere has all of its subsets right."""
    one, other = (read(ImageClassification(hidden_units=n, epochs=1)) for n in (2, 3))
    keys = ["item", "metric"]
    assert one.select(keys).equals(other.select(keys))


def test_names_are_dealt_anew_in_every_sequence():
    """No image twice in a sequence, names as often one as another whatever the class, shown ones shown."""
    spec = InContextNaming(width=8, ways=3, shots=2, n_queries=3)
    pictures = ImageDatasetConfig().load()
    pool = spec._image_pools(pictures)[1]
    images, names = spec._sample_sequences(pool, SEED.numpy(), 600)
    assert images.shape == (600, 9, 8, 8)
    flat = images.reshape(600, 9, -1)
    assert all(len(np.unique(sequence, axis=0)) == 9 for sequence in flat)
    assert all(np.bincount(row[:6], minlength=3).tolist() == [2, 2, 2] for row in names)
    assert np.bincount(names[:, 6:].ravel()) / 1_800 == pytest.approx([1 / 3] * 3, abs=0.05)
    zeros = pictures.test_images[pictures.test_labels == 0].reshape(-1, 64)
    said = [names[row, place] for row in range(600) for place in range(9) if (zeros == flat[row, place]).all(1).any()]
    assert np.bincount(said) / len(said) == pytest.approx([1 / 3] * 3, abs=0.08)


def test_what_is_held_out_is_shown_to_nobody():
    """Images of test sequences are no training images; with new classes, classes are none either."""
    pictures = ImageDatasetConfig().load()
    for new in (False, True):
        (train, mine), (test, others) = InContextNaming(width=8, ways=2, new_classes=new)._image_pools(pictures)
        learnt = {train[n].tobytes() for places in mine for n in places}
        asked = {test[n].tobytes() for places in others for n in places}
        # A few digits were drawn twice, pixel by pixel.
        assert len(learnt & asked) <= 0.02 * len(asked)


def test_a_short_training_reads_all_that_is_claimed():
    """Metrics of the first L hang together; an untrained one is at chance."""
    found = read(InContextNaming(width=8, steps=3, n_test_sequences=200, n_queries=3))
    first = values(found.filter(attribute="image 1"), "right")
    assert values(found, "all 1").tolist() == first.tolist()
    assert (values(found, "all 3") <= values(found, "all 2")).all()
    assert (values(found, "nats 3") >= values(found, "nats 2")).all()
    assert first.mean() == pytest.approx(1 / 3, abs=0.12)


def test_what_cannot_be_tried_is_refused():
    """One sentence each."""
    for make in (
        lambda: ImageReconstruction(bottleneck=0),
        lambda: ImageClassification(hidden_units=2, subset_sizes=(600,)),
        lambda: ImageClassification(hidden_units=2, architecture="vit"),
        lambda: InContextNaming(width=6),
    ):
        with pytest.raises(SpecError):
            make()
    with pytest.raises(SpecError, match="show fewer"):
        next(iter(InContextNaming(width=8, ways=11).run(SEED)))


@pytest.mark.parametrize(
    "one", [ImageReconstruction(bottleneck=2), ImageClassification(hidden_units=2), InContextNaming(width=8)]
)
def test_a_part_is_the_same_thing_shorter(one):
    """What a price is taken of."""
    small, times = one.timing_subset()
    assert type(small) is type(one)
    assert times > 1


def test_accuracy_per_image_is_of_the_subsets_that_must_be_right():
    """All of ten are right exactly where the share of the ten is 1; without the field nothing else changes."""
    plain = ImageClassification(hidden_units=4, epochs=2, subset_sizes=(3, 10))
    with_shares = read(replace(plain, subset_accuracy=True))
    shares, every = (values(with_shares, metric) for metric in ("right 10", "all 10"))
    assert ((shares == 1) == (every == 1)).all()
    assert shares.mean() == pytest.approx(values(with_shares, "right").mean(), abs=0.03)
    others = with_shares.filter(~pl.col("metric").is_in(["right 3", "right 10"]))
    assert read(plain).equals(others)
