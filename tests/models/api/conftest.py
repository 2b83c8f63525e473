"""A server on loopback that speaks OpenAI's protocol, and misbehaves where it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

KEY = "sk-very-secret-0123456789"


@dataclass
class Server:
    """What it was asked, and how it is to fail: prompt -> the ways, one an attempt, before it answers well."""

    url: str = ""
    fails: dict[str, list[str]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)  # prompts that were sent
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    jobs: list[str] = field(default_factory=lambda: ["queued", "running", "succeeded"])  # what each look at a job finds
    files: list[bytes] = field(default_factory=list)
    begun: int = 0  # jobs
    job_statuses: list[int] = field(default_factory=list)  # what the first requests for a job are answered
    usage: Any = field(default_factory=lambda: {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15})
    job_body: bytes | None = None  # in place of a job that was begun
    listed: list[dict[str, Any]] | None = field(default_factory=list)  # jobs that were begun; None: no such route
    page_size: int = 100
    files_status: int = 200
    files_echo: str = ""  # what the error of a files route without files says
    minds: dict[str, Callable[[dict[str, Any]], tuple[str, float]]] = field(default_factory=dict)  # by model
    lock: threading.Lock = field(default_factory=threading.Lock)


class Handler(BaseHTTPRequestHandler):
    """The protocol, as far as it is needed."""

    server: Any

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Chat, files and jobs."""
        told: Server = self.server.told
        body = self.rfile.read(int(self.headers["content-length"]))
        told.keys.add(self.headers.get("authorization", ""))
        if self.path.endswith("/files"):
            if told.files_status != 200:
                return self.send({"error": {"message": f"no route; {told.files_echo}"}}, told.files_status)
            told.files.append(body)
            return self.send(
                {
                    "id": "file-1",
                    "object": "file",
                    "bytes": len(body),
                    "created_at": 0,
                    "filename": "train.jsonl",
                    "purpose": "fine-tune",
                    "status": "processed",
                }
            )
        if self.path.endswith("/jobs"):
            told.begun += 1
            told.bodies.append(json.loads(body))
            if told.job_statuses:
                return self.send({"error": {"message": "no"}}, told.job_statuses.pop(0))
            return self.send(job("queued"), raw=told.job_body)
        return self.chat(told, json.loads(body))

    def do_GET(self) -> None:
        """How a job is."""
        told: Server = self.server.told
        if "/jobs?" in self.path:
            return self.list_jobs(told)
        status = told.jobs.pop(0) if len(told.jobs) > 1 else told.jobs[0]
        if status in ("500", "nonsense"):
            return self.send(["nonsense"], 500 if status == "500" else 200)
        return self.send(job(status))

    def list_jobs(self, told: Server) -> None:
        """A page of the jobs, the newest first."""
        if told.listed is None:
            return self.send({"error": {"message": "no list"}}, 404)
        after = parse_qs(urlsplit(self.path).query).get("after", [""])[0]
        start = 1 + [one["id"] for one in told.listed].index(after) if after else 0
        page = told.listed[start : start + told.page_size]
        return self.send({"object": "list", "data": page, "has_more": start + len(page) < len(told.listed)})

    def chat(self, told: Server, body: dict[str, Any]) -> None:
        """Echo the prompt, or fail as told."""
        prompt = body["messages"][-1]["content"]
        with told.lock:
            told.asked[prompt] += 1
            told.bodies.append(body)
            ways = told.fails.get(prompt, [])
            way = ways.pop(0) if ways else ""
        match way:
            case "429":
                return self.send({"error": {"message": f"slow down, {KEY}"}}, 429, {"retry-after": "0.01"})
            case status if status.isdigit():
                return self.send({"error": {"message": f"no, {KEY}"}}, int(status))
            case "redirect":
                return self.send({}, 307, {"location": "http://127.0.0.1:9/v1/chat/completions"})
            case "no max_tokens":
                return self.send(
                    {"error": {"message": "'max_tokens' is not supported; use 'max_completion_tokens'"}}, 400
                )
            case "slow":
                time.sleep(0.6)
            case "truncated":
                return self.send(None, raw=b'{"id": "x", "choices": [{"mess')
            case "drop":
                return self.connection.close()
        message = {
            "role": "assistant",
            "content": None if way == "refusal" else f"echo {prompt}",
            "refusal": "I will not." if way == "refusal" else None,
        }
        token, logprob = "echo", -0.25
        if body["model"] in told.minds:
            token, logprob = told.minds[body["model"]](body)
            message["content"] = token
        tokens = [
            {
                "token": token,
                "logprob": logprob,
                "bytes": None,
                "top_logprobs": [
                    {"token": token, "logprob": logprob, "bytes": None},
                    {"token": " True", "logprob": -2.0, "bytes": None},
                ],
            }
        ]
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": "length" if way == "length" else "stop",
            "logprobs": {"content": tokens, "refusal": None} if body.get("logprobs") else None,
        }
        return self.send(
            {
                "id": "c",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [] if way == "empty" else [choice],
                "usage": told.usage,
            }
        )

    def send(self, told: Any, code: int = 200, more: dict[str, str] | None = None, raw: bytes | None = None) -> None:
        """An answer."""
        data = raw if raw is not None else json.dumps(told).encode()
        try:
            self.send_response(code)
            for name, value in {
                "content-type": "application/json",
                "content-length": str(len(data)),
                **(more or {}),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
        except OSError:  # whoever asked has given up
            pass


def job(told: str) -> dict[str, Any]:
    """A fine-tuning job; one that has succeeded may lack the name of its model."""
    status, _, without = told.partition(" with")
    names = {"": "ft:m:nosce", "out a model": None, " an empty name": ""}
    return {
        "id": "ftjob-1",
        "object": "fine_tuning.job",
        "created_at": 0,
        "model": "m",
        "status": status,
        "fine_tuned_model": names[without] if status == "succeeded" else None,
        "finished_at": None,
        "error": {"code": "x", "message": "bad file", "param": None} if status == "failed" else None,
        "hyperparameters": {},
        "organization_id": "o",
        "result_files": [],
        "seed": 0,
        "trained_tokens": None,
        "training_file": "file-1",
        "validation_file": None,
    }


@contextmanager
def running_server() -> Iterator[Server]:
    """A server on a port of its own."""
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.told = Server(url=f"http://127.0.0.1:{made.server_address[1]}/v1")  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made.told  # type: ignore[attr-defined]
    made.shutdown()
    made.server_close()


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    """One on a port of its own, with a key in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with running_server() as made:
        yield made


@pytest.fixture
def other_server(server) -> Iterator[Server]:
    """A second one, beside the first."""
    with running_server() as made:
        yield made
