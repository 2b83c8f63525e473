"""The command that sends the metrics of trainings on to another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from nosce.cli import options as opt
from nosce.cli.app import app
from nosce.cli.output import print_line


@app.command()
def mirror(
    study: opt.StudyArgument,
    to: Annotated[Literal["tensorboard", "trackio", "wandb"], typer.Option("--to", help="The tool, where installed.")],
    out_: Annotated[
        Path, typer.Option("--out", help="Folder of TensorBoard's event files; empty or not there.")
    ] = Path("runs"),
    follow: Annotated[bool, typer.Option("--follow", help="Go on until all trainings are finished.")] = False,
    scale: opt.LastScaleOption = None,
    model: opt.ModelOption = "",
    set_: opt.SetOption = None,
    store: opt.StoreOption = None,
) -> None:
    """Metrics of trainings in another tool.  Example: nosce mirror biographies --to tensorboard --follow"""
    from nosce.pipeline.metric_sinks import open_sink
    from nosce.pipeline.mirror import find_trainings, mirror_metrics

    trainings = find_trainings(opt.open_store(store), study, scale, opt.variant_label(model, set_))
    n_trainings, n_lines = mirror_metrics(trainings, open_sink(to, out_), follow=follow)
    where = f"{out_}; `tensorboard --logdir {out_}` shows them" if to == "tensorboard" else to
    print_line(f"{n_lines:,} lines of metrics of {n_trainings} of {len(trainings)} trainings are now in {where}.")
