"""The static site from the store alone: one page a study and scale, its figures, and the numbers behind them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

import polars as pl

from nosce.analysis.render.figure import figure_svg
from nosce.analysis.render.forest import ClaimRule
from nosce.analysis.render.html import StudyPage, render_study_page
from nosce.analysis.stats.paired import Direction
from nosce.errors import DataError, UsageError
from nosce.pipeline.claim_log import planned_versions
from nosce.pipeline.figure_claims import claims_of_figures, lead_figure
from nosce.pipeline.index_page import render_index
from nosce.pipeline.items.page import write_items_page
from nosce.pipeline.ledger import folder_rows
from nosce.pipeline.method_lines import method_lines
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.published_readings import check_readings_size, write_readings_folder
from nosce.pipeline.results import RunProvenance, RunResults, StepStatus
from nosce.pipeline.results_json import results_json
from nosce.store.files import warn_skipped
from nosce.store.spec import Json
from nosce.store.store import Store, store_write_error


def write_site(store: Store, folder: Path, *, readings: bool = False) -> Path:
    """Write `index.html` and a folder per study and scale below `folder`; the path of the index.

    A page shows the fullest finished plan of its study and scale.

    Studies that were written there before and are not in this store stay as they are, in the index too.
    Each of them holds `index.html` (self-contained), `show.json`, `figures/*.svg` and the tables that
    the figures are drawn from.

    Args:
        store: The store.
        folder: The folder of the site.
        readings: Write the readings behind each page too (`published_readings`).

    Raises:
        UsageError: The store holds no finished study.
        DataError: The readings of all studies are too many to be published.
        StoreError: The disk refused.
    """
    plans = PlanRecord.load_finished(store)
    if not plans:
        raise UsageError(f"a report was asked for, but no study is finished in {store.root}; run one first.")
    loaded = _load_results(store, plans)
    try:
        for results in loaded:
            page_folder = folder / results.plan.study / scale_folder(results.plan)
            write_results(results, page_folder)
            if readings:
                write_readings_folder(results, page_folder)
        write_index(folder)
    except OSError as error:
        raise store_write_error(error, folder) from error
    if readings:
        check_readings_size(folder)
    return (folder / "index.html").absolute()


def _load_results(store: Store, plans: Sequence[PlanRecord]) -> list[RunResults]:
    """The results of the plans. Those of another version are named and left out, unless there are no others.

    Raises:
        DataError: Another version of nosce wrote all results.
    """
    loaded, failures = [], []
    for plan in plans:
        try:
            loaded.append(RunResults.load(store, plan))
        except DataError as error:
            failures.append((plan, error))
    if failures and not loaded:
        raise failures[0][1]
    for plan, failure in failures:
        warn_skipped(store.folder(plan.estimates), str(failure).rstrip("."))
    return loaded


def scale_folder(plan: PlanRecord) -> str:
    """The folder of a scale; a variant has its own, named by its words and a digest of all of them."""
    if not plan.variant:
        return plan.scale
    words = re.sub(r"[^A-Za-z0-9.=]+", "-", plan.variant)[:60].strip("-.")
    return f"{plan.scale}-{words}-{hashlib.sha256(plan.variant.encode()).hexdigest()[:6]}"


def write_results(results: RunResults, folder: Path) -> None:
    """Write all that a finished plan shows but a table of all readings: its page, its items, figures and numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    page = replace(study_page(results), items=write_items_page(results, folder))
    write_page(folder, page, results_json(results))


def study_page(results: RunResults) -> StudyPage:
    """The page of a finished plan."""
    plan = results.plan
    answer = results.answer
    figures = results.figures
    shown = [figure.id for figure in figures if figure.rows["value"].count()]
    if results.claims_of_other_arms:
        figures = tuple(figure for figure in figures if figure.id in shown)
    return StudyPage(
        study=plan.study,
        title=plan.title,
        question=plan.question,
        paper=plan.paper,
        scale=plan.scale_label,
        seeds=plan.seeds,
        verdicts=results.shown_verdicts,
        figures=figures,
        guards=tuple(asdict(check) for check in results.leakage_checks),
        tables=tuple(table for table in _tables(results) if len(table[-1])),
        walks=results.walks,
        steps=tuple(map(_step_row, results.steps)),
        provenance=_provenance_row(results.provenance),
        command=f"{plan.command} && nosce report",
        part_notice=results.part_notice,
        notes=plan.notes,
        disclosures=plan.disclosures,
        conclusion=results.conclusion,
        ages={claim: age.details for claim, age in results.ages.items()},
        details={claim: outlook.details for claim, outlook in results.outlooks.items()},
        rules=claim_rules(plan),
        exploratory=results.exploratory,
        halves_notice=results.halves.sentence if results.halves else "",
        headline=plan.headline,
        lead_figure=lead_figure(plan, answer.claims, shown) if answer.is_decided else "",
        figure_claims={name: served.claims for name, served in claims_of_figures(plan).items()},
        method=[(line.name, line.here, line.paper) for line in method_lines(plan)],
    )


def claim_rules(plan: PlanRecord) -> dict[str, ClaimRule]:
    """The rule of each claim of a plan as numbers, by id; a record without them, e.g. a damaged one, has none."""
    rules = {}
    for version in planned_versions(plan, {}):
        threshold, direction = version.description.get("threshold"), version.description.get("direction", "above")
        is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
        known = next((one for one in get_args(Direction) if one == direction), None)
        if is_number and known is not None:
            rules[version.id] = ClaimRule(threshold=float(str(threshold)), direction=known)
    return rules


def _tables(results: RunResults) -> tuple[tuple[str, str, pl.DataFrame], ...]:
    """Title, caption and rows of the page's tables."""
    halves = results.halves
    return (
        *([("Exploratory and confirmatory seeds", halves.sentence, halves.rows)] if halves else ()),
        (
            "Exposure ledger",
            "How often each fact was trained on before any question, and in how many wordings, "
            "by arm and attribute (the first seed).",
            results.exposure_table(),
        ),
        ("Readings", "How many observations the estimates are made from.", results.readings_summary()),
        (
            "Rounding",
            "The largest change (nats) of a span's log-likelihood when its text is read alone instead of "
            "among others, and how many first choices changed with it. Nothing smaller is a finding.",
            results.batch_change_table(),
        ),
    )


def write_index(folder: Path) -> None:
    """Write the page that links all pages below the folder, those of cards too.

    Raises:
        DataError: One of them is not what a report writes.
    """
    rows, faults = folder_rows(folder)
    if faults:
        raise faults[0]
    (folder / "index.html").write_text(render_index(rows), encoding="utf-8")


def write_page(folder: Path, page: StudyPage, contents: Mapping[str, Json]) -> None:
    """Write a page, its figures and their tables, and `show.json` with these contents."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(render_study_page(page), encoding="utf-8")
    (folder / "show.json").write_text(
        json.dumps(contents, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    for figure in page.figures:
        (folder / "figures" / f"{figure.id}.svg").write_text(figure_svg(figure), encoding="utf-8")
        figure.rows.write_csv(folder / "figures" / f"{figure.id}.csv", float_precision=6)


def _step_row(step: StepStatus) -> dict[str, str]:
    provenance = None if step.record is None else step.record.provenance
    return {
        "step": step.name,
        "kind": step.kind,
        "what": step.label,
        "state": step.state,
        "seconds": "" if provenance is None else f"{provenance['seconds']:.1f}",
        "made": "" if provenance is None else provenance["made"],
    }


def _provenance_row(provenance: RunProvenance) -> dict[str, str]:
    commit = provenance.commit or "no checkout"
    if provenance.dirty:
        commit += " (with uncommitted changes)"
    versions = (provenance.versions or {}).items()
    peak = provenance.peak_memory_mib
    return {
        "commit": commit,
        "machine": f"{provenance.processor}, {provenance.device}",
        "made": provenance.finished_at or "",
        "core-minutes": f"{provenance.core_minutes:.1f} over {provenance.n_finished} steps",
        "peak memory": "not recorded" if peak is None else f"{peak:,.0f} MiB in one process",
        "versions": ", ".join(f"{name} {number}" for name, number in versions),
    }
