"""Commands that need no study: explain, doctor and audit."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from nosce.cli import options as opt
from nosce.cli.app import app
from nosce.cli.output import print_json, print_line, print_parts
from nosce.errors import UsageError
from nosce.store.text import literal

if TYPE_CHECKING:
    from nosce.analysis.emergence.audit import TableAudit
    from nosce.pipeline.results import RunResults


@app.command()
def explain(
    step: Annotated[str, typer.Argument(help="The beginning of a step's name or key.")],
    store: opt.StoreOption = None,
    json_: opt.JsonOption = False,
) -> None:
    """What a step's key is made of, and how its nearest neighbour differs.  Example: nosce explain training-3fa9"""
    from nosce.pipeline.explain import explain_step
    from nosce.store.spec import flatten_description

    explanation = explain_step(opt.open_store(store), step)
    if json_:
        print_json(asdict(explanation))
        return
    console = Console()
    if explanation.maker is not None:
        print_line(f"{explanation.name}: {explanation.maker}.")
    print_line(f"{explanation.name} ({explanation.state}) is named by the hash of:")
    parts_table = Table("part", "value")
    for path, value in flatten_description(explanation.description).items():
        parts_table.add_row(literal(path), literal(json.dumps(value, ensure_ascii=False)))
    console.print(parts_table)
    if explanation.nearest_step is None:
        print_line("No other step of its kind is in the store.")
        return
    print_line(f"Nearest in the store is {explanation.nearest_step}, which differs in:")
    differences_table = Table("part", "here", "there")
    for path, here, there in explanation.differing_fields:
        differences_table.add_row(literal(path), literal(json.dumps(here)), literal(json.dumps(there)))
    console.print(differences_table)


@app.command()
def doctor(store: opt.StoreOption = None, json_: opt.JsonOption = False) -> None:
    """Versions, cores, precision, devices, disk, and what would be slow and why.  Example: nosce doctor"""
    from nosce.pipeline.doctor import check_machine

    checks = check_machine(opt.open_store(store))
    if json_:
        print_json(checks)
        return
    table = Table("what", "found", "so")
    for row in checks:
        table.add_row(*(literal(str(row[key])) for key in ("what", "found", "so")))
    Console().print(table)


@app.command("audit")
def audit_command(
    tables: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[TABLE]...", help="Outcomes by size (.csv, .parquet, .jsonl), or BIG-bench results."),
    ] = None,
    study: Annotated[str | None, typer.Option(help="Instead: the curves of a study that was run.")] = None,
    scale: opt.LastScaleOption = None,
    seeds: opt.PlanSeedsOption = None,
    arms: opt.PlanArmsOption = "",
    lower_is_better: Annotated[bool, typer.Option("--lower-is-better", help="Of the continuous score.")] = False,
    log_likelihood: Annotated[
        bool, typer.Option("--log-likelihood", help="The continuous score is one of the whole target.")
    ] = False,
    figure: Annotated[Path | None, typer.Option(help="Write the figure there, as SVG.")] = None,
    resamples: Annotated[int, typer.Option(help="Resamplings.")] = 2_000,
    store: opt.StoreOption = None,
    json_: opt.JsonOption = False,
) -> None:
    """Is a jump in the ability or in the metric?  Example: nosce audit outcomes.csv --log-likelihood"""
    if bool(tables) == (study is not None):
        raise UsageError("audit wants a TABLE or a --study, one of the two; name one.")
    if not tables:
        assert study is not None
        _print_audits(opt.load_results(opt.open_store(store), study, scale, seeds, arms), json_=json_)
        return
    from nosce.analysis.emergence import audit as auditing

    if len(tables) == 1 and auditing.is_bigbench_results(tables[0]):
        scored = auditing.bigbench_results(tables[0])
        print_parts(auditing.render_bigbench_results(scored), scored if json_ else None)
        return
    if figure is not None and len(tables) > 1:
        raise UsageError(f"--figure was asked for with {len(tables)} tables; name one of them.")
    audited_tables = auditing.audit_tables(
        tables, lower_is_better=lower_is_better, log_likelihood=log_likelihood, resamples=resamples
    )
    if figure is not None:
        _write_audit_figure(audited_tables[0], figure)
    entries = [audit.json_object for audit in audited_tables]
    contents = entries[0] if len(entries) == 1 else entries
    print_parts(auditing.render_audits(audited_tables), contents if json_ else None)


def _write_audit_figure(audit: TableAudit, path: Path) -> None:
    from nosce.analysis.emergence.summary import mirage_figure
    from nosce.analysis.render.figure import figure_svg
    from nosce.store.files import write_atomically

    try:
        write_atomically(path, figure_svg(mirage_figure(audit.outcomes, audit.json_object, audit.name)))
    except OSError as error:
        raise UsageError(
            f"the figure cannot be written to {path} ({error.strerror or error}); name a file in an existing folder."
        ) from None


def _print_audits(results: RunResults, *, json_: bool) -> None:
    """Print the mirage test of each scaling curve of a study."""
    audits = results.audits
    if json_:
        print_json([audit.numbers for audit in audits])
        return
    if results.part_notice:
        print_line(results.part_notice)
    for audit in audits:
        print_line(f"{audit.title} {audit.verdict or 'not audited'}: {audit.why}. {audit.meaning}".strip())
    if not audits:
        print_line(f"{results.plan.study} not audited: the study names no curve that could be audited.")
