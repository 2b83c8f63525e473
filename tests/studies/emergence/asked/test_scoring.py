"""Replies in words count as what a reader takes them for, whatever stands around the number."""

import pytest

from nosce.models.api.base import ChatResponse
from nosce.studies.emergence.asked.problems import WordProblem
from nosce.studies.emergence.asked.scoring import likelihood_table, read_answer, reply_table

PROBLEM = WordProblem("multiplication", "multiplication/2/17 times 24", "2 digits, answer of 3", "Q: ...\nA:", "408")


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (" 408\n\nQ: What is 1 times 1?", "408"),
        ("408.", "408"),
        ("A: 408", "408"),
        ("\n\n408", "408"),
        ("", ""),
        ("The answer is 408.", "The answer is 408"),
        ("4,08", "4,08"),
    ],
)
def test_the_answer_is_the_first_line(reply, answer):
    assert read_answer(reply) == answer


@pytest.mark.parametrize(
    ("reply", "finish", "exact", "edit", "digits", "outcome"),
    [
        (" 408\nQ:", "length", 1, 0, 1, "right"),
        ("418", "stop", 0, 1, 2 / 3, "wrong"),
        ("4080000000", "stop", 0, 2, 1, "wrong"),  # cut two characters behind the target
        ("40", "stop", 0, 1, 2 / 3, "wrong"),
        ("I do not know", "stop", 0, 5, 0, "unreadable"),
        ("", "stop", 0, 3, 0, "unreadable"),
        ("408", "refused", 0, 3, 0, "refused"),
    ],
)
def test_scores_of_a_reply(reply, finish, exact, edit, digits, outcome):
    """By hand."""
    table = reply_table([PROBLEM], [ChatResponse(text=reply, finish_reason=finish)])
    values = dict(zip(table["metric"], table["value"], strict=True))
    assert values == pytest.approx({"exact": exact, "edit": edit, "digits": digits})
    assert table.filter(metric="exact")["outcome"].to_list() == [outcome]
    assert set(table["evaluation"]) == {"multiplication"}
    assert likelihood_table([PROBLEM], [-1.5])["value"].to_list() == [-1.5]
