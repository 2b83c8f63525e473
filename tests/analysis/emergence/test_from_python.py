"""`nosce.audit`: any frame or path, a verdict, a table and a picture; a notebook is shown escaped text."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

import nosce
from nosce.errors import DataError, UsageError

TABLES = Path(__file__).parents[2] / "data" / "tables"


@pytest.fixture(scope="module")
def frame():
    return pl.read_csv(TABLES / "items_plain.csv").rename({"size": "params", "sharp": "acc"})


class Pandas:
    """What a frame of pandas without pyarrow offers."""

    def __init__(self, frame):
        self.frame = frame

    def to_dict(self, orient):
        assert orient == "list"
        return self.frame.to_dict(as_series=False)


class Arrow:
    """What a frame of pandas with pyarrow, or a table of pyarrow, offers."""

    def __init__(self, frame):
        self.frame = frame

    def __arrow_c_stream__(self, requested_schema=None):
        return self.frame.__arrow_c_stream__(requested_schema)


def test_any_frame_and_its_file_have_the_same_verdict(frame):
    """Of polars, of pandas, by columns and by rows."""
    shapes = [frame, frame.lazy(), Pandas(frame), Arrow(frame), frame.to_dict(as_series=False), frame.to_dicts()]
    found = [nosce.audit(shape, size="params", sharp="acc", resamples=200) for shape in shapes]
    whole = nosce.audit(TABLES / "items_plain.csv", resamples=200)
    assert {one.verdict for one in found} == {"metric"}
    assert {one.table.drop("task").rows()[0] for one in found} == set(whole.table.drop("task").rows())
    assert repr(found[0]).startswith("The jump is the metric's: acc jumps")


def test_the_object_has_a_verdict_a_table_and_a_figure(frame, tmp_path):
    """And the figure can be kept."""
    found = nosce.audit(frame, resamples=200)
    assert isinstance(found, nosce.MirageAudit)
    assert found.table["verdict"].to_list() == [found.verdict]
    assert "</svg>" in found.figure == found._repr_svg_()
    assert found.save_figure(tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert "size = `params`, sharp = `acc` of 40 items" in found.columns


@pytest.mark.whole
def test_several_tasks_have_a_row_each():
    """And no single verdict."""
    found = nosce.audit(str(TABLES / "tasks.csv"), resamples=200)
    assert found.table["task"].to_list() == ["law", "break", "noise"]
    assert found.table["q_linear"].null_count() == 0
    with pytest.raises(DataError, match=r"there are 3 tasks.*`\.table`"):
        found.verdict  # noqa: B018
    assert found._repr_html_().count("<img") == 1


def test_a_notebook_is_shown_escaped_text(frame):
    """The picture is data of an image, so that nothing in it runs; names of columns are text."""
    hostile = frame.rename({"acc": "<script>alert(1)</script>\x1b[31m"})
    page = nosce.audit(hostile, sharp="<script>alert(1)</script>\x1b[31m", resamples=100)._repr_html_()
    assert "<script" not in page
    assert "\x1b" not in page
    picture = base64.b64decode(re.search(r"base64,([^\"]+)", page)[1]).decode()
    assert "<script" not in picture
    assert picture.rstrip().endswith("</svg>")


@pytest.mark.parametrize(
    ("table", "said", "told"),
    [
        (7, {}, "this is of type int"),
        ([], {}, "this is of type list"),
        (SimpleNamespace(), {}, "this is of type SimpleNamespace"),
        ({"params": [1, 2], "acc": [0.1]}, {}, "cannot be read"),
        ({"params": [1, 10], "acc": [0.1, 0.2]}, {}, r"`nosce\.audit\(table, n=500\)`"),
        (
            {"params": [1, 10], "acc": [1, 30], "n": [50, 50]},
            {"size": "params"},
            r"size='params', percent=True\)",
        ),
        ({"model": ["a", "b"], "acc": [0.1, 0.2]}, {"n": 9}, r"\(table, n=9, model_sizes=\{'a': '1.3B'\}\)"),
        ({"params": [1, 10], "acc": [0.1, 0.2]}, {"n": 10, "resamples": 5}, "--resamples 5"),
        ({"params": [1, 10], "acc": [0.1, None]}, {"n": 10}, "row 2 has 'None' in 'acc'"),
        ("nowhere.csv", {}, "nowhere.csv, which is no file"),
        ({"model": ["a", "b"], "acc": [0.1, 0.2]}, {"n": 10, "model_sizes": {"a": "many"}}, "the size 'many' of 'a'"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(table, said, told):
    """As on the command line."""
    with pytest.raises(UsageError, match=told) as refused:
        nosce.audit(table, **said)
    assert "\n" not in str(refused.value)


def test_sizes_of_models_may_be_given():
    """In numbers or as the field writes them."""
    columns = {"model": list("abcde"), "acc": [0, 0, 0.01, 0.02, 0.9]}
    sizes = {"a": 1e6, "b": "10M", "c": "100M", "d": 1e9, "e": "10B"}
    assert nosce.audit(columns, n=100, model_sizes=sizes, resamples=100).table["sizes"].to_list() == [5]
