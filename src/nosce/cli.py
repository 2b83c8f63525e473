"""The command line: parse, call one function, turn our errors into one sentence and an exit code.

0 done (whatever the verdicts), 1 a step failed, 2 the user's mistake, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nosce.errors import NosceError, SpecError, UsageError
from nosce.pipeline.results import Request
from nosce.store.store import Store

INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="What does a language model know, and does it know that it does?",
)

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A built-in study, or FILE.py:FUNCTION of your own.")]
Scale = Annotated[str, typer.Option(help="smoke, laptop, gpu or paper; some studies have demo too.")]
StoreAt = Annotated[
    Path | None, typer.Option("--store", help="Where results are kept; else $NOSCE_STORE, else .nosce/.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]


def store_at(folder: Path | None) -> Store:
    """The store that the user means."""
    return Store.at(folder or os.environ.get("NOSCE_STORE") or ".nosce")


def out(text: str) -> None:
    """Print a line for people, to be wrapped by their terminal and coloured by nobody."""
    Console().print(escape(text), soft_wrap=True, highlight=False)


def as_json(thing: Any) -> None:
    """Print machine-readable output."""
    sys.stdout.write(json.dumps(thing, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n")


@app.command("list")
def list_(store: StoreAt = None, json_: AsJson = False) -> None:
    """Studies, their question, scales, and what the store holds.  Example: nosce list"""
    from nosce.pipeline.results import plans
    from nosce.study import SCALES, built_in, load

    place = store_at(store)
    known = plans(place)
    rows = []
    for name in built_in():
        scales, study = [], None
        for scale in SCALES:
            try:
                study = load(name, scale)
            except UsageError:
                continue
            scales.append(scale)
        assert study is not None
        held = [
            f"{p['scale']}{'' if place.has(p['estimates']) else ' (unfinished)'}" for p in known if p["study"] == name
        ]
        rows.append({"study": name, "question": study.question, "paper": study.paper, "scales": scales, "held": held})
    if json_:
        as_json(rows)
        return
    table = Table("study", "question", "paper", "scales", f"in {place.root}")
    for row in rows:
        table.add_row(*(escape(", ".join(v) if isinstance(v, list) else str(v)) or "-" for v in row.values()))
    Console().print(table)


@app.command()
def run(
    study: StudyName,
    scale: Scale = "laptop",
    seeds: Annotated[int | None, typer.Option(help="How many training seeds; else as the study says.")] = None,
    arms: Annotated[str, typer.Option(help="Only these arms, separated by commas.")] = "",
    workers: Annotated[int | None, typer.Option(help="Steps made at once; else one a core.")] = None,
    ray: Annotated[str | None, typer.Option(help="Address of a Ray cluster, or 'local'.", metavar="ADDRESS")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; else cuda where there is one.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan with its price and stop.")] = False,
    threads: Annotated[int, typer.Option(help="Threads of one step; more than one for few large models.", min=1)] = 1,
    max_cost: Annotated[
        float | None, typer.Option(help="Spend no more on endpoints, a step.", metavar="AMOUNT")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Make stale steps again; the old ones are set aside.")] = False,
    store: StoreAt = None,
    json_: AsJson = False,
) -> None:
    """Do what is not done yet, then print the claims.  Example: nosce run biographies --scale laptop"""
    from nosce.pipeline import run as running

    request = Request(
        study=study, scale=scale, seeds=seeds, arms=tuple(a.strip() for a in arms.split(",") if a.strip())
    )
    place = store_at(store)
    if dry_run:
        running.dry(request, place, workers, json_=json_)
        return
    code = running.run(
        request, place, workers=workers, ray=ray, device=device, fresh=fresh, max_cost=max_cost, threads=threads,
        json_=json_,
    )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def show(
    study: StudyName,
    scale: Annotated[str | None, typer.Option(help="Else the scale that was finished last.")] = None,
    store: StoreAt = None,
    json_: AsJson = False,
) -> None:
    """Claims with paper value, estimate, interval, n and verdict.  Example: nosce show biographies --json"""
    from nosce.pipeline.results import remembered, shown
    from nosce.pipeline.run import print_claims

    place = store_at(store)
    plan = remembered(place, study, scale)
    if json_:
        as_json(shown(place, plan))
    else:
        print_claims(place, plan, Console())


@app.command()
def report(
    out_: Annotated[Path, typer.Option("--out", help="Folder of the site.")] = Path("report"),
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    store: StoreAt = None,
) -> None:
    """Write the static site from the store.  Example: nosce report --out report --open"""
    from nosce.pipeline.site import write

    index = write(store_at(store), out_)
    out(f"The report is {index}")
    if open_:
        typer.launch(index.as_uri())


@app.command()
def explain(
    step: Annotated[str, typer.Argument(help="The beginning of a step's name or key.")],
    store: StoreAt = None,
    json_: AsJson = False,
) -> None:
    """What a step's key is made of, and how its nearest neighbour differs.  Example: nosce explain training-3fa9"""
    from dataclasses import asdict

    from nosce.pipeline.results import explain as explained
    from nosce.store.spec import leaves

    found = explained(store_at(store), step)
    if json_:
        as_json(asdict(found))
        return
    console = Console()
    out(f"{found.name} ({found.state}) is named by the hash of:")
    made_of = Table("part", "value")
    for path, value in leaves(found.description).items():
        made_of.add_row(escape(path), escape(json.dumps(value, ensure_ascii=False)))
    console.print(made_of)
    if found.neighbour is None:
        out("No other step of its kind is in the store.")
        return
    out(f"Nearest in the store is {found.neighbour}, which differs in:")
    different = Table("part", "here", "there")
    for path, here, there in found.different:
        different.add_row(escape(path), escape(json.dumps(here)), escape(json.dumps(there)))
    console.print(different)


@app.command()
def export(
    study: StudyName,
    arm: Annotated[str, typer.Argument(help="Which arm's model.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is empty or not there.")],
    seed: Annotated[int | None, typer.Option(help="Which training seed; else the first.")] = None,
    scale: Scale = "laptop",
    store: StoreAt = None,
) -> None:
    """A checkpoint as a plain Hugging Face folder.  Example: nosce export biographies multi5+permute ./model"""
    from nosce.pipeline.results import export as exported

    made = exported(store_at(store), Request(study=study, scale=scale), arm, seed, folder)
    out(f"{made.name} is now in {folder}, for AutoModelForCausalLM.from_pretrained and AutoTokenizer.from_pretrained.")


@app.command()
def doctor(store: StoreAt = None, json_: AsJson = False) -> None:
    """Versions, cores, precision, devices, disk, and what would be slow and why.  Example: nosce doctor"""
    from nosce.pipeline.doctor import examine

    found = examine(store_at(store))
    if json_:
        as_json(found)
        return
    table = Table("what", "found", "so")
    for row in found:
        table.add_row(*(escape(str(row[key])) for key in ("what", "found", "so")))
    Console().print(table)


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """The entry point: one sentence for our errors, a traceback for everything else."""
    signal.signal(signal.SIGTERM, _interrupted)
    code = _guarded(lambda: app(standalone_mode=False))
    sys.stdout.flush()
    sys.exit(code)


@app.command()
def audit(
    tables: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[TABLE]...", help="Outcomes by size (.csv, .parquet, .jsonl), or BIG-bench results."),
    ] = None,
    study: Annotated[str | None, typer.Option(help="Instead: the curves of a study that was run.")] = None,
    scale: Annotated[str | None, typer.Option(help="Of the study; else the one finished last.")] = None,
    lower_is_better: Annotated[bool, typer.Option("--lower-is-better", help="Of the continuous score.")] = False,
    log_likelihood: Annotated[
        bool, typer.Option("--log-likelihood", help="The continuous score is one of the whole target.")
    ] = False,
    figure: Annotated[Path | None, typer.Option(help="Write the figure there, as SVG.")] = None,
    draws: Annotated[int, typer.Option(help="Resamplings.")] = 2_000,
    store: StoreAt = None,
    json_: AsJson = False,
) -> None:
    """Is a jump in the ability or in the metric?  Example: nosce audit outcomes.csv --log-likelihood"""
    if bool(tables) == (study is not None):
        raise UsageError("audit wants a TABLE or a --study, one of the two; name one.")
    if not tables:
        assert study is not None
        _audits(store_at(store), study, scale, json_=json_)
        return
    from nosce.analysis.emergence import audit as auditing

    if len(tables) == 1 and auditing.is_results(tables[0]):
        scored = auditing.results(tables[0])
        _told(auditing.results_shown(scored), scored if json_ else None)
        return
    if figure is not None and len(tables) > 1:
        raise UsageError(f"--figure was asked for with {len(tables)} tables; name one of them.")
    found = auditing.tables(tables, lower_is_better=lower_is_better, log_likelihood=log_likelihood, draws=draws)
    if figure is not None:
        from nosce.analysis.emergence import summary as words
        from nosce.analysis.render.figure import draw
        from nosce.store.files import write_atomically

        one = found[0]
        write_atomically(figure, draw(words.figure(one.scores, one.json, one.name)))
    told = found[0].json if len(found) == 1 else [one.json for one in found]
    _told(auditing.shown(found), told if json_ else None)


@app.command()
def design(
    sizes: Annotated[list[int] | None, typer.Option(help="How many sizes; may be given several times.")] = None,
    items: Annotated[list[int] | None, typer.Option(help="How many items.")] = None,
    seeds: Annotated[list[int] | None, typer.Option(help="How many training seeds.")] = None,
    worlds: Annotated[int, typer.Option(help="Planted worlds to try each design on.")] = 40,
    json_: AsJson = False,
) -> None:
    """How much does it take to tell a jump of the metric from one that stays?  Example: nosce design --sizes 8"""
    from nosce.analysis.emergence import audit as auditing

    found = list(auditing.tried(sizes or [5, 8, 12], items or [100, 1_000], seeds or [1, 3], worlds))
    flat = [power for both in found for power in both]
    _told([auditing.design_table(found)], auditing.as_rows(flat) if json_ else None)


def _told(parts: Iterable[Any], machine: Any) -> None:
    """Print JSON where there is some, else what people read."""
    if machine is not None:
        as_json(machine)
        return
    for part in parts:
        out(part) if isinstance(part, str) else Console().print(part)


def _audits(place: Store, study: str, scale: str | None, *, json_: bool) -> None:
    """What the mirage test said of a study's curves."""
    from nosce.pipeline.results import audits, remembered

    found = audits(place, remembered(place, study, scale))
    if json_:
        as_json(found)
        return
    for one in found or [{"title": study, "verdict": None, "why": "the study names no curve that could be audited"}]:
        out(f"{one['title']} {one['verdict'] or 'not audited'}: {one['why']}. {one.get('meaning', '')}".strip())


def _guarded(call: Callable[[], Any]) -> int:
    started = time.monotonic()
    try:
        code = call()
        if code == INTERRUPTED:  # what typer makes of a KeyboardInterrupt
            _say(_go_on(started))
        return code if isinstance(code, int) else 0
    except NosceError as error:
        _say(str(error))
        return 2 if isinstance(error, UsageError | SpecError) else error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        _say(_go_on(started))
        return INTERRUPTED
    except typer.Exit as exit_:
        return exit_.exit_code
    except Exception as error:
        if _is_usage(error):
            error.show()  # type: ignore[attr-defined]
            return 2
        raise


def _go_on(started: float) -> str:
    return f"interrupted after {time.monotonic() - started:.0f} s; the same command goes on where this one stopped."


def _is_usage(error: Exception) -> bool:
    """Is it the command line library's own complaint about options?"""
    return hasattr(error, "show") and hasattr(error, "exit_code")


def _say(sentence: str) -> None:
    Console(stderr=True).print(escape(f"nosce: {sentence}"), soft_wrap=True, highlight=False)
