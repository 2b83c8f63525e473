"""The text of a table that somebody else wrote: its encoding, the separator of its cells, and names that repeat."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

SEPARATORS = ",;\t"
#: Longest marks first: that of UTF-16 begins that of UTF-32.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def utf8_content(file: Path, max_bytes: int) -> bytes:
    """The content of a text file in UTF-8 without a byte order mark; `.gz` is unpacked.

    Args:
        file: The file: UTF-8 with or without a mark, UTF-16 or UTF-32 with one.
        max_bytes: Most bytes of the file, or of what it unpacks to.

    Raises:
        OSError: The file cannot be read.
        ValueError: It has more bytes, or another encoding; the reason is the end of a sentence.
    """
    with gzip.GzipFile(file) if file.suffix == ".gz" else file.open("rb") as stream:
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it has more than {max_bytes:,} bytes; take a part of it")
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return content.decode(encoding).encode()
    if b"\0" in content:
        raise ValueError("it holds zero bytes, so it is no UTF-8; save it as UTF-8")
    return content


def csv_header(content: bytes) -> tuple[str, list[str]]:
    """The separator of a CSV text, and the names in its first line.

    The separator is the sign among `SEPARATORS` that stands most often in the first line outside of quotes.
    """
    first_lines = content[: 1 << 16].decode("utf-8", "replace").splitlines()[:1]
    header = first_lines[0] if first_lines else ""
    outside_quotes = re.sub(r'"[^"]*"', "", header)
    separator = max(SEPARATORS, key=outside_quotes.count)
    return separator, next(csv.reader([header], delimiter=separator), [])


def repeated_name(names: Sequence[str]) -> str | None:
    """The first name that stands twice; None where all differ."""
    return next((name for name, times in Counter(names).items() if times > 1), None)
