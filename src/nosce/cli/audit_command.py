"""`nosce audit`: tables, logs of evaluation tools and stores, and the answer in five lines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nosce.cli import options as opt
from nosce.cli.app import app
from nosce.cli.output import print_json, print_line, print_notice, print_parts
from nosce.errors import UsageError

if TYPE_CHECKING:
    from nosce.analysis.emergence.audit import TableAudit
    from nosce.analysis.emergence.readers.base import ColumnChoice
    from nosce.pipeline.results import RunResults


@dataclass(frozen=True, kw_only=True)
class ColumnOptions:
    """Which columns of a table are what, where the headers do not say it."""

    size: Annotated[
        list[str] | None, typer.Option(help="Column of the size, or MODEL=SIZE for logs; may be repeated.")
    ] = None
    sharp: Annotated[str | None, typer.Option(help="Column or metric of the sharp score, 0 to 1.")] = None
    continuous: Annotated[
        str | None, typer.Option(help="Column or metric of the continuous score of the same answers, or none.")
    ] = None
    item: Annotated[str | None, typer.Option(help="Column that names the item.")] = None
    seed: Annotated[str | None, typer.Option(help="Column that names the training seed.")] = None
    n: Annotated[str | None, typer.Option("--n", help="Number of items of an aggregate, or its column.")] = None
    chance: Annotated[str | None, typer.Option(help="Score of guessing, e.g. 0.25, or its column.")] = None
    task: Annotated[str | None, typer.Option(help="Only this task.")] = None
    percent: Annotated[bool, typer.Option("--percent", help="The sharp score is in percent.")] = False
    decimal: Annotated[str | None, typer.Option(help="Sign before decimals: comma or point.")] = None
    lower_is_better: Annotated[bool, typer.Option("--lower-is-better", help="Of the continuous score.")] = False
    log_likelihood: Annotated[
        bool, typer.Option("--log-likelihood", help="The continuous score is one of the whole target.")
    ] = False

    def choice(self) -> ColumnChoice:
        """What the readers are told."""
        from nosce.analysis.emergence.readers.base import ColumnChoice

        columns = [words for words in self.size or () if "=" not in words]
        if len(columns) > 1:
            raise UsageError(f"--size names {len(columns)} columns, {' and '.join(columns[:3])}; name one.")
        return ColumnChoice(
            size=columns[0] if columns else None,
            sharp=self.sharp,
            continuous=self.continuous,
            item=self.item,
            seed=self.seed,
            n=self.n,
            chance=self.chance,
            task=self.task,
            model_sizes=dict(_model_size(words) for words in self.size or () if "=" in words),
            percent=self.percent,
            decimal=_decimal(self.decimal),
            log_likelihood=self.log_likelihood,
            lower_is_better=self.lower_is_better,
        )


def _decimal(word: str | None) -> Literal["comma", "point"] | None:
    match word:
        case None | "comma" | "point":
            return word
        case _:
            raise UsageError(f"--decimal {word} is neither comma nor point; take one of these.")


def _model_size(words: str) -> tuple[str, float]:
    from nosce.analysis.emergence.readers.numbers import parse_number

    model, _, text = words.rpartition("=")
    size = parse_number(text)
    if not model or size is None or not size > 0:
        raise UsageError(f"--size {words} gives a model no size; write it as --size gpt2=124M.")
    return model, size


@app.command("audit")
@opt.with_option_groups
def audit_command(
    tables: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[TABLE]...",
            help="Scores by size: .csv, .tsv, .parquet, .jsonl, .json, .xlsx; logs or a folder of lm-eval, inspect_ai, "
            "HELM, BIG-bench or lighteval; a store.",
        ),
    ] = None,
    *,
    columns: ColumnOptions,
    study: Annotated[str | None, typer.Option(help="Instead: the curves of a study that was run.")] = None,
    scale: opt.LastScaleOption = None,
    seeds: opt.PlanSeedsOption = None,
    arms: opt.PlanArmsOption = "",
    figure: Annotated[Path | None, typer.Option(help="Write the figure there, as .svg or .png.")] = None,
    no_figure: Annotated[bool, typer.Option("--no-figure", help="Write none beside the table.")] = False,
    resamples: Annotated[int, typer.Option(help="Resamplings.")] = 2_000,
    verbose: Annotated[bool, typer.Option("--verbose", help="Everything that was found.")] = False,
    store: opt.StoreOption = None,
    json_: opt.JsonOption = False,
) -> None:
    """Is a jump in the ability or in the metric?  Example: nosce audit scores.csv"""
    if bool(tables) == (study is not None):
        raise UsageError("audit wants a TABLE or a --study, one of the two; name one.")
    if not tables:
        assert study is not None
        _print_studies([opt.load_results(opt.open_store(store), study, scale, seeds, arms)], json_=json_)
        return
    if len(tables) == 1 and _is_store(tables[0]):
        _print_studies(_results_of_store(tables[0]), json_=json_)
        return
    _audit(tables, columns.choice(), figure, resamples, no_figure=no_figure, verbose=verbose, json_=json_)


def _audit(
    tables: Sequence[Path],
    choice: ColumnChoice,
    figure: Path | None,
    resamples: int,
    *,
    no_figure: bool,
    verbose: bool,
    json_: bool,
) -> None:
    from nosce.analysis.emergence import audit as auditing
    from nosce.analysis.emergence.readers.find import is_bigbench_results

    if choice.n is None and len(tables) == 1 and is_bigbench_results(tables[0]):
        scored = auditing.bigbench_results(tables[0])
        print_parts(auditing.render_bigbench_results(scored), scored if json_ else None)
        return
    audits = auditing.audit_tables(tables, choice, resamples=resamples)
    written = None if no_figure else _write_figure(audits, tables[0], figure, wanted=figure is not None or not json_)
    if json_:
        entries = [audit.json_object for audit in audits]
        contents = entries[0] | {"figure": written} if len(entries) == 1 else entries
        print_json(contents)
        return
    for sentence in auditing.reading_notices(audits):
        print_notice(sentence)
    print_parts(auditing.render_answers(audits), None)
    if written is not None:
        print_line(f"Figure: {written}")
    if verbose:
        print_parts(auditing.render_details(audits), None)


def _write_figure(audits: Sequence[TableAudit], table: Path, figure: Path | None, *, wanted: bool) -> str | None:
    """The path of the written figure; None where none is wanted or, beside the table, none can be written."""
    from nosce.analysis.emergence.audit import audit_figure
    from nosce.analysis.emergence.figure_file import write_beside, write_figure

    if not wanted:
        return None
    if figure is not None:
        return str(write_figure(audit_figure(audits), figure))
    try:
        return str(write_beside(audit_figure(audits), table))
    except OSError as error:
        return f"none, since none can be written beside the table ({error.strerror or error}); give --figure."


def _is_store(folder: Path) -> bool:
    """Whether a folder is a store of results of nosce."""
    return folder.is_dir() and all(os.path.isdir(folder / name) for name in ("steps", "plans"))


def _results_of_store(folder: Path) -> list[RunResults]:
    """The results of every study in a store that has curves."""
    from nosce.pipeline.plan_record import PlanRecord
    from nosce.pipeline.results import RunResults

    store = opt.open_store(folder)
    results = [RunResults.load(store, plan) for plan in PlanRecord.load_finished(store)]
    audited = [one for one in results if one.audits]
    if not audited:
        raise UsageError(f"the store {folder} has no finished study with a curve to audit; run one.")
    return audited


def _print_studies(studies: Sequence[RunResults], *, json_: bool) -> None:
    """Print the mirage test of each scaling curve of studies."""
    if json_:
        entries = [{"study": one.plan.study, **audit.numbers} for one in studies for audit in one.audits]
        single = [dict(audit.numbers) for audit in studies[0].audits]
        print_json(single if len(studies) == 1 else entries)
        return
    for results in studies:
        if results.part_notice:
            print_line(results.part_notice)
        named = f"{results.plan.study}: " if len(studies) > 1 else ""
        for audit in results.audits:
            print_line(f"{named}{audit.title} {audit.verdict or 'not audited'}: {audit.why}. {audit.meaning}".strip())
        if not results.audits:
            print_line(f"{results.plan.study} not audited: the study names no curve that could be audited.")
