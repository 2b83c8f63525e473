"""The hash of code: blind to comments and docstrings, and awake to a change in anything imported."""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path

import pytest

from nosce.store import fingerprint as source

NUMBER = count()
CODE = '"""What it does."""\n\nimport {project}.words\n\n\ndef double(x):\n    """Twice."""\n    return 2 * x\n'


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A package of three modules, importable under a name nobody had before: main imports words, words nothing."""
    folder = tmp_path / f"village{next(NUMBER)}"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "main.py").write_text(CODE.format(project=folder.name))
    (folder / "words.py").write_text("WORDS = ('a', 'b')\n")
    (folder / "alone.py").write_text("ALONE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def rewritten(path: Path, old: str, new: str) -> None:
    """Change a file as an editor would, a moment later."""
    assert old in path.read_text(encoding="utf-8")
    path.write_text(path.read_text(encoding="utf-8").replace(old, new))
    later = path.stat().st_mtime_ns + 10_000_000
    os.utime(path, ns=(later, later))


def hashes(project: Path, module: str = "main") -> dict[str, str]:
    """The hashes of a module of the project and all it imports, by the last part of their names."""
    found = source.module_hashes(f"{project.name}.{module}")
    return {name.rpartition(".")[2]: value for name, value in found.items()}


def test_a_module_is_followed_into_what_it_imports(project):
    """All that a module imports from its own project is hashed, what it does not import is not."""
    assert set(hashes(project)) >= {"main", "words"}
    assert "alone" not in hashes(project)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return 2 * x", "return 2 * x  # times two"),
        ("return 2 * x", "# why\n    return (2 *\n            x)"),
        ('"""Twice."""', '"""Two times, as everybody knows."""'),
        ('"""What it does."""', '"""Something else entirely,\n\nin two paragraphs."""'),
    ],
    ids=["comment", "layout", "docstring", "docstring of the module"],
)
def test_words_about_the_code_do_not_count(project, old, new):
    """Comments, docstrings and layout can be made better without a night of training going stale."""
    before = hashes(project)
    rewritten(project / "main.py", old, new)
    assert hashes(project) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [("2 * x", "3 * x"), ("def double(x)", "def double(x=1)"), ("return 2", "return '''2'''")],
    ids=["number", "default", "string that is no docstring"],
)
def test_changed_code_counts(project, old, new):
    """A change of what is done shows in the hash of its module and in no other."""
    before = hashes(project)
    rewritten(project / "main.py", old, new)
    after = hashes(project)
    assert after["main"] != before["main"]
    assert after["words"] == before["words"]


IMPORTS = {
    "import": "import {project}.words",
    "from package": "from {project} import words",
    "from module": "from {project}.words import WORDS",
    "within a function": "def late():\n    from {project}.words import WORDS",
    "for types alone": "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from {project}.words import WORDS",
}


@pytest.mark.parametrize("form", IMPORTS)
def test_a_change_in_an_imported_module_counts(project, form):
    """However a module is imported, and however far away, its change shows."""
    (project / "near.py").write_text(IMPORTS[form].format(project=project.name) + "\n")
    (project / "far.py").write_text(f"import {project.name}.near\n")
    before = hashes(project, "far")
    rewritten(project / "words.py", "'b'", "'c'")
    after = hashes(project, "far")
    assert after["words"] != before["words"]
    assert {name for name in after if after[name] != before.get(name)} == {"words"}


def test_modules_that_import_each_other_are_found_once(project):
    """A circle of imports comes to an end."""
    (project / "one.py").write_text(f"import {project.name}.two\n")
    (project / "two.py").write_text(f"import {project.name}.one\n")
    assert {"one", "two"} <= set(hashes(project, "one"))


def test_other_projects_are_not_followed(project):
    """numpy's code is told by its version, and a module of somebody else's project is not ours to hash."""
    rewritten(project / "words.py", "WORDS", "import numpy\nimport json\nimport nosce.seeds\n\nWORDS")
    assert {name.partition(".")[0] for name in source.module_hashes(f"{project.name}.main")} == {project.name}


def test_two_projects_are_followed_into_each_other(project):
    """A user's world that builds on nosce changes with both."""
    rewritten(project / "words.py", "WORDS", "import nosce.seeds\n\nWORDS")
    found = source.module_hashes(f"{project.name}.main", "nosce.errors")
    assert {f"{project.name}.words", "nosce.seeds", "nosce.errors"} <= set(found)


def test_finding_does_not_import(project):
    """Code is read and never run: a module that would fail, or take seconds, costs nothing."""
    rewritten(project / "main.py", "import", "raise SystemExit('this was run')\nimport")
    before = set(sys.modules)
    assert "words" in hashes(project)
    assert not [name for name in set(sys.modules) - before if name.startswith(project.name)]


def test_a_single_file_is_a_project(tmp_path, monkeypatch):
    """A study of the user's own is one file, and is hashed like any other."""
    name = f"study{next(NUMBER)}"
    (tmp_path / f"{name}.py").write_text("import numpy\n\nPEOPLE = 10\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = source.module_hashes(name)
    rewritten(tmp_path / f"{name}.py", "10", "20")
    assert list(before) == [name]
    assert source.module_hashes(name) != before


def test_what_cannot_be_found_is_left_out(project):
    """A module that is gone is missing from the hashes, so it counts as changed and stops nobody."""
    assert source.module_hashes("no_such_project", "no_such_project.module", f"{project.name}.gone", "sys") == {}


def test_the_code_of_nosce_is_found():
    """The module that makes a corpus leads to the packing, the records and the seeds it rests on."""
    assert {"nosce.pipeline.steps.corpus", "nosce.data.packing", "nosce.records", "nosce.seeds"} <= set(
        source.module_hashes("nosce.pipeline.steps.corpus")
    )


def test_one_hash_of_many_depends_on_names_and_hashes_and_not_on_order():
    """Two modules that swap their code are a change; a dictionary that was filled differently is none."""
    assert source.combine_hashes({"a": "1", "b": "2"}) == source.combine_hashes({"b": "2", "a": "1"})
    assert source.combine_hashes({"a": "1", "b": "2"}) != source.combine_hashes({"a": "2", "b": "1"})
    assert source.combine_hashes({"a": "1"}) != source.combine_hashes({"a": "1", "b": "2"})


def test_relative_imports_are_followed(tmp_path, monkeypatch):
    """A package whose modules import each other by dots is hashed as far as one that writes its name."""
    (tmp_path / "dotted").mkdir()
    for name, text in {
        "__init__": "",
        "main": "from .words import X\nfrom . import more\n",
        "words": "X = 1\n",
        "more": "Y = 2\n",
    }.items():
        (tmp_path / "dotted" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert {"dotted.words", "dotted.more"} <= set(source.module_hashes("dotted.main"))


def test_a_module_that_is_being_edited_has_a_hash_too(tmp_path, monkeypatch):
    """A user's file with a syntax error, or one that is no text, counts as changed and breaks no command."""
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "halfwritten_study.py"
    hashes = set()
    for number, content in enumerate((b"x = 1\n", b"x = (\n", b"\xff\xfe\x00", b"(" * 5_000)):
        file.write_bytes(content)
        os.utime(file, ns=(number, number))
        hashes.add(source.module_hashes("halfwritten_study")["halfwritten_study"])
    assert len(hashes) == 4
