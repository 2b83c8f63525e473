"""Logs of inspect_ai, HELM and lighteval; the first by its own reader, of real logs of `mockllm/model`."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest

from nosce.analysis.emergence.readers.base import ColumnChoice
from nosce.analysis.emergence.readers.find import read_tasks
from nosce.analysis.emergence.readers.logs import TaskLog, scores_of_logs
from nosce.analysis.emergence.table import parse_outcomes
from nosce.errors import UsageError

TABLES = Path(__file__).parents[3] / "data" / "tables"
needs_inspect = pytest.mark.skipif(find_spec("inspect_ai") is None, reason="needs nosce[inspect]")


@pytest.mark.skipif(find_spec("inspect_ai") is not None, reason="inspect_ai is installed")
@pytest.mark.parametrize("name", ["folder", "file.eval", "log.json"])
def test_logs_without_their_reader_are_a_sentence(tmp_path, name):
    """That names the extra."""
    path = TABLES / "inspect"
    if name == "file.eval":
        path = next(path.glob("*.eval"))
    if name == "log.json":
        path = tmp_path / "log.json"
        path.write_text(json.dumps({"version": 2, "status": "success", "eval": {}, "samples": []}))
    with pytest.raises(UsageError, match=r"pip install 'nosce\[inspect\]'"):
        read_tasks(path, ColumnChoice())


@needs_inspect
def test_real_logs_of_inspect_are_read():
    """Two tasks of six models: sizes from their names, options from the samples, letters of scorers as numbers."""
    tasks = {one.task: one for one in read_tasks(TABLES / "inspect", ColumnChoice())}
    assert set(tasks) == {"sums", "letters"}
    sums = parse_outcomes(tasks["sums"].table)
    assert sums.sizes.tolist() == [7e7, 1.6e8, 4.1e8, 1e9, 1.4e9, 2.8e9]
    assert sums.sharp.shape == (1, 6, 12)
    assert sums.means()[0][0, -1] == 1
    assert parse_outcomes(tasks["letters"].table).chance == 0.25
    named = read_tasks(TABLES / "inspect", ColumnChoice(task="sums", continuous=None, sharp="match"))
    assert named[0].names["sharp"] == "match"


@needs_inspect
def test_a_log_of_inspect_in_json_is_the_same(tmp_path):
    """Written by inspect's own writer; without its samples the means and their number are read."""
    from inspect_ai.log import read_eval_log, write_eval_log

    for file in sorted((TABLES / "inspect").glob("*sums*.eval")):
        log = read_eval_log(str(file))
        write_eval_log(log, str(tmp_path / "whole" / f"{file.stem}.json"))
        log.samples = None
        write_eval_log(log, str(tmp_path / "head" / f"{file.stem}.json"))
    whole = parse_outcomes(read_tasks(tmp_path / "whole", ColumnChoice(continuous="f1"))[0].table)
    packed = parse_outcomes(read_tasks(TABLES / "inspect", ColumnChoice(task="sums"))[0].table)
    heads = parse_outcomes(read_tasks(tmp_path / "head", ColumnChoice())[0].table)
    assert (whole.sharp == packed.sharp).all()
    assert whole.continuous is not None
    assert (heads.n_correct == packed.sharp.sum(2)).all()


@needs_inspect
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda log: setattr(log, "status", "error"), "status 'error'; run it to its end"),
        (lambda log: setattr(log.samples[0], "scores", {}), "no number of 'match' for the sample 'q0'"),
        (lambda log: setattr(log.results, "scores", []), "no scorer ''"),
    ],
)
def test_a_log_that_is_not_whole_is_refused(tmp_path, change, told):
    """Missing is not zero."""
    from inspect_ai.log import read_eval_log, write_eval_log

    for number, file in enumerate(sorted((TABLES / "inspect").glob("*sums*.eval"))):
        log = read_eval_log(str(file))
        if not number:
            change(log)
        write_eval_log(log, str(tmp_path / file.name))
    with pytest.raises(UsageError, match=told):
        read_tasks(tmp_path, ColumnChoice())


def test_a_broken_eval_file_is_refused(tmp_path):
    """By a sentence, whether inspect is there or not."""
    (tmp_path / "a.eval").write_bytes(b"PK no zip")
    with pytest.raises(UsageError) as told:
        read_tasks(tmp_path / "a.eval", ColumnChoice())
    assert "\n" not in str(told.value)


@pytest.fixture
def helm(tmp_path):
    """A copy that may be spoiled."""
    shutil.copytree(TABLES / "helm", tmp_path / "helm")
    return tmp_path / "helm"


def test_instances_of_helm_are_items(helm):
    """Without what was perturbed, with the metric that is named."""
    (task,) = read_tasks(helm, ColumnChoice(continuous="target_logprob"))
    assert task.task == "toy_task,subject=sums"
    outcomes = parse_outcomes(task.table)
    assert outcomes.sharp.shape == (1, 6, 12)
    assert (outcomes.continuous <= 0).all()


def test_trials_of_helm_are_seeds(helm):
    """Each instance once a trial; whatever names a trial."""
    for file in helm.rglob("per_instance_stats.json"):
        entries = json.loads(file.read_text())
        file.write_text(json.dumps([entry | {"train_trial_index": trial} for entry in entries for trial in ([1], 2)]))
    assert parse_outcomes(read_tasks(helm, ColumnChoice())[0].table).sharp.shape == (2, 6, 12)


def test_stats_of_helm_have_their_number_of_instances(helm):
    """And are refused where they do not say it, or the model."""
    for file in helm.rglob("per_instance_stats.json"):
        file.unlink()
    (task,) = read_tasks(helm, ColumnChoice())
    whole = parse_outcomes(read_tasks(TABLES / "helm", ColumnChoice())[0].table)
    assert (parse_outcomes(task.table).n_correct == whole.sharp.sum(2)).all()
    run = next(helm.iterdir())
    assert read_tasks(run / "stats.json", ColumnChoice())[0].table["asked"].to_list() == [12]
    stats = json.loads((run / "stats.json").read_text())
    (run / "stats.json").write_text(json.dumps([one for one in stats if one["name"]["name"] != "num_instances"]))
    with pytest.raises(UsageError, match="--n 500"):
        read_tasks(helm, ColumnChoice())
    (run / "run_spec.json").unlink()
    with pytest.raises(UsageError, match=r"no run_spec\.json"):
        read_tasks(helm, ColumnChoice(n="12"))


def test_multiple_choice_of_helm_asks_for_its_guess_level(helm):
    """The method of the adapter says it."""
    for file in helm.rglob("run_spec.json"):
        file.write_text(file.read_text().replace('"method": "generation"', '"method": "multiple_choice_joint"'))
    with pytest.raises(UsageError, match=r"--chance 0\.25"):
        read_tasks(helm, ColumnChoice())
    assert parse_outcomes(read_tasks(helm, ColumnChoice(chance="0.25"))[0].table).chance == 0.25


def test_details_of_the_leaderboard_are_items():
    """With the log-likelihood of the target among the options, and the guess level of their number."""
    (task,) = read_tasks(TABLES / "leaderboard", ColumnChoice())
    outcomes = parse_outcomes(task.table)
    assert task.task == "harness|arc:challenge|25"
    assert outcomes.sharp.shape == (1, 6, 16)
    assert outcomes.chance == 0.25
    tables = [pl.read_parquet(file, glob=False) for file in (TABLES / "leaderboard").rglob("*.parquet")]
    targets = [row["predictions"][row["gold_index"][0]] for table in tables for row in table.to_dicts()]
    assert sorted(outcomes.continuous.ravel()) == sorted(targets)


def test_two_models_of_a_size_are_refused(tmp_path):
    """With both."""
    shutil.copytree(TABLES / "leaderboard", tmp_path / "details")
    first = sorted((tmp_path / "details").iterdir())[0]
    shutil.copytree(first, tmp_path / "details" / f"other__{first.name}")
    with pytest.raises(UsageError, match=r"are both of harness.arc:challenge.25 at the size"):
        read_tasks(tmp_path / "details", ColumnChoice())


def test_curves_of_bigbench_have_the_log_likelihood_beside_them():
    """Means of as many items as the user says."""
    (task,) = read_tasks(TABLES / "bigbench", ColumnChoice(n="500"))
    outcomes = parse_outcomes(task.table)
    law = pl.read_csv(TABLES / "law.csv")
    assert (outcomes.n_correct[0] / 500 == law["acc"].to_numpy()).all()
    assert (outcomes.continuous[0] == law["logprob"].to_numpy()).all()


def test_a_folder_of_tables_is_a_sentence(tmp_path):
    """And an empty one."""
    with pytest.raises(UsageError, match="holds no results"):
        read_tasks(tmp_path, ColumnChoice())
    (tmp_path / "a.csv").write_text("size,right,asked\n")
    with pytest.raises(UsageError, match="holds 1 tables and no logs"):
        read_tasks(tmp_path, ColumnChoice())


def test_no_reader_imports_what_it_may_not_need():
    """inspect_ai and fastexcel are imported where a log or a workbook is read, and not before."""
    assert find_spec("inspect_ai") is not None or "inspect_ai" not in sys.modules


def test_logs_of_different_scorers_are_no_curve():
    """Of one log the first scorer is `match`, of another it is `f1`: which is meant, the user says."""
    row = [{"right": 1, "asked": 10.0}]
    logs = [
        TaskLog(path=f"{name}.json", task="sums", model=f"toy-{size}m", rows=row, names={"sharp": name})
        for size, name in ((1, "match"), (2, "f1"))
    ]
    with pytest.raises(UsageError, match=r"is 'match' in match.json and 'f1' in f1.json; name one with --sharp"):
        scores_of_logs(logs, "logs", ColumnChoice())
