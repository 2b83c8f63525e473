"""Whatever an endpoint sends becomes the right answer or one sentence, twice the same, and the key is nowhere."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from servers import KEY, OPTIONS, Behaviour, RawServer, behaviours, cut, mutated

from nosce.models.api.base import ChatRequest, ChatResponse, complete_all
from nosce.models.api.cache import CachedChatModel, ResponseCache
from nosce.models.api.endpoint import EndpointConfig
from nosce.models.api.failures import EndpointError
from nosce.models.api.openai import OpenAIClient
from nosce.seeds import Seed

ALL = behaviours()
ASK = ChatRequest.from_user("What colour?", top_logprobs=2)
KEY_FORMS = (
    KEY,
    KEY[:20],
    quote(KEY, safe=""),
    base64.b64encode(KEY.encode()).decode()[:24],
    base64.b64encode(f"user:{KEY}".encode()).decode()[8:32],
    KEY.encode().hex()[:24],
)


@pytest.fixture(scope="module")
def raw() -> Iterator[RawServer]:
    server = RawServer()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield server
    server.close()
    thread.join(5)


def outcome(server: RawServer, behaviour: Behaviour, path: Path) -> ChatResponse | str:
    """The reply, or the sentence."""
    server.reply = behaviour.reply
    server.requests.clear()
    cache = ResponseCache(path)
    endpoint = EndpointConfig(base_url=server.url, timeout=0.4 if behaviour.slow else 5.0, **OPTIONS)
    client = OpenAIClient(endpoint, cache=cache, sleep=lambda seconds: None)
    try:
        return complete_all(CachedChatModel(client, cache), [ASK])[0]
    except EndpointError as error:
        return str(error)


def check(server: RawServer, behaviour: Behaviour, folder: Path, caplog, capfd, *, may_fail: bool = False) -> None:
    """An answer that is right or one sentence; nothing kept that is none; the same again; no key, no hang."""
    started = time.monotonic()
    path = folder / "replies.jsonl"
    first = outcome(server, behaviour, path)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    second = outcome(server, behaviour, path)
    assert second == first
    if isinstance(first, ChatResponse):
        assert behaviour.text is not None, f"no answer, but {first}"
        assert (first.text, first.finish_reason) == (behaviour.text, behaviour.finish)
        if not may_fail:
            assert (first.logprob, first.first_token_logprobs) == (behaviour.logprob, behaviour.first)
        assert (len(lines), len(server.requests)) == (1, 0)
    else:
        assert behaviour.text is None or may_fail, first
        assert first.endswith(".")
        assert len(first) < 700
        assert first.isprintable()
        assert not lines, "kept, and no answer"
        assert server.requests, "not asked again"
    captured = capfd.readouterr()
    written = [f.read_bytes().decode("utf-8", "replace") for f in folder.rglob("*") if f.is_file()]
    everything = "\n".join([str(first), captured.out, captured.err, caplog.text, *written])
    assert not [form for form in KEY_FORMS if form in everything]
    assert time.monotonic() - started < 20


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, caplog) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    caplog.set_level(logging.DEBUG)


@pytest.mark.parametrize("behaviour", [b for b in ALL if not b.slow], ids=lambda b: b.name)
def test_a_reply_is_an_answer_or_a_sentence(raw, behaviour, tmp_path, caplog, capfd):
    check(raw, behaviour, tmp_path, caplog, capfd)


@pytest.mark.slow
@pytest.mark.parametrize("behaviour", [b for b in ALL if b.slow], ids=lambda b: b.name)
def test_no_reply_is_waited_for_without_end(raw, behaviour, tmp_path, caplog, capfd):
    check(raw, behaviour, tmp_path, caplog, capfd)


@pytest.mark.parametrize("number", [*range(20), *(pytest.param(n, marks=pytest.mark.slow) for n in range(20, 400))])
def test_one_odd_value_changes_no_answer(raw, number, tmp_path, caplog, capfd):
    check(raw, mutated(Seed(number) / "mutated"), tmp_path, caplog, capfd, may_fail=True)


@pytest.mark.parametrize("number", [*range(10), *(pytest.param(n, marks=pytest.mark.slow) for n in range(10, 200))])
def test_half_a_reply_is_none(raw, number, tmp_path, caplog, capfd):
    check(raw, cut(Seed(number) / "cut"), tmp_path, caplog, capfd)


def test_there_are_sixty_behaviours():
    assert len(ALL) >= 60
    assert len({b.name for b in ALL}) == len(ALL)
