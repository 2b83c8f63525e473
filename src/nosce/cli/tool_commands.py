"""Commands that need no study: explain and doctor."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from nosce.cli import options as opt
from nosce.cli.app import app
from nosce.cli.output import print_json, print_line
from nosce.store.text import literal

if TYPE_CHECKING:
    from nosce.pipeline.explain import StepExplanation
    from nosce.pipeline.explain_claim import ClaimHistory


@app.command()
def explain(
    name: Annotated[
        str, typer.Argument(metavar="STEP|CLAIM", help="The beginning of a step's name or key, or a claim's id.")
    ],
    store: opt.StoreOption = None,
    json_: opt.JsonOption = False,
) -> None:
    """What a step's key is made of, or when a claim was changed.  Example: nosce explain training-3fa9"""
    from nosce.pipeline.explain import explain_step
    from nosce.pipeline.explain_claim import explain_claim

    opened_store = opt.open_store(store)
    if histories := explain_claim(opened_store, name):  # a step may be given more of its name, a claim may not
        if json_:
            print_json([asdict(history) for history in histories])
        for history in () if json_ else histories:
            _print_history(history)
        return
    explanation = explain_step(opened_store, name)
    if json_:
        print_json(asdict(explanation))
    else:
        _print_step(explanation)


def _print_step(explanation: StepExplanation) -> None:
    from nosce.store.spec import flatten_description

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


def _print_history(history: ClaimHistory) -> None:
    """Each form of a claim with its time, what had been read by then, and what differs from the form before."""
    from nosce.pipeline.claim_age import name_seeds, registration_text

    scale = ", ".join(filter(None, (history.scale, history.variant)))
    print_line(f"{history.claim} of {history.study}, scale {scale}: {history.age or 'not judged yet'}.")
    for number, form in enumerate(history.forms, 1):
        read = (
            f"{name_seeds(form.seeds_read)} had been read" if form.seeds_read else "nothing of its arms had been read"
        )
        print_line(f"Form {number}, {registration_text(form.registered, form.commit, form.dirty)}; {read}.")
        if number == 1:
            print_line(f"  {form.text}: {form.criterion}")
        for change in form.changes:
            where = f"{change.part}, {change.where}" if change.where else change.part
            print_line(f"  {where}: was {change.before!r}, now {change.after!r}")
    if not history.forms:
        print_line("No run of this study has registered its claims yet; the next one that has steps to make does.")


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
