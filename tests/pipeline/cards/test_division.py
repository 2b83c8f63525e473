"""The budget of a card: divided by its rule, never exceeded, and remembered."""

from __future__ import annotations

import numpy as np
import pytest

from nosce.pipeline.budget import PricedSize
from nosce.pipeline.cards.division import QuestionPrice, divide_budget, load_prices, save_prices


def price(id_: str, *minutes: float, n_not_known: int = 0) -> QuestionPrice:
    sizes = tuple(
        PricedSize(settings=(f"people={n}",), minutes=m, n_not_known=n_not_known, half_width=None, has_prices=True)
        for n, m in enumerate(minutes)
    )
    return QuestionPrice(id=id_, sizes=sizes)


@pytest.mark.parametrize(
    ("minutes", "chosen"),
    [
        (0.5, {}),
        (1, {"b": 0}),
        (2.9, {"b": 1}),
        (3, {"a": 0, "b": 0}),
        (4, {"a": 0, "b": 1}),  # the cheaper step, although a comes first
        (12, {"a": 0, "b": 2}),
        (20, {"a": 1, "b": 2}),
        (1e9, {"a": 2, "b": 2}),
    ],
)
def test_every_question_comes_first_then_the_cheapest_step(minutes, chosen):
    assert divide_budget([price("a", 2, 10, 100), price("b", 1, 2, 10)], minutes) == chosen


def test_a_question_whose_price_is_not_known_stays_small():
    """Its steps count as nothing, so that a larger size of it would exceed the budget unseen."""
    assert divide_budget([price("a", 0, 0, 0, n_not_known=3), price("b", 1, 2)], 10) == {"a": 0, "b": 1}


def test_no_plan_exceeds_its_budget():
    """Any prices, and even such that fall with the size."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        prices = [price(str(n), *rng.exponential(size=rng.integers(1, 6))) for n in range(rng.integers(1, 6))]
        budget = rng.exponential() * 2
        chosen = divide_budget(prices, budget)
        by_id = {one.id: one.sizes for one in prices}
        paid = sum(max(size.minutes for size in by_id[id_][: at + 1]) for id_, at in chosen.items())
        assert sum(by_id[id_][at].minutes for id_, at in chosen.items()) <= budget + 1e-12
        smallest = sorted(one.sizes[0].minutes for one in prices)
        assert len(chosen) == sum(np.cumsum(smallest) <= budget)
        assert paid >= 0


def test_prices_come_back_as_they_were(tmp_path):
    prices = {"a": price("a", 1.5, 2.5), "b": QuestionPrice(id="b", reason="no room")}
    save_prices(tmp_path / "cards" / "x.json", prices)
    assert load_prices(tmp_path / "cards" / "x.json") == prices
    assert [one.is_known for one in prices.values()] == [True, False]


def test_a_file_that_is_no_record_is_left_out(tmp_path, capsys):
    assert load_prices(tmp_path / "x.json") is None
    (tmp_path / "x.json").write_text('{"questions": [{"id": "a", "sizes": 3}]}')
    assert load_prices(tmp_path / "x.json") is None
    assert "is left out, since it is no record" in capsys.readouterr().err
