"""Small networks that see: metrics are what they say, sizes matter, and equal seeds give equal tables."""

from __future__ import annotations

from math import comb

import numpy as np
import polars as pl
import pytest

from nosce.errors import SpecError
from nosce.seeds import Seed
from nosce.studies.emergence.vision.classes import Classes, parameters
from nosce.studies.emergence.vision.images import Images
from nosce.studies.emergence.vision.reconstruction import Reconstruction
from nosce.studies.emergence.vision.sequences import Sequences

SEED = Seed(3)


def read(experiment) -> pl.DataFrame:
    """All its tables as one."""
    return pl.concat(list(experiment.read(SEED)))


def values(table: pl.DataFrame, metric: str) -> np.ndarray:
    """The values of a metric, in order."""
    return table.filter(metric=metric)["value"].to_numpy()


def test_a_wider_bottleneck_comes_closer():
    """And close enough is what the error says it is."""
    narrow, wide = (read(Reconstruction(bottleneck=n, epochs=12)) for n in (1, 16))
    assert values(wide, "squared_error").mean() < 0.6 * values(narrow, "squared_error").mean()
    for limit in (0.5, 1.5):
        assert values(wide, f"within {limit:g}").tolist() == (values(wide, "squared_error") < limit).tolist()
    assert read(Reconstruction(bottleneck=1, epochs=12)).equals(narrow)


@pytest.mark.parametrize("net", ["mlp", "lenet"])
def test_all_of_a_subset_must_be_right(net):
    """Their nats add up, and the share of all subsets is the exact one."""
    found = read(Classes(hidden=4, net=net, epochs=4))
    right = values(found, "right")
    m, n = int(right.sum()), len(right)
    assert m > 0.3 * n
    assert values(found, "share 3")[0] == pytest.approx(comb(m, 3) / comb(n, 3))
    assert values(found, "all 3").mean() == pytest.approx(values(found, "share 3")[0], abs=0.06)
    assert values(found, "nats 10").mean() == pytest.approx(10 * values(found, "nats").mean(), rel=0.15)
    assert parameters(Classes(hidden=4, net=net), Images().load()) > 4 * 10


def test_subsets_are_the_same_for_all_sizes():
    """So that sizes are paired: one right everywhere has all of its subsets right."""
    one, other = (read(Classes(hidden=n, epochs=1)) for n in (2, 3))
    keys = ["item", "metric"]
    assert one.select(keys).equals(other.select(keys))


def test_names_are_dealt_anew_in_every_sequence():
    """No image twice in a sequence, names as often one as another whatever the class, shown ones shown."""
    spec = Sequences(width=8, ways=3, shots=2, asked=3)
    pictures = Images().load()
    pool = spec._pools(pictures)[1]
    images, names = spec._drawn(pool, SEED.numpy(), 600)
    assert images.shape == (600, 9, 8, 8)
    flat = images.reshape(600, 9, -1)
    assert all(len(np.unique(sequence, axis=0)) == 9 for sequence in flat)
    assert all(np.bincount(row[:6], minlength=3).tolist() == [2, 2, 2] for row in names)
    assert np.bincount(names[:, 6:].ravel()) / 1_800 == pytest.approx([1 / 3] * 3, abs=0.05)
    zeros = pictures.test[pictures.test_classes == 0].reshape(-1, 64)
    said = [names[row, place] for row in range(600) for place in range(9) if (zeros == flat[row, place]).all(1).any()]
    assert np.bincount(said) / len(said) == pytest.approx([1 / 3] * 3, abs=0.08)


def test_what_is_held_out_is_shown_to_nobody():
    """Images of test sequences are no training images; with new classes, classes are none either."""
    pictures = Images().load()
    for new in (False, True):
        (train, mine), (test, others) = Sequences(width=8, ways=2, new_classes=new)._pools(pictures)
        learnt = {train[n].tobytes() for places in mine for n in places}
        asked = {test[n].tobytes() for places in others for n in places}
        # A few digits were drawn twice, pixel by pixel.
        assert len(learnt & asked) <= 0.02 * len(asked)


def test_a_short_training_reads_all_that_is_claimed():
    """Metrics of the first L hang together; an untrained one is at chance."""
    found = read(Sequences(width=8, steps=3, tests=200, asked=3))
    first = values(found.filter(facet="image 1"), "right")
    assert values(found, "all 1").tolist() == first.tolist()
    assert (values(found, "all 3") <= values(found, "all 2")).all()
    assert (values(found, "nats 3") >= values(found, "nats 2")).all()
    assert first.mean() == pytest.approx(1 / 3, abs=0.12)


def test_what_cannot_be_tried_is_refused():
    """One sentence each."""
    for make in (lambda: Reconstruction(bottleneck=0), lambda: Classes(hidden=2, subsets=(600,)),
                 lambda: Classes(hidden=2, net="vit"), lambda: Sequences(width=6)):  # fmt: skip
        with pytest.raises(SpecError):
            make()
    with pytest.raises(SpecError, match="show fewer"):
        next(iter(Sequences(width=8, ways=11).read(SEED)))


@pytest.mark.parametrize("one", [Reconstruction(bottleneck=2), Classes(hidden=2), Sequences(width=8)])
def test_a_part_is_the_same_thing_shorter(one):
    """What a price is taken of."""
    small, times = one.part()
    assert type(small) is type(one)
    assert times > 1
