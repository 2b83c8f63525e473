"""Commands as hints name them: they can be pasted into a shell as they stand, and reach the same store."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nosce.store.store import Store


def default_store_root() -> Path:
    """The store of a command without `--store`: $NOSCE_STORE, else .nosce/ in the current folder."""
    return Path(os.environ.get("NOSCE_STORE") or ".nosce").expanduser().absolute()


def command_line(*words: str, store: Store | None = None) -> str:
    """A command of nosce.

    Args:
        words: What follows `nosce`; words with spaces are quoted.
        store: The store that the command is about; it is named unless the command finds it anyway.
    """
    return in_store(shlex.join(["nosce", *words]), store)


def in_store(command: str, store: Store | None) -> str:
    """A command with the store that it is about, where it would not find that store by itself."""
    if store is None or store.root == default_store_root():
        return command
    return f"{command} --store {shlex.quote(str(store.root))}"
