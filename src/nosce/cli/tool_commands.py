"""Commands that need no study: explain and doctor."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from nosce.cli import options as opt
from nosce.cli.app import app
from nosce.cli.output import print_json, print_line
from nosce.store.text import literal


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
