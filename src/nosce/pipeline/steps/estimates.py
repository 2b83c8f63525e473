"""The step `estimates`: all readings in one table, the verdict on each claim, the numbers of each figure.

readings.parquet        every observation of the study, all columns filled
verdicts.parquet        one row a claim
figures/<id>.parquet    one row a bar or point, with interval; figures.json has the words
leakage.json            what was looked for before training, and found, each once with how often
exposures.parquet       per arm, stage and attribute: how often facts were trained on, in how many wordings
batch_change.parquet    per arm, seed and stage: how much the batch a text is read in moves its likelihood
walks.json              what can be stepped through on the page
audits.json             what the mirage test says of the study's scaling curves
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec, audit_scaling_curve
from nosce.analysis.figures import Figure
from nosce.analysis.measures import Claim
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps.exposure import summarize_exposures
from nosce.records import Reading, Verdict, schema, to_table

VERSION = 1
FIGURE_FIELDS = ("id", "title", "caption", "kind", "x_label", "y_label")  # what figures.json says of a figure


@dataclass(frozen=True, kw_only=True)
class ReadingSource:
    """The columns that a step of readings leaves blank."""

    input: str
    arm: str
    seed: int
    stage: str


@dataclass(frozen=True, kw_only=True)
class EstimatesSpec:
    """What was run, what is claimed of it, and what is drawn."""

    study: str
    scale: str
    unit: str
    arms: tuple[str, ...]
    sources: tuple[ReadingSource, ...]
    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...]
    scaling_curves: tuple[ScalingCurveSpec, ...] = ()


def make(spec: EstimatesSpec, inputs: Mapping[str, Path], context: StepContext) -> None:
    """Write the study's tables; see the module for what lies in the folder."""
    shutil.rmtree(context.folder, ignore_errors=True)
    (context.folder / "figures").mkdir(parents=True)
    readings = gather_readings(spec, inputs)
    readings.write_parquet(context.folder / "readings.parquet")
    verdicts = [claim.judge(readings, spec.unit) for claim in spec.claims]
    to_table(verdicts, Verdict).write_parquet(context.folder / "verdicts.parquet")
    figure_entries = []
    for index, figure in enumerate(spec.figures):
        figure.table(readings, spec.arms, spec.unit).write_parquet(context.folder / "figures" / f"{figure.id}.parquet")
        figure_fields = {name: getattr(figure, name) for name in FIGURE_FIELDS}
        # A user's own figure need not say these.
        figure_entries.append(
            figure_fields
            | {
                "unit": getattr(figure, "unit", "share"),
                "x_scale": getattr(figure, "x_scale", "linear"),
                "y_scales": getattr(figure, "y_scales", "shared"),
            }
        )
        context.progress(index + 1, len(spec.figures), 0.0, float("nan"))
    audits, audit_figures = _run_audits(spec, readings, context.folder / "figures")
    figure_entries += audit_figures
    (context.folder / "audits.json").write_text(json.dumps(audits, indent=2, ensure_ascii=False) + "\n")
    (context.folder / "figures.json").write_text(json.dumps(figure_entries, indent=2, ensure_ascii=False) + "\n")
    (context.folder / "leakage.json").write_text(
        json.dumps(_leakage_checks(inputs), indent=2, ensure_ascii=False) + "\n"
    )
    _gather_exposures(inputs).write_parquet(context.folder / "exposures.parquet")
    _gather_batch_changes(spec, inputs).write_parquet(context.folder / "batch_change.parquet")
    (context.folder / "walks.json").write_text(json.dumps(_gather_walks(spec, inputs), indent=1) + "\n")


def gather_readings(spec: EstimatesSpec, inputs: Mapping[str, Path]) -> pl.DataFrame:
    """All readings with all their columns."""
    tables = [
        pl.read_parquet(inputs[label.input] / "readings.parquet").with_columns(
            study=pl.lit(spec.study),
            scale=pl.lit(spec.scale),
            arm=pl.lit(label.arm),
            seed=pl.lit(label.seed, dtype=pl.Int64),
            stage=pl.lit(label.stage),
        )
        for label in spec.sources
    ]
    return pl.concat(tables) if tables else pl.DataFrame(schema=schema(Reading))


def _run_audits(
    spec: EstimatesSpec, readings: pl.DataFrame, folder: Path
) -> tuple[list[Mapping[str, object]], list[dict[str, object]]]:
    """What the mirage test says of each scaling curve, and a figure of each; its numbers go to the folder."""
    from nosce.analysis.emergence.summary import mirage_figure

    audits, figure_entries = [], []
    for scaling in spec.scaling_curves:
        audit, items = audit_scaling_curve(scaling, readings)
        audits.append(audit)
        if items is not None:
            audit_figure = mirage_figure(items, audit, scaling.title, scaling.x_label, f"audit-{scaling.id}")
            audit_figure.table.write_parquet(folder / f"{audit_figure.id}.parquet")
            figure_entries.append({name: getattr(audit_figure, name) for name in (*FIGURE_FIELDS, "unit", "x_scale")})
    return audits, figure_entries


def _leakage_checks(inputs: Mapping[str, Path]) -> list[dict[str, str]]:
    """Each guard once, with what it found in the first corpus and how many corpora passed it."""
    findings: dict[str, list[str]] = {}
    for role, folder in inputs.items():
        if role.startswith("leakage/"):
            for check in json.loads((folder / "leakage.json").read_text()):
                findings.setdefault(check["guard"], []).append(check["found"])
    return [
        {"guard": name, "found": all_[0], "verdict": f"passed {len(all_)} of {len(all_)}"}
        for name, all_ in findings.items()
    ]


def _gather_walks(spec: EstimatesSpec, inputs: Mapping[str, Path]) -> list[dict[str, Any]]:
    """What can be stepped through, of the first seed."""
    walks = []
    for source in spec.sources:
        file = inputs[source.input] / "walks.json"
        if file.exists() and source.seed == spec.sources[0].seed:
            walks += [
                {**walk, "title": f"{source.arm}, seed {source.seed}, {walk['title']}"}
                for walk in json.loads(file.read_text())
            ]
    return walks


def _gather_batch_changes(spec: EstimatesSpec, inputs: Mapping[str, Path]) -> pl.DataFrame:
    """One row a step of readings that read likelihoods."""
    rows = []
    for source in spec.sources:
        file = inputs[source.input] / "batch_change.json"
        if file.exists():
            rows.append({"arm": source.arm, "seed": source.seed, "stage": source.stage, **json.loads(file.read_text())})
    column_types = {
        "arm": pl.String,
        "seed": pl.Int64,
        "stage": pl.String,
        "nats": pl.Float64,
        "choices": pl.Int64,
        "spans": pl.Int64,
    }
    return pl.DataFrame(rows, schema=column_types)


def _gather_exposures(inputs: Mapping[str, Path]) -> pl.DataFrame:
    tables = []
    for role, folder in inputs.items():
        if role.startswith("exposure/"):
            arm, seed = role.removeprefix("exposure/").rsplit("/", 1)
            key_columns = [pl.lit(arm).alias("arm"), pl.lit(int(seed)).alias("seed")]
            tables.append(
                summarize_exposures(pl.read_parquet(folder / "exposure.parquet")).select(*key_columns, pl.all())
            )
    if not tables:  # nothing but experiments
        blank = pl.DataFrame(
            schema={"entity": pl.String, "attribute": pl.String, "wording": pl.String, "exposures": pl.Int64}
        )
        key_columns = [pl.lit(None, pl.String).alias("arm"), pl.lit(None, pl.Int64).alias("seed")]
        return summarize_exposures(blank).select(*key_columns, pl.all())
    return pl.concat(tables)
