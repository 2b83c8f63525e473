"""A finished run to look at, and the same with planted readings of a patch, a probe and hostile texts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from nosce.pipeline.items.item import ItemCheckpoint, ItemEntry, ItemReadings, ItemTraining, StudyItem, TrainedDocument
from nosce.pipeline.items.reader import ItemReader
from nosce.pipeline.plan_record import PlannedStep, PlanRecord
from nosce.pipeline.results import RunResults
from nosce.records import Reading, read_table, to_table
from nosce.store.store import Store

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \"'` [red]😀\u202eesrever\u200f \x1b[31m {{ 7 * 7 }}"
PATCH, PROBE = "evaluation-" + "1" * 20, "evaluation-" + "2" * 20


@pytest.fixture(scope="session")
def results(smoke_store) -> RunResults:
    """The results of a finished run at scale smoke."""
    store = Store.open(smoke_store)
    return RunResults.load(store, PlanRecord.find_finished(store, "biographies_adamw", "smoke"))


@pytest.fixture(scope="session")
def reader(results) -> ItemReader:
    """Its items."""
    return ItemReader(results)


def planted_step(name: str, kind: str, results: RunResults) -> PlannedStep:
    """An evaluation of a class, after the first training of the first arm."""
    source = ItemReader(results).sources.evaluations[0]
    description = {
        "kind": "evaluation",
        "spec": {"type": "EvaluationStepSpec", "evaluation": {"type": kind, "name": name}},
        "inputs": {"corpus": source.corpus, "training": "training-" + "3" * 20},
    }
    return PlannedStep(label=name, description=description)


def planted_rows(results: RunResults) -> list[Reading]:
    """Of person 0 a patched answer follows; of person 1 none does; a probe reads person 0 twice, once right."""
    arm, shared = results.plan.arms[0], {"study": "s", "scale": "smoke", "seed": 0, "stage": "pretrain", "step": 25}
    rows = []
    for person, value in ((0, 1.0), (1, 0.0)):
        for metric, one in (("last/follows/final", value), ("last/stays/final", 1 - value), ("right", 1.0)):
            rows.append(("renamed", f"university/{person}/person/3", f"person/{person}", metric, one))
    rows += [("q-probe", "person/0", "person/0", f"first/{n}", float(n)) for n in range(2)]
    return [
        Reading(
            **shared,
            arm=arm,
            evaluation=evaluation,
            split="unseen",
            item=item,
            entity=entity,
            attribute="university",
            metric=metric,
            value=value,
            outcome=None,
            answer=None,
            target=None,
        )
        for evaluation, item, entity, metric, value in rows
    ]


@pytest.fixture(scope="session")
def planted(results, tmp_path_factory) -> RunResults:
    """The run with a patch and a probe that nobody took."""
    folder = tmp_path_factory.mktemp("planted") / "estimates"
    shutil.copytree(results.folder, folder)
    table = read_table(folder / "readings.parquet")
    pl.concat([table, to_table(planted_rows(results), Reading)]).write_parquet(folder / "readings.parquet")
    plan = results.plan
    description = json.loads(json.dumps(plan.steps[plan.estimates].description))
    for number, step in enumerate((PATCH, PROBE)):
        description["inputs"][f"planted/{number}"] = step
        source = {"input": f"planted/{number}", "arm": plan.arms[0], "seed": 0, "stage": "pretrain"}
        description["spec"]["sources"].append(source)
    steps = {
        **plan.steps,
        PATCH: planted_step("renamed", "NamePatching", results),
        PROBE: planted_step("q-probe", "NameProbe", results),
        plan.estimates: PlannedStep(label="", description=description),
    }
    return replace(results, plan=replace(plan, steps=steps), folder=folder)


@pytest.fixture(scope="session")
def hostile_items() -> tuple[StudyItem, ...]:
    """Items whose every text tries to be something else: markup, control characters, another direction of writing."""
    point = ItemCheckpoint(
        step=3,
        values=(0.0, 0.7),
        outcomes=("wrong", None),
        answers=(HOSTILE, None),
        probability=0.5,
        token_probabilities=(0.25, 0.75),
    )
    readings = ItemReadings(
        arm=HOSTILE,
        stage="pretrain",
        evaluation=HOSTILE,
        kind="asked",
        item=HOSTILE,
        attribute=HOSTILE,
        split="unseen",
        prompt=HOSTILE,
        prompt_note="",
        target=HOSTILE,
        target_tokens=(HOSTILE,),
        metrics=("exact", HOSTILE),
        judged="exact",
        checkpoints=(point,),
    )
    document = TrainedDocument(id=HOSTILE, exposures=2, text=HOSTILE)
    training = ItemTraining(arms=(HOSTILE,), facts=(), documents=(document,), n_documents=1)
    entries = [
        ItemEntry(entity=f"person/{n} {HOSTILE}", seed=0, n_asked=1, n_wrong=1, wrong_arms=(HOSTILE,), patched=n == 2)
        for n in range(3)
    ]
    return tuple(
        StudyItem(
            study="s",
            scale="smoke",
            unit="person",
            entry=entry,
            training=(training,),
            readings=(readings,),
            walks=(),
            absent=(HOSTILE,),
        )
        for entry in entries
    )


@pytest.fixture(scope="session")
def written(results, tmp_path_factory) -> Path:
    """The folder of a written page."""
    from nosce.pipeline.items.page import write_items_page

    folder = tmp_path_factory.mktemp("items") / "page"
    folder.mkdir()
    write_items_page(results, folder)
    return folder
