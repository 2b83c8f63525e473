"""A number of seeds, or the seeds themselves."""

import pytest

from nosce.errors import UsageError
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.seed_choice import parse_seeds, seeds_text


@pytest.mark.parametrize(
    ("text", "number", "seeds"),
    [
        (None, None, ()),
        ("5", 5, ()),
        ("10-14", None, (10, 11, 12, 13, 14)),
        ("0-2,10-11", None, (0, 1, 2, 10, 11)),
        (" 7-7 , 3", None, (7, 3)),
        ("-1", -1, ()),  # refused as a number, where all numbers are
    ],
)
def test_seeds_are_read(text, number, seeds):
    assert parse_seeds(text) == (number, seeds)


@pytest.mark.parametrize("text", ["a", "3-1", "1-", "1,,2", "0-2,2-3", "1.5", "0-99999999999", "0-5000", "3 4"])
def test_what_is_no_choice_is_one_sentence(text):
    with pytest.raises(UsageError, match=r"--seeds .*; (write|name) "):
        parse_seeds(text)


@pytest.mark.parametrize("seeds", [(10, 11, 12), (0, 1, 2, 10, 11), (4,), (5, 3, 4)])
def test_seeds_are_written_as_they_are_read(seeds):
    assert parse_seeds(seeds_text(seeds)) == (None, seeds)
    assert f"--seeds {seeds_text(seeds)}" in StudyRequest(study="karel", scale="smoke", seeds=seeds).command
