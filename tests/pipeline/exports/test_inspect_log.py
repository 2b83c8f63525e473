"""An exported Inspect task and its logs: their form, and that Inspect reads our accuracy."""

from __future__ import annotations

import json
import re

import pytest
from tests.fixtures.tool_pythons import python_with, run_tool
from tests.pipeline.exports.test_asked import HOSTILE, hostile_set, smoke_target

from nosce.pipeline.export import export_checkpoint
from nosce.pipeline.exports import inspect_log
from nosce.pipeline.exports.asked import asked_sets

READ = """
import json, sys
sys.path.insert(0, ".")
from inspect_ai.log import list_eval_logs, read_eval_log
from task import questions
found = {}
for info in list_eval_logs("logs"):
    log = read_eval_log(info)
    (scores,) = log.results.scores
    right = sum(sample.scores["exact_text"].value == "C" for sample in log.samples)
    found[log.eval.task_args["split"]] = [log.status, scores.metrics["accuracy"].value, right, len(log.samples),
                                          scores.metrics["stderr"].value]
task = questions(split="unseen")
first = task.dataset[0]
print(json.dumps({"logs": found, "samples": len(task.dataset), "input": first.input, "target": first.target}))
"""


@pytest.fixture
def folder(smoke_store, tmp_path):
    """The folder with task and logs of the smoke study."""
    export_checkpoint(smoke_target(smoke_store), tmp_path / "task", "inspect", "unknown")
    return tmp_path / "task"


def test_the_logs_say_what_the_readings_say(folder, smoke_store):
    """One log for each split; its letters, its share and its names agree with each other."""
    logs = [json.loads(path.read_text()) for path in sorted(folder.glob("logs/*.json"))]
    shares = {one.split: one.accuracy for one in asked_sets(smoke_target(smoke_store))}
    assert {log["eval"]["task_args"]["split"] for log in logs} == set(shares)
    for log in logs:
        letters = [sample["scores"]["exact_text"]["value"] for sample in log["samples"]]
        (score,) = log["results"]["scores"]
        share = shares[log["eval"]["task_args"]["split"]]
        assert letters.count("C") / len(letters) == score["metrics"]["accuracy"]["value"] == share
        assert log["results"]["total_samples"] == len(letters) == log["eval"]["dataset"]["samples"]
        assert log["status"] == "success"
        assert re.fullmatch(r"nosce/[\w+]+-seed-0-finetune-step-\d+", log["eval"]["model"])  # no key of a step
    names = [path.name for path in folder.glob("logs/*.json")]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d-]+_[a-z0-9-]+_[0-9A-Za-z]{22}\.json", name) for name in names)


def test_the_code_is_the_same_for_every_study(folder, tmp_path):
    """No text of a study stands in it, so that none can be run."""
    assert (folder / "task.py").read_text() == inspect_log.TASK_CODE
    compile(inspect_log.TASK_CODE, "task.py", "exec")


def test_hostile_texts_stay_texts(smoke_store, tmp_path):
    """Prompt, answer and target come back from the log as they were."""
    log = json.loads(json.dumps(inspect_log.inspect_log(smoke_target(smoke_store), hostile_set(tmp_path))))
    sample = log["samples"][0]
    assert (sample["input"], sample["target"]) == (f"{HOSTILE} ", HOSTILE)
    assert sample["output"]["choices"][0]["message"]["content"] == HOSTILE
    assert log["results"]["scores"][0]["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3)


def test_the_same_answers_have_the_same_names(smoke_store, tmp_path):
    """Two exports of one checkpoint give one log, not two that look like two runs."""
    target, asked = smoke_target(smoke_store), hostile_set(tmp_path)
    assert inspect_log.inspect_log(target, asked) == inspect_log.inspect_log(target, asked)
    other = inspect_log.inspect_log(smoke_target(smoke_store, arm="single"), asked)
    assert other["eval"]["task_id"] != inspect_log.inspect_log(target, asked)["eval"]["task_id"]


@pytest.mark.slow
def test_inspect_reads_the_logs_and_the_task(folder, smoke_store):
    """The real tool: as many right answers, its own standard error, and the prompts of the task."""
    found = json.loads(run_tool(python_with("inspect_ai"), "-c", READ, cwd=folder).splitlines()[-1])
    for one in asked_sets(smoke_target(smoke_store)):
        status, accuracy, right, n, stderr = found["logs"][one.split]
        assert (status, right, n) == ("success", sum(item.correct for item in one.items), len(one.items))
        assert accuracy == pytest.approx(one.accuracy, abs=1e-12)
        assert stderr == pytest.approx((accuracy * (1 - accuracy) / (n - 1)) ** 0.5)
        if one.split == "unseen":
            assert found["samples"] == n
            assert (found["input"], found["target"]) == (one.items[0].question.prompt, one.items[0].question.target)
