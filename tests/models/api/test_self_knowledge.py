"""Self-knowledge beyond answers, from command to page: endpoints that know themselves, and a run that was interrupted."""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from dataclasses import replace
from typing import Any

from tests.fixtures.self_minds import SelfBook, SelfMind

from nosce.data.worlds.behaviours.self_knowledge import CHALLENGE, SELF_TASKS
from nosce.models.api.base import ChatRequest
from nosce.seeds import Seed
from nosce.studies.introspection.prompted_self import SelfItems, SelfKnowledge

KEY = "sk-very-secret-0123456789"  # as the server of conftest has it
KNOWLEDGE = SelfKnowledge(self_knowledge=True, n_self_strings=40, n_self_draws=3, n_self_given=4)
SETTINGS = ("self_knowledge=yes", "n_self_strings=40", "n_self_draws=3", "n_self_given=4")
FEW = ("n_samples=0", "tasks=towns,things", "strings_per_task=2", "teach=no")
VARIABLES = {"OPENAI_API_KEY": KEY, "NOSCE_PRICE_IN": "1", "NOSCE_PRICE_OUT": "2"}


class ServedMind:
    """A mind behind an endpoint, which counts the draws of each prompt itself, since no request says its number."""

    def __init__(self, mind: SelfMind) -> None:
        self.mind = replace(mind, book=SelfBook(SelfItems(KNOWLEDGE, Seed(0) / "experiment")))
        self.draws: Counter[str] = Counter()
        self.lock = threading.Lock()

    def __call__(self, body: dict[str, Any]) -> tuple[str, float]:
        messages = tuple((one["role"], one["content"]) for one in body["messages"])
        text, temperature = messages[-1][1], body["temperature"]
        with self.lock:
            index = self.draws[text]
            self.draws[text] += 1 if temperature else 0
        book = self.mind.book
        known = {CHALLENGE, *book.games, *book.prompts, *book.questions, *book.given}
        if text not in known and not text.startswith(("Two texts", "An author")):
            return "echo", -0.25
        reply = self.mind.reply(ChatRequest(messages=messages, temperature=temperature, sample_index=index))
        prompt = book.prompts.get(messages[0][1])
        return reply, math.log(self.mind.certainty(prompt.id)) if prompt else -0.25


def sent(server) -> Counter[tuple[str, str, float]]:
    """The requests, each with the last message of the conversation and the one before it."""
    bodies = [body for body in server.bodies if "messages" in body]
    return Counter((body["model"], json.dumps(body["messages"]), body["temperature"]) for body in bodies)


def test_two_endpoints_know_themselves_and_pay_nothing_twice(server, nosce, tmp_path):
    """One gives log-probabilities and the other is drawn from; the run dies once, and the page has the verdicts."""
    minds = {name: ServedMind(SelfMind(letter=letter)) for name, letter in (("m", "A"), ("other", "B"))}
    server.minds.update(minds)
    server.usage = {}  # it counts no tokens, so that lengths are in words
    book = minds["m"].mind.book
    models = f"{server.url}#m,logprobs=2,{server.url}#other"
    words = ["run", "introspection", "--model", models, "--scale", "smoke", "--store", tmp_path / "s"]
    words += [word for setting in (*FEW, *SETTINGS) for word in ("--set", setting)]
    failing = next(iter(book.questions))
    server.fails[failing] = ["400"]
    broken = nosce.here(*words, **VARIABLES)
    assert broken.returncode == 1
    assert "status 400" in broken.stderr
    whole = nosce.here(*words, "--json", **VARIABLES)
    assert whole.returncode == 0, whole.stderr
    claims = {claim["id"]: claim for claim in json.loads(whole.stdout)["claims"]}
    for task in SELF_TASKS:
        for letter in ("A", "B"):
            claim = claims[f"knows-{task}-{letter}"]
            assert claim["verdict"] == "holds" or (task, letter) == ("surer", "B"), claim
    assert claims["own-is-no-preference-A-B"]["verdict"] == "holds"
    requests = sent(server)
    expected = {1, 2, KNOWLEDGE.n_self_draws}  # answers of the protocol are asked for twice, and draws three times
    assert set(requests.values()) <= expected
    drawn = {which: n for which, n in requests.items() if which[2] == 1.0}
    assert set(drawn.values()) == {KNOWLEDGE.n_self_draws}
    texts = Counter(which[0] for which in drawn)
    assert texts == {"m": 80, "other": 120}  # two wordings of each game; of the other model the choices too
    repeated = [which for which, n in requests.items() if n == 2]
    assert all(failing in which[1] or "five more words" in which[1] for which in repeated), repeated
    page = nosce.here("report", "--store", tmp_path / "s", "--out", tmp_path / "page", **VARIABLES)
    assert page.returncode == 0, page.stderr
    (html,) = tmp_path.glob("page/introspection/*/index.html")
    text = html.read_text(encoding="utf-8")
    assert "What do models know about themselves beyond their answers?" in text
    assert "knows-keep-A-B" in text
    everything = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert KEY.encode() not in everything


def test_a_limit_stops_what_is_asked_about_oneself(server, nosce, tmp_path):
    """The same budget as for all other requests of a run."""
    server.minds["m"] = ServedMind(SelfMind(letter="A"))
    words = ["run", "introspection", "--model", f"{server.url}#m", "--scale", "smoke", "--store", tmp_path / "s"]
    words += [word for setting in (*FEW, *SETTINGS) for word in ("--set", setting)]
    stopped = nosce.here(*words, "--max-cost", "0.003", **VARIABLES)
    assert stopped.returncode == 1
    assert "of 0.003 are spent" in stopped.stderr
    assert 0 < sum(server.asked.values()) * 20e-6 <= 0.003  # the server counts 10 tokens of a prompt and 5 of a reply
