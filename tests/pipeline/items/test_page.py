"""The page of items: the same data as the terminal, within its size, from a file, by keyboard, without a network."""

from __future__ import annotations

import json
import re

import pytest
from tests.fixtures.chromium import CHROMIUM, open_page
from tests.pipeline.items.conftest import HOSTILE

from nosce.analysis.render.items_page import ItemsPage, read_chunk, render_items_page
from nosce.pipeline.items import page as items_page
from nosce.pipeline.items.page import page_json, write_chunks, write_items_page

READY = "document.getElementById('item').getAttribute('aria-busy') === 'false'"


def chunks_of(folder):
    """Name -> value of every chunk."""
    return {file.stem: read_chunk(file.read_text(encoding="utf-8")) for file in sorted((folder / "items").glob("*.js"))}


def test_a_chunk_unpacks_to_the_items_json(written, reader):
    """By Python's gzip, found through the index, for every item of the run."""
    chunks = chunks_of(written)
    index = chunks.pop("index")
    assert [f"{row[0]}@{row[1]}" for row in index["rows"]] == [entry.name for entry in reader.entries]
    for row, item in list(zip(index["rows"], reader.items(reader.entries), strict=True))[:5]:
        assert chunks[row[6]][row[7]] == page_json(item.to_json())
        assert (row[2], row[3]) == (item.entry.n_asked, item.entry.n_wrong)
        assert [index["arms"][place] for place in row[4]] == list(item.entry.wrong_arms)


@pytest.mark.whole
def test_the_report_writes_the_page_beside_the_studys(nosce, smoke_store, tmp_path, reader):
    ended = nosce.here("report", "--out", tmp_path, "--store", smoke_store)
    assert ended.returncode == 0, ended.stderr
    folder = tmp_path / "biographies_adamw" / "smoke"
    assert 'href="index.html"' in (folder / "items.html").read_text(encoding="utf-8")
    assert len(chunks_of(folder)["index"]["rows"]) == len(reader.entries)


def test_numbers_of_the_page_are_those_of_the_item_to_four_digits():
    assert page_json({"a": [0.123456, 12345.6, 1.0, None, "0.123456", 7]}) == {
        "a": [0.1235, 12350.0, 1.0, None, "0.123456", 7]
    }


def test_page_and_chunks_stay_below_three_megabytes(written, results, reader, tmp_path, monkeypatch):
    """All together; where items do not fit, some are left out, and the page says how many."""
    assert sum(file.stat().st_size for file in written.rglob("*") if file.is_file()) < 3_000_000
    monkeypatch.setattr(items_page, "MAX_SITE_BYTES", 1)
    monkeypatch.setattr(items_page, "CHUNK_CHARACTERS", 1)
    (tmp_path / "items").mkdir()
    (tmp_path / "items" / "0099.js").write_text("an older page's")
    write_items_page(results, tmp_path)
    assert sorted(chunks_of(tmp_path)) == ["0001", "index"]
    text = (tmp_path / "items.html").read_text(encoding="utf-8")
    assert f"This page has 1 of {len(reader.entries)} items" in text


def test_a_page_has_a_limit_of_items(results, reader, tmp_path, monkeypatch):
    """Of thousands of items a thousand are on the page."""
    monkeypatch.setattr(items_page, "MAX_ITEMS", 3)
    write_items_page(results, tmp_path)
    assert len(chunks_of(tmp_path)["index"]["rows"]) == 3
    assert f"This page has 3 of {len(reader.entries)} items" in (tmp_path / "items.html").read_text(encoding="utf-8")


def test_equal_results_give_equal_pages(written, results, tmp_path):
    write_items_page(results, tmp_path)
    for file in (file for file in written.rglob("*") if file.is_file()):
        assert (tmp_path / file.relative_to(written)).read_bytes() == file.read_bytes()


def test_the_page_writes_no_data_as_html(written):
    """No innerHTML and its like, nothing from elsewhere, and the words of a study are escaped."""
    text = (written / "items.html").read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    assert not re.search(r"https?://", text)
    hostile = render_items_page(
        ItemsPage(study=HOSTILE, title=HOSTILE, scale=HOSTILE, unit=HOSTILE, folder="items", notes=(HOSTILE,))
    )
    assert hostile.count("<script>") == 1
    assert "<img" not in hostile


@pytest.fixture
def hostile_page(hostile_items, tmp_path):
    """A page whose every text is hostile."""
    order = {item.entry.name: number for number, item in enumerate(hostile_items)}
    write_chunks(tmp_path, (HOSTILE,), hostile_items, order)
    page = ItemsPage(study=HOSTILE, title=HOSTILE, scale=HOSTILE, unit="person", folder="items")
    (tmp_path / "items.html").write_text(render_items_page(page), encoding="utf-8")
    return tmp_path / "items.html"


def test_hostile_texts_come_back_from_their_chunks(hostile_page, hostile_items):
    chunks = chunks_of(hostile_page.parent)
    assert chunks["0001"][0] == json.loads(json.dumps(page_json(hostile_items[0].to_json())))
    for file in (hostile_page.parent / "items").glob("*.js"):
        assert re.fullmatch(r'nosceItems\("\w+","[A-Za-z0-9+/=]+"\);\n', file.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
class TestInChromium:
    """What a person does with the page, in a real browser, from a file."""

    def test_search_filter_random_and_keyboard(self, written, reader):
        with open_page(written / "items.html") as page:
            page.wait(READY)
            heading = "document.getElementById('item-name').textContent"
            assert page.evaluate(heading) == "person/0, seed 0"
            assert page.evaluate("document.querySelectorAll('#list option').length") == len(reader.entries)
            page.evaluate("document.getElementById('search').focus()")
            page.type("person/11 ")
            page.wait("document.querySelectorAll('#list option').length === 1")
            page.press("Enter")
            page.wait(f"{heading} === 'person/11, seed 0' && {READY}")
            page.evaluate("document.getElementById('search').value = ''")
            page.evaluate("document.getElementById('search').dispatchEvent(new Event('input'))")
            page.evaluate("document.getElementById('list').focus()")
            page.press("ArrowDown")
            page.wait(f"{heading} === 'person/12, seed 0'")
            page.evaluate("document.getElementById('filter').value = 'wrong'")
            page.evaluate("document.getElementById('filter').dispatchEvent(new Event('input'))")
            assert page.evaluate("document.querySelectorAll('#list option').length") == len(reader.wrong)
            page.evaluate("document.getElementById('random').click()")
            page.wait(READY)
            assert "answers were wrong, in" in page.evaluate("document.getElementById('item-body').textContent")
            assert page.errors == []
            assert all(address.startswith("file:") for address in page.requests)

    def test_an_address_names_an_item_and_the_page_shows_its_readings(self, written, reader):
        (item,) = reader.items(reader.find("person/5@0"))
        with open_page(written / "items.html", fragment="#person/5@0", width=390) as page:
            page.wait(READY)
            text = page.evaluate("document.getElementById('item-body').textContent")
            for one in item.readings:
                assert one.prompt in text
                assert all(answer in text for point in one.checkpoints if (answer := one.answer(point)))
            for training in item.training:
                assert all(document.text in text for document in training.documents)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert page.errors == []

    def test_without_the_browsers_own_decompression(self, written):
        with open_page(written / "items.html", before="delete globalThis.DecompressionStream") as page:
            page.wait(READY)
            assert page.evaluate("typeof DecompressionStream") == "undefined"
            assert page.evaluate("document.getElementById('item-name').textContent") == "person/0, seed 0"
            assert "exposures" in page.evaluate("document.getElementById('item-body').textContent")
            assert page.errors == []

    def test_hostile_texts_stay_texts(self, hostile_page):
        with open_page(hostile_page) as page:
            page.wait(READY)
            assert page.evaluate("document.querySelectorAll('#item img, #item script, #chooser img').length") == 0
            text = page.evaluate("document.body.textContent")
            assert "<script>alert(1)</script><img src=x onerror=alert(2)>" in text
            assert "\\u202eesrever\\u200f" in text
            assert not re.search("[\u202e\u200f\x1b]", page.evaluate("document.getElementById('item').textContent"))
            assert page.evaluate("document.querySelectorAll('#filter option').length") == 3
            assert page.errors == []

    def test_a_chunk_that_is_gone_is_said(self, hostile_page):
        (hostile_page.parent / "items" / "0001.js").unlink()
        with open_page(hostile_page) as page:
            page.wait("document.querySelector('#item-body [role=alert]') !== null")
            text = page.evaluate("document.querySelector('#item-body [role=alert]').textContent")
            assert text == "This item cannot be shown: items/0001.js is not beside this page."

    def test_every_control_has_a_name_and_the_page_its_landmarks(self, written):
        with open_page(written / "items.html") as page:
            page.wait(READY)
            unnamed = (
                "[...document.querySelectorAll('input, select')]"
                ".filter((one) => !one.labels.length || !one.labels[0].textContent.trim()).length"
            )
            assert page.evaluate(unnamed) == 0
            assert page.evaluate("document.documentElement.lang") == "en"
            assert page.evaluate("document.querySelectorAll('main, h1').length") == 2
            assert page.evaluate("[...document.querySelectorAll('.scroll')].every((one) => one.tabIndex === 0)")
