"""The table of exploratory and confirmatory verdicts over all studies, from pages alone."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def halves(monkeypatch):
    spec = importlib.util.spec_from_file_location("halves_benchmark", ROOT / "benchmarks" / "halves.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "halves_benchmark", module)
    spec.loader.exec_module(module)
    return module


def claim(name: str, verdict: str, estimate: float | None = 0.5, criterion: str = "above 0", **more) -> dict:
    low, high = (None, None) if estimate is None else (estimate - 0.1, estimate + 0.1)
    fields = {"id": name, "text": name, "criterion": criterion, "estimate": estimate, "low": low, "high": high}
    return {**fields, "verdict": verdict, **more}


def test_an_earlier_commits_verdicts_stand_beside(halves):
    """Changed criteria are no turn; needs are no findings; a claim that the earlier page lacks is new."""
    before = {"seeds": [0, 1, 2], "claims": [claim("a", "holds"), claim("b", "holds"), claim("c", "undecided", None)]}
    fresh = [
        claim("a", "fails", -0.5),
        claim("b", "fails", criterion="above 1"),
        claim("c", "holds"),
        claim("d", "holds"),
    ]
    now = {"study": "s", "seeds": [0, 1, 2, 10, 11, 12], "claims": [*fresh, claim("n", "holds", is_precondition=True)]}
    rows = list(halves.rows_against(before, now))

    assert [(row["claim"], row["outcome"]) for row in rows] == [
        *(("a", "turned"), ("b", "turned"), ("c", "not run"), ("d", "new claim"))
    ]
    assert [row.get("criterion") for row in rows] == ["same", "changed", "same", None]
    assert rows[0]["exploratory_seeds"] == "seeds 0-2"
    assert rows[0]["confirmatory_seeds"] == "seeds 10-12"
    assert rows[0]["exploratory_interval"] == "0.5 [0.4, 0.6]"
    assert halves.summary(rows) == [
        "s: 4 claims: 1 turned, 1 criterion changed, 1 not run, 1 new claim",
        "all: 4 claims: 1 turned, 1 criterion changed, 1 not run, 1 new claim",
    ]


def test_a_pages_own_exploratory_seeds_come_first(halves, tmp_path):
    """A page without fresh seeds has no row, and one with both halves needs no earlier commit."""
    row = {
        "claim": "a",
        "exploratory": "holds",
        "exploratory_here": "1",
        "confirmatory": "holds",
        "confirmatory_here": "2",
    }
    own = {"exploratory_seeds": [0], "confirmatory_seeds": [10, 11], "claims": [{**row, "outcome": "agree"}]}
    for study, more in (("both", {"halves": own}), ("old", {})):
        folder = tmp_path / study / "laptop"
        folder.mkdir(parents=True)
        (folder / "show.json").write_text(json.dumps({"study": study, "seeds": [0], "claims": [], **more}))
    rows = halves.table(tmp_path, "")
    assert [(one["study"], one["outcome"], one["confirmatory_seeds"]) for one in rows] == [
        ("both", "agree", "seeds 10-11")
    ]
