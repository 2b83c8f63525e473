"""The whole protocol at endpoints, killed at any moment: the same command goes on, and nothing is paid for twice."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fixtures.mind_server import MindServer, mind_server
from tests.fixtures.scripted_minds import Mind, PromptBook

from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.seeds import Seed

pytest.importorskip("httpx2")
TASKS = ("towns", "numbers", "things", "haste")
KEYS = {"KEY_A": "sk-the-first-secret-0123456789", "KEY_B": "sk-the-second-secret-0123456789"}
AT_ONCE = 2  # requests under way at each endpoint
BOOK = PromptBook.of_world(
    NaturalTextBehaviours(strings_per_task=4, tasks=TASKS), Seed(0) / "experiment"
)
MINDS = tuple(Mind(letter=letter, drifts=letter == "A", book=BOOK, confidence=0.9) for letter in "AB")


@pytest.fixture
def servers(monkeypatch) -> Iterator[tuple[MindServer, MindServer]]:
    """One for each model, with a key of its own."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with mind_server(MINDS[0]) as first, mind_server(MINDS[1]) as second:
        yield first, second


def words(servers: tuple[MindServer, MindServer], *more: str) -> tuple[str, ...]:
    """The command: every experiment of sections 3 and 4 that this study has, each endpoint with its own settings."""
    own = f"price_in=1,price_out=2,logprobs=20,at_once={AT_ONCE}"
    jobs = "" if servers[1].has_jobs else ",jobs=no"
    models = f"{servers[0].url}#A,key=KEY_A,max_cost=50,{own},{servers[1].url}#B,key=KEY_B,{own}{jobs}"
    settings = (f"tasks={','.join(TASKS)}", "n_samples=2", "n_sampled_prompts=3", "change=yes", "given_per_label=0.2")
    sets = [word for setting in (*settings, *more) for word in ("--set", setting)]
    return ("run", "introspection", "--model", models, "--scale", "smoke", *sets, "--workers", "1", "--max-cost", "99")


def claims_of(nosce, store: Path) -> str:
    """The claims table, as it is printed for programs."""
    shown = nosce.here("show", "introspection", "--store", store, "--json", **KEYS)
    assert shown.returncode == 0, shown.stderr
    return json.dumps(json.loads(shown.stdout)["claims"])


class Killer:
    """Kills a command and all its workers at a request, before its reply is sent."""

    def __init__(self, servers: tuple[MindServer, MindServer]) -> None:
        self.seen: list[str] = []  # kinds of requests of the command that runs
        self.at: tuple[str, int] | None = None  # the kind, or "" for any, and its number
        self.process = None
        for server in servers:
            server.watch = self.watch

    def watch(self, kind: str) -> None:
        self.seen.append(kind)
        if self.at is None or self.process is None:
            return
        which, number = self.at
        if (len(self.seen) if not which else self.seen.count(which)) >= number and kind in (which, kind if not which else ""):
            os.killpg(self.process.pid, signal.SIGKILL)

    def run(self, nosce, command: tuple[object, ...], at: tuple[str, int]) -> bool:
        """Start the command, and kill it there; False where it ended before."""
        self.seen, self.at = [], at
        self.process = nosce.start(*command, **KEYS)
        said = self.process.communicate(timeout=300)
        code, self.process, self.at = self.process.returncode, None, None
        assert code in (0, -signal.SIGKILL), said
        return code != 0


def interrupted(nosce, servers, store: Path, moments: list[tuple[str, int]], *more: str) -> int:
    """Run until it ends, killed at these moments of the commands; how often it was killed."""
    killer, killed = Killer(servers), 0
    command = (*words(servers, *more), "--store", store)
    for moment in moments:
        if not killer.run(nosce, command, moment):
            break
        killed += 1
    done = nosce(*command, **KEYS)
    assert done.returncode == 0, done.stderr
    return killed


def test_killed_anywhere_it_pays_once_and_says_the_same(nosce, servers, tmp_path):
    """Answers, reports, samples, log-probabilities, three kinds of fine-tuning and the change, at two endpoints."""
    whole = nosce(*words(servers), "--store", tmp_path / "whole", **KEYS)
    assert whole.returncode == 0, whole.stderr
    paid = [Counter(server.paid) for server in servers]
    jobs = [len(server.jobs) for server in servers]
    print(jobs, [sum(p.values()) for p in paid])
    for server, mind in zip(servers, MINDS, strict=True):
        server.paid.clear(), server.jobs.clear(), server.looks.clear()
        server.minds = {mind.letter: mind}
    moments = [("job", 1), ("", 40), ("job", 2), ("", 120), ("look", 1)]
    killed = interrupted(nosce, servers, tmp_path / "parts", moments)
    assert killed == len(moments)
    assert [len(server.jobs) for server in servers] == jobs
    again = [server.paid - expected for server, expected in zip(servers, paid, strict=True)]
    assert not [expected - server.paid for server, expected in zip(servers, paid, strict=True) if expected - server.paid]
    assert sum(sum(one.values()) for one in again) <= killed * AT_ONCE
    assert claims_of(nosce, tmp_path / "parts") == claims_of(nosce, tmp_path / "whole")
    assert [server.keys for server in servers] == [{f"Bearer {key}"} for key in KEYS.values()]
