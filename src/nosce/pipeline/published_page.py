"""Published tables, audited by one command: the mirage test, the census and the claims, as a page and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
import scipy

from nosce.analysis.emergence.census import CALIBRATION_LEVEL, calibration, census
from nosce.analysis.emergence.field_claims import (
    BIGBENCH_METRICS,
    HIGH_EMERGENCE,
    STEP_Q,
    TWO_METRICS,
    WEI_METRICS,
    exact_interval,
    field_verdicts,
)
from nosce.analysis.emergence.jumps import JUMP_SHARE
from nosce.analysis.emergence.loss_threshold import compare_loss_forms
from nosce.analysis.emergence.published import (
    LAMBADA_TEXTS,
    PublishedCurve,
    check_published_folder,
    lambada_table,
    published_curves,
    published_series,
    wei_classes,
)
from nosce.analysis.emergence.summary import mirage_result_json
from nosce.analysis.emergence.test import MirageTestResult, mirage_test
from nosce.analysis.render.figure import FigureData, FigureRow, figure_table
from nosce.analysis.render.html import StudyPage
from nosce.pipeline.site import write_index, write_page
from nosce.records import Verdict
from nosce.seeds import Seed
from nosce.store.provenance import record_provenance
from nosce.store.spec import Json
from nosce.store.store import store_write_error

TITLE, QUESTION = "The field's own curves", "Do published scores jump, and is it the metric?"
PAPER = "arXiv:2304.15004"
MAX_CALIBRATED = 0.075  # of simulated smooth series with p below 0.05
CALIBRATION_CORRELATIONS = (0.0, 0.5)


@dataclass(frozen=True, eq=False)
class FieldAudit:
    """All that is computed from the published tables.

    Args:
        curves: The curves of the mirage test.
        results: Their results.
        q_line: Of each curve the q-value, within its table, that a straight line rises as steeply.
        loss_forms: Nats an outcome of LAMBADA by loss, for a smooth form and for a threshold.
        census: The table of `census`.
        calibrated: Autocorrelation -> how many of how many smooth series have p below 0.05.
        verdicts: The claims, judged.
    """

    curves: tuple[PublishedCurve, ...]
    results: tuple[MirageTestResult, ...]
    q_line: tuple[float, ...]
    loss_forms: dict[str, float]
    census: pl.DataFrame
    calibrated: dict[float, tuple[int, int]]
    verdicts: tuple[Verdict, ...]

    @property
    def is_calibrated(self) -> bool:
        """Whether few enough smooth series have a small p."""
        return all(below / total <= MAX_CALIBRATED for below, total in self.calibrated.values())

    def audit_table(self) -> pl.DataFrame:
        """One row a curve: the verdict and what it rests on."""
        rows = []
        for curve, result, q in zip(self.curves, self.results, self.q_line, strict=True):
            rows.append(
                {
                    "table": curve.table,
                    "curve": curve.name,
                    "size": curve.x_label,
                    "series": result.seeds,
                    "points": result.sizes,
                    "verdict": result.verdict,
                    "why": result.why,
                    "rise": result.sharp_rise,
                    "steepest quarter": result.sharp_window_share,
                    "of the continuous score": result.continuous_window_share,
                    "one link is off by": None if result.residual is None else max(map(abs, result.residual)),
                    "p of a line": result.p_linear,
                    "q of a line": q,
                }
            )
        return pl.DataFrame(rows, infer_schema_length=None)


def audit_published(
    data: Path, on_curve: Callable[[str], object] = lambda name: None
) -> tuple[FieldAudit, dict[str, object]]:
    """Audit the published tables in a folder; what was found, and where and how long it was computed.

    Args:
        on_curve: Called with the name of each curve and part before its turn, e.g. to show progress.

    Raises:
        UsageError: The folder lacks one of the tables.
    """
    check_published_folder(data)
    with record_provenance() as provenance:
        audit = _audit(data, on_curve)
    return audit, provenance


def _audit(data: Path, on_curve: Callable[[str], object]) -> FieldAudit:
    curves, results = tuple(published_curves(data)), []
    for curve in curves:
        on_curve(f"{curve.table}: {curve.name}")
        results.append(mirage_test(curve.outcomes, Seed(0)))
    series = list(published_series(data))
    on_curve(f"census of {len(series)} series")
    found = census(series, Seed(0) / "census")
    calibrated = {}
    for correlation in CALIBRATION_CORRELATIONS:
        on_curve(f"calibration with an autocorrelation of {correlation:g}")
        calibrated[correlation] = calibration(series, Seed(0) / "calibration", correlation=correlation)
    by_choice = {c.name: r.verdict for c, r in zip(curves, results, strict=True) if c.table == "choices"}
    return FieldAudit(
        curves=curves,
        results=tuple(results),
        q_line=_q_within_tables(curves, results),
        loss_forms=_loss_forms(data),
        census=found,
        calibrated=calibrated,
        verdicts=field_verdicts(found, by_choice, wei_classes(data)),
    )


def _q_within_tables(curves: Sequence[PublishedCurve], results: Sequence[MirageTestResult]) -> tuple[float, ...]:
    q_values = [1.0] * len(curves)
    for table in {curve.table for curve in curves}:
        places = [place for place, curve in enumerate(curves) if curve.table == table]
        adjusted = scipy.stats.false_discovery_control([results[place].p_linear for place in places])
        for place, q in zip(places, adjusted, strict=True):
            q_values[place] = float(q)
    return tuple(q_values)


def _loss_forms(data: Path) -> dict[str, float]:
    """Does LAMBADA's accuracy rise smoothly with the loss of all sizes and steps, or only from some loss on?"""
    table = lambada_table(data)
    right = (table["acc"].to_numpy() * LAMBADA_TEXTS).round()
    forms = compare_loss_forms(table["ppl"].log().to_numpy(), right, right * 0.0 + LAMBADA_TEXTS)
    return {"smooth": forms.smooth, "threshold": forms.threshold}


def write_published(audit: FieldAudit, provenance: Mapping[str, object], out: Path) -> Path:
    """Write `audits/published/` below `out`, and the index; the path of the page.

    Raises:
        StoreError: The disk refused.
    """
    folder = out / "audits" / "published"
    try:
        write_page(folder, published_page(audit, provenance), published_json(audit))
        audit.audit_table().write_csv(folder / "audits.csv", float_precision=4)
        audit.census.write_csv(folder / "census.csv", float_precision=5)
        write_index(out)
    except OSError as error:
        raise store_write_error(error, folder) from error
    return (folder / "index.html").absolute()


def published_page(audit: FieldAudit, provenance: Mapping[str, object]) -> StudyPage:
    """The page of the audits."""
    return StudyPage(
        study="audits",
        title=TITLE,
        question=QUESTION,
        paper=PAPER,
        scale="published",
        seeds=(),
        verdicts=audit.verdicts,
        figures=tuple(_figures(audit)),
        guards=tuple(_calibration_rows(audit)),
        tables=(
            ("The mirage test", "Each published curve with its verdict.", audit.audit_table()),
            ("The census", "Each series, those with the smallest p first.", audit.census.sort("p", "table", "series")),
        ),
        steps=(),
        provenance={
            "tables": "of a folder that the user names; sources and licences lie beside them, and none is copied here",
            "commit": str(provenance["commit"]) + (" (with uncommitted changes)" if provenance["dirty"] else ""),
            "machine": str(provenance["processor"]),
            "made": str(provenance["made"]),
            "processor seconds": f"{provenance['cpu_seconds']}",
        },
        command="nosce published DATA --out results",
        notes=tuple(_notes(audit)),
        conclusion=_conclusion(audit),
        lead_figure="what-calls-a-jump",
    )


def _conclusion(audit: FieldAudit) -> str:
    """The answer in three sentences."""
    tasks = audit.census.group_by("task").agg(has_step=(pl.col("q") < STEP_Q).any())
    n_step = audit.census.filter(pl.col("q") < STEP_Q).height
    n_high = audit.census.filter(pl.col("emergence") > HIGH_EMERGENCE).height
    choices = {c.name: r.verdict for c, r in zip(audit.curves, audit.results, strict=True) if c.table == "choices"}
    broken = sorted(name for name, verdict in choices.items() if verdict == "break")
    metric = sorted(name for name, verdict in choices.items() if verdict == "metric")
    return (
        f"Of {audit.census.height} series, {n_high} have an emergence score above {HIGH_EMERGENCE:g}, and {n_step} (of "
        f"{tasks['has_step'].sum()} of {tasks.height} tasks) have a step on top of a smooth curve with q below "
        f"{STEP_Q:g}. Of {len(choices)} tasks that have accuracy and a Brier score of the same outputs, {len(broken)} "
        f"break in both ({', '.join(broken) or 'none'}); a jump of the metric's alone: {', '.join(metric) or 'none'}."
    )


def _notes(audit: FieldAudit) -> Iterator[str]:
    """Sentences under the answer."""
    words = "calibrated" if audit.is_calibrated else "not calibrated, so that its p-values are too small"
    yield f"The census is {words}: see Guards."
    any_dependence = audit.census.filter(pl.col("q_any") < STEP_Q).height
    yield (
        f"Series of one task and one set of models hang together; under any dependence (Benjamini and Yekutieli) "
        f"{any_dependence} steps remain."
    )
    median = audit.census.group_by("table", maintain_order=True).agg(pl.col("detectable").median())
    heights = ", ".join(f"{table}: {100 * height:.0f} points" for table, height in median.iter_rows())
    yield f"The height of a step that four of five series of a table would show, in the median: {heights}."
    forms = audit.loss_forms
    yield (
        f"LAMBADA along the loss of all sizes and steps, nats an outcome of points left out: {forms['smooth']:.4f} by "
        f"a smooth curve, {forms['threshold']:.4f} by a threshold."
    )


def _calibration_rows(audit: FieldAudit) -> Iterator[dict[str, str]]:
    for correlation, (below, total) in audit.calibrated.items():
        low, high = exact_interval(below, total)
        yield {
            "guard": f"smooth simulated series with p below {CALIBRATION_LEVEL:g}, autocorrelation {correlation:g}",
            "found": f"{below} of {total:,}: {below / total:.1%} [{low:.1%}, {high:.1%}]",
            "verdict": "calibrated" if below / total <= MAX_CALIBRATED else f"above {MAX_CALIBRATED:.1%}",
        }


def _figures(audit: FieldAudit) -> Iterator[FigureData]:
    """How many series each criterion calls a jump; p-values against those of no steps; the two metrics."""
    yield FigureData(
        id="what-calls-a-jump",
        title="What is called a jump depends on what it is held against",
        caption="The share of a table's series that each criterion calls a jump, with exact intervals. A straight line "
        "with the series' scatter, and a smooth curve that may bend, stand for no jump.",
        kind="bars",
        y_label="share of the series",
        table=figure_table(_criterion_rows(audit.census)),
    )
    yield FigureData(
        id="p-values",
        title="The p-values of a step, in order",
        caption="Without any steps the points would lie along the diagonal; smaller p-values lie below it.",
        kind="curves",
        x_label="rank of the p-value, as a share of the table's series",
        y_label="p of a step",
        table=figure_table(_p_value_rows(audit.census)),
    )
    yield FigureData(
        id="two-metrics",
        title="Two metrics, of emergent tasks and of all tasks",
        caption="The share of tasks that prefer multiple choice grade or exact string match. The paper's 92 % of "
        "emergent cases lies beside 89 % of all tasks that are files (package bigbench 1.0.0).",
        kind="bars",
        y_label="share of the tasks",
        table=figure_table(_metric_rows()),
    )


def _criterion_rows(table: pl.DataFrame) -> Iterator[FigureRow]:
    criteria = {
        f"E above {HIGH_EMERGENCE:g}": pl.col("emergence") > HIGH_EMERGENCE,
        f"half of the rise in a quarter ({JUMP_SHARE:.0%})": pl.col("steepest_quarter") >= JUMP_SHARE,
        "E beyond a straight line (p < 0.05)": pl.col("p_line") < STEP_Q,
        "step beyond a smooth curve (q < 0.05)": pl.col("q") < STEP_Q,
    }
    for x, ((name,), part) in enumerate(table.group_by("table", maintain_order=True)):
        for group, criterion in criteria.items():
            count = part.filter(criterion).height
            low, high = exact_interval(count, part.height)
            share = count / part.height
            yield FigureRow(group=group, x=x, tick=str(name), value=share, low=low, high=high, n=part.height)


def _p_value_rows(table: pl.DataFrame) -> Iterator[FigureRow]:
    for (name,), part in table.group_by("table", maintain_order=True):
        for rank, p in enumerate(sorted(part["p"].to_list()), 1):
            yield FigureRow(group=str(name), x=(rank - 0.5) / part.height, value=p, n=part.height)
    for x in (0.0, 1.0):
        yield FigureRow(group="no steps at all", x=x, value=x, baseline=True)


def _metric_rows() -> Iterator[FigureRow]:
    counts = {
        "called emergent by Wei et al. (18 known here)": WEI_METRICS,
        "all tasks that are files": BIGBENCH_METRICS,
    }
    for x, (tick, by_metric) in enumerate(counts.items()):
        two, total = sum(by_metric[name] for name in TWO_METRICS), sum(by_metric.values())
        low, high = exact_interval(two, total)
        yield FigureRow(group="here", x=x, tick=tick, value=two / total, low=low, high=high, n=total)
    yield FigureRow(group="here", x=2, tick="emergent by hand annotation (the paper)", value=0.92)


def published_json(audit: FieldAudit) -> dict[str, Json]:
    """The contents of `show.json`: the claims, and each audit with all its numbers."""
    audits: list[Json] = []
    for curve, result, q in zip(audit.curves, audit.results, audit.q_line, strict=True):
        numbers: dict[str, Json] = dict(mirage_result_json(result).items())  # type: ignore[arg-type]
        audits.append({"table": curve.table, "curve": curve.name, **numbers, "q_linear": q})
    claims: list[Json] = [asdict(verdict) for verdict in audit.verdicts]
    calibrated: list[Json] = []
    for correlation, (below, total) in audit.calibrated.items():
        calibrated.append({"autocorrelation": correlation, "below": below, "of": total})
    return {
        "study": "audits",
        "scale": "published",
        "title": TITLE,
        "question": QUESTION,
        "paper": PAPER,
        "claims": claims,
        "calibration": calibrated,
        "loss_forms": dict(audit.loss_forms),
        "audits": audits,
    }
