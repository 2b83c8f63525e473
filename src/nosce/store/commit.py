"""The commit of the code, from the checkout or from the wheel.

The build hook `hatch_build.py` loads this file alone, so it imports nothing of nosce and no library.
"""

from __future__ import annotations

import json
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import TypedDict


class GitState(TypedDict):
    """The code's commit, and whether the code was changed since; both None where neither git nor a wheel says."""

    commit: str | None
    dirty: bool | None


@lru_cache(maxsize=1)
def git_state() -> GitState:
    """The commit of the checkout that this code runs from; without a checkout, the commit of the wheel."""
    package = Path(__file__).parents[1]
    # A wheel installed below somebody's repository is no part of the repository: git does not track its files.
    if _git(package, "ls-files", "--error-unmatch", "--", __file__) is None:
        return _wheel_state(package / "store" / "_commit.json")
    changed = _git(package, "status", "--porcelain", "--untracked-files=no", "--", str(package))
    return {"commit": _git(package, "rev-parse", "HEAD"), "dirty": None if changed is None else bool(changed)}


def _git(folder: Path, *words: str) -> str | None:
    """What a git command prints in a folder; None where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, encoding="utf-8", timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _wheel_state(file: Path) -> GitState:
    """What the build hook (`hatch_build.py`) wrote into the wheel."""
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
        return {"commit": written["commit"], "dirty": written["dirty"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {"commit": None, "dirty": None}
