"""The price of a step by finished steps that differ from it in seeds alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nosce.pipeline import cost
from nosce.pipeline.finished_times import finished_note, finished_seconds
from nosce.pipeline.plan import Plan, StudyRequest
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.step import Step
from nosce.store.provenance import cpu_model
from nosce.store.store import Store

HERE = {"device": "cpu", "processor": cpu_model()}


def _plan(*seeds: int) -> Plan:
    return StudyRequest(study="karel", scale="smoke", seeds=seeds).plan()


def _finish(store: Store, plan: Plan, seconds: float, **made: str) -> None:
    """Finish all steps that run a model, each in so many seconds."""
    PlanRecord.of(StudyRequest(study="karel", scale="smoke", seeds=plan.study.seeds), plan).save(store)
    for step in plan.all_steps:
        if step.kind in cost.TIMED_KINDS:
            store.work_folder(step.name).mkdir(parents=True)
            store.finish(step.name, step.description, {**HERE, "cpu_seconds": seconds, **made})


def _timed(plan: Plan) -> list[Step]:
    return [step for step in plan.all_steps if step.kind in cost.TIMED_KINDS]


def test_other_seeds_are_priced_by_finished_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is timed then, and tokens are counted as ever; of several seeds the mean counts."""
    store, asked = Store.open(tmp_path), _plan(5)
    _finish(store, _plan(10), 60.0)
    _finish(store, _plan(11), 90.0)
    found = finished_seconds(asked.all_steps, store, "karel", "smoke")
    assert found == {step.name: 75.0 for step in _timed(asked)}
    monkeypatch.setattr(cost, "time_training", lambda *_: pytest.fail("a finished kind is not timed"))
    costs = cost.estimate_costs(asked.all_steps, None, 60.0, found)
    assert {one.seconds for one in costs} == {75.0}
    assert all(one.tokens > 0 for one in costs if one.step.kind == "training")
    assert finished_note(len(costs)).startswith(f"{len(costs)} steps are priced by what finished steps took here")


def test_other_work_has_no_such_price(tmp_path: Path) -> None:
    """Another number of steps, another study, another processor, or a damaged record."""
    store, asked = Store.open(tmp_path), _plan(5)
    _finish(store, _plan(10), 60.0, processor="another")
    assert finished_seconds(asked.all_steps, store, "karel", "smoke") == {}
    _finish(store, _plan(11), 60.0)
    longer = [
        replace(step, spec=replace(step.spec, training=replace(step.spec.training, steps=7)))  # type: ignore[type-var, attr-defined]
        for step in _timed(asked)
        if step.kind == "training"
    ]
    assert finished_seconds(longer, store, "karel", "smoke") == {}
    assert finished_seconds(asked.all_steps, store, "diaries", "smoke") == {}
    for folder in (tmp_path / "steps").iterdir():
        (folder / "provenance.json").write_text("{")
    assert finished_seconds(asked.all_steps, store, "karel", "smoke") == {}
    assert finished_note(0) == ""
