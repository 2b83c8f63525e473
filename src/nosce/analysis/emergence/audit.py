"""The command `nosce audit`: it reads tables, runs the mirage test and renders the results."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import scipy
from rich.table import Table

from nosce.analysis.emergence import bigbench
from nosce.analysis.emergence import summary as words
from nosce.analysis.emergence.scores import CountOutcomes, ItemOutcomes
from nosce.analysis.emergence.table import parse_outcomes
from nosce.analysis.emergence.table_file import read_outcome_table
from nosce.analysis.emergence.test import MirageTestResult, mirage_test
from nosce.analysis.render.tables import rows_table
from nosce.errors import DataError, UsageError
from nosce.seeds import Seed

MIN_RESAMPLES, MAX_RESAMPLES = 100, 100_000
EMERGENCE_THRESHOLD = 10.0  # the emergence score that `shares` counts from; the paper names no threshold


@dataclass(frozen=True, eq=False)
class TableAudit:
    """An audited table.

    Args:
        name: Name of the file.
        outcomes: The outcomes of the table.
        result: The result of the mirage test.
        q: `p_linear` adjusted for the number of tables (Benjamini and Hochberg 1995); None for a single table.
    """

    name: str
    outcomes: ItemOutcomes | CountOutcomes
    result: MirageTestResult
    q: float | None = None

    @property
    def json_object(self) -> dict[str, object]:
        """All numbers of the audit."""
        row = words.mirage_result_json(self.result)
        return row if self.q is None else {"table": self.name, **row, "q_linear": self.q}


def audit_tables(
    paths: Sequence[Path], *, lower_is_better: bool, log_likelihood: bool, resamples: int
) -> list[TableAudit]:
    """Audit tables of outcomes.

    Raises:
        UsageError: One cannot be read, is wrong, or too few resamplings were asked for.
    """
    if not MIN_RESAMPLES <= resamples <= MAX_RESAMPLES:
        too = "few to say how often" if resamples < MIN_RESAMPLES else "many to wait for"
        raise UsageError(f"--resamples {resamples} is too {too}; take {MIN_RESAMPLES} to {MAX_RESAMPLES:,}.")
    outcomes_by_name = []
    for path in paths:
        table = read_outcome_table(path)
        try:
            outcomes = parse_outcomes(table, lower_is_better=lower_is_better, log_likelihood=log_likelihood)
            outcomes_by_name.append((path.name, outcomes))
        except DataError as error:  # the table is the user's
            raise UsageError(str(error) if len(paths) == 1 else f"{path}: {error}") from None
    audits = []
    for name, outcomes in outcomes_by_name:
        audits.append(TableAudit(name, outcomes, mirage_test(outcomes, Seed(0) / "audit", resamples=resamples)))
    if len(audits) == 1:
        return audits
    qs = scipy.stats.false_discovery_control([one.result.p_linear for one in audits])
    return [TableAudit(one.name, one.outcomes, one.result, float(q)) for one, q in zip(audits, qs, strict=True)]


def render_audits(audits: Sequence[TableAudit]) -> Iterator[str | Table]:
    """What a terminal prints."""
    for table_audit in audits:
        yield words.VERDICT_MEANINGS[table_audit.result.verdict]
        q_row = (
            []
            if table_audit.q is None
            else [("of all these tables, q", f"{table_audit.q:.3f} that a straight line rises so")]
        )
        yield rows_table(table_audit.name, ("", ""), [*words.mirage_result_rows(table_audit.result), *q_row])


def bigbench_results(path: Path) -> dict[str, Any]:  # values as polars' `to_dicts` types them
    """Emergence scores of all curves in a folder or file of BIG-bench's own results, and by metric how many are high.

    Raises:
        UsageError: It holds none.
    """
    try:
        curves = bigbench.emergence_scores(bigbench.load_bigbench(path))
    except DataError as error:
        raise UsageError(str(error)) from None
    order = curves.sort("emergence", descending=True, nulls_last=True)
    return {
        "curves": order.to_dicts(),
        "threshold": EMERGENCE_THRESHOLD,
        "shares": bigbench.emergent_shares(curves, EMERGENCE_THRESHOLD).to_dicts(),
    }


def render_bigbench_results(results: dict[str, Any]) -> Iterator[str | Table]:  # values of polars' `to_dicts`
    """What a terminal prints of BIG-bench's results."""
    curves = results["curves"]
    varying_keys, shared_values = [], []
    for key in ("family", "metric", "shots", "sizes"):
        value = curves[0][key]
        if len({curve[key] for curve in curves}) > 1:
            varying_keys.append(key)
        else:
            shared_values.append(f"{value} {key}" if isinstance(value, int) else value)
    rows = []
    for curve in curves:
        task = " ".join(filter(None, (curve["task"], curve["subtask"])))
        score = None if curve["emergence"] is None else f"{curve['emergence']:.2f}"
        rows.append((task, *(curve[key] for key in varying_keys), score, curve["noise"], curve["q"]))
    yield rows_table(
        ", ".join(["Emergence scores", *shared_values]), ("task", *varying_keys, "E", "noise: p", "q"), rows
    )
    yield rows_table(
        f"Curves above {results['threshold']:g}",
        ("metric", "above", "of"),
        [(s["metric"], s["emergent"], s["curves"]) for s in results["shares"]],
    )
    yield (
        "A straight line has as many as its sizes less one, so that a high score is no jump; noise: how often pure "
        "noise is as far from 0; q: with all curves taken into account."
    )


def is_bigbench_results(path: Path) -> bool:
    """Is it a folder, or lines of BIG-bench's result files, and no table of outcomes?"""
    if path.is_dir():
        return True
    if not path.is_file() or ".json" not in "".join(path.suffixes[-2:]):
        return False
    try:
        return bigbench.is_bigbench_file(path)
    except (OSError, ValueError, EOFError, RecursionError, zlib.error):
        return False
