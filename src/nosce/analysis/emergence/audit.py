"""The command `nosce audit`: it reads tables, runs the mirage test and renders the results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import scipy
from rich.table import Table

from nosce.analysis.emergence import bigbench
from nosce.analysis.emergence import summary as words
from nosce.analysis.emergence.answer import AuditAnswer, audit_answer, jump_numbers
from nosce.analysis.emergence.jump_shares import jump_share_rows, jump_shares
from nosce.analysis.emergence.readers.base import ColumnChoice, TaskScores
from nosce.analysis.emergence.readers.find import read_tasks
from nosce.analysis.emergence.scores import CountOutcomes, ItemOutcomes
from nosce.analysis.emergence.table import parse_outcomes
from nosce.analysis.emergence.test import EmergenceVerdict, MirageTestResult, mirage_test
from nosce.analysis.render.figure import FigureData
from nosce.analysis.render.tables import rows_table
from nosce.errors import DataError, UsageError
from nosce.seeds import Seed
from nosce.store.text import printable

MIN_RESAMPLES, MAX_RESAMPLES = 100, 100_000
MAX_Q = 0.05  # of a jump among several tasks; above it, the jump is no verdict
#: A link of two numbers through the means of fewer sizes misses the ends of power laws, which were "unexplained" in 20
#: of 30 simulated worlds at 6 sizes, 4 at 8 and 0 at 12 (benchmarks/means.py). From three series on, the link is that
#: of the others.
MIN_LINKED_SIZES, MIN_LINKED_SERIES = 12, 3
MAX_PANELS = 12  # of a figure of several tasks
MIN_GUESS_ITEMS = 100  # at a size, from which on a score is told from one of guessing
MAX_NOTES = 4  # that are printed without --verbose
EMERGENCE_THRESHOLD = 10.0  # the emergence score that `shares` counts from; the paper names no threshold


@dataclass(frozen=True, eq=False)
class TableAudit:
    """The audit of one task.

    Args:
        scores: Where its scores come from, and which columns were read as what.
        outcomes: Its outcomes.
        result: The result of the mirage test.
        q: `p_linear` adjusted for the number of tasks (Benjamini and Hochberg 1995); None for a single task.
        tasks: Number of tasks that were audited together.
    """

    scores: TaskScores
    outcomes: ItemOutcomes | CountOutcomes
    result: MirageTestResult
    q: float | None = None
    tasks: int = 1

    @property
    def withheld(self) -> str:
        """Why a verdict of the test is none of the audit's, as a line of the answer; "" where it is."""
        alone = self.result.verdict
        if alone in ("metric", "break", "unexplained") and self.q is not None and self.q > MAX_Q:
            return f"No verdict: one of {self.tasks:,} tasks may jump so by chance (q = {self.q:.2f})."
        counts = isinstance(self.outcomes, CountOutcomes) and len(self.outcomes.n_correct) < MIN_LINKED_SERIES
        if alone == "unexplained" and counts and self.result.sizes < MIN_LINKED_SIZES:
            return "No verdict: without items it is open whether one link explains the jump."
        return ""

    @property
    def verdict(self) -> EmergenceVerdict:
        """The verdict, corrected for the number of tasks and for what aggregates cannot tell."""
        return "under-resolved" if self.withheld else self.result.verdict

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What has to be said of the reading, a score that looks like guessing included."""
        n_correct, n_total = (float(counts[:, 0].sum()) for counts in self.outcomes.counts)
        if self.outcomes.chance or "chance" in self.scores.table.columns or n_total < MIN_GUESS_ITEMS:
            return self.scores.notes
        interval = scipy.stats.binomtest(round(n_correct), round(n_total)).proportion_ci(method="exact")
        options = next((number for number in (4, 5, 3, 2) if interval.low <= 1 / number <= interval.high), None)
        if options is None:
            return self.scores.notes
        share = f"{n_correct / n_total:.0%}"
        note = f"The first size scores {share}, as guessing among {options} options would: if so, give --chance"
        return (*self.scores.notes, f"{note} {1 / options:.2g}.")

    @cached_property
    def answer(self) -> AuditAnswer:
        """The answer in plain words."""
        names = (self.scores.names.get("sharp", "sharp"), self.scores.names.get("continuous", "continuous"))
        seed = Seed(0) / "audit" / "answer"
        return audit_answer(self.outcomes, self.result, self.verdict, names, seed, withheld=self.withheld)

    @property
    def json_object(self) -> dict[str, object]:
        """All numbers of the audit, the answer in words, and what was read."""
        row = {
            **words.mirage_result_json(self.result),
            "verdict": self.verdict,
            "meaning": words.VERDICT_MEANINGS[self.verdict],
            "answer": list(self.answer.lines),
            "columns": self.scores.columns_text,
            "notes": list(self.notes),
            "chance": self.outcomes.chance,
        }
        row["verdict_alone"] = self.result.verdict
        if self.q is None:
            return row
        return {"table": self.scores.source, "task": self.scores.task, **row, "q_linear": self.q}


def audit_tables(paths: Sequence[Path], choice: ColumnChoice, *, resamples: int) -> list[TableAudit]:
    """Audit every task of tables and logs.

    Raises:
        UsageError: One cannot be read, is wrong, or too few resamplings were asked for.
    """
    check_resamples(resamples)
    tasks: list[TaskScores] = []
    for path in paths:
        tasks += read_tasks(path, choice)
    return audit_tasks(tasks, resamples=resamples)


def check_resamples(resamples: int) -> None:
    """Refuse a number of resamplings that says nothing or takes for ever."""
    if not MIN_RESAMPLES <= resamples <= MAX_RESAMPLES:
        too = "few to say how often" if resamples < MIN_RESAMPLES else "many to wait for"
        raise UsageError(f"--resamples {resamples} is too {too}; take {MIN_RESAMPLES} to {MAX_RESAMPLES:,}.")


def audit_tasks(tasks: Sequence[TaskScores], *, resamples: int) -> list[TableAudit]:
    """Audit tasks, and correct for their number where there are several.

    Raises:
        UsageError: Something is wrong with a table.
    """
    outcomes = [(task, _outcomes(task)) for task in tasks]
    audits = []
    for task, task_outcomes in outcomes:
        result = mirage_test(task_outcomes, Seed(0) / "audit", resamples=resamples)
        audits.append(TableAudit(task, task_outcomes, result))
    if len(audits) == 1:
        return audits
    qs = scipy.stats.false_discovery_control([one.result.p_linear for one in audits])
    return [replace(one, q=float(q), tasks=len(audits)) for one, q in zip(audits, qs, strict=True)]


def _outcomes(task: TaskScores) -> ItemOutcomes | CountOutcomes:
    """What the test takes; an error names the columns as the table does."""
    try:
        return parse_outcomes(task.table, lower_is_better=task.lower_is_better, log_likelihood=task.log_likelihood)
    except DataError as error:  # the table is the user's
        text = str(error)
        for column, name in task.names.items():
            text = text.replace(f"in {column!r}", f"in {name!r}")
        where = f"{task.source}, {task.task}" if task.task else task.source
        raise UsageError(f"{where}: {text}") from None


def render_answers(audits: Sequence[TableAudit]) -> Iterator[str | Table]:
    """The answer as a terminal prints it: of one task its lines, of several a table with a row each."""
    if len(audits) == 1:
        yield from audits[0].answer.lines
        return
    rows = []
    for one in audits:
        ends = jump_numbers(one.outcomes, Seed(0) / "audit" / "answer")
        rows.append((one.scores.title, one.verdict, str(ends.first), str(ends.last), f"{one.q:.3f}"))
    yield rows_table(f"{len(audits):,} tasks", ("task", "verdict", "first size", "last size", "q"), rows)
    yield f"q: chance of a straight line to rise so, corrected for {len(audits):,} tasks (Benjamini and"
    yield f"Hochberg); a jump with q above {MAX_Q} is no verdict. --task NAME tells more of one."


def reading_notices(audits: Sequence[TableAudit]) -> Iterator[str]:
    """What was read as what, and what has to be said of it, once each."""
    read = list(dict.fromkeys(one.scores.columns_text for one in audits))
    sources = list(dict.fromkeys(one.scores.source for one in audits))
    more = f" (and {len(read) - 1} more ways, --verbose)" if len(read) > 1 else ""
    yield f"Read from {', '.join(sources[:3])}: {read[0]}{more}."
    notes = list(dict.fromkeys(note for one in audits for note in one.notes))
    yield from notes[:MAX_NOTES]
    if len(notes) > MAX_NOTES:
        yield f"{len(notes) - MAX_NOTES} more notes are shown by --verbose."


def render_details(audits: Sequence[TableAudit]) -> Iterator[str | Table]:
    """All else that was found, of every task."""
    for table_audit in audits:
        if len(audits) > 1:
            yield "\n".join(table_audit.answer.lines)
        yield words.VERDICT_MEANINGS[table_audit.verdict]
        rows = [("read", table_audit.scores.columns_text), *words.mirage_result_rows(table_audit.result)]
        if (errors := table_audit.answer.errors) is not None:
            design = f"{errors.sizes} sizes and {errors.items:,} items"
            rows.append((f"simulated at {design}", f"{errors.wrong} of {errors.given} such verdicts were wrong"))
        if table_audit.q is not None:
            rows.append(("of all these tasks, q", f"{table_audit.q:.3f} that a straight line rises so"))
        rows += jump_share_rows(jump_shares(table_audit.outcomes, Seed(0) / "audit" / "shares"))
        rows += [("note", note) for note in table_audit.notes]
        yield rows_table(table_audit.scores.title, ("", ""), rows)


def audit_figure(audits: Sequence[TableAudit]) -> FigureData:
    """Both scores over size; of several tasks one panel each, of the first dozen."""
    figures = []
    for one in audits[:MAX_PANELS]:
        meaning = {"meaning": words.VERDICT_MEANINGS[one.verdict], "verdict": one.verdict}
        row = words.mirage_result_json(one.result) | meaning
        title, x_label = printable(one.scores.title), printable(one.scores.names["size"].strip())
        figures.append((one, words.mirage_figure(one.outcomes, row, title, x_label)))
    if len(figures) == 1:
        return figures[0][1]
    first = figures[0][1]
    panels = []
    for number, (one, figure) in enumerate(figures, 1):
        title = printable(f"{number}. {one.scores.title}: {one.verdict}")
        panels.append(figure.table.with_columns(panel=pl.lit(title)))
    title = f"{len(audits)} tasks" if len(audits) <= MAX_PANELS else f"the first {MAX_PANELS} of {len(audits):,} tasks"
    header = first.header() | {"title": title, "caption": f"The mirage test of {title}."}
    return FigureData(**header, table=pl.concat(panels))  # type: ignore[arg-type]


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
