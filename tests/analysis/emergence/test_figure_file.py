"""Figures of audits as files: whole, known again as ours, and never in place of somebody else's."""

from __future__ import annotations

import os

import pytest

from nosce.analysis.emergence.audit import audit_figure, audit_tables
from nosce.analysis.emergence.figure_file import figure_bytes, may_write, write_beside, write_figure
from nosce.analysis.emergence.readers.base import ColumnChoice
from nosce.errors import UsageError

COUNTS = "size,right,asked\n1,0,10\n10,1,10\n100,2,10\n1000,8,10\n10000,9,10\n"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.v2.csv"
    path.write_text(COUNTS)
    return path


@pytest.fixture
def figure(table):
    return audit_figure(audit_tables([table], ColumnChoice(), resamples=100))


def test_a_figure_stands_beside_its_table_and_is_made_again_in_place(figure, table):
    """Equal tables give equal bytes; nothing else is left in the folder."""
    path = write_beside(figure, table)
    first = path.read_bytes()
    assert path.name == "t.v2.audit.svg"
    assert write_beside(figure, table) == path
    assert path.read_bytes() == first == figure_bytes(figure, ".svg")
    assert sorted(file.name for file in table.parent.iterdir()) == ["t.v2.audit.svg", "t.v2.csv"]


def test_what_is_not_ours_is_not_overwritten(figure, table):
    """The next free name is taken; one that the user names is refused."""
    own = table.parent / "t.v2.audit.svg"
    own.write_text("<svg>mine</svg>")
    (table.parent / "t.v2.audit-2.svg").symlink_to(table)
    assert write_beside(figure, table).name == "t.v2.audit-3.svg"
    assert own.read_text() == "<svg>mine</svg>"
    assert table.read_text() == COUNTS
    with pytest.raises(UsageError, match="not a figure of `nosce audit`"):
        write_figure(figure, own)
    for taken in (table.parent, table):
        assert not may_write(taken)


def test_a_pipe_is_not_waited_for(table):
    """A file that is none is not ours."""
    os.mkfifo(table.parent / "p.svg")
    assert not may_write(table.parent / "p.svg")


@pytest.mark.parametrize("ending", [".svg", ".png"])
def test_the_ending_names_the_format(figure, tmp_path, ending):
    """SVG or PNG, each known again; nothing else."""
    path = write_figure(figure, tmp_path / f"f{ending}")
    content = path.read_bytes()
    assert content.startswith(b"<?xml" if ending == ".svg" else b"\x89PNG")
    assert may_write(path)
    assert write_figure(figure, path) == path
    with pytest.raises(UsageError, match=r"neither with \.svg nor with \.png"):
        write_figure(figure, tmp_path / "f.pdf")
    with pytest.raises(UsageError, match="cannot be written"):
        write_figure(figure, tmp_path / "no" / f"f{ending}")


def test_a_folder_has_its_figure_beside_it(figure, tmp_path, monkeypatch):
    """Also the folder that one is in."""
    folder = tmp_path / "logs"
    folder.mkdir()
    assert write_beside(figure, folder) == tmp_path / "logs.audit.svg"
    monkeypatch.chdir(folder)
    from pathlib import Path

    assert write_beside(figure, Path()).resolve() == tmp_path / "logs.audit.svg"
