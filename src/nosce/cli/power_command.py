"""The command power: how many sizes, items and seeds tell a jump of the metric from one of the ability."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nosce.cli import options as opt
from nosce.cli.app import app
from nosce.cli.output import print_json, print_line


@app.command("power")
def power_command(
    sizes: Annotated[list[int] | None, typer.Option(help="How many sizes; may be given several times.")] = None,
    items: Annotated[list[int] | None, typer.Option(help="How many items.")] = None,
    seeds: Annotated[list[int] | None, typer.Option(help="How many training seeds.")] = None,
    simulations: Annotated[int, typer.Option(help="Planted worlds to try each design on.")] = 40,
    json_: opt.JsonOption = False,
) -> None:
    """How much does it take to tell a jump of the metric from one that stays?  Example: nosce power --sizes 8"""
    from nosce.analysis.emergence import power
    from nosce.seeds import Seed

    designs = power.power_designs(
        sizes or power.DEFAULT_SIZES, items or power.DEFAULT_ITEMS, seeds or power.DEFAULT_SEEDS
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    found = []
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        worlds = progress.add_task("worlds", total=len(designs) * len(power.DESIGN_TRUTHS) * simulations)
        grid = power.estimate_power_grid(
            designs, simulations=simulations, seed=Seed(0) / "design", on_world=lambda: progress.advance(worlds)
        )
        for powers in grid:
            found.append(powers)
            if not json_:  # cheapest first, as soon as it is known
                print_line(power.power_sentence(powers))
    if json_:
        print_json(power.power_rows([estimate for powers in found for estimate in powers]))
        return
    print_line(power.power_advice(found))
