"""Files that are written atomically, and checked against a manifest before they are used."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import uuid
from functools import lru_cache
from pathlib import Path
from typing import Any

from nosce.errors import DamagedError
from nosce.store.text import printable

ON_WINDOWS = sys.platform == "win32"
JsonObject = dict[str, Any]  # values as `json` types them
#: What a disk without hard links answers, e.g. exFAT or a folder that a virtual machine shares.
WITHOUT_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
SCRATCH = "scratch"  # subfolder of a step's work folder for resuming; dropped when the step is finished


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that readers see the old or the new content, never a part, even after a power cut."""
    write_bytes_atomically(path, text.encode())


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Write a small file of bytes as `write_atomically` does."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.new")  # two machines may have equal process ids
    try:
        temporary.write_bytes(content)
        fsync_path(temporary)  # before the rename: else the new name may come to hold nothing
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_path(path.parent)


def create_exclusively(path: Path, text: str) -> bool:
    """Create a small file with its whole content; False if the file is there already.

    Of several processes, on one machine or on several that share a disk, one alone succeeds. A hard link does that on
    every NFS; where the disk has no links, the file is opened as a new one.
    """
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.new")
    try:
        temporary.write_text(text, encoding="utf-8")
        fsync_path(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return temporary.stat().st_nlink == 2  # NFS may lose the reply to a link that it has made
        except OSError as error:
            if error.errno not in WITHOUT_LINKS:
                raise
            return _open_new(path, text)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def _open_new(path: Path, text: str) -> bool:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def load_json_object(path: Path) -> JsonObject:
    """The JSON object of a file.

    Raises:
        ValueError: The file cannot be read or holds none; a few words say why.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise ValueError("it is no text") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("it holds no JSON object")
    return value


@lru_cache(maxsize=1024)
def warn_skipped(path: Path, reason: str) -> None:
    """Say once, in a line on stderr, that a file was left out and why; the command goes on without it."""
    line = f"nosce: {path} is left out, since {reason}; move it away, or run its study again."
    print(printable(line).replace("\n", " "), file=sys.stderr)


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
        expected = load_json_object(folder / "manifest.json")
    except ValueError as error:
        raise DamagedError(
            f"{folder} has no readable manifest.json ({error}), so nothing in it can be trusted."
        ) from error
    try:
        actual = checksum_tree(folder)
    except OSError as error:
        raise DamagedError(f"{error.filename or folder} cannot be read ({error.strerror}).") from error
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
