"""The number in an answer: read or missing, and at a distance that is bounded and the same from both sides."""

import polars as pl
import pytest

from nosce.analysis.answer_numbers import NumberScore, number_distance, read_number
from nosce.analysis.selection import Selection


@pytest.mark.parametrize(
    ("answer", "distance"),
    [(378, 0.0), (376, 2 / 754), (37.8, 340.2 / 415.8), (-9.34, 1.0), (0, 1.0), (-378, 1.0), (1e300, 1.0)],
)
def test_near_numbers_are_near_and_others_are_not(answer, distance):
    """Where 378 is right, 376 is near and -9.34 is not."""
    assert number_distance(answer, 378) == pytest.approx(distance)
    assert number_distance(378, answer) == number_distance(answer, 378)
    assert number_distance(10 * answer, 3_780) == pytest.approx(distance)


@pytest.mark.parametrize("pair", [(0.0, 0.0), (-2.0, -2.0), (float("inf"), float("inf"))])
def test_equal_numbers_are_at_no_distance(pair):
    assert number_distance(*pair) == 0.0


@pytest.mark.parametrize("a", [1e-300, 1.0, 1e308, float("inf"), -5.0])
@pytest.mark.parametrize("b", [0.0, 1e-300, -1e308, 7.0])
def test_a_distance_is_between_0_and_1_whatever_the_numbers(a, b):
    assert 0 <= number_distance(a, b) <= 1


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("378", 378),
        ("The answer is 1,378.5.", 1378.5),
        ("A: -9.34\nQ: What is 2 plus 3?", -9.34),
        ("−12", -12),
        ("3 plus 5 is 8", None),
        ("none", None),
        ("", None),
        ("\n\n 7 \n", 7),
    ],
)
def test_a_number_is_read_from_a_line_that_holds_one(text, number):
    assert read_number(text) == number


@pytest.mark.parametrize(("text", "number"), [("8730", 378), (" 21", 12), ("12=3", None), ("1 2", None), ("", None)])
def test_a_number_with_the_last_digit_first_stands_alone(text, number):
    assert read_number(text, last_digit_first=True) == number


def test_an_answer_without_a_number_is_missing_and_told_apart():
    """It is in the share of readable answers and in no mean of distances."""
    rows = pl.DataFrame({"answer": ["873", "=73", None, "673"], "target": ["873"] * 4, "value": [1.0, 0.0, 0.0, 0.0]})
    distances = NumberScore(kind="distance", last_digit_first=True).applied(rows)["value"].to_list()
    assert distances == pytest.approx([0.0, 2 / 754])
    assert NumberScore(kind="readable", last_digit_first=True).applied(rows)["value"].to_list() == [1, 0, 0, 1]


def test_a_selection_may_score_its_answers_anew():
    """The rows are those of exact match; the description names the score."""
    columns = {"evaluation": "outcomes", "metric": "exact", "arm": "a", "seed": 0, "stage": "s", "step": 1}
    rows = pl.DataFrame({"answer": ["376", "x"], "target": ["378", "378"], "value": [0.0, 0.0]})
    readings = rows.with_columns(pl.lit(value).alias(name) for name, value in columns.items())
    selection = Selection(evaluation="outcomes", quantity="number distance", rescore=NumberScore(kind="distance"))
    assert selection.rows(readings)["value"].to_list() == pytest.approx([2 / 754])
    assert selection.description == "outcomes distance of numbers"
    assert (selection.value_range.low, selection.value_range.high) == (0.0, 1.0)
