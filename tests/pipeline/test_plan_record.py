"""Records of plans: one that cannot be read is named and left out, and no command or later run breaks on it."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nosce.cli import app
from nosce.errors import DamagedError
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.results import RunResults
from nosce.pipeline.results_json import results_json
from nosce.store import files
from nosce.store.disclosure import Disclosure
from nosce.store.store import Store


@pytest.fixture
def store(little_store, tmp_path):
    """A copy of a store with one finished study."""
    return Store.open(shutil.copytree(little_store, tmp_path / "store"))


@pytest.fixture
def record(store) -> PlanRecord:
    (found,) = PlanRecord.load_finished(store)
    return found


def _spoil(path, how):
    """Make a file of the store unreadable, each in its own way."""
    whole = path.read_bytes() if path.is_file() else b"{}"
    if path.is_file():
        path.unlink()
    match how:
        case "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        case "empty":
            path.write_bytes(b"")
        case "binary":
            path.write_bytes(b"\xff\xfe\x00\x81" * 40)
        case "deep":
            path.write_text("[" * 100_000)
        case "list":
            path.write_text("[1, 2]")
        case "folder":
            path.mkdir()
        case "dangling":
            path.symlink_to(path.with_name("nowhere"))
        case "forbidden":
            path.write_bytes(whole)
            path.chmod(0)
        case _:
            fields = json.loads(whole)
            path.write_text(json.dumps(fields | how))


WRONG_TYPES = [
    {"study": 7},
    {"study": "../../up"},
    {"study": "\x1b[31mred"},
    {"scale": None},
    {"arms": "single"},
    {"arms": ["a/b"]},
    {"seeds": ["x"]},
    {"title": ["t"]},
    {"command": {"x": 1}},
    {"estimates": "../steps"},
    {"estimates": "estimates-0"},
    {"steps": []},
    {"steps": {"a": 1}},
    {"steps": {"../a": {"label": "", "description": {"inputs": {}}}}},
]


@pytest.mark.whole
def test_an_unreadable_plan_is_named_and_breaks_no_command(store, record, capfd, monkeypatch, tmp_path):
    """Every command goes on with the sound plans and says once of each other file that it was left out."""
    (sound,) = (store.root / "plans").glob("*.json")
    ways = ["truncated", "empty", "binary", "deep", "list", "folder", "dangling", "forbidden", *WRONG_TYPES]
    spoiled = {f"zz{number:02}.json": how for number, how in enumerate(ways)}
    for name, how in spoiled.items():
        shutil.copyfile(sound, sound.with_name(name))
        _spoil(sound.with_name(name), how)
    read, refused = Path.read_text, PermissionError(13, "Permission denied")
    forbidden = next(name for name, how in spoiled.items() if how == "forbidden")  # the superuser may read everything
    monkeypatch.setattr(
        Path, "read_text", lambda self, *a, **k: _raise(refused) if self.name == forbidden else read(self, *a, **k)
    )

    for words in (["list"], ["show", record.study], ["explain", record.estimates], ["report", "--out", tmp_path / "r"]):
        files.warn_skipped.cache_clear()  # a command is a process of its own
        capfd.readouterr()
        ended = CliRunner().invoke(app, [*map(str, words), "--store", str(store.root)], catch_exceptions=False)
        assert ended.exit_code == 0
        lines = (ended.stderr + capfd.readouterr().err).splitlines()
        named = [Path(line.split(" is left out, since ")[0].removeprefix("nosce: ")).name for line in lines]
        assert sorted(named) == sorted(spoiled), words
    assert PlanRecord.load_all(store) == [record]


def _raise(error):
    raise error


@pytest.mark.whole
def test_a_plan_is_written_over_an_unreadable_record_of_its_own(store, record):
    """A run, or a look at the price, mends the record of its own plan."""
    (path,) = (store.root / "plans").glob("*.json")
    for how in ("truncated", "binary", "folder", {"seeds": ["x"]}):
        for latest in (True, False):
            _spoil(path, how)
            assert PlanRecord.load_all(store) == []
            record.save(store, latest=latest)
            assert PlanRecord.load_all(store) == [record]


PROVENANCE_TYPES = [
    {"inputs": []},
    {"modules": 3},
    {"roots": "x"},
    {"digest": None},
    {"seconds": "1"},
    {"threads": "a"},
]


def test_a_provenance_of_other_types_is_damage(store, record):
    """It is JSON, but no step wrote it: a sentence, and no traceback on the way of a command."""
    name = next(name for name in record.steps if name.startswith("corpus-"))
    path = store.folder(name) / "provenance.json"
    sound = path.read_text(encoding="utf-8")
    for changes in PROVENANCE_TYPES:
        path.write_text(json.dumps(json.loads(sound) | changes))
        with pytest.raises(DamagedError, match="lacks a readable"):
            RunResults.load(store, record)
        for words in (["list"], ["explain", record.estimates]):
            ended = CliRunner().invoke(app, [*words, "--store", str(store.root)])
            assert ended.exception is None or isinstance(ended.exception, DamagedError), ended.exception


def test_disclosures_come_back_from_the_record_and_are_told(store, record):
    """What was chosen after readings is kept with the plan, so that every command can say it."""
    after = Disclosure(chosen="The task", after="seed 0 had been read", reported=True, claims=("sums-*",))
    replace(record, disclosures=(after,)).save(store)
    (found,) = PlanRecord.load_finished(store)
    assert found.disclosures == (after,)
    shown = results_json(RunResults.load(store, found))
    assert shown["disclosures"] == [asdict(after) | {"claims": ("sums-*",)}]
    told = CliRunner().invoke(app, ["show", found.study, "--store", str(store.root)])
    assert after.sentence in " ".join(told.stdout.split())


def test_a_disclosure_that_is_none_is_no_record(store, record):
    path = store.root / "plans" / f"{record.study}-{record.scale}-{record.estimates[-20:]}.json"
    _spoil(path, {"disclosures": [{"chosen": "x"}]})
    assert PlanRecord.load_all(store) == []
