"""What docs/ and the README promise: examples run, links lead somewhere, commands parse, excerpts are excerpts."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from nosce.cli import app
from nosce.data.worlds.base import check_world
from nosce.pipeline.plan import build_plan
from nosce.pipeline.study_loading import load_study
from nosce.records import Outcome, Reading
from nosce.seeds import Seed

ROOT = Path(__file__).parent.parent
READMES = [ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md", "results/README.md")]
PAGES = [*READMES, *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
LAUNCHERS = {"exec", "srun"}
COMMANDS = typer.main.get_command(app).commands

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)


def code(text: str) -> Iterator[str]:
    """Every line of code of a page: fenced, indented by four, or between backticks within a line."""
    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line.strip().removeprefix("$ ")
        else:
            yield from re.findall(r"`([^`]+)`", line)


def quoted(text: str) -> Iterator[list[str]]:
    """The words of every `nosce` command with a subcommand; brackets of what may be left out are taken off."""
    for line in code(text):
        for part in re.split(r"&&|\|", line):
            words = shlex.split(re.sub(r"[\[\]]", "", part), comments=True) if "nosce " in part else []
            while words and ("=" in words[0] or words[0] in LAUNCHERS):  # variables and launchers in front
                words.pop(0)
            if len(words) > 1 and words[0] == "nosce":
                yield words[1:]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@page
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    """Links between pages and into the repository are checked; those into the network are not."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = page.parent / path if path else page
        assert there.exists(), f"{page.name} links {target}, which is not there"
        if heading:
            titles = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in slugs, f"{page.name} links {target}, but the headings there are {sorted(slugs)}"


@page
def test_every_quoted_command_parses(page):
    """A command that a page quotes has options that exist and arguments of the right type; it is not run."""
    for words in quoted(page.read_text(encoding="utf-8")):
        assert words[0] in COMMANDS, f"{page.name} quotes `nosce {' '.join(words)}`, which is no command"
        rest = [re.sub(r"^N$", "1", word) for word in words[1:] if word != "--help"]
        if rest:
            COMMANDS[words[0]].make_context(words[0], rest)


def test_commands_are_found_where_pages_have_them():
    """The search itself: inline, indented, fenced, chained and with variables in front."""
    text = (
        "run `nosce list` or\n\n    nosce doctor # it\n\n```\nA=b nosce show x && nosce list\nsrun nosce run y\n```\n"
    )
    assert list(quoted(text)) == [["list"], ["doctor"], ["show", "x"], ["list"], ["run", "y"]]


#: What the manual of sbatch (24.11) knows of what pages use: the pattern of each option's value.
SBATCH = {
    "job-name": r"[\w-]+",
    "nodes": r"\d+",
    "ntasks-per-node": r"\d+",
    "gres": r"gpu:\d+",
    "cpus-per-task": r"\d+",
    "time": r"\d+:\d\d:\d\d",
    "signal": r"B:TERM@\d+",
    "requeue": "",
    "array": r"\d+-\d+",
}


@page
def test_scripts_of_pages_are_scripts(page):
    """bash reads every block of shell commands, and the lines for Slurm are options of sbatch with their values."""
    for block in blocks(page.read_text(encoding="utf-8"), "bash"):
        read = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert read.returncode == 0, f"{page.name}: {read.stderr}"
        for option, value in re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", block, re.MULTILINE):
            assert re.fullmatch(SBATCH[option], value), f"{page.name}: #SBATCH --{option}={value}"
        assert block.count("#SBATCH") == len(re.findall(r"^#SBATCH --[\w-]+", block, re.MULTILINE))


def test_ray_commands_of_pages_parse():
    """Ray's own command line reads them; they are not run."""
    scripts = pytest.importorskip("ray.scripts.scripts")
    lines = [line for page in PAGES for line in code(page.read_text(encoding="utf-8")) if line.startswith("ray ")]
    assert len(lines) >= 3
    for line in lines:
        _, command, *rest = shlex.split(line, comments=True)
        if rest:
            scripts.cli.commands[command].make_context(command, rest)


@pytest.mark.parametrize("name", ["own-world", "own-metric", "own-study", "own-biographies"])
def test_excerpts_stand_in_the_example(name):
    """What a page shows of its example is there, letter for letter, so neither changes without the other."""
    example = (ROOT / "docs" / "examples" / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
    shown = [
        b
        for b in blocks((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"), "python")
        if not b.startswith("from nosce")
    ]
    assert shown
    for block in shown:
        assert block in example, f"docs/{name}.md shows what its example does not hold:\n{block}"


@example
def test_an_example_loads_and_plans(example, monkeypatch):
    """An example is a study by the words that its own docstring gives, and its worlds keep the contract."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # loading adds the example's folder; the next one starts without it
    name = example.relative_to(ROOT).as_posix()
    assert f"nosce run {name}:study --scale smoke" in example.read_text(encoding="utf-8")
    study = load_study(f"{example}:study", "smoke")
    assert build_plan(study).estimates.kind == "estimates"
    for arm in study.arms:
        check_world(arm.world, Seed(0) / "world")


def ran(nosce, store: Path, example: Path) -> dict:
    """What `nosce run EXAMPLE --scale smoke --json` prints."""
    name = f"{example.relative_to(ROOT).as_posix()}:study"
    ended = nosce("run", name, "--scale", "smoke", "--store", store, "--workers", 1, "--json", cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.slow
def test_a_world_of_ones_own_runs_to_its_claim_and_its_readings(nosce, tmp_path):
    """The fastest example goes from command to claim, and its readings are read as the page says."""
    [claim] = ran(nosce, tmp_path, ROOT / "docs" / "examples" / "own_world.py")["claims"]
    # Not its verdict: the training is short, and another processor may end it otherwise.
    assert (claim["id"], claim["n"], claim["unit"]) == ("five-helps", 30, "country")
    assert claim["low"] < claim["estimate"] < claim["high"]
    [folder] = (tmp_path / "steps").glob("estimates-*")
    page = (ROOT / "docs" / "readings.md").read_text(encoding="utf-8")
    [polars] = [block for block in blocks(page, "python") if "polars" in block and '"readings.parquet"' in block]
    told = subprocess.run([sys.executable, "-c", polars], cwd=folder, capture_output=True, text=True, check=True)
    assert "five" in told.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["own_metric", "own_study", "own_biographies"])
def test_the_other_examples_run_to_their_claims_and_a_page(nosce, tmp_path, name):
    """Read-outs, measures and figures from a user's file reach the claims table and the report."""
    found = ran(nosce, tmp_path / "store", ROOT / "docs" / "examples" / f"{name}.py")
    assert all(claim["estimate"] is not None for claim in found["claims"])
    ended = nosce("report", "--store", tmp_path / "store", "--out", tmp_path / "report")
    assert ended.returncode == 0, ended.stderr


def test_every_column_and_outcome_of_the_readings_is_explained():
    """The page has one row a column, in their order, and one row an outcome."""
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "readings.md").read_text(encoding="utf-8"), re.MULTILINE)
    columns = [field.name for field in dataclasses.fields(Reading)]
    assert rows[: len(columns)] == columns
    assert set(typing.get_args(Outcome)) < set(rows)
