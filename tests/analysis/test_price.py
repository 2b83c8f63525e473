"""What would decide an open claim: seeds, units, or nothing that is for sale."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from nosce.analysis.claims import Claim, Precondition
from nosce.analysis.looks import LOOKS
from nosce.analysis.measures import Mean, MinOf
from nosce.analysis.price import (
    ClaimPrice,
    SeedSpread,
    claim_power,
    decision_power,
    nearest_threshold,
    price_claim,
    seed_spread,
    seeds_needed,
)
from nosce.analysis.selection import Selection
from nosce.analysis.stats.intervals import interval_of_units
from nosce.analysis.stats.level import at_level
from nosce.errors import DataError

CHOSEN = Selection(evaluation="toss", metric="heads", arm="coin", quantity="steps")
OTHER = replace(CHOSEN, arm="other")


def claim(threshold: float, selection: Selection = CHOSEN, **more) -> Claim:
    measure = Mean(selection=selection)
    return Claim(id="lands", text="It lands", source="ours", measure=measure, threshold=threshold, **more)


def readings(
    seeds: int,
    *,
    mean: float = 0.0,
    of_seeds: float = 0.0,
    of_people: float = 0.0,
    of_items: float = 0.0,
    people=40,
    items=1,
    arm="coin",
    key=0,
) -> pl.DataFrame:
    """Readings whose variance has three parts, of these standard deviations."""
    rng = np.random.default_rng([key, seeds, people, items])
    values = (
        mean
        + of_seeds * rng.normal(size=(seeds, 1, 1))
        + of_people * rng.normal(size=(seeds, people, 1))
        + of_items * rng.normal(size=(seeds, people, items))
    )
    index = np.indices(values.shape).reshape(3, -1)
    return pl.DataFrame(
        {"seed": index[0], "entity": [f"p{n:03}" for n in index[1]], "item": [f"i{n}" for n in index[2]]}
    ).with_columns(
        value=values.ravel(),
        evaluation=pl.lit("toss"),
        metric=pl.lit("heads"),
        arm=pl.lit(arm),
        stage=pl.lit("s"),
        split=pl.lit("unseen"),
        step=pl.lit(1),
        attribute=pl.lit(""),
    )


def priced(rows: pl.DataFrame, threshold: float, **more) -> ClaimPrice:
    return price_claim(claim(threshold, **more), rows, "person")


def test_the_number_of_seeds_is_that_of_a_t_test():
    """Power by simulation at the number that is named: four in five."""
    needed = int(seeds_needed(np.array(1.0), np.array(1.0)))
    assert needed == 10, "as tables of the one-sample t-test at 5 % two-sided have it for one deviation"
    rng = np.random.default_rng(0)
    decided = 0
    for _ in range(2_000):
        scores = 1.0 + rng.normal(size=(needed, 1)) + np.array([[-1e-3, 1e-3]])
        decided += interval_of_units(scores).low > 0
    assert decided / 2_000 == pytest.approx(0.8, abs=0.04)


def test_seeds_needed_fall_with_the_distance_and_end_at_100():
    needed = seeds_needed(np.array([0.01, 0.5, 1.0, 5.0]), np.ones(4))
    assert needed.tolist() == sorted(needed.tolist(), reverse=True)
    assert needed[0] == 101
    assert needed[-1] <= 4


def test_the_parts_of_the_variance_are_found():
    """Planted: 4 of seeds, 4 of people (160 of one, 40 people), 2 of items (240 of one, 3 items of 40 people)."""
    shares = []
    for key in range(6):
        rows = readings(12, mean=5, of_seeds=2, of_people=np.sqrt(160), of_items=np.sqrt(240), items=3, key=key)
        spread = seed_spread(Mean(selection=CHOSEN), rows, "person", 0.0)
        shares.append([spread.variance, spread.unit_variance, spread.item_variance])
    total, units, items = np.mean(shares, 0)
    assert total == pytest.approx(10, rel=0.35)
    assert units == pytest.approx(6, rel=0.15)
    assert items == pytest.approx(2, rel=0.4)


def test_where_seeds_differ_more_seeds_are_named_and_no_units():
    price = priced(readings(3, mean=0.7, of_seeds=1.0, of_people=0.1, key=3), 0.0)
    assert price.by_seeds
    assert 3 < price.needed <= 100
    assert price.needed_low <= price.needed
    assert price.needed_high is None or price.needed_high >= price.needed
    assert price.share_seeds > 0.9
    assert price.units_factor is None
    assert price.sentence.startswith(f"about {price.needed} seeds (80 % range {price.needed_low} to ")


def test_where_people_differ_more_people_are_an_answer_too():
    price = priced(readings(5, mean=0.3, of_people=3.0, key=1), 0.0)
    assert price.share_units > 0.7
    assert price.units_factor > 1
    assert "as many people in each seed" in price.sentence


def test_not_by_seeds_says_what_100_would_leave():
    near = priced(readings(5, mean=0.0, of_seeds=1.0, of_people=0.1, key=5), price_estimate() + 0.001)
    assert not near.by_seeds
    assert near.needed is None
    assert near.sentence.startswith("not by seeds: 100 would still leave ±")
    assert near.sentence.endswith(" steps")


def price_estimate() -> float:
    rows = readings(5, mean=0.0, of_seeds=1.0, of_people=0.1, key=5)
    return Mean(selection=CHOSEN).estimate(rows, "person").value


def test_a_need_that_is_not_met_is_not_bought_with_seeds():
    need = Precondition(text="recall", measure=Mean(selection=CHOSEN), above=9.0)
    price = priced(readings(3, mean=1.0, of_seeds=1.0), 1.0, preconditions=(need,))
    assert not price.by_seeds
    assert price.sentence.startswith("not by seeds: recall is ")
    assert price.sentence.endswith("and must be above 9")


def test_a_need_whose_interval_reaches_below_is_what_is_priced():
    need = Precondition(text="recall", measure=Mean(selection=OTHER), above=0.0, by_interval=True)
    rows = pl.concat([readings(3, mean=9.0, of_people=1.0), readings(3, mean=0.8, of_seeds=0.6, arm="other", key=2)])
    price = priced(rows, 1.0, preconditions=(need,))
    assert price.by_seeds
    assert price.needed > 3


def test_one_seed_knows_no_price_and_missing_readings_have_none():
    assert "one seed does not tell how seeds differ" in priced(readings(1, of_people=1.0), 0.0).sentence
    beside = pl.concat([readings(1, of_people=1.0), readings(3, of_people=1.0, arm="other")])
    alone = priced(beside, 0.0)
    assert "one seed does not tell how seeds differ" in alone.sentence, "another arm's seeds are not the claim's"
    assert alone.seeds == 1
    missing = price_claim(claim(0.0, OTHER), readings(3, of_seeds=1.0), "person")
    assert missing.sentence.startswith("not by seeds: no reading is there")


def test_of_the_least_of_several_the_one_that_decides_is_priced():
    """The other one is the least of each seed by itself, since its people differ more; its people are not counted."""
    other = readings(4, of_people=0.1, arm="other").with_columns(
        value=pl.col("value") + 0.2 + 1.2 * (pl.col("seed") % 2)
    )
    wide = pl.col("entity").str.slice(1).cast(pl.Int64) % 2 * 16.0 - 6.0  # of each seed the same people, around 2
    rows = pl.concat([readings(4).with_columns(value=wide), other])
    measures = tuple(Mean(selection=one) for one in (CHOSEN, OTHER))
    least = MinOf(measures=measures)
    alone = rows.filter(pl.col("seed") == 0)
    assert least.deciding(rows, "person") == measures[1]
    assert least.deciding(alone, "person") == measures[0]

    spread = seed_spread(least, rows, "person", 0.0)
    assert spread == seed_spread(measures[1], rows, "person", 0.0)
    assert spread.unit_variance < 0.01


def test_the_threshold_of_a_margin_is_the_nearer_one():
    assert nearest_threshold(-0.2, 1.0, "within") == -1.0
    assert nearest_threshold(0.2, 1.0, "within") == 1.0
    assert nearest_threshold(-0.2, 1.0, "below") == 1.0


@pytest.mark.parametrize(("distance", "low", "high"), [(0.0, 0.0, 0.25), (0.8, 0.2, 0.8), (6.0, 0.9, 1.0)])
def test_power_grows_with_the_distance(distance, low, high):
    spread = SeedSpread(value=distance, n_seeds=5, variance=1.0, unit_variance=0.1)
    power = decision_power(spread, 0.0, "above", LOOKS)
    assert low <= power <= high
    assert decision_power(spread, 0.0, "above", (8,)) <= power
    assert decision_power(spread, 0.0, "above", ()) == 0.0


def test_predictive_power_is_what_happens():
    """Truth and variance drawn as the method says, seeds drawn from them: the share that is decided is the power."""
    rng = np.random.default_rng(1)
    spread = SeedSpread(value=1.0, n_seeds=3, variance=0.5, unit_variance=0.0)
    decided = 0
    for _ in range(1_500):
        variance = 0.5 * 2 / rng.chisquare(2)
        truth = 1.0 + np.sqrt(variance / 3) * rng.normal()
        seen = np.array([1.0 - np.sqrt(0.5), 1.0, 1.0 + np.sqrt(0.5)])
        values = np.concatenate([seen, truth + np.sqrt(variance) * rng.normal(size=2)])
        with at_level(0.9908869):
            interval = interval_of_units(values[:, None] + np.array([[-1e-6, 1e-6]]))
        decided += interval.low > 0 or interval.high < 0
    assert decision_power(spread, 0.0, "above", (5,)) == pytest.approx(decided / 1_500, abs=0.04)


def test_a_claim_that_seeds_cannot_decide_has_no_power():
    with pytest.raises(DataError, match="no reading is there"):
        claim_power(claim(0.0, OTHER), readings(3, of_seeds=1.0), "person", LOOKS)


def with_other(
    own: pl.DataFrame, *, mean: float, of_seeds: float = 0.6, arm: str = "other", key: int = 2
) -> pl.DataFrame:
    """The readings of the claim beside those of a need, whose three seeds lie around a mean."""
    other = readings(3, of_people=0.01, arm=arm, key=key)
    values = pl.col("value") + mean + of_seeds * (pl.col("seed") - 1)
    return pl.concat([own, other.with_columns(value=values)])


def other_need(above: float = 0.0, arm: str = "other", *, by_interval: bool = True) -> Precondition:
    measure = Mean(selection=replace(CHOSEN, arm=arm))
    return Precondition(text=f"recall of {arm}", measure=measure, above=above, by_interval=by_interval)


SURE = readings(3, mean=9.0, of_people=1.0)
OPEN = readings(3).with_columns(value=pl.col("value") + 1.0 + 1e-3 + 2.0 * (pl.col("seed") - 1))


def test_an_open_need_does_not_hide_that_the_claim_itself_stays_open():
    """The need would be met soon, and the claim's own estimate lies on its threshold: the least of both chances."""
    need = claim(1.0, preconditions=(other_need(),))
    soon = claim_power(need, with_other(SURE, mean=1.4), "person", LOOKS)
    assert soon > 0.7
    alone = claim_power(claim(1.0), OPEN, "person", LOOKS)
    both = claim_power(need, with_other(OPEN, mean=1.4), "person", LOOKS)
    assert both == alone < 0.3
    price = price_claim(need, with_other(OPEN, mean=1.4), "person")
    assert not price.by_seeds, "the dearer of both is priced, which is the claim's own"


def test_the_least_likely_of_several_needs_counts():
    needs = (other_need(), other_need(arm="third"))
    rows = with_other(with_other(SURE, mean=1.4), mean=0.1, arm="third", key=4)
    both = claim_power(claim(1.0, preconditions=needs), rows, "person", LOOKS)
    assert both == claim_power(claim(1.0, preconditions=needs[1:]), rows, "person", LOOKS) < 0.3
    assert both == claim_power(claim(1.0, preconditions=needs[::-1]), rows, "person", LOOKS)
    price = price_claim(claim(1.0, preconditions=needs), rows, "person")
    assert price.sentence.endswith(", to tell whether recall of third lies above 0")


@pytest.mark.parametrize("by_interval", [True, False])
def test_a_need_is_open_where_its_interval_reaches_to_both_sides(by_interval):
    """Below its threshold by the estimate, it may still be met; decided below, it leaves the claim open."""
    gated = claim(1.0, preconditions=(other_need(by_interval=by_interval),))
    chances = [claim_power(gated, with_other(SURE, mean=mean), "person", LOOKS) for mean in (-0.2, -1.0)]
    assert 0 < chances[0] < 0.5
    assert chances[1] < chances[0]
    with pytest.raises(DataError, match="recall of other is -3"):
        claim_power(gated, with_other(SURE, mean=-3.0), "person", LOOKS)


def test_the_variance_of_few_people_is_their_own():
    """Four people a seed: half of Student's interval is 3.2 of their errors and not 1.96."""
    found = []
    for key in range(12):
        rows = readings(6, mean=5, of_people=2.0, people=4, key=key)
        found.append(seed_spread(Mean(selection=CHOSEN), rows, "person", 0.0).unit_variance)
    assert np.mean(found) == pytest.approx(4 / 4, rel=0.3)


def test_two_groups_of_seeds_are_not_made_one_by_more():
    rows = readings(6, of_people=0.1).with_columns(value=pl.col("value") + 2.0 * (pl.col("seed") % 2))
    assert claim(1.0).judge(rows, "person").verdict == "undecided"
    assert "the seeds form two groups on both sides of the threshold" in priced(rows, 1.0).sentence
    with pytest.raises(DataError, match="two groups"):
        claim_power(claim(1.0), rows, "person", LOOKS)
