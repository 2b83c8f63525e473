"""A jump is divided among its causes as it was planted."""

from __future__ import annotations

import numpy as np
import pytest

from nosce.analysis.emergence.jump_shares import JUMP_CAUSES, jump_share_rows, jump_shares
from nosce.analysis.emergence.scores import CountOutcomes, ItemOutcomes
from nosce.analysis.emergence.simulation import simulate_outcomes
from nosce.seeds import Seed


def shares_of(truth, number, *, seeds=1, items=600):
    """The shares of a planted world of ten sizes."""
    world = simulate_outcomes(truth, sizes=10, items=items, seeds=seeds, seed=Seed(number), exponents=(1.0, 1.4))
    return jump_shares(world, Seed(0), draws=60)


@pytest.mark.parametrize("truth", ["power law", "largest option"])
def test_a_jump_of_the_metric_is_the_metric_s(truth):
    """Nearly all of it, and nothing is left for the ability."""
    found = shares_of(truth, 1)
    assert found.shares["metric"] > 0.8
    assert found.shares["ability"] < 0.2
    assert found.is_metric_linked


def test_a_planted_break_is_the_ability_s():
    """The mean of five worlds: most of it, less the metric's (p^L is steeper), and nothing for kinds of items."""
    worlds = [found for number in range(5) if (found := shares_of("planted break", number)) is not None]
    assert len(worlds) == 5
    assert np.mean([world.shares["ability"] for world in worlds]) > 0.6
    assert max(abs(world.shares["items"]) for world in worlds) < 0.1


def test_items_that_cancel_each_other_are_seen():
    """Easy items sag where hard ones rise: a part of the jump; in a power law there is none."""
    assert 0.1 < shares_of("item mixture", 0).shares["items"] < 0.5
    assert abs(shares_of("power law", 0).shares["items"]) < 0.05


def test_seeds_that_break_at_different_sizes_are_seen():
    """Of eight seeds; with one nothing can be said."""
    mixed = [found for number in range(6) if (found := shares_of("seed mixture", number, seeds=8)) is not None]
    assert len(mixed) >= 2
    assert np.mean([world.shares["seeds"] for world in mixed]) > 0.3
    together = [found for number in range(6) if (found := shares_of("planted break", number, seeds=8)) is not None]
    assert len(together) == 6
    assert sum("seeds" in world.untested for world in together) >= 4  # all seeds jump at once
    assert "fewer than 5 seeds" in shares_of("power law", 2).untested["seeds"]


def test_few_items_add_to_a_jump():
    """An even rise of which 12 answers are seen looks steep; endlessly many would not."""
    sizes = 10.0 ** np.arange(5, 13)
    share = np.array([[0.05, 0.1, 0.15, 0.2, 0.3, 0.6, 0.7, 0.75]])
    few, many = (
        jump_shares(CountOutcomes(sizes, np.round(share * n), np.full(share.shape, float(n)), continuous=None), Seed(0))
        for n in (20, 2_000)
    )
    assert few.shares["resolution"] > many.shares["resolution"] + 0.05
    assert set(few.untested) == {"metric", "items", "seeds"}


def test_the_shares_make_a_whole_and_are_told_in_words():
    """Over all causes and the ability; what was not looked at is said."""
    found = shares_of("planted break", 3)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert set(found.shares) == {*JUMP_CAUSES, "ability"}
    rows = dict(jump_share_rows(found))
    assert rows["  seeds that change groups"] == "not known: fewer than 5 seeds"
    assert rows["  the ability's own"].count(" % [") == 1
    assert "no one link holds" in str(jump_share_rows(shares_of("mass shift", 1)))


def test_an_even_rise_is_not_taken_apart():
    """Neither noise nor a straight line has a jump; few items are of one kind."""
    assert shares_of("pure noise", 0) is None
    assert jump_share_rows(shares_of("even rise", 0)) == [("the jump, taken apart", "there is none")]
    world = simulate_outcomes("planted break", sizes=10, items=30, seeds=1, seed=Seed(4))
    found = jump_shares(ItemOutcomes(world.sizes, world.sharp, world.continuous), Seed(0), draws=20)
    assert found is None or "fewer than 40 items" in found.untested["items"]
