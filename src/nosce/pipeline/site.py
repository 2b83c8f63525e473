"""The static site from the store alone: one page a study and scale, its figures, and the numbers behind them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from nosce.analysis.render.figure import FigureData, figure_svg
from nosce.analysis.render.html import StudyPage, render_index, render_study_page
from nosce.errors import DataError, UsageError
from nosce.pipeline.results import finished_plans, load_verdicts, results_json, stale_steps
from nosce.records import Walkthrough, from_json
from nosce.store.store import Store, store_write_error


def write_site(store: Store, folder: Path) -> Path:
    """Write `index.html` and a folder per study and scale below `folder`; the path of the index.

    Studies that were written there before and are not in this store stay as they are, in the index too.
    Each of them holds `index.html` (self-contained), `show.json`, `figures/*.svg` and the tables that
    the figures are drawn from.

    Raises:
        UsageError: The store holds no finished study.
        StoreError: The disk refused.
    """
    plan_records = finished_plans(store)
    if not plan_records:
        raise UsageError(f"a report was asked for, but no study is finished in {store.root}; run one first.")
    try:
        for plan_record in plan_records:
            page = study_page(store, plan_record)
            study_folder = Path(plan_record["study"]) / plan_record["scale"]
            _write_study(folder / study_folder, page, results_json(store, plan_record))
        (folder / "index.html").write_text(
            render_index([_index_entry(file) for file in sorted(folder.glob("*/*/show.json"))])
        )
    except OSError as error:
        raise store_write_error(error, folder) from error
    return (folder / "index.html").absolute()


def _index_entry(file: Path) -> dict[str, str]:
    """What the index says of a study, from its `show.json`; where it lies says the folder, never the file.

    Raises:
        DataError: The file is not what a report writes.
    """
    study, scale = file.parts[-3:-1]
    try:
        contents = json.loads(file.read_text())
        decisions = [claim["verdict"] for claim in contents["claims"]]
        title, question = contents.get("title", study), contents.get("question", "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file} is not what a report writes ({error!r}); move it out of the report's folder."
        ) from error
    # A link begins with the folder it lies in, so that no name can make it lead elsewhere.
    return {
        "title": str(title),
        "question": str(question),
        "scale": scale,
        "study": study,
        "href": f"./{quote(study)}/{quote(scale)}/index.html",
        **{word: str(decisions.count(word)) for word in ("holds", "fails", "undecided")},
    }


def study_page(store: Store, plan_record: dict[str, Any]) -> StudyPage:
    """The page of a finished study, from verified bytes."""
    folder = store.verified(plan_record["estimates"])
    stale_reasons = stale_steps(store, plan_record)
    estimates_provenance = store.step_record(plan_record["estimates"]).provenance
    return StudyPage(
        study=plan_record["study"],
        title=plan_record["title"],
        question=plan_record["question"],
        paper=plan_record["paper"],
        scale=plan_record["scale"],
        seeds=tuple(plan_record["seeds"]),
        verdicts=tuple(load_verdicts(store, plan_record)),
        figures=load_figures(folder),
        guards=tuple(json.loads((folder / "leakage.json").read_text())),
        tables=tuple(
            entry
            for entry in (
                (
                    "Exposure ledger",
                    "How often each fact was trained on before any question, and in how many wordings, "
                    "by arm and attribute (the first seed).",
                    _exposure_table(folder),
                ),
                ("Readings", "How many observations the estimates are made from.", _readings_table(folder)),
                (
                    "Rounding",
                    "The largest change (nats) of a span's log-likelihood when its text is read alone instead of "
                    "among others, and how many first choices changed with it. Nothing smaller is a finding.",
                    _batch_change_table(folder),
                ),
            )
            if len(entry[-1])
        ),
        walks=_load_walks(folder),
        steps=tuple(_step_row(store, name, step, stale_reasons) for name, step in plan_record["steps"].items()),
        provenance=_provenance_row(estimates_provenance, plan_record, store),
        command=f"{plan_record['command']} && nosce report",
    )


def _load_walks(folder: Path) -> tuple[Walkthrough, ...]:
    """What can be stepped through; estimates of older nosces have none."""
    file = folder / "walks.json"
    return from_json(json.loads(file.read_text()), Walkthrough) if file.exists() else ()


def load_figures(folder: Path) -> tuple[FigureData, ...]:
    """The figures of an estimates folder: words from figures.json, numbers from its tables."""
    return tuple(
        FigureData(**words, table=pl.read_parquet(folder / "figures" / f"{words['id']}.parquet"))
        for words in json.loads((folder / "figures.json").read_text())
    )


def _write_study(folder: Path, page: StudyPage, results: dict[str, Any]) -> None:
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(render_study_page(page))
    (folder / "show.json").write_text(json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    for figure in page.figures:
        (folder / "figures" / f"{figure.id}.svg").write_text(figure_svg(figure))
        figure.rows.write_csv(folder / "figures" / f"{figure.id}.csv", float_precision=6)


def _exposure_table(folder: Path) -> pl.DataFrame:
    table = pl.read_parquet(folder / "exposures.parquet")
    return table.filter(pl.col("seed") == table["seed"][0]).drop("seed") if len(table) else table.drop("seed")


def _readings_table(folder: Path) -> pl.DataFrame:
    table = pl.read_parquet(folder / "readings.parquet")
    is_last_step = pl.col("step") == pl.col("step").max().over("arm", "seed", "stage")
    return (
        table.filter(is_last_step)
        .group_by("arm", "stage", "evaluation", "split", "metric", maintain_order=True)
        .agg(
            seeds=pl.col("seed").n_unique(),
            entity=pl.col("entity").n_unique(),
            readings=pl.len(),
            missing=pl.col("value").null_count(),
            mean=pl.col("value").mean(),
        )
    )


def _batch_change_table(folder: Path) -> pl.DataFrame:
    return (
        pl.read_parquet(folder / "batch_change.parquet")
        .group_by("stage", maintain_order=True)
        .agg(
            readings=pl.len(),
            spans=pl.col("spans").sum(),
            largest_change=pl.col("nats").max(),
            choices_changed=pl.col("choices").sum(),
        )
    )


def _step_row(store: Store, name: str, step_entry: dict[str, Any], stale_reasons: dict[str, str]) -> dict[str, str]:
    row = {
        "step": name,
        "kind": name.rpartition("-")[0],
        "what": step_entry["what"],
        "state": "missing",
        "seconds": "",
        "made": "",
    }
    if store.has(name):
        step_provenance = store.step_record(name).provenance
        row |= {
            "state": "stale" if name in stale_reasons else "done",
            "seconds": f"{step_provenance['seconds']:.1f}",
            "made": step_provenance["made"],
        }
    return row


def _provenance_row(estimates_provenance: dict[str, Any], plan_record: dict[str, Any], store: Store) -> dict[str, str]:
    provenances = [store.step_record(name).provenance for name in plan_record["steps"] if store.has(name)]
    commit = estimates_provenance["commit"] or "no checkout"
    if estimates_provenance["dirty"]:
        commit += " (with uncommitted changes)"
    return {
        "commit": commit,
        "machine": f"{estimates_provenance['processor']}, {estimates_provenance['device']}",
        "made": estimates_provenance["made"],
        "core-minutes": f"{sum(p['cpu_seconds'] for p in provenances) / 60:.1f} over {len(provenances)} steps",
        "peak memory": f"{max((p['peak_memory_mib'] or 0) for p in provenances):,.0f} MiB in one process",
        "versions": ", ".join(f"{name} {number}" for name, number in estimates_provenance["versions"].items()),
    }
