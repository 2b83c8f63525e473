"""No text that somebody else wrote steers the terminal: plans, claims, tables and errors."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console
from typer.testing import CliRunner

import nosce as package
from nosce.analysis.render.tables import claims_table, rows_table
from nosce.cli import app
from nosce.records import Verdict

ESCAPE = "\x1b[31m\x9b0m\x07\u202e"
SOUND = ("\t", "\n")


def steers(text: str) -> bool:
    """Does a text hold a control character?"""
    return any(not sign.isprintable() and sign not in SOUND for sign in text)


@pytest.mark.parametrize("words", [("show", "little"), ("show", "little", "--json"), ("list",), ("explain", "corpus")])
def test_a_plan_of_others_prints_as_text(little_store, tmp_path, words):
    """Title, question, paper, command and labels with escape sequences, in words and as JSON."""
    store = Path(shutil.copytree(little_store, tmp_path / "store"))
    (path,) = (store / "plans").glob("*.json")
    fields = json.loads(path.read_text(encoding="utf-8"))
    changed = {name: f"{ESCAPE} {name}" for name in ("title", "question", "paper", "command", "requested_as", "unit")}
    for step in fields["steps"].values():
        step["label"] += ESCAPE
    path.write_text(json.dumps(fields | changed))
    ended = CliRunner().invoke(app, [*words, "--store", str(store)], catch_exceptions=False)
    assert ended.exit_code == 0
    assert not steers(ended.stdout)
    assert not steers(ended.stderr)


def test_claims_and_cells_print_as_text():
    """Every text of a claim, a title, a heading and a cell."""
    verdict = Verdict(
        **dict.fromkeys(("id", "text", "source", "criterion", "unit", "why"), ESCAPE),
        **dict.fromkeys(("paper_value", "estimate", "low", "high"), 0.5),
        n=3,
        verdict="holds",
    )
    console = Console(width=100, color_system=None)
    with console.capture() as captured:
        console.print(claims_table([verdict]))
        console.print(rows_table(ESCAPE, (ESCAPE, "b"), [(ESCAPE, 1), ((ESCAPE,), None)]))
    assert not steers(captured.get())


@pytest.mark.whole
def test_errors_print_as_text(nosce, tmp_path):
    """Names of files, options and columns come back in sentences; each is one line and spelled out."""
    table = tmp_path / "x\x1b[31m.csv"
    pl.DataFrame({"size\x1b[31m": [1], "\x9b": [2]}).write_csv(table)
    for words in (
        ("audit", table),
        ("audit", tmp_path / "none\x1b[31m\n.csv"),
        ("run", "none\x1b[31m"),
        ("run", "biographies", "--arms", "a\x1b[31m"),
        ("run", "biographies", "--scale", "a\x1b[31m"),
        ("show", "none\x1b[31m", "--store", tmp_path / "s\x1b[31m"),
        ("list", "--none\x1b[31m"),
        ("none\x1b[31m",),
        ("explain", "\udcff"),
    ):
        ended = nosce.here(*words, cwd=tmp_path)
        assert ended.returncode == 2, ended.stderr
        assert not steers(ended.stderr), ended.stderr
        assert "Traceback" not in ended.stderr
    ended = nosce("explain", "\udcff\x1b[31m", cwd=tmp_path)  # a real stream, which has an encoding
    assert (ended.returncode, steers(ended.stderr)) == (2, False), ended.stderr


def test_nothing_is_printed_past_the_function_that_spells_out():
    """Markup of others is escaped by `literal`, which spells control characters out, and by nothing else."""
    for file in Path(package.__file__).parent.rglob("*.py"):
        if file.name != "text.py":
            assert not re.search(r"rich\.markup|sys\.stdout\.write\((?!json_text)", file.read_text(encoding="utf-8")), (
                file
            )
