"""Files that lm-evaluation-harness 0.4.13 wrote of six tiny models that learned to add."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from nosce.analysis.emergence.readers.base import ColumnChoice
from nosce.analysis.emergence.readers.find import read_tasks
from nosce.analysis.emergence.table import parse_outcomes
from nosce.errors import UsageError

FOLDER = Path(__file__).parents[3] / "data" / "tables" / "lm_eval"
SIZES = [1224, 3984, 15504, 26816, 58656, 153152]


@pytest.fixture
def copied(tmp_path):
    """A copy that may be spoiled."""
    shutil.copytree(FOLDER, tmp_path / "out")
    return tmp_path / "out"


def changed(folder: Path, change) -> None:
    """Change the JSON of every results file."""
    for file in folder.rglob("results_*.json"):
        content = json.loads(file.read_text())
        change(content, file)
        file.write_text(json.dumps(content))


def by_task(folder: Path, **said):
    return {one.task: one for one in read_tasks(folder, ColumnChoice(**said))}


def test_items_of_every_task_are_read():
    """Sizes from model_num_parameters; means as the results say; the target's log-likelihood where there is one."""
    tasks = by_task(FOLDER)
    assert list(tasks) == ["sums_mc", "sums_gen", "sums_ll"]
    for name, metric in (("sums_mc", "acc,none"), ("sums_gen", "exact_match,none"), ("sums_ll", "acc,none")):
        outcomes = parse_outcomes(tasks[name].table, log_likelihood=tasks[name].log_likelihood)
        assert outcomes.sizes[:5].tolist() == SIZES[:5]
        for file in FOLDER.rglob("results_*.json"):
            content = json.loads(file.read_text())
            place = outcomes.sizes.tolist().index(content["config"]["model_num_parameters"])
            assert outcomes.sharp[0, place].mean() == pytest.approx(content["results"][name][metric])
    assert tasks["sums_gen"].names.get("continuous") is None
    assert tasks["sums_mc"].names["continuous"] == "log-likelihood of the target"
    assert parse_outcomes(tasks["sums_mc"].table).chance == 0.25
    assert "acc_norm" in " ".join(tasks["sums_mc"].notes)


def test_the_log_likelihood_is_that_of_the_target():
    """Of multiple choice that of the right option, of the log-likelihood task that of the answer: the same number."""
    tasks = by_task(FOLDER)
    first, second = (parse_outcomes(tasks[name].table).continuous for name in ("sums_mc", "sums_ll"))
    assert np.allclose(first, second, atol=1e-4)
    assert (first < 0).all()


def test_aggregates_are_read_where_samples_are_missing(copied):
    """With their number of items, the log of the perplexity and its standard error; a guess level is asked for."""
    for file in copied.rglob("samples_*"):
        file.unlink()
    with pytest.raises(UsageError, match=r"sums_mc is multiple choice.*--chance 0\.25"):
        read_tasks(copied, ColumnChoice())
    tasks = by_task(copied, chance="0.25")
    outcomes = parse_outcomes(tasks["sums_ll"].table, lower_is_better=tasks["sums_ll"].lower_is_better)
    whole = parse_outcomes(by_task(FOLDER)["sums_ll"].table)
    assert np.array_equal(outcomes.n_correct, whole.sharp.sum(2))
    assert (outcomes.n_total == 20).all()
    assert np.allclose(outcomes.continuous, whole.continuous.mean(2), atol=1e-4)
    assert outcomes.continuous_stderr is not None
    assert outcomes.chance == 0.0
    assert parse_outcomes(tasks["sums_mc"].table).chance == 0.25
    assert "has no samples of sums_ll" in tasks["sums_ll"].notes[0]
    assert tasks["sums_mc"].names["continuous"] == "brier_score,none"


def test_one_model_without_samples_makes_all_aggregates(copied):
    """Items are compared only where every model has them."""
    next(copied.rglob("samples_sums_gen*")).unlink()
    tasks = by_task(copied)
    assert "asked" in tasks["sums_gen"].table.columns
    assert "item" in tasks["sums_ll"].table.columns


def test_a_size_that_is_not_noted_is_in_the_name_or_asked(copied):
    """An API model has no number of parameters."""
    changed(copied, lambda content, file: content["config"].pop("model_num_parameters"))
    with pytest.raises(UsageError, match=r"the size of the model 'models/sum-16' .*--size models/sum-16=1.3B"):
        read_tasks(copied, ColumnChoice())
    sizes = {f"sum-{hidden}": 1000.0 * hidden for hidden in (8, 16, 24, 32, 48, 64)}
    outcomes = parse_outcomes(by_task(copied, model_sizes=sizes)["sums_ll"].table)
    assert outcomes.sizes.tolist() == sorted(sizes.values())


def test_checkpoints_of_one_model_have_their_steps_as_sizes(copied):
    """Step 0 has no logarithm and is left out."""

    def checkpoint(content, file):
        step = 1000 * sorted(copied.iterdir()).index(file.parent)
        content["config"] |= {"model_num_parameters": 99, "model_revision": f"step{step}"}

    changed(copied, checkpoint)
    scores = by_task(copied)["sums_ll"]
    assert scores.names["size"] == "step in model_revision"
    assert parse_outcomes(scores.table).sizes.tolist() == [1000, 2000, 3000, 4000, 5000]
    assert "Step 0 has no logarithm, so it is left out." in scores.notes


def test_two_results_of_a_model_are_refused(copied):
    """So are two models of a size; the sentence names them."""
    file = next(copied.rglob("results_*.json"))
    (file.parent / "results_2026-01-01T00-00-00.0.json").write_text(file.read_text())
    with pytest.raises(UsageError, match="has 2 results of sums_mc; keep one"):
        read_tasks(copied, ColumnChoice())
    (file.parent / "results_2026-01-01T00-00-00.0.json").unlink()
    changed(copied, lambda content, file: content["config"].update(model_num_parameters=5))
    with pytest.raises(UsageError, match="6 models of the size 5"):
        read_tasks(copied, ColumnChoice())


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"doc_id": 0, "filter": "none"}', "line 1 .* no number in 'exact_match'; missing is not zero"),
        ('{"doc_id": 0, "filter": "none", "exact_match": NaN}', "missing is not zero"),
        ('{"doc_id": 0, "filter": "other", "exact_match": 1}', "no sample with the filter 'none'"),
        ("no json", "cannot be read as samples"),
        ("[" * 100_000, "cannot be read as samples"),
    ],
)
def test_a_spoiled_sample_is_refused(copied, line, told):
    """Missing is not zero."""
    next(copied.rglob("samples_sums_gen*")).write_text(line + "\n")
    with pytest.raises(UsageError, match=told) as refused:
        read_tasks(copied, ColumnChoice(task="sums_gen"))
    assert "\n" not in str(refused.value)


def test_options_that_are_asked_twice_count_once(copied):
    """As `acc_mutual_info` asks: with the question and without."""
    for file in copied.rglob("samples_sums_mc*"):
        samples = [json.loads(line) for line in file.read_text().splitlines()]
        for sample in samples:
            for key in ("resps", "filtered_resps"):
                sample[key] = sample[key] * 2
            for number, request in enumerate(list(sample["arguments"].values()), 4):
                sample["arguments"][f"gen_args_{number}"] = {"arg_0": "", "arg_1": request["arg_1"]}
        file.write_text("\n".join(map(json.dumps, samples)))
    found, whole = (parse_outcomes(by_task(folder)["sums_mc"].table) for folder in (copied, FOLDER))
    assert found.chance == 0.25
    assert np.array_equal(found.continuous, whole.continuous)


def test_groups_of_tasks_are_left_out(copied):
    """Their members are there, and a group has no items of its own."""

    def grouped(content, file):
        content["results"]["sums"] = {"acc,none": 0.5, "alias": "sums"}
        content["group_subtasks"] = {"sums": ["sums_ll", "sums_mc"], "sums_ll": []}

    changed(copied, grouped)
    assert list(by_task(copied)) == ["sums_mc", "sums_gen", "sums_ll"]


def test_other_texts_are_no_pairs(copied):
    """Samples of other documents under the same numbers do not stand for the same items."""
    file = next(copied.rglob("samples_sums_gen*"))
    file.write_text(file.read_text().replace('"doc_hash": "', '"doc_hash": "f00d'))
    scores = by_task(copied, task="sums_gen")["sums_gen"]
    with pytest.raises(Exception, match="has 20 of 40 items"):
        parse_outcomes(scores.table)


def test_perplexity_of_a_sample_is_its_log_likelihood():
    """lm-eval writes a sample's log-likelihood under `perplexity`, and the mean's exponent in the results."""
    (plain,) = (one for one in read_tasks(FOLDER, ColumnChoice(task="sums_ll")))
    (named,) = (one for one in read_tasks(FOLDER, ColumnChoice(task="sums_ll", continuous="perplexity")))
    assert not named.lower_is_better
    found = [parse_outcomes(one.table, lower_is_better=one.lower_is_better).continuous for one in (plain, named)]
    assert np.allclose(*found, atol=1e-4)
