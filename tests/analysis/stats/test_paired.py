"""Paired differences that were planted or shuffled away, and decisions at a threshold."""

import numpy as np
import pytest

from nosce.analysis.stats.intervals import nested_interval
from nosce.analysis.stats.paired import decide, paired_difference
from nosce.analysis.stats.ranges import ValueRange
from nosce.errors import DataError
from nosce.records import Estimate
from nosce.seeds import Seed

SEEDS, PEOPLE = 3, 60
ABOUT = [f"person/{i}" for i in range(PEOPLE)] * SEEDS
PLACE = np.repeat(np.arange(SEEDS), PEOPLE)


def two_arms(rng: np.random.Generator, effect: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two arms that share the luck of each person, and differ by `effect` on average."""
    luck = rng.normal(size=SEEDS * PEOPLE)
    a, b = (luck + 0.3 * rng.normal(size=SEEDS * PEOPLE) for _ in range(2))
    return a + effect, b


def difference(a: np.ndarray, b: np.ndarray) -> Estimate:
    """The paired difference of two arms on the same people, in the same order."""
    return paired_difference(a, ABOUT, PLACE, b, ABOUT, PLACE)


def test_a_planted_difference_is_found_and_vanishes_when_labels_are_shuffled():
    """A difference hidden under the people's luck is found; with arms swapped at random it is not."""
    rng = Seed(0).numpy()
    a, b = two_arms(rng, 0.3)
    swap = rng.random(len(a)) < 0.5
    found = difference(a, b)
    shuffled = difference(np.where(swap, b, a), np.where(swap, a, b))

    assert 0 < found.low < 0.3 < found.high
    assert shuffled.low < 0 < shuffled.high
    assert found.method.startswith("paired; Student's t over 3 seeds")
    assert (found.n, found.clusters, found.seeds) == (2 * len(a), SEEDS * PEOPLE, SEEDS)


def test_pairing_removes_what_the_arms_share():
    """The interval of the difference is narrower than that of either arm, whose luck it cancels."""
    a, b = two_arms(Seed(2).numpy(), 0.0)
    alone = nested_interval(a, ABOUT, PLACE)
    paired = difference(a, b)

    assert paired.high - paired.low < 0.8 * (alone.high - alone.low)


def test_without_a_difference_zero_is_covered_as_often_as_claimed():
    """Over 200 studies without a difference, at least 92 % of the intervals hold zero."""
    rng = Seed(3).numpy()
    estimates = [difference(*two_arms(rng, 0.0)) for _ in range(200)]

    assert np.mean([e.low <= 0 <= e.high for e in estimates]) >= 0.92


def test_pairs_are_found_by_name_and_not_by_row():
    """Rows of one arm in another order give the same bytes."""
    rng = Seed(4).numpy()
    a, b = two_arms(rng, 0.1)
    order = rng.permutation(len(b))
    mixed = paired_difference(a, ABOUT, PLACE, b[order], [ABOUT[i] for i in order], PLACE[order])

    assert mixed == difference(a, b)


def test_a_person_counts_once_however_many_items_it_has():
    """Means of each person are subtracted: three items in one arm pair with one in the other."""
    a, b = [1, 1, 0, 0.5], [0, 0]
    estimate = paired_difference(a, "pppq", [0] * 4, b, "pq", [0] * 2)

    assert estimate.value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert estimate.n == 6


def test_differences_that_are_all_equal_have_an_interval_only_with_a_range():
    """All right against all wrong is a difference of one, and no resample can say how sure."""
    ones, zeros = np.ones(SEEDS * PEOPLE), np.zeros(SEEDS * PEOPLE)
    bounded = paired_difference(ones, ABOUT, PLACE, zeros, ABOUT, PLACE, value_range=ValueRange(-1.0, 1.0))

    assert difference(ones, zeros).low is None
    assert 0.9 < bounded.low < 1 == bounded.high


def test_arms_on_different_people_are_refused():
    """The refusal counts who is missing where, and a person of another seed is another person."""
    with pytest.raises(DataError, match=r"of 3 pairs .* 1 are only in arm a and 1 only in arm b"):
        paired_difference([1, 0], "pq", [0, 0], [1, 0], "pr", [0, 0])
    with pytest.raises(DataError, match="2 are only in arm a and 2 only in arm b"):
        paired_difference([1, 0], "pq", [0, 0], [1, 0], "pq", [1, 1])


def test_what_was_not_scored_is_refused():
    """A NaN in either arm is refused, and so are lengths that differ."""
    with pytest.raises(DataError, match="1 of 2 scores are not finite"):
        paired_difference([1, np.nan], "pq", [0, 0], [1, 0], "pq", [0, 0])
    with pytest.raises(DataError, match="arm b has scores"):
        paired_difference([1, 0], "pq", [0, 0], [1], "pq", [0, 0])


@pytest.mark.parametrize(
    ("low", "high", "above", "below"),
    [
        (0.6, 0.8, "holds", "fails"),
        (0.2, 0.4, "fails", "holds"),
        (0.4, 0.6, "undecided", "undecided"),
        (0.5, 0.6, "undecided", "undecided"),  # an end on the threshold decides nothing
        (None, None, "undecided", "undecided"),
    ],
)
def test_only_a_whole_interval_decides(low, high, above, below):
    """A claim holds or fails where the interval lies on one side of the threshold, else neither."""
    estimate = Estimate(0.55, low, high, 100, 50, 3, "person", "given")

    assert decide(estimate, 0.5, "above") == above
    assert decide(estimate, 0.5, "below") == below


@pytest.mark.parametrize(
    ("low", "high", "alike"),
    [
        (-0.04, 0.04, "holds"),
        (0.01, 0.04, "holds"),  # a difference, and smaller than matters
        (0.06, 0.2, "fails"),
        (-0.2, -0.06, "fails"),
        (-0.06, 0.04, "undecided"),
        (0.04, 0.06, "undecided"),
        (-0.2, 0.2, "undecided"),
        (-0.05, 0.05, "undecided"),  # an end on the margin decides nothing
        (None, None, "undecided"),
    ],
)
def test_two_things_are_alike_within_a_margin(low, high, alike):
    """An interval that reaches over both ends of the margin, or over one, says nothing."""
    assert decide(Estimate(0.0, low, high, 100, 50, 3, "person", "given"), 0.05, "within") == alike
