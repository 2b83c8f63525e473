"""BIG-bench's result files: the sheet's emergence scores, and curves that are never mixed up."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import polars as pl
import pytest

from nosce.analysis.emergence import bigbench
from nosce.analysis.emergence.table import parse_outcomes
from nosce.analysis.emergence.test import mirage_test
from nosce.errors import DataError
from nosce.seeds import Seed

DATA = Path(__file__).parents[2] / "fixtures" / "bigbench"
#: The sheet for arXiv:2304.15004, section 4d.
EXPECTED = {
    "figure_of_speech_detection": 17.95,
    "implicatures": 8.39,
    "navigate": 5.12,
    "hindu_knowledge": 16.72,
    "social_iqa": 8.26,
    "metaphor_boolean": 4.19,
    "reasoning_about_colored_objects": 13.26,
    "strategyqa": 7.82,
    "hyperbaton": 3.54,
    "date_understanding": 13.10,
    "simple_ethical_questions": 7.22,
    "common_morpheme": 3.33,
    "general_knowledge": 13.02,
    "fantasy_reasoning": 6.02,
    "parsinlu_qa": -3.14,
    "physics": 10.00,
    "phrase_relatedness": 5.67,
    "riddle_sense": 5.67,
    "mnist_ascii": -3.90,
    "physical_intuition": 8.98,
    "emoji_movie": 5.25,
    "misconceptions": 5.25,
    "vitaminc_fact_verification": -4.81,
    "ruin_names": -6.11,
}


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    """The shared table of 24 tasks and 12 sizes."""
    return bigbench.load_bigbench(DATA / "scores_BIG-G_T0.jsonl.gz")


def test_emergence_scores_are_those_of_the_sheet(table):
    """To two decimals, all 24."""
    found = bigbench.emergence_scores(table)
    assert found["sizes"].unique().to_list() == [12]
    assert dict(found.select("task", pl.col("emergence").round(2)).iter_rows()) == EXPECTED


def test_chance_is_below_which_a_score_may_lie(table):
    """Normalised scores may be negative; nothing is clipped."""
    told = bigbench.normalized_scores(table)
    assert told.filter(task="vitaminc_fact_verification")["normalised"].min() < 0
    assert told["normalised"].max() < 100


def test_shares_of_metrics_count_curves_that_are_defined(table):
    """As many as there are, above a threshold; those without a score are no curves."""
    curves = bigbench.emergence_scores(table)
    found = bigbench.emergent_shares(curves, 10)
    assert found.row(0) == ("multiple_choice_grade", 5, 24, 5 / 24)
    blank = curves.with_columns(emergence=pl.when(pl.col("task") != "navigate").then("emergence"))
    assert bigbench.emergent_shares(blank, 10).row(0)[2] == 23


def entry(**more):
    """A file as BIG-bench writes it."""
    scored = {
        "score_dict": {"exact_str_match": 0.5},
        "preferred_score": "exact_str_match",
        "number_of_shots": 0,
        "low_score": 0,
        "high_score": 1,
        "subtask_description": "t",
    }
    return {
        "scores": [scored | more],
        "task": {"task_name": "t"},
        "model": {
            "model_family": "GPT",
            "model_name": "GPT-3-XL",
            "non_embedding_params": 10,
            "flop_matched_non_embedding_params": 20,
        },
    }


def test_a_folder_of_files_is_read_by_what_stands_inside(tmp_path):
    """Size is the flop-matched one; subtasks are levels of their own; -inf and null are missing, not zero."""
    (tmp_path / "x").mkdir()
    whole = entry(score_dict={"exact_str_match": 0.5, "log_likelihood": float("-inf"), "bleu": None})
    whole["scores"].append(entry(subtask_description="t:one")["scores"][0])
    (tmp_path / "x" / "scores_whatever_T=0.json").write_text(json.dumps(whole))
    found = bigbench.load_bigbench(tmp_path)
    assert found["size"].unique().to_list() == [20]
    assert found["subtask"].unique().sort().to_list() == ["", "t:one"]
    assert found.filter(metric="log_likelihood")["score"].to_list() == [None]
    assert found.filter(metric="bleu")["score"].to_list() == [None]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda w: w.pop("model"), "no result file"),
        (lambda w: w["scores"][0].pop("number_of_shots"), "no result file"),
        (lambda w: w["scores"][0]["score_dict"].update(exact_str_match=50.0), "outside 0 to 1"),
        (lambda w: w.update(scores="<script>"), "no result file"),
    ],
)
def test_what_is_no_result_file_is_told(tmp_path, spoil, words):
    """With its name."""
    whole = copy.deepcopy(entry())
    spoil(whole)
    (tmp_path / "scores_a.json").write_text(json.dumps(whole))
    with pytest.raises(DataError, match=f"scores_a.json.*{words}"):
        bigbench.load_bigbench(tmp_path)


def test_nothing_to_read_is_told(tmp_path):
    """An empty folder, no JSON."""
    with pytest.raises(DataError, match="no score was found"):
        bigbench.load_bigbench(tmp_path)
    (tmp_path / "scores_a.json").write_text("{")
    with pytest.raises(DataError, match="no JSON"):
        bigbench.load_bigbench(tmp_path)


def test_curves_become_counts_for_the_audit(table):
    """Right answers are whole numbers again, and a task without a continuous score can only jump or not."""
    asked = dict(pl.read_csv(DATA / "counts.csv").select("task", "n_scored").unique().iter_rows())
    told = bigbench.to_counts(table, asked).filter(task="hindu_knowledge").select("size", "right", "asked")
    published = pl.read_csv(DATA / "counts.csv").filter(task="hindu_knowledge").sort("non_embedding_params")
    assert told["right"].to_list() == published["k_correct"].to_list()
    assert mirage_test(parse_outcomes(told), Seed(0), resamples=200).verdict in ("no jump", "under-resolved")
