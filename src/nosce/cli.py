"""The command line: parse, call one function, turn our errors into one sentence and an exit code.

0 done (whatever the verdicts), 1 a step failed, 2 the user's mistake, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.table import Table

import nosce
from nosce.errors import NosceError, SpecError, UsageError
from nosce.pipeline.command_lines import default_store_root
from nosce.pipeline.devices import DeviceRequest
from nosce.store.text import json_text, literal, printable

if TYPE_CHECKING:
    from nosce.analysis.emergence.audit import TableAudit
    from nosce.pipeline.plan import StudyRequest
    from nosce.pipeline.results import RunResults
    from nosce.store.store import Store

EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141  # of a process that SIGPIPE ends

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="What does a language model know, and does it know that it does?",
)


def _complete_study(incomplete: str) -> list[str]:
    from nosce.studies import BUILT_IN

    return [name for name in sorted(BUILT_IN) if name.startswith(incomplete)]


StudyArgument = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help="A built-in name, FILE.py:FUNCTION or package.module:FUNCTION.",
        autocompletion=_complete_study,
    ),
]
ScaleOption = Annotated[str, typer.Option(help="smoke, laptop, gpu or paper; some studies have demo too.")]
SeedsOption = Annotated[int | None, typer.Option(help="How many training seeds; else as the study says.")]
ArmsOption = Annotated[str, typer.Option(help="Only these arms, separated by commas.")]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="Start from a model: a folder or a hub id; several between commas, each with =SIZE if you like.",
        metavar="MODEL",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a field of the configuration; may be repeated.", metavar="KEY=VALUE"),
]
FactsOption = Annotated[
    str, typer.Option("--facts", help="Facts of your own: a table, one row an entity.", metavar="TABLE")
]
WordingsOption = Annotated[
    str, typer.Option("--wordings", help="Sentences for --facts, one a line; else generic ones.", metavar="FILE")
]
LastScaleOption = Annotated[str | None, typer.Option(help="Of the study; else the scale that was run last.")]
PlanSeedsOption = Annotated[int | None, typer.Option(help="Results of so many seeds; else of the most.")]
PlanArmsOption = Annotated[str, typer.Option(help="Results of exactly these arms; else of the most.")]
WorkersOption = Annotated[int | None, typer.Option(help="Steps made at once; else one a core, or one a GPU.")]
ThreadsOption = Annotated[
    int, typer.Option(help="Threads of one step; more than one for few large models.", min=1, max=1_024)
]
RayOption = Annotated[str | None, typer.Option(help="Address of a Ray cluster, or 'local'.", metavar="ADDRESS")]
DeviceOption = Annotated[str | None, typer.Option(help="cpu or cuda; else cuda where there is one.")]
PerGpuOption = Annotated[int, typer.Option("--per-gpu", help="Steps that share a GPU, for small models.")]
ProcessesOption = Annotated[
    int, typer.Option(help="Processes of one training, each on a GPU of its own, for models too large for one.")
]
GradientCheckpointingOption = Annotated[
    bool, typer.Option("--gradient-checkpointing", help="Train with less memory and a third more time.")
]
MaxCostOption = Annotated[
    float | None, typer.Option(help="Spend no more on endpoints, earlier commands included.", metavar="AMOUNT")
]
RerunStaleOption = Annotated[
    bool, typer.Option("--rerun-stale", help="Make stale steps again; the old ones are set aside.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan with its price and stop, as `nosce plan` does.")
]
StoreOption = Annotated[
    Path | None, typer.Option("--store", help="Where results are kept; else $NOSCE_STORE, else .nosce/.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]


def open_store(folder: Path | None) -> Store:
    """The store in a folder, in $NOSCE_STORE or in .nosce/: the first that is given."""
    from nosce.store.store import Store

    return Store.open(folder or default_store_root())


def print_line(text: str) -> None:
    """Print a line for people, without colour; the terminal wraps it."""
    Console().print(literal(text), soft_wrap=True, highlight=False)


def print_json(value: object) -> None:
    """Print machine-readable output."""
    sys.stdout.write(json_text(value) + "\n")


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


@app.command("list")
def list_(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="A built-in study: list its configuration by scale instead.")
    ] = None,
    store: StoreOption = None,
    json_: JsonOption = False,
) -> None:
    """Studies, their question, scales, and what the store holds.  Example: nosce list"""
    if study is not None:
        _print_config(study, json_=json_)
        return
    from nosce.studies.listing import list_studies, studies_table

    opened_store = open_store(store)
    rows = list_studies(opened_store)
    if json_:
        print_json([asdict(row) for row in rows])
        return
    console = Console()
    console.print(studies_table(rows, console.width))
    if any(row.held for row in rows):
        print_line(f"Finished scales and steps are those of {opened_store.root}.")


def _print_config(study: str, *, json_: bool) -> None:
    """What each scale of a built-in study trains and asks, side by side."""
    from nosce.studies.configs import config_rows, config_scales, config_table

    if json_:
        scales = config_scales(study)
        rows = [(row, dict(zip(scales, row.values, strict=True))) for row in config_rows(study)]
        print_json([{"field": row.field, "phrase": row.phrase, "values": values} for row, values in rows])
        return
    console = Console()
    console.print(config_table(study, console.width))


@app.command()
def run(
    study: StudyArgument,
    scale: ScaleOption = "laptop",
    seeds: SeedsOption = None,
    arms: ArmsOption = "",
    model: ModelOption = "",
    set_: SetOption = None,
    facts: FactsOption = "",
    wordings: WordingsOption = "",
    workers: WorkersOption = None,
    ray: RayOption = None,
    device: DeviceOption = None,
    per_gpu: PerGpuOption = 1,
    processes: ProcessesOption = 1,
    gradient_checkpointing: GradientCheckpointingOption = False,
    dry_run: DryRunOption = False,
    threads: ThreadsOption = 1,
    max_cost: MaxCostOption = None,
    rerun_stale: RerunStaleOption = False,
    store: StoreOption = None,
    json_: JsonOption = False,
) -> None:
    """Do what is not done yet, then print the claims.  Example: nosce run biographies --scale laptop"""
    from nosce.pipeline import run as running

    settings = _with_facts(set_, facts, wordings)
    request, opened_store = _study_request(study, scale, seeds, arms, model, settings), open_store(store)
    if dry_run:
        running.print_plan(request, opened_store, workers, json_=json_)
        return
    devices = _device_request(device, workers, per_gpu, processes, threads, gradient_checkpointing)
    exit_code = running.run_study(
        request, opened_store, devices=devices, ray=ray, rerun_stale=rerun_stale, max_cost=max_cost, json_=json_
    )
    raise typer.Exit(exit_code)


@app.command()
def plan(
    study: StudyArgument,
    scale: ScaleOption = "laptop",
    seeds: SeedsOption = None,
    arms: ArmsOption = "",
    model: ModelOption = "",
    set_: SetOption = None,
    facts: FactsOption = "",
    wordings: WordingsOption = "",
    workers: WorkersOption = None,
    store: StoreOption = None,
    json_: JsonOption = False,
) -> None:
    """What a run would do and cost: steps, tokens, FLOPs, disk, minutes.  Example: nosce plan biographies"""
    from nosce.pipeline.run import print_plan

    settings = _with_facts(set_, facts, wordings)
    print_plan(_study_request(study, scale, seeds, arms, model, settings), open_store(store), workers, json_=json_)


def _device_request(
    device: str | None, workers: int | None, per_gpu: int, processes: int, threads: int, gradient_checkpointing: bool
) -> DeviceRequest:
    return DeviceRequest(
        device=device,
        workers=workers,
        per_gpu=per_gpu,
        processes=processes,
        threads=threads,
        gradient_checkpointing=gradient_checkpointing,
    )


def _with_facts(settings: list[str] | None, facts: str, wordings: str) -> list[str]:
    """The settings with those that --facts and --wordings stand for."""
    if wordings and not facts:
        raise UsageError("--wordings belongs to a table of facts; give --facts TABLE as well.")
    given = {"facts": facts, "wordings": wordings}
    return [*(f"{key}={path}" for key, path in given.items() if path), *(settings or ())]


def _study_request(
    study: str,
    scale: str,
    seeds: int | None = None,
    arms: str = "",
    models: str = "",
    settings: Sequence[str] | None = None,
) -> StudyRequest:
    from nosce.pipeline.plan import StudyRequest

    return StudyRequest(
        study=study,
        scale=scale,
        n_seeds=seeds,
        arms=_split_names(arms),
        models=models,
        settings=tuple(settings or ()),
    )


def _split_names(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())


@app.command()
def show(
    study: StudyArgument,
    scale: LastScaleOption = None,
    seeds: PlanSeedsOption = None,
    arms: PlanArmsOption = "",
    model: ModelOption = "",
    set_: SetOption = None,
    store: StoreOption = None,
    json_: JsonOption = False,
) -> None:
    """Claims with paper value, estimate, interval, n and verdict.  Example: nosce show biographies --json"""
    opened_store = open_store(store)
    results = _load_results(opened_store, study, scale, seeds, arms, _variant_label(model, set_))
    if json_:
        print_json(results.to_json())
        return
    from nosce.pipeline.run import print_claims

    print_claims(results, Console())
    for newer in results.plan.newer_parts(opened_store)[:1]:
        print_line(f"Results of {newer.part} are newer: `{newer.show_command(opened_store)}` shows them.")


def _variant_label(models: str, settings: Sequence[str] | None) -> str | None:
    """What `--model` and `--set` ask for; None where neither was given."""
    from nosce.pipeline.plan import StudyRequest

    if not (models or settings):
        return None
    return StudyRequest(study="", scale="", models=models, settings=tuple(settings or ())).variant.label


def _load_results(
    store: Store, study: str, scale: str | None, seeds: int | None, arms: str, variant: str | None = None
) -> RunResults:
    """The results of the fullest plan of a study, or of the plan of these arms and so many seeds."""
    from nosce.pipeline.plan_record import PlanRecord
    from nosce.pipeline.results import RunResults

    plan = PlanRecord.find_finished(store, study, scale, arms=_split_names(arms), n_seeds=seeds, variant=variant)
    return RunResults.load(store, plan)


@app.command()
def report(
    out_: Annotated[Path, typer.Option("--out", help="Folder of the site.")] = Path("report"),
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    store: StoreOption = None,
) -> None:
    """Write the static site from the store.  Example: nosce report --out report --open"""
    from nosce.pipeline.site import write_site

    index = write_site(open_store(store), out_)
    print_line(f"The report is {index}")
    if open_:
        typer.launch(index.as_uri())


@app.command()
def explain(
    step: Annotated[str, typer.Argument(help="The beginning of a step's name or key.")],
    store: StoreOption = None,
    json_: JsonOption = False,
) -> None:
    """What a step's key is made of, and how its nearest neighbour differs.  Example: nosce explain training-3fa9"""
    from nosce.pipeline.explain import explain_step
    from nosce.store.spec import flatten_description

    explanation = explain_step(open_store(store), step)
    if json_:
        print_json(asdict(explanation))
        return
    console = Console()
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
def export(
    study: StudyArgument,
    arm: Annotated[str, typer.Argument(help="Which arm's model.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is empty or not there.")],
    seed: Annotated[int | None, typer.Option(help="Which training seed; else the first.")] = None,
    stage: Annotated[str | None, typer.Option(help="pretrain or a later stage; else the last.")] = None,
    step: Annotated[int | None, typer.Option(help="Which checkpoint, by its steps; else the last.")] = None,
    scale: LastScaleOption = None,
    model: ModelOption = "",
    set_: SetOption = None,
    store: StoreOption = None,
) -> None:
    """A checkpoint as a plain Hugging Face folder.  Example: nosce export biographies multi5+permute ./model"""
    from nosce.pipeline.export import export_checkpoint, find_study

    opened_store = open_store(store)
    step_record = export_checkpoint(
        opened_store,
        find_study(opened_store, study, scale, _variant_label(model, set_)),
        arm,
        seed,
        folder,
        stage=stage,
        checkpoint_step=step,
    )
    print_line(
        f"{step_record.name} is now in {folder}, for AutoModelForCausalLM.from_pretrained and "
        "AutoTokenizer.from_pretrained."
    )


@app.command()
def doctor(store: StoreOption = None, json_: JsonOption = False) -> None:
    """Versions, cores, precision, devices, disk, and what would be slow and why.  Example: nosce doctor"""
    from nosce.pipeline.doctor import check_machine

    checks = check_machine(open_store(store))
    if json_:
        print_json(checks)
        return
    table = Table("what", "found", "so")
    for row in checks:
        table.add_row(*(literal(str(row[key])) for key in ("what", "found", "so")))
    Console().print(table)


@app.command("audit")
def audit_command(
    tables: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[TABLE]...", help="Outcomes by size (.csv, .parquet, .jsonl), or BIG-bench results."),
    ] = None,
    study: Annotated[str | None, typer.Option(help="Instead: the curves of a study that was run.")] = None,
    scale: LastScaleOption = None,
    seeds: PlanSeedsOption = None,
    arms: PlanArmsOption = "",
    lower_is_better: Annotated[bool, typer.Option("--lower-is-better", help="Of the continuous score.")] = False,
    log_likelihood: Annotated[
        bool, typer.Option("--log-likelihood", help="The continuous score is one of the whole target.")
    ] = False,
    figure: Annotated[Path | None, typer.Option(help="Write the figure there, as SVG.")] = None,
    resamples: Annotated[int, typer.Option(help="Resamplings.")] = 2_000,
    store: StoreOption = None,
    json_: JsonOption = False,
) -> None:
    """Is a jump in the ability or in the metric?  Example: nosce audit outcomes.csv --log-likelihood"""
    if bool(tables) == (study is not None):
        raise UsageError("audit wants a TABLE or a --study, one of the two; name one.")
    if not tables:
        assert study is not None
        _print_audits(_load_results(open_store(store), study, scale, seeds, arms), json_=json_)
        return
    from nosce.analysis.emergence import audit as auditing

    if len(tables) == 1 and auditing.is_bigbench_results(tables[0]):
        scored = auditing.bigbench_results(tables[0])
        _print_parts(auditing.render_bigbench_results(scored), scored if json_ else None)
        return
    if figure is not None and len(tables) > 1:
        raise UsageError(f"--figure was asked for with {len(tables)} tables; name one of them.")
    audited_tables = auditing.audit_tables(
        tables, lower_is_better=lower_is_better, log_likelihood=log_likelihood, resamples=resamples
    )
    if figure is not None:
        _write_audit_figure(audited_tables[0], figure)
    entries = [audit.json_object for audit in audited_tables]
    contents = entries[0] if len(entries) == 1 else entries
    _print_parts(auditing.render_audits(audited_tables), contents if json_ else None)


def _write_audit_figure(audit: TableAudit, path: Path) -> None:
    from nosce.analysis.emergence.summary import mirage_figure
    from nosce.analysis.render.figure import figure_svg
    from nosce.store.files import write_atomically

    try:
        write_atomically(path, figure_svg(mirage_figure(audit.outcomes, audit.json_object, audit.name)))
    except OSError as error:
        raise UsageError(
            f"the figure cannot be written to {path} ({error.strerror or error}); name a file in an existing folder."
        ) from None


@app.command("power")
def power_command(
    sizes: Annotated[list[int] | None, typer.Option(help="How many sizes; may be given several times.")] = None,
    items: Annotated[list[int] | None, typer.Option(help="How many items.")] = None,
    seeds: Annotated[list[int] | None, typer.Option(help="How many training seeds.")] = None,
    simulations: Annotated[int, typer.Option(help="Planted worlds to try each design on.")] = 40,
    json_: JsonOption = False,
) -> None:
    """How much does it take to tell a jump of the metric from one that stays?  Example: nosce power --sizes 8"""
    from nosce.analysis.emergence import audit as auditing

    designs = list(auditing.power_by_design(sizes or [5, 8, 12], items or [100, 1_000], seeds or [1, 3], simulations))
    estimates = [power for both in designs for power in both]
    _print_parts([auditing.power_table(designs)], auditing.power_rows(estimates) if json_ else None)


def _print_parts(parts: Iterable[RenderableType], json_value: object) -> None:
    """Print JSON where there is some, else what people read."""
    if json_value is not None:
        print_json(json_value)
        return
    for part in parts:
        print_line(part) if isinstance(part, str) else Console().print(part)


def _print_audits(results: RunResults, *, json_: bool) -> None:
    """Print the mirage test of each scaling curve of a study."""
    audits = results.audits
    if json_:
        print_json([audit.numbers for audit in audits])
        return
    if results.part_notice:
        print_line(results.part_notice)
    for audit in audits:
        print_line(f"{audit.title} {audit.verdict or 'not audited'}: {audit.why}. {audit.meaning}".strip())
    if not audits:
        print_line(f"{results.plan.study} not audited: the study names no curve that could be audited.")


def _raise_interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """The entry point: one sentence for our errors, a traceback for everything else."""
    signal.signal(signal.SIGTERM, _raise_interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a letter that the terminal's encoding lacks is spelled out
            stream.reconfigure(errors="backslashreplace")
    code = _exit_code_of(lambda: app(standalone_mode=False))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _close_broken_pipe()
    sys.exit(code)


def _close_broken_pipe() -> int:
    """Nobody reads on, e.g. in `nosce list --json | head`: what is left is dropped without a word."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_BROKEN_PIPE


def _exit_code_of(call: Callable[[], object]) -> int:
    started = time.monotonic()
    try:
        code = call()
        if code == EXIT_INTERRUPTED:  # what typer makes of a KeyboardInterrupt
            _print_error(_interrupt_message(started))
        return code if isinstance(code, int) else 0
    except NosceError as error:
        _print_error(str(error))
        return 2 if isinstance(error, UsageError | SpecError) else error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        _print_error(_interrupt_message(started))
        return EXIT_INTERRUPTED
    except typer.Exit as exit_:
        return exit_.exit_code
    except BrokenPipeError:
        return _close_broken_pipe()
    except OSError as error:  # e.g. a path longer than the system allows, wherever it was looked at
        where = f"{error.filename}: " if error.filename else ""
        _print_error(f"the system refused {where}{error.strerror or error}; look at the path and the disk.")
        return 1
    except Exception as error:
        if _is_usage_error(error):
            error.message = printable(error.message)  # type: ignore[attr-defined]
            error.show()  # type: ignore[attr-defined]  # of click
            return 2
        raise


def _interrupt_message(started: float) -> str:
    return f"interrupted after {time.monotonic() - started:.0f} s."


def _is_usage_error(error: Exception) -> bool:
    """Is the error click's own complaint about options?  Typer brings a copy of click whose classes are private."""
    return hasattr(error, "show") and hasattr(error, "exit_code")


def _print_error(sentence: str) -> None:
    line = " ".join(f"nosce: {sentence}".splitlines())
    Console(stderr=True).print(literal(line), soft_wrap=True, highlight=False)
