"""Files of tables: read right whatever their bytes, or refused in a sentence; never read as something else."""

from __future__ import annotations

import gzip
import json

import polars as pl
import pytest

from nosce.analysis.emergence.scores import CountOutcomes
from nosce.analysis.emergence.table import parse_outcomes
from nosce.analysis.emergence.table_file import read_outcome_table
from nosce.errors import NosceError, UsageError

COUNTS = "size,right,asked\n10,1,100\n20,2,100\n40,50,100\n"
CORRECT = [[1, 2, 50]]


def outcomes(path):
    return parse_outcomes(read_outcome_table(path))


@pytest.mark.parametrize(
    "content",
    [
        COUNTS.encode(),
        COUNTS.encode("utf-8-sig"),
        COUNTS.encode("utf-16"),
        COUNTS.encode("utf-32"),
        COUNTS.replace(",", ";").encode(),
        COUNTS.replace(",", "\t").encode(),
        COUNTS.replace("\n", "\r\n").encode(),
        (COUNTS + "\n\n").encode(),
        COUNTS.replace(",1,", ",1.0,").encode(),
        COUNTS.replace("40,50", "4e1,5e1").encode(),
    ],
    ids=["utf-8", "mark", "utf-16", "utf-32", "semicolons", "tabs", "crlf", "blank lines", "decimals", "exponents"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_csv_file_is_read_right_whatever_wrote_it(tmp_path, content, packed):
    """The same counts from every encoding, separator, line end and way to write a number."""
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    path.write_bytes(gzip.compress(content) if packed else content)
    found = outcomes(path)
    assert isinstance(found, CountOutcomes)
    assert found.n_correct.tolist() == CORRECT
    assert found.sizes.tolist() == [10, 20, 40]


def test_a_key_that_a_late_line_has_first_counts(tmp_path):
    """A chance level behind row 100 is asked for in all rows, and not taken for none."""
    rows = [{"size": 10.0 ** (n % 4), "item": f"i{n // 4}", "sharp": n % 2} for n in range(400)]
    path = tmp_path / "t.jsonl"
    path.write_text(
        "".join(json.dumps(row | ({"chance": 0.25} if n > 200 else {})) + "\n" for n, row in enumerate(rows))
    )
    assert read_outcome_table(path)["chance"].null_count() == 201
    with pytest.raises(NosceError, match="'None' in 'chance'"):
        outcomes(path)
    path.write_text("".join(json.dumps(row | {"chance": 0.25}) + "\n" for row in rows))
    assert outcomes(path).chance == 0.25


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_decimals_may_come_late(tmp_path, kind):
    """Whole numbers in the first rows do not make a later decimal an error."""
    rows = [{"size": 10.0 ** (n % 4), "item": f"i{n // 4}", "sharp": 0 if n < 1_990 else 0.5} for n in range(2_000)]
    table = pl.DataFrame(rows, schema_overrides={"sharp": pl.String} if kind == "csv" else {"sharp": pl.Float64})
    path = tmp_path / f"t.{kind}"
    if kind == "csv":
        path.write_text("size,item,sharp\n" + "".join(f"{r['size']},{r['item']},{r['sharp']}\n" for r in rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(table) == len(read_outcome_table(path))
    assert outcomes(path).sharp.sum() == 5


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", b"size,item,sharp,sharp\n1,a,0,1\n2,a,0,1\n", "'sharp' twice"),
        ("t.csv", b"size;item;sharp;sharp\n1;a;0;1\n2;a;0;1\n", "'sharp' twice"),
        ("t.jsonl", b'{"size":1,"item":"a","sharp":0,"sharp":1}\n{"size":2,"item":"a"}\n', "'sharp' twice"),
        ("t.jsonl", b'{"size":1,"item":"a","sharp":0}\n{"size":2,"item":"a","sharp":0,"sharp":1}\n', "'sharp' twice"),
        ("t.csv", COUNTS.encode("utf-16-le"), "zero bytes"),
        ("t.csv", b"size,right,asked\n\xff\xfe\xff,1,2\n", "invalid utf-8"),
        ("t.csv", b"", "empty"),
        ("t.jsonl", b"", "cannot be read as jsonl"),
        ("t.jsonl", b"[1, 2]\n", "cannot be read as jsonl"),
        ("t.csv.gz", b"no gzip", "cannot be read as csv"),
        ("t.csv.gz", gzip.compress(COUNTS.encode(), mtime=0)[:-9], "cannot be read as csv"),
        ("t.parquet", b"PAR1 and no more PAR1", "cannot be read as parquet"),
        ("t.csv", b"size,right,asked\n1;5,1,2\n", "more fields|no finite number|empty|cannot"),
    ],
)
def test_a_file_that_cannot_be_read_right_is_refused(tmp_path, name, content, told):
    """A column that stands twice, a wrong encoding, a truncated file: one sentence, and no guess."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(NosceError, match=told) as refused:
        outcomes(path)
    assert "\n" not in str(refused.value)


def test_a_path_is_no_pattern(tmp_path):
    """`t[1].csv` is that file, and not `t1.csv` beside it."""
    (tmp_path / "t1.csv").write_text(COUNTS)
    (tmp_path / "t[1].csv").write_text(COUNTS.replace(",50,", ",90,"))
    assert outcomes(tmp_path / "t[1].csv").n_correct.tolist() == [[1, 2, 90]]
    with pytest.raises(UsageError, match="no file"):
        outcomes(tmp_path / "t*.csv")


def test_a_small_file_of_many_rows_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """Rows are counted from the metadata, since equal values take no space."""
    monkeypatch.setattr("nosce.analysis.emergence.table_file.MAX_ROWS", 2)
    pl.DataFrame({"size": [1, 2, 3]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UsageError, match="3 rows"):
        read_outcome_table(tmp_path / "t.parquet")
