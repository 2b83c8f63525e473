"""Files that are written atomically, and checked against a manifest before they are used."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from nosce.errors import DamagedError

ON_WINDOWS = sys.platform == "win32"
SCRATCH = "scratch"  # subfolder of a step's work folder for resuming; dropped when the step is finished


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that readers see the old or the new content, never a part."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def checksum_tree(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file below a folder, without its manifest, sorted by relative path."""
    checksums = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / "manifest.json":
            with path.open("rb") as stream:
                checksums[path.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return checksums


def verify_manifest(folder: Path) -> None:
    """Check that the files below a folder match its `manifest.json`.

    Raises:
        DamagedError: The manifest cannot be read, or a file is missing, changed or new.
    """
    try:
        expected = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedError(f"{folder} has no readable manifest.json, so nothing in it can be trusted.") from error
    actual = checksum_tree(folder)
    mismatched = sorted(path for path in {*expected, *actual} if expected.get(path) != actual.get(path))
    if mismatched:
        more = f" and {len(mismatched) - 3} more" if len(mismatched) > 3 else ""
        raise DamagedError(
            f"{folder} differs from its checksums in {', '.join(mismatched[:3])}{more}; "
            "`nosce run` sets it aside and makes it again."
        )


def fsync_path(path: Path) -> None:
    """Flush a file or folder to the disk; on Windows a file alone, since a folder cannot be opened there."""
    if ON_WINDOWS and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if ON_WINDOWS else os.O_RDONLY)  # Windows flushes what may be written
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
