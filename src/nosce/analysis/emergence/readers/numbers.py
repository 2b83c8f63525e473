"""Numbers as people write them: `1.3B`, `410M`, `1,000`, `0,52`, `52.3 %`; what is open is asked and not guessed."""

from __future__ import annotations

import re
from typing import Literal

import polars as pl

from nosce.errors import DataError

TEXT_TYPES = (pl.String, pl.Categorical, pl.Enum)
MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "none", "-", "--", "–", "—", "?", "missing")
_MAGNITUDES = {
    "k": 1e3,
    "thousand": 1e3,
    "m": 1e6,
    "mn": 1e6,
    "million": 1e6,
    "b": 1e9,
    "bn": 1e9,
    "g": 1e9,
    "billion": 1e9,
    "t": 1e12,
    "trillion": 1e12,
}
_NUMBER = re.compile(
    r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)(k|thousand|mn|million|m|bn|billion|b|g|trillion|t)?(%?)",
    re.IGNORECASE,
)
_TRUTHS = {
    **dict.fromkeys(("true", "yes", "correct", "right", "c", "pass", "passed"), 1.0),
    **dict.fromkeys(("false", "no", "incorrect", "wrong", "i", "fail", "failed"), 0.0),
}
_END = r"\s*[kmbgt%]?$"  # (?i) before it
_COMMA_IS_DECIMAL = rf"(?i)^[+-]?(?:\d*,\d{{1,2}}|\d*,\d{{4,}}|0+,\d+|\d{{4,}},\d+|\d{{1,3}}(?:\.\d{{3}})+,\d+){_END}"
_COMMA_IS_THOUSANDS = rf"(?i)^[+-]?[1-9]\d{{0,2}}(?:(?:,\d{{3}}){{2,}}|(?:,\d{{3}})+\.\d+){_END}"
_POINT_IS_DECIMAL = rf"(?i)^[+-]?(?:\d*\.\d{{1,2}}|\d*\.\d{{4,}}|0+\.\d+|\d{{4,}}\.\d+){_END}"
_COMMA_IS_OPEN = rf"(?i)^[+-]?[1-9]\d{{0,2}},\d{{3}}{_END}"


def decimal_sign(texts: pl.DataFrame, separator: str) -> Literal["comma", "point"] | None:
    """The sign before decimals in a table of texts; None where only the writer knows.

    Args:
        texts: The columns as they stand in the file.
        separator: What parts the cells; between commas a number is an English one.

    Raises:
        DataError: Both signs stand before decimals.
    """
    found = {name: _first(texts, pattern) for name, pattern in _PATTERNS.items()}
    if found["comma"] and found["thousands"]:
        raise DataError(
            f"the table writes {found['comma']!r} and {found['thousands']!r}, so that a comma means decimals here and "
            "thousands there; write all numbers one way."
        )
    if found["comma"] and found["point"]:
        raise DataError(
            f"the table writes {found['comma']!r} and {found['point']!r}, decimals once with a comma and once with a "
            "point; write all numbers one way."
        )
    if found["comma"]:
        return "comma"
    if found["open"] and separator == ";" and not (found["thousands"] or found["point"]):
        return None
    return "point"


_PATTERNS = {
    "comma": _COMMA_IS_DECIMAL,
    "thousands": _COMMA_IS_THOUSANDS,
    "point": _POINT_IS_DECIMAL,
    "open": _COMMA_IS_OPEN,
}


def _first(texts: pl.DataFrame, pattern: str) -> str | None:
    """The first text that matches; None where none does."""
    for column in texts.iter_columns():
        if column.dtype != pl.String:
            continue
        matching = column.filter(column.str.strip_chars().str.contains(pattern).fill_null(False))
        if len(matching):
            return str(matching[0])[:30]
    return None


def parse_numbers(column: pl.Series, *, decimal_comma: bool = False, truths: bool = False) -> tuple[pl.Series, bool]:
    """A column as numbers, null where a cell is none, and whether its numbers are in percent.

    Args:
        column: Numbers, truths or texts.
        decimal_comma: Whether a comma stands before decimals.
        truths: Whether `true`, `correct` and the like count as 1 and their opposites as 0.

    Raises:
        DataError: Some cells have a percent sign and others none.
    """
    if column.dtype not in TEXT_TYPES:
        known = column.dtype.is_numeric() or (truths and column.dtype == pl.Boolean)
        numbers = column.cast(pl.Float64, strict=False) if known else pl.Series(column.name, [None] * len(column))
        return numbers.cast(pl.Float64).fill_nan(None), False
    text = column.cast(pl.String).str.replace_all(r"[\s\u{a0}\u{202f}\u{2009}'_]", "")
    if decimal_comma:
        text = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    numbers = text.cast(pl.Float64, strict=False)
    open_texts = text.filter(numbers.is_null() & text.is_not_null()).unique(maintain_order=True)
    if not len(open_texts):
        return numbers.fill_nan(None), False
    parsed = {one: parse_number(one, truths=truths) for one in open_texts.to_list()}
    in_percent = _all_in_percent(column.name, text)
    if parsed:
        values = list(parsed.values())
        later = text.replace_strict(list(parsed), values, default=None, return_dtype=pl.Float64)
        numbers = numbers.fill_null(later)
    return numbers.fill_nan(None), in_percent


def _all_in_percent(name: str, text: pl.Series) -> bool:
    marked = text.str.ends_with("%")
    if not marked.any():
        return False
    unmarked = text.filter(~marked & ~text.str.to_lowercase().is_in(MISSING))
    if len(unmarked):
        raise DataError(
            f"the column {name!r} has percent signs and {unmarked[0][:30]!r} without one; write all one way."
        )
    return True


def parse_number(text: str, *, truths: bool = False) -> float | None:
    """One number without spaces and with a decimal point; its percent sign is dropped. None where it is none."""
    plain = text.strip()
    if re.fullmatch(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?[a-zA-Z%]*", plain):
        plain = plain.replace(",", "")
    match = _NUMBER.fullmatch(plain)
    if match:
        return float(match[1]) * _MAGNITUDES.get(match[2].lower() if match[2] else "", 1.0)
    return _TRUTHS.get(plain.lower()) if truths else None
