"""Commands on studies: list, plan, run, show, export, and the page of all results."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from nosce.cli import options as opt
from nosce.cli.app import app
from nosce.cli.output import print_json, print_line

if TYPE_CHECKING:
    from nosce.pipeline.results import RunResults


@app.command("list")
def list_(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="A built-in study: list its configuration by scale instead.")
    ] = None,
    store: opt.StoreOption = None,
    json_: opt.JsonOption = False,
) -> None:
    """Studies, their question, scales, and what the store holds.  Example: nosce list"""
    if study is not None:
        _print_config(study, json_=json_)
        return
    from nosce.studies.listing import list_studies, studies_table

    opened_store = opt.open_store(store)
    rows = list_studies(opened_store)
    if json_:
        print_json([asdict(row) for row in rows])
        return
    console = Console()
    console.print(studies_table(rows, console.width))
    if any(row.held for row in rows):
        print_line(f"Finished scales and steps are those of {opened_store.root}.")


def _print_config(study: str, *, json_: bool) -> None:
    """What each scale of a built-in study trains and asks, side by side, without a model and with one."""
    from nosce.studies.configs import config_json, config_text

    if json_:
        print_json(config_json(study))
        return
    console = Console()
    console.print(config_text(study, console.width))


@app.command()
@opt.with_option_groups
def run(
    study: opt.StudyOptions,
    devices: opt.DeviceOptions,
    looks: opt.LookOptions,
    ray: opt.RayOption = None,
    dry_run: opt.DryRunOption = False,
    max_cost: opt.MaxCostOption = None,
    rerun_stale: opt.RerunStaleOption = False,
    store: opt.StoreOption = None,
    json_: opt.JsonOption = False,
) -> None:
    """Do what is not done yet, then print the claims.  Example: nosce run biographies --scale laptop"""
    from nosce.pipeline import run as running

    looks.check(dry_run=dry_run)
    if looks.until_decided:
        from nosce.pipeline.until_decided import run_until_decided

        exit_code = run_until_decided(
            looks.request(study),
            opt.open_store(store),
            devices=devices.request(),
            ray=ray,
            rerun_stale=rerun_stale,
            max_cost=max_cost,
            json_=json_,
        )
        raise typer.Exit(exit_code)
    request, opened_store = study.request(devices.workers), opt.open_store(store)
    if dry_run:
        running.print_plan(request, opened_store, devices.workers, json_=json_)
        return
    exit_code = running.run_study(
        request,
        opened_store,
        devices=devices.request(),
        ray=ray,
        rerun_stale=rerun_stale,
        max_cost=max_cost,
        json_=json_,
    )
    raise typer.Exit(exit_code)


@app.command()
@opt.with_option_groups
def plan(
    study: opt.StudyOptions,
    workers: opt.WorkersOption = None,
    store: opt.StoreOption = None,
    json_: opt.JsonOption = False,
) -> None:
    """What a run would do and cost: steps, tokens, FLOPs, disk, minutes.  Example: nosce plan biographies"""
    from nosce.pipeline.run import print_plan

    print_plan(study.request(workers), opt.open_store(store), workers, json_=json_)


@app.command()
def show(
    study: opt.StudyArgument,
    scale: opt.LastScaleOption = None,
    seeds: opt.PlanSeedsOption = None,
    arms: opt.PlanArmsOption = "",
    model: opt.ModelOption = "",
    set_: opt.SetOption = None,
    item: opt.ItemOption = "",
    store: opt.StoreOption = None,
    json_: opt.JsonOption = False,
) -> None:
    """Claims with paper value, estimate, interval, n and verdict.  Example: nosce show biographies --json"""
    opened_store = opt.open_store(store)
    results = opt.load_results(opened_store, study, scale, seeds, arms, opt.variant_label(model, set_))
    if item:
        _show_item(results, item, json_=json_)
        return
    if json_:
        from nosce.pipeline.results_json import results_json

        print_json(results_json(results))
        return
    from nosce.pipeline.run import print_claims

    print_claims(results, Console())
    for newer in results.plan.newer_parts(opened_store)[:1]:
        print_line(f"Results of {newer.part} are newer: `{newer.show_command(opened_store)}` shows them.")


def _show_item(results: RunResults, name: str, *, json_: bool) -> None:
    """Print what was trained on about an item, what models answered, and what was read inside."""
    from nosce.pipeline.items.reader import ItemReader
    from nosce.pipeline.items.terminal import print_item

    reader = ItemReader(results)
    items = reader.items(reader.find(name))
    if json_:
        print_json([item.to_json() for item in items])
        return
    console = Console()
    for number, item in enumerate(items):
        if number:
            console.rule()
        print_item(item, console)


@app.command()
def report(
    out_: Annotated[Path, typer.Option("--out", help="Folder of the site.")] = Path("report"),
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    readings: Annotated[
        bool, typer.Option("--readings", help="Write the readings behind each page too, for `nosce recompute`.")
    ] = False,
    store: opt.StoreOption = None,
) -> None:
    """Write the static site from the store.  Example: nosce report --out report --open"""
    from nosce.pipeline.site import write_site

    index = write_site(opt.open_store(store), out_, readings=readings)
    print_line(f"The report is {index}")
    if open_:
        typer.launch(index.as_uri())


@app.command()
def recompute(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A page's folder, or one that has such below it.")],
    json_: opt.JsonOption = False,
) -> None:
    """Judge published claims again from published readings, without a model.  Example: nosce recompute results"""
    from nosce.pipeline.recompute import find_pages, recompute_page

    pages = [recompute_page(page) for page in find_pages(folder)]
    if json_:
        print_json([asdict(page) for page in pages])
    for page in () if json_ else pages:
        counts = f"{page.claims} claims and {page.figures} figures from {page.readings:,} readings"
        print_line(f"{page.study}, {page.scale}: {counts}: {'different' if page.differences else 'equal'}.")
        for difference in page.differences:
            print_line(f"  {difference}")
    if any(page.differences for page in pages):
        raise typer.Exit(1)


@app.command()
def export(
    study: opt.StudyArgument,
    arm: Annotated[str, typer.Argument(help="Which arm's model.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is empty or not there.")],
    seed: Annotated[int | None, typer.Option(help="Which training seed; else the first.")] = None,
    stage: Annotated[str | None, typer.Option(help="pretrain or a later stage; else the last.")] = None,
    step: Annotated[int | None, typer.Option(help="Which checkpoint, by its steps; else the last.")] = None,
    scale: opt.LastScaleOption = None,
    model: opt.ModelOption = "",
    set_: opt.SetOption = None,
    as_: Annotated[
        Literal["hf", "dataset", "lm-eval", "inspect"],
        typer.Option("--as", help="A model; its texts and questions; or its questions as another tool's task."),
    ] = "hf",
    license_: Annotated[
        str, typer.Option("--license", help="Licence in the card, e.g. cc-by-4.0.", metavar="LICENSE")
    ] = "unknown",
    store: opt.StoreOption = None,
) -> None:
    """A checkpoint as a plain Hugging Face folder.  Example: nosce export biographies multi5+permute ./model"""
    from nosce.pipeline.export import export_checkpoint, find_study
    from nosce.pipeline.exports.target import find_target

    opened_store = opt.open_store(store)
    request = find_study(opened_store, study, scale, opt.variant_label(model, set_))
    target = find_target(opened_store, request, arm, seed, stage, step)
    print_line(export_checkpoint(target, folder, as_, license_))
