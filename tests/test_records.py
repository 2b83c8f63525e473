"""Records come back from Parquet as they went in, and the tables have the columns that others read."""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest

import nosce
from nosce import records
from nosce.errors import DataError
from nosce.records import (
    Document,
    Estimate,
    ProbedFeature,
    Question,
    Reading,
    Span,
    Verdict,
    Walkthrough,
    WalkthroughStep,
)

READING = Reading(
    study="s",
    scale="smoke",
    arm="multi5+permute",
    seed=0,
    stage="pretrain",
    step=0,
    evaluation="recall",
    split="seen",
    item="birth_city/0",
    entity="person/0",
    attribute="birth_city",
    metric="exact",
    value=1.0,
    outcome="right",
    answer="Zürich, ZH",
    target="Zürich, ZH",
)
ESTIMATE = Estimate(
    value=0.5, low=0.4, high=0.6, n=100, clusters=20, seeds=3, unit="person", method="bootstrap", seed_values=(0.1, 0.9)
)
VERDICT = Verdict(
    id="c1",
    text="it holds",
    source="arXiv:1",
    criterion="low > 0.5",
    paper_value=0.9,
    estimate=0.6,
    low=0.55,
    high=0.65,
    n=12,
    unit="person",
    verdict="holds",
    why="",
)

RECORDS = {
    Span: [Span("birth_city", 0, 6), Span("", 2**40, 2**40 + 1)],
    Document: [
        Document("0/0", "person/0", "Åsa was born in Þórshöfn.", (Span("birth_city", 16, 24),), ("birth_city#3",)),
        Document("0/1", "person/0", '🐟 "quote", comma,\ttab\nline \x00 zero', (Span("a", 0, 1), Span("b", 2, 3))),
        Document("1/0", "person/1", "", ()),
        Document("record/0", "record/0", "2 3 is 5", (), prompt_chars=6),
    ],
    Question: [
        Question("birth_city/0", "person/0", "birth_city", "Where? Answer:", "Þórshöfn", "seen"),
        Question("birth_city/1", "person/1", "birth_city", "", "", "unseen"),
        Question("record/0", "record/0", "program", "2 3 is", "5", "unseen", metadata='{"more": [[1, 1, 2]]}'),
    ],
    Reading: [
        READING,
        dataclasses.replace(READING, value=None, outcome=None, answer=None, target=None),
        dataclasses.replace(READING, value=0.1 + 0.2, outcome="unreadable", answer="", step=2**40),
    ],
    Estimate: [ESTIMATE, dataclasses.replace(ESTIMATE, low=None, high=None, level=0.9)],
    Verdict: [
        VERDICT,
        dataclasses.replace(VERDICT, paper_value=None, estimate=None, low=None, high=None, verdict="undecided"),
    ],
}


WALKS = [
    Walkthrough(
        "one",
        "what it wrote",
        (
            WalkthroughStep("move", ("#.", "^#"), None, ()),
            WalkthroughStep(
                "turnLeft",
                ("<.", " #"),
                ("<.", "ø#"),
                (ProbedFeature("facing", "west", "east", 0.2), ProbedFeature("", "", "", 1.0)),
            ),
        ),
    ),
    Walkthrough("two", "", ()),
]


def test_every_record_is_tried_here():
    """A record that is added to the module must come into these tests too."""
    ours = {v for v in vars(records).values() if dataclasses.is_dataclass(v) and v.__module__ == records.__name__}
    assert ours == {*RECORDS, Walkthrough, WalkthroughStep, ProbedFeature}


def test_records_that_are_kept_as_json_come_back():
    """One within the other, with what is missing still missing, and tuples where lists were kept."""
    kept = json.loads(json.dumps([dataclasses.asdict(walk) for walk in WALKS]))
    assert records.from_json(kept, Walkthrough) == tuple(WALKS)


@pytest.mark.parametrize("kind", RECORDS)
def test_records_come_back_as_they_went_in(kind, tmp_path):
    """Nested spans, null, any character and the last bit of a number survive the way to disk."""
    records.write_parquet(RECORDS[kind], kind, tmp_path / "table.parquet")
    assert records.read_parquet(tmp_path / "table.parquet", kind) == RECORDS[kind]


@pytest.mark.parametrize("kind", RECORDS)
def test_an_empty_table_keeps_its_columns(kind, tmp_path):
    """No record at all still gives every column with its type, so tables can be put together."""
    records.write_parquet([], kind, tmp_path / "empty.parquet")
    records.write_parquet(RECORDS[kind], kind, tmp_path / "full.parquet")
    empty, full = pl.read_parquet(tmp_path / "empty.parquet"), pl.read_parquet(tmp_path / "full.parquet")
    assert empty.schema == full.schema == records.schema(kind)
    assert pl.concat([empty, full]).equals(full)
    assert records.from_table(empty, kind) == []


@pytest.mark.parametrize("kind", RECORDS)
def test_a_column_of_nothing_but_nulls_keeps_its_type(kind):
    """What is missing everywhere is still a missing number or a missing word, as `kind` says."""
    optional = [f.name for f in dataclasses.fields(kind) if type(None) in typing.get_args(_hints(kind)[f.name])]
    bare = [dataclasses.replace(r, **dict.fromkeys(optional)) for r in RECORDS[kind]]
    assert records.to_table(bare, kind).schema == records.schema(kind)


def test_missing_is_null_and_not_a_number():
    """None becomes null, so that a mean over the column leaves it out and does not become NaN."""
    values = records.to_table(RECORDS[Reading], Reading)["value"]
    assert values.null_count() == 1
    assert not values.is_nan().any()
    assert values.mean() == pytest.approx(0.65)


@pytest.mark.parametrize("kind", RECORDS)
def test_a_table_that_lacks_a_column_is_refused(kind):
    """Reading another's table names the column that is not there, in one sentence."""
    lost = dataclasses.fields(kind)[-1].name
    table = records.to_table(RECORDS[kind], kind).drop(lost)
    with pytest.raises(DataError, match=rf"table of {kind.__name__} .*'{lost}'.*\.$"):
        records.from_table(table, kind)


def test_columns_of_somebody_else_do_no_harm():
    """A table with further columns, in another order, still gives the records."""
    table = records.to_table(RECORDS[Question], Question).with_columns(note=pl.lit("mine"))
    assert records.from_table(table.select(sorted(table.columns)), Question) == RECORDS[Question]


def test_readings_have_the_columns_of_the_design():
    """`readings.parquet` has the columns that section 5 of the design promises to other programs."""
    promised = [
        "study",
        "scale",
        "arm",
        "seed",
        "stage",
        "step",
        "evaluation",
        "split",
        "item",
        "entity",
        "metric",
        "value",
        "outcome",
        "answer",
        "target",
    ]
    columns = records.schema(Reading)
    assert [name for name in columns if name in promised] == promised
    assert {columns[name] for name in ("seed", "step")} == {pl.Int64()}
    assert columns["value"] == pl.Float64()


def test_outcomes_are_those_of_the_design():
    """Unreadable, refused and invalid replies are outcomes of their own, beside right and wrong."""
    assert typing.get_args(records.Outcome) == ("right", "wrong", "unreadable", "refused", "invalid")


def _hints(kind: type) -> dict[str, typing.Any]:
    return typing.get_type_hints(kind)


# --- files are read under the name they have ---


@pytest.mark.parametrize("name", ["t[1]", "t*", "t?", "{t,u}", "a=1", "%41", "~"])
@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("is_folder", [False, True])
def test_a_path_is_read_as_it_stands(tmp_path, monkeypatch, name, kind, is_folder):
    """Characters that polars takes for patterns are characters: the file itself is read, never its neighbour."""
    for number, part in enumerate((name, "t1", "A")):
        path = tmp_path / part / f"table.{kind}" if is_folder else tmp_path / f"{part}.{kind}"
        path.parent.mkdir(exist_ok=True)
        frame = pl.DataFrame({"x": [number]})
        match kind:
            case "parquet":
                frame.write_parquet(content := BytesIO())
                path.write_bytes(content.getvalue())
            case "csv":
                path.write_text(frame.write_csv())
            case _:
                path.write_text(frame.write_ndjson())
    monkeypatch.chdir(tmp_path)
    relative = Path(name) / f"table.{kind}" if is_folder else Path(f"{name}.{kind}")
    for path in (relative, tmp_path / relative):
        assert records.read_table(path).to_dict(as_series=False) == {"x": [0]}


def test_one_function_reads_tables():
    """Nothing else calls a reader of polars, so that no other place takes a path for a pattern."""
    readers = re.compile(r"\b(pl|polars)\.(read|scan)_\w+|from polars import")
    for file in Path(nosce.__file__).parent.rglob("*.py"):
        if file.name != "records.py":
            assert not readers.search(file.read_text(encoding="utf-8")), (
                f"{file} reads a table; call nosce.records.read_table."
            )
