"""Files are whole: written in one rename, and checked against checksums that anybody can compute."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from nosce.errors import DamagedError
from nosce.store import files
from nosce.store.files import checksum_tree, load_json_object, verify_manifest, warn_skipped, write_atomically


def test_small_files_are_written_whole_or_not(tmp_path, monkeypatch):
    """A reader of a small file meets the old text or the new one, even if the writer dies in between."""
    path = tmp_path / "plan.json"
    write_atomically(path, "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    monkeypatch.undo()
    write_atomically(path, "new")
    assert path.read_text(encoding="utf-8") == "new"


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


def test_a_file_is_on_the_disk_before_its_name_and_the_name_before_the_call_ends(tmp_path, monkeypatch):
    """The content is flushed, then renamed, then the folder is flushed: a power cut leaves the old text or the new."""
    calls = []
    flush, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda d: (calls.append(os.readlink(f"/proc/self/fd/{d}")), flush(d)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append(f"rename to {b}"), rename(a, b)))
    write_atomically(tmp_path / "plan.json", "text")
    assert re.fullmatch(r"plan\.json\.[0-9a-f]{32}\.new", Path(calls[0]).name)
    assert calls[1:] == [f"rename to {tmp_path / 'plan.json'}", str(tmp_path)]


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000, b"", None])
def test_what_is_no_json_object_is_a_reason_in_words(tmp_path, content):
    """A file, whatever it holds, gives an object or a ValueError of one line."""
    path = tmp_path / "x.json"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        load_json_object(path)


@pytest.mark.parametrize("how", ["folder", "binary", "deep", "strings"])
def test_a_manifest_of_anything_else_is_damage(tmp_path, how):
    """A manifest that is a folder, no text, or names what is not there."""
    match how:
        case "folder":
            (tmp_path / "manifest.json").mkdir()
        case "binary":
            (tmp_path / "manifest.json").write_bytes(b"\xff\xfe")
        case "deep":
            (tmp_path / "manifest.json").write_text('{"a":' * 100_000)
        case _:
            (tmp_path / "manifest.json").write_text('{"a": 1}')
    with pytest.raises(DamagedError):
        verify_manifest(tmp_path)


def test_a_file_that_was_left_out_is_named_once_and_without_control_characters(tmp_path, capfd):
    """One line on stderr, however often it is met; a name cannot colour the terminal."""
    for _ in range(3):
        warn_skipped(tmp_path / "\x1b[31mred.json", "it is no text")
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("nosce: ")
    assert "\\x1b[31mred.json is left out, since it is no text" in line


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
