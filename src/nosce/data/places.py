"""Where several values stand in one text, each at a place of its own."""

from __future__ import annotations

from collections.abc import Iterable


def places(text: str, values: Iterable[str]) -> list[int] | None:
    """The first character of each value, equal values one after the other; None where one does not stand there."""
    found: list[int] = []
    for value in values:
        place = text.find(value)
        while place in found and place >= 0:
            place = text.find(value, place + 1)
        if place < 0:
            return None
        found.append(place)
    return found
