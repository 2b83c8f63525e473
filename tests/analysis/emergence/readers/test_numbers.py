"""Numbers as people write them."""

from __future__ import annotations

import math

import polars as pl
import pytest

from nosce.analysis.emergence.readers.base import size_in_name
from nosce.analysis.emergence.readers.numbers import decimal_sign, parse_number, parse_numbers
from nosce.errors import DataError


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.3B", 1.3e9),
        ("410M", 4.1e8),
        ("125m", 1.25e8),
        ("70k", 7e4),
        ("1T", 1e12),
        ("2.7bn", 2.7e9),
        ("1,000", 1000),
        ("1,000,000.5", 1_000_000.5),
        ("1e9", 1e9),
        ("-3.5", -3.5),
        (".5", 0.5),
        ("52.3%", 52.3),
        ("1,0", None),
        ("", None),
        ("many", None),
        ("1.3 B", None),  # `parse_numbers` takes the space away
        ("8x7B", None),
        ("0x10", None),
    ],
)
def test_a_number_is_read(text, number):
    """Or is none."""
    assert parse_number(text) == number


@pytest.mark.parametrize(
    ("texts", "comma", "numbers"),
    [
        (["1 000", "2\u00a0500", "1'300", "1_000"], False, [1000, 2500, 1300, 1000]),
        (["0,5", "1.234,5", "3"], True, [0.5, 1234.5, 3]),
        (["1.3 B", "410 M"], False, [1.3e9, 4.1e8]),
        (["1.3e-2", "NaN", "", None], False, [0.013, None, None, None]),
        (["n/a", "-", "?"], False, [None, None, None]),
    ],
)
def test_a_column_is_read(texts, comma, numbers):
    """What is none is null, and never 0."""
    found, in_percent = parse_numbers(pl.Series("x", texts), decimal_comma=comma)
    assert found.to_list() == numbers
    assert not in_percent


def test_truths_are_numbers_of_a_sharp_score_alone():
    """`True`, `correct`, C; elsewhere they are no numbers."""
    column = pl.Series("x", ["True", "incorrect", "C", "no"])
    assert parse_numbers(column, truths=True)[0].to_list() == [1, 0, 1, 0]
    assert parse_numbers(column)[0].null_count() == 4
    assert parse_numbers(pl.Series("x", [True, False]))[0].null_count() == 2


@pytest.mark.parametrize(
    ("texts", "separator", "sign"),
    [
        (["0,5", "1,25"], ";", "comma"),
        (["1,000", "2,500"], ";", None),
        (["1,000", "2,500"], ",", "point"),
        (["1,000,000", "2,500"], ";", "point"),
        (["1,300", "0.52"], ";", "point"),
        (["a, b", "c"], ";", "point"),
        (["1.234,5"], ";", "comma"),
        (["12,5%"], ";", "comma"),
    ],
)
def test_the_sign_before_decimals_is_found(texts, separator, sign):
    """Or it is open."""
    assert decimal_sign(pl.DataFrame({"x": texts}), separator) == sign


def test_two_signs_are_refused():
    """A comma cannot be both."""
    with pytest.raises(DataError, match=r"'0,5' and '0\.25'"):
        decimal_sign(pl.DataFrame({"x": ["0,5", "0.25"]}), ";")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("EleutherAI/pythia-1.4b-deduped", 1.4e9),
        ("gpt-neo-125M", 1.25e8),
        ("Llama-3-8B-Instruct", 8e9),
        ("lab__toy-2.154M", 2.154e6),
        ("mixtral-8x7B", None),
        ("gpt2-xl", None),
        ("stablelm-2-1_6b", None),
        ("internlm2-chat-1_8b", None),
        ("Phi-3-mini-4k-instruct", None),
        ("llama-2-7b-32k", 7e9),
        ("toy-464.2k", 464_200),
        ("qwen2.5-7b-merged-14b", None),
    ],
)
def test_the_size_in_a_models_name(name, size):
    """Where it has exactly one."""
    found = size_in_name(name)
    assert found is size or math.isclose(found, size)
