"""Fuzzers of the command line: whatever is typed, read or imported ends with results or with a sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cases import Dice, command_line, file_system, study_file, table
from harness import MEMORY_LIMIT, Kind, Outcome, count_outcomes

SOUND: tuple[Kind, ...] = ("ok", "sentence")


def run_cases(cases: list[list[str]], folder: Path) -> dict[str, Outcome]:
    """What becomes of command lines, in one process of their own; a case that ends the process is a traceback."""
    (folder / "cases.json").write_text(json.dumps(cases))
    outcomes = folder / "outcomes.jsonl"
    home = folder / "home"
    home.mkdir()
    worker = Path(__file__).with_name("worker.py")
    surroundings = {name: value for name, value in os.environ.items() if name != "NOSCE_STORE"}
    done = subprocess.run(
        [sys.executable, worker, folder / "cases.json", outcomes],
        cwd=home,
        env=surroundings | {"HOME": str(home), "COLUMNS": "120", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        timeout=3_600,  # each case has a limit of its own
        check=False,
    )
    found = {}
    for number, line in enumerate(outcomes.read_text(encoding="utf-8").splitlines()):
        note = json.loads(line)
        words = [word if len(word) < 200 else f"{word[:20]}...({len(word)})" for word in cases[number]]
        kind = "memory" if note["peak"] > MEMORY_LIMIT else note["kind"]
        found[f"{number}: {words}"] = Outcome(
            kind,
            note["code"],
            note["out"],
            note["err"],
            note["seconds"],
            note["peak"],
        )
    if done.returncode:
        crashed = f"after {len(found)} of {len(cases)}: {cases[min(len(found), len(cases) - 1)]}"
        found[crashed] = Outcome("traceback", done.returncode, "", done.stderr.decode(errors="replace"), 0, 0)
    return found


def check(found: dict[str, Outcome], at_least: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Print the counts, and fail with the first cases that ended otherwise than they may."""
    with capsys.disabled():
        print(f"\n{count_outcomes(found)}")
    wrong = {case: outcome for case, outcome in found.items() if outcome.kind not in SOUND}
    assert not wrong, "\n\n".join(f"{case}\n{outcome}" for case, outcome in [*wrong.items()][:10])
    assert len(found) >= at_least
    for case, outcome in found.items():
        steering = [s for s in outcome.stdout + outcome.stderr if not s.isprintable() and s not in "\n\t"]
        assert not steering, (case, steering)


def _command_lines(number: int, seed: int, folder: Path, store: Path) -> list[list[str]]:
    rng = Dice(seed)
    file_system(folder / "files")
    own_store = Path(shutil.copytree(store, folder / "little"))  # plans are written to it
    cases: dict[str, list[str]] = {}
    while len(cases) < number:
        words = command_line(rng, folder / "files", own_store)
        cases[repr(words)] = words
    return [*cases.values()]


def _tables(number: int, seed: int, folder: Path) -> list[list[str]]:
    rng = Dice(seed)
    flags = ["--log-likelihood", "--lower-is-better", "--json"]
    return [
        [
            "audit",
            str(table(rng, folder / f"t{n}")),
            "--resamples",
            "100",
            *rng.sample(flags, k=rng.choice([0, 0, 1, 2])),
        ]
        for n in range(number)
    ]


def _study_files(number: int, seed: int, folder: Path) -> list[list[str]]:
    rng = Dice(seed)
    store = ["--store", str(folder / "store")]
    return [
        [rng.choice(["run", "plan"]), study_file(rng, folder / f"study{n}.py"), "--scale", "smoke", *store]
        for n in range(number)
    ]


@pytest.mark.whole
def test_no_command_line_ends_in_a_traceback(tmp_path, little_store, capsys):
    """Two hundred command lines over sound, spoiled and empty stores."""
    check(run_cases(_command_lines(200, 1, tmp_path, little_store), tmp_path), 200, capsys)


@pytest.mark.whole
def test_no_table_ends_in_a_traceback(tmp_path, capsys):
    """Eighty tables, most with a fault of content, form or bytes."""
    check(run_cases(_tables(80, 2, tmp_path), tmp_path), 80, capsys)


@pytest.mark.whole
def test_no_study_file_ends_in_a_traceback(tmp_path, capsys):
    """Sixty study files, most with a wrong value, a line that raises, or half of their text."""
    check(run_cases(_study_files(60, 3, tmp_path), tmp_path), 60, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, *range(10, 14)])
def test_ten_times_as_many(tmp_path, little_store, capsys, seed):
    """The same fuzzers for longer, from their own seeds and from others."""
    for name in ("commands", "tables", "studies"):
        (tmp_path / name).mkdir()
    check(
        run_cases(_command_lines(3_000, seed, tmp_path / "commands", little_store), tmp_path / "commands"),
        2_900,
        capsys,
    )
    check(run_cases(_tables(1_500, seed, tmp_path / "tables"), tmp_path / "tables"), 1_500, capsys)
    check(run_cases(_study_files(1_000, seed, tmp_path / "studies"), tmp_path / "studies"), 1_000, capsys)


@pytest.mark.whole
@pytest.mark.parametrize(
    "words",
    [
        ["audit", "x" * 5_000],
        ["run", "/dev/zero:f"],
        ["list", "--store", "/dev/null"],
        ["explain", "\udcff"],
        ["audit", "t.csv", "--figure", "none/deeper/f.svg"],
    ],
    ids=range(5),
)
def test_the_command_itself_says_so_too(nosce, tmp_path, words):
    """In a process of its own, as a user runs it: one sentence and an exit code."""
    (tmp_path / "t.csv").write_text("size,right,asked\n1,0,10\n10,5,10\n100,9,10\n")
    ended = nosce(*words, cwd=tmp_path)
    assert ended.returncode in (1, 2)
    assert ended.stderr.startswith("nosce: ")
    assert ended.stderr.count("\n") == 1
