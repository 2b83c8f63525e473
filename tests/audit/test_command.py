"""`nosce audit`: a verdict in words or as JSON, a figure, and one sentence for a table that is wrong."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from nosce.audit import words
from nosce.seeds import Seed
from nosce.stats.mirage import Counts, audit
from nosce.stats.truths import drawn


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Outcomes of a power law as a file, with a name that a page must not believe."""
    told = drawn("power law", sizes=8, items=300, seeds=1, seed=Seed(1))
    rows = [
        {"model": "<script>", "size": size, "item": f"i{n}", "sharp": sharp, "continuous": smooth}
        for size, right, smooths in zip(told.sizes, told.sharp[0], told.continuous[0], strict=True)
        for n, (sharp, smooth) in enumerate(zip(right, smooths, strict=True))
    ]
    path = tmp_path_factory.mktemp("audit") / "a<b>.csv"
    pl.DataFrame(rows).write_csv(path)
    return path


def test_a_table_is_audited_from_the_command_line(nosce, table, tmp_path):
    """The same verdict in words and as JSON, and a figure that names both scores."""
    plain = nosce("audit", table, "--log-likelihood", "--draws", "300", "--figure", tmp_path / "f.svg")
    assert plain.returncode == 0, plain.stderr
    told = json.loads(nosce("audit", table, "--log-likelihood", "--draws", "300", "--json").stdout)
    assert told["verdict"] in plain.stdout
    assert told["sizes"] == 8
    assert sum(told["frequencies"].values()) == pytest.approx(1)
    picture = (tmp_path / "f.svg").read_text()
    assert "a<b>" not in picture
    assert "</svg>" in picture


def test_a_wrong_table_is_the_users_mistake(nosce, table, tmp_path):
    """Exit code 2 and one sentence, no traceback."""
    (tmp_path / "bad.csv").write_text("size,item\n1,a\n")
    for words_ in (["audit", tmp_path / "bad.csv"], ["audit", tmp_path / "none.csv"], ["audit", table, "--draws", "5"]):
        done = nosce(*words_)
        assert done.returncode == 2
        assert done.stderr.startswith("nosce: ")
        assert done.stderr.count("\n") == 1


def test_words_of_counts_and_of_what_is_not_defined():
    """No continuous score, no E: said so, and null in JSON."""
    right = np.array([[0.0, 0, 0, 0, 9, 9]])
    counts = Counts(sizes=10.0 ** np.arange(5, 11), right=right, asked=np.full((1, 6), 10.0), continuous=None)
    found = audit(counts, Seed(0), draws=200)
    lines = dict(words.lines(found))
    assert "not defined" in lines["emergence score E"]
    assert "most that one link is off by" not in lines
    assert words.as_json(found)["emergence"] is None
    assert json.loads(json.dumps(words.as_json(found), allow_nan=False))["censored"] == 4
    assert set(words.figure(counts, words.as_json(found), "t").rows["group"].to_list()) == {"sharp"}
