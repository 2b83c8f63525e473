"""The number in an answer, and how far it is from the right one.

Exact match calls 376 and -9.34 equally wrong where 378 is right. The distance of two numbers a and t is

    |a - t| / (|a| + |t|), and 0 where both are 0

It is symmetrical, lies between 0 (equal) and 1 (of different signs, or one of them 0), and does not change where both
are multiplied: 376 is 0.003 from 378, 37.8 is 0.82 from it and -9.34 is 1. An answer without a number has no distance.
It is missing, and its share is told apart; it is not called wrong.

Source: Lance and Williams 1967, Australian Computer Journal 1, 15-20 (the Canberra metric, of one number); the relative
error that it replaces divides by the target alone, has no upper end and is not symmetrical.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import polars as pl

_NUMBER = re.compile(r"[-−+]?\d[\d,]*(?:\.\d+)?")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, kw_only=True)
class NumberScore:
    """What takes the place of a reading's value: a score of the number in its answer.

    Args:
        kind: "distance": of the answer's number from the target's; answers without a number are left out. "readable":
            does the answer hold a number? Every answer has this score.
        last_digit_first: Numbers are written with the last digit first and nothing else, as in `Arithmetic`. False:
            the first line of an answer holds exactly one number, whatever the words around it.
    """

    kind: Literal["distance", "readable"]
    last_digit_first: bool = False

    def applied(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with this score as their value, without those that have none."""
        pairs = zip(rows["answer"].to_list(), rows["target"].to_list(), strict=True)
        if self.kind == "readable":
            scores: list[float | None] = [float(self._number(answer) is not None) for answer, _ in pairs]
        else:
            scores = [number_distance(self._number(answer), self._number(target)) for answer, target in pairs]
        return rows.with_columns(value=pl.Series(scores, dtype=pl.Float64)).drop_nulls("value")

    def _number(self, text: str | None) -> float | None:
        return None if text is None else read_number(text, last_digit_first=self.last_digit_first)


def read_number(text: str, *, last_digit_first: bool = False) -> float | None:
    """The number in an answer; None where there is none, or several of which nothing says which one is meant."""
    if last_digit_first:
        stripped = text.strip()
        return float(stripped[::-1]) if _DIGITS.fullmatch(stripped) else None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = _NUMBER.findall(lines[0]) if lines else []
    return float(found[0].replace(",", "").replace("−", "-")) if len(found) == 1 else None


def number_distance(a: float | None, b: float | None) -> float | None:
    """The distance of two numbers, from 0 to 1; None where one is missing."""
    if a is None or b is None:
        return None
    if a == b:
        return 0.0
    if math.isinf(a) or math.isinf(b):
        return 1.0
    scale = max(abs(a), abs(b))
    return abs(a / scale - b / scale) / (abs(a / scale) + abs(b / scale))
