"""The readings behind a published page, beside the page: a folder of Parquet files and an index of them.

    <study>/<scale>/readings/readings.json     what they are of: study, unit, seeds, looks, and each file's checksum
    <study>/<scale>/readings/<evaluation>.parquet

A file has every reading of one evaluation that claims, figures and scaling curves look at, in the order of the study's
own table, with `docs/readings.md`'s columns but study and scale. Numbers are exact: from these files `nosce recompute`
gives the page's verdicts and figures again. A table of all studies may have `MAX_BYTES` together.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import polars as pl

from nosce.analysis.needed_rows import NeededMetrics, needed_metrics
from nosce.errors import DataError, NosceError
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.results import RunResults
from nosce.pipeline.steps.estimates import CONSTANT_COLUMNS
from nosce.pipeline.study_loading import load_study
from nosce.records import scan_table
from nosce.store.spec import Json

FOLDER, INDEX = "readings", "readings.json"
MAX_BYTES = 30_000_000  # of the readings of all studies of a site
COMPRESSION_LEVEL = 19  # of zstd: written once, read often


@dataclass(frozen=True, kw_only=True)
class ReadingsFile:
    """One file of published readings.

    Args:
        name: Name of the file.
        evaluation: The evaluation.
        rows: Number of readings.
        bytes: Size of the file.
        sha256: Checksum of the file.
    """

    name: str
    evaluation: str
    rows: int
    bytes: int
    sha256: str


def write_readings_folder(results: RunResults, page_folder: Path) -> int:
    """Write the readings behind a page into its folder; their size in bytes.

    Args:
        results: The results that the page shows.
        page_folder: The folder of the page.
    """
    folder = page_folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.parquet"), *folder.glob(INDEX)):
        old.unlink()
    files = []
    for number, (evaluation, table) in enumerate(_tables(results)):
        name = f"{number:02}-{re.sub(r'[^A-Za-z0-9]+', '-', evaluation)[:40].strip('-') or 'readings'}.parquet"
        content = _parquet(table)
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        files.append(ReadingsFile(name=name, evaluation=evaluation, rows=len(table), bytes=len(content), sha256=digest))
    text = json.dumps(_index(results, files), indent=1, ensure_ascii=False) + "\n"
    (folder / INDEX).write_text(text, encoding="utf-8")
    return sum(file.bytes for file in files)


def _index(results: RunResults, files: list[ReadingsFile]) -> dict[str, object]:
    """What is needed, beside the files, to judge the claims again."""
    plan = results.plan
    spec = plan.steps[plan.estimates].description["spec"]
    assert isinstance(spec, dict)
    return {
        "study": plan.study,
        "requested_as": plan.requested_as,
        "scale": plan.scale,
        "models": plan.models,
        "settings": list(plan.settings),
        "unit": plan.unit,
        "arms": spec.get("arms"),
        "seeds": list(plan.seeds),
        "exploratory_seeds": spec.get("exploratory_seeds", []),
        "looks": _without_types(spec.get("looks")),
        "commit": results.provenance.commit,
        "files": [vars(file) for file in files],
    }


def _without_types(part: Json) -> Json:
    """A description without the names of its classes."""
    if isinstance(part, list):
        return [_without_types(entry) for entry in part]
    if isinstance(part, dict):
        return {name: _without_types(value) for name, value in part.items() if name != "type"}
    return part


def _tables(results: RunResults) -> Iterator[tuple[str, pl.DataFrame]]:
    """The readings of each evaluation that anything published looks at."""
    needed = _needed(results)
    readings = scan_table(results.folder / "readings.parquet").drop(CONSTANT_COLUMNS)
    evaluations = readings.select("evaluation").unique(maintain_order=True).collect()["evaluation"].to_list()
    for evaluation in evaluations:
        if needed is None or evaluation in needed:
            rows = readings.filter(pl.col("evaluation") == evaluation)
            metrics = None if needed is None else needed[evaluation]
            chosen = rows if metrics is None else rows.filter(pl.col("metric").is_in(sorted(metrics)))
            table = chosen.collect()
            if len(table):
                yield evaluation, table


def _needed(results: RunResults) -> NeededMetrics | None:
    """What claims and figures look at; None: anything, also where the study's own file is gone."""
    plan = results.plan
    request = StudyRequest(study=plan.requested_as, scale=plan.scale, models=plan.models, settings=plan.settings)
    try:
        study = load_study(request.study, request.scale, request.variant)
    except NosceError:
        return None
    return needed_metrics((*study.claims, *study.figures, *study.scaling_curves))


def _parquet(table: pl.DataFrame) -> bytes:
    """A table as the bytes of a small file. Numbers that single precision holds exactly are stored in it."""
    values = table["value"]
    is_single = bool((values.cast(pl.Float32).cast(pl.Float64) == values).fill_null(True).all())
    narrow = table.with_columns(
        pl.col("seed", "step").cast(pl.Int32), pl.col("value").cast(pl.Float32 if is_single else pl.Float64)
    )
    buffer = BytesIO()
    narrow.write_parquet(buffer, compression="zstd", compression_level=COMPRESSION_LEVEL, row_group_size=1 << 20)
    return buffer.getvalue()


def readings_bytes(site: Path) -> dict[str, int]:
    """The bytes of the published readings below a site, by study and scale."""
    sizes: dict[str, int] = {}
    for index in sorted(site.glob(f"*/*/{FOLDER}/{INDEX}")):
        folder = index.parent
        files = folder.glob("*.parquet")
        sizes[f"{folder.parents[1].name}/{folder.parent.name}"] = sum(file.stat().st_size for file in files)
    return sizes


def check_readings_size(site: Path) -> None:
    """Refuse a site whose readings have more than `MAX_BYTES` together.

    Raises:
        DataError: They have.
    """
    sizes = readings_bytes(site)
    if (total := sum(sizes.values())) > MAX_BYTES:
        largest = max(sizes, key=lambda name: sizes[name])
        raise DataError(
            f"the readings below {site} have {total / 1e6:.1f} MB, {sizes[largest] / 1e6:.1f} of them those of "
            f"{largest}; at most {MAX_BYTES / 1e6:.0f} MB are published: leave --readings out, or take evaluations "
            "that no claim needs out of the study."
        )
