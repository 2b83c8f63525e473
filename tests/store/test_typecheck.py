"""Values fit their annotations as a reader would say, and what does not fit is found wherever it lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from nosce.store.typecheck import has_type, mistyped_fields


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (1, int, True),
        (True, int, False),
        (1.0, int, False),
        (1, float, True),
        (True, float, False),
        ("1", float, False),
        (None, int | None, True),
        ("a", Literal["a", "b"], True),
        (1, Literal[True], False),
        ((1, 2), tuple[int, ...], True),
        ([1, 2], tuple[int, ...], True),
        ((1, "2"), tuple[int, ...], False),
        ((1,), tuple[int, int], False),
        ("ab", tuple[str, ...], False),
        ({"a": 1}, Mapping[str, int], True),
        ({"a": "b"}, dict[str, int], False),
        ([], Sequence[str], True),
        (len, Callable[[str], int], True),
        (object(), Any, True),
        (1, str, False),
        (None, None, True),
    ],
)
def test_a_value_fits_or_does_not(value, annotation, expected):
    """Truth values are no numbers, whole numbers are floats, lists serve as tuples, words are no sequences."""
    assert has_type(value, annotation) is expected


@dataclass(frozen=True)
class Inner:
    number: int


@dataclass(frozen=True)
class Outer:
    name: str
    inner: tuple[Inner, ...] = ()
    one: Inner | None = None
    rest: dict[str, int] = field(default_factory=dict)


def test_a_wrong_field_is_found_wherever_it_lies():
    """The path says where; sound ones yield nothing."""
    assert not list(mistyped_fields(Outer("a", (Inner(1),), Inner(2))))
    found = list(mistyped_fields(Outer(3, (Inner(1), Inner("x")), Inner(None), {"a": "b"})))
    assert [path for path, _, _ in found] == ["name", "inner.number", "one.number", "rest"]
    assert found[0] == ("name", 3, "str")
