"""Static pages: one for each study, and an index of them.

A page is one HTML file that needs nothing else: no network, no script, no file beside it. What is
shown comes from the store; the only thing made here is the picture of each figure.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import jinja2
import polars as pl

from nosce.analysis.answer import derive_answer
from nosce.analysis.render.figure import FigureData, page_svg
from nosce.analysis.render.forest import SIGNS, ClaimRule, ForestRow, forest_rows
from nosce.analysis.render.tables import ONE_MODEL, format_value, preconditions_text, tally_text
from nosce.records import Verdict, Walkthrough
from nosce.store.disclosure import Disclosure

FOLD_ROWS = 12  # rows from which a table is folded away
MAX_TABLE_ROWS = 1_000  # rows of a table that are shown at all


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """All that the page of one study shows, at one scale."""

    study: str
    title: str
    question: str
    paper: str
    scale: str
    seeds: tuple[int, ...]
    verdicts: tuple[Verdict, ...]
    figures: tuple[FigureData, ...]
    guards: tuple[dict[str, str], ...]  # guard, found, verdict: what was checked before training
    tables: tuple[tuple[str, str, pl.DataFrame], ...]  # title, caption, table
    steps: tuple[dict[str, str], ...]  # step, kind, what, state (done, stale or missing), seconds, made
    provenance: dict[str, str]
    command: str  # makes the numbers again
    walks: tuple[Walkthrough, ...] = ()  # to be stepped through
    notes: tuple[str, ...] = ()  # sentences on what was found in a user's files
    disclosures: tuple[Disclosure, ...] = ()  # what was chosen after which readings
    conclusion: str = ""  # the answer to the question; "" where the study draws none
    part_notice: str = ""  # a sentence on results of some arms or seeds only; "" for the whole study
    ages: Mapping[str, str] = field(default_factory=dict)  # by the claim's id: when it was written beside the readings
    details: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)  # by the claim's id: a word, a text
    rules: Mapping[str, ClaimRule] = field(default_factory=dict)  # by the claim's id: its threshold as a number
    exploratory: Mapping[str, Verdict] = field(default_factory=dict)  # by the claim's id: by exploratory seeds
    halves_notice: str = ""  # how the exploratory and the confirmatory half agree, in a sentence
    headline: tuple[str, ...] = ()  # ids or patterns of the claims that answer the question
    lead_figure: str = ""  # id of the figure that carries the answer; "" shows none at the top
    figure_claims: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by the figure's id: claims it serves
    method: Sequence[tuple[str, str, str]] = ()  # a size, its value in this run, and in the paper or ""
    items: str = ""  # where one item can be read, relative to the page; "" where nothing is to be read


@dataclass(frozen=True)
class _Column:
    name: str
    number: bool  # stands on the right


@dataclass(frozen=True)
class _Grid:
    """A table as the template writes it: cells as text."""

    name: str
    caption: str
    columns: list[_Column]
    rows: list[list[str]]
    size: str
    left_out: str  # how many rows are not shown; "" where all are
    long: bool


def render_study_page(page: StudyPage) -> str:
    """The page of a study as HTML; equal pages give equal text."""
    rows = forest_rows(page.verdicts, page.rules, page.exploratory)
    places = {row.id: number for number, row in enumerate(rows, 1)}
    figures = [_placed_figure(page, figure, places) for figure in page.figures]
    states = [step["state"] for step in page.steps]
    return (
        page_templates()
        .get_template("study.html")
        .render(
            page=page,
            answer=derive_answer(page.verdicts, page.headline, page.conclusion),
            rows=rows,
            tally=_tally_bar(rows),
            counts=tally_text(page.verdicts),
            open_rows=[row for row in rows if row.word in ("undecided", "not judged")],
            places=places,
            stale=states.count("stale"),
            missing=states.count("missing"),
            lead=next((figure for figure in figures if figure["id"] == page.lead_figure), None),
            sections=_figure_sections(figures),
            guards=_text_grid("Guards", ("guard", "found", "verdict"), page.guards),
            tables=[_grid(*table) for table in page.tables],
            signs=SIGNS,
            one_model=ONE_MODEL,
            preconditions=preconditions_text(page.verdicts),
        )
    )


def _tally_bar(rows: Sequence[ForestRow]) -> list[tuple[str, str, int, float, float]]:
    """Word, sign, number, and from where to where it reaches in percent, of each verdict that occurs."""
    bar: list[tuple[str, str, int, float, float]] = []
    at = 0.0
    for word, sign in SIGNS.items():
        count = sum(row.word == word for row in rows)
        if count:
            width = 100 * count / len(rows)
            bar.append((word, sign, count, round(at, 3), round(width, 3)))
            at += width
    return bar


def _placed_figure(page: StudyPage, figure: FigureData, places: Mapping[str, int]) -> dict[str, object]:
    """A figure as the template shows it, with the claims that it serves in the order of the page."""
    served = [claim for claim in page.figure_claims.get(figure.id, ()) if claim in places]
    return {**figure_context(figure), "id": figure.id, "claims": sorted(served, key=lambda claim: places[claim])}


def _figure_sections(figures: Sequence[dict[str, object]]) -> list[tuple[str, list[dict[str, object]]]]:
    """The figures under a heading each: those behind a claim, and those beside the claims."""
    behind = [figure for figure in figures if figure["claims"]]
    beside = [figure for figure in figures if not figure["claims"]]
    if not behind:
        return [("", beside)] if beside else []
    return [("Behind the claims", behind), *([("Beside the claims", beside)] if beside else [])]


def page_templates() -> jinja2.Environment:
    """The templates of all pages, which escape every text."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("nosce.analysis.render"),
        autoescape=True,  # every text is shown literally; no template says |safe
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def figure_context(figure: FigureData) -> dict[str, object]:
    """What a template shows of a figure: its picture, the words around it and the table of its numbers."""
    rows = figure.rows
    kind = figure.kind.capitalize()
    groups = ", ".join(rows["group"].drop_nulls().unique(maintain_order=True))
    panels = ", ".join(name for name in rows["panel"].drop_nulls().unique(maintain_order=True) if name)
    alt = f"{figure.title}. {kind} of {figure.y_label} by {figure.x_label}, for {groups or 'no group'}"
    alt += f"; panels: {panels}" if panels else ""
    table = rows.drop([name for name in ("panel", "tick") if not rows[name].fill_null("").ne("").any()])
    if figure.kind != "curves":
        table = table.drop("x")  # only the order of the bars
    return {
        "title": figure.title,
        "caption": figure.caption,
        "alt": f"{alt}. The numbers stand in the table below.",
        "base64": base64.b64encode(page_svg(figure).encode()).decode(),
        "narrow": base64.b64encode(page_svg(figure, narrow=True).encode()).decode(),
        "table": _grid(f"Numbers of {figure.title}", "", table),
    }


def _grid(name: str, caption: str, table: pl.DataFrame) -> _Grid:
    columns = [_Column(column, kind.is_numeric()) for column, kind in table.schema.items()]
    rows = [[format_value(cell) for cell in row] for row in table.head(MAX_TABLE_ROWS).iter_rows()]
    left_out = f"{table.height - MAX_TABLE_ROWS:,}" if table.height > MAX_TABLE_ROWS else ""
    return _Grid(name, caption, columns, rows, f"{table.height:,}", left_out, table.height > FOLD_ROWS)


def _text_grid(name: str, keys: Sequence[str], rows: Sequence[dict[str, str]]) -> _Grid:
    table = pl.DataFrame(
        {key: [row.get(key, "") for row in rows] for key in keys}, schema=dict.fromkeys(keys, pl.String)
    )
    return _grid(name, "", table)
