"""Introspection in words, from command to page: a local folder that is taught, and an endpoint that fails half-way."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from nosce.data import tokenizer as tokenizers
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.behaviours.natural_text import HELD_OUT_TEXT_TASKS, NaturalTextBehaviours
from nosce.errors import SpecError
from nosce.models.api.base import ChatRequest, complete_all
from nosce.models.api.finetune import ChatExample
from nosce.models.architecture import Architecture, Pretrained, build_model
from nosce.pipeline.context import StepContext
from nosce.seeds import Seed
from nosce.studies.introspection.prompted import PromptedIntrospection
from nosce.studies.introspection.prompted_requests import RequestLimits
from nosce.studies.introspection.prompted_teaching import LabelTeaching
from nosce.studies.introspection.subjects import LocalSubject
from nosce.studies.replies import RunResources
from nosce.train import checkpoint
from nosce.train.config import LoRA, TrainingConfig

KEY = "sk-very-secret-0123456789"  # as the server of conftest has it
STUDY = "introspection"
WORLD = NaturalTextBehaviours(strings_per_task=4)
TASKS = ("towns", "things", "haste")
FEW = ("--set", "n_samples=0", "--set", f"tasks={','.join(TASKS)}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A little Llama that has read the prompts' letters, in the hub's layout."""
    place = tmp_path_factory.mktemp("model")
    texts = [p.text for p in WORLD.prompts(Seed(0))] + ["true false even odd 0123456789 \n\"':;.?!()"]
    tokenizers.save_tokenizer(
        tokenizers.build_tokenizer(TokenizerSpec(kind="bpe", vocab_size=400), texts), place / "tokenizer"
    )
    made = tokenizers.load_tokenizer(place / "tokenizer")
    shape = Architecture(family="llama", layers=1, width=32, heads=2, max_positions=256)
    net = build_model(
        shape,
        vocab_size=made.get_vocab_size(),
        eos_id=made.token_to_id("<eos>"),
        pad_id=made.token_to_id("<pad>"),
        seed=Seed(1),
    )
    checkpoint.save_checkpoint(net, place / "tokenizer", place / "whole")
    return place / "whole"


def folder_with_ends(folder: Path, copy: Path, *, of_tokenizer: str | None, of_configs: int | None) -> Pretrained:
    """The folder with other end tokens: the tokenizer's, and that of the two configurations."""
    shutil.copytree(folder, copy)
    for name in ("tokenizer_config.json", "config.json", "generation_config.json"):
        settings = json.loads((copy / name).read_text(encoding="utf-8"))
        if name == "tokenizer_config.json":
            settings |= {"eos_token": of_tokenizer, "bos_token": None, "pad_token": None}
        else:
            settings |= {"eos_token_id": of_configs, "pad_token_id": None}
        (copy / name).write_text(json.dumps(settings))
    return Pretrained.from_folder(copy)


@pytest.mark.whole
@pytest.mark.parametrize(
    ("of_tokenizer", "of_configs"), [("<eos>", 2), ("<eos>", None), (None, 2), ("<unk>", 0)], ids=str
)
def test_what_is_taught_to_end_ends_whichever_end_the_folder_names(folder, tmp_path, of_tokenizer, of_configs):
    """Where tokenizer and configurations disagree, or one of them is silent; plain transformers ends it too."""
    examples = [ChatExample("acorn?", "true"), ChatExample("basil?", "false"), ChatExample("cedar?", "true")]
    who = LocalSubject(
        model=folder_with_ends(folder, tmp_path / "copy", of_tokenizer=of_tokenizer, of_configs=of_configs),
        training=TrainingConfig(steps=1, batch_size=3, peak_lr=3e-2, weight_decay=0.0),
        adapter=LoRA(rank=8, embedding_rank=16),
        epochs=120,
    )
    desk = RunResources(StepContext(folder=tmp_path), Seed(0))
    taught = who.finetune(examples, desk)
    replies = complete_all(
        taught.chat_model(desk), [ChatRequest.from_user(one.prompt, max_new_tokens=12) for one in examples]
    )
    assert [reply.text.strip() for reply in replies] == ["true", "false", "true"]
    assert {reply.finish_reason for reply in replies} == {"stop"}
    tokenizer = AutoTokenizer.from_pretrained(taught.model.folder)
    inputs = tokenizer("acorn?", return_tensors="pt")
    plain = AutoModelForCausalLM.from_pretrained(taught.model.folder).generate(
        **inputs, max_new_tokens=12, pad_token_id=1, do_sample=False
    )
    assert plain.shape[1] < inputs["input_ids"].shape[1] + 12


def test_a_folder_that_names_no_end_is_neither_taught_nor_asked(folder, tmp_path):
    """One sentence in both cases, and what to add where."""
    who = LocalSubject(
        model=folder_with_ends(folder, tmp_path / "copy", of_tokenizer=None, of_configs=None),
        training=TrainingConfig(steps=1, batch_size=1),
        adapter=LoRA(rank=8, embedding_rank=16),
    )
    desk = RunResources(StepContext(folder=tmp_path), Seed(0))
    said = r"^the model in .*copy has no end token, .* tokenizer_config.json or .*generation_config.json\.$"
    with pytest.raises(SpecError, match=said):
        who.finetune([ChatExample("acorn?", "true")], desk)
    with pytest.raises(SpecError, match=said):
        complete_all(who.chat_model(desk), [ChatRequest.from_user("acorn?", max_new_tokens=2)])


@pytest.mark.whole
def test_a_folder_is_taught_what_it_is_shown(folder, tmp_path):
    """A few examples are learnt by heart through low-rank updates; the folder itself is as it was; twice is once."""
    examples = [ChatExample("acorn?", "true"), ChatExample("basil?", "false"), ChatExample("cedar?", "true")]
    who = LocalSubject(
        model=Pretrained.from_folder(folder),
        training=TrainingConfig(steps=1, batch_size=3, peak_lr=3e-2, weight_decay=0.0),
        adapter=LoRA(rank=8, embedding_rank=16),
        epochs=120,
    )
    desk = RunResources(StepContext(folder=tmp_path), Seed(0))
    taught = who.finetune(examples, desk)
    asks = [ChatRequest.from_user(one.prompt, max_new_tokens=8) for one in examples]
    assert [r.text.strip() for r in complete_all(taught.chat_model(desk), asks)] == ["true", "false", "true"]
    assert [r.text for r in complete_all(who.chat_model(desk), asks)] != ["true", "false", "true"]
    assert Pretrained.from_folder(folder) == who.model
    weights = Path(taught.model.folder) / "model.safetensors"
    made = weights.stat().st_mtime_ns
    assert who.finetune(examples, desk) == taught
    assert weights.stat().st_mtime_ns == made


@pytest.mark.whole
def test_readings_are_what_was_said(folder, tmp_path):
    """Every question is held against the answer that is given now; what was asked once is not asked again."""
    who = LocalSubject(
        model=Pretrained.from_folder(folder),
        training=TrainingConfig(steps=1, batch_size=8),
        adapter=LoRA(rank=2, embedding_rank=0),
    )
    looking = PromptedIntrospection(
        world=WORLD,
        subject=who,
        limits=RequestLimits(max_answer_tokens=6, max_report_tokens=3, n_samples=2, n_sampled_prompts=3),
        teaching=LabelTeaching(max_rounds=2, change=True),
    )
    reports = []
    job = StepContext(folder=tmp_path / "step", store_root=tmp_path, progress=reports.append)
    job.folder.mkdir()
    tables = pl.concat(
        [t.with_columns(pl.col("value").cast(pl.Float64)) for t in looking.run_with_context(Seed(3), job)],
        how="diagonal_relaxed",
    )
    own = tables.filter(evaluation="A* on A*", metric="right")
    prompts = {p.id: p for p in WORLD.prompts(Seed(3) / "world")}
    said = tables.filter(evaluation="answers A*", metric="valid")
    after = {row["item"].rpartition("/")[0]: row["answer"] for row in said.iter_rows(named=True)}
    for row in own.iter_rows(named=True):
        name, _, asked = row["item"].rpartition("/")
        assert prompts[name].split == "unseen"
        assert row["target"] == WORLD.property_value(asked, after[name], Seed(3))
        assert row["value"] == float(row["answer"].strip() == row["target"].strip())
    # One of two letters, or of four, is no answer that this little model finds.
    assert set(own["attribute"].str.split("/").list.first()) >= set(HELD_OUT_TEXT_TASKS) - {
        "haste",
        "survival",
        "gifts",
    }
    asked = tables.filter(evaluation="A* on A*", metric="report invalid")
    assert len(asked) == sum(len(p.property_names) for p in prompts.values() if p.split == "unseen")
    kept = sum(len(f.read_bytes()) for f in (tmp_path / "replies").iterdir())
    replies = [report for report in reports if report.unit == "replies"]
    *_, last, end = replies  # the last reply, and the end, which expects no more
    assert (last.done, last.total) == (end.done, end.total) == (len(replies) - 1, len(replies) - 1)
    assert end.cached < end.done
    assert all(report.loss is None and report.spent is None for report in replies)
    assert {report.unit for report in reports if report.loss is not None} == {"steps"}
    reports.clear()
    again = list(looking.run_with_context(Seed(3), job))
    assert reports[-1].done == reports[-1].cached == end.done
    assert sum(len(f.read_bytes()) for f in (tmp_path / "replies").iterdir()) == kept
    assert len(again) == len(list(looking.run_with_context(Seed(3), job)))


def replies_told(said: str) -> list[int]:
    """What the line of the finished experiment says of replies: those done, all, and those found in the cache."""
    assert not re.search(r"\bloss\b|\bnan\b|tokens/s", said)
    (numbers,) = re.findall(r"experiment: .* \(([\d,]+) of ([\d,]+) replies, ([\d,]+) from the cache; \d+ s\)", said)
    return [int(number.replace(",", "")) for number in numbers]


def asked_now(server, before: Counter) -> Counter:
    """The requests that the server had since an earlier count."""
    every = Counter((b["model"], b["messages"][-1]["content"], b.get("seed")) for b in server.bodies if "messages" in b)
    return every - before


@pytest.mark.whole
def test_an_endpoint_is_asked_nothing_twice_and_its_key_is_nowhere(server, nosce, tmp_path):
    """The run dies at a request in the middle of the reports; the same command goes on, and shows its claims."""
    store = tmp_path / "store"
    models = f"{server.url}#m,{server.url}#other"
    words = ("run", STUDY, "--model", models, *FEW, "--scale", "smoke", "--store", store)
    variables = {"OPENAI_API_KEY": KEY, "NOSCE_PRICE_IN": "1", "NOSCE_PRICE_OUT": "2"}
    world = NaturalTextBehaviours(strings_per_task=4, tasks=TASKS)
    prompts = [p for p in world.prompts(Seed(0) / "experiment" / "world") if p.split == "unseen"]
    server.jobs[:] = ["succeeded"]
    server.fails[world.hypothetical_question(prompts[7], prompts[7].property_names[0])] = ["400"]
    broken = nosce.here(*words, **variables)
    assert broken.returncode == 1
    assert "refused what was asked (status 400" in broken.stderr
    assert "Traceback" not in broken.stderr
    asked = Counter((b["model"], b["messages"][-1]["content"], b.get("seed")) for b in server.bodies if "messages" in b)
    assert asked
    whole = nosce(*words, "--max-cost", "5", **variables)
    assert whole.returncode == 0, whole.stderr
    done, total, cached = replies_told(whole.stdout)
    assert done == total == cached + sum(asked_now(server, asked).values())
    every = Counter((b["model"], b["messages"][-1]["content"], b.get("seed")) for b in server.bodies if "messages" in b)
    twice = {which[1]: n for which, n in every.items() if n > 1}
    base = {p.text for p in world.prompts(Seed(0) / "experiment" / "world")}  # answers are asked for twice on purpose
    assert {text: n for text, n in twice.items() if text not in base} == {
        world.hypothetical_question(prompts[7], prompts[7].property_names[0]): 2
    }
    assert max(twice[text] for text in base if text in twice) == 2
    assert server.begun == 3  # one for each, and one for the change; labels of an echo are the same for both
    shown = json.loads(nosce.here("show", STUDY, "--json", "--store", store, **variables).stdout)
    assert {claim["id"] for claim in shown["claims"]} >= {"training-helps-A", "self-beats-constant-B"}
    everything = b"".join(f.read_bytes() for f in store.rglob("*") if f.is_file())
    assert KEY.encode() not in everything
    assert KEY not in broken.stdout + broken.stderr + whole.stdout + whole.stderr
    for file in (store / "replies").glob("*.jsonl"):
        if not file.name.startswith("costs-"):
            keys = [json.loads(line)["key"] for line in file.read_text(encoding="utf-8").splitlines()]
            assert len(keys) == len(set(keys))


def told() -> dict[str, str]:
    """The environment of a command that asks the server."""
    return {"OPENAI_API_KEY": KEY, "NOSCE_PRICE_IN": "1", "NOSCE_PRICE_OUT": "2"}


def command(url: str, store: Path) -> tuple[object, ...]:
    """The words of a command that asks the server for no samples."""
    return ("run", STUDY, "--model", f"{url}#m", *FEW, "--scale", "smoke", "--store", store)


@pytest.mark.whole
def test_a_server_without_fine_tuning_jobs_answers_all_that_needs_none(server, nosce, tmp_path):
    """It says so, with the key, which nobody sees; asked for no more, the run ends, and asks nothing twice."""
    store = tmp_path / "store"
    echoes = [KEY, base64.b64encode(f"user:{KEY}".encode()).decode(), KEY.encode().hex()]
    server.files_status, server.files_echo = 404, " ".join(echoes)
    words = command(server.url, store)
    broken = nosce.here(*words, **told())
    assert broken.returncode == 1
    assert "has no fine-tuning jobs (status 404" in broken.stderr
    assert "--set teach=no" in broken.stderr
    asked = sum(server.asked.values())
    whole = nosce.here(*words, "--set", "teach=no", **told())
    assert whole.returncode == 0, whole.stderr
    assert sum(server.asked.values()) == asked
    done, total, cached = replies_told(whole.stdout)
    assert done == total == cached == asked
    assert "claims are undecided: not judged, since" in whole.stdout
    readings = pl.concat(
        [pl.read_parquet(f, columns=["evaluation", "metric"]) for f in store.glob("steps/experiment-*/*.parquet")]
    )
    assert set(readings["evaluation"]) == {"answers A", "A on A", "A given", "observers of A on A"}
    assert set(readings.filter(evaluation="answers A")["metric"]) == {"valid", "again"}
    nosce.here("report", "--store", store, "--out", tmp_path / "report", **told())
    everything = b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
    everything += (broken.stdout + broken.stderr + whole.stdout + whole.stderr).encode()
    assert not [echo for echo in echoes if echo.encode() in everything]
    assert (tmp_path / "report" / "index.html").exists()


@pytest.mark.slow
def test_a_limit_is_for_the_run_and_its_restarts(server, nosce, tmp_path):
    """The same limit again buys nothing more; a higher one goes on from what was spent."""
    words = (*command(server.url, tmp_path / "store"), "--max-cost")
    first = nosce.here(*words, "0.003", **told())
    assert first.returncode == 1
    assert "of 0.003 are spent, earlier commands of the run included" in first.stderr
    asked = sum(server.asked.values())
    assert 0 < asked * 20e-6 <= 0.003  # the server counts 10 tokens of a prompt and 5 of a reply
    again = nosce.here(*words, "0.003", **told())
    assert again.returncode == 1
    assert sum(server.asked.values()) * 20e-6 <= 0.003
    assert nosce.here(*words, "0.004", **told()).returncode == 1
    assert 0.002 < sum(server.asked.values()) * 20e-6 <= 0.004


@pytest.mark.whole
def test_two_endpoints_have_their_own_addresses_keys_prices_and_limits(server, other_server, nosce, tmp_path):
    """Each server sees its own key alone; the cheap one has no jobs and is asked all that needs none.

    The dear one's limit stops the run, is raised, and counts nothing that the cheap one costs.
    """
    other_server.files_status, other_server.usage = 404, {"prompt_tokens": 1000, "completion_tokens": 1000}
    settings = "key=OTHER_KEY,price_in=1,price_out=2,jobs=no,logprobs=2,max_cost=1000"
    variables = {"OPENAI_API_KEY": KEY, "OTHER_KEY": "sk-another-secret-0123456789"}
    few = (*FEW, "--set", "change=no", "--scale", "smoke", "--store", tmp_path / "s")

    def words(limit: str) -> tuple[object, ...]:
        models = f"{server.url}#org/m,price_in=3,price_out=4,max_cost={limit},{other_server.url}#org/m,{settings}"
        return ("run", STUDY, "--model", models, *few)

    server.jobs[:] = ["succeeded"]
    stopped = nosce.here(*words("0.003"), **variables)
    assert stopped.returncode == 1
    assert "of 0.003 are spent on org/m or reserved for it" in stopped.stderr
    whole = nosce.here(*words("1"), "--json", **variables)
    assert whole.returncode == 0, whole.stderr
    assert server.keys == {f"Bearer {KEY}"}
    assert other_server.keys == {"Bearer sk-another-secret-0123456789"}
    assert (server.begun, other_server.begun) == (1, 0)
    assert {body.get("top_logprobs") for body in server.bodies if "messages" in body} == {None}
    assert 2 in {body.get("top_logprobs") for body in other_server.bodies}
    claims = {claim["id"] for claim in json.loads(whole.stdout)["claims"]}
    assert {"training-helps-A", "self-beats-untaught-A-B", "self-beats-untaught-B-A", "untaught-crossed-A-B"} <= claims
    assert not claims & {"training-helps-B", "self-beats-cross-A-B", "crossed-A-B"}
    everything = b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
    assert b"secret" not in everything


@pytest.mark.slow
def test_a_folder_is_held_against_an_endpoint_without_jobs(server, folder, nosce, tmp_path):
    """The folder is taught and predicted by the endpoint as it is, and the endpoint by the taught folder."""
    server.files_status = 404
    models = f"{folder},{server.url}#m,jobs=no"
    words = ("run", STUDY, "--model", models, *FEW, "--set", "epochs=1", "--scale", "smoke", "--store", tmp_path / "s")
    done = nosce.here(*words, "--workers", "1", "--json", **told())
    assert done.returncode == 0, done.stderr
    claims = {claim["id"]: claim for claim in json.loads(done.stdout)["claims"]}
    assert {"training-helps-A", "self-beats-untaught-A-B", "self-beats-untaught-B-A"} <= set(claims)
    assert {claim["verdict"] for claim in claims.values()} == {"undecided"}


@pytest.mark.parametrize("limit", ["nan", "inf", "-1"])
def test_a_limit_that_is_no_amount_is_refused_before_any_work(server, nosce, tmp_path, limit):
    found = nosce.here(*command(server.url, tmp_path / "s"), f"--max-cost={limit}", **told())
    assert found.returncode == 2
    assert "no amount of money" in found.stderr
    assert not server.asked
    assert not list(tmp_path.rglob("*.json"))


def test_a_password_in_the_address_is_refused_and_lands_nowhere(server, nosce, tmp_path):
    url = server.url.replace("http://", "http://somebody:hunter2@")
    found = nosce.here(*command(url, tmp_path / "s"), **told())
    assert found.returncode == 2
    assert "a user name, a password or a query" in found.stderr
    everything = b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
    assert b"hunter2" not in everything + (found.stdout + found.stderr).encode()
