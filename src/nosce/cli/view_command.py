"""The command view: a local server of results and of runs that go on."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from nosce.cli import options as opt
from nosce.cli.app import app
from nosce.cli.output import print_line
from nosce.pipeline.command_lines import default_store_root


@app.command("view")
def view_command(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0: one that is free.", min=0, max=65_535)] = 0,
    results: Annotated[
        Path | None, typer.Option(help="A folder of published pages beside the store's; else ./results.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = False,
    store: opt.StoreOption = None,
) -> None:
    """Show results and runs under way in the browser, until Ctrl-C.  Example: nosce view --open"""
    from nosce.pipeline.view.library import open_library
    from nosce.pipeline.view.server import ViewServer

    with tempfile.TemporaryDirectory(prefix="nosce-view-", ignore_cleanup_errors=True) as cache:
        library = open_library(store, results, default_store_root(), Path(cache))
        with ViewServer(library, port) as server:
            with suppress(KeyboardInterrupt):
                print_line(f"The view is {server.address} on this machine alone, until Ctrl-C.")
                if open_:
                    typer.launch(server.address)
                server.serve_forever()
            print_line("The view has ended.")
