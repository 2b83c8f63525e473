"""Which code made a step: a hash of each module that the step's code imports from its project.

The hashes are recorded beside a result and are not part of its key. Code that changed without changing results should
not cost a night of training, but the change must be visible. Comments, layout and the words of a docstring do not
count; a docstring that is added or removed does.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path


def module_hashes(*names: str, folders: Sequence[str] = ()) -> dict[str, str]:
    """The hash of each named module and of all modules that it imports from the same projects, by module name.

    A module that cannot be found is left out, so a comparison counts it as changed.

    Args:
        names: The modules. Their projects are top-level packages, or single files of the user.
        folders: Folders in which single files are looked for too.
    """
    projects = {name.partition(".")[0] for name in names}
    hashes: dict[str, str] = {}
    pending = list(names)
    while pending:
        name = pending.pop()
        if name in hashes or (path := _module_path(name, folders)) is None:
            continue
        try:
            file_stat = path.stat()
            code, imported = _hash_and_imports(name, path, file_stat.st_mtime_ns, file_stat.st_size)
        except OSError:
            continue
        hashes[name] = code
        pending += [m for m in imported if m.partition(".")[0] in projects]
    return dict(sorted(hashes.items()))


def combine_hashes(hashes: dict[str, str]) -> str:
    """One hash of all modules' hashes."""
    return hashlib.sha256(repr(sorted(hashes.items())).encode()).hexdigest()


def user_module_folders(*names: str) -> list[str]:
    """The folders of those modules that are single files outside any package."""
    paths = (_module_path(name) for name in names if "." not in name)
    return sorted({str(path.parent) for path in paths if path is not None})


def _module_path(name: str, folders: Sequence[str] = ()) -> Path | None:
    """The file of a module, found without importing the module or its parents, which could take seconds."""
    project, *rest = name.split(".")
    try:
        root = importlib.util.find_spec(project)
    except (ImportError, ValueError):
        root = None
    if root is None or root.origin is None or not root.origin.endswith(".py"):
        candidates = (Path(folder) / f"{project}.py" for folder in folders)
        return next((own for own in candidates if not rest and own.is_file()), None)
    origin = Path(root.origin)
    if not rest:
        return origin
    submodule = origin.parent.joinpath(*rest)
    return next((p for p in (submodule.with_suffix(".py"), submodule / "__init__.py") if p.is_file()), None)


@lru_cache(maxsize=512)
def _hash_and_imports(name: str, path: Path, _changed: int, _size: int) -> tuple[str, tuple[str, ...]]:
    """The hash of a module's code and the names it may import; cached until the file changes."""
    content = path.read_bytes()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):  # a user's module that is being edited: all of it counts
        return hashlib.sha256(content).hexdigest(), ()
    imported: list[str] = []
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, name, path)
            # `from a import b` names a module b, or something inside a.
            within = [f"{source}.{alias.name}" for alias in node.names]
            imported += [module if _module_path(module) else source for module in within]
        else:
            _drop_docstring(node)
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest(), tuple(imported)


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """The module and all its statements; imports and definitions are never deeper, inside an expression."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            if isinstance(statements := node.__dict__.get(block), list):  # of a lambda it is an expression
                pending += statements


def _absolute(node: ast.ImportFrom, name: str, path: Path) -> str:
    """The module that `from ... import` names, with its leading dots resolved."""
    if not node.level:
        return node.module or ""
    up = node.level - (path.stem == "__init__")  # a package is where its own dots start from
    parts = name.split(".")
    return ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])


def _drop_docstring(node: ast.AST) -> None:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
        node.body[0] = ast.Pass()
