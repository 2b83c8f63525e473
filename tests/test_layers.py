"""Imports point one way, package by package: each package of `ORDER` uses only those before it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.fixtures.every_case import check_every

import nosce

SOURCE = Path(nosce.__file__).parent
ORDER = "errors seeds records store data,analysis models train,evals study pipeline studies cli __main__,__init__"
LEVEL = {name: level for level, names in enumerate(ORDER.split()) for name in names.split(",")}
FILES = sorted(SOURCE.rglob("*.py"))


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, at its top, inside a function or for the type checker alone."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_imports_point_one_way():
    """A module uses its own package and those that stand before it; what stands before `models` needs no torch."""

    def check(file):
        own = file.relative_to(SOURCE).with_suffix("").parts[0]
        names = set(imported(file))
        ours = {name.split(".")[1] for name in names if name.startswith(("nosce.", "."))} - {own}
        above = {name for name in ours if LEVEL.get(name, 99) >= LEVEL[own]}
        assert not above, "move what it needs down, or the caller up"
        if LEVEL[own] < LEVEL["models"]:
            assert not {"torch", "transformers", "peft"} & {name.split(".")[0] for name in names}

    check_every(check, FILES)


def test_the_root_holds_six_modules():
    """Whatever else there is has a package."""
    names = {path.stem for path in SOURCE.glob("*.py")}
    assert names == {"__init__", "__main__", "errors", "records", "seeds", "study"}


def test_a_public_name_is_defined_once():
    """A reader who looks a public class or function up finds one; `make` and `study` are protocols."""
    definitions = ast.FunctionDef | ast.ClassDef
    names = Counter(
        node.name
        for file in FILES
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, definitions)
    )
    twice = {name for name, times in names.items() if times > 1 and not name.startswith("_")}
    assert twice <= {"make", "study", "run"}  # the command `run` is what `nosce.run` does


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string, name and import of a module with its line, docstrings left out."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    explained = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and ast.get_docstring(node) is not None
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in explained:
            yield node.lineno, node.value
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, f"{node.module} {' '.join(alias.name for alias in node.names)}"
        elif isinstance(node, ast.Import):
            yield node.lineno, " ".join(alias.name for alias in node.names)


LIBRARY = [
    p
    for p in sorted(SOURCE.rglob("*.py"))
    if not {"studies", "worlds", "__init__.py"} & set(p.relative_to(SOURCE).parts)
]


def test_no_study_or_world_is_known_by_name():
    """Outside of studies and worlds nothing asks which study or world it is, so a user's own is never second."""
    known = re.compile(r"\b(biographies|diaries|karel|introspection|arithmetic|celebrities)", re.IGNORECASE)

    def check(file):
        code = file.read_text(encoding="utf-8")
        if known.search(code):
            found = [(line, text) for line, text in texts(ast.parse(code)) if known.search(text)]
            assert not found, "it names a study or a world; what differs between them belongs in their fields"

    check_every(check, LIBRARY)
