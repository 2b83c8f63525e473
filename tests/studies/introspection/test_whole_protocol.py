"""The whole protocol at endpoints, killed at any moment: the same command goes on, and nothing is paid for twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.fixtures.mind_server import MindServer, mind_server
from tests.fixtures.scripted_minds import Mind, PromptBook
from tests.fixtures.served_folders import served_folder
from tests.fixtures.tiny_folders import tiny_folder

from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.seeds import Seed

pytest.importorskip("httpx2")
TASKS = ("towns", "numbers", "things", "haste")
KEYS = {"KEY_A": "sk-the-first-secret-0123456789", "KEY_B": "sk-the-second-secret-0123456789"}
PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
AT_ONCE = 2  # requests under way at each endpoint
BOOK = PromptBook.of_world(NaturalTextBehaviours(strings_per_task=4, tasks=TASKS), Seed(0) / "experiment")
MINDS = tuple(Mind(letter=letter, drifts=letter == "A", book=BOOK, confidence=0.9) for letter in "AB")


@pytest.fixture
def servers(monkeypatch) -> Iterator[tuple[MindServer, MindServer]]:
    """One for each model, with a key of its own."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    with mind_server(MINDS[0]) as first, mind_server(MINDS[1]) as second:
        yield first, second


def words(servers: Sequence[MindServer]) -> tuple[str, ...]:
    """The command: every experiment of sections 3 and 4 that this study has, each endpoint with its own settings."""
    own = f"price_in=1,price_out=2,logprobs=20,at_once={AT_ONCE}{'' if servers[1].has_jobs else ',jobs=no'}"
    models = f"{servers[0].url}#A,key=KEY_A,max_cost=50,{own},{servers[1].url}#B,key=KEY_B,{own}"
    settings = (f"tasks={','.join(TASKS)}", "n_samples=2", "n_sampled_prompts=3", "change=yes", "given_per_label=0.2")
    sets = [word for setting in settings for word in ("--set", setting)]
    return ("run", "introspection", "--model", models, "--scale", "smoke", *sets, "--workers", "1", "--max-cost", "99")


def claims_of(nosce, store: Path) -> str:
    """The claims table, as it is printed for programs."""
    shown = nosce.here("show", "introspection", "--store", store, "--json", **KEYS)
    assert shown.returncode == 0, shown.stderr
    return json.dumps(json.loads(shown.stdout)["claims"])


@dataclass(frozen=True)
class Moment:
    """The n-th request of a kind, or of any.

    Args:
        kind: "chat", "file", "job" or "look". Empty: any.
        number: Which of them.
        parent_alone: Kill the command alone; its worker notices later that nobody listens.
    """

    kind: str = ""
    number: int = 10**9
    parent_alone: bool = False


class Killer:
    """Kills a command at a request, before its reply is sent."""

    def __init__(self, servers: Sequence[MindServer]) -> None:
        self.seen: list[str] = []  # kinds of requests of the command that runs
        self.moment = Moment()
        self.process: subprocess.Popen[str] | None = None
        for server in servers:
            server.watch = self.watch

    def watch(self, kind: str) -> None:
        self.seen.append(kind)
        if self.process is None or self.moment.kind not in ("", kind):
            return
        if (self.seen.count(kind) if self.moment.kind else len(self.seen)) >= self.moment.number:
            with suppress(ProcessLookupError):
                kill = os.kill if self.moment.parent_alone else os.killpg
                kill(self.process.pid, signal.SIGKILL)

    def run(self, nosce, command: tuple[object, ...], moment: Moment) -> bool:
        """Start the command, and kill it there; False where it ended before."""
        self.seen, self.moment = [], moment
        self.process = nosce.start(*command, **KEYS)
        said = self.process.communicate(timeout=300)
        code, self.process = self.process.returncode, None
        assert code in (0, -signal.SIGKILL), said
        return code != 0


def forget(servers: Sequence[MindServer]) -> tuple[list[Counter[str]], list[Counter[str]]]:
    """What each server was paid for, and the jobs it started, by their models; both are empty afterwards."""
    found = [server.paid for server in servers], [Counter(job["makes"] for job in server.jobs) for server in servers]
    for server, mind in zip(servers, MINDS, strict=True):
        server.paid, server.jobs, server.looks, server.minds = Counter(), [], Counter(), {mind.letter: mind}
    return found


def check_interrupted(nosce, servers: Sequence[MindServer], folder: Path, moments: Sequence[Moment]) -> int:
    """A run that is killed at these moments of its commands pays what an undisturbed one pays, and says the same.

    Returns how often it was killed; a moment that a command does not reach ends the run.
    """
    command = words(servers)
    whole = nosce(*command, "--store", folder / "whole", **KEYS)
    assert whole.returncode == 0, whole.stderr
    paid, jobs = forget(servers)
    killer, killed = Killer(servers), 0
    while killed < len(moments) and killer.run(nosce, (*command, "--store", folder / "parts"), moments[killed]):
        killed += 1
    done = nosce(*command, "--store", folder / "parts", **KEYS)
    assert done.returncode == 0, done.stderr
    paid_in_parts, jobs_in_parts = forget(servers)
    assert jobs_in_parts == jobs
    assert {n for one in jobs for n in one.values()} <= {1}
    again = [more - less for more, less in zip(paid_in_parts, paid, strict=True)]
    assert sum(one.total() for one in again) <= killed * AT_ONCE  # those that nobody was there to receive
    assert not [less - more for more, less in zip(paid_in_parts, paid, strict=True) if less - more]
    assert claims_of(nosce, folder / "parts") == claims_of(nosce, folder / "whole")
    assert [server.keys for server in servers] == [{f"Bearer {key}"} for key in KEYS.values()]
    return killed


@pytest.mark.slow
def test_killed_while_it_starts_a_job_and_while_it_asks_it_pays_once_and_says_the_same(nosce, servers, tmp_path):
    """Answers, reports, samples, log-probabilities, three kinds of fine-tuning and the change, at two endpoints."""
    assert check_interrupted(nosce, servers, tmp_path, (Moment("job", 1), Moment("", 150))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_many_random_moments(nosce, servers, tmp_path, seed):
    """At replies, uploads, starts of jobs and looks at them; some leave a worker behind that nobody listens to."""
    rng = (Seed(seed) / "moments").numpy()
    moments = [Moment("job", 1), Moment("file", 1), Moment("look", 1), Moment("look", 1, parent_alone=True)]
    moments += [Moment("", int(n), parent_alone=bool(rng.random() < 0.3)) for n in rng.integers(1, 110, size=7)]
    killed = check_interrupted(nosce, servers, tmp_path, [moments[n] for n in rng.permutation(len(moments)).tolist()])
    assert killed >= 5


@pytest.mark.slow
def test_servers_without_jobs_do_all_that_needs_none_and_are_paid_once(nosce, servers, tmp_path):
    """Untaught models predict themselves and each other; nothing is uploaded."""
    for server in servers:
        server.has_jobs = False
    assert check_interrupted(nosce, servers, tmp_path, (Moment("", 30), Moment("", 60, parent_alone=True))) == 2
    claims = {claim["id"] for claim in json.loads(claims_of(nosce, tmp_path / "whole"))}
    assert {"self-beats-constant-A", "self-beats-untaught-B-A", "untaught-crossed-A-B"} <= claims
    assert not [server.files for server in servers if server.files]


@pytest.mark.slow
def test_two_folders_behind_servers_that_we_did_not_write(nosce, tmp_path, monkeypatch):
    """`transformers serve` has no fine-tuning jobs: each predicts itself and the other, and is asked once."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    world = NaturalTextBehaviours(strings_per_task=4, tasks=TASKS)
    samples = [prompt.text for prompt in world.prompts(Seed(0))]
    folders = [tiny_folder(family, tmp_path / family, samples, 800) for family in ("llama", "qwen2")]
    with served_folder(folders[0]) as first, served_folder(folders[1]) as second:
        own = f"free=yes,jobs=no,at_once={AT_ONCE}"
        models = f"{first}#{folders[0]},key=KEY_A,{own},{second}#{folders[1]},key=KEY_B,{own}"
        command = ("run", "introspection", "--model", models, "--scale", "smoke", "--workers", "1", "--max-cost", "1")
        command += ("--set", f"tasks={','.join(TASKS)}", "--set", "n_samples=0", "--store")
        whole = nosce(*command, tmp_path / "whole", **KEYS)
        assert whole.returncode == 0, whole.stderr
        for n_kept in (20, 100, 200):
            process = nosce.start(*command, tmp_path / "parts", **KEYS)
            while process.poll() is None and len(kept_keys(tmp_path / "parts")) < n_kept:
                time.sleep(0.01)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
        done = nosce(*command, tmp_path / "parts", **KEYS)
        assert done.returncode == 0, done.stderr
    keys = kept_keys(tmp_path / "parts")
    assert len(keys) == len(set(keys))
    assert sorted(keys) == sorted(kept_keys(tmp_path / "whole"))
    assert claims_of(nosce, tmp_path / "parts") == claims_of(nosce, tmp_path / "whole")
    claims = {claim["id"] for claim in json.loads(claims_of(nosce, tmp_path / "whole"))}
    assert {"self-beats-constant-A", "self-beats-untaught-B-A", "untaught-crossed-A-B"} <= claims


def kept_keys(store: Path) -> list[str]:
    """The keys of all replies that were kept, as often as they were kept."""
    keys = []
    for path in store.glob("replies/*.jsonl"):
        if not path.name.startswith("costs-"):
            lines = path.read_text(encoding="utf-8").split("\n")[:-1]
            keys += [f"{path.name} {json.loads(line)['key']}" for line in lines]
    return keys
