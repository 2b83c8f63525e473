"""`nosce list`: studies of one's own beside the built-in ones, and how far the store has got with each, at once."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nosce.cli import app
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.plan_record import PlannedStep, PlanRecord
from nosce.store.store import Store
from nosce.studies.listing import ScaleState, list_studies

N_STEPS = 2_000


def called(*words, columns=80):
    ended = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": str(columns)}, catch_exceptions=False)
    assert ended.exit_code == 0
    return ended.stdout


def finish(store, *names):
    """Steps that look finished to whoever does not look into them."""
    for name in names:
        store.folder(name).mkdir()
        (store.folder(name) / "manifest.json").write_text("{}")


@pytest.fixture
def begun(tmp_path) -> tuple[Store, PlanRecord]:
    """A store with a part of a built-in study."""
    store = Store.open(tmp_path / "begun")
    request = StudyRequest(study="biographies_adamw", scale="laptop")
    record = PlanRecord.of(request, request.plan())
    record.save(store)
    finish(store, *[*record.steps][:11])
    return store, record


def test_an_own_study_is_listed_with_where_it_is_written(little_store, little):
    """Its name and its address, either of which `show` takes; whatever the width, nothing is cut."""
    (row,) = [row for row in json.loads(called("list", "--json", "--store", little_store)) if row["study"] == "little"]
    assert row["requested_as"] == little("one_arm")
    assert (row["scales"], row["held"]) == (["smoke"], ["smoke"])
    total = len(PlanRecord.load_finished(Store(little_store))[0].steps)
    assert row["states"] == {"smoke": {"done": total, "total": total, "finished": True, "part": ""}}
    for columns in (60, 80, 120):
        text = called("list", "--store", little_store, columns=columns)
        assert max(map(len, text.splitlines()[:-1])) <= columns
        assert "…" not in text
        assert row["requested_as"] in "".join(text.split())
    assert "smoke (finished)" in " ".join(called("list", "--store", little_store).split())
    for name in ("little", row["requested_as"]):
        assert called("show", name, "--store", little_store)


def test_steps_are_counted_by_scale(begun):
    store, record = begun
    assert f" laptop 11 of {len(record.steps)} steps " in called("list", "--store", store.root)
    (row,) = [row for row in list_studies(store) if row.study == "biographies_adamw"]
    assert row.held == ["laptop (unfinished)"]
    finish(store, record.estimates)
    assert " laptop (finished) " in called("list", "--store", store.root)


def test_a_smaller_plan_counts_for_nothing_beside_a_fuller_one(begun):
    """Neither its steps nor its end are those of the study."""
    store, record = begun
    request = StudyRequest(study="biographies_adamw", scale="laptop", arms=("single",))
    part = PlanRecord.of(request, request.plan())
    part.save(store)
    assert ScaleState.of([part, record], store).words == f"11 of {len(record.steps)} steps"
    finish(store, part.estimates)
    n_arms = len(record.arms)
    assert (
        ScaleState.of([part, record], store).words == f"(11 of {len(record.steps)} steps, 1 of {n_arms} arms finished)"
    )
    finish(store, record.estimates)
    assert ScaleState.of([part, record], store).words == "(finished)"


def test_two_thousand_steps_are_counted_and_none_is_opened(begun, monkeypatch):
    store, record = begun
    steps = {f"evaluation-{n:020}": PlannedStep(label="x", description={"inputs": {}, "n": n}) for n in range(N_STEPS)}
    large = replace(record, study="large", requested_as="a b.py:study", steps={**steps, **record.steps})
    large.save(store)
    finish(store, *list(steps)[: N_STEPS // 2])
    for name in ("verified", "step_record", "stale_reasons"):
        monkeypatch.setattr(Store, name, lambda *_: pytest.fail("a step was opened"))
    (row,) = [row for row in list_studies(store) if row.study == "large"]
    assert row.states["laptop"].done == N_STEPS // 2 + 11
    assert row.question_text.endswith("\na b.py:study")


def test_a_name_of_hundred_signs_leaves_room_for_the_rest(little_store, tmp_path):
    store = Store.open(shutil.copytree(little_store, tmp_path / "store"))
    (path,) = (store.root / "plans").glob("*.json")
    fields = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(fields | {"study": "x" * 100, "requested_as": str(Path("/long") / ("y" * 200))}))
    text = called("list", "--store", store.root)
    assert max(map(len, text.splitlines()[:-1])) <= 80
    assert "x" * 100 in "".join(line[1:25].strip() for line in text.splitlines())
    assert "Does every part fit" in text
