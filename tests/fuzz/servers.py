"""A server of raw bytes on loopback, and the ways in which an endpoint may behave: what it sends, and what is right.

A behaviour either has a right answer, or none. Where it has none, one sentence is the only right outcome.
"""

from __future__ import annotations

import base64
import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from nosce.seeds import Seed

KEY = "sk-+fuzz/9f8e7d6c5b4a39281706 5f4e3d2c1b0a".replace(" ", "=")  # with characters that are quoted in addresses
TEXT = "Blue."
OPTIONS = {"model": "m", "max_retries": 1, "max_concurrency": 2}

Reply = bytes | Callable[[socket.socket, int], None]


@dataclass(frozen=True)
class Behaviour:
    """What an endpoint sends to every request, and what must become of it.

    Args:
        name: For people.
        reply: The bytes, or a function that writes them, given the connection and the number of the request.
        text: The right answer; None: there is none.
        finish: Its finish reason.
        logprob: Its log-probability, None where it is unknown.
        first: The alternatives of its first token.
        slow: It takes seconds, or gigabytes.
    """

    name: str
    reply: Reply
    text: str | None = None
    finish: str = "stop"
    logprob: float | None = None
    first: tuple[tuple[str, float], ...] = ()
    slow: bool = False


@dataclass
class RawServer:
    """Behaves in one way towards everybody, and counts the requests."""

    reply: Reply = b""
    requests: list[bytes] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _socket: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                received = _read_request(connection)
                with self.lock:
                    self.requests.append(received)
                    number = len(self.requests)
                if callable(self.reply):
                    self.reply(connection, number)
                else:
                    connection.sendall(self.reply)
            except OSError:
                pass  # the client has given up


def _read_request(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        if not (chunk := connection.recv(65_536)):
            return received
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    length = next((int(ln.split(b":")[1]) for ln in head.split(b"\r\n") if ln.lower().startswith(b"content-length")), 0)
    while len(body) < length:
        if not (chunk := connection.recv(65_536)):
            break
        body += chunk
    return head + b"\r\n\r\n" + body


def http(body: bytes | str, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """A whole HTTP/1.1 reply; JSON unless a header says otherwise."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", "connection: close", *headers]
    named = {line.partition(":")[0].lower() for line in headers}
    if "content-type" not in named:
        lines.append("content-type: application/json")
    if "transfer-encoding" not in named:
        lines.append(f"content-length: {len(data) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def completion(**changes: Any) -> dict[str, Any]:
    """A right chat completion with some of its fields replaced."""
    return {
        "id": "c-1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [choice()],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    } | changes


def choice(**changes: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": changes.pop("content", TEXT)} | changes.pop("message", {})
    return {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None} | changes


def said(**changes: Any) -> bytes:
    """A reply with one choice that differs in some fields."""
    return http(json.dumps(completion(choices=[choice(**changes)])))


def scored(*tokens: Any) -> bytes:
    """A reply with these log-probabilities of its tokens, written as JSON or as Python's NaN literals."""
    content = [{"token": "Blue", "logprob": value, "top_logprobs": _alternatives(value)} for value in tokens]
    return said(logprobs={"content": content})


def _alternatives(value: Any) -> list[dict[str, Any]]:
    return [{"token": "Blue", "logprob": value}, {"token": "Red", "logprob": -2.0}]


RIGHT = http(json.dumps(completion()))
HTML = "<html><body><h1>Please log in</h1></body></html>"
ECHOES = {
    "plain": KEY,
    "in a header": f"authorization: Bearer {KEY}",
    "for addresses": quote(KEY, safe=""),
    "in base64": base64.b64encode(KEY.encode()).decode(),
    "as Basic": f"Basic {base64.b64encode(f'user:{KEY}'.encode()).decode()}",
    "in hexadecimal": KEY.encode().hex(),
    "cut at 200": "x" * 180 + KEY,
}


def behaviours() -> list[Behaviour]:
    """All of them."""
    return [*_right(), *_not_json(), *_not_answers(), *_odd_fields(), *_broken_http(), *_statuses(), *_leaks()]


def _right() -> Iterator[Behaviour]:
    yield Behaviour("right", RIGHT, TEXT)
    yield Behaviour("an empty string that ended", said(content=""), "")
    yield Behaviour("cut at its length", said(finish_reason="length"), TEXT, "length")
    yield Behaviour("cut before a word", said(content=None, finish_reason="length"), "", "length")
    thoughts = {"reasoning_content": "hm"}
    yield Behaviour("cut in its thoughts", said(content="", message=thoughts, finish_reason="length"), "", "length")
    yield Behaviour("a content filter", said(content=None, finish_reason="content_filter"), "", "refused")
    yield Behaviour("a refusal", said(content=None, message={"refusal": "No."}), "No.", "refused")
    yield Behaviour("a byte order mark", http(b"\xef\xbb\xbf" + json.dumps(completion()).encode()), TEXT)
    yield Behaviour("another model's name", http(json.dumps(completion(model="m-2024-07-18"))), TEXT)
    yield Behaviour("no id", http(json.dumps({"choices": [choice()]})), TEXT)
    yield Behaviour("an error that is null", http(json.dumps(completion(error=None))), TEXT)
    yield Behaviour(
        "a JSON type with words",
        http(json.dumps(completion()), "200 OK", "content-type: application/problem+json; charset=utf-8"),
        TEXT,
    )
    yield Behaviour(
        "more choices",
        http(json.dumps(completion(choices=[choice(index=1, content="Red."), choice(), choice(index=2)]))),
        TEXT,
    )
    yield Behaviour("spaces around", http(b" \n" * 5_000 + json.dumps(completion()).encode() + b"\n"), TEXT)
    yield Behaviour("a very long line", said(content="long " * 200_000), "long " * 200_000)
    yield Behaviour(
        "gzip", http(gzip.compress(json.dumps(completion()).encode()), "200 OK", "content-encoding: gzip"), TEXT
    )
    yield Behaviour("chunks", _chunked(json.dumps(completion()).encode()), TEXT)
    yield Behaviour("control characters", said(content="a\x00b\x1b[31m"), "a\x00b\x1b[31m")
    parts = [{"type": "text", "text": "Bl"}, {"type": "text", "text": "ue."}]
    yield Behaviour("parts", said(content=parts), TEXT)
    yield Behaviour("parts with thoughts", said(content=[{"type": "thinking", "thinking": []}, *parts]), TEXT)
    yield Behaviour("parts that refuse", said(content=[{"type": "refusal", "refusal": "No."}]), "No.", "refused")
    lone = json.dumps(completion(choices=[choice(content="a\ud800b")]))
    yield Behaviour("a lone surrogate", http(lone), "a\ufffdb")
    yield Behaviour(
        "a pair of surrogates", http(json.dumps(completion(choices=[choice(content="\U0001f600")]))), "\U0001f600"
    )
    yield Behaviour("reasoning beside the answer", said(message={"reasoning_content": "hm"}), TEXT)


def _chunked(body: bytes) -> bytes:
    pieces = [body[place : place + 7] for place in range(0, len(body), 7)]
    chunks = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)
    return http(chunks + b"0\r\n\r\n", "200 OK", "transfer-encoding: chunked")


def _not_json() -> Iterator[Behaviour]:
    whole = json.dumps(completion()).encode()
    yield Behaviour("HTML", http(HTML, "200 OK", "content-type: text/html"))
    yield Behaviour("HTML that is called JSON", http(HTML))
    yield Behaviour("JSON that is called text", http(whole, "200 OK", "content-type: text/plain"))
    yield Behaviour("JSON that is called an image", http(whole, "200 OK", "content-type: image/png"))
    yield Behaviour("nothing", http(b""))
    yield Behaviour("no content", http(b"", "204 No Content"))
    yield Behaviour("cut JSON", http(whole[:-20]))
    yield Behaviour("two objects", http(whole + whole))
    yield Behaviour("nested JSON", http(b"[" * 200_000 + b"]" * 200_000))
    yield Behaviour("nested content", http(b'{"choices": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001))
    yield Behaviour("a number of 10,000 digits", http(whole[:-1] + b', "n": ' + b"9" * 10_000 + b"}"))
    yield Behaviour("no UTF-8", http(whole.replace(b"Blue", b"Bl\xff\xfe")))
    yield Behaviour("UTF-16", http(whole.decode().encode("utf-16")))
    stream = b"".join(b"data: " + json.dumps({"choices": [{"delta": {"content": c}}]}).encode() + b"\n\n" for c in TEXT)
    yield Behaviour("a stream", http(stream + b"data: [DONE]\n\n", "200 OK", "content-type: text/event-stream"))
    yield Behaviour("a stream that is called JSON", http(stream + b"data: [DONE]\n\n"))
    for value in ("[]", "null", '"Blue."', "7", "true", "NaN", "{}"):
        yield Behaviour(f"the JSON {value}", http(value))


def _not_answers() -> Iterator[Behaviour]:
    for name, changes in {
        "an error object": {"error": {"message": "overloaded", "code": 502}, "choices": []},
        "an error beside an answer": {"error": {"message": "overloaded"}},
        "an error that is a word": {"error": "overloaded"},
        "choices that are null": {"choices": None},
        "no choices": {"choices": []},
        "choices that are an object": {"choices": {"0": choice()}},
        "choices that are words": {"choices": [TEXT]},
        "a choice that is null": {"choices": [None]},
        "two choices of one index": {"choices": [choice(), choice(content="Red.")]},
        "a message that is null": {"choices": [choice() | {"message": None}]},
        "a message that is a word": {"choices": [choice() | {"message": TEXT}]},
        "a completion without a chat": {"choices": [{"index": 0, "text": TEXT, "finish_reason": "stop"}]},
        "a delta": {"choices": [{"index": 0, "delta": {"content": TEXT}, "finish_reason": "stop"}]},
    }.items():
        yield Behaviour(name, http(json.dumps(completion(**changes))))
    calls = [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    yield Behaviour("tool calls", said(content=None, message={"tool_calls": calls}, finish_reason="tool_calls"))
    yield Behaviour("tool calls that ended", said(content=None, message={"tool_calls": calls}))
    yield Behaviour("reasoning alone", said(content=None, message={"reasoning_content": "hm"}))
    yield Behaviour("tool calls beside nothing", said(content="", message={"tool_calls": calls}))
    yield Behaviour("a function call", said(content="", message={"function_call": calls[0]["function"]}))
    yield Behaviour("reasoning beside nothing", said(content="", message={"reasoning_content": "hm"}))
    yield Behaviour("content that is null", said(content=None))
    for reason in ("error", None, "abort", "function_call", 3, ["stop"], ""):
        yield Behaviour(f"the finish reason {reason!r}", said(finish_reason=reason))
    for content in (
        7,
        True,
        {"text": TEXT},
        [],
        ["Blue."],
        [{"type": "image_url", "image_url": "x"}],
        [{"type": "text"}],
        [None],
    ):
        yield Behaviour(f"the content {content!r}", said(content=content))


def _odd_fields() -> Iterator[Behaviour]:
    yield Behaviour(
        "log-probabilities", scored(-0.25, -0.5), TEXT, logprob=-0.75, first=(("Blue", -0.25), ("Red", -2.0))
    )
    infinite = float("-inf")
    for name, value in {
        "-Infinity": infinite,
        "null": None,
        "NaN": float("nan"),
        "a word": "x",
        "above 0": 3.0,
    }.items():
        yield Behaviour(f"a log-probability that is {name}", scored(value, -0.5), TEXT, first=(("Red", -2.0),))
    missing = {"content": [{"token": "Blue", "top_logprobs": [{"token": "Blue"}, {"logprob": -1.0}]}]}
    yield Behaviour("a log-probability that is missing", said(logprobs=missing), TEXT)
    for odd in ({}, {"content": None}, {"content": []}, {"content": [None]}, {"content": "x"}, [], "x", 3):
        yield Behaviour(f"the log-probabilities {odd}", said(logprobs=odd), TEXT)
    whole = {"content": [{"token": "Blue", "logprob": -0.25, "top_logprobs": None}]}
    yield Behaviour("no alternatives", said(logprobs=whole), TEXT, logprob=-0.25)
    for usage in (None, {}, [], "x", 7, {"prompt_tokens": "10"}, {"prompt_tokens": 1.5}, {"completion_tokens": -5}):
        yield Behaviour(f"the usage {usage}", http(json.dumps(completion(usage=usage))), TEXT)
    odd = {"prompt_tokens": float("nan"), "completion_tokens": float("inf")}
    yield Behaviour("a usage that is no number", http(json.dumps(completion(usage=odd))), TEXT)
    huge = {"prompt_tokens": 10**400, "completion_tokens": 5}
    yield Behaviour("a usage beyond all numbers", http(json.dumps(completion(usage=huge))), TEXT)


def _broken_http() -> Iterator[Behaviour]:
    whole = json.dumps(completion()).encode()
    yield Behaviour("closed at once", b"")
    yield Behaviour("no HTTP", b"SSH-2.0-OpenSSH_9.2\r\n")
    yield Behaviour("half a header", b"HTTP/1.1 200 OK\r\ncontent-ty")
    yield Behaviour("a length that is too long", http(whole, length=len(whole) + 50))
    yield Behaviour("a length that is too short", http(whole, length=len(whole) - 5))
    yield Behaviour("a length that is a word", http(whole, "200 OK", "content-length: many"))
    yield Behaviour("a length below 0", http(whole, length=-5))
    yield Behaviour("gzip that is none", http(whole, "200 OK", "content-encoding: gzip"))
    yield Behaviour("gzip that is cut", http(gzip.compress(whole)[:-30], "200 OK", "content-encoding: gzip"))
    yield Behaviour("an unknown encoding", http(whole[::-1], "200 OK", "content-encoding: br"))
    yield Behaviour("chunks that are none", http(b"zz\r\n" + whole, "200 OK", "transfer-encoding: chunked"))
    yield Behaviour("chunks without an end", http(b"5\r\nabcde\r\n", "200 OK", "transfer-encoding: chunked"))
    yield Behaviour("reset in the body", _reset)
    yield Behaviour("a header of a megabyte", http(whole, "200 OK", "x-filler: " + "x" * 1_000_000))
    yield Behaviour("a bomb in gzip", http(_bomb(), "200 OK", "content-encoding: gzip"), slow=True)
    yield Behaviour("silence", lambda connection, n: time.sleep(1.0), slow=True)
    yield Behaviour("a body that drips", _drip(http(whole, length=10_000_000)), slow=True)
    yield Behaviour("a header that drips", _drip(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000), slow=True)
    yield Behaviour("a body of gigabytes", _flood, slow=True)
    yield Behaviour("a body of gigabytes with status 500", _flood_500, slow=True)


def _reset(connection: socket.socket, number: int) -> None:
    connection.sendall(http(json.dumps(completion()))[:-30])
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _bomb() -> bytes:
    return gzip.compress(b" " * 200_000_000, 1)


def _drip(data: bytes) -> Callable[[socket.socket, int], None]:
    def write(connection: socket.socket, number: int) -> None:
        for place in range(min(len(data), 200)):
            connection.sendall(data[place : place + 1])
            time.sleep(0.05)

    return write


def _flood(connection: socket.socket, number: int, status: str = "200 OK") -> None:
    connection.sendall(http(b"", status, length=4_000_000_000))
    block = b" " * 1_000_000
    for _ in range(4_000):
        connection.sendall(block)


def _flood_500(connection: socket.socket, number: int) -> None:
    _flood(connection, number, "500 Internal Server Error")


def _first_then_right(first: bytes) -> Callable[[socket.socket, int], None]:
    def write(connection: socket.socket, number: int) -> None:
        connection.sendall(first if number == 1 else RIGHT)

    return write


def _statuses() -> Iterator[Behaviour]:
    slow_down = json.dumps({"error": {"message": "slow down"}})
    for after in (
        "",
        "0",
        "0.5",
        "1e9",
        "inf",
        "nan",
        "-3",
        "soon",
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "Wed, 21 Oct 2099 07:28:00 GMT",
        "Wed, 99 Foo 2099",
        "9" * 400,
    ):
        headers = (f"retry-after: {after}",) if after else ()
        once = http(slow_down, "429 Too Many Requests", *headers)
        yield Behaviour(f"once 429 with Retry-After {after[:40]!r}", _first_then_right(once), TEXT)
    yield Behaviour("always 429", http(slow_down, "429 Too Many Requests", "retry-after: 86400"))
    for status in ("500 X", "502 X", "503 X", "504 X", "529 X", "599 X"):
        yield Behaviour(f"once {status}", _first_then_right(http(HTML, status, "content-type: text/html")), TEXT)
        yield Behaviour(f"always {status}", http(HTML, status, "content-type: text/html"))
    for status in ("400 X", "401 X", "402 X", "403 X", "404 X", "405 X", "413 X", "418 X", "422 X"):
        yield Behaviour(f"always {status}", http(slow_down, status))
    for odd in ("[]", "null", "{", '{"error": 7}', '{"error": {"message": ["a"]}}', '{"detail": [{"loc": 1}]}', HTML):
        yield Behaviour(f"400 with the body {odd[:30]}", http(odd, "400 Bad Request"))
    yield Behaviour("status 999", http(slow_down, "999 X"))
    yield Behaviour("status 100 for ever", b"HTTP/1.1 100 Continue\r\n\r\n" * 50)
    for status in ("301 X", "302 X", "307 X", "308 X"):
        yield Behaviour(f"a redirect, {status}", http(b"", status, "location: http://127.0.0.1:9/v1/chat/completions"))
    yield Behaviour("a redirect to itself", http(b"", "307 X", "location: /v1/chat/completions"))
    yield Behaviour("a redirect to nowhere", http(b"", "308 X"))


def _leaks() -> Iterator[Behaviour]:
    for name, echo in ECHOES.items():
        for status in ("400 X", "404 X", "500 X"):
            yield Behaviour(f"the key {name}, {status}", http(json.dumps({"error": {"message": echo}}), status))
        yield Behaviour(f"the key {name}, in text", http(echo, "404 X", "content-type: text/plain"))
        yield Behaviour(f"the key {name}, as an error with status 200", http(json.dumps({"error": {"message": echo}})))
        yield Behaviour(f"the key {name}, as the answer", said(content=f"You said {echo}"))
        yield Behaviour(f"the key {name}, as finish reason", said(finish_reason=echo))
    yield Behaviour("the key in a redirect", http(b"", "307 X", f"location: http://127.0.0.1:9/?k={quote(KEY)}"))
    yield Behaviour("the key in the content type", http(b"{}", "200 OK", f"content-type: text/{KEY}"))
    yield Behaviour(
        "the key as a token",
        said(
            logprobs={"content": [{"token": "B", "logprob": -1.0, "top_logprobs": [{"token": KEY, "logprob": -1.0}]}]}
        ),
    )


def mutated(seed: Seed) -> Behaviour:
    """A right reply in which one value is replaced at random by an odd one; the answer's own text is left alone."""
    rng = seed.numpy()
    tree = completion(choices=[choice(logprobs={"content": [{"token": "B", "logprob": -1.0, "top_logprobs": []}]})])
    places = [place for place in _places(tree) if place[-1] != "content" or place[-2] != "message"]
    place = places[int(rng.integers(len(places)))]
    odd = ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]
    inner: Any = tree
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = odd
    return Behaviour(f"{'.'.join(map(str, place))} = {odd!r}", http(json.dumps(tree)), TEXT)


def cut(seed: Seed) -> Behaviour:
    """A right reply that is cut somewhere, in the head or in the body."""
    place = int(seed.numpy().integers(len(RIGHT)))
    return Behaviour(f"cut at {place}", RIGHT[:place])


ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**30,
    "",
    "x",
    [],
    {},
    [None],
    {"x": 1},
    float("nan"),
    float("inf"),
    "\ud800",
    [[]],
)


def _places(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in pairs:
        yield (*above, name)
        yield from _places(value, (*above, name))
