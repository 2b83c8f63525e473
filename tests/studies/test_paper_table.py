"""docs/paper-scale.md holds the papers' sizes against ours, and what it says of ours is what the scales have."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from tests.fixtures.built_in_studies import built_in_study
from tests.fixtures.every_case import check_every

from nosce.studies import CONFIGS, MODEL_CONFIGS
from nosce.studies.configs import _as_text as as_text

PATH = Path(__file__).parents[2] / "docs" / "paper-scale.md"
HEADING = re.compile(r"^## (?P<study>\w+)(?P<model> --model MODEL)? at the scale (?P<scale>\w+)$")
COLUMNS = ["setting", "paper", "source", "ours", "field", "why they differ"]
NOTHING = "-"
PAPERS = {
    "biographies": {"2309.14316", "2309.14402"},
    "diaries": {"2502.19573", "2310.15372"},
    "emergence": {"2304.15004"},
    "introspection": {"2410.13787"},
    "karel": {"2305.11169"},
}


@dataclass(frozen=True)
class Row:
    """A line of a table: what it is about, what the paper has and where it says so, what we have, and why."""

    study: str
    with_model: bool
    scale: str
    setting: str
    paper: str
    source: str
    ours: str
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.study}-{self.scale}-{self.setting}"


def read_rows(text: str) -> list[Row]:
    """All rows below the headings of studies."""
    rows, at = [], None
    for line in text.splitlines():
        if line.startswith("## "):
            at = HEADING.match(line)
        elif at and line.startswith("|") and not line.startswith("|-"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) == len(COLUMNS), line
            if cells != COLUMNS:
                rows.append(Row(at["study"], bool(at["model"]), at["scale"], *(c.strip("`") for c in cells)))
    return rows


ROWS = read_rows(PATH.read_text(encoding="utf-8"))
READ = [row for row in ROWS if row.field != NOTHING]


@cache
def config_of(study: str, scale: str, with_model: bool) -> object:
    """The configuration of a study at a scale."""
    module, _, variable = (MODEL_CONFIGS if with_model else CONFIGS)[study].partition(":")
    return getattr(importlib.import_module(module), variable)[scale]()


@cache
def parts_of(study: str, scale: str) -> dict[str, dict[str, object]]:
    """The arms and the experiments of a study at a scale by their names."""
    whole = built_in_study(study, scale)
    experiments = {spec.name: spec.experiment for spec in whole.experiments}
    return {"arms": {arm.name: arm for arm in whole.arms}, "experiments": experiments}


def value_of(row: Row) -> object:
    """What a field's path leads to: `a.b`, `a[key].b`, `arms[name].b`, `module:NAME`, or `len(...)` of one of these."""
    if wrapped := re.fullmatch(r"len\((.*)\)", row.field):
        return len(value_of(Row(**{**vars(row), "field": wrapped[1]})))
    if ":" in row.field:
        module, _, name = row.field.partition(":")
        return getattr(importlib.import_module(module), name)
    value: object = config_of(row.study, row.scale, row.with_model)
    for name, key in re.findall(r"(\w+)(?:\[([^\]]*)\])?\.?", row.field):
        is_part = name in ("arms", "experiments")
        value = parts_of(row.study, row.scale)[name] if is_part else getattr(value, name)
        if key:
            value = value[int(key) if isinstance(value, tuple) else key]
    return value


@pytest.fixture(autouse=True)
def no_models_folder(monkeypatch):
    """The table is of the shapes that are trained from scratch where no folder is named."""
    monkeypatch.delenv("NOSCE_MODELS", raising=False)


def test_every_study_has_its_table():
    """The four that have a scale of the paper's size, and introspection on models."""
    assert {row.study for row in ROWS} == set(PAPERS)
    for study in PAPERS:
        assert sum(row.study == study and row.scale == "paper" for row in ROWS) >= 8
    assert any((row.study, row.scale) == ("emergence", "gpu") for row in ROWS)


def test_ours_is_what_the_scale_has():
    """The value of the field, as `nosce list` writes it."""

    def check(row):
        assert row.ours == as_text(value_of(row)), row.field

    check_every(check, READ)


def test_a_difference_has_a_reason_and_an_equality_has_none():
    """Where the papers say nothing, that is the reason; and every row says where the paper's value stands."""

    def check(row):
        assert (row.reason == NOTHING) == (row.paper == row.ours)
        assert row.source
        assert row.paper == "not found" or re.search(
            r"section|appendi|version|Figure|Table|figure|code|footnote", row.source
        )
        assert "sheet" not in f"{row.source} {row.reason}"

    check_every(check, ROWS)


@pytest.mark.parametrize("study", PAPERS)
def test_papers_are_cited_by_their_numbers(study):
    """Each table names its papers, and no other."""
    text = PATH.read_text(encoding="utf-8")
    begin = text.index(f"## {study}")
    section = re.split(r"^## (?!" + study + r"\b)", text[begin:], flags=re.MULTILINE)[0]
    assert set(re.findall(r"\d{4}\.\d{5}", section)) == PAPERS[study]


def test_a_changed_scale_is_noticed():
    """A value, a field or a reason that is not there is a fault."""
    (records,) = (row for row in READ if row.field == "world.records")
    wrong = Row(**{**vars(records), "ours": "1,000,000"})
    assert as_text(value_of(records)) == records.ours == records.paper
    assert as_text(value_of(wrong)) != wrong.ours
    with pytest.raises(AttributeError):
        value_of(Row(**{**vars(records), "field": "world.programs"}))
