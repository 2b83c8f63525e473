"""The static site from the store alone: one page a study and scale, its figures, and the numbers behind them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from nosce.analysis.render.figure import Figure, draw
from nosce.analysis.render.html import StudyPage, render, render_index
from nosce.errors import DataError, UsageError
from nosce.pipeline.results import finished, shown, stale, verdicts
from nosce.records import Walk, from_json
from nosce.store.store import Store, refused


def write(store: Store, folder: Path) -> Path:
    """Write `index.html` and a folder per study and scale below `folder`; the path of the index.

    Studies that were written there before and are not in this store stay as they are, in the index too.
    Each of them holds `index.html` (self-contained), `show.json`, `figures/*.svg` and the tables that
    the figures are drawn from.

    Raises:
        UsageError: The store holds no finished study.
        StoreError: The disk refused.
    """
    found = finished(store)
    if not found:
        raise UsageError(f"a report was asked for, but no study is finished in {store.root}; run one first.")
    try:
        for plan in found:
            page = page_of(store, plan)
            place = Path(plan["study"]) / plan["scale"]
            _write_study(folder / place, page, shown(store, plan))
        (folder / "index.html").write_text(
            render_index([_entry(file) for file in sorted(folder.glob("*/*/show.json"))])
        )
    except OSError as error:
        raise refused(error, folder) from error
    return (folder / "index.html").absolute()


def _entry(file: Path) -> dict[str, str]:
    """What the index says of a study, from its `show.json`; where it lies says the folder, never the file.

    Raises:
        DataError: The file is not what a report writes.
    """
    study, scale = file.parts[-3:-1]
    try:
        told = json.loads(file.read_text())
        verdicts = [claim["verdict"] for claim in told["claims"]]
        title, question = told.get("title", study), told.get("question", "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file} is not what a report writes ({error!r}); move it out of the report's folder."
        ) from error
    # A link begins with the folder it lies in, so that no name can make it lead elsewhere.
    return {"title": str(title), "question": str(question), "scale": scale, "study": study,
            "href": f"./{quote(study)}/{quote(scale)}/index.html",
            **{word: str(verdicts.count(word)) for word in ("holds", "fails", "undecided")}}  # fmt: skip


def page_of(store: Store, plan: dict[str, Any]) -> StudyPage:
    """The page of a finished study, from verified bytes."""
    folder = store.verified(plan["estimates"])
    old = stale(store, plan)
    last = store.made(plan["estimates"]).provenance
    return StudyPage(
        study=plan["study"], title=plan["title"], question=plan["question"], paper=plan["paper"], scale=plan["scale"],
        seeds=tuple(plan["seeds"]), verdicts=tuple(verdicts(store, plan)), figures=figures(folder),
        guards=tuple(json.loads((folder / "leakage.json").read_text())),
        tables=tuple(entry for entry in (
            ("Exposure ledger", "How often each fact was trained on before any question, and in how many wordings, "
             "by arm and facet (the first seed).", _ledger(folder)),
            ("Readings", "How many observations the estimates are made from.", _readings(folder)),
            ("Rounding", "The largest change (nats) of a span's log-likelihood when its text is read alone instead of "
             "among others, and how many first choices changed with it. Nothing smaller is a finding.",
             _rounding(folder)),
        ) if len(entry[-1])),
        walks=_walks(folder),
        steps=tuple(_step(store, name, step, old) for name, step in plan["steps"].items()),
        provenance=_provenance(last, plan, store), command=f"{plan['command']} && nosce report",
    )  # fmt: skip


def _walks(folder: Path) -> tuple[Walk, ...]:
    """What can be stepped through; estimates of older nosces have none."""
    file = folder / "walks.json"
    return from_json(json.loads(file.read_text()), Walk) if file.exists() else ()


def figures(folder: Path) -> tuple[Figure, ...]:
    """The figures of an estimates folder: words from figures.json, numbers from its tables."""
    return tuple(
        Figure(**words, table=pl.read_parquet(folder / "figures" / f"{words['id']}.parquet"))
        for words in json.loads((folder / "figures.json").read_text())
    )


def _write_study(folder: Path, page: StudyPage, numbers: dict[str, Any]) -> None:
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(render(page))
    (folder / "show.json").write_text(json.dumps(numbers, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    for figure in page.figures:
        (folder / "figures" / f"{figure.id}.svg").write_text(draw(figure))
        figure.rows.write_csv(folder / "figures" / f"{figure.id}.csv", float_precision=6)


def _ledger(folder: Path) -> pl.DataFrame:
    table = pl.read_parquet(folder / "exposures.parquet")
    return table.filter(pl.col("seed") == table["seed"][0]).drop("seed") if len(table) else table.drop("seed")


def _readings(folder: Path) -> pl.DataFrame:
    table = pl.read_parquet(folder / "readings.parquet")
    last = pl.col("step") == pl.col("step").max().over("arm", "seed", "stage")
    return (
        table.filter(last)
        .group_by("arm", "stage", "readout", "split", "metric", maintain_order=True)
        .agg(seeds=pl.col("seed").n_unique(), about=pl.col("about").n_unique(), readings=pl.len(),
             missing=pl.col("value").null_count(), mean=pl.col("value").mean())
    )  # fmt: skip


def _rounding(folder: Path) -> pl.DataFrame:
    return (
        pl.read_parquet(folder / "batch_change.parquet")
        .group_by("stage", maintain_order=True)
        .agg(readings=pl.len(), spans=pl.col("spans").sum(), largest_change=pl.col("nats").max(),
             choices_changed=pl.col("choices").sum())
    )  # fmt: skip


def _step(store: Store, name: str, step: dict[str, Any], old: dict[str, str]) -> dict[str, str]:
    row = {
        "step": name,
        "kind": name.rpartition("-")[0],
        "what": step["what"],
        "state": "missing",
        "seconds": "",
        "made": "",
    }
    if store.has(name):
        made = store.made(name).provenance
        row |= {"state": "stale" if name in old else "done", "seconds": f"{made['seconds']:.1f}", "made": made["made"]}
    return row


def _provenance(last: dict[str, Any], plan: dict[str, Any], store: Store) -> dict[str, str]:
    made = [store.made(name).provenance for name in plan["steps"] if store.has(name)]
    commit = f"{last['commit'] or 'no checkout'}{' (with uncommitted changes)' if last['dirty'] else ''}"
    return {
        "commit": commit,
        "machine": f"{last['processor']}, {last['device']}",
        "made": last["made"],
        "core-minutes": f"{sum(p['cpu_seconds'] for p in made) / 60:.1f} over {len(made)} steps",
        "peak memory": f"{max((p['peak_memory_mib'] or 0) for p in made):,.0f} MiB in one process",
        "versions": ", ".join(f"{name} {number}" for name, number in last["versions"].items()),
    }
