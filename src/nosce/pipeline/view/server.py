"""The server of `nosce view`: reading alone, for this machine alone.

    /                                the index, with the runs of the store
    /live.json                       the runs, and a stamp that changes whenever the index does
    /store/STUDY/SCALE/FILE          a page of the store, made when it is asked for, and what lies beside it
    /results/FILE                    a file of the folder of published pages

It listens on 127.0.0.1. A page of another site whose name was made to lead there (DNS rebinding) gives itself away by
the Host header, which has to name this machine. No other site may embed an answer, and no page loads anything from
elsewhere.
"""

from __future__ import annotations

import re
import sys
import traceback
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nosce.errors import NosceError, UsageError
from nosce.pipeline.index_page import render_index
from nosce.pipeline.view.library import ResultLibrary
from nosce.store.text import printable

ADDRESS = "127.0.0.1"
OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?", re.IGNORECASE)
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".csv": "text/csv; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".gz": "application/gzip",
    ".parquet": "application/octet-stream",
}
POLICY = "; ".join(
    [
        "default-src 'self' data: blob:",
        "script-src 'self' 'unsafe-inline'",
        "style-src 'self' 'unsafe-inline'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    ]
)
INDEX_POLICY = POLICY.replace(
    "script-src 'self' 'unsafe-inline'", "script-src 'self'"
)  # which has no script of its own
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer to a request.

    Args:
        status: The status of HTTP.
        body: The content.
        content_type: Its type.
        headers: Further headers.
    """

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_text(cls, status: int, text: str, **headers: str) -> Reply:
        """An answer of one sentence."""
        return cls(status=status, body=f"{printable(text)}\n".encode(), headers=headers)


NOT_FOUND = Reply.of_text(404, "Nothing is here; the index is at /.")


class ViewServer(ThreadingHTTPServer):
    """Serves a library until it is interrupted.

    Args:
        library: What is shown.
        port: The port; 0: one that is free.

    Raises:
        UsageError: The port cannot be had.
    """

    daemon_threads = True

    def __init__(self, library: ResultLibrary, port: int = 0) -> None:
        self.library = library
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(
                f"--port {port} was asked for, but {ADDRESS} does not give it ({reason}); take another, or 0 for one "
                "that is free."
            ) from error

    @property
    def address(self) -> str:
        """The address of the index."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no fault; any other is told with its traceback."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            traceback.print_exc()

    def reply(self, target: str) -> Reply:
        """The answer to a request for a path."""
        path = urlsplit(target).path if target.startswith("/") else ""
        match path:
            case "/":
                rows, live = self.library.look()
                index = _of_kind(".html", render_index(rows, live).encode())
                return replace(index, headers={"Content-Security-Policy": INDEX_POLICY})
            case "/live.json":
                return _of_kind(".json", self.library.look()[1].to_json().encode())
            case "/view.js":
                script = files("nosce.analysis.render").joinpath("templates/view.js")
                return _of_kind(".js", script.read_bytes())
            case "/favicon.ico":
                return Reply(status=204, body=b"")
        parts = _parts(path)
        match parts:
            case ["store", study, scale, *rest] if rest:
                folder = self.library.page_folder(study, scale)
                return NOT_FOUND if folder is None else _file_reply(folder, rest)
            case ["results", *rest] if rest and self.library.pages is not None:
                return _file_reply(self.library.pages, rest)
        return NOT_FOUND


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "nosce", ""
    timeout = 60  # of a connection on which nothing is asked

    def do_GET(self) -> None:
        self._send(self._reply())

    def do_HEAD(self) -> None:
        self._send(self._reply())

    def _refuse(self) -> None:
        self._send(Reply.of_text(405, "This server only shows: GET and HEAD are answered.", Allow="GET, HEAD"))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _reply(self) -> Reply:
        if not _names_this_machine(self.headers.get_all("Host", [])):
            return Reply.of_text(403, f"The Host header does not name this machine; open {self.server.address}")
        try:
            return self.server.reply(self.path)
        except NosceError as error:
            return Reply.of_text(500, f"nosce: {error}")
        except OSError as error:
            return Reply.of_text(500, f"nosce: the disk refused ({error.strerror or error}).")

    def _send(self, reply: Reply) -> None:
        has_body = "Content-Length" in self.headers or "Transfer-Encoding" in self.headers  # which nobody reads
        if has_body or reply.status in (403, 405):
            self.close_connection = True
        self.send_response(reply.status)
        for name, value in (SECURITY_HEADERS | reply.headers).items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are told to nobody."""


def _names_this_machine(hosts: list[str]) -> bool:
    """Whether the one Host header names this machine; the port may be another, e.g. of a tunnel."""
    return len(hosts) == 1 and OWN_HOST.fullmatch(hosts[0]) is not None


def _parts(path: str) -> list[str]:
    """The parts of a path of an address, decoded once; none where one could lead elsewhere."""
    try:
        parts = [unquote(part, errors="strict") for part in path.split("/")[1:]]
    except UnicodeDecodeError:
        return []
    if parts and not parts[-1]:
        parts[-1] = "index.html"
    is_plain = all(part and not part.startswith(".") and not {*part} & {"/", "\\", "\0", ":"} for part in parts)
    return parts if is_plain else []


def _file_reply(folder: Path, parts: list[str]) -> Reply:
    """A file below a folder; a link that leads out of it is not there."""
    root = folder.resolve()
    file = root.joinpath(*parts).resolve()
    if not file.is_relative_to(root) or file.suffix not in CONTENT_TYPES or not file.is_file():
        return NOT_FOUND
    return _of_kind(file.suffix, file.read_bytes())


def _of_kind(suffix: str, body: bytes) -> Reply:
    return Reply(status=200, body=body, content_type=CONTENT_TYPES[suffix])
