"""What `import nosce` gives: the names of `__all__`, nothing else, and in no time."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fixtures.every_case import check_every

import nosce

LOOK = """
import json, sys, types, nosce
public = {name: value for name, value in vars(nosce).items() if not name.startswith("_")}
modules = {name: value.__name__ for name, value in public.items() if isinstance(value, types.ModuleType)}
libraries = ("torch", "transformers", "peft", "matplotlib", "ray", "scipy", "polars", "numpy")
heavy = [name for name in libraries if name in sys.modules]
print(json.dumps({"names": sorted(set(public) - set(modules)), "modules": modules, "heavy": heavy}))
"""
STANDARD = {"annotations", "importlib", "PackageNotFoundError", "version", "TYPE_CHECKING"}


@pytest.fixture(scope="module")
def fresh() -> dict:
    """What a process sees that has imported nothing but nosce."""
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_all_is_sorted_and_has_no_repeats():
    """A reader finds a name in `__all__` where the alphabet puts it."""
    assert nosce.__all__ == sorted(set(nosce.__all__))


def test_nothing_else_stands_in_the_namespace(fresh):
    """A fresh namespace has no names but those that it is made with; public ones come when they are asked for."""
    assert set(fresh["names"]) | set(fresh["modules"]) <= STANDARD


def test_type_checkers_see_the_same_names():
    """What is imported for type checkers alone is what is imported when a name is used."""
    tree = ast.parse(Path(nosce.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == {name: getattr(nosce, name).__module__ for name in nosce.__all__}


def test_an_unknown_name_is_no_attribute():
    """A misspelt name is an AttributeError, so that `hasattr` and `from nosce import` behave as ever."""
    with pytest.raises(AttributeError, match="no attribute 'Studdy'"):
        nosce.Studdy  # noqa: B018


def test_a_public_name_is_ours_and_says_what_it_is():
    """A public name is defined in nosce and has a docstring of its own, so help() answers."""

    def check(name):
        thing = getattr(nosce, name)
        assert thing.__module__.startswith("nosce.")
        assert thing.__doc__
        assert not thing.__doc__.startswith(f"{name}(")  # what a dataclass writes for itself

    check_every(check, nosce.__all__)


def test_importing_nosce_imports_no_library(fresh):
    """The command line starts at once: what is heavy is imported where it is used."""
    assert fresh["heavy"] == []


def test_the_namespace_says_what_nosce_is():
    """The package's docstring begins with the question that it is made for."""
    assert nosce.__doc__.splitlines()[0].endswith("?")
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", nosce.__version__)
