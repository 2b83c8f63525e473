"""Hatchling's build hook: a wheel and an sdist carry the commit that they are built from.

Where nosce runs from a checkout it asks git. An installed wheel has no checkout, so its commit is recorded here, in
`nosce/store/_commit.json`.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMMIT_FILE = "nosce/store/_commit.json"


class CommitHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling is no dependency of the type checker
    """Adds the commit to what is built; an editable installation has a checkout and needs none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # hatchling types both so
        """Write the commit to a temporary file and include that file."""
        source = Path(self.root) / "src" / COMMIT_FILE
        state = self._git_state()
        if version == "editable" or source.exists() or state["commit"] is None:  # an sdist brings the file along
            return
        self._folder = tempfile.TemporaryDirectory()
        written = Path(self._folder.name) / source.name
        written.write_text(json.dumps(state) + "\n", encoding="utf-8")
        inside = COMMIT_FILE if self.target_name == "wheel" else f"src/{COMMIT_FILE}"
        build_data["force_include"][str(written)] = inside

    def _git_state(self) -> dict[str, Any]:
        """The answer of `nosce.store.commit.git_state`, whose module needs no library."""
        path = Path(self.root) / "src" / "nosce" / "store" / "commit.py"
        spec = importlib.util.spec_from_file_location("nosce_commit", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        state: dict[str, Any] = module.git_state()
        return state
