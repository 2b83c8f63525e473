"""Self-knowledge beyond answers, from the command on: endpoints that know themselves, and an interrupted run."""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from tests.fixtures.self_minds import SelfBook, SelfMind

from nosce.data.worlds.behaviours.self_knowledge import CHALLENGE
from nosce.models.api.base import ChatRequest
from nosce.seeds import Seed
from nosce.studies.introspection.prompted_self import SelfItems, SelfKnowledge

KEY = "sk-very-secret-0123456789"  # as the server of conftest has it
KNOWLEDGE = SelfKnowledge(self_knowledge=True, n_self_strings=24, n_self_draws=3, n_self_given=4)
SETTINGS = ("self_knowledge=yes", "n_self_strings=24", "n_self_draws=3", "n_self_given=4")
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
    """The requests by model, conversation and temperature."""
    requests: Counter[tuple[str, str, float]] = Counter()
    for body in (body for body in server.bodies if "messages" in body):
        conversation = "\n".join(message["content"] for message in body["messages"])
        requests[body["model"], conversation, body["temperature"]] += 1
    return requests


@pytest.mark.whole
def test_two_endpoints_know_themselves_and_pay_nothing_twice(server, nosce, tmp_path):
    """One gives log-probabilities and the other is drawn from; the run dies once, and its verdicts are as planted."""
    minds = {name: ServedMind(SelfMind(letter=letter)) for name, letter in (("m", "A"), ("other", "B"))}
    server.minds.update(minds)
    server.usage = {}  # it counts no tokens, so that lengths are in words
    book = minds["m"].mind.book
    models = f"{server.url}#m,logprobs=2,timeout=250,{server.url}#other,timeout=250"  # a busy machine is slow
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
    held = [claims[f"knows-{task}-{letter}"] for task in ("keep", "copies", "length", "own") for letter in "AB"]
    assert {claim["verdict"] for claim in held} == {"holds"}, held
    (table,) = (tmp_path / "s").glob("steps/estimates-*/readings.parquet")
    surer = pl.read_parquet(table).filter(metric="right")
    assert surer.filter(evaluation="A on A surer")["value"].mean() == 1
    assert len(surer.filter(evaluation="B on B surer"))  # by three draws, which say little
    assert claims["own-is-no-preference-A-B"]["verdict"] == "holds"
    requests = sent(server)
    expected = {1, 2, KNOWLEDGE.n_self_draws}  # answers of the protocol are asked for twice, and draws three times
    assert set(requests.values()) <= expected
    drawn = {which: n for which, n in requests.items() if which[2] == 1.0}
    assert set(drawn.values()) == {KNOWLEDGE.n_self_draws}
    texts = Counter(which[0] for which in drawn)
    assert texts == {"m": 48, "other": 72}  # two wordings of each game; of the other model the choices too
    repeated = [which for which, n in requests.items() if n == 2]
    assert all(which[1] == failing or "five more words" in which[1] for which in repeated), repeated
    everything = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert KEY.encode() not in everything


@pytest.mark.whole
def test_a_limit_stops_what_is_asked_about_oneself(server, nosce, tmp_path):
    """The same budget as for all other requests of a run."""
    server.minds["m"] = ServedMind(SelfMind(letter="A"))
    words = ["run", "introspection", "--model", f"{server.url}#m", "--scale", "smoke", "--store", tmp_path / "s"]
    words += [word for setting in (*FEW, *SETTINGS) for word in ("--set", setting)]
    stopped = nosce.here(*words, "--max-cost", "0.003", **VARIABLES)
    assert stopped.returncode == 1
    assert "of 0.003 are spent" in stopped.stderr
    assert 0 < sum(server.asked.values()) * 20e-6 <= 0.003  # the server counts 10 tokens of a prompt and 5 of a reply
