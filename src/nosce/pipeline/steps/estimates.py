"""The step `estimates`: all readings in one table, the verdict on each claim, the numbers of each figure.

readings.parquet        every observation of the study, all columns filled
verdicts.parquet        one row a claim
figures/<id>.parquet    one row a bar or point, with interval; figures.json has the words
leakage.json            what was looked for before training, and found, each once with how often
exposures.parquet       per arm, stage and facet: how often facts were trained on, in how many wordings
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

from nosce.analysis.emergence.scaling_curve import Scaling, audited
from nosce.analysis.figures import Chart
from nosce.analysis.measures import Claim
from nosce.pipeline.context import Job
from nosce.pipeline.steps.exposure import summary
from nosce.records import Reading, Verdict, schema, to_table

VERSION = 1
WORDS = ("id", "title", "caption", "kind", "x_label", "y_label")  # what figures.json says of a figure


@dataclass(frozen=True, kw_only=True)
class Label:
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
    labels: tuple[Label, ...]
    claims: tuple[Claim, ...]
    figures: tuple[Chart, ...]
    scalings: tuple[Scaling, ...] = ()


def make(spec: EstimatesSpec, inputs: Mapping[str, Path], job: Job) -> None:
    """Write the study's tables; see the module for what lies in the folder."""
    shutil.rmtree(job.folder, ignore_errors=True)
    (job.folder / "figures").mkdir(parents=True)
    readings = gathered(spec, inputs)
    readings.write_parquet(job.folder / "readings.parquet")
    verdicts = [claim.judge(readings, spec.unit) for claim in spec.claims]
    to_table(verdicts, Verdict).write_parquet(job.folder / "verdicts.parquet")
    words = []
    for number, figure in enumerate(spec.figures):
        figure.table(readings, spec.arms, spec.unit).write_parquet(job.folder / "figures" / f"{figure.id}.parquet")
        said = {name: getattr(figure, name) for name in WORDS}
        # A user's own figure need not say these.
        words.append(said | {"unit": getattr(figure, "unit", "share"),
                             "x_scale": getattr(figure, "x_scale", "linear"),
                             "y_scales": getattr(figure, "y_scales", "shared")})  # fmt: skip
        job.progress(number + 1, len(spec.figures), 0.0, float("nan"))
    audits, drawn = _audits(spec, readings, job.folder / "figures")
    words += drawn
    (job.folder / "audits.json").write_text(json.dumps(audits, indent=2, ensure_ascii=False) + "\n")
    (job.folder / "figures.json").write_text(json.dumps(words, indent=2, ensure_ascii=False) + "\n")
    (job.folder / "leakage.json").write_text(json.dumps(_guards(inputs), indent=2, ensure_ascii=False) + "\n")
    _exposures(inputs).write_parquet(job.folder / "exposures.parquet")
    _batch_changes(spec, inputs).write_parquet(job.folder / "batch_change.parquet")
    (job.folder / "walks.json").write_text(json.dumps(_walks(spec, inputs), indent=1) + "\n")


def gathered(spec: EstimatesSpec, inputs: Mapping[str, Path]) -> pl.DataFrame:
    """All readings with all their columns."""
    tables = [
        pl.read_parquet(inputs[label.input] / "readings.parquet").with_columns(
            study=pl.lit(spec.study),
            scale=pl.lit(spec.scale),
            arm=pl.lit(label.arm),
            seed=pl.lit(label.seed, dtype=pl.Int64),
            stage=pl.lit(label.stage),
        )
        for label in spec.labels
    ]
    return pl.concat(tables) if tables else pl.DataFrame(schema=schema(Reading))


def _audits(
    spec: EstimatesSpec, readings: pl.DataFrame, folder: Path
) -> tuple[list[Mapping[str, object]], list[dict[str, object]]]:
    """What the mirage test says of each scaling curve, and a figure of each; its numbers go to the folder."""
    from nosce.analysis.emergence.summary import figure

    said, drawn = [], []
    for scaling in spec.scalings:
        found, items = audited(scaling, readings)
        said.append(found)
        if items is not None:
            picture = figure(items, found, scaling.title, scaling.x_label, f"audit-{scaling.id}")
            picture.table.write_parquet(folder / f"{picture.id}.parquet")
            drawn.append({name: getattr(picture, name) for name in (*WORDS, "unit", "x_scale")})
    return said, drawn


def _guards(inputs: Mapping[str, Path]) -> list[dict[str, str]]:
    """Each guard once, with what it found in the first corpus and how many corpora passed it."""
    found: dict[str, list[str]] = {}
    for role, folder in inputs.items():
        if role.startswith("leakage/"):
            for guard in json.loads((folder / "leakage.json").read_text()):
                found.setdefault(guard["guard"], []).append(guard["found"])
    return [
        {"guard": name, "found": all_[0], "verdict": f"passed {len(all_)} of {len(all_)}"}
        for name, all_ in found.items()
    ]


def _walks(spec: EstimatesSpec, inputs: Mapping[str, Path]) -> list[dict[str, Any]]:
    """What can be stepped through, of the first seed."""
    found = []
    for label in spec.labels:
        file = inputs[label.input] / "walks.json"
        if file.exists() and label.seed == spec.labels[0].seed:
            found += [{**walk, "title": f"{label.arm}, seed {label.seed}, {walk['title']}"}
                      for walk in json.loads(file.read_text())]  # fmt: skip
    return found


def _batch_changes(spec: EstimatesSpec, inputs: Mapping[str, Path]) -> pl.DataFrame:
    """One row a step of readings that read likelihoods."""
    rows = []
    for label in spec.labels:
        file = inputs[label.input] / "batch_change.json"
        if file.exists():
            rows.append({"arm": label.arm, "seed": label.seed, "stage": label.stage, **json.loads(file.read_text())})
    kinds = {"arm": pl.String, "seed": pl.Int64, "stage": pl.String, "nats": pl.Float64, "choices": pl.Int64,
             "spans": pl.Int64}  # fmt: skip
    return pl.DataFrame(rows, schema=kinds)


def _exposures(inputs: Mapping[str, Path]) -> pl.DataFrame:
    tables = []
    for role, folder in inputs.items():
        if role.startswith("exposure/"):
            arm, seed = role.removeprefix("exposure/").rsplit("/", 1)
            labels = [pl.lit(arm).alias("arm"), pl.lit(int(seed)).alias("seed")]
            tables.append(summary(pl.read_parquet(folder / "exposure.parquet")).select(*labels, pl.all()))
    if not tables:  # nothing but experiments
        blank = pl.DataFrame(schema={"about": pl.String, "facet": pl.String, "wording": pl.String,
                                     "exposures": pl.Int64})  # fmt: skip
        labels = [pl.lit(None, pl.String).alias("arm"), pl.lit(None, pl.Int64).alias("seed")]
        return summary(blank).select(*labels, pl.all())
    return pl.concat(tables)
