"""`nosce audit`: a verdict in words or as JSON, a figure, and one sentence for a table that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nosce.analysis.emergence import summary as words
from nosce.analysis.emergence.scores import CountOutcomes
from nosce.analysis.emergence.simulation import simulate_outcomes
from nosce.analysis.emergence.test import mirage_test
from nosce.seeds import Seed


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Outcomes of a power law as a file, with a name that a page must not believe."""
    told = simulate_outcomes("power law", sizes=8, items=300, seeds=1, seed=Seed(1))
    rows = [
        {"model": "<script>", "size": size, "item": f"i{n}", "sharp": sharp, "continuous": smooth}
        for size, right, smooths in zip(told.sizes, told.sharp[0], told.continuous[0], strict=True)
        for n, (sharp, smooth) in enumerate(zip(right, smooths, strict=True))
    ]
    path = tmp_path_factory.mktemp("audit") / "a<b>.csv"
    pl.DataFrame(rows).write_csv(path)
    return path


@pytest.mark.whole
def test_a_table_is_audited_from_the_command_line(nosce, table, tmp_path):
    """The same verdict in words and as JSON, and a figure that names both scores."""
    plain = nosce("audit", table, "--log-likelihood", "--resamples", "300", "--figure", tmp_path / "f.svg")
    assert plain.returncode == 0, plain.stderr
    assert len(plain.stdout.splitlines()) == 5, plain.stdout
    assert "continuous" in plain.stderr
    told = json.loads(nosce.here("audit", table, "--log-likelihood", "--resamples", "300", "--json").stdout)
    whole = nosce.here("audit", table, "--log-likelihood", "--resamples", "300", "--no-figure", "--verbose").stdout
    assert f"{told['verdict']}: " in whole
    assert "the jump, taken apart" in whole
    assert "seeds that change groups" in whole
    assert plain.stdout.splitlines()[:4] == told["answer"] == whole.splitlines()[:4]
    assert told["sizes"] == 8
    assert sum(told["frequencies"].values()) == pytest.approx(1)
    picture = (tmp_path / "f.svg").read_text(encoding="utf-8")
    assert "a<b>" not in picture
    assert "</svg>" in picture


def test_a_wrong_table_is_the_users_mistake(nosce, table, tmp_path):
    """Exit code 2 and one sentence, no traceback."""
    (tmp_path / "bad.csv").write_text("size,item\n1,a\n")
    for words_ in (
        ["audit", tmp_path / "bad.csv"],
        ["audit", tmp_path / "none.csv"],
        ["audit", table, "--resamples", "5"],
    ):
        done = nosce.here(*words_)
        assert done.returncode == 2
        assert done.stderr.startswith("nosce: ")
        assert done.stderr.count("\n") == 1


def test_words_of_counts_and_of_what_is_not_defined():
    """No continuous score, no E: said so, and null in JSON."""
    right = np.array([[0.0, 0, 0, 0, 9, 9]])
    counts = CountOutcomes(
        sizes=10.0 ** np.arange(5, 11), n_correct=right, n_total=np.full((1, 6), 10.0), continuous=None
    )
    found = mirage_test(counts, Seed(0), resamples=200)
    lines = dict(words.mirage_result_rows(found))
    assert "not defined" in lines["emergence score E"]
    assert "most that one link is off by" not in lines
    assert words.mirage_result_json(found)["emergence_score"] is None
    assert json.loads(json.dumps(words.mirage_result_json(found), allow_nan=False))["n_chance_sizes"] == 4
    assert set(words.mirage_figure(counts, words.mirage_result_json(found), "t").rows["group"].to_list()) == {"sharp"}


def test_several_tables_are_taken_into_account_together(nosce, table, tmp_path):
    """Each its verdict, and one p that knows of the others; one figure has a panel of each."""
    other = tmp_path / "other.csv"
    pl.read_csv(table).with_columns(sharp=pl.lit(0.3)).write_csv(other)
    told = json.loads(nosce.here("audit", table, other, "--log-likelihood", "--resamples", "200", "--json").stdout)
    assert [one["table"] for one in told] == [str(table), str(other)]
    assert all(one["q_linear"] >= one["p_linear"] for one in told)
    both = nosce.here("audit", table, other, "--resamples", "200", "--figure", tmp_path / "f.svg")
    assert "2 tasks" in both.stdout
    assert (tmp_path / "f.svg").is_file()


def test_results_of_bigbench_get_their_scores(nosce, tmp_path):
    """E with its nulls, as a table and as JSON; a folder without results is the user's mistake."""
    file = Path(__file__).parents[2] / "fixtures" / "bigbench" / "scores_BIG-G_T0.jsonl.gz"
    assert "hindu_knowledge" in nosce.here("audit", file).stdout
    told = json.loads(nosce.here("audit", file, "--json").stdout)
    first = told["curves"][0]
    assert (first["task"], round(first["emergence"], 2)) == ("figure_of_speech_detection", 17.95)
    assert first["noise"] <= first["q"] < 0.05
    assert told["shares"] == [{"metric": "multiple_choice_grade", "emergent": 5, "curves": 24, "share": 5 / 24}]
    done = nosce.here("audit", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_design_is_tried(nosce):
    """A row each, as JSON with intervals; four sizes are no design."""
    told = json.loads(
        nosce.here("power", "--sizes", "5", "--items", "40", "--seeds", "1", "--simulations", "10", "--json").stdout
    )
    assert [one["truth"] for one in told] == ["power law", "planted break"]
    assert all(one["low"] <= one["share"] <= one["high"] for one in told)
    assert "sizes" in nosce.here("power", "--sizes", "5", "--items", "40", "--seeds", "1", "--simulations", "10").stdout
    for wrong in (["--sizes", "4"], ["--simulations", "2"]):
        assert nosce.here("power", *wrong).returncode == 2


def test_a_figure_stands_beside_the_table_unless_json_is_asked_for(nosce, table, tmp_path):
    """One that cannot be written there is a line and no error."""
    own = tmp_path / "t.csv"
    own.write_bytes(table.read_bytes())
    quiet = json.loads(nosce.here("audit", own, "--resamples", "100", "--json").stdout)
    assert quiet["figure"] is None
    assert not (tmp_path / "t.audit.svg").exists()
    assert f"Figure: {tmp_path / 't.audit.svg'}" in nosce.here("audit", own, "--resamples", "100").stdout
    assert (tmp_path / "t.audit.svg").exists()
    assert "Figure" not in nosce.here("audit", own, "--resamples", "100", "--no-figure").stdout


def test_columns_are_named_on_the_command_line(nosce, tmp_path):
    """As the sentence that asks for them says; sizes of models too."""
    path = tmp_path / "t.csv"
    path.write_text("who,params,tokens,hits_of\n" + "".join(f"m{n},{10**n},{20 * 10**n},0.{n}\n" for n in range(1, 8)))
    asked = nosce.here("audit", path)
    assert asked.returncode == 2
    assert "--size params" in asked.stderr
    done = nosce.here(
        "audit", path, "--size", "params", "--sharp", "hits_of", "--n", "50", "--resamples", "100", "--json"
    )
    assert json.loads(done.stdout)["columns"] == "size = `params`, sharp = `hits_of` of 50 items"
    for wrong in (["--size", "a", "--size", "b"], ["--size", "m=many"], ["--decimal", "dot"], ["--chance", "2"]):
        ended = nosce.here("audit", path, *wrong)
        assert ended.returncode == 2
        assert ended.stderr.count("\n") == 1


@pytest.mark.whole
def test_a_store_is_audited_as_its_studies_are(nosce, smoke_store):
    """One without curves says so."""
    ended = nosce.here("audit", smoke_store)
    assert ended.returncode in (0, 2)
    assert "Traceback" not in ended.stderr


def test_hostile_names_steer_no_terminal_and_no_picture(nosce, tmp_path):
    """Control signs are spelled out, in tables, sentences and figures; markup is text."""
    table = Path(__file__).parents[2] / "data" / "tables" / "hostile.csv"
    told = nosce.here("audit", table, "--resamples", "100", "--verbose", "--figure", tmp_path / "f.svg")
    assert told.returncode == 0, told.stderr
    for text in (told.stdout, told.stderr, (tmp_path / "f.svg").read_text(encoding="utf-8")):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "\\x1b[31m" in told.stdout
    assert "<script" not in (tmp_path / "f.svg").read_text(encoding="utf-8")
