"""The page on which a reader looks at one item, and the chunks of items that it loads on demand.

A browser lets a page of a file read no other file, but lets it run scripts that lie beside it. So a chunk is a script
that hands its own text over: JSON, compressed by gzip, as base64.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import dataclass

from nosce.analysis.render.html import page_templates

REGISTER = "nosceItems"  # the page's function that a chunk calls
_CHUNK = re.compile(r'nosceItems\("([0-9a-z]+)","([A-Za-z0-9+/=]*)"\);\n')


@dataclass(frozen=True, kw_only=True)
class ItemsPage:
    """The words of the page; its items are in chunks.

    Args:
        study: Name of the study.
        title: Title of the study.
        scale: Scale and variant.
        unit: What an item is, e.g. "person".
        folder: Folder of the chunks, beside the page.
        notes: Sentences above the list, e.g. how many items are left out.
    """

    study: str
    title: str
    scale: str
    unit: str
    folder: str
    notes: tuple[str, ...] = ()


def render_items_page(page: ItemsPage) -> str:
    """The page as HTML."""
    return page_templates().get_template("items.html").render(page=page, register=REGISTER)


def chunk_text(value: object) -> str:
    """The JSON of a chunk, or of a part of one."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def chunk_script(name: str, text: str) -> str:
    """A chunk's JSON as the script that hands it over; equal texts give equal scripts."""
    packed = base64.b64encode(gzip.compress(text.encode("utf-8", "surrogatepass"), 9, mtime=0)).decode()
    return f'{REGISTER}("{name}","{packed}");\n'


def read_chunk(script: str) -> object:
    """The value of a chunk's script.

    Raises:
        ValueError: It is none.
    """
    found = _CHUNK.fullmatch(script)
    if found is None:
        raise ValueError("the script is no chunk of items")
    value: object = json.loads(gzip.decompress(base64.b64decode(found[2])).decode("utf-8", "surrogatepass"))
    return value
