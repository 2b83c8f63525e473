"""Options of the command line, each declared once, and groups of them that several commands take."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_type_hints

import typer

from nosce.errors import UsageError
from nosce.pipeline.command_lines import default_store_root
from nosce.pipeline.devices import DeviceRequest

if TYPE_CHECKING:
    from nosce.pipeline.plan import StudyRequest
    from nosce.pipeline.results import RunResults
    from nosce.pipeline.until_decided import LookRequest
    from nosce.store.store import Store


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
SeedsOption = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        help="How many training seeds, e.g. 5, or which, e.g. 10-14; else as the study says.",
        metavar="SEEDS",
    ),
]
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
LastScaleOption = Annotated[str | None, typer.Option(help="Of the study; else the scale that was run last.")]
PlanSeedsOption = Annotated[
    str | None,
    typer.Option(
        "--seeds", help="Results of so many seeds, or of these, e.g. 10-14; else of the most.", metavar="SEEDS"
    ),
]
PlanArmsOption = Annotated[str, typer.Option(help="Results of exactly these arms; else of the most.")]
ItemOption = Annotated[
    str,
    typer.Option(
        "--item",
        help="Look at one item instead: ENTITY, ENTITY@SEED, random, or wrong for one that was answered wrongly.",
        metavar="ITEM",
    ),
]
WorkersOption = Annotated[int | None, typer.Option(help="Steps made at once; else one a core, or one a GPU.")]
ThreadsOption = Annotated[
    int, typer.Option(help="Threads of one step; more than one for few large models.", min=1, max=1_024)
]
LoraOption = Annotated[
    int | None, typer.Option(help="With --model: train a low-rank update of this rank instead of all weights.", min=0)
]
ChatOption = Annotated[bool, typer.Option("--chat", help="With --model: ask through the model's chat template.")]
ReplayOption = Annotated[
    Path | None,
    typer.Option(help="Mix general text of this folder into the training, in studies that take it."),
]
FactsOption = Annotated[
    str, typer.Option("--facts", help="Facts of your own: a table, one row an entity.", metavar="TABLE")
]
WordingsOption = Annotated[
    str, typer.Option("--wordings", help="Sentences for --facts, one a line; else generic ones.", metavar="FILE")
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        "--budget",
        help="With --model: take the largest size that fits, e.g. 90s, 20m or 2h. With --until-decided: of all steps.",
        metavar="TIME",
    ),
]
UntilDecidedOption = Annotated[
    bool, typer.Option("--until-decided", help="Run 3 seeds, then 5, 8 and 12 of what open claims read.")
]
MaxSeedsOption = Annotated[
    int | None, typer.Option(help="With --until-decided: the last look, 3, 5, 8 or 12 seeds; else 12.")
]
RayOption = Annotated[
    str | None, typer.Option("--ray", help="Address of a Ray cluster, or 'local'.", metavar="ADDRESS")
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu or cuda; else cuda where there is one.")]
PerGpuOption = Annotated[int, typer.Option("--per-gpu", help="Steps that share a GPU, for small models.")]
ProcessesOption = Annotated[
    int, typer.Option(help="Processes of one training, each on a GPU of its own, for models too slow on one.")
]
ShardOption = Annotated[
    bool, typer.Option("--shard", help="Split a model over the processes of its training, if no GPU holds it.")
]
GradientCheckpointingOption = Annotated[
    bool, typer.Option("--gradient-checkpointing", help="Train with less memory and a third more time.")
]
MaxCostOption = Annotated[
    float | None,
    typer.Option("--max-cost", help="Spend no more on endpoints, earlier commands included.", metavar="AMOUNT"),
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


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Which study is run: its name, scale, models and settings, and which part of it."""

    study: StudyArgument
    scale: ScaleOption = "laptop"
    seeds: SeedsOption = None
    arms: ArmsOption = ""
    model: ModelOption = ""
    set_: SetOption = None
    lora: LoraOption = None
    chat: ChatOption = False
    replay: ReplayOption = None
    facts: FactsOption = ""
    wordings: WordingsOption = ""
    budget: BudgetOption = None

    @property
    def settings(self) -> tuple[str, ...]:
        """What `--set` and the short options for common fields change of the configuration."""
        if self.wordings and not self.facts:
            raise UsageError("--wordings belongs to a table of facts; give --facts TABLE as well.")
        own_facts = {"facts": self.facts, "wordings": self.wordings}
        settings = [*(f"{key}={path}" for key, path in own_facts.items() if path), *(self.set_ or ())]
        settings += [] if self.lora is None else [f"lora={self.lora}"]
        settings += ["chat=yes"] if self.chat else []
        settings += [] if self.replay is None else [f"replay={self.replay}"]
        return tuple(settings)

    def request(self, workers: int | None = None) -> StudyRequest:
        """What a plan is built from; a budget is measured out for so many steps at once."""
        from nosce.pipeline.plan import StudyRequest
        from nosce.pipeline.seed_choice import parse_seeds

        n_seeds, seeds = parse_seeds(self.seeds)
        request = StudyRequest(
            study=self.study,
            scale=self.scale,
            n_seeds=n_seeds,
            seeds=seeds,
            arms=split_names(self.arms),
            models=self.model,
            settings=self.settings,
        )
        if self.budget is None:
            return request
        from nosce.pipeline.budget import fit_budget

        return fit_budget(request, self.budget, workers)


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """On what the steps of a study are made."""

    workers: WorkersOption = None
    device: DeviceOption = None
    per_gpu: PerGpuOption = 1
    processes: ProcessesOption = 1
    shard: ShardOption = False
    gradient_checkpointing: GradientCheckpointingOption = False
    threads: ThreadsOption = 1

    def request(self) -> DeviceRequest:
        """What a pool of workers is made from."""
        return DeviceRequest(
            device=self.device,
            workers=self.workers,
            per_gpu=self.per_gpu,
            processes=self.processes,
            shard=self.shard,
            threads=self.threads,
            gradient_checkpointing=self.gradient_checkpointing,
        )


@dataclass(frozen=True, kw_only=True)
class LookOptions:
    """Whether seeds are run until claims are decided."""

    until_decided: UntilDecidedOption = False
    max_seeds: MaxSeedsOption = None

    def check(self, *, dry_run: bool) -> None:
        """Refuse options that mean nothing together.

        Raises:
            UsageError: They do not.
        """
        if self.max_seeds is not None and not self.until_decided:
            raise UsageError("--max-seeds belongs to --until-decided; give both, or --seeds alone.")
        if dry_run and self.until_decided:
            raise UsageError(
                "--dry-run prices one plan, and --until-decided makes the next from what it found; price the first "
                "look with `nosce plan STUDY --seeds 3`."
            )

    def request(self, study: StudyOptions) -> LookRequest:
        """What looks are planned from; the budget is the time of all their steps."""
        from nosce.analysis.looks import LOOKS
        from nosce.pipeline.until_decided import LookRequest

        plain = replace(study, budget=None).request()
        return LookRequest(**vars(plain), max_seeds=self.max_seeds or LOOKS[-1], budget=study.budget or "")


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters of a dataclass of options are options of the command line, one for each field."""
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint) and isinstance(hint, type)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        single = parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        parameters += _group_parameters(groups[name]) if name in groups else [single]

    @functools.wraps(command)
    def call(**values: object) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del call.__wrapped__  # typer would look through it
    return call


def _group_parameters(group: type) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        kind = inspect.Parameter.KEYWORD_ONLY
        yield inspect.Parameter(field.name, kind, default=default, annotation=hints[field.name])


def open_store(folder: Path | None) -> Store:
    """The store in a folder, in $NOSCE_STORE or in .nosce/: the first that is given."""
    from nosce.store.store import Store

    return Store.open(folder or default_store_root())


def split_names(names: str) -> tuple[str, ...]:
    """The names of an option that takes several, separated by commas."""
    return tuple(name.strip() for name in names.split(",") if name.strip())


def variant_label(models: str, settings: Sequence[str] | None) -> str | None:
    """What `--model` and `--set` ask for; None where neither was given."""
    from nosce.pipeline.plan import StudyRequest

    if not (models or settings):
        return None
    return StudyRequest(study="", scale="", models=models, settings=tuple(settings or ())).variant.label


def load_results(
    store: Store, study: str, scale: str | None, seeds: str | None, arms: str, variant: str | None = None
) -> RunResults:
    """The results of the fullest plan of a study, or of the plan of these arms and so many seeds, or of these."""
    from nosce.pipeline.plan_record import PlanRecord
    from nosce.pipeline.results import RunResults
    from nosce.pipeline.seed_choice import parse_seeds

    n_seeds, chosen = parse_seeds(seeds)
    plan = PlanRecord.find_finished(
        store, study, scale, arms=split_names(arms), n_seeds=n_seeds, seeds=chosen, variant=variant
    )
    return RunResults.load(store, plan)
