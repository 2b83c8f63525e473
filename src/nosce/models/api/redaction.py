"""Finds a key in what an endpoint sends back, however it is written, so that no key is printed or stored."""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

SHORT_KEY = 8  # shorter keys, e.g. "EMPTY" for a server of one's own, are no secrets, and are ordinary words
NOT_SHOWN = "[a message with the key in it, which is not shown]"
REPLY_PART_LENGTH = 16  # fewer characters of a key, e.g. "required", may be words of a reply
LONGEST_MESSAGE = 200  # characters of an endpoint's message that are shown


@dataclass(frozen=True)
class Redactor:
    """Knows a key and finds it, or a part of it, in texts: as it is, quoted for addresses, in base64, in hexadecimal.

    Args:
        key: The key; it is in no representation of this object.
    """

    key: str = field(repr=False)

    def is_in(self, text: str, *, part_length: int | None = None) -> bool:
        """Does a text hold the key, or so many characters of it in a row? Case is ignored.

        Args:
            text: The text.
            part_length: The fewest characters in a row; of a shorter key, the whole key. None: 12, or 8 of a key
                shorter than 24, as suits an endpoint's message, of which none is missed.
        """
        key = self.key.lower()
        if len(key) < SHORT_KEY:
            return False
        size = (12 if len(key) >= 24 else SHORT_KEY) if part_length is None else min(part_length, len(key))
        parts = [key[place : place + size] for place in range(len(key) - size + 1)]
        return any(part in view for view in _views(text) for part in parts)

    def message(self, text: str) -> str:
        """The beginning of an endpoint's message, in one printable line; another sentence if the key is in it.

        The whole text is searched before it is cut, since a cut key would not be found.
        """
        if self.is_in(text):
            return NOT_SHOWN
        line = text.strip().split("\n", 1)[0][:LONGEST_MESSAGE]
        shown = "".join(character if character.isprintable() else " " for character in line).strip()
        return shown.replace(self.key, "[key]") if self.key else shown


def _views(text: str) -> Iterator[str]:
    """The text, and what its encoded parts decode to, in small letters."""
    plain = html.unescape(unquote(unquote(text)))
    escaped = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), plain)
    yield from (one.lower() for one in {text, plain, escaped, escaped.replace("\\", "")})
    for run in re.findall(r"[0-9a-fA-F]{16,}", plain):
        for start in (0, 1):
            yield _decoded(binascii.unhexlify, run[start : start + (len(run) - start) // 2 * 2])
    for run in re.findall(r"[A-Za-z0-9+/_-]{11,}", plain):
        standard = run.replace("-", "+").replace("_", "/")
        for start in range(4):
            whole = standard[start:] if (len(standard) - start) % 4 != 1 else standard[start:-1]
            yield _decoded(base64.b64decode, whole + "=" * (-len(whole) % 4))  # "=" is in no run, and may be left out


def _decoded(decode: object, run: str) -> str:
    assert callable(decode)
    return bytes(decode(run)).decode("latin-1").lower()
