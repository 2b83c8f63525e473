"""The application: what stands before every command."""

from __future__ import annotations

from typing import Annotated

import typer

import nosce
from nosce.cli.output import print_line

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="What does a language model know, and does it know that it does?",
)


def _print_version(requested: bool) -> None:
    if requested:
        print_line(f"nosce {nosce.__version__}")
        raise typer.Exit()


@app.callback()
def _common_options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options that stand before the command."""
