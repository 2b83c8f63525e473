"""`nosce view` as a process: one line with its address, one at its end, and one for a mistake."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import urllib.request

import pytest
from tests.fixtures.chromium import CHROMIUM, open_page

from nosce.store.store import Store

CLAIM = {"verdict": "holds", "is_precondition": False, "seeds": 3}


@pytest.fixture
def pages(tmp_path):
    place = tmp_path / "pages" / "birds" / "laptop"
    place.mkdir(parents=True)
    contents = {"title": "Birds <b>", "claims": [CLAIM], "seeds": [0, 1, 2]}
    (place / "show.json").write_text(json.dumps(contents), encoding="utf-8")
    (place / "index.html").write_text("<h1>Birds</h1>", encoding="utf-8")
    return tmp_path / "pages"


@pytest.fixture
def viewed(nosce, pages, tmp_path):
    """The process of a view of an empty store and of these pages, and its address."""
    store = Store.open(tmp_path / "store")
    process = nosce.start("view", "--port", "0", "--results", pages, "--store", store.root)
    try:
        line = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert address is not None, line
        yield process, address[0], store
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_a_view_lives_until_ctrl_c_and_ends_well(viewed):
    """Exit code 0, one line, and no request on the terminal; while it lives, its port is refused to another."""
    process, address, _ = viewed
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert "Birds &lt;b&gt;" in answer.read().decode()
    os.kill(process.pid, signal.SIGINT)
    said, complained = process.communicate(timeout=120)
    assert (process.returncode, said, complained) == (0, "The view has ended.\n", "")


def test_mistakes_are_one_sentence(nosce, tmp_path):
    for words, told in (
        (("--store", tmp_path / "none"), "none is there"),
        (("--results", tmp_path), "none lies there"),
    ):
        ended = nosce.here("view", *words, cwd=tmp_path)
        assert ended.returncode == 2
        assert told in ended.stderr
        assert ended.stderr.count("\n") == 1
        assert ended.stdout == ""
    assert not (tmp_path / "none").exists()


def test_a_taken_port_is_one_sentence(nosce, tmp_path, pages):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = nosce.here("view", "--port", port, "--results", pages, cwd=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert ended.stderr.startswith(f"nosce: --port {port} was asked for")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_sees_the_numbers_change_with_the_store(viewed):
    """No error on its console, no address but the server's, no scrolling sideways, and a word when the view ends."""
    process, address, store = viewed
    with open_page(address) as page:
        assert page.evaluate("document.querySelector('#ledger h3').textContent").startswith("Birds <b>")
        assert page.evaluate("document.querySelectorAll('#live .run').length") == 0
        ledger = "document.getElementById('ledger')"
        page.evaluate(f"window.before = {ledger}; 0")
        with store.lease("training-8") as lease:
            lease.note = lambda: '{"done": 3, "total": 4, "unit": "steps"}'
            page.wait("document.getElementById('live').textContent.includes('3 of 4 steps, 75 %')")
            lease.note = lambda: '{"done": 4, "total": 4, "unit": "steps"}'
            page.wait("document.getElementById('live').textContent.includes('4 of 4 steps, 100 %')")
            assert page.evaluate(f"window.before === {ledger}")  # what has not changed stays as it is
        page.wait("document.querySelectorAll('#live .run').length === 0")
        for width in (390, 1280):
            page.resize(width, 800)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert (
            page.evaluate("document.querySelector('#ledger h3 a').href") == f"{address}results/birds/laptop/index.html"
        )
        assert page.errors == []
        assert {one.split("/")[2] for one in page.requests if one.startswith("http")} == {address.split("/")[2]}
        process.terminate()
        page.wait("document.getElementById('contact').textContent.includes('does not answer')")
    assert process.wait(timeout=60) == 0
