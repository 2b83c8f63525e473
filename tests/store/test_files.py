"""Files are whole: written in one rename, and checked against checksums that anybody can compute."""

from __future__ import annotations

import hashlib
import os

import pytest

from nosce.store import files
from nosce.store.files import checksum_tree, write_atomically


def test_small_files_are_written_whole_or_not(tmp_path, monkeypatch):
    """A reader of a small file meets the old text or the new one, even if the writer dies in between."""
    path = tmp_path / "plan.json"
    write_atomically(path, "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    monkeypatch.undo()
    write_atomically(path, "new")
    assert path.read_text() == "new"


def test_checksums_are_those_of_everybody_else(tmp_path):
    """A manifest can be checked with sha256sum: relative paths, plain SHA-256, its own file left out."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt").write_bytes(b"two")
    (tmp_path / "one.txt").write_bytes(b"one")
    (tmp_path / "manifest.json").write_bytes(b"{}")
    assert checksum_tree(tmp_path) == {
        "b/two.txt": hashlib.sha256(b"two").hexdigest(),
        "one.txt": hashlib.sha256(b"one").hexdigest(),
    }


def test_windows_opens_no_folder_and_files_for_writing(tmp_path, monkeypatch):
    """Windows refuses to open a folder, and to flush a file that was opened for reading."""
    opened = []
    system_open = os.open

    def as_windows_does(path, flags, *rest):
        if os.path.isdir(path) or not flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied", str(path))
        opened.append(path)
        return system_open(path, flags, *rest)

    (tmp_path / "file").write_text("text", encoding="utf-8")
    monkeypatch.setattr(files, "ON_WINDOWS", True, raising=False)
    monkeypatch.setattr(files.os, "open", as_windows_does)
    files.fsync_path(tmp_path)
    files.fsync_path(tmp_path / "file")

    assert opened == [tmp_path / "file"]
