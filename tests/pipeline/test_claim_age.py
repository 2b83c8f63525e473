"""Claims know their age: what was written before the run, what was changed after seeds were read, what is not known.

The life cycles run through the command line with a study of two coins, whose steps are made in this process.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests import conftest
from tests.fixtures.inline_pool import InlinePool

from nosce.pipeline.claim_age import ClaimAge, name_seeds
from nosce.pipeline.claim_log import ClaimLog, register_claims
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.plan_record import PlanRecord
from nosce.store.files import load_json_object, warn_skipped
from nosce.store.store import Store
from nosce.store.text import printable
from nosce.train.config import RuntimeConfig

COINS = Path(__file__).parents[1] / "fixtures" / "coin_studies.py"
IDENTITY = ("coins", "smoke", "")


class Cycle:
    """The life of one store."""

    def __init__(self, nosce, root: Path) -> None:
        self.nosce, self.root = nosce, root

    def run(self, form: str, *words: object) -> str:
        """Run a form of the study; what it printed."""
        ended = self.nosce.here("run", f"{COINS}:{form}", "--scale", "smoke", "--store", self.root, *words)
        assert ended.returncode == 0, ended.stderr + ended.stdout
        return ended.stdout

    def age(self, claim: str = "lands", *words: object) -> dict:
        """The age of a claim in `show --json`."""
        shown = self.nosce.here("show", "coins", "--json", "--store", self.root, *words)
        assert shown.returncode == 0, shown.stderr
        return {claim["id"]: claim["age"] for claim in json.loads(shown.stdout)["claims"]}[claim]

    def phrase(self, claim: str = "lands", *words: object) -> str:
        return self.age(claim, *words)["phrase"]

    def explain(self, claim: str = "lands", *words: object) -> str:
        ended = self.nosce.here("explain", claim, "--store", self.root, *words)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    @property
    def files(self) -> list[Path]:
        """The files of the log, in their order."""
        return sorted((self.root / "claims").glob("*.json"), key=lambda path: load_json_object(path)["order"])


@pytest.fixture
def cycle(nosce, tmp_path) -> Cycle:
    warn_skipped.cache_clear()
    return Cycle(nosce, tmp_path / "store")


def interrupt(cycle: Cycle, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a form of the study and stop it before its first step is made."""

    class Stopped(InlinePool):
        def events(self, timeout):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(conftest, "make_inline_pool", lambda store, *_: Stopped(store, RuntimeConfig()))
        ended = cycle.nosce.here("run", f"{COINS}:{form}", "--scale", "smoke", "--store", cycle.root)
    assert ended.returncode == 130


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(load_json_object(path) | changes))


# --- life cycles ---


@pytest.mark.whole
def test_a_claim_that_stands_before_the_run(cycle, tmp_path):
    """Table, JSON, page and explain say the same; a run that has nothing to do registers nothing more."""
    said = cycle.run("coins")
    assert "All 3 claims were written before the run." in said
    age = cycle.age()
    assert (age["status"], age["seeds_before"], age["seeds_after"]) == ("before", [], [0, 1, 2])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", age["registered"])
    assert {"commit", "dirty"} <= age.keys()

    assert "Nothing to do" in cycle.run("coins")
    assert len(cycle.files) == 1
    assert "lands of coins, scale smoke: written before the run." in cycle.explain()
    assert "nothing of its arms had been read" in cycle.explain()
    assert cycle.nosce.here("report", "--out", tmp_path / "site", "--store", cycle.root).returncode == 0
    page = (tmp_path / "site" / "coins" / "smoke" / "index.html").read_text(encoding="utf-8")
    assert page.count("<dt>age</dt><dd>written before the run; registered ") == 3


@pytest.mark.whole
def test_a_claim_that_is_changed_after_seeds_were_read(cycle, tmp_path):
    """The other claims stay as old as they were; new seeds come after the change."""
    cycle.run("coins")
    said = cycle.run("moved")
    assert "2 of 3 claims were written before the run." in said
    assert "lands was changed after seeds 0-2 were read (`nosce explain lands`)." in said
    cycle.run("moved", "--seeds", 5)

    age = cycle.age()
    assert (age["status"], age["seeds_before"], age["seeds_after"], age["n_forms"]) == ("changed", [0, 1, 2], [3, 4], 2)
    assert age["phrase"] == "changed after seeds 0-2 were read, before seeds 3-4"
    (change,) = age["changes"]
    assert change == {
        "part": "criterion",
        "where": "",
        "before": "the whole 95 % interval lies above 25 %",
        "after": "the whole 95 % interval lies above 30 %",
    }
    assert cycle.phrase("bends") == "written before the run"
    explained = cycle.explain()
    assert "criterion: was 'the whole 95 % interval lies above 25 %', now 'the whole 95 % interval" in explained
    assert "seeds 0-2 had been read" in explained
    (history,) = json.loads(cycle.explain("lands", "--json"))
    assert [form["seeds_read"] for form in history["forms"]] == [[], [0, 1, 2]]
    assert cycle.nosce.here("report", "--out", tmp_path / "site", "--store", cycle.root).returncode == 0
    page = (tmp_path / "site" / "coins" / "smoke" / "index.html").read_text(encoding="utf-8")
    assert "changed after seeds 0-2 were read, before seeds 3-4; changed: criterion; registered " in page


def test_a_change_before_anything_was_read_counts_as_before(cycle, monkeypatch):
    """A run that was interrupted before its first reading has shown nobody anything."""
    interrupt(cycle, "coins", monkeypatch)
    cycle.run("moved")
    assert cycle.phrase() == "written before the run"
    assert cycle.age()["n_forms"] == 2
    cycle.run("coins")  # back to the form of the interrupted run, which was registered in time
    assert cycle.phrase() == "written before the run"


@pytest.mark.whole
@pytest.mark.parametrize(
    ("form", "parts", "where"),
    [
        ("reworded", ["text"], ""),
        ("moved", ["criterion"], ""),
        ("turned", ["criterion"], ""),
        ("needing", ["needs"], "heads of the bent coin"),
        ("elsewhere", ["arms"], "selection, arm"),
        ("split", ["measure"], "selection, split"),
    ],
)
def test_every_part_that_decides_a_claim_is_named(cycle, form, parts, where):
    """Equal words do not make a claim the same."""
    cycle.run("coins")
    cycle.run(form)
    age = cycle.age()
    assert age["phrase"] == "changed after seeds 0-2 were read"
    assert list(dict.fromkeys(change["part"] for change in age["changes"])) == parts
    assert where in [change["where"] for change in age["changes"]]
    assert all(change["before"] != change["after"] for change in age["changes"])


@pytest.mark.whole
@pytest.mark.parametrize(("form", "claim"), [("cited", "lands"), ("renamed", "settles")])
def test_what_decides_nothing_makes_no_claim_younger(cycle, form, claim):
    """A better citation or another id."""
    cycle.run("coins")
    cycle.run(form)
    assert cycle.phrase(claim) == "written before the run"
    assert len(cycle.files) == 1


@pytest.mark.whole
@pytest.mark.parametrize(("first", "then", "claim"), [("coins", "one_more", "half"), ("silent", "coins", "lands")])
def test_a_claim_that_is_added_after_seeds_were_read(cycle, first, then, claim):
    """Also where the study had no claim at all when it was run."""
    cycle.run(first)
    said = cycle.run(then)
    assert cycle.phrase(claim) == "written after seeds 0-2 were read"
    assert "written after seeds 0-2 were read." in said


def test_readings_of_another_form_of_the_arms_are_told(cycle):
    """New tosses judge the changed claim, but those of the old coins had been seen."""
    cycle.run("coins")
    cycle.run("longer")
    age = cycle.age()
    assert (age["status"], age["seeds_before"], age["seeds_otherwise"]) == ("before", [], [0, 1, 2])
    assert age["phrase"] == "written before the run, but after seeds 0-2 of another form of its arms were read"
    assert cycle.phrase("bends") == "written before the run"  # it was not changed


# --- parts of a study ---


def test_a_part_of_a_study_registers_the_claims_that_it_plans(cycle):
    """A claim of an arm that is not run yet waits for the run of this arm, and is not accused then."""
    cycle.run("coins", "--arms", "fair", "--seeds", 1)
    registered = ClaimLog.load(Store.open(cycle.root), *IDENTITY).registrations[0]
    assert {version.id for version in registered.claims} == {"lands", "differs"}
    shown = json.loads(cycle.nosce.here("show", "coins", "--json", "--store", cycle.root).stdout)
    assert shown["left_out"] == ["bends", "differs"]
    cycle.run("coins")
    assert {cycle.phrase(claim) for claim in ("lands", "bends", "differs")} == {"written before the run"}
    assert len(cycle.files) == 2


def test_a_claim_whose_arms_were_run_is_shown_without_a_reading(cycle):
    """It needs no other arms, so the results of a part tell that it has none."""
    said = cycle.run("on_edge", "--arms", "fair", "--seeds", 1)
    shown = json.loads(cycle.nosce.here("show", "coins", "--json", "--store", cycle.root).stdout)
    assert shown["left_out"] == ["bends", "differs"]
    assert [one["id"] for one in shown["claims"] if one["estimate"] is None] == ["stands"]
    assert "2 of 4 claims need others and are left out: bends, differs" in " ".join(said.split())


def test_a_price_registers_nothing(cycle):
    """Neither `plan` nor `run --dry-run`."""
    for words in (("plan",), ("run", "--dry-run")):
        ended = cycle.nosce.here(*words, f"{COINS}:coins", "--scale", "smoke", "--store", cycle.root)
        assert ended.returncode == 0, ended.stderr
    assert not cycle.files


# --- what is not known ---


@pytest.mark.whole
def test_a_store_of_earlier_versions_is_never_told_as_before(cycle):
    """Readings without a log: nothing is known of them, but of later seeds and later changes it is."""
    cycle.run("coins")
    shutil.rmtree(cycle.root / "claims")
    assert cycle.phrase() == "not known when it was written"
    said = cycle.run("coins")
    assert "When the 3 claims were written is not known." in said
    assert not cycle.files  # nothing was to do
    assert "No run of this study has registered its claims yet" in cycle.explain()

    cycle.run("coins", "--seeds", 5)
    assert cycle.phrase() == "not known when it was written, but before seeds 3-4 were run"
    cycle.run("moved", "--seeds", 5)
    assert cycle.phrase() == "changed after seeds 0-4 were read"
    assert cycle.age("bends")["status"] == "unknown"


def test_steps_that_were_copied_into_a_store_are_told_by_their_own_records(cycle, tmp_path):
    """They were not there when the claims were registered, and still are older."""
    cycle.run("coins")
    (file,) = cycle.files
    edit(file, found=[], registered="2100-01-01T00:00:00Z")
    assert cycle.age()["status"] == "unknown"
    edit(file, registered="2000-01-01T00:00:00Z")
    assert cycle.age()["status"] == "before"


@pytest.mark.whole
def test_logs_of_two_stores_become_one(cycle, nosce, tmp_path):
    """The form that was registered first counts, in whichever store; a copy of a store says what the store says."""
    other = Cycle(nosce, tmp_path / "other")
    cycle.run("coins")
    other.run("moved")
    shutil.copytree(cycle.root / "claims", other.root / "claims", dirs_exist_ok=True)
    assert other.phrase() == "written before the run"
    copied = Cycle(nosce, Path(shutil.copytree(cycle.root, tmp_path / "copied")))
    assert copied.age() == cycle.age()


@pytest.mark.whole
def test_no_clock_turns_the_order_of_registrations_round(cycle):
    """A clock that was set back between two runs turns no change round."""
    cycle.run("coins")
    cycle.run("moved")
    cycle.run("moved_again")
    for number, file in enumerate(cycle.files):
        edit(file, registered=f"20{31 - number}-01-01T00:00:00Z")
    age = cycle.age()
    assert (age["status"], age["n_forms"]) == ("changed", 3)
    assert (age["changes"][0]["before"][-4:], age["changes"][0]["after"][-4:]) == ("30 %", "35 %")


@pytest.mark.whole
def test_readings_that_were_set_aside_had_been_read(cycle):
    """What the estimates were made from counts, though its step is gone."""
    cycle.run("coins")
    shutil.move(cycle.root / "steps", cycle.root / "gone")
    (cycle.root / "steps").mkdir()
    for path in (cycle.root / "gone").glob("estimates-*"):
        shutil.move(path, cycle.root / "steps" / path.name)
    cycle.run("moved")
    assert cycle.phrase() == "changed after seeds 0-2 were read"


@pytest.mark.whole
@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "[" * 10_000, '{"study": "coins"}', "\udcff"])
def test_a_damaged_file_is_left_out_and_nobody_is_accused(cycle, text):
    """A line says so; what the file held is not known, then or later."""
    cycle.run("coins")
    (file,) = cycle.files
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    shown = cycle.nosce.here("show", "coins", "--store", cycle.root)
    assert shown.returncode == 0
    assert file.name in shown.stderr
    assert cycle.phrase() == "not known when it was written"
    cycle.run("one_more")
    assert {cycle.phrase(claim) for claim in ("lands", "half")} == {"not known when it was written"}
    file.unlink()
    assert {cycle.phrase(claim) for claim in ("lands", "half")} == {"not known when it was written"}


@pytest.mark.whole
def test_a_form_whose_registration_was_damaged_is_not_told_as_written_afterwards(cycle, monkeypatch):
    """It had been registered in time, as nobody can see any more: neither with the damaged file nor without it."""
    interrupt(cycle, "coins", monkeypatch)
    cycle.run("one_more")
    assert cycle.phrase("half") == "written before the run"
    file = cycle.files[1]
    file.write_text("{")
    assert cycle.phrase("half") == "not known when it was written"
    cycle.run("one_more", "--seeds", 4)
    assert cycle.phrase("half") == "not known when it was written, but before seed 3 was run"
    assert cycle.phrase("lands") == "written before the run"  # its own file is whole
    file.unlink()
    assert cycle.phrase("half") == "not known when it was written, but before seed 3 was run"


@pytest.mark.whole
def test_a_spoiled_file_stops_no_command(cycle):
    """Every field of a registration with values of other kinds: a registration, or left out in a sentence."""
    cycle.run("coins")
    cycle.run("moved")
    file = cycle.files[1]
    whole = load_json_object(file)
    odd = (None, True, -1, 1e300, "", "\x1b[31m", [], {}, [[]], [{}], {"a": []}, "../../x", "9999-99-99T00:00:00Z")
    rng = np.random.default_rng(0)
    for _ in range(40):
        name = list(whole)[rng.integers(len(whole))]
        file.write_text(json.dumps(whole | {name: odd[rng.integers(len(odd))]}))
        for words in (("show", "coins"), ("explain", "lands")):
            ended = cycle.nosce.here(*words, "--store", cycle.root)
            assert ended.returncode == 0, (name, ended.stderr)
            assert "\x1b" not in ended.stdout + ended.stderr
    for name in ("claims", "found"):
        for entry in ({}, {"id": 1}, {"step": "x"}, whole["claims"][0] | {"description": []}, None, 3):
            file.write_text(json.dumps(whole | {name: [entry]}))
            assert cycle.nosce.here("show", "coins", "--store", cycle.root).returncode == 0


# --- several processes, hostile texts ---


@pytest.mark.whole
def test_processes_that_start_together_write_one_registration(nosce, tmp_path):
    """Two real runs of one study on one store."""
    store = tmp_path / "store"
    words = ("run", f"{COINS}:coins", "--scale", "smoke", "--workers", "1", "--store", str(store))
    runs = [nosce.start(*words) for _ in range(2)]
    for one in runs:
        out, complaint = one.communicate(timeout=280)
        assert one.returncode == 0, out + complaint
    assert len(list((store / "claims").glob("*"))) == 1
    assert Cycle(nosce, store).phrase() == "written before the run"


def test_a_registration_that_another_process_has_written_is_left_as_it_is(cycle, monkeypatch):
    """Both found an empty log; the first file stays."""
    store = Store.open(cycle.root)
    request = StudyRequest(study=f"{COINS}:coins", scale="smoke")
    plan = request.plan()
    record = PlanRecord.of(request, plan)
    register_claims(store, record, plan.study.claims)
    (file,) = cycle.files
    first = file.read_bytes()
    monkeypatch.setattr(ClaimLog, "load", lambda *_: ClaimLog())
    monkeypatch.setattr("time.strftime", lambda *_: "2100-01-01T00:00:00Z")
    register_claims(store, record, plan.study.claims)
    assert [path.read_bytes() for path in cycle.files] == [first]


@pytest.mark.whole
def test_hostile_texts_steer_neither_page_nor_terminal(cycle, tmp_path):
    """Texts of claims before and after a change."""
    cycle.run("hostile")
    cycle.run("hostile_again")
    explained = cycle.explain()
    assert explained == printable(explained)
    assert "[bold]" in explained
    assert cycle.nosce.here("report", "--out", tmp_path / "site", "--store", cycle.root).returncode == 0
    page = (tmp_path / "site" / "coins" / "smoke" / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "changed after seeds 0-2 were read; changed: text" in page
    edit(cycle.files[1], commit="<script>\x1b[31m")
    shown = cycle.explain()
    assert shown == printable(shown)
    assert cycle.nosce.here("report", "--out", tmp_path / "site", "--store", cycle.root).returncode == 0
    assert "<script" not in (tmp_path / "site" / "coins" / "smoke" / "index.html").read_text(encoding="utf-8")


# --- words ---


@pytest.mark.parametrize(
    ("seeds", "words"), [((0,), "seed 0"), ((2, 0, 1), "seeds 0-2"), ((0, 1, 10, 12, 13), "seeds 0-1, 10, 12-13")]
)
def test_seeds_in_words(seeds, words):
    """Runs of seeds are drawn together."""
    assert name_seeds(seeds) == words


def test_every_age_fits_a_line():
    """A phrase is short, whatever the seeds."""
    for status in ("before", "changed", "added", "unknown", "not run"):
        age = ClaimAge(status=status, seeds_before=(0, 1, 2), seeds_after=(10, 11), seeds_otherwise=(3,))
        assert 0 < len(age.phrase) <= 80


@pytest.mark.whole
@pytest.mark.parametrize("study", ["biographies", "karel", "introspection", "emergence", "diaries"])
def test_the_claims_of_every_study_say_at_which_arms_they_look(study):
    """No claim is left out of a registration, and none names an arm that is not there."""
    request = StudyRequest(study=study, scale="smoke")
    plan = request.plan()
    record = PlanRecord.of(request, plan)
    from nosce.pipeline.claim_log import planned_readings, planned_versions

    versions = planned_versions(record, {})
    assert {version.id for version in versions} == {claim.id for claim in plan.study.claims}
    arms = {one.arm for one in planned_readings(record)}
    for version in versions:
        assert version.arms is None or version.arms & arms
