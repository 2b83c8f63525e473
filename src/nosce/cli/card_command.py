"""The command `card`: five questions about one model, on one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from nosce.cli import options as opt
from nosce.cli.app import app
from nosce.cli.output import print_json, print_line
from nosce.pipeline.devices import DeviceRequest

if TYPE_CHECKING:
    from nosce.pipeline.cards.planning import CardRequest

OtherOption = Annotated[
    list[str] | None, typer.Option(help="Another model, which predicts its answers; may be repeated.")
]
LadderOption = Annotated[
    str, typer.Option(help="Models by size between commas, each with =SIZE if you like; else all that are named.")
]
CardBudgetOption = Annotated[
    str | None,
    typer.Option("--budget", help="Time for all questions, e.g. 60m; else the scale's sizes.", metavar="TIME"),
]
CardSetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a field; STUDY.KEY=VALUE in one study alone.", metavar="KEY=VALUE"),
]


@dataclass(frozen=True, kw_only=True)
class CardOptions:
    """Which models a card is of, and how much is asked of them."""

    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, a hub id, or an endpoint.")]
    other: OtherOption = None
    ladder: LadderOption = ""
    budget: CardBudgetOption = None
    scale: opt.ScaleOption = "laptop"
    set_: CardSetOption = None

    def request(self) -> CardRequest:
        """What the card is made from."""
        from nosce.studies.card import card_request

        return card_request(
            self.model,
            others=self.other or (),
            ladder=self.ladder,
            scale=self.scale,
            settings=self.set_ or (),
            budget=self.budget,
        )


@app.command("card")
@opt.with_option_groups
def card_command(
    asked: CardOptions,
    out_: Annotated[Path, typer.Option("--out", help="Folder of the page.")] = Path("card"),
    workers: opt.WorkersOption = None,
    device: opt.DeviceOption = None,
    threads: opt.ThreadsOption = 1,
    max_cost: opt.MaxCostOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked, at which price, and stop.")
    ] = False,
    store: opt.StoreOption = None,
    json_: opt.JsonOption = False,
) -> None:
    """Five questions about one model, on one page.  Example: nosce card ./smollm2 --other ./gemma3 --budget 90m"""
    from nosce.pipeline.cards.card import card_plan_json, make_card, prepare_folder
    from nosce.pipeline.cards.planning import plan_card
    from nosce.pipeline.cards.terminal import print_card, print_card_plan
    from nosce.pipeline.local_pool import available_cores

    request, opened_store = asked.request(), opt.open_store(store)
    progress = Console(stderr=True, soft_wrap=True)
    if dry_run:
        plan = plan_card(request, opened_store, progress, workers or len(available_cores()), is_dry_run=True)
        print_json(card_plan_json(plan)) if json_ else print_card_plan(plan, Console())
        return
    prepare_folder(out_)
    devices = DeviceRequest(device=device, workers=workers, threads=threads)
    card = make_card(request, opened_store, progress, devices=devices, max_cost=max_cost)
    page = card.write(out_)
    if json_:
        print_json(card.to_json())
    else:
        print_card(card, Console())
        print_line(f"The card is {page}")
    raise typer.Exit(1 if card.failed else 0)
