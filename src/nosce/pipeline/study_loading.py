"""Loading a study: one that comes with nosce by its name, anybody's own by FILE.py:FUNCTION or package.module:FUNCTION.

Built-in studies live in `nosce.studies`, a study of one's own in a file. Both are treated the same, without a registry.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from nosce.errors import NosceError, UsageError
from nosce.study import SCALES, Study, StudyVariant

_PLAIN = StudyVariant()  # no models and no settings


def builtin_studies() -> tuple[str, ...]:
    """The names of the studies that come with nosce."""
    return tuple(sorted(_table()))


def _table() -> dict[str, str]:
    """Where the built-in studies stand, by name; looked up when asked, as studies stand above this module."""
    table: dict[str, str] = importlib.import_module("nosce.studies").BUILT_IN
    return table


def budget_ladder(name: str) -> tuple[tuple[str, ...], ...]:
    """The sizes of a study on a model, as settings, the cheapest first; none for a study without sizes."""
    ladders: dict[str, str] = importlib.import_module("nosce.studies").BUDGET_LADDERS
    if name not in ladders:
        return ()
    module, _, variable = ladders[name].partition(":")
    ladder: tuple[tuple[str, ...], ...] = vars(importlib.import_module(module))[variable]
    return ladder


def takes_models(name: str) -> bool:
    """Can a built-in study start from models of one's own?"""
    factories: dict[str, str] = importlib.import_module("nosce.studies").MODEL_STUDIES
    return name in factories


def load_study(name: str, scale: str, variant: StudyVariant = _PLAIN) -> Study:
    """The study of a built-in name, of FILE.py:FUNCTION or of package.module:FUNCTION, at a scale.

    Args:
        name: The study.
        scale: Name of the scale.
        variant: Models and settings, of a built-in study alone.

    Raises:
        UsageError: There is no such study, file, module, function or scale, or it takes no models or settings.
    """
    if scale not in SCALES:
        raise UsageError(f"there is no scale {scale!r}; take one of {', '.join(SCALES)}.")
    if ":" not in name:
        study = _builtin_study(name, scale, variant)
    elif variant.label:
        raise UsageError(
            f"{name} is a study of your own, to which --model and --set mean nothing; change the file instead."
        )
    else:
        with _users_code(name):
            study = _function(name)(scale)
    if not isinstance(study, Study):
        raise UsageError(f"{name} returned a {type(study).__name__} and not a Study; let it return one.")
    return study


@contextmanager
def _users_code(name: str) -> Iterator[None]:
    """Turn whatever a user's file raises into one sentence with the file and the line."""
    try:
        yield
    except NosceError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        what = type(error).__name__
        reason = " ".join(str(error).split())[:300]
        said = f"{what}: {reason}" if reason else what
        if isinstance(error, SystemExit):
            said = f"sys.exit({error.code!r:.60}), and a study's file must not end the program"
        raise UsageError(f"the study {name} cannot be loaded: {_place_of(error, name)} raised {said}.") from error


def _place_of(error: BaseException, name: str) -> str:
    """File and line of the user's own code that raised an error."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno},"
    path = str(Path(name.rpartition(":")[0]).resolve())
    frames = traceback.extract_tb(error.__traceback__)
    package = str(Path(__file__).parents[1])
    theirs = [f for f in frames if not f.filename.startswith((package, "<frozen importlib"))]
    own = [frame for frame in theirs if frame.filename == path] or theirs
    return f"{own[-1].filename}, line {own[-1].lineno}," if own else name


def _builtin_study(name: str, scale: str, variant: StudyVariant) -> Study:
    if not variant.models:
        return replace(_function(_builtin_factory(name))(scale, variant.settings), variant=variant.label)
    _builtin_factory(name)
    factories: dict[str, str] = importlib.import_module("nosce.studies").MODEL_STUDIES
    if name not in factories:
        raise UsageError(f"{name} takes no --model; take one of {', '.join(sorted(factories))}.")
    study = _function(factories[name])(scale, variant.models, variant.settings)
    return replace(study, variant=variant.label, notes=(*study.notes, *variant.notes))


def _builtin_factory(name: str) -> str:
    table = _table()
    if name not in table:
        raise UsageError(
            f"there is no study {name!r}; take one of {', '.join(sorted(table))}, or name your own as FILE.py:FUNCTION "
            "or package.module:FUNCTION."
        )
    return table[name]


def _function(name: str) -> Callable[..., Study]:
    where, _, function = name.rpartition(":")
    if not where or not function:
        raise UsageError(f"study {name!r} lacks a file or a function; write FILE.py:FUNCTION.")
    loaded = _file(name, Path(where).resolve()) if _is_path(where) else _module(name, where)
    found: Callable[..., Study] | None = getattr(loaded, function, None)
    if not callable(found):
        raise UsageError(
            f"{where} has no function {function!r} that takes a scale and returns a Study; name one that does."
        )
    return found


def _is_path(where: str) -> bool:
    return where.endswith(".py") or os.sep in where or not all(part.isidentifier() for part in where.split("."))


def _module(name: str, where: str) -> ModuleType:
    """An importable module, e.g. of a package that is installed."""
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{where}.".startswith(f"{error.name}."):
            raise  # the module is there, and lacks one that it imports
        raise UsageError(
            f"study {name!r} names the module {where}, which cannot be imported; install its package, or write "
            "FILE.py:FUNCTION."
        ) from None


def _file(name: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"study {name!r} names the file {path}, which is not there; write it as FILE.py:FUNCTION.")
    if path.suffix != ".py" or "." in path.stem:
        raise UsageError(f"study {name!r} names the file {path}, which Python cannot import; name it WORD.py.")
    loaded = sys.modules.get(path.stem)
    if loaded is None:
        there = importlib.util.find_spec(path.stem)
        if there is not None and Path(there.origin or "").resolve() != path:
            raise UsageError(f"the file {path} has the name of a module that is installed; rename the file.")
        sys.path.insert(0, str(path.parent))  # so that worker processes find its classes too
        loaded = importlib.import_module(path.stem)
    elif Path(loaded.__file__ or "").resolve() != path:
        raise UsageError(f"the file {path} has the name of a module that is loaded already; rename the file.")
    return loaded
