"""`nosce run introspection --set task_folder=FOLDER`: tasks of one's own, from the command line to the page."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from tests.fixtures.tiny_folders import tiny_folder

from nosce.analysis.selection import Selection
from nosce.data.worlds.behaviours.natural_text import BUILT_IN_TASKS, LIST_PROPERTIES
from nosce.errors import SpecError
from nosce.models.sources import parse_models
from nosce.studies.introspection.asked import study

CHOICES = Path(__file__).parents[2] / "fixtures" / "choices_of_datasets"
HOSTILE = "[bold red]{x}[/] $string \u001b[2J <script>alert(1)</script> %s \\n"


def task_folder(folder: Path) -> Path:
    """Lists and a multiple choice to learn from; other lists and preferences that are held out."""
    folder.mkdir()
    for name, words in (("train_trees", "oak elm ash"), ("val_birds", f"owl wren {HOSTILE}")):
        lines = (json.dumps({"string": f"{words} {n}"}) for n in range(10))
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        task = name.partition("_")[2]
        (folder / f"{task}.json").write_text('{"prompt": "Go on: $string"}', encoding="utf-8")
    shutil.copy(CHOICES / "mmlu.csv", folder / "train_mmlu.csv")
    preferences = ({"question": f"{n}?\n (A) yes\n (B) no", "answer_matching_behavior": " (A)"} for n in range(5))
    (folder / "test_urge.jsonl").write_text("\n".join(map(json.dumps, preferences)), encoding="utf-8")
    return folder


@pytest.mark.whole
def test_a_folder_of_tasks_goes_through_the_protocol_with_its_outsiders(nosce, tmp_path):
    """Two tiny folders, a sibling and a label curve: readings of these tasks alone, claims and figures about them.

    What a string says is neither markup nor a pattern. A second command makes nothing, also where the folder has moved.
    """
    tasks = task_folder(tmp_path / "tasks")
    samples = ["Go on: oak elm ash 1", "You were asked earlier", "Reply with A, B, C or D and nothing else."]
    models = ",".join(str(tiny_folder("gpt_neox", tmp_path / name, samples, 300 + n)) for n, name in enumerate("ab"))
    words = ("run", "introspection", "--model", models, "--scale", "smoke", "--workers", "1", "--store", tmp_path / "s")
    small = ("--set", "epochs=1", "--set", "n_samples=0", "--set", "dtype=float32", "--set", "max_rounds=1")
    small += ("--set", "both_ways=no", "--set", "change=no", "--set", "siblings=1", "--set", "label_curve=yes")
    done = nosce.here(*words, *small, "--set", f"task_folder={tasks}", "--json")
    assert done.returncode == 0, done.stderr
    claims = {claim["id"]: claim for claim in json.loads(done.stdout)["claims"]}
    assert {"self-beats-cross-A-B", "self-beats-sibling-A", "labels-to-reach-A-B"} <= set(claims)
    assert {claim["verdict"] for claim in claims.values()} == {"undecided"}
    (table,) = (tmp_path / "s").glob("steps/estimates-*/readings.parquet")
    readings = pl.read_parquet(table)
    reports = readings.filter(evaluation="A* on A*", metric="report invalid")
    assert set(reports["attribute"].str.split("/").list.first()) == {"trees", "birds", "mmlu", "urge"}
    assert any(HOSTILE in entity for entity in reports["entity"])
    assert "mmlu/identity" not in set(reports["attribute"])
    assert "mmlu/correct" in set(reports["attribute"])
    assert not readings.filter(evaluation="A* sibling 1 on A*").is_empty()
    counts = readings.filter(metric="labels")["evaluation"].to_list()
    assert {"labels A*", "labels B for A", "labels B for A x1/8", "labels B for A x2"} <= set(counts)
    moved = shutil.move(tasks, tmp_path / "elsewhere")
    again = nosce.here(*words, *small, "--set", f"task_folder={moved}", "--json")
    assert "Nothing to do" in again.stderr
    page = nosce.here("report", "--store", tmp_path / "s", "--out", tmp_path / "page")
    assert page.returncode == 0, page.stderr
    (html,) = tmp_path.glob("page/introspection/*/index.html")
    text = html.read_text(encoding="utf-8")
    assert "birds, urge are held-out tasks" in text
    assert "<script>alert(1)" not in text


@pytest.mark.whole
def test_a_folder_that_cannot_be_asked_is_refused_before_any_work(nosce, tmp_path):
    """One sentence, exit code 2, and nothing in the store."""
    tasks = task_folder(tmp_path / "tasks")
    (tasks / "val_birds.jsonl").write_text('{"string": "owl"\n', encoding="utf-8")
    folder = tiny_folder("llama", tmp_path / "m")
    words = ("run", "introspection", "--model", folder, "--scale", "smoke", "--store", tmp_path / "s")
    refused = nosce(*words, "--set", f"task_folder={tasks}")
    assert refused.returncode == 2
    assert "line 1 of" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list((tmp_path / "s").glob("steps/*"))


def test_tasks_of_a_folder_need_the_folder(tmp_path):
    models = parse_models(str(tiny_folder("llama", tmp_path / "m")))
    with pytest.raises(SpecError, match="no folder is given"):
        study("smoke", models, ("folder_tasks=birds",))
    tasks = task_folder(tmp_path / "tasks")
    chosen = study("smoke", models, (f"task_folder={tasks}", "folder_tasks=trees,urge", "strings_per_task=9"))
    assert chosen.experiments[0].experiment.world.task_catalogue.names == ("trees", "urge")


def selections(value: object) -> Iterator[Selection]:
    """Every selection inside a claim or figure."""
    if isinstance(value, Selection):
        yield value
    elif isinstance(value, tuple):
        for one in value:
            yield from selections(one)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from selections(getattr(value, field.name))


def test_claims_and_figures_are_about_the_tasks_of_the_folder(tmp_path):
    """The held-out ones in claims; no selection is left at a built-in task, of which there would be no reading."""
    models = parse_models(",".join(str(tiny_folder("llama", tmp_path / name, vocab_size=300)) for name in "ab"))
    settings = ("siblings=1", "label_curve=yes")
    built_in = study("smoke", models, settings)
    asked = study("smoke", models, (*settings, f"task_folder={task_folder(tmp_path / 'tasks')}"))
    assert [claim.id for claim in asked.claims] == [claim.id for claim in built_in.claims]
    chosen = {attribute for one in selections((asked.claims, asked.figures)) for attribute in one.attributes}
    assert {attribute.partition("/")[0] for attribute in chosen} == {"trees", "mmlu", "birds", "urge"}
    claim = next(one for one in asked.claims if one.id == "self-beats-cross-A-B")
    assert claim.measure.a.attributes == (*(f"birds/{name}" for name in LIST_PROPERTIES), "urge/stance")
    tested = {attribute for one in selections(built_in.claims) for attribute in one.attributes}
    assert tested >= set(BUILT_IN_TASKS.attributes(BUILT_IN_TASKS.held_out))
