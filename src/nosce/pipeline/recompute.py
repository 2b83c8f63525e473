"""Published verdicts and figures, computed again from published readings: without a model and without a store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from nosce.analysis.claims import Claim
from nosce.analysis.looks import LookDesign
from nosce.analysis.render.figure import FigureData
from nosce.analysis.render.tables import estimate_text
from nosce.errors import DamagedError, DataError, UsageError
from nosce.pipeline.judgement import Judgement, judge_study
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.published_readings import FOLDER, INDEX
from nosce.pipeline.steps.estimates import run_audits
from nosce.pipeline.study_loading import load_study
from nosce.records import Reading, from_json, read_table, schema
from nosce.store.files import JsonObject, load_json_object
from nosce.store.spec import Json
from nosce.store.text import name_fault
from nosce.study import Study

RELATIVE_TOLERANCE = 1e-9  # of a number: other processors add in other orders
CSV_DECIMALS, CSV_TOLERANCE = (
    6,
    1.5e-6,
)  # of a figure's numbers as they are published; the last may be rounded otherwise
TIMED_KEYS = ("core_minutes", "sentence")  # of a price: they hang on how long steps took


@dataclass(frozen=True, kw_only=True)
class Recomputed:
    """What became of one page's numbers when they were computed again.

    Args:
        page: The page's folder.
        study: Name of the study.
        scale: Name of the scale.
        claims: Number of claims.
        figures: Number of figures.
        readings: Number of readings.
        differences: What differs, in words; () where nothing does.
    """

    page: str
    study: str
    scale: str
    claims: int
    figures: int
    readings: int
    differences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _PublishedStudy:
    """What `judge_study` needs."""

    unit: str
    claims: tuple[Claim, ...]
    exploratory_seeds: tuple[int, ...]
    looks: LookDesign | None


def find_pages(folder: Path) -> list[Path]:
    """The folders of pages with readings, at or below a folder.

    Raises:
        UsageError: There is none.
    """
    pages = sorted(index.parents[1] for index in folder.rglob(f"{FOLDER}/{INDEX}"))
    if not pages:
        raise UsageError(
            f"{folder} has no published readings ({FOLDER}/{INDEX}); make them with `nosce report --readings`."
        )
    return pages


def recompute_page(page: Path) -> Recomputed:
    """Judge the claims and draw the figures of a page again, and compare them with what the page says.

    Raises:
        DamagedError: A file is not what the index says.
        UsageError: The study is not there.
    """
    index = _json(page / FOLDER / INDEX)
    published = _json(page / "show.json")
    study = _study(index)
    readings = _readings(page / FOLDER, index)
    looks = index.get("looks")
    spec = _PublishedStudy(
        unit=str(index["unit"]),
        claims=_published_claims(study, published),
        exploratory_seeds=tuple(index["exploratory_seeds"]),
        looks=None if looks is None else from_json([looks], LookDesign)[0],
    )
    judgement = judge_study(spec, readings)
    arms = tuple(index["arms"])
    figures = tuple(_figures(study, judgement.readings, arms, spec.unit))
    differences = [*_claim_differences(judgement, published), *_half_differences(judgement, published)]
    for figure in figures:
        differences += _figure_differences(figure, page / "figures" / f"{figure.id}.csv")
    return Recomputed(
        page=str(page),
        study=str(index["study"]),
        scale=str(index["scale"]),
        claims=len(spec.claims),
        figures=len(figures),
        readings=len(readings),
        differences=tuple(differences),
    )


def _json(path: Path) -> JsonObject:
    try:
        return load_json_object(path)
    except ValueError as error:
        raise DamagedError(f"{path} cannot be read ({error}); make the page again with `nosce report`.") from None


def _study(index: JsonObject) -> Study:
    request = StudyRequest(
        study=str(index["requested_as"]),
        scale=str(index["scale"]),
        models=str(index["models"]),
        settings=tuple(index["settings"]),
    )
    return load_study(request.study, request.scale, request.variant)


def _published_claims(study: Study, published: JsonObject) -> tuple[Claim, ...]:
    """The study's claims in the order of the page, those that it leaves out behind.

    Raises:
        DataError: The study has other claims by now.
    """
    by_id = {claim.id: claim for claim in study.claims}
    names = [*(str(claim["id"]) for claim in published["claims"]), *map(str, published.get("left_out", ()))]
    if {*names} != {*by_id}:
        other = sorted({*names} ^ {*by_id})[0]
        raise DataError(
            f"the claim {other!r} stands on the page or in the study {study.name!r}, but not in both; compute the page "
            "with the version of nosce that made it."
        )
    return tuple(by_id[name] for name in names)


def _readings(folder: Path, index: JsonObject) -> pl.DataFrame:
    """The readings of all files, those of one evaluation and metric side by side, as the step `estimates` has them."""
    tables = [pl.DataFrame(schema=schema(Reading)).drop("study", "scale")]
    for file in index["files"]:
        if fault := name_fault(file["name"]):
            raise DamagedError(f"the name of a file of readings in {folder} {fault}; make the page again.")
        path = folder / str(file["name"])
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != file["sha256"]:
            raise DamagedError(f"{path} is not the file that {INDEX} names; make the page again.")
        table = read_table(path).with_columns(pl.col("seed", "step").cast(pl.Int64), pl.col("value").cast(pl.Float64))
        tables += table.select(tables[0].columns).partition_by("metric", maintain_order=True)
    return pl.concat(tables, rechunk=False)


def _figures(study: Study, readings: pl.DataFrame, arms: tuple[str, ...], unit: str) -> Iterator[FigureData]:
    for figure in study.figures:
        yield FigureData(**figure.header(), table=figure.table(readings, arms, unit))  # type: ignore[arg-type]
    yield from run_audits(study.scaling_curves, readings)[1]


def _claim_differences(judgement: Judgement, published: JsonObject) -> Iterator[str]:
    """Where a verdict, its look or its price is another than the page's."""
    looks = {look.claim: look for look in judgement.looks}
    prices = {price.claim: price for price in judgement.prices}
    left_out = published.get("left_out", ())
    verdicts = (verdict for verdict in judgement.verdicts if verdict.id not in left_out)
    for verdict, claim in zip(verdicts, published["claims"], strict=True):
        found: dict[str, object] = {**asdict(verdict)}
        if verdict.id in looks:
            found["look"] = {**asdict(looks[verdict.id]), "phrase": looks[verdict.id].phrase}
        if verdict.id in prices:
            found["price"] = asdict(prices[verdict.id])
        yield from _differences(f"claim {verdict.id}", found, claim)


def _half_differences(judgement: Judgement, published: JsonObject) -> Iterator[str]:
    """Where the exploratory half says something else."""
    halves = published.get("halves")
    rows = {row["claim"]: row for row in halves["claims"]} if halves else {}
    for seen in judgement.exploratory:
        if not seen.is_precondition:
            found = {"exploratory": seen.verdict, "exploratory_here": estimate_text(seen)}
            yield from _differences(f"claim {seen.id}, exploratory half", found, rows.get(seen.id, {}))


def _differences(what: str, found: Mapping[str, object], published: Mapping[str, Json]) -> Iterator[str]:
    """Each field that is in both, or was found and is not published, with another value."""
    for name, value in found.items():
        there = published.get(name)
        if name in TIMED_KEYS or name == "claim":
            continue
        if isinstance(value, dict) and isinstance(there, dict):
            yield from _differences(f"{what}, {name}", value, there)
        elif not _equal(value, there):
            yield f"{what}: {name} is {value!r:.120} and not {there!r:.120}"


def _equal(found: object, published: Json) -> bool:
    if isinstance(found, float) and isinstance(published, int | float):
        return abs(found - published) <= RELATIVE_TOLERANCE * max(1.0, abs(found))
    return bool(json.loads(json.dumps(found)) == published)


def _figure_differences(figure: FigureData, path: Path) -> Iterator[str]:
    """Where a figure's table is another than the one beside the page."""
    if not path.is_file():
        yield f"figure {figure.id}: {path.name} is not there"
        return
    found = read_table(figure.rows.write_csv(float_precision=CSV_DECIMALS).encode(), "csv", infer_types=False)
    published = read_table(path, "csv", infer_types=False)
    if found.columns != published.columns or len(found) != len(published):
        yield f"figure {figure.id}: {len(found)} rows and not {len(published)}, or other columns"
        return
    for name in found.columns:
        pair = pl.DataFrame({"found": found[name], "published": published[name]})
        differs = pl.col("found").ne_missing(pl.col("published"))
        if figure.rows[name].dtype.is_float():
            pair = pair.select(pl.all().cast(pl.Float64, strict=False))
            tolerance = CSV_TOLERANCE + RELATIVE_TOLERANCE * pl.col("found").abs()
            differs &= ((pl.col("found") - pl.col("published")).abs() > tolerance).fill_null(True)
        if not pair.filter(differs).is_empty():
            yield f"figure {figure.id}: the column {name} differs"
