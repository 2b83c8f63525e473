"""`nosce run introspection --model FOLDER --set self_knowledge=yes`: a tiny folder from command to page."""

from __future__ import annotations

import json

import polars as pl
import pytest
from tests.fixtures.tiny_folders import tiny_folder

from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.models.sources import parse_models
from nosce.seeds import Seed
from nosce.store.spec import describe
from nosce.studies.introspection.asked import study
from nosce.studies.introspection.prompted_self import SelfKnowledge

SAMPLES = [prompt.text for prompt in NaturalTextBehaviours(strings_per_task=4).prompts(Seed(0))]
SMALL = ("epochs=1", "n_samples=0", "max_labels=2", "dtype=float32", "max_rounds=1", "tasks=towns,things")
SMALL += ("strings_per_task=2", "both_ways=no", "change=no", "self_knowledge=yes", "n_self_strings=4")
SMALL += ("n_self_draws=1", "n_self_given=2", "max_long_tokens=33")


@pytest.mark.whole
def test_a_folder_is_asked_about_itself_and_nothing_holds(nosce, tmp_path):
    """An untrained model's reports are none; its behaviour is there, and so is that of the taught one."""
    folder = tiny_folder("gpt_neox", tmp_path / "neox", SAMPLES, 800)
    words = ["run", "introspection", "--model", folder, "--scale", "smoke", "--workers", "1", "--store", tmp_path / "s"]
    words += [word for setting in SMALL for word in ("--set", setting)]
    done = nosce.here(*words, "--json")
    assert done.returncode == 0, done.stderr
    claims = {claim["id"]: claim for claim in json.loads(done.stdout)["claims"]}
    assert {"knows-keep-A", "knows-own-A-B", "transfers-to-length-A", "no-advantage-same-A-B"} <= set(claims)
    assert {claim["verdict"] for claim in claims.values()} == {"undecided"}
    (table,) = (tmp_path / "s").glob("steps/estimates-*/readings.parquet")
    readings = pl.read_parquet(table)
    for model in ("A", "A*", "B"):
        known = readings.filter(evaluation=f"{model} is length", metric="known")
        assert len(known) == 4
        assert known["item"].str.starts_with("length/tokens/").all()
    assert len(readings.filter(evaluation="A* on A* keep", metric="report invalid")) == 4
    assert (tmp_path / "s" / "replies").is_dir()


def experiment_of(folder, scale: str, *settings: str):
    return study(scale, parse_models(str(folder)), settings).experiments[0].experiment


def test_what_is_not_asked_for_changes_neither_keys_nor_prices(tmp_path):
    """Off at the cheap scales, on at the dear ones; a step that asks nothing of it is described as before."""
    folder = tiny_folder("llama", tmp_path / "a", vocab_size=300)
    plain, asked = experiment_of(folder, "laptop"), experiment_of(folder, "laptop", "self_knowledge=yes")
    assert plain.knowledge == SelfKnowledge()
    assert "knowledge" not in describe(plain)
    assert "knowledge" in describe(asked)
    assert not experiment_of(folder, "smoke").knowledge.self_knowledge
    assert experiment_of(folder, "gpu").knowledge.self_knowledge
    assert experiment_of(folder, "paper").knowledge.n_self_strings == 500
    prices = [one.timing_subset()[1] for one in (plain, asked)]
    longer = experiment_of(folder, "laptop", "self_knowledge=yes", "max_long_tokens=256").timing_subset()[1]
    assert prices[0] < prices[1] < longer
    twice = experiment_of(folder, "laptop", "self_knowledge=yes", "n_self_strings=80").timing_subset()[1]
    assert 1.6 * (prices[1] - prices[0]) < twice - prices[0] < 2.1 * (prices[1] - prices[0])


def test_each_question_about_oneself_has_its_words(tmp_path):
    """By the item of its readings, for whoever looks a reading up."""
    folder = tiny_folder("llama", tmp_path / "a", vocab_size=300)
    prompts = experiment_of(folder, "smoke", "self_knowledge=yes").item_prompts(Seed(0))
    plain = experiment_of(folder, "smoke").item_prompts(Seed(0))
    assert plain.items() < prompts.items()
    kinds = {item.partition("/")[0] for item in prompts.keys() - plain.keys()}
    assert kinds == {"keep", "surer", "copies", "length", "late", "same"}
