"""Imports point one way, package by package: each line of `ORDER` uses only the lines above it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import nosce

SOURCE = Path(nosce.__file__).parent
ORDER = """
errors
seeds
records
store
data analysis
models
train evals
study
pipeline
studies
cli
__main__ __init__
"""
LEVEL = {name: number for number, line in enumerate(ORDER.strip().splitlines()) for name in line.split()}


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, at its top, inside a function or for the type checker alone."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_point_one_way(file):
    """A module uses its own package and those that stand above it."""
    own = file.relative_to(SOURCE).with_suffix("").parts[0]
    used = {name.split(".")[1] for name in imported(file) if name.startswith("nosce.")} - {own}
    above = {name for name in used if LEVEL[name] >= LEVEL[own]}
    assert not above, f"{file} must not use {above}; move what it needs down, or the caller up."
    if own in ("errors", "seeds", "records", "store", "data", "analysis"):
        assert not {"torch", "transformers", "peft", "accelerate"} & {name.split(".")[0] for name in imported(file)}


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


@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: str(file.relative_to(SOURCE)))
def test_no_study_or_world_is_known_by_name(file):
    """Outside of studies and worlds nothing asks which study or world it is, so a user's own is never second."""
    known = re.compile(r"\b(biographies|diaries|karel|introspection|arithmetic|celebrities)", re.IGNORECASE)
    found = [(line, text) for line, text in texts(ast.parse(file.read_text())) if known.search(text)]
    assert not found, f"{file} names a study or a world: {found}; what differs between them belongs in their fields."
