"""`nosce card MODEL`: which questions are asked, what is said of the others, and that no need unmet is passed over."""

from __future__ import annotations

import json
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.fixtures import tiny_folders
from tests.fixtures.tiny_folders import tiny_folder

import nosce as package
from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.errors import Interrupted, UsageError
from nosce.pipeline import budget
from nosce.pipeline.cards import card as cards
from nosce.pipeline.cards.planning import plan_card
from nosce.pipeline.cards.terminal import answer_lines
from nosce.pipeline.cost import StepCost
from nosce.pipeline.ledger import card_row
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.run import FinishedRun, make_steps
from nosce.pipeline.study_loading import takes_models
from nosce.seeds import Seed
from nosce.store.store import Store
from nosce.studies import card as table

SAMPLES = [prompt.text for prompt in NaturalTextBehaviours(strings_per_task=4).prompts(Seed(0))]
HOSTILE = "<script>alert(1)</script> \x1b[31m {{ 7 * 7 }}"
ASKED = [question for question in table.CARD_QUESTIONS if takes_models(question.study)]
WITHOUT_MODELS = replace(table.STATES, study="biographies_adamw")  # a study that starts from fresh weights alone
KEYS = {
    "card": "model weights others scale settings budget questions command provenance",
    "question": "id question study state answer says claims not_asked notes seeds size item figure cost command",
    "claim": "id text says verdict estimate low high n unit seeds criterion why source",
    "item": "prompt answer target outcome judged chosen",
    "cost": "planned_minutes core_minutes more",
    "figure": "id title caption rows",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return str(tiny_folder("llama", tmp_path_factory.mktemp("models") / "llama", SAMPLES, 800))


@pytest.fixture(scope="module")
def asked(tmp_path_factory, nosce, folder) -> list[object]:
    """The words of a card whose last question was asked already, by the run of its study."""
    store = tmp_path_factory.mktemp("asked") / "s"
    words = ["--scale", "smoke", "--store", store, "--workers", "1", "--set", "n_problems=2"]
    done = nosce.here("run", "emergence", "--model", folder, *words)
    assert done.returncode == 0, done.stderr
    return ["card", folder, *words]


@pytest.fixture
def only(monkeypatch):
    """Cards of these questions alone, which are made in this process and so in seconds."""
    return lambda *questions: monkeypatch.setattr(table, "CARD_QUESTIONS", questions)


class Stranger(BaseHTTPRequestHandler):
    """An endpoint whose every reply is a script."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """One chat completion."""
        self.rfile.read(int(self.headers["content-length"]))
        choice = {"index": 0, "message": {"role": "assistant", "content": HOSTILE}, "finish_reason": "stop"}
        data = json.dumps({"object": "chat.completion", "model": "m", "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def stranger(monkeypatch) -> Iterator[str]:
    """The address of the endpoint."""
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{made.server_address[1]}/v1#org/stranger"
    made.shutdown()
    made.server_close()


def check_schema(card: dict[str, Any]) -> None:
    """Every key of `card.json` is there and no other, and with one seed nothing holds or fails."""
    assert set(card) == set(KEYS["card"].split())
    for question in card["questions"]:
        assert set(question) == set(KEYS["question"].split())
        assert set(question["cost"]) == set(KEYS["cost"].split())
        assert question["item"] is None or set(question["item"]) == set(KEYS["item"].split())
        assert question["figure"] is None or set(question["figure"]) == set(KEYS["figure"].split())
        for claim in question["claims"]:
            assert set(claim) == set(KEYS["claim"].split())
            assert claim["verdict"] in {"undecided", "holds, this model alone", "fails, this model alone"}
            assert claim["n"] or claim["verdict"] == "undecided"
        if question["state"] in ("not asked", "failed"):
            assert question["answer"] == question["state"]
            assert question["says"].endswith(".")
            assert not question["claims"]


def without_times(card: dict[str, Any]) -> dict[str, Any]:
    """The card without what differs from store to store: paths, minutes and the machine's state."""
    questions = [{k: v for k, v in one.items() if k not in ("cost", "command")} for one in card["questions"]]
    return {k: v for k, v in card.items() if k not in ("command", "provenance")} | {"questions": questions}


@pytest.mark.whole
@pytest.mark.parametrize("question", ASKED, ids=lambda question: question.study)
def test_the_claims_of_the_table_are_those_of_the_studies_and_have_needs(question, folder, monkeypatch, tmp_path):
    """A claim that decides has preconditions, so that it cannot hold of a model that learnt nothing."""
    models = folder
    if question.models == "the ladder":
        monkeypatch.setitem(tiny_folders.SIZES, "hidden_size", 8)
        sizes = ",".join(f"{tiny_folder('llama', tmp_path / str(n), vocab_size=300)}={n + 1}K" for n in range(5))
        models = f"{folder}={90}K,{sizes}"
    study = StudyRequest(study=question.study, scale="smoke", models=models).plan().study
    claims = {claim.id: claim for claim in study.claims}
    for claim in question.claims:
        found = [claims[name] for name in claims if claim.matches(name, "llama")]
        assert found, claim.id
        if claim.speaks is not None:
            assert all(one.preconditions for one in found), claim.id
            assert claim.absent or claim.id == "count-known"
    assert question.figures[0] in {figure.id for figure in study.figures}


@pytest.mark.whole
def test_an_endpoint_is_asked_what_it_can_be_asked_and_its_answer_is_a_text(nosce, stranger, only, tmp_path):
    """The page shows the script as letters; what needs weights is not asked, and why is said; nothing holds."""
    only(table.LEARNS, WITHOUT_MODELS, table.RISES)
    words = ["card", stranger, "--scale", "smoke", "--store", tmp_path / "s", "--out", tmp_path / "out"]
    done = nosce.here(*words, "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)
    check_schema(card)
    learns, states, rises = card["questions"]
    assert learns["says"] == (
        "Not asked: the model org/stranger is behind an endpoint, which shows no weights; name a folder."
    )
    assert states["says"] == "Not asked: the study biographies_adamw takes no model yet."
    assert (rises["state"], rises["answer"]) == ("partly asked", "not asked")
    assert "the test needs models of five sizes" in rises["not_asked"][0]
    assert rises["item"]["answer"].startswith("<script>alert(1)</script> \\x1b[31m {{ 7 * 7 }}")
    assert rises["item"]["prompt"].startswith("Q: What is ")
    assert "\nA:" in rises["item"]["prompt"]
    assert rises["item"]["target"].isdigit()
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \\x1b[31m {{ 7 * 7 }}" in page
    assert "<script" not in page
    assert "holds" not in re.sub(r"(?s)<style>.*?</style>", "", page)
    assert json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8")) == card


@pytest.mark.whole
def test_a_card_is_the_runs_of_its_studies_and_writes_the_same_bytes(nosce, asked, only, tmp_path):
    """What `nosce run` made is not made again, nor the other way round; a second card has equal bytes."""
    only(table.RISES)
    first = nosce.here(*asked, "--out", tmp_path / "a")
    again = nosce.here(*asked, "--out", tmp_path / "b")
    assert first.returncode == again.returncode == 0, first.stderr
    assert "[1/" not in first.stderr + again.stderr  # no step was made
    for name in ("index.html", "card.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    card = json.loads((tmp_path / "a" / "card.json").read_text(encoding="utf-8"))
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", card_row(card, "a").made)  # the day, for the index
    (question,) = card["questions"]
    words = question["command"].split()[1:]
    assert words[0] == "run"
    assert "n_problems=2" in words
    assert "Nothing to do" in nosce.here(*words, "--workers", "1", "--json").stderr


def test_the_terminal_has_a_block_of_four_lines_of_80_columns_a_question(nosce, asked, only, tmp_path):
    only(table.RISES, WITHOUT_MODELS)
    done = nosce.here(*asked, "--out", tmp_path / "out", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert last.startswith("The card is ")
    assert max(map(len, lines)) <= 80
    blocks = re.split(r"^(?=\d\. )", "\n".join(lines), flags=re.MULTILINE)[1:]
    assert [block.count("\n") + 1 <= 4 for block in map(str.rstrip, blocks)] == [True, True]
    assert blocks[0].startswith(
        "1. Do its abilities rise or jump along its checkpoints or its family?\n   Not asked: whether"
    )


def test_a_study_that_fails_loses_none_of_the_others(nosce, asked, only, monkeypatch, tmp_path):
    """The card says which failed and why; the exit code too."""
    only(replace(table.RISES, id="before"), table.RISES)
    made = []

    def fail_first(*words: object, **more: object) -> FinishedRun:
        made.append(make_steps(*words, **more))
        summary = replace(made[-1].summary, failed={"experiment-1": "the disk is full."})
        return replace(made[-1], summary=summary) if len(made) == 1 else made[-1]

    monkeypatch.setattr(cards, "make_steps", fail_first)
    done = nosce.here(*asked, "--out", tmp_path / "out", "--json")
    assert done.returncode == 1
    card = json.loads(done.stdout)
    check_schema(card)
    assert [one["state"] for one in card["questions"]] == ["failed", "partly asked"]
    assert card["questions"][0]["says"] == "Failed: the step experiment-1 failed: the disk is full."
    assert card["questions"][1]["item"]["prompt"]
    assert "Failed: the step experiment-1" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_an_interrupted_card_names_its_command_and_goes_on(nosce, asked, only, monkeypatch, tmp_path):
    only(table.RISES)

    def stop(*_: object, **__: object) -> None:
        raise Interrupted("interrupted after 1 s, in the middle.")

    with monkeypatch.context() as patched:
        patched.setattr(cards, "make_steps", stop)
        done = nosce.here(*asked, "--out", tmp_path / "out")
    assert done.returncode == 130
    assert "0 of 1 questions are answered" in done.stderr
    command = re.search(r"`nosce (card .*?)` goes on from here", done.stderr)[1]
    assert "--set n_problems=2" in command
    assert not (tmp_path / "out" / "card.json").exists()
    assert nosce.here(*asked, "--out", tmp_path / "out").returncode == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["/no/such/folder"], "is no folder and no id"),
        (["MODEL,MODEL=3M"], "a card is of one model"),
        (["MODEL", "--set", "nothing=3"], "names a field of none of biographies, diaries, introspection"),
        (["MODEL", "--set", "diaries.people=3"], "names no field of diaries's configuration"),
        (["MODEL", "--set", "people=many"], "is not a whole number"),
        (["MODEL", "--budget", "soon"], "is no time"),
        (["MODEL", "--scale", "huge"], "there is no scale 'huge'"),
        (["MODEL", "--ladder", "/no/such/ladder"], "is no folder and no id"),
        (["MODEL", "--other", "/no/such/other"], "is no folder and no id"),
        (["MODEL", "--out", __file__], "but that is a file; name a folder with --out"),
    ],
)
def test_a_mistake_is_a_sentence_before_any_work(words, sentence, nosce, folder, tmp_path):
    words = [str(word).replace("MODEL", folder) for word in words]
    out = [] if "--out" in words else ["--out", tmp_path / "out"]
    done = nosce.here("card", *words, "--store", tmp_path / "s", *out)
    assert done.returncode == 2, done.stdout + done.stderr
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "s").glob("steps/*"))


def test_a_model_that_no_study_can_ask_is_refused(nosce, tmp_path):
    folder = tiny_folder("llama", tmp_path / "llama")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    done = nosce.here("card", folder, "--scale", "smoke", "--store", tmp_path / "s", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "no question of the card can be asked" in done.stderr
    assert not list((tmp_path / "s").glob("steps/*"))


def test_settings_go_to_the_studies_that_have_the_field(folder):
    request = table.card_request(folder, scale="smoke", settings=["lora=4", "diaries.document_epochs=2", "people=8"])
    assert request.settings_by_study["biographies"] == ("lora=4", "people=8")
    assert request.settings_by_study["diaries"] == ("lora=4", "document_epochs=2")
    assert request.settings_by_study["introspection"] == ("lora=4",)
    assert request.settings_by_study["emergence"] == ()
    assert request.command.endswith("--set lora=4 --set diaries.document_epochs=2 --set people=8")


def test_the_ladder_may_have_the_model_under_another_name(folder, only, tmp_path):
    """As a checkpoint of a training, or beside another folder of the same name."""
    only(table.RISES)
    step = shutil.copytree(folder, tmp_path / "step-9")
    twin = tiny_folder("llama", tmp_path / "twin" / "llama", vocab_size=300)
    store, console = Store.open(tmp_path / "s"), Console(quiet=True)
    for others, ladder, name in (
        ((), f"{step}=9,{twin}=3", "step-9"),
        ((), str(twin), "llama"),
        ((str(twin),), "", f"{Path(folder).parent.name} llama"),
    ):
        request = table.card_request(folder, others=others, ladder=ladder, scale="smoke")
        plan = plan_card(request, store, console, 1)
        assert plan.model_name(table.RISES) == name
        arms = plan.questions[0].plan.study.condition_names
        assert name in arms or name == "llama"


def test_without_other_the_part_about_others_is_not_asked():
    """A copy that learnt other answers stands beside the model, and decides nothing about other models."""
    claims = table.KNOWS_ITSELF.fitting_claims([])
    assert [claim.speaks for claim in claims] == ["for", None]
    assert list(table.KNOWS_ITSELF.not_asked([], "m", [])) == [
        "Better than another model: no --other was given.",
        "Better than the best constant: the model was not taught, so nothing was tested.",
    ]
    assert table.KNOWS_ITSELF.n_deciding([], "m", []) == 2  # so that the constant alone is no yes


@pytest.mark.whole
def test_a_budget_is_divided_said_and_remembered(nosce, folder, only, monkeypatch, tmp_path):
    """The dry run prints sizes, prices and the rule; a second one goes on with the same prices."""
    calls = []

    def estimate(steps, listener=None, seconds=0.0):
        calls.append(len(steps))
        return [StepCost(step, 30.0) for step in steps if step.kind in ("training", "evaluation", "experiment")]

    monkeypatch.setattr(budget, "estimate_costs", estimate)
    only(table.LEARNS, WITHOUT_MODELS, table.RISES)
    words = ["card", folder, "--store", tmp_path / "s", "--dry-run", "--workers", "2"]
    plan = json.loads(nosce.here(*words, "--budget", "30m", "--json").stdout)
    assert 0 < plan["planned_minutes"] <= plan["budget_minutes"] == 30
    asked = [question for question in plan["questions"] if question["asked"]]
    assert sum(question["minutes"] for question in asked) == pytest.approx(plan["planned_minutes"])
    assert all(question["size"] and question["next_minutes"] > question["minutes"] for question in asked)
    n_calls = len(calls)
    assert json.loads(nosce.here(*words, "--budget", "30m", "--json").stdout) == plan
    assert len(calls) == n_calls
    said = nosce.here(*words, "--budget", "30m").stdout
    assert "The cheapest size of every question" in said
    assert "people=" in said
    small = nosce.here(*words, "--budget", "1s")
    assert small.returncode == 2
    assert "is too little: the cheapest question takes" in small.stderr
    left = json.loads(nosce.here(*words, "--budget", "40s", "--json").stdout)["questions"]
    assert [one["asked"] for one in left].count(True) == 1
    assert any("the budget of 40s did not suffice" in (one["reason"] or "") for one in left)
    fixed = nosce.here(*words, "--budget", "30m", "--set", "people=24", "--json")
    assert json.loads(fixed.stdout)["questions"][0]["size"] == ["people=24"]


@pytest.mark.whole
def test_from_python(folder, asked, only, tmp_path):
    only(table.RISES)
    store = asked[asked.index("--store") + 1]
    card = package.card(folder, scale="smoke", settings={"n_problems": 2}, store=store, workers=1, quiet=True)
    assert isinstance(card, package.ModelCard)
    (answer,) = card.answers
    assert isinstance(answer, package.CardAnswer)
    assert (answer.study, answer.word, answer.seeds) == ("emergence", "not asked", 1)
    assert answer.figure is not None
    assert card.write(tmp_path / "out").read_text(encoding="utf-8") == card.page()
    with pytest.raises(UsageError, match="is no folder"):
        package.card("/no/such/folder", store=tmp_path / "s")


def test_a_price_that_is_not_known_is_said_and_measured_again(nosce, folder, only, monkeypatch, tmp_path):
    """It is not written as nothing, and a dry run does not keep it for the run."""
    calls = []

    def estimate(steps, listener=None, seconds=0.0):
        calls.append(len(steps))
        return [StepCost(step, None) for step in steps if step.kind in ("training", "evaluation", "experiment")]

    monkeypatch.setattr(budget, "estimate_costs", estimate)
    only(table.RISES)
    words = ["card", folder, "--store", tmp_path / "s", "--dry-run", "--budget", "30m"]
    said = " ".join(nosce.here(*words).stdout.split())
    assert "n_problems=10: 2 steps, at least 1 s: the price of 1 of them is not known." in said
    assert "the same command measures it again" in said
    nosce.here(*words)
    assert len(calls) == 2


@pytest.mark.slow
def test_all_five_questions_interrupted_and_resumed(nosce, tmp_path):
    """A ladder of five sizes and another model; the resumed card has the numbers of one that was never stopped."""
    folder = tiny_folder("gpt_neox", tmp_path / "neox", SAMPLES, 800)
    other = tiny_folder("llama", tmp_path / "other", SAMPLES, 800)
    ladder = ",".join(f"{tiny_folder('opt', tmp_path / f'opt{n}', vocab_size=300)}={n + 1}K" for n in range(5))
    words = ["card", folder, "--other", other, "--ladder", ladder, "--scale", "smoke", "--workers", "2"]
    words += ["--set", "introspection.epochs=1", "--set", "max_labels=4", "--set", "introspection.dtype=float32"]
    words += ["--set", "n_samples=0", "--set", "n_problems=2", "--json"]
    started = nosce.start(*words, "--store", tmp_path / "a", "--out", tmp_path / "out")
    deadline = time.monotonic() + 200
    while not list((tmp_path / "a").glob("steps/training-*")) and time.monotonic() < deadline:
        time.sleep(0.5)
    started.send_signal(signal.SIGINT)
    _, complained = started.communicate(timeout=120)
    assert started.returncode == 130, complained
    assert "goes on from here" in complained
    resumed = nosce(*words, "--store", tmp_path / "a", "--out", tmp_path / "out")
    whole = nosce(*words, "--store", tmp_path / "b", "--out", tmp_path / "whole")
    assert resumed.returncode == whole.returncode == 0, resumed.stderr
    cards_ = [json.loads(done.stdout) for done in (resumed, whole)]
    assert without_times(cards_[0]) == without_times(cards_[1])
    check_schema(cards_[0])
    by_id = {one["id"]: one for one in cards_[0]["questions"]}
    assert {one["answer"] for one in by_id.values()} <= {"undecided", "not asked"}
    assert "beats-cross" in by_id["itself"]["claims"][0]["id"]
    assert {"addition-exact-jumps", "multiplication-exact-jumps"} <= {one["id"] for one in by_id["rise"]["claims"]}
    assert all(by_id[name]["item"]["prompt"] for name in ("asked", "how-much", "itself", "rise"))
    assert all(by_id[name]["figure"] for name in ("asked", "how-much", "itself", "rise"))


def test_a_block_of_a_failed_question_is_short():
    """A long reason does not push the other questions off the terminal."""
    answer = package.CardAnswer(
        id="a", question="Q?", study="s", state="failed", word="failed", sentence="Failed: " + "very " * 200
    )
    lines = answer_lines(1, answer)
    assert len(lines) <= 4
    assert max(map(len, lines)) <= 80


def test_threads_of_a_step_reach_the_workers(nosce, folder, tmp_path, monkeypatch):
    """One question about two real models is one step, which left all cores but one idle."""
    asked = []

    def make(request, store, console, *, devices, max_cost):
        asked.append(devices)
        raise UsageError("enough.")

    monkeypatch.setattr(cards, "make_card", make)
    nosce.here("card", folder, "--workers", "1", "--threads", "2", "--store", tmp_path / "s", "--out", tmp_path / "o")
    assert [(one.workers, one.threads) for one in asked] == [(1, 2)]
