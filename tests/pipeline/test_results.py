"""The results of a run as one object: read once, typed, and honest about what is damaged, stale or missing."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from nosce.analysis.answer import derive_answer
from nosce.cli import app
from nosce.errors import DamagedError, DataError, UsageError
from nosce.pipeline import results as results_module
from nosce.pipeline import site
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.results import RunProvenance, RunResults
from nosce.pipeline.results_json import results_json
from nosce.pipeline.site import study_page, write_site
from nosce.records import read_table
from nosce.store.store import StepRecord, Store

README = Path(__file__).parents[2] / "docs" / "readings.md"


@pytest.fixture
def store(little_store, tmp_path):
    """A copy of a store with one finished study of nine steps."""
    return Store.open(shutil.copytree(little_store, tmp_path / "store"))


@pytest.fixture
def record(store) -> PlanRecord:
    (found,) = PlanRecord.load_finished(store)
    return found


def step_of(record, kind):
    """The name of the first step of a kind."""
    return next(name for name in record.steps if name.startswith(f"{kind}-"))


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes))


# --- records of plans ---


def test_a_plan_record_is_read_back_as_it_was_written(tmp_path):
    """Sequences come back as tuples and steps in the order of the plan."""
    store = Store.open(tmp_path)
    request = StudyRequest(study="biographies_adamw", scale="smoke", n_seeds=2, arms=("single",))
    plan = request.plan()
    written = PlanRecord.of(request, plan)
    written.save(store)

    assert PlanRecord.load_all(store) == [written]
    assert (written.seeds, written.arms) == ((0, 1), ("single",))
    assert list(written.steps) == [step.name for step in plan.all_steps]
    assert written.command == "nosce run biographies_adamw --scale smoke --seeds 2 --arms single"


@pytest.mark.parametrize("text", ["{", "[]", '{"study": "x", "asked_as": "x", "steps": {}}'])
def test_a_file_that_is_no_plan_record_is_left_out(store, record, text):
    """Records of another version, or none at all, hide no other plan."""
    (store.root / "plans" / "other.json").write_text(text)
    assert PlanRecord.load_all(store) == [record]


def test_a_plan_is_found_by_either_name_once_it_is_finished(store, record):
    """The study's own name and the name on the command line both find it; unfinished is told from unknown."""
    for name in (record.study, record.requested_as):
        assert PlanRecord.find_finished(store, name, None) == record
    shutil.rmtree(store.folder(record.estimates))
    with pytest.raises(UsageError, match="is not finished"):
        PlanRecord.find_finished(store, record.study, record.scale)
    with pytest.raises(UsageError, match="nothing of"):
        PlanRecord.find_finished(store, record.study, "paper")


# --- what is read ---


@pytest.mark.parametrize("words", [("show", "little"), ("show", "little", "--json"), ("report",)], ids=" ".join)
def test_the_record_of_each_step_is_read_once(store, record, tmp_path, monkeypatch, words):
    """A command reads every step's record once and verifies the estimates once."""
    reads, verified = Counter(), Counter()
    read, verify = Store.step_record, Store.verified

    def counted_read(self, name):
        reads[name] += 1
        return read(self, name)

    def counted_verify(self, name):
        verified[name] += 1
        return verify(self, name)

    monkeypatch.setattr(Store, "step_record", counted_read)
    monkeypatch.setattr(Store, "verified", counted_verify)
    words = [record.study if word == "little" else word for word in words]
    words += ["--out", str(tmp_path / "site")] if words == ["report"] else []
    ended = CliRunner().invoke(app, [*words, "--store", str(store.root)], catch_exceptions=False)

    assert ended.exit_code == 0
    assert reads == dict.fromkeys(record.steps, 1)
    assert verified == {record.estimates: 1}


def test_the_page_the_table_and_the_json_say_the_same(store, record):
    """All three come from one object; the JSON keeps the keys of `nosce show --json`."""
    results = RunResults.load(store, record)
    page, shown = study_page(results), results_json(results)

    assert [claim["id"] for claim in shown["claims"]] == [verdict.id for verdict in page.verdicts]
    answer = derive_answer(page.verdicts, page.headline, page.conclusion)  # as the page does
    assert shown["answer"] == {"text": answer.text, "sure": answer.sure, "decided": answer.is_decided}
    assert page.figures == results.figures
    assert [row["step"] for row in page.steps] == list(record.steps)
    assert {row["state"] for row in page.steps} == {"done"}
    assert page.guards
    assert all(check.verdict == "passed 1 of 1" for check in results.leakage_checks)
    assert list(shown["provenance"]) == [
        *("commit", "dirty", "versions", "device", "processor", "cores", "threads", "made"),
        *("peak_memory_mib", "core_minutes", "steps", "stale", "command"),
    ]
    assert shown["provenance"]["steps"] == len(record.steps) == results.provenance.n_finished
    json.dumps(shown, allow_nan=False)


def test_estimates_of_earlier_versions_have_no_audits_and_no_walks(store, record, tmp_path):
    """Files that were not written then are empty, not an error."""
    earlier = replace(RunResults.load(store, record), folder=tmp_path)
    assert earlier.audits == ()
    assert earlier.walks == ()


def test_results_of_another_version_name_the_command_that_makes_them_again(store, record, tmp_path, monkeypatch, capfd):
    """A column that an earlier version did not write is no number of this one, and stops no other study's report."""
    path = store.folder(record.estimates) / "verdicts.parquet"
    earlier = tmp_path / "verdicts.parquet"
    read_table(path).drop("is_difference").write_parquet(earlier)
    monkeypatch.setattr(results_module, "read_table", lambda _: read_table(earlier))
    with pytest.raises(DataError, match=r"another version of nosce .*; `nosce run .*` makes them again\.$"):
        RunResults.load(store, record)
    with pytest.raises(DataError, match="another version"):
        write_site(store, tmp_path / "page")

    def readable_once(path, reads=[earlier]):  # noqa: B006 - the earlier table is read first, and its own after it
        return read_table(reads.pop() if reads else path)

    monkeypatch.setattr(results_module, "read_table", readable_once)
    monkeypatch.setattr(PlanRecord, "load_finished", lambda _: [record, record])
    assert write_site(store, tmp_path / "page").is_file()
    assert (tmp_path / "page" / record.study / record.scale / "index.html").is_file()
    assert "another version" in capfd.readouterr().err


def test_the_readings_are_found_as_the_page_says(store, record, tmp_path, monkeypatch):
    """The first block of docs/readings.md runs and ends with the path of a table."""
    block = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[0]
    assert "RunResults.load" in block
    monkeypatch.chdir(tmp_path)
    store.root.rename(tmp_path / ".nosce")
    names: dict[str, object] = {}
    exec(block.replace('"biographies"', f'"{record.study}"'), names)
    path = names["path"]
    assert isinstance(path, Path)
    assert set(pl.read_parquet(path)["study"]) == {record.study}


# --- what is damaged, stale or missing ---


def test_a_step_that_is_gone_is_missing_and_stops_nothing(store, record):
    """Results are shown from the estimates alone; the page says which steps are missing."""
    name = step_of(record, "exposure")
    shutil.rmtree(store.folder(name))
    results = RunResults.load(store, record)
    (missing,) = [step for step in results.steps if step.state == "missing"]

    assert (missing.name, missing.kind, missing.record) == (name, "exposure", None)
    assert results.stale_steps == {}
    assert results.provenance.n_finished == len(record.steps) - 1
    (row,) = [row for row in study_page(results).steps if row["state"] == "missing"]
    assert (row["seconds"], row["made"]) == ("", "")


def test_a_step_of_changed_code_is_stale_and_says_why(store, record):
    """The reason stands in the status, in the JSON and under the table."""
    name = step_of(record, "training")
    edit(store.folder(name) / "provenance.json", modules={"nosce.gone": "0"})
    results = RunResults.load(store, record)
    shown = CliRunner().invoke(app, ["show", record.study, "--store", str(store.root)])

    assert list(results.stale_steps) == [name]
    assert "nosce.gone" in results.stale_steps[name]
    assert results_json(results)["provenance"]["stale"] == results.stale_steps
    assert f"1 of {len(record.steps)} steps are stale, e.g. {name}" in " ".join(shown.output.split())


def test_a_step_of_an_input_with_other_bytes_is_stale(store, record):
    """Every step that read the input says so, by records that were read already."""
    name = step_of(record, "corpus")
    edit(store.folder(name) / "provenance.json", digest="0")
    results = RunResults.load(store, record)

    readers = {n for n, step in record.steps.items() if name in json.dumps(step.description)} - {name}
    assert set(results.stale_steps) == readers
    assert all(f"an earlier {name}" in reason for reason in results.stale_steps.values())
    for step in results.steps:
        assert step.record is not None
        assert store.stale_reason(step.record) == step.stale_reason


@pytest.mark.parametrize("file", ["spec.json", "provenance.json"])
def test_an_unreadable_record_of_any_step_is_damage(store, record, file):
    """A step whose own record cannot be read raises, wherever it stands in the plan."""
    (store.folder(step_of(record, "corpus")) / file).write_text("{")
    with pytest.raises(DamagedError, match="lacks a readable"):
        RunResults.load(store, record)


def test_estimates_with_other_bytes_are_damage(store, record):
    """Every file of the estimates is checked, those that are read later too."""
    (store.folder(record.estimates) / "figures.json").write_text("[]")
    with pytest.raises(DamagedError, match=r"figures\.json"):
        RunResults.load(store, record)


# --- provenance ---


@pytest.mark.parametrize(("threads", "expected"), [([1, 1, None], 1), ([2, 1, 1], [1, 2]), ([None, None, None], None)])
def test_threads_are_one_number_or_those_that_differ(record, threads, expected):
    """Steps that were run with different numbers of threads are not summed up as one."""
    names = [record.estimates, "a-1", "b-2"]
    records = {
        name: StepRecord(name, Path(), {}, {"digest": "0", "threads": count, "cpu_seconds": 30.0})
        for name, count in zip(names, threads, strict=True)
    }
    provenance = RunProvenance.of(record, records)

    assert provenance.threads == expected
    assert provenance.core_minutes == 1.5
    assert provenance.commit is None


@pytest.mark.parametrize(("peaks", "expected", "said"), [([None, 2.0], 2.0, "2 MiB"), ([None, None], None, "not rec")])
def test_a_peak_that_no_step_recorded_is_not_zero(record, peaks, expected, said):
    """The largest of the recorded ones; the page says where there is none."""
    records = {
        name: StepRecord(name, Path(), {}, {"digest": "0", "peak_memory_mib": peak})
        for name, peak in zip([record.estimates, "a-1"], peaks, strict=True)
    }
    provenance = RunProvenance.of(record, records)

    assert provenance.peak_memory_mib == expected
    assert site._provenance_row(provenance)["peak memory"].startswith(said)
