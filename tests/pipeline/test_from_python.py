"""`nosce.run` makes what the command makes, and gives it back as an object."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from tests.fixtures.tiny_folders import tiny_folder

import nosce
from nosce.errors import RunError, UsageError

SCRIPT = """
import nosce, sys

if __name__ == "__main__":
    results = nosce.run(sys.argv[1], scale="smoke", store=sys.argv[2], workers=1, quiet=True)
    print(results.claims["id"].to_list())
"""


@pytest.mark.whole
def test_a_study_gives_claims_readings_and_checkpoints(steps_here, little, tmp_path, capfd):
    """Checkpoints are folders that transformers loads; a second call makes nothing; quiet is quiet."""
    from transformers import AutoModelForCausalLM

    words = {"scale": "smoke", "store": tmp_path / "s", "workers": 1, "quiet": True}
    results = nosce.run(little("one_arm"), **words)
    again = nosce.run(little("one_arm"), **words)

    assert capfd.readouterr() == ("", "")
    assert isinstance(results, nosce.RunResults)
    assert {"id", "estimate", "low", "high", "n", "verdict", "why"} <= set(results.claims.columns)
    assert results.claims["id"].to_list() == [verdict.id for verdict in results.verdicts]
    assert {"arm", "item", "value", "answer"} <= set(results.readings.columns)
    assert results.readings["value"].len() > 0
    assert [figure.id for figure in results.figures]
    (arm,) = results.plan.arms
    stages = {key[2] for key in results.checkpoints}
    assert stages == {"pretrain", "finetune"}
    step = max(key[3] for key in results.checkpoints if key[2] == "finetune")
    assert AutoModelForCausalLM.from_pretrained(results.checkpoints[arm, 0, "finetune", step])
    assert again.readings.equals(results.readings)
    assert again.provenance.finished_at == results.provenance.finished_at


@pytest.mark.whole
def test_a_script_runs_a_study(little, tmp_path):
    """Workers import the script anew, and start nothing of it."""
    (tmp_path / "script.py").write_text(SCRIPT)
    words = [sys.executable, tmp_path / "script.py", little("one_arm"), tmp_path / "s"]
    done = subprocess.run(words, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1


@pytest.mark.whole
def test_models_and_settings_are_those_of_the_command(steps_here, tmp_path):
    folder = tiny_folder("llama", tmp_path / "llama")
    settings = {"people": 8, "seeds": (3,), "chat": False, "augmentations": ["single"]}
    results = nosce.run(
        "biographies", model=folder, scale="smoke", settings=settings, store=tmp_path / "s", workers=1, quiet=True
    )
    assert results.plan.variant == "llama, people=8, seeds=3, chat=no, augmentations=single"
    assert results.plan.command.startswith(f"nosce run biographies --scale smoke --model {folder} --set people=8")
    assert results.readings["seed"].unique().to_list() == [3]
    assert results.claims.filter(pl.col("id") == "memorised/single")["verdict"].to_list() != ["holds"]


def test_what_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(UsageError, match="there is no study 'nothing'"):
        nosce.run("nothing", store=tmp_path / "s")
    with pytest.raises(UsageError, match="names no field"):
        nosce.run("biographies", scale="smoke", settings={"peple": 3}, store=tmp_path / "s")
    assert not list(Path(tmp_path / "s").glob("steps/*"))


def test_a_step_that_fails_is_named_and_the_others_are_kept(steps_here, little, tmp_path):
    with pytest.raises(RunError, match=r"failed, the first .* goes on from here"):
        nosce.run(little("broken"), scale="smoke", store=tmp_path / "s", workers=1, quiet=True)
    assert list((tmp_path / "s" / "steps").glob("corpus-*"))
