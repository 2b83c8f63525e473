"""Seeds are places with names: equal places draw alike, and no place knows of another."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from nosce.seeds import Seed


def numbers(seed: Seed, count: int = 5) -> list[int]:
    """The first numbers drawn at a place."""
    return seed.numpy().integers(2**40, size=count).tolist()


def test_equal_places_draw_alike():
    """The same names from the same root give the same numbers, each time they are asked."""
    place = Seed(3) / "person" / 17
    assert numbers(place) == numbers(place) == numbers(Seed(3) / "person" / 17)
    assert place.integer() == (Seed(3) / "person" / 17).integer()


def test_a_new_consumer_moves_nobody_else():
    """Drawing at one place, much or little, changes nothing at another."""
    before = numbers(Seed(0) / "world")
    (Seed(0) / "newcomer").numpy().random(1_000)
    (Seed(0) / "world" / "below").numpy().random(1_000)
    assert numbers(Seed(0) / "world") == before


def test_different_places_draw_differently():
    """Root, names, their order and where one ends and the next begins all make another place."""
    places = [
        Seed(0),
        Seed(1),
        Seed(-1),
        Seed(0) / "a",
        Seed(0) / "b",
        Seed(0) / "a" / "b",
        Seed(0) / "b" / "a",
        Seed(0) / "ab",
        Seed(0) / "a/b",
        Seed(0) / "",
        Seed(1) / "a",
    ]
    for one, other in itertools.combinations(places, 2):
        assert one.digest() != other.digest()
        assert numbers(one) != numbers(other)
        assert one.integer() != other.integer()


def test_neighbouring_roots_share_no_items():
    """Names are hashed, not added: of 500 items from roots 42 and 43 not one is the same, shifted or not."""
    drawn = [{numbers(Seed(root) / "item" / index, 1)[0] for index in range(500)} for root in (42, 43)]
    assert [len(items) for items in drawn] == [500, 500]
    assert not drawn[0] & drawn[1]


def test_a_number_and_its_name_lead_to_one_place():
    """Index 17 and the name "17" are the same place, so that a place can be written down and found again."""
    assert Seed(0) / "person" / 17 == Seed(0) / "person" / "17"
    assert str(Seed(0) / "person" / 17) == "0/person/17"


def test_places_draw_as_if_at_random():
    """The first number of 4,000 places below one another is uniform and tells nothing of the next place's."""
    first = np.array([(Seed(5) / index).numpy().random() for index in range(4_000)])
    assert scipy.stats.kstest(first, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.06


def test_integers_fit_generators_of_64_bits():
    """A seed's integer is neither negative nor 2**63 or more, and uses the whole range."""
    drawn = [(Seed(0) / index).integer() for index in range(1_000)]
    assert min(drawn) >= 0
    assert 0.99 * 2**63 < max(drawn) < 2**63


def test_the_bytes_of_a_place_never_move():
    """A digest written down once is met again under every Python, hash seed and machine."""
    digest = (Seed(0) / "person" / 17).digest().hex()
    assert digest == "e3602bb14832347e28e811425a9b117ab13b0fe5f66aa875e15950510ae646fa"


def test_a_seed_cannot_be_changed():
    """Nobody who was handed a seed can move it for the others."""
    with pytest.raises(AttributeError):
        Seed(0).root = 1
