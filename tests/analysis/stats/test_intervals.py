"""Intervals against hand computations, and against the coverage that they claim."""

import numpy as np
import pytest
from scipy import stats

from nosce.analysis.stats.intervals import bca_interval, clustered_mean, nested_interval, plural, wilson
from nosce.analysis.stats.ranges import NON_NEGATIVE, SHARE_RANGE, UNBOUNDED, ValueRange
from nosce.errors import DataError, SpecError
from nosce.records import Estimate
from nosce.seeds import Seed

# Variance of a training seed over the variance of a seed's mean that is due to its people.
REGIMES = {"people only": 0.0, "both": 1.0, "mostly seeds": 5.0, "seeds only": 100.0}


def simulated(rng: np.random.Generator, seeds: int, people: int, ratio: float) -> np.ndarray:
    """One score per person around a true mean of zero: a row per training seed."""
    shift = rng.normal(size=(seeds, 1)) * np.sqrt(ratio / people)
    return rng.normal(size=(seeds, people)) + shift


def nested(score: np.ndarray, value_range: ValueRange = UNBOUNDED) -> Estimate:
    """The interval of scores with a row per training seed."""
    seeds, people = score.shape
    entity, place = list(range(people)) * seeds, np.repeat(np.arange(seeds), people).tolist()
    return nested_interval(score.ravel(), entity, place, value_range=value_range)


def coverage(seeds: int, ratio: float, *, replications: int, people: int = 10) -> float:
    """The share of simulated studies whose interval holds the truth."""
    rng = (Seed(0) / "coverage" / seeds / str(ratio)).numpy()
    hits = 0
    for _ in range(replications):
        estimate = nested(simulated(rng, seeds, people, ratio))
        hits += estimate.low <= 0 <= estimate.high
    return hits / replications


@pytest.mark.parametrize(
    ("successes", "low", "high"),
    [(0, 0.0, 0.2775328), (5, 0.2365931, 0.7634069), (10, 0.7224672, 1.0)],
)
def test_wilson_gives_the_values_computed_by_hand(successes, low, high):
    """With z = 1.959964 the ends at 0 of n are 0 and z²/(n + z²), and at a half 1/2 ± z/2/√(n + z²)."""
    estimate = wilson(successes, 10)

    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-6)
    assert (estimate.value, estimate.n, estimate.clusters) == (successes / 10, 10, 10)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (11, 10), (-1, 10)])
def test_wilson_refuses_a_share_that_is_none(successes, n):
    """No trials, or more successes than trials, have no share."""
    with pytest.raises(DataError, match=f"{successes} successes in {n} trials"):
        wilson(successes, n)


def test_a_cluster_per_item_gives_the_plain_t_interval():
    """Without anything drawn together the clustered error is the textbook one."""
    score = Seed(1).numpy().normal(size=25)
    estimate = clustered_mean(score, [f"person/{i}" for i in range(25)])
    low, high = stats.t.interval(0.95, 24, loc=score.mean(), scale=stats.sem(score))

    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((score.mean(), low, high))


def test_items_that_repeat_each_other_add_nothing():
    """Four copies of each item give the interval of one copy, which is wider than the naive one."""
    score, names = Seed(2).numpy().normal(size=30), [f"person/{i}" for i in range(30)]
    once = clustered_mean(score, names)
    copied = clustered_mean(np.tile(score, 4), names * 4)
    naive = clustered_mean(np.tile(score, 4), range(120))

    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    assert copied.high - copied.low > 1.9 * (naive.high - naive.low)
    assert (copied.n, copied.clusters) == (120, 30)


def test_clustered_mean_covers_what_it_claims():
    """Eight clusters of three to six related items: the nominal 95 % is met within noise."""
    rng = Seed(3).numpy()
    entity = np.repeat(np.arange(8), [3, 4, 5, 6, 3, 4, 5, 6])
    estimates = [clustered_mean(rng.normal(size=8)[entity] + rng.normal(size=len(entity)), entity) for _ in range(600)]
    covered = np.mean([e.low <= 0 <= e.high for e in estimates])

    assert 0.92 <= covered <= 0.975


@pytest.mark.parametrize("regime", ["people only", "both", "seeds only"])
@pytest.mark.parametrize("seeds", [2, 3, 5, 12])
def test_an_interval_covers_new_seeds_and_people(seeds, regime):
    """Whatever share of the variance the seeds have, a nominal 95 % covers 92 to 99.5 % of 400 studies."""
    assert 0.92 <= coverage(seeds, REGIMES[regime], replications=400) <= 0.995


@pytest.mark.slow
@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("seeds", [3, 5, 8, 12])
def test_an_interval_covers_in_a_larger_simulation(seeds, regime):
    """With 4,000 studies a cell, coverage lies between 93 and 97.5 %."""
    assert 0.93 <= coverage(seeds, REGIMES[regime], replications=4_000, people=40) <= 0.975


def rare_errors(rng: np.random.Generator, seeds: int, people: int = 60) -> np.ndarray:
    """Right or wrong of people of whom each seed gets about three of a hundred wrong."""
    right = rng.beta(0.97 * 80, 0.03 * 80, size=(seeds, 1))
    return (rng.random((seeds, people)) < right).astype(float)


@pytest.mark.parametrize("seeds", [1, 3, 5, 8, 12])
def test_rare_errors_are_covered_within_the_range(seeds):
    """A share near its end is covered as often as it claims, without leaving the range."""
    rng = (Seed(10) / seeds).numpy()
    if seeds == 1:  # other seeds are not covered by one
        estimates = [nested((rng.random((1, 60)) < 0.97).astype(float), SHARE_RANGE) for _ in range(400)]
    else:
        estimates = [nested(rare_errors(rng, seeds), SHARE_RANGE) for _ in range(400)]
    assert 0.92 <= np.mean([e.low <= 0.97 <= e.high for e in estimates]) <= 0.99
    assert all(0 <= e.low < e.high <= 1 for e in estimates)


def test_many_seeds_that_agree_do_not_pay_for_what_they_do_not_vary():
    """Ten seeds without variance of their own give an interval near that of the people alone."""
    rng = Seed(4).numpy()
    widths = [e.high - e.low for e in (nested(simulated(rng, 10, 20, 0.0)) for _ in range(100))]
    ideal = 2 * 1.96 / np.sqrt(200)

    assert ideal < np.median(widths) < 1.25 * ideal


def test_one_seed_has_the_interval_of_its_people_and_says_so():
    """With a single training seed the interval is that of the people, and the method admits it."""
    score = Seed(5).numpy().normal(size=(1, 60))
    estimate = nested(score)
    plain = clustered_mean(score.ravel(), range(60))

    assert estimate.method == "Student's t over 60 people; 1 seed, so nothing is said about other seeds"
    assert (estimate.low, estimate.high) == pytest.approx((plain.low, plain.high))


def test_several_seeds_have_student_t_over_their_means():
    """Three seeds far apart give the t interval of their three means, however many people were asked."""
    rng = Seed(6).numpy()
    score = np.array([[0.2], [0.5], [0.9]]) + 0.01 * rng.normal(size=(3, 40))
    estimate = nested(score)
    means = score.mean(axis=1)
    low, high = stats.t.interval(0.95, 2, loc=means.mean(), scale=stats.sem(means))

    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert (estimate.n, estimate.clusters, estimate.seeds) == (120, 120, 3)
    assert estimate.method == "Student's t over 3 seeds"


def test_seeds_that_agree_by_luck_do_not_make_the_interval_absurdly_narrow():
    """Three equal means of people who differ have the 80 % interval of the people."""
    people = np.linspace(0, 1, 20)
    estimate = nested(np.stack([people, people, people]))
    error = people.std(ddof=1) / np.sqrt(60)

    assert estimate.high - estimate.value == pytest.approx(stats.t.ppf(0.9, 57) * error)
    assert "agree so well" in estimate.method


def test_people_of_different_seeds_are_different_people():
    """A name that recurs in another training seed is another cluster."""
    score = Seed(7).numpy().normal(size=(3, 10))

    assert nested(score).clusters == 30


def test_items_of_a_person_count_together():
    """Four copies of each item change neither the mean nor the interval."""
    score, entity, place = Seed(8).numpy().normal(size=40), list(range(20)) * 2, [0] * 20 + [1] * 20
    once = nested_interval(score, entity, place)
    copied = nested_interval(np.tile(score, 4), entity * 4, place * 4)

    assert (copied.value, copied.low, copied.high) == pytest.approx((once.value, once.low, once.high))


def test_seeds_weigh_equally_and_items_within_them():
    """The statistic is the mean over seeds of the mean over items, whatever their numbers."""
    score, entity, place = [1, 1, 0, 0, 0, 1], ["a", "a", "a", "b", "a", "b"], [0, 0, 0, 0, 1, 1]
    estimate = nested_interval(score, entity, place)

    assert estimate.value == (2 / 4 + 1 / 2) / 2


def test_the_order_of_rows_does_not_matter():
    """Any order of rows gives the same bytes."""
    rng = Seed(9).numpy()
    score, entity, place = rng.integers(2, size=90), np.arange(90) % 30, np.arange(90) // 30
    order = rng.permutation(90)

    assert nested_interval(score, entity, place) == nested_interval(score[order], entity[order], place[order])


def test_an_interval_keeps_within_its_range_and_is_not_cut():
    """Shares of two seeds far apart would leave [0, 1]; within the range the ends lie inside, not on the ends."""
    score, entity, place = [1, 1, 1, 0, 0, 0, 0, 1], list("abcd") * 2, [0] * 4 + [1] * 4
    free = nested_interval(score, entity, place)
    kept = nested_interval(score, entity, place, value_range=SHARE_RANGE)

    assert free.low < 0
    assert free.high > 1
    assert 0 < kept.low < kept.value < kept.high < 1
    assert kept.method == f"{free.method}; within [0, 1] by a score test"


def test_a_cost_that_is_nearly_nothing_is_not_negative():
    """Edit distances of which nearly all are 0 have an interval above 0."""
    score = np.zeros((3, 30))
    score[:, 0] = (1, 2, 0)
    assert nested(score).low < 0
    kept = nested(score, NON_NEGATIVE)
    assert 0 < kept.low < kept.value
    assert kept.high > nested(score).high


def test_no_variation_is_no_certainty():
    """Where all are right there is no interval without bounds, and Wilson's over people with them."""
    right, entity, place = [1.0] * 40, list(range(20)) * 2, [0] * 20 + [1] * 20
    bounded = nested_interval(right, entity, place, value_range=SHARE_RANGE)

    assert nested_interval(right, entity, place).low is None
    assert clustered_mean(right, entity).low is None
    assert (bounded.low, bounded.high) == pytest.approx((wilson(40, 40).low, 1.0))
    assert bounded.method.startswith("wilson over people: all 40 are equal")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_refused(bad):
    """Neither interval skips what was not scored."""
    score = [0.0, 1.0, bad, 1.0]
    with pytest.raises(DataError, match="1 of 4 scores are not finite"):
        clustered_mean(score, "abcd")
    with pytest.raises(DataError, match="1 of 4 scores are not finite"):
        nested_interval(score, "abab", [0, 0, 1, 1])


def test_one_cluster_is_refused():
    """One person says nothing about others, in the data or in one of the seeds."""
    with pytest.raises(DataError, match="the data has 1 cluster with 3 items"):
        clustered_mean([0, 1, 1], "aaa")
    with pytest.raises(DataError, match="training seed 1 has 1 cluster with 2 items"):
        nested_interval([0, 1, 1, 1], "abaa", [0, 0, 1, 1])


def test_what_cannot_be_asked_is_refused():
    """Lengths that differ, scores outside their range, no items and impossible levels."""
    with pytest.raises(DataError, match="one number and one name"):
        clustered_mean([0, 1, 1], "ab")
    with pytest.raises(DataError, match="one number and one name"):
        clustered_mean([], [])
    with pytest.raises(DataError, match="one number and one name"):
        nested_interval([0, 1], "ab", [0])
    with pytest.raises(DataError, match="were said to lie within"):
        nested_interval([0, 2], "ab", [0, 0], value_range=SHARE_RANGE)
    with pytest.raises(SpecError, match="level 95"):
        clustered_mean([0, 1], "ab", level=95)


def test_bca_leans_with_the_data_and_agrees_where_nothing_leans():
    """On symmetric data it is the t interval; on skewed data it reaches further to the long tail's side."""
    rng = np.random.default_rng(7)
    names = [str(n) for n in range(400)]
    even, skewed = rng.normal(size=400), rng.exponential(size=400) ** 2
    plain, ours = clustered_mean(even, names), bca_interval(even, names, seed=Seed(1))
    assert (ours.low, ours.high) == pytest.approx((plain.low, plain.high), abs=0.02)
    found = bca_interval(skewed, names, seed=Seed(1))
    assert found.high - found.value > 1.1 * (found.value - found.low)
    assert "BCa" in found.method
    assert "9,999" in found.method
    assert found == bca_interval(skewed, names, seed=Seed(1))


def test_bca_counts_clusters_and_not_items():
    """Ten readings of each of few people are no ten times as many people."""
    few = np.random.default_rng(8).normal(size=30)
    alone = bca_interval(few, range(30), seed=Seed(2))
    many_ = bca_interval(np.repeat(few, 10), np.repeat(range(30), 10), seed=Seed(2))
    assert (many_.low, many_.high) == pytest.approx((alone.low, alone.high), rel=1e-12)
    assert (many_.n, many_.clusters, alone.n) == (300, 30, 30)


def test_bca_claims_no_certainty_where_all_are_alike():
    """A width of nothing would say that nothing could have come out otherwise."""
    found = bca_interval(np.full(20, 3.0), range(20), seed=Seed(0))
    assert (found.value, found.low, found.high) == (3.0, None, None)
    with pytest.raises(DataError):
        bca_interval([1.0], ["one"], seed=Seed(0))


@pytest.mark.parametrize(
    ("unit", "many"),
    [
        *(("person", "people"), ("toss", "tosses"), ("box", "boxes"), ("city", "cities")),
        ("day", "days"),
        ("item", "items"),
    ],
)
def test_a_users_unit_has_its_plural(unit, many):
    assert plural(unit) == many
