"""Runs as one sees them in a store: steps done of all, and who makes which step, how far."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace

import pytest

from nosce.pipeline.plan_record import PlannedStep, PlanRecord
from nosce.pipeline.view.live import StoreWatch, without_passwords
from nosce.store import lease as leases
from nosce.store.lease import LOST_SECONDS, LeaseRecord, lease_path
from nosce.store.store import Store

STEPS = ("corpus-1", "training-2", "training-3", "estimates-4")


def plan(store, *, steps=STEPS, study="birds", saved_at=1_000, **changed):
    """A recorded plan whose last step holds its results."""
    fields = {
        "study": study,
        "scale": "laptop",
        "title": "Birds",
        "question": "Do they?",
        "paper": "none",
        "unit": "bird",
        "seeds": (0,),
        "arms": ("one",),
        "requested_as": study,
        "command": f"nosce run {study}",
        "estimates": steps[-1],
        "steps": {name: PlannedStep(label=f"{name} of {study}", description={"inputs": {}}) for name in steps},
    }
    record = PlanRecord(**(fields | changed))
    record.save(store)
    (file,) = (store.root / "plans").glob(f"{study}-laptop-{record.estimates[-20:]}.json")
    os.utime(file, (saved_at, saved_at))
    return record


def finish(store, *names):
    for name in names:
        store.folder(name).mkdir(parents=True)
        (store.folder(name) / "manifest.json").write_text("{}")


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "store")


def elsewhere(store, name, **changed):
    """A lease of another machine, and the file of its heartbeat."""
    fields = {"token": "t", "host": "node7", "machine": "node7 x", "pid": 99, "process_start": "1", "since": "today"}
    record = LeaseRecord(**(fields | changed))
    lease_path(store.lease_folder, name).write_text(json.dumps(asdict(record)))
    return store.lease_folder / f"{name}.{record.token}.beat"


def test_a_run_under_way_has_its_steps_done_and_who_makes_which_step_how_far(store):
    plan(store)
    finish(store, "corpus-1")
    elsewhere(store, "training-2").write_text('7\n{"done": 3, "total": 4, "unit": "steps", "loss": 1.5}\n')
    (run,) = StoreWatch(store).look()
    assert (run.study, run.scale, run.done, run.total, run.is_under_way) == ("birds", "laptop", 1, 4, True)
    assert run.words == "1 of 4 steps done, 1 under way"
    (step,) = run.steps
    assert (step.name, step.kind, step.label) == ("training-2", "training", "training-2 of birds")
    assert step.progress == "3 of 4 steps, 75 %; loss 1.500"
    assert step.words == "by node7:99 since today"
    json.dumps(run.to_json(), allow_nan=False)
    assert run.to_json()["steps"][0]["note"]["done"] == 3


def test_a_step_that_says_nothing_is_told_of_by_its_metrics(store):
    """As code makes it that writes no notes."""
    plan(store)
    work = store.work_folder("training-2")
    work.mkdir()
    (work / "metrics.jsonl").write_text('{"step": 40, "nats": 2.5}\n')
    with store.lease("training-2"):
        (run,) = StoreWatch(store).look()
    assert run.steps[0].progress == "40 steps; loss 2.500"
    assert run.steps[0].is_held


def test_a_holder_that_is_gone_makes_nothing(store):
    """A process of this machine that has ended, at once; another machine's when its heart was silent long enough."""
    plan(store)
    finish(store, "corpus-1")
    dead = replace(LeaseRecord.own(), pid=2**22 + 1, process_start="1")
    lease_path(store.lease_folder, "training-2").write_text(json.dumps(asdict(dead)))
    (run,) = StoreWatch(store).look()
    assert not run.is_under_way
    assert run.words == "1 of 4 steps done, nobody makes the rest"
    assert run.steps[0].words == f"was being made by {dead.holder}, which is gone; the next run goes on from there"


def test_a_silent_heart_is_told_and_then_lost(store, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: now[0])
    plan(store)
    elsewhere(store, "training-2").write_text("7\n")
    watch = StoreWatch(store)
    told = []
    for _ in range(int(LOST_SECONDS) // 10 + 2):
        runs = watch.look()
        told.append(runs[0].steps[0].words if runs else "")
        now[0] += 10
    assert told[0] == "by node7:99 since today"
    assert told[4] == "by node7:99 since today; last sign of life 30 s ago"
    assert told[-1] == ""  # lost, and without a finished step there is nothing to go on with
    elsewhere(store, "training-2").write_text("8\n")
    assert watch.look()[0].steps[0].is_held


def test_a_step_of_several_plans_is_made_for_the_newest(store):
    plan(store, saved_at=1_000)
    plan(store, study="fish", steps=(*STEPS[:3], "estimates-5"), saved_at=2_000)
    with store.lease("training-3"):
        runs = StoreWatch(store).look()
    assert [(run.study, run.is_under_way) for run in runs] == [("fish", True)]


def test_a_run_that_stopped_says_how_to_go_on_and_a_finished_or_only_priced_one_does_not_stand_there(store):
    plan(store, saved_at=3_000)
    plan(store, study="fish", steps=("corpus-9", "estimates-5"), saved_at=2_000)  # priced alone
    plan(store, study="dogs", steps=("corpus-7", "estimates-6"), saved_at=1_000)
    finish(store, "corpus-1", "corpus-7", "estimates-6")
    (run,) = StoreWatch(store).look()
    assert (run.study, run.is_under_way, run.done) == ("birds", False, 1)
    assert run.command == f"nosce run birds --store {store.root}"


def test_an_earlier_plan_that_was_never_finished_stands_behind_a_later_one(store):
    """The study was changed since: nobody wants the earlier form made."""
    plan(store, saved_at=1_000)
    plan(store, steps=("corpus-1", "estimates-5"), saved_at=2_000)
    finish(store, "corpus-1", "estimates-5")
    assert StoreWatch(store).look() == ()


def test_what_changes_in_the_store_is_seen_at_the_next_look(store):
    """Plans are read anew when one of their files has changed, leases and steps each time."""
    watch = StoreWatch(store)
    assert watch.look() == ()
    plan(store)
    finish(store, "corpus-1")
    assert [run.done for run in watch.look()] == [1]
    finish(store, "training-2")
    assert [run.done for run in watch.look()] == [2]
    with store.lease("training-3"):
        assert watch.look()[0].is_under_way
    assert not watch.look()[0].is_under_way


def test_a_step_of_no_recorded_plan_is_shown_all_the_same(store):
    with store.lease("training-8"):
        (run,) = StoreWatch(store).look()
    assert (run.title, [step.name for step in run.steps]) == ("Steps of no recorded plan", ["training-8"])


def test_a_damaged_lease_is_a_lease(store):
    plan(store)
    lease_path(store.lease_folder, "training-2").write_text("{")
    (run,) = StoreWatch(store).look()
    assert "unknown process" in run.steps[0].holder


def test_a_store_that_is_not_there_yet_has_no_runs(tmp_path):
    assert StoreWatch(Store(tmp_path / "none")).look() == ()
    assert not (tmp_path / "none").exists()


def test_addresses_are_shown_without_passwords(store):
    assert without_passwords("run --model http://me:secret@host/v1,x") == "run --model http://…@host/v1,x"
    assert without_passwords("mail me@host http://host/a@b") == "mail me@host http://host/a@b"
