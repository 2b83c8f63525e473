"""Text that others wrote: which names may be given, and what of any text a terminal is shown.

A name of a study, a scale or a figure becomes the name of a file. Arms, stages, evaluations and claims only have
labels, so that a few more signs may stand in these.
"""

from __future__ import annotations

import json
import re
import unicodedata

from rich.markup import escape

MAX_NAME_LENGTH = 100
MAX_NAME_BYTES = 200  # of UTF-8: file systems count bytes, and endings are added
FILE_NAME_SIGNS = " +-_.%"
LABEL_SIGNS = f"{FILE_NAME_SIGNS}:;()[]{{}}'=@&#!?*<>~^→←×·"  # "pass@1" and "lr=1e-3" are ordinary labels

#: Control characters but tab and line feed, lone surrogates, signs without width, and those that turn the direction
#: of writing.
_UNPRINTABLE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]")


def name_fault(name: object, signs: str = FILE_NAME_SIGNS) -> str | None:
    """Why something is no name, as the end of a sentence; None for a good one.

    Args:
        name: The name.
        signs: What it may hold besides letters and digits.
    """
    if not isinstance(name, str):
        return f"is of type {type(name).__name__} and no text"
    if not name:
        return "is empty"
    if len(name) > MAX_NAME_LENGTH or len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        return f"has more than {MAX_NAME_LENGTH} characters or {MAX_NAME_BYTES} bytes"
    wrong = next(
        (sign for sign in name if not (sign.isalnum() or sign in signs or unicodedata.category(sign) in {"Mn", "Mc"})),
        None,
    )
    if wrong is not None:
        return f"holds {wrong!r}, and only letters, digits, spaces and {' '.join(signs.strip())} are allowed"
    if name != unicodedata.normalize("NFC", name):
        return "is not in the normal form NFC, so that it looks like another name"
    if name != name.strip() or name.startswith(".") or name.endswith("."):
        return "begins or ends with a space or a dot"
    return None


def printable(text: str) -> str:
    """A text with its control characters spelled out, e.g. `\\x1b`, so that a terminal obeys none of them."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def literal(text: str) -> str:
    """A text as rich prints it literally: no markup in it, and no control characters."""
    return escape(printable(text))


def json_text(value: object) -> str:
    """A value as indented JSON whose control characters are escaped, those that JSON itself would allow too.

    Raises:
        ValueError: A number is not finite.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
