"""Which plan of a study is shown: the fullest finished one, whatever was run after it, unless another is asked for."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nosce.cli import app
from nosce.errors import UsageError
from nosce.pipeline.plan_choice import fullest_plan, match_name, narrowed_plans
from nosce.pipeline.plan_record import PlannedStep, PlanRecord
from nosce.store.store import Store


def a_plan(*arms, seeds=1, of_arms=("a", "b", "c"), of_seeds=2, version=1, number=0):
    """A plan whose steps are one an arm and seed, in a version of the study."""
    names = [f"evaluation-{arm}{seed}v{version}" for arm in arms for seed in range(seeds)]
    names.append(f"estimates-{''.join(arms)}{seeds}v{version}n{number}")
    return PlanRecord(
        study="s",
        scale="smoke",
        **dict.fromkeys(("title", "question", "paper", "unit", "requested_as", "command"), "s"),
        seeds=tuple(range(seeds)),
        arms=arms,
        estimates=names[-1],
        steps={name: PlannedStep(label=name, description={"inputs": {}}) for name in names},
        study_arms=of_arms,
        study_seeds=tuple(range(of_seeds)),
    )


WHOLE = a_plan("a", "b", "c", seeds=2)


@pytest.mark.parametrize(
    ("newest_first", "chosen"),
    [
        ([a_plan("a", seeds=2), WHOLE], 1),
        ([a_plan("a", "b", "c", seeds=1), WHOLE], 1),
        ([a_plan("a", seeds=9), a_plan("b"), WHOLE], 2),
        ([WHOLE, a_plan("a", "b", "c", seeds=5)], 1),
        ([a_plan("a", seeds=2, version=2), WHOLE], 1),
        ([a_plan("a"), a_plan("a", "b"), a_plan("a", seeds=2)], 1),
        ([a_plan("a"), a_plan("a", seeds=2)], 1),
        ([a_plan("a", number=2), a_plan("a", number=1)], 0),
        ([a_plan("a", "b", "c", seeds=2, number=2), WHOLE], 0),
    ],
    ids=[
        "arms left out",
        "seeds left out",
        "many seeds of one arm",
        "more seeds than the study has",
        "an arm of a changed study",
        "arms before seeds",
        "seeds",
        "equal parts",
        "equal wholes",
    ],
)
def test_a_smaller_plan_never_hides_a_fuller_one(newest_first, chosen):
    assert fullest_plan(newest_first) is newest_first[chosen]


def test_a_changed_study_is_shown_as_it_is_now():
    """An earlier version with other facts and more seeds, or with an arm that is gone, does not hide the new one."""
    now = a_plan("a", "b", seeds=2, of_arms=("a", "b"), version=2)
    earlier = [a_plan("a", "b", "c", seeds=2, version=2), a_plan("a", "b", seeds=5, of_arms=("a", "b"), version=1)]
    for before in earlier:
        assert fullest_plan([now, before]) is now


def test_records_of_earlier_versions_are_chosen_by_their_size():
    """They do not say what the study has in all."""
    unknown = {"study_arms": (), "study_seeds": ()}
    small, full = replace(a_plan("a"), **unknown), replace(WHOLE, **unknown)
    assert fullest_plan([small, full]) is full
    assert small.part == full.part == ""


def test_a_part_is_told_and_found():
    small, few = a_plan("a", seeds=1), a_plan("a", "b", "c", seeds=1)
    assert (WHOLE.part, small.part, few.part) == ("", "1 of 3 arms and 1 of 2 seeds", "1 of 2 seeds")
    plans = [small, few, WHOLE]
    assert narrowed_plans(plans, (), None) == plans
    assert narrowed_plans(plans, ("A",), None) == [small]
    assert narrowed_plans(plans, ("c", "b", "a"), 2) == [WHOLE]
    assert narrowed_plans(plans, (), 1) == [small, few]
    assert narrowed_plans(plans, ("a", "b"), None) == []


def test_a_name_is_meant_whatever_its_capitals_and_hyphens():
    names = ("pretrain", "fine tune", "A", "a", "B")
    for asked, meant in (("pretrain", 0), ("Pre-train", 0), ("FINETUNE", 1), ("A", 2), ("a", 3), ("b", 4)):
        assert match_name(asked, names, "there is no stage") == names[meant]
    with pytest.raises(UsageError, match=r"^no stage 'x'; take one of pretrain, fine tune, A, a, B\.$"):
        match_name("x", names, "no stage")
    with pytest.raises(UsageError, match=r"take one of a b, a_b\.$"):
        match_name("AB", ("a b", "a_b", "c"), "no stage")


@pytest.fixture(scope="module")
def store(once, smoke_store, nosce):
    """A store with a study of two arms, and the results of one of them, which were made later."""

    def make(folder: Path) -> str:
        shutil.copytree(smoke_store, folder / "store")
        ended = nosce.here("run", *STUDY, "--arms", "single", "--store", folder / "store", COLUMNS="80")
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    said = once("narrowed", make)
    return Store.open(Path(smoke_store).parent / "once-narrowed" / "store"), said


STUDY = ("biographies_adamw", "--scale", "smoke")


def called(*words, columns=80):
    ended = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": str(columns)}, catch_exceptions=False)
    assert ended.exit_code == 0
    return ended.stdout


@pytest.mark.whole
def test_the_run_of_one_arm_says_so_and_hides_no_other(store, tmp_path):
    """`show`, `report` and `audit` have both arms after one of them was run alone; the part is there on request."""
    store, said = store
    there = ("--store", store.root)
    shown = json.loads(called("show", STUDY[0], "--json", *there))
    part = json.loads(called("show", STUDY[0], "--json", "--arms", "single", *there))

    left_out = re.search(
        r"1 of 2 arms of the study\. The arms are single; (\d+) of (\d+) claims need others and are left out: ", said
    )
    unread, read = part["left_out"], [one["id"] for one in part["claims"]]
    assert [*map(int, left_out.groups())] == [len(unread), len(shown["claims"])]
    assert unread
    assert read
    assert {*unread, *read} == {one["id"] for one in shown["claims"]}
    assert "left_out" not in shown
    assert (shown["arms"], shown["part"]) == (["single", "multi5+permute"], None)
    assert (part["arms"], part["part"]) == (["single"], "1 of 2 arms")
    assert part["claims"] != shown["claims"]
    assert f"{unread[0]} is undecided" not in said
    assert f"All {len(read)} claims were written" in said
    assert not re.search(r"\.\.(\s|$)", said)  # a reason that is a sentence has one full stop
    text = called("show", STUDY[0], *there)
    newer = f"nosce show {STUDY[0]} --scale smoke --arms single --store {store.root}"
    assert f"Results of 1 of 2 arms are newer: `{newer}` shows them." in text
    assert "claims need others" not in text
    assert "claims need others and are left out" in called(*newer.split()[1:])
    called("report", "--out", tmp_path, *there)
    assert json.loads((tmp_path / STUDY[0] / "smoke" / "show.json").read_text(encoding="utf-8")) == shown
    assert "Part of the study" not in (tmp_path / STUDY[0] / "smoke" / "index.html").read_text(encoding="utf-8")
    assert "smoke (finished)" in called("list", *there)


def test_where_only_a_part_is_finished_page_index_and_list_say_so(store, tmp_path):
    copy = Store.open(shutil.copytree(store[0].root, tmp_path / "store"))
    whole = PlanRecord.find_finished(copy, STUDY[0], "smoke")
    shutil.move(copy.folder(whole.estimates), tmp_path / "gone")
    called("report", "--out", tmp_path / "site", "--store", copy.root)
    page = (tmp_path / "site" / STUDY[0] / "smoke" / "index.html").read_text(encoding="utf-8")

    assert "<strong>Part of the study.</strong> These are results of 1 of 2 arms of the study." in page
    assert "scale smoke; only 1 of 2 arms" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    listed = called("list", "--store", copy.root, columns=160)
    assert f"smoke ({len(whole.steps) - 1} of {len(whole.steps)} steps, 1 of 2 arms finished)" in listed


def test_a_part_that_is_not_there_is_refused_with_what_is(store):
    with pytest.raises(UsageError, match=r"take `nosce show .* --arms single") as refused:
        PlanRecord.find_finished(store[0], STUDY[0], "smoke", arms=("multi5+permute",))
    assert str(refused.value).count("`nosce show") == 2
    with pytest.raises(UsageError, match="exactly these arms and seeds"):
        PlanRecord.find_finished(store[0], STUDY[0], "smoke", n_seeds=2)


def test_the_scale_that_was_run_last_is_shown_with_its_fullest_plan(store, tmp_path):
    """The newest record decides the scale and not the plan."""
    copy = Store.open(shutil.copytree(store[0].root, tmp_path / "store"))
    part = PlanRecord.find_finished(copy, STUDY[0], None, arms=("single",))
    path = next((copy.root / "plans").glob(f"*-{part.estimates[-20:]}.json"))
    os.utime(path, ns=(2**62, 2**62))
    assert PlanRecord.find_finished(copy, STUDY[0], None).arms == ("single", "multi5+permute")
