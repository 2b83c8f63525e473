"""Shares of headroom: what a score gains of the room above its floor, and how surely."""

from __future__ import annotations

import numpy as np
import pytest
from tests.fixtures.planted_scores import planted_scores

from nosce.analysis.claims import Claim
from nosce.analysis.headroom import NormalizedContrast, NormalizedGain
from nosce.analysis.measures import Contrast
from nosce.analysis.selection import Selection
from nosce.errors import DataError

ROOM = NormalizedGain(**{name: Selection(evaluation="r", metric=name) for name in ("a", "a_floor", "b", "b_floor")})


def test_room_asks_what_share_of_it_is_taken_up():
    """Of a floor of 80 % a score of 90 takes up half the room, as much as 60 of one of 20."""
    alike = ROOM.estimate(planted_scores({"a": 0.9, "a_floor": 0.8, "b": 0.6, "b_floor": 0.2}, 4_000), "person")
    assert alike.low < 0 < alike.high
    more = ROOM.estimate(planted_scores({"a": 0.95, "a_floor": 0.8, "b": 0.6, "b_floor": 0.2}, 4_000), "person")
    assert more.value == pytest.approx(0.25, abs=0.04)
    assert more.low > 0


def test_room_is_as_sure_as_what_it_is_made_of():
    """Its interval is that of redrawing people and taking the shares anew."""
    table = planted_scores({"a": 0.8, "a_floor": 0.5, "b": 0.6, "b_floor": 0.4}, 400, seeds=(0,))
    found = ROOM.estimate(table, "person")
    wide = np.stack([table.filter(metric=m)["value"].to_numpy() for m in ("a", "a_floor", "b", "b_floor")])
    rng = np.random.default_rng(0)
    a, f, b, g = np.stack([wide[:, rng.integers(400, size=400)].mean(1) for _ in range(4_000)]).T
    low, high = np.quantile((a - f) / (1 - f) - (b - g) / (1 - g), [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)


def test_a_floor_without_room_is_refused():
    """Nothing can be taken up where the floor has all of it."""
    with pytest.raises(DataError, match="no room"):
        ROOM.estimate(planted_scores({"a": 0.8, "a_floor": 1.0, "b": 0.6, "b_floor": 0.4}, 20), "person")


def score(name: str) -> Selection:
    return Selection(evaluation="r", metric=name)


def contrast_of(*names: str) -> NormalizedContrast:
    """The first score above its floor minus the second one, and so on in turn."""
    terms = [((-1.0) ** n, score(name), score(f"{name}_floor")) for n, name in enumerate(names)]
    return NormalizedContrast(terms=tuple(terms))


def test_two_shares_of_room_are_their_gain():
    """A contrast of two terms is the normalised gain, to the last digit."""
    table = planted_scores({"a": 0.8, "a_floor": 0.5, "b": 0.6, "b_floor": 0.4}, 400)
    assert contrast_of("a", "b").estimate(table, "person") == ROOM.estimate(table, "person")


@pytest.mark.parametrize(("b", "b_floor", "verdict"), [(0.88, 0.8, "fails"), (0.5, 0.4, "holds")])
def test_a_gain_in_points_may_be_none_in_room(b, b_floor, verdict):
    """Planted: 12 points of 50 against 8 of 20 are more points and less room; 12 of 50 against 10 of 60 are more."""
    table = planted_scores({"a": 0.62, "a_floor": 0.5, "b": b, "b_floor": b_floor}, 6_000)
    points = Contrast(terms=((1, score("a")), (-1, score("a_floor")), (-1, score("b")), (1, score("b_floor"))))
    assert points.estimate(table, "person").value > 0
    claim = Claim(id="room", text="a gains more", source="ours", measure=contrast_of("a", "b"), threshold=0.0)
    assert claim.judge(table, "person").verdict == verdict


def test_one_share_of_room_is_no_difference():
    """It is shown in percent, is at most all of the room, and may be less than none."""
    single = contrast_of("a")
    assert not single.is_difference
    assert single.value_range.high == 1.0
    found = single.estimate(planted_scores({"a": 0.999, "a_floor": 0.5}, 300), "person")
    assert found.value == pytest.approx(1, abs=0.02)
    assert found.high <= 1
    assert single.estimate(planted_scores({"a": 0.2, "a_floor": 0.5}, 300), "person").high < 0
