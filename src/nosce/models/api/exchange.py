"""One HTTP exchange with an endpoint that may misbehave: a deadline for all of it, a largest size, no redirects.

A redirect is never followed, since the request carries the key.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from nosce.errors import UsageError

if TYPE_CHECKING:
    import httpx2

MAX_REPLY_BYTES = 32 * 2**20  # of a decoded body; 200 tokens with 20 alternatives each take less than one megabyte
KNOWN_ENCODINGS = ("", "identity", "gzip", "deflate")


class ExchangeError(Exception):
    """No whole reply came.

    Args:
        reason: What happened; it quotes nothing that the endpoint sent.
        may_be_billed: Whether the endpoint may have received the request.
    """

    def __init__(self, reason: str, *, may_be_billed: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.may_be_billed = reason, may_be_billed


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """A request, whose headers may hold the key; so it is printed without them.

    Args:
        method: "GET" or "POST".
        url: The whole address.
        headers: The headers.
        body: The body.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""

    def __repr__(self) -> str:
        return f"HttpRequest({self.method} {self.url})"


@dataclass(frozen=True)
class HttpReply:
    """A whole reply.

    Args:
        status: The status code.
        headers: The headers, by their names in small letters.
        body: The decoded body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def exchange(request: HttpRequest, seconds: float) -> HttpReply:
    """Send a request and read the whole reply.

    Args:
        request: The request.
        seconds: Time for everything together, from the connection to the last byte.

    Raises:
        ExchangeError: No whole reply came.
        UsageError: The library httpx2 is not installed.
    """
    try:
        import httpx2
    except ImportError:
        raise UsageError("an endpoint needs the library httpx2; pip install 'nosce[api]'.") from None
    for name in ("httpcore2", "httpx2"):  # they log the headers of replies, in which an endpoint may echo the key
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        # An event loop of its own, since only a cancelled coroutine stops wherever it waits.
        return _run_apart(_exchange(request, seconds))
    except (TimeoutError, httpx2.TimeoutException):
        raise ExchangeError(f"no whole reply within {seconds:g} s") from None
    except httpx2.ConnectError:
        raise ExchangeError("no connection", may_be_billed=False) from None
    except httpx2.DecodingError:
        raise ExchangeError("a reply in a broken encoding") from None
    except httpx2.ProtocolError:
        raise ExchangeError("a reply that was cut or is not HTTP") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError):
        raise ExchangeError("a connection that broke") from None


def _run_apart(work: Coroutine[None, None, HttpReply]) -> HttpReply:
    """Run in a new event loop; in a thread of its own where this one has a loop that runs, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def _exchange(request: HttpRequest, seconds: float) -> HttpReply:
    import httpx2

    async with (
        asyncio.timeout(seconds),
        httpx2.AsyncClient(verify=_ssl_context(), follow_redirects=False, timeout=seconds) as client,
        client.stream(
            request.method,
            request.url,
            headers={"accept-encoding": "gzip, deflate", **request.headers},
            content=request.body,
            auth=None,
        ) as reply,
    ):
        return HttpReply(reply.status_code, dict(reply.headers), await _read_body(reply))


async def _read_body(reply: httpx2.Response) -> bytes:
    """The decoded body.

    Raises:
        ExchangeError: It is too large, or in an encoding that was not asked for.
    """
    if reply.headers.get("content-encoding", "").strip().lower() not in KNOWN_ENCODINGS:
        raise ExchangeError("a reply in an encoding that was not asked for")
    chunks, size = [], 0
    async for chunk in reply.aiter_bytes():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_REPLY_BYTES:
            raise ExchangeError(f"a reply of more than {MAX_REPLY_BYTES / 2**20:.0f} MiB")
    return b"".join(chunks)


@cache
def _ssl_context() -> ssl.SSLContext:
    """Certificates take a while to load, so all requests of a process share them."""
    import httpx2

    return httpx2.create_ssl_context()
