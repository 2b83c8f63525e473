"""Tables of a user's own: equal facts from every format, values as they stand, and one sentence for what is wrong."""

import gzip
import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from nosce.data.worlds.fact_tables import read_fact_table, readable_names
from nosce.errors import SpecError

FACTS = Path(__file__).parents[2] / "fixtures" / "facts"
ROWS = [("Ada", "red", "1.50"), ("Bo", "blue", "007"), ("Cy", "green", "2"), ("Di", "red", "3")]
ROWS += [(f"N{number}", f"c{number}", f"{number}.0") for number in range(6)]


def written(path: Path, rows=ROWS, header=("name", "color", "size"), separator=",") -> Path:
    """A CSV file of these rows."""
    lines = [separator.join(header), *(separator.join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["products_excel.csv", "products.parquet", "products.jsonl"])
def test_what_other_programs_write_holds_the_same_facts(name):
    """Semicolons, a byte order mark and CRLF as of Excel; Parquet of pyarrow; JSON lines of datasets."""
    expected, found = read_fact_table(FACTS / "products.csv"), read_fact_table(FACTS / name)
    assert (found.names, found.values) == (expected.names, expected.values)
    assert len(found.names) == 40
    assert found.values["designer"][2] == 'Ada "Bee" Norling'
    assert found.values["price"][1] == "007.00"
    assert found.values["weight"].count(None) == 1
    assert found.n_facts == 198
    assert any("1 of weight" in note for note in found.notes)


def test_values_are_texts_as_they_stand(tmp_path):
    """No digit is lost or added in CSV and JSON; dates and truth values of Parquet are written plainly."""
    assert read_fact_table(written(tmp_path / "a.csv")).values["size"][:3] == ("1.50", "007", "2")
    lines = [f'{{"name": "{name}", "size": {size}, "new": true}}' for name, _, size in ROWS if size != "007"]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    table = read_fact_table(tmp_path / "a.jsonl")
    assert (table.values["size"][0], table.values["new"][0]) == ("1.50", "true")
    frame = {"name": [row[0] for row in ROWS], "day": [date(2020, 1, 2)] * 10, "x": [1.5, float("nan"), *range(8)]}
    pl.DataFrame(frame, strict=False).write_parquet(tmp_path / "a.parquet")
    table = read_fact_table(tmp_path / "a.parquet")
    assert (table.values["day"][0], table.values["x"][:2]) == ("2020-01-02", ("1.5", None))


def test_tabs_gzip_and_other_encodings_are_read(tmp_path):
    """As a spreadsheet saves "Unicode text", and as an archive has it."""
    plain = read_fact_table(written(tmp_path / "a.csv"))
    text = written(tmp_path / "b.tsv", separator="\t").read_text()
    (tmp_path / "b.tsv").write_text(text, encoding="utf-16")
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    for name in ("b.tsv", "c.csv.gz"):
        assert read_fact_table(tmp_path / name).values == plain.values


@pytest.mark.parametrize(
    ("header", "name", "reason"),
    [
        (("color", "name", "size"), "name", "called name"),
        (("id", "product_name", "size"), "product_name", "called product_name"),
        (("id", "who", "size"), "who", "first column of texts"),
    ],
)
def test_the_column_of_names_is_found_and_said(tmp_path, header, name, reason):
    """By its name, by how its name ends, or as the first column of texts that all differ."""
    rows = [(str(number), row[0], "small" if number % 2 else "large") for number, row in enumerate(ROWS)]
    table = read_fact_table(written(tmp_path / "a.csv", rows, header))
    assert table.name_column == name
    assert reason in table.name_reason


def test_empty_columns_lines_and_entities_are_left_out_and_said(tmp_path):
    """As Excel leaves them behind."""
    rows = [(*row, "", "x" if row[0] == "Ada" else "") for row in ROWS] + [("", "", "", "", ""), ("Zo", "", "", "", "")]
    table = read_fact_table(written(tmp_path / "a.csv", rows, ("name", "color", "size", "note", "")))
    assert len(table.names) == 10
    said = " ".join(table.notes)
    assert "without a name" in said
    assert "note" in said
    assert "1 entities have no fact" in said


def changed(row: int, *cells: str):
    """The rows with one of them replaced."""
    return [cells if number == row else old for number, old in enumerate(ROWS)]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (ROWS[:5], "has 5 rows"),
        (changed(6, "Bo", "x", "1"), "rows 2 and 7 .* both have the name 'Bo'"),
        (changed(3, "", "x", "1"), "row 4 .* has no name"),
        (changed(3, "Di", "Di blue", "1"), "row 4 .*value contains the name"),
        (changed(3, "Di red", "red", "1"), "row 4 .*name contains the value"),
        (changed(3, "Di", "r" * 301, "1"), "row 4 .* 301 characters in 'color'"),
        ([(name, "" if int(n) > 3 else color, "1") for n, (name, color, _) in enumerate(ROWS)], "'color' .* 4 values"),
    ],
)
def test_a_table_that_cannot_be_asked_about_is_refused(tmp_path, rows, sentence):
    """The sentence names the row or the column."""
    with pytest.raises(SpecError, match=sentence):
        read_fact_table(written(tmp_path / "a.csv", rows))


def test_words_are_told_from_letters(tmp_path):
    """A name that is a part of a word in a value is no hint; in Japanese any occurrence is."""
    read_fact_table(written(tmp_path / "a.csv", changed(3, "Di", "Diana", "1")))
    with pytest.raises(SpecError, match="value contains the name"):
        read_fact_table(written(tmp_path / "b.csv", changed(3, "大阪", "大阪府", "1")))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"name,b,b\n", "column 'b' twice"),
        ("a.csv", "name,b\nÄ,1\n".encode("latin-1"), "no UTF-8"),
        ("a.csv", b"", "empty"),
        ("a.csv", b"name,b\nx,1,2,3\n", "cannot be read"),
        ("a.jsonl", b'{"name": "a", "b": [1]}', "a list and no plain value"),
        ("a.jsonl", b'{"name": "a", "name": "b"}', "twice"),
        ("a.jsonl", b"[1", "cannot be read"),
        ("a.parquet", b"PAR", "cannot be read"),
        ("a.xlsx", b"PK", "take a file .csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, name, content, sentence):
    """Never a traceback."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SpecError, match=sentence):
        read_fact_table(tmp_path / name)
    with pytest.raises(SpecError, match="no file"):
        read_fact_table(tmp_path / "none.csv")


def test_column_names_are_written_as_people_do(tmp_path):
    """Underscores and capitals in the middle part words; abbreviations stay."""
    header = ("name", "birth_city", "GDP.perCapita")
    assert [name for _, name in readable_names(read_fact_table(written(tmp_path / "a.csv", header=header)))] == [
        "birth city",
        "GDP per capita",
    ]


def test_a_table_of_100_000_rows_is_read_in_seconds(tmp_path):
    """A large table is no special case."""
    rows = ((json.dumps(f"entity {n}"), f"color {n % 50}", str(n)) for n in range(100_000))
    path = written(tmp_path / "a.csv", [(name.strip('"'), color, f"{size} g") for name, color, size in rows])
    table = read_fact_table(path)
    assert (len(table.names), table.n_facts) == (100_000, 200_000)
