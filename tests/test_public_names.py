"""What `import nosce` gives: the names of `__all__`, nothing else, and in no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import nosce

LOOK = """
import json, sys, types, nosce
public = {name: value for name, value in vars(nosce).items() if not name.startswith("_")}
modules = {name: value.__name__ for name, value in public.items() if isinstance(value, types.ModuleType)}
heavy = [name for name in ("torch", "transformers", "peft", "matplotlib", "ray") if name in sys.modules]
print(json.dumps({"names": sorted(set(public) - set(modules)), "modules": modules, "heavy": heavy}))
"""


@pytest.fixture(scope="module")
def fresh() -> dict:
    """What a process sees that has imported nothing but nosce."""
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_all_is_sorted_and_has_no_repeats():
    """A reader finds a name in `__all__` where the alphabet puts it."""
    assert nosce.__all__ == sorted(set(nosce.__all__))


def test_all_is_complete(fresh):
    """Every public name of the namespace is in `__all__`, and every name in `__all__` is there."""
    assert fresh["names"] == nosce.__all__


def test_nothing_but_parts_of_nosce_stands_beside_the_names(fresh):
    """Beside the names there are only submodules: no library leaks through the namespace."""
    folder = Path(nosce.__file__).parent
    assert all(module == f"nosce.{name}" for name, module in fresh["modules"].items())
    assert all((folder / name).is_dir() or (folder / f"{name}.py").is_file() for name in fresh["modules"])


@pytest.mark.parametrize("name", nosce.__all__)
def test_a_public_name_is_ours_and_says_what_it_is(name):
    """A public name is defined in nosce and has a docstring of its own, so help() answers."""
    thing = getattr(nosce, name)
    assert thing.__module__.startswith("nosce.")
    assert thing.__doc__
    assert not thing.__doc__.startswith(f"{name}(")  # what a dataclass writes for itself


def test_importing_nosce_imports_no_torch(fresh):
    """Planning and reading results take no GPU stack, and no drawing library either."""
    assert fresh["heavy"] == []


def test_the_namespace_says_what_nosce_is():
    """The package's docstring is one question that ends in a question mark."""
    assert nosce.__doc__.strip().endswith("?")
