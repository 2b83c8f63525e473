"""The command published: audit the field's own tables and write a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nosce.cli import options as opt
from nosce.cli.app import app
from nosce.cli.output import print_json, print_line
from nosce.store.text import literal


@app.command("published")
def published_command(
    data: Annotated[Path, typer.Argument(help="Folder with bigbench/ and emergence_extra/.")],
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("results"),
    json_: opt.JsonOption = False,
) -> None:
    """Audit published tables: mirage test, census and claims, as a page.  Example: nosce published ../shared/data"""
    from nosce.analysis.render.tables import claims_table
    from nosce.pipeline.published_page import audit_published, published_json, write_published

    with Console(stderr=True).status("published tables") as status:
        audit, provenance = audit_published(data, lambda name: status.update(literal(name)))
    page = write_published(audit, provenance, out)
    if json_:
        print_json(published_json(audit))
        return
    Console().print(claims_table(audit.verdicts))
    print_line(f"The page is {page}.")
