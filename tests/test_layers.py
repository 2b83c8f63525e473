"""Imports point one way: base, then worlds, text, stats and models, then train, read and report, then the rest."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import nosce

SOURCE = Path(nosce.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

BASE = {"errors", "seeds", "records", "told", "spec", "source", "files", "provenance", "store"}
TOP = {"study", "plan", "execute", "making", "workers", "cluster", "cost", "timing", "progress", "session", "running",
       "site", "doctor", "cli", "auditing", "__main__"}  # fmt: skip
PARTS = {"worlds", "text", "stats", "models", "train", "read", "report", "measures", "joint", "calibrated", "curves",
         "charts", "audit", "scaling", "steepness", "vision", "sampling", "asking", "steps"}  # fmt: skip
MAY_USE = {
    **{name: BASE for name in (*BASE, "text", "stats", "models")},
    "worlds": BASE | {"text"},  # one that has too much to say for text writes tokens itself
    "train": BASE | {"text", "models"},
    "read": BASE | {"text", "models"},
    "report": BASE | {"stats"},
    "measures": BASE | {"stats"},
    "curves": BASE | {"stats", "measures"},
    "joint": BASE | {"stats", "measures"},
    "calibrated": BASE | {"measures", "joint"},
    "audit": BASE | {"stats", "report"},
    "steepness": BASE | {"stats", "measures", "scaling"},
    "vision": BASE,
    "sampling": BASE | {"models"},
    "asking": BASE | {"worlds", "text", "models", "train", "read", "sampling", "steps"},
    "scaling": BASE | {"stats", "measures", "audit"},
    "charts": BASE | {"stats", "measures", "curves"},
    "steps": BASE
    | {
        "worlds",
        "text",
        "stats",
        "models",
        "train",
        "read",
        "measures",
        "joint",
        "calibrated",
        "curves",
        "charts",
        "audit",
        "scaling",
        "steepness",
    },
    **{name: BASE | PARTS | TOP for name in TOP},  # among themselves in a circle-free way: see below
    "studies": BASE | PARTS | TOP,
}
WITHOUT_TORCH = {*BASE, "worlds", "text", "stats", "report"}
TORCH = {"torch", "transformers", "peft", "accelerate"}


def name_of(file: Path) -> str:
    """The dotted name of a module's file."""
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


def layer_of(module: str) -> str:
    """The part of nosce that a module belongs to; empty for the namespace itself."""
    return [*module.split("."), ""][1]


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, at its top, inside a function or for the type checker alone."""
    package = name_of(file) if file.stem == "__init__" else name_of(file).rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                within = f"{source}.{alias.name}"
                yield within if within in MODULES else source
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant))


def layers_used(file: Path) -> set[str]:
    """The parts of nosce that a file imports from, its own aside."""
    found = {layer_of(module) for module in imported(file) if module.split(".")[0] == "nosce"}
    return found - {layer_of(name_of(file))}


LIBRARY = [pytest.param(file, id=name) for name, file in MODULES.items() if name != "nosce"]


def test_every_module_has_a_place():
    """A new module must be given a layer here, and a layer that is gone must be taken out."""
    assert {layer_of(name) for name in MODULES} - {""} == set(MAY_USE)


@pytest.mark.parametrize("file", LIBRARY)
def test_layers_point_one_way(file):
    """A module uses its own layer and those below it, and never the public namespace, which holds them all."""
    above = layers_used(file) - MAY_USE[layer_of(name_of(file))]
    assert not above, f"{file} must not use {above}; move what it needs down, or the caller up."


def test_no_circle_between_layers():
    """The parts can be put into an order in which each imports only what stands before it."""
    uses: dict[str, set[str]] = {}
    for name, file in MODULES.items():
        uses.setdefault(layer_of(name), set()).update(layers_used(file))
    while free := {name for name, below in uses.items() if not below}:
        uses = {name: below - free for name, below in uses.items() if name not in free}
    assert not uses, f"these import each other in a circle: {uses}"


@pytest.mark.parametrize("file", [p for p in LIBRARY if layer_of(p.id) in WITHOUT_TORCH])
def test_planning_and_reading_results_need_no_torch(file):
    """Base, worlds, text, stats and report import no torch anywhere, not even inside a function."""
    heavy = {m for m in imported(file) if m.split(".")[0] in TORCH or m.startswith("safetensors.torch")}
    assert not heavy, f"{file} imports {heavy}; hand it numbers instead, or move it to train or read."


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string, name and import of a module with its line, docstrings left out."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    explained = {id(node.body[0].value) for node in ast.walk(tree)
                 if isinstance(node, documented) and ast.get_docstring(node) is not None}  # fmt: skip
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


@pytest.mark.parametrize("file", [p for p in LIBRARY if layer_of(p.id) not in ("studies", "worlds")])
def test_no_study_or_world_is_known_by_name(file):
    """Outside of studies and worlds nothing asks which study or world it is, so a user's own is never second."""
    names = {path.stem for folder in ("studies", "worlds") for path in (SOURCE / folder).glob("*.py")}
    # The emergence score has its name from the paper, whatever a study is called.
    names -= {"__init__", "contract", "emergence"}
    known = re.compile("|".join(rf"\b{name}\b" for name in sorted(names)), re.IGNORECASE)
    found = [(line, text) for line, text in texts(ast.parse(file.read_text())) if known.search(text)]
    assert not found, f"{file} names a study or a world: {found}; what differs between them belongs in their fields."
