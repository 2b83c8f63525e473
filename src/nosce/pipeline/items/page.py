"""Write the page on which a reader looks at one item, with its chunks beside it.

<study>/<scale>/items.html       search, filters, and the item that is looked at
<study>/<scale>/items/index.js   a line an item: its name, answers, wrong ones, and the chunk that holds it
<study>/<scale>/items/0001.js …  the items
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nosce.analysis.render.items_page import ItemsPage, chunk_script, chunk_text, render_items_page
from nosce.pipeline.items.item import ItemEntry, StudyItem
from nosce.pipeline.items.reader import ItemReader, hash_order
from nosce.pipeline.results import RunResults

if TYPE_CHECKING:
    from nosce.store.spec import Json

PAGE, FOLDER, INDEX = "items.html", "items", "index"
MAX_ITEMS = 1_000  # of a page: a study with thousands of items would take minutes to write
MAX_SITE_BYTES = 1_000_000  # of all chunks of a page together; one chunk more may be begun
CHUNK_CHARACTERS = 1_200_000  # of a chunk's JSON, which is compressed to some fifteenth
BATCH = 40  # items that are read from the readings at once
MAX_HINT = 100  # characters of a question by which an item is found, e.g. with a person's name
SIGNIFICANT_DIGITS = 4  # of a number on the page; `nosce show --item` has all


@dataclass
class _Chunks:
    """The chunks so far, and the list of their items."""

    folder: Path
    arms: tuple[str, ...]
    rows: list[list[Json]] = field(default_factory=list)
    bytes: int = 0
    count: int = 0

    def add(self, items: Sequence[StudyItem], texts: Sequence[str]) -> None:
        """Write some items, each with its JSON, as one chunk."""
        self.count += 1
        name = f"{self.count:04}"
        script = chunk_script(name, f"[{','.join(texts)}]")
        (self.folder / f"{name}.js").write_text(script, encoding="utf-8")
        self.bytes += len(script)
        self.rows += [_index_row(item, name, place, self.arms) for place, item in enumerate(items)]

    @property
    def is_full(self) -> bool:
        """Are there as many bytes as there may be?"""
        return self.bytes >= MAX_SITE_BYTES


def write_items_page(results: RunResults, page_folder: Path) -> str:
    """Write the page into a study's folder; its file's name, for a link.

    Items are taken in an order that looks random and is always the same, those that were asked about first, until
    there are `MAX_ITEMS`, or all chunks together have `MAX_SITE_BYTES`; the page says how many are left out.
    """
    reader, plan = ItemReader(results), results.plan
    order = {entry.name: number for number, entry in enumerate(reader.entries)}
    n_shown = write_chunks(page_folder, plan.arms, _batches(reader), order)
    page = ItemsPage(
        study=plan.study,
        title=plan.title,
        scale=plan.scale_label,
        unit=plan.unit,
        folder=FOLDER,
        notes=tuple(_notes(results, n_shown, len(reader.entries))),
    )
    (page_folder / PAGE).write_text(render_items_page(page), encoding="utf-8")
    return PAGE


def write_chunks(page_folder: Path, arms: tuple[str, ...], items: Iterable[StudyItem], order: Mapping[str, int]) -> int:
    """Write the chunks of a page and their index, anew; the number of items in them.

    Args:
        page_folder: Folder of the page.
        arms: Names of the study's arms.
        items: The items, of which so many are taken as there is room for.
        order: The place of each item in the list, by its name.
    """
    folder = page_folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.js"):
        old.unlink()
    chunks = _Chunks(folder, arms)
    for part, texts in _parts(items):
        chunks.add(part, texts)
        if chunks.is_full:
            break
    rows = sorted(chunks.rows, key=lambda row: order[f"{row[0]}@{row[1]}"])
    (folder / f"{INDEX}.js").write_text(chunk_script(INDEX, chunk_text({"arms": arms, "rows": rows})), encoding="utf-8")
    return len(rows)


def _notes(results: RunResults, shown: int, every: int) -> Iterator[str]:
    if results.part_notice:
        yield results.part_notice
    if shown < every:
        command = f"nosce show {results.plan.study} --item NAME"
        yield f"This page has {shown:,} of {every:,} items; the command “{command}” shows any, with all digits."


def _batches(reader: ItemReader) -> Iterator[StudyItem]:
    """The items of the page in its order, of which some are read at a time."""
    ordered = sorted(reader.entries, key=lambda entry: (entry.n_asked == 0, hash_order(entry)))[:MAX_ITEMS]
    for first in range(0, len(ordered), BATCH):
        batch: list[ItemEntry] = sorted(ordered[first : first + BATCH], key=lambda entry: entry.seed)
        yield from reader.items(batch)


def _parts(every: Iterable[StudyItem]) -> Iterator[tuple[list[StudyItem], list[str]]]:
    """The items with the JSON of each, in parts that make a chunk of about `CHUNK_CHARACTERS`."""
    items: list[StudyItem] = []
    texts: list[str] = []
    length = 0
    for item in every:
        text = chunk_text(page_json(item.to_json()))
        if items and length + len(text) > CHUNK_CHARACTERS:
            yield items, texts
            items, texts, length = [], [], 0
        items.append(item)
        texts.append(text)
        length += len(text)
    if items:
        yield items, texts


def _index_row(item: StudyItem, chunk: str, place: int, arms: Sequence[str]) -> list[Json]:
    """Entity, seed, answers, wrong ones, arms of these, patched (0: no patching, 1: unchanged, 2), chunk, hint."""
    entry = item.entry
    wrong_arms: list[Json] = [arms.index(arm) for arm in entry.wrong_arms]
    patched = 0 if entry.patched is None else 1 + entry.patched
    hint = next((one.prompt for one in item.readings if one.kind == "asked" and one.prompt), "")
    return [entry.entity, entry.seed, entry.n_asked, entry.n_wrong, wrong_arms, patched, chunk, place, hint[:MAX_HINT]]


def page_json(value: Json) -> Json:
    """An item's JSON with numbers of few digits, so that many items fit."""
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, dict):
        return {name: page_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [page_json(part) for part in value]
    return value
