"""A wheel and an sdist: what is in them, and that the wheel runs where no repository is."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from tests.fixtures.tool_pythons import python_with, run_tool

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_citation_says_what_the_project_says():
    """Name of the licence, version and authors, in a file that other tools read."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "message", "authors", "type"} <= set(citation)
    assert (str(citation["version"]), citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert [one["name"] for one in citation["authors"]] == [one["name"] for one in PROJECT["authors"]]


def test_no_address_is_named_that_does_not_exist():
    """The project has no public address yet; one that is added here is added to the citation too."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert PROJECT.get("urls", {}).get("Repository") == citation.get("repository-code")


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem
)
def test_an_issue_template_is_a_form(path):
    """With the fields that GitHub asks of one, and ids that are there once."""
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert form == {"blank_issues_enabled": True}
        return
    assert {"name", "description", "body"} <= set(form)
    assert all(field["type"] in ("markdown", "input", "textarea", "dropdown", "checkboxes") for field in form["body"])
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(set(ids)) == len(ids) > 1
    assert all(field["attributes"].get("label") for field in form["body"] if field["type"] != "markdown")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist of this checkout, and the wheel that the sdist builds."""
    python, folder = python_with("build", "hatchling"), tmp_path_factory.mktemp("dist")
    run_tool(python, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.mark.slow
def test_the_wheel_holds_all_of_the_package_and_nothing_else(built):
    """Templates, tables and py.typed, the licence, and no tests."""
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    tracked = subprocess.run(["git", "ls-files", "src/nosce"], cwd=ROOT, capture_output=True, text=True, check=True)
    expected = {name.removeprefix("src/") for name in tracked.stdout.split()}
    inside = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert inside - {"nosce/store/_commit.json"} == expected
    assert {"nosce/py.typed", "nosce/analysis/render/templates/study.html"} <= inside
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_sdist_holds_what_builds_and_tests_it(built):
    """Code, tests, and the files of the root that both read."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "CITATION.cff", "tests/conftest.py"} <= names
    assert not [name for name in names if name.split("/")[0] in ("results", "docs", "benchmarks", ".github")]


@pytest.mark.slow
def test_the_wheel_runs_in_another_folder(built, tmp_path):
    """Its studies are listed and its demo is planned, from the installed files alone."""
    (wheel,) = built.glob("*.whl")
    site, away = tmp_path / "site", tmp_path / "away"
    away.mkdir()
    run_tool(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel)
    variables = {"PYTHONPATH": str(site), "NOSCE_STORE": str(away / "store"), "PATH": os.environ["PATH"]}
    where = run_tool(sys.executable, "-c", "import nosce; print(nosce.__file__)", cwd=away, **variables)
    assert Path(where.strip()).is_relative_to(site)
    assert "biographies" in run_tool(sys.executable, "-m", "nosce", "list", cwd=away, **variables)
    planned = run_tool(sys.executable, "-m", "nosce", "plan", "biographies", "--scale", "demo", cwd=away, **variables)
    assert "steps to do" in planned
