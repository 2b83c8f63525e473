"""The server of `nosce view`: what it shows, and what it refuses."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import threading

import pytest

from nosce.errors import UsageError
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.view.library import ResultLibrary, open_library
from nosce.pipeline.view.server import ViewServer
from nosce.store.store import Store

CLAIM = {"verdict": "holds", "is_precondition": False, "seeds": 3}


@contextlib.contextmanager
def serving(library):
    """A server in a thread, as a function of method, path and headers."""
    with ViewServer(library) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()

        def ask(path, method="GET", **headers):
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            answer.text = answer.read().decode()
            connection.close()
            return answer

        ask.port = server.server_port
        try:
            yield ask
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def pages(tmp_path):
    """A folder of pages with one study, a file outside it, and a link that leads there."""
    place = tmp_path / "pages" / "birds" / "laptop"
    place.mkdir(parents=True)
    contents = {"title": "Birds", "claims": [CLAIM], "seeds": [0, 1, 2]}
    (place / "show.json").write_text(json.dumps(contents), encoding="utf-8")
    (place / "index.html").write_text("<h1>Birds</h1>", encoding="utf-8")
    (place / ".hidden.html").write_text("hidden", encoding="utf-8")
    (place / "notes.exe").write_text("no page", encoding="utf-8")
    (tmp_path / "secret.html").write_text("secret", encoding="utf-8")
    (place / "link.html").symlink_to(tmp_path / "secret.html")
    return tmp_path / "pages"


@pytest.fixture
def store(little_store, tmp_path):
    """A copy of a store in which a little study was finished."""
    return Store.open(shutil.copytree(little_store, tmp_path / "store"))


@pytest.fixture
def asked(tmp_path, pages):
    """A server of the pages and of a store that is empty."""
    cache = tmp_path / "cache"
    cache.mkdir()
    with serving(ResultLibrary(Store.open(tmp_path / "store").root, pages, cache)) as ask:
        yield ask


def test_the_index_and_what_lies_below_it_are_served(asked):
    """HEAD says the same without the content."""
    index = asked("/")
    assert (index.status, index.getheader("Content-Type")) == (200, "text/html; charset=utf-8")
    assert 'href="./results/birds/laptop/index.html"' in index.text
    assert "Birds" in index.text
    assert asked("/results/birds/laptop/index.html").text == "<h1>Birds</h1>"
    assert asked("/results/birds/laptop/").text == "<h1>Birds</h1>"
    assert asked("/results/birds/laptop/index.html?from=here").status == 200
    assert asked("/view.js").getheader("Content-Type") == "text/javascript; charset=utf-8"
    assert asked("/favicon.ico").status == 204
    head = asked("/", "HEAD")
    assert (head.status, head.text, head.getheader("Content-Length")) == (200, "", index.getheader("Content-Length"))


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/results/",
        "/results/birds/laptop",
        "/results/birds/laptop/other.html",
        "/results/../secret.html",
        "/results/../../secret.html",
        "/results/%2e%2e/secret.html",
        "/results/..%2fsecret.html",
        "/results/%2e%2e%2fsecret.html",
        "/results/birds/..%5c..%5csecret.html",
        "/results/birds/laptop/%00.html",
        "/results/birds/laptop/%ff.html",
        "/results/birds/laptop/link.html",
        "/results/birds/laptop/.hidden.html",
        "/results/birds/laptop/notes.exe",
        "/results//etc/passwd",
        "/store/birds/laptop/index.html",
        "/store/..",
        "//127.0.0.1/",
        "http://127.0.0.1/",
        "*",
    ],
)
def test_what_is_not_there_or_lies_outside_is_not_found(asked, path):
    answer = asked(path)
    assert answer.status == 404
    assert "secret" not in answer.text
    assert "hidden" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_a_method_that_writes_is_not_allowed(asked, method):
    answer = asked("/", method, **{"Content-Length": "0"})
    assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD")
    assert answer.getheader("Connection") == "close"


def test_what_follows_a_refused_request_on_its_connection_is_not_read(asked):
    """Else the body of a request could pass as another one."""
    with socket.create_connection(("127.0.0.1", asked.port), timeout=60) as connection:
        smuggled = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        size = str(len(smuggled)).encode()
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + size + b"\r\n\r\n" + smuggled)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65_536):
                answer += part
    assert answer.startswith(b"HTTP/1.1 405")
    assert b"HTTP/1.1 200" not in answer


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 403),
        ("evil.example:80", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:9", 403),
        ("evil.example@127.0.0.1", 403),
        ("", 403),
        (None, 403),
        ("127.0.0.1", 200),
        ("localhost:9000", 200),  # the near end of a tunnel
        ("LOCALHOST", 200),
    ],
)
@pytest.mark.parametrize("path", ["/", "/live.json", "/results/birds/laptop/index.html"])
def test_a_name_of_another_host_is_refused(asked, host, status, path):
    """A page of another site whose name was made to lead here says its own name."""
    answer = asked(path, Host=host)
    assert answer.status == status
    assert status == 200 or "Birds" not in answer.text


def test_it_listens_on_this_machine_alone_and_no_other_site_may_embed_its_answers(asked, tmp_path):
    with ViewServer(ResultLibrary(tmp_path, None, tmp_path)) as server:
        assert server.server_address[0] == "127.0.0.1"
    answer = asked("/live.json")
    assert answer.getheader("Cross-Origin-Resource-Policy") == "same-origin"
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Access-Control-Allow-Origin") is None
    assert "default-src 'self'" in answer.getheader("Content-Security-Policy")
    assert "script-src 'self';" in asked("/").getheader("Content-Security-Policy")  # none that stands in the page


def test_progress_is_told_while_a_lease_is_held(asked, tmp_path):
    """The stamp changes with it, so that the page knows when to ask for more."""
    before = json.loads(asked("/live.json").text)
    assert before["runs"] == []
    with Store(tmp_path / "store").lease("training-8"):
        during = json.loads(asked("/live.json").text)
        (run,) = during["runs"]
        assert (run["is_under_way"], run["steps"][0]["name"]) == (True, "training-8")
        assert f'data-stamp="{during["stamp"]}"' in asked("/").text
        assert "training-8" not in asked("/").text  # its kind stands there, with its holder
        assert "Steps of no recorded plan" in asked("/").text
    after = json.loads(asked("/live.json").text)
    assert after["stamp"] == before["stamp"] != during["stamp"]


def test_a_page_of_the_store_is_made_when_asked_for_and_again_when_a_step_has_changed(store, tmp_path, monkeypatch):
    """Beside it lie its figures and numbers; two requests of an unchanged store make it once."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    cache = tmp_path / "cache"
    cache.mkdir()
    with serving(ResultLibrary(store.root, None, cache)) as ask:
        index = ask("/")
        assert 'href="./store/little/smoke/index.html"' in index.text
        assert "A little study" in index.text
        assert list(cache.iterdir()) == []
        page = ask("/store/little/smoke/index.html")
        assert page.status == 200
        assert "Does every part fit the next?" in page.text
        assert ask("/store/little/smoke/figures/recall.svg").getheader("Content-Type") == "image/svg+xml"
        assert json.loads(ask("/store/little/smoke/show.json").text)["study"] == "little"
        assert len(list(cache.iterdir())) == 1
        corpus = next((store.root / "steps").glob("corpus-*"))
        shutil.move(corpus, tmp_path / "gone")
        assert "missing" in ask("/store/little/smoke/index.html").text
        assert len(list(cache.iterdir())) == 2
        assert ask("/store/little/laptop/index.html").status == 404
        assert "sk-secret" not in index.text + page.text + ask("/live.json").text


def test_results_that_cannot_be_shown_say_why(store, tmp_path):
    """In the row and at the page's address; the other results stand."""
    (plan,) = PlanRecord.load_finished(store)
    (store.folder(plan.estimates) / "verdicts.parquet").write_bytes(b"no table")
    with serving(ResultLibrary(store.root, None, tmp_path)) as ask:
        index, page = ask("/"), ask("/store/little/smoke/index.html")
    assert "It cannot be shown: " in index.text
    assert "differs from its checksums in verdicts.parquet" in index.text
    assert (page.status, page.getheader("Content-Type")) == (500, "text/plain; charset=utf-8")
    assert "differs from its checksums" in page.text


def test_a_published_file_that_is_no_result_is_named_in_the_index(asked, pages):
    (pages / "birds" / "laptop" / "show.json").write_text("[]", encoding="utf-8")
    text = asked("/").text
    assert "Left out: " in text
    assert "is not what a report writes" in text


def test_own_results_stand_beside_published_ones_and_are_told_apart(store, tmp_path):
    place = tmp_path / "pages" / "little" / "smoke"
    place.mkdir(parents=True)
    contents = {"title": "A little study", "claims": [CLAIM], "scale": "smoke", "seeds": [0]}
    (place / "show.json").write_text(json.dumps(contents), encoding="utf-8")
    (place / "index.html").write_text("x", encoding="utf-8")
    (tmp_path / "cache").mkdir()
    rows, live = ResultLibrary(store.root, tmp_path / "pages", tmp_path / "cache").look()
    assert [row.source for row in rows] == ["your store", "published"]
    assert [row.href for row in rows] == ["./store/little/smoke/index.html", "./results/little/smoke/index.html"]
    assert live.places == (f"your store: {store.root}", f"published: {tmp_path / 'pages'}")


def test_a_port_that_is_taken_is_refused_in_a_sentence(asked, tmp_path):
    library = ResultLibrary(tmp_path / "store", None, tmp_path)
    with pytest.raises(
        UsageError, match=rf"^--port {asked.port} was asked for, .*in use.*; take another, or 0 .*free\.$"
    ):
        ViewServer(library, asked.port)


def test_nothing_to_show_is_refused(tmp_path, monkeypatch, pages):
    """A folder that was named has to be there; of those that were not, one is enough."""
    monkeypatch.chdir(tmp_path)
    nowhere, store = tmp_path / "nowhere", Store.open(tmp_path / "store").root
    for given, said in (
        ((None, None, nowhere), "no store in .* no result in"),
        ((nowhere, pages, nowhere), "a store was asked for at .*nowhere"),
        ((None, nowhere, store), "results were asked for in .*nowhere"),
        ((pages, None, store), "a store was asked for at .*pages"),
    ):
        with pytest.raises(UsageError, match=said):
            open_library(*given, tmp_path)
    assert not nowhere.exists()
    assert open_library(None, None, store, tmp_path).pages is None
    assert open_library(None, pages, nowhere, tmp_path).pages == pages
    (tmp_path / "results").symlink_to(pages)
    assert open_library(None, None, nowhere, tmp_path).pages == tmp_path / "results"
