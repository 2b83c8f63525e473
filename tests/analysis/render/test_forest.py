"""The forest plot puts each number where it belongs along the axis of its row."""

import pytest

from nosce.analysis.render.forest import ClaimRule, forest_rows
from nosce.records import Verdict


def verdict(id="a", word="holds", **more):
    """A planted verdict."""
    texts = dict.fromkeys(("text", "source", "why"), "words")
    numbers = {"paper_value": 0.9, "estimate": 0.5, "low": 0.4, "high": 0.6, "n": 12, "unit": "cat"}
    criterion = "the whole 95 % interval lies above 20 %"
    return Verdict(**({"id": id, "verdict": word, "criterion": criterion} | texts | numbers | more))


def test_shares_lie_between_0_and_100_percent():
    """Place, threshold and the side on which the claim holds."""
    (row,) = forest_rows([verdict()], {"a": ClaimRule(threshold=0.2)})
    assert row.ends == ("0 %", "100 %")
    assert (row.here.low, row.here.at, row.here.high) == (40.0, 50.0, 60.0)
    assert row.paper == 90.0
    assert row.thresholds == (20.0,)
    assert row.hold == (20.0, 100.0)
    assert row.rule_text == "above 20 %"


def test_differences_share_one_axis_with_zero_on_it():
    """So that lengths can be compared from row to row; no unit of theirs is a percent."""
    rows = forest_rows(
        [
            verdict("a", is_difference=True, estimate=0.6, low=0.5, high=0.7, paper_value=None),
            verdict("b", is_difference=True, estimate=-0.1, low=-0.2, high=0.0, paper_value=None),
            verdict("c"),
        ],
        {"a": ClaimRule(threshold=0.0), "b": ClaimRule(threshold=0.1, direction="within")},
    )
    assert rows[0].ends == rows[1].ends == ("-25", "+75")
    assert rows[0].zero == rows[1].zero == 25.0
    assert rows[1].thresholds == rows[1].hold == (15.0, 35.0)
    assert rows[2].ends == ("0 %", "100 %")


@pytest.mark.parametrize("direction", ["above", "below"])
def test_the_side_of_the_threshold(direction):
    """Below: from the left end on."""
    (row,) = forest_rows([verdict()], {"a": ClaimRule(threshold=0.2, direction=direction)})
    assert row.hold == ((20.0, 100.0) if direction == "above" else (0.0, 20.0))


def test_another_quantity_has_an_axis_of_its_own_with_zero():
    """All numbers of the row lie on it."""
    (row,) = forest_rows([verdict(unit="nats", estimate=4.0, low=2.5, high=6.0, paper_value=None)])
    assert 0 < row.here.low < row.here.at < row.here.high < 100
    assert row.ends[0] == "0"
    assert not row.here.is_cut


def test_what_lies_beyond_the_axis_is_cut_at_its_end():
    """An interval may reach beyond what a share can be; the numbers are said in full."""
    (row,) = forest_rows([verdict(estimate=0.9, low=0.5, high=1.2, unit="cat", is_difference=True, paper_value=1.0)])
    assert row.ends[1] != "+125"
    (row,) = forest_rows([verdict(estimate=0.9, low=-0.1, high=1.0)])
    assert row.here.low == 0.0
    assert row.here.is_cut
    assert "[-10.0, 100.0]" in row.here_text


def test_a_claim_without_a_number_has_a_row_without_marks():
    """It is said to be not judged; preconditions have no row."""
    rows = forest_rows(
        [verdict(word="undecided", estimate=None, low=None, high=None), verdict("p", is_precondition=True)]
    )
    assert [row.id for row in rows] == ["a"]
    assert rows[0].here is None
    assert rows[0].word == "not judged"
    assert rows[0].ends == ("", "")


def test_exploratory_seeds_are_drawn_beside():
    """On the same axis, with their own numbers."""
    (row,) = forest_rows([verdict()], {}, {"a": verdict(estimate=0.3, low=0.2, high=0.4)})
    assert (row.exploratory.low, row.exploratory.at, row.exploratory.high) == (20.0, 30.0, 40.0)
    assert row.exploratory.text == "30.0 % [20.0, 40.0]"


def test_an_estimate_without_an_interval_is_a_mark_alone():
    """One end known is no interval either."""
    (row,) = forest_rows([verdict(low=None)])
    assert row.here.low is None
    assert row.here.at == 50.0
