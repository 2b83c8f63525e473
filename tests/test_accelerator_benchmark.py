"""The script for whoever has a GPU runs here as well, and a stage that fails or hangs loses no other."""

import csv
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def stages(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("accelerator_stages")


@pytest.fixture
def accelerator(stages):
    return importlib.import_module("accelerator")


def rows_of(text, mark):
    return [json.loads(line.removeprefix(mark)) for line in text.splitlines() if line.startswith(mark)]


@pytest.mark.whole
def test_trainings_of_every_stage_of_correctness_are_equal_on_one_device(stages, capsys, tmp_path):
    """On a CPU both sides are the same device, so nothing differs and nothing fails."""
    stages.correctness(stages.Setting(tmp_path, "cpu", True, time.monotonic() + 60))
    rows = rows_of(capsys.readouterr().out, stages.ROW_MARK)
    assert {row["value"] for row in rows if row["measure"] == "equal bytes"} == {"True"}
    assert {row["value"] for row in rows if row["measure"] == "largest difference to the CPU"} == {0.0}
    assert not [row for row in rows if row["measure"] == "failed"]


def test_a_fault_within_a_stage_is_a_row(stages, capsys):
    """The stage goes on behind it."""
    with stages.guarded("case"):
        raise ValueError("what it says")
    (row,) = rows_of(capsys.readouterr().out, stages.ROW_MARK)
    assert (row["case"], row["measure"], row["note"]) == ("case", "failed", "what it says")


def test_a_stage_that_hangs_is_stopped_and_one_that_breaks_is_told(accelerator, stages, monkeypatch, tmp_path):
    """What a stage had said by then is kept, and each table holds the same rows."""
    script = tmp_path / "stage.py"
    script.write_text(
        f'import sys, time\nprint({stages.ROW_MARK!r} + \'{{"case": "a", "measure": "b", "value": 1}}\')\n'
        "if 'hangs' in sys.argv: time.sleep(60)\nsys.exit('broken')\n"
    )
    monkeypatch.setattr(accelerator, "__file__", str(script))
    report = accelerator.Report(tmp_path / "out")
    setting = stages.Setting(tmp_path, "cpu", True, 0.0)
    for stage, limit in (("hangs", 2.0), ("breaks", 20.0)):
        accelerator.run_stage(stage, setting, limit, report)
    with report.csv.open(newline="") as file:
        found = [(row["stage"], row["case"], row["measure"]) for row in csv.DictReader(file)]
    assert found == [
        ("hangs", "a", "b"),
        ("hangs", "whole stage", "stopped at its limit"),
        ("breaks", "a", "b"),
        ("breaks", "whole stage", "failed with code 1"),
    ]
    assert "| broken |" in report.md.read_text()


@pytest.mark.slow
def test_the_whole_script_runs_without_a_gpu(tmp_path):
    """Every stage but the studies ends, and nothing fails."""
    command = [sys.executable, str(BENCHMARKS / "accelerator.py"), "--device", "cpu", "--tiny", "--out", str(tmp_path)]
    command += ["--only", "quick", "speed", "generation", "sharing"]
    subprocess.run(command, check=True, timeout=500)
    with (tmp_path / "accelerator.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["stage"] for row in rows if row["case"] == "whole stage"] == ["quick", "speed", "generation", "sharing"]
    assert {row["measure"] for row in rows if row["case"] == "whole stage"} == {"ended"}
    assert not [row for row in rows if row["measure"] == "failed"]
