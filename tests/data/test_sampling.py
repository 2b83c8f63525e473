"""The order of batches: a function of seed and step, in which every epoch visits each text once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.stats

from nosce.data.sampling import EpochSampler, MixtureSampler, length_sorted_batches
from nosce.errors import SpecError
from nosce.seeds import Seed

SIZES = pytest.mark.parametrize(("texts", "batch"), [(100, 7), (10, 10), (7, 20), (1, 3), (64, 16)])


@SIZES
def test_a_step_is_a_function_of_seed_and_number(texts, batch):
    """Asked in any order, twice, or by somebody else who starts in the middle, a step is the same texts."""
    order = EpochSampler(texts, batch, Seed(0))
    forwards = [order.batch_indices(step).tolist() for step in range(40)]
    backwards = [order.batch_indices(step).tolist() for step in reversed(range(40))]
    assert forwards == backwards[::-1]
    assert EpochSampler(texts, batch, Seed(0)).batch_indices(33).tolist() == forwards[33]
    assert all(len(step) == batch for step in forwards)


@SIZES
def test_an_epoch_visits_each_text_once(texts, batch):
    """Laid end to end, the steps are permutations of all texts, one after the other."""
    order = EpochSampler(texts, batch, Seed(0))
    steps = -(-5 * texts // batch)
    flat = np.concatenate([order.batch_indices(step) for step in range(steps)])
    for epoch in range(5):
        assert sorted(flat[epoch * texts : (epoch + 1) * texts]) == list(range(texts))


@SIZES
@pytest.mark.parametrize("steps", [0, 1, 14, 15, 29])
def test_counts_are_those_of_having_counted(texts, batch, steps):
    """How often a text was met is known without training, also where the last step straddles two epochs."""
    order = EpochSampler(texts, batch, Seed(0))
    counted = np.zeros(texts, dtype=int)
    for step in range(steps):
        np.add.at(counted, order.batch_indices(step), 1)
    assert order.exposures(steps).tolist() == counted.tolist()
    assert counted.max() - counted.min() <= 1


def test_a_step_can_straddle_two_epochs():
    """Step 14 of 7 out of 100 ends the first epoch with two texts and begins the second with five."""
    order = EpochSampler(100, 7, Seed(0))
    assert order.batch_indices(14).tolist() == [*order.epoch_permutation(0)[98:], *order.epoch_permutation(1)[:5]]


def test_epochs_and_seeds_differ():
    """Every epoch is a fresh shuffle, and another seed shuffles otherwise from the first step on."""
    order = EpochSampler(100, 7, Seed(0))
    epochs = [order.epoch_permutation(number).tolist() for number in range(4)] + [
        EpochSampler(100, 7, Seed(1)).epoch_permutation(0).tolist()
    ]
    assert len({tuple(epoch) for epoch in epochs}) == 5
    for one in range(5):
        for other in range(one):
            assert np.mean(np.array(epochs[one]) == np.array(epochs[other])) < 0.1


def test_the_batch_does_not_change_the_order():
    """A larger batch takes more of the same endless order, so two recipes meet the texts alike."""
    small, large = EpochSampler(50, 5, Seed(0)), EpochSampler(50, 15, Seed(0))
    assert np.concatenate([small.batch_indices(s) for s in (0, 1, 2)]).tolist() == large.batch_indices(0).tolist()


def test_a_text_comes_at_any_place():
    """Over two thousand epochs text 0 stands in each of ten places equally often."""
    order = EpochSampler(10, 1, Seed(0))
    places = [int(np.flatnonzero(order.epoch_permutation(number) == 0)[0]) for number in range(2_000)]
    assert scipy.stats.chisquare(np.bincount(places, minlength=10)).pvalue > 0.001


@pytest.mark.parametrize(("texts", "batch"), [(0, 1), (10, 0), (10, -1)])
def test_an_order_of_nothing_is_refused(texts, batch):
    """A batch of nothing, or out of nothing, is refused in one sentence."""
    with pytest.raises(SpecError, match=rf"batch of {batch} out of {texts} texts .*\.$"):
        EpochSampler(texts, batch, Seed(0))


@pytest.mark.parametrize("positions", [1, 30, 200, 100_000])
def test_passes_hold_every_text_once_longest_first(positions):
    """However many positions a pass has: each text is in one, no pass is fuller than it may be, none is empty."""
    rng = Seed(0).numpy()
    lengths = rng.integers(1, 30, size=200)
    texts = rng.permutation(200)[:120].tolist()
    passes = list(length_sorted_batches(texts, lengths, positions))
    flat = [text for batch in passes for text in batch]
    assert flat == sorted(texts, key=lambda text: (-lengths[text], text))
    assert all(len(batch) == 1 or lengths[batch].sum() <= positions for batch in passes)
    fuller = [lengths[one].sum() + lengths[other[0]] for one, other in pairwise(passes)]
    assert all(held > positions for held in fuller)
    assert all(passes)


def test_no_text_needs_no_pass():
    """Nothing to read, nothing to run."""
    assert list(length_sorted_batches([], np.ones(3, dtype=int), 10)) == []


@pytest.mark.parametrize("after", [0, 25])
@pytest.mark.parametrize(
    ("first", "second", "batch", "share"), [(100, 9, 8, 0.25), (7, 30, 5, 0.1), (50, 50, 3, 1 / 3)]
)
def test_a_mixture_keeps_its_share_and_the_epochs_of_both(first, second, batch, share, after):
    """Over any number of steps to within a text; each side meets all its texts before one of them again."""
    order = MixtureSampler(first, second, batch, share, Seed(4), start_step=after)
    steps = [order.batch_indices(step) for step in range(60)]
    assert all(len(step) == batch for step in steps)
    for count in (1, 7, 60):
        met = np.concatenate(steps[:count])
        assert abs((met >= first).sum() - share * batch * max(0, count - after)) <= 1
        assert np.array_equal(np.bincount(met, minlength=first + second), order.exposures(count))
    whole = np.concatenate(steps)
    for side in (whole[whole < first], whole[whole >= first]):
        times = np.unique(side, return_counts=True)[1]
        assert times.max() - times.min() <= 1 or len(times) < len(side)
    counts = order.exposures(60)
    assert np.ptp(counts[:first]) <= 1
    assert np.ptp(counts[first:]) <= 1


def test_a_mixture_is_a_function_of_seed_and_step():
    """Any step alone, whatever was asked before; another seed mixes otherwise."""
    one, same, other = (MixtureSampler(40, 10, 8, 0.3, Seed(n)) for n in (1, 1, 2))
    assert np.array_equal(one.batch_indices(17), [same.batch_indices(3), same.batch_indices(17)][1])
    assert not np.array_equal(one.batch_indices(17), other.batch_indices(17))


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_a_mixture_of_one_is_refused(share):
    """Then it is an order and no mixture."""
    with pytest.raises(SpecError, match="share"):
        MixtureSampler(4, 4, 2, share, Seed(0))
