"""Introspection in words, from command to page: a local folder that is taught, and an endpoint that fails half-way."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from nosce.data import tokenizer as tokenizers
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.behaviours.natural_text import HELD_OUT, Texts
from nosce.models.api.base import Ask, all_replies
from nosce.models.api.finetune import Example
from nosce.models.architecture import Architecture, Pretrained, build
from nosce.pipeline.context import Job
from nosce.seeds import Seed
from nosce.studies.introspection.prompted import Looking
from nosce.studies.introspection.subjects import Desk, Folder
from nosce.train import checkpoint
from nosce.train.config import LoRA, Recipe

KEY = "sk-very-secret-0123456789"  # as the server of conftest has it
WORLD = Texts(strings=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A little Llama that has read the prompts' letters, in the hub's layout."""
    place = tmp_path_factory.mktemp("model")
    texts = [p.text for p in WORLD.prompts(Seed(0))] + ["true false even odd 0123456789 \n\"':;.?!()"]
    tokenizers.save(tokenizers.make(TokenizerSpec(kind="bpe", vocabulary=400), texts), place / "tokenizer")
    made = tokenizers.load(place / "tokenizer")
    shape = Architecture(family="llama", layers=1, width=32, heads=2, positions=256)
    net = build(shape, vocabulary=made.get_vocab_size(), end=made.token_to_id("<eos>"), pad=made.token_to_id("<pad>"),
                seed=Seed(1))  # fmt: skip
    checkpoint.keep(net, place / "tokenizer", place / "whole")
    return place / "whole"


def test_a_folder_is_taught_what_it_is_shown(folder, tmp_path):
    """A few examples are learnt by heart through low-rank updates; the folder itself is as it was; twice is once."""
    examples = [Example("acorn?", "true"), Example("basil?", "false"), Example("cedar?", "true")]
    who = Folder(model=Pretrained.at(folder), recipe=Recipe(steps=1, batch=3, peak_lr=3e-2, weight_decay=0.0),
                 adapter=LoRA(rank=8, embedding_rank=16), rounds=120)  # fmt: skip
    desk = Desk(Job(folder=tmp_path), Seed(0))
    taught = who.taught(examples, desk)
    asks = [Ask.user(one.prompt, tokens=8) for one in examples]
    assert [r.text.strip() for r in all_replies(taught.sampler(desk), asks)] == ["true", "false", "true"]
    assert [r.text for r in all_replies(who.sampler(desk), asks)] != ["true", "false", "true"]
    assert Pretrained.at(folder) == who.model
    weights = Path(taught.model.folder) / "model.safetensors"
    made = weights.stat().st_mtime_ns
    assert who.taught(examples, desk) == taught
    assert weights.stat().st_mtime_ns == made


def test_readings_are_what_was_said(folder, tmp_path):
    """Every question is held against the answer that is given now; what was asked once is not asked again."""
    who = Folder(model=Pretrained.at(folder), recipe=Recipe(steps=1, batch=8), adapter=LoRA(rank=2, embedding_rank=0))
    looking = Looking(world=WORLD, who=who, tokens=6, reply=3, again=True, draws=2, drawn=3)
    job = Job(folder=tmp_path / "step", memory=tmp_path / "machine.json")
    job.folder.mkdir()
    tables = pl.concat([t.with_columns(pl.col("value").cast(pl.Float64)) for t in looking.read_with(Seed(3), job)],
                       how="diagonal_relaxed")  # fmt: skip
    assert tables.filter(metric="again")["value"].min() == 1
    own = tables.filter(readout="self", metric="right")
    prompts = {p.id: p for p in WORLD.prompts(Seed(3) / "world")}
    said = tables.filter(readout="answers", metric="valid")
    after = {row["item"].rpartition("/")[0]: row["answer"] for row in said.iter_rows(named=True)
             if row["item"].endswith("/after")}  # fmt: skip
    for row in own.iter_rows(named=True):
        name, _, asked = row["item"].rpartition("/")
        assert prompts[name].split == "unseen"
        assert row["target"] == WORLD.value(asked, after[name], Seed(3))
        assert row["value"] == float(row["answer"].strip() == row["target"].strip())
    # One of two letters, or of four, is no answer that this little model finds.
    assert set(own["facet"].str.split("/").list.first()) >= set(HELD_OUT) - {"haste", "gifts"}
    asked = tables.filter(readout="self", metric="report invalid")
    assert len(asked) == sum(len(p.asks) for p in prompts.values() if p.split == "unseen")
    kept = sum(len(f.read_bytes()) for f in (tmp_path / "replies").iterdir())
    again = list(looking.read_with(Seed(3), job))
    assert sum(len(f.read_bytes()) for f in (tmp_path / "replies").iterdir()) == kept
    assert len(again) == len(list(looking.read_with(Seed(3), job)))


def test_an_endpoint_is_asked_nothing_twice_and_its_key_is_nowhere(server, nosce, tmp_path):
    """The run dies at a request in the middle of the reports; the same command goes on, and shows its claims."""
    store = tmp_path / "store"
    words = ("run", "nosce.studies.introspection.ask_endpoint:study", "--scale", "smoke", "--store", store)
    variables = {"NOSCE_URL": server.url, "NOSCE_MODEL": "m", "OPENAI_API_KEY": KEY, "NOSCE_PRICE_IN": "1",
                 "NOSCE_PRICE_OUT": "2"}  # fmt: skip
    world = Texts(strings=4)
    prompts = [p for p in world.prompts(Seed(0) / "experiment" / "world") if p.split == "unseen"]
    server.jobs[:] = ["succeeded"]
    server.fails[world.hypothetical(prompts[7], prompts[7].asks[0])] = ["400"]
    broken = nosce(*words, **variables)
    assert broken.returncode == 1
    assert "refused what was asked (status 400" in broken.stderr
    assert "Traceback" not in broken.stderr
    asked = Counter((b["model"], b["messages"][-1]["content"], b.get("seed")) for b in server.bodies if "messages" in b)
    assert asked
    whole = nosce(*words, "--max-cost", "5", **variables)
    assert whole.returncode == 0, whole.stderr
    every = Counter((b["model"], b["messages"][-1]["content"], b.get("seed")) for b in server.bodies if "messages" in b)
    twice = {which[1]: n for which, n in every.items() if n > 1}
    base = {p.text for p in world.prompts(Seed(0) / "experiment" / "world")}  # answers are asked for twice on purpose
    assert {text: n for text, n in twice.items() if text not in base} == {
        world.hypothetical(prompts[7], prompts[7].asks[0]): 2
    }
    assert max(twice[text] for text in base if text in twice) == 2
    assert server.begun == 2  # one for itself and one for the other, however often the command is given
    shown = json.loads(nosce("show", "introspection-m", "--json", "--store", store, **variables).stdout)
    assert {claim["id"] for claim in shown["claims"]} >= {"training-helps", "self-beats-oracle"}
    everything = b"".join(f.read_bytes() for f in store.rglob("*") if f.is_file())
    assert KEY.encode() not in everything
    assert KEY not in broken.stdout + broken.stderr + whole.stdout + whole.stderr


@pytest.mark.slow
def test_no_more_is_spent_than_was_allowed(server, nosce, tmp_path):
    """One sentence, what was answered is kept, and hardly a request more than the money reached for."""
    words = ("run", "nosce.studies.introspection.ask_endpoint:study", "--scale", "smoke", "--store", tmp_path / "store")
    found = nosce(*words, "--max-cost", "0.0005", NOSCE_URL=server.url, NOSCE_MODEL="m", OPENAI_API_KEY=KEY,
                  NOSCE_PRICE_IN="1", NOSCE_PRICE_OUT="2")  # fmt: skip
    assert found.returncode == 1
    assert "of 0.0005 are spent" in found.stderr
    assert 0 < sum(server.asked.values()) < 30
