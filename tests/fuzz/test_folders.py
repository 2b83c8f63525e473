"""Broken model folders end in one sentence before any work: as an arm of a study, and when they are asked."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from broken_folders import FAMILIES, FAULTS, MARK, Fault, broken_copy, random_fault, whole_folder
from harness import Outcome, count_outcomes, run_case, run_nosce

from nosce.models.api.base import ChatRequest, complete_all
from nosce.models.api.local import LocalChatModel

STUDY = f"{Path(__file__).with_name('folder_study.py')}:study"
RANDOM = {f"random {seed}": random_fault(seed) for seed in range(60)}
QUICK = ("nothing", "config deep", "weights lfs", "a million layers", "a shard outside", "weights not finite")
QUICK_CHAT = (
    "code of its own for an unknown model",
    "a template that raises",
    "more tokens than rows",
    "a template with a token beyond the rows",
)


@pytest.fixture(scope="session")
def wholes(tmp_path_factory):
    """One whole folder of each family; what a step imports is imported once and not in each forked child."""
    for name in ("corpus", "leakage", "exposure", "training", "evaluation", "estimates"):
        importlib.import_module(f"nosce.pipeline.steps.{name}")
    importlib.import_module("nosce.train.loop")
    place = tmp_path_factory.mktemp("whole")
    for family in FAMILIES:
        whole_folder(family, place / family)
    return place


@pytest.fixture
def inline(steps_here, monkeypatch, tmp_path):
    """Steps are made in the process of the command, in a folder where a mark would be seen."""
    monkeypatch.chdir(tmp_path)


def run_arm(whole: Path, fault: Fault, place: Path, monkeypatch) -> Outcome:
    """`nosce run` of a study whose arm starts from the broken folder."""
    folder = broken_copy(whole, fault, place / "model")
    monkeypatch.setenv("NOSCE_FUZZ_FOLDER", str(folder))
    return run_nosce("run", STUDY, "--scale", "smoke", "--device", "cpu", "--store", place / "store", timeout=60)


def ask(whole: Path, fault: Fault, place: Path) -> Outcome:
    """One greedy and one sampled reply of the broken folder."""
    folder = broken_copy(whole, fault, place / "model")
    asks = [ChatRequest.from_user("Who?", max_new_tokens=2, temperature=heat, top_logprobs=2) for heat in (0.0, 1.0)]
    return run_case(lambda: len(complete_all(LocalChatModel(folder), asks)) - 2, timeout=60)


def wrong(outcome: Outcome, expected: str, place: Path) -> bool:
    """Is this not what should become of a folder, or was something done before a refusal, or a stranger's code run?"""
    if (place.parent / MARK).exists() or (place / MARK).exists():
        return True
    if outcome.kind == "sentence":
        made = [path for path in (place / "store").glob("steps/*")]
        one = len(outcome.sentences) == 1 and len(outcome.stderr.strip().splitlines()) == 1
        return expected == "ok" or not one or outcome.exit_code != 2 or bool(made)
    return outcome.kind != "ok" or expected == "refused"


def check_faults(faults: dict[str, Fault], families, wholes, place: Path, monkeypatch, ways=("arm", "chat")) -> str:
    """Try each fault of each family in both ways, and return the counts."""
    outcomes, bad = {}, []
    for family in families:
        for number, (name, fault) in enumerate(faults.items()):
            for way in ways:
                case = place / f"{family}-{number}-{way}"
                case.mkdir()
                whole = wholes / family
                arm = way == "arm"
                outcome = run_arm(whole, fault, case, monkeypatch) if arm else ask(whole, fault, case)
                outcomes[f"{family}, {name}, {way}"] = outcome
                if wrong(outcome, fault.arm if arm else fault.chat, case):
                    bad.append(f"{family}, {name}, {way} (wanted {fault.arm if arm else fault.chat}): {outcome}")
                shutil.rmtree(case)
    counts = count_outcomes(outcomes)
    assert not bad, f"{counts}\n{len(bad)} wrong:\n" + "\n\n".join(bad)
    return counts


@pytest.mark.whole
def test_broken_folders_are_refused_in_one_sentence_before_any_work():
    """The quick subset of arms, in a fresh process: a fork would inherit the locks of threads that polars started."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "slow"]
    done = subprocess.run(
        [*words, f"{__file__}::test_a_few_broken_arms"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.slow
def test_a_few_broken_arms(inline, wholes, tmp_path, monkeypatch):
    """What the test above runs."""
    print(check_faults({name: FAULTS[name] for name in QUICK}, FAMILIES[:1], wholes, tmp_path, monkeypatch, ["arm"]))


def test_a_broken_folder_that_is_asked_says_one_sentence(inline, wholes, tmp_path, monkeypatch):
    """The quick subset: a chat."""
    print(
        check_faults(
            {name: FAULTS[name] for name in QUICK_CHAT}, FAMILIES[1:2], wholes, tmp_path, monkeypatch, ["chat"]
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_fault_of_every_family(inline, wholes, tmp_path, monkeypatch, family):
    """All named faults, as an arm and in a chat."""
    print(check_faults(FAULTS, [family], wholes, tmp_path, monkeypatch))


@pytest.mark.slow
def test_random_faults(inline, wholes, tmp_path, monkeypatch):
    """Bytes, ends of files and values of configurations, drawn from seeds; of each family another share."""
    for offset, family in enumerate(FAMILIES):
        some = dict(list(RANDOM.items())[offset :: len(FAMILIES)])
        print(check_faults(some, [family], wholes, tmp_path, monkeypatch))
