"""The step `estimates`: all readings in one table, the verdict on each claim, the numbers of each figure.

readings.parquet        every reading of the study, with all columns
verdicts.parquet        one row a claim
looks.parquet           one row a look at a claim, of a run with `--until-decided`
prices.parquet          one row an undecided claim: what would decide it
exploratory.parquet     one row a claim: its verdict by exploratory seeds, where others confirm them
figures/<id>.parquet    one row a bar or point, with interval; figures.json has the headers
leakage.json            each check before training once, with its finding and the number of corpora that passed
exposures.parquet       per arm, stage and attribute: how often facts were trained on, in how many wordings
batch_change.parquet    per arm, seed and stage: how much a text's likelihood depends on the rest of its batch
walks.json              the step-by-step examples of the page
audits.json             the mirage test of each scaling curve
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import starmap
from pathlib import Path

import polars as pl

from nosce.analysis.claims import Claim
from nosce.analysis.conclusion import ArmConclusion
from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec, audit_scaling_curve
from nosce.analysis.figures import Figure
from nosce.analysis.looks import LookDesign
from nosce.analysis.needed_rows import needed_metrics
from nosce.analysis.render.figure import FigureData
from nosce.pipeline.context import StepContext, StepProgress
from nosce.pipeline.judgement import judge_study
from nosce.pipeline.steps.exposure import summarize_exposures
from nosce.records import Reading, read_table, scan_table, schema
from nosce.store.spec import LATER

VERSION = 5
CONSTANT_COLUMNS = ("study", "scale")  # of the readings of one study


@dataclass(frozen=True, kw_only=True)
class ReadingSource:
    """One step with readings, and the columns that the step leaves blank.

    Args:
        input: Name of the input folder.
        arm: Name of the arm.
        seed: The training seed.
        stage: Name of the training stage.
    """

    input: str
    arm: str
    seed: int
    stage: str


@dataclass(frozen=True, kw_only=True)
class EstimatesSpec:
    """The readings of a study, its claims, its figures and its scaling curves.

    Args:
        study: Name of the study.
        scale: Name of the scale.
        unit: Name of the independently drawn unit, e.g. "person".
        arms: Names of the arms.
        sources: The steps with readings.
        claims: The claims to judge.
        figures: The figures to estimate.
        scaling_curves: The curves for the mirage test.
        conclusion: How the verdicts answer the study's question; the sentence is made when results are shown.
        exploratory_seeds: Seeds that were read while claims were made. Verdicts and figures rest on the others.
        looks: How claims are judged at looks; None: once.
    """

    study: str
    scale: str
    unit: str
    arms: tuple[str, ...]
    sources: tuple[ReadingSource, ...]
    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...]
    scaling_curves: tuple[ScalingCurveSpec, ...] = ()
    conclusion: ArmConclusion | None = field(default=None, metadata=LATER)
    exploratory_seeds: tuple[int, ...] = field(default=(), metadata=LATER)
    looks: LookDesign | None = field(default=None, metadata=LATER)


def make(spec: EstimatesSpec, inputs: Mapping[str, Path], context: StepContext) -> None:
    """Write the study's tables; the module's docstring lists the files."""
    shutil.rmtree(context.folder, ignore_errors=True)
    (context.folder / "figures").mkdir(parents=True)
    write_readings(spec, inputs, context.folder / "readings.parquet")
    judgement = judge_study(spec, gather_needed_readings(spec, inputs))
    judgement.write(context.folder)
    figure_entries = []
    for index, figure in enumerate(spec.figures):
        table = figure.table(judgement.readings, spec.arms, spec.unit)
        table.write_parquet(context.folder / "figures" / f"{figure.id}.parquet")
        figure_entries.append(figure.header())
        context.progress(StepProgress(done=index + 1, total=len(spec.figures), unit="figures"))
    audits, audit_figures = run_audits(spec.scaling_curves, judgement.readings)
    for audit_figure in audit_figures:
        audit_figure.table.write_parquet(context.folder / "figures" / f"{audit_figure.id}.parquet")
        figure_entries.append(audit_figure.header())
    (context.folder / "audits.json").write_text(
        json.dumps(audits, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (context.folder / "figures.json").write_text(
        json.dumps(figure_entries, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (context.folder / "leakage.json").write_text(
        json.dumps(_leakage_checks(inputs), indent=2, ensure_ascii=False) + "\n",
        encoding="utf-8",
    )
    _gather_exposures(inputs).write_parquet(context.folder / "exposures.parquet")
    _gather_batch_changes(spec, inputs).write_parquet(context.folder / "batch_change.parquet")
    (context.folder / "walks.json").write_text(
        json.dumps(_gather_walks(spec, inputs), indent=1) + "\n", encoding="utf-8"
    )


def write_readings(spec: EstimatesSpec, inputs: Mapping[str, Path], path: Path) -> None:
    """Write all readings with all their columns, source by source: they are never in memory together."""
    if spec.sources:
        sources = [_scan_source(spec, source, inputs) for source in spec.sources]
        pl.concat(sources).sink_parquet(path, maintain_order=True)
    else:
        pl.DataFrame(schema=schema(Reading)).write_parquet(path)


def gather_needed_readings(spec: EstimatesSpec, inputs: Mapping[str, Path]) -> pl.DataFrame:
    """The readings that claims, figures and scaling curves look at, those of one evaluation and metric side by side.

    The order within an evaluation and metric is that of `readings.parquet`, so every number is the same as from there.
    Columns that are equal in all rows are left out. A measure or figure of somebody's own may look at anything: then it
    is all readings with all columns, in their order.
    """
    needed = needed_metrics((*spec.claims, *spec.figures, *spec.scaling_curves))
    sources = [_scan_source(spec, source, inputs) for source in spec.sources]
    if not sources:
        return pl.DataFrame(schema=schema(Reading))
    if needed is None:
        return pl.concat([source.collect() for source in sources])
    is_needed = pl.any_horizontal(pl.lit(False), *starmap(_is_needed, needed.items()))
    parts: dict[tuple[object, ...], list[pl.DataFrame]] = {}
    for source in sources:
        rows = source.filter(is_needed).drop(CONSTANT_COLUMNS).collect()
        for name, part in rows.partition_by("evaluation", "metric", as_dict=True, maintain_order=True).items():
            parts.setdefault(name, []).append(part)
    tables = [pl.DataFrame(schema=schema(Reading)).drop(CONSTANT_COLUMNS)]
    while parts:  # what is joined is dropped at once
        tables.append(pl.concat(parts.pop(next(iter(parts))), rechunk=True))
    return pl.concat(tables, rechunk=False)


def _is_needed(evaluation: str, metrics: frozenset[str] | None) -> pl.Expr:
    is_evaluation = pl.col("evaluation") == evaluation
    return is_evaluation if metrics is None else is_evaluation & pl.col("metric").is_in(sorted(metrics))


def _scan_source(spec: EstimatesSpec, source: ReadingSource, inputs: Mapping[str, Path]) -> pl.LazyFrame:
    """The readings of one step, with the columns that the step left blank."""
    file = inputs[source.input] / "readings.parquet"
    return scan_table(file).with_columns(
        study=pl.lit(spec.study),
        scale=pl.lit(spec.scale),
        arm=pl.lit(source.arm),
        seed=pl.lit(source.seed, dtype=pl.Int64),
        stage=pl.lit(source.stage),
    )


def run_audits(
    curves: Sequence[ScalingCurveSpec], readings: pl.DataFrame
) -> tuple[list[Mapping[str, object]], list[FigureData]]:
    """The mirage test of each scaling curve, and the figures of those that could be tested."""
    from nosce.analysis.emergence.summary import mirage_figure

    audits: list[Mapping[str, object]] = []
    figures: list[FigureData] = []
    for scaling in curves:
        audit, items = audit_scaling_curve(scaling, readings)
        audits.append(audit)
        if items is not None:
            figures.append(mirage_figure(items, audit, scaling.title, scaling.x_label, f"audit-{scaling.id}"))
    return audits, figures


def _leakage_checks(inputs: Mapping[str, Path]) -> list[dict[str, str]]:
    """Each check once, with its finding in the first corpus and the number of corpora that passed."""
    findings: dict[str, list[str]] = {}
    for role, folder in inputs.items():
        if role.startswith("leakage/"):
            for check in json.loads((folder / "leakage.json").read_text(encoding="utf-8")):
                findings.setdefault(check["guard"], []).append(check["found"])
    checks = []
    for name, found in findings.items():
        checks.append({"guard": name, "found": found[0], "verdict": f"passed {len(found)} of {len(found)}"})
    return checks


def _gather_walks(spec: EstimatesSpec, inputs: Mapping[str, Path]) -> list[dict[str, object]]:
    """The step-by-step examples of the first seed."""
    walks: list[dict[str, object]] = []
    for source in spec.sources:
        file = inputs[source.input] / "walks.json"
        if file.exists() and source.seed == spec.sources[0].seed:
            for walk in json.loads(file.read_text(encoding="utf-8")):
                walks.append({**walk, "title": f"{source.arm}, seed {source.seed}, {walk['title']}"})
    return walks


def _gather_batch_changes(spec: EstimatesSpec, inputs: Mapping[str, Path]) -> pl.DataFrame:
    """One row a step of readings that read likelihoods."""
    rows = []
    for source in spec.sources:
        file = inputs[source.input] / "batch_change.json"
        if file.exists():
            rows.append(
                {
                    "arm": source.arm,
                    "seed": source.seed,
                    "stage": source.stage,
                    **json.loads(file.read_text(encoding="utf-8")),
                }
            )
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
            tables.append(summarize_exposures(read_table(folder / "exposure.parquet")).select(*key_columns, pl.all()))
    if not tables:  # nothing but experiments
        blank = pl.DataFrame(
            schema={"entity": pl.String, "attribute": pl.String, "wording": pl.String, "exposures": pl.Int64}
        )
        key_columns = [pl.lit(None, pl.String).alias("arm"), pl.lit(None, pl.Int64).alias("seed")]
        return summarize_exposures(blank).select(*key_columns, pl.all())
    return pl.concat(tables)
