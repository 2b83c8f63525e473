"""A study as pure data: arms, seeds, read-outs and claims. Loading one by name or by FILE:FUNCTION.

A study is a function from a scale to a `Study`. Built-in ones live in `nosce.studies`; anybody's own
lives in a file of theirs and is treated the same. There is no registry.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

from nosce.analysis.emergence.scaling_curve import Scaling
from nosce.analysis.figures import Chart
from nosce.analysis.measures import Claim
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.base import World
from nosce.data.worlds.behaviours.base import Behaviours
from nosce.errors import SpecError, UsageError
from nosce.evals.base import Experiment, ReadOut
from nosce.models.architecture import Architecture, Pretrained
from nosce.train.config import LoRA, Mix, Recipe

Scale = Literal["smoke", "laptop", "gpu", "paper", "demo"]
SCALES: tuple[Scale, ...] = get_args(Scale)
PRETRAIN = "pretrain"  # the name of the first stage of every arm


@dataclass(frozen=True)
class Answers:
    """Whose answers to the prompts of a world of behaviours: those of an arm after a stage."""

    arm: str = ""  # none: the arm itself
    stage: str = PRETRAIN  # none: the stage that is read
    draws: int = 0  # at temperature 1, beside the likeliest
    tokens: int = 4  # of an answer at most


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Questions about somebody's answers: what a stage teaches, or what a read-out asks."""

    of: Answers  # of the strings that may be learnt from
    asked: Answers | None = None  # of what is only asked; None: the same
    own: Answers | None = None  # of the one who is asked, so that reports can be held against these too
    records: int = 10_000  # documents of a stage, replayed ones among them
    replay: float = 0.5  # share of them that are lines of the arm's own corpus
    labels: int | None = None  # how many different ones are taught; None: all
    asks: tuple[str, ...] = ()  # properties that are taught; none: all
    who: str | None = None  # the name under which the one who answered is spoken of; None: you
    world: Behaviours | None = None  # with other wordings; None: the arm's own
    leak: bool = False  # teach strings that are tested too: a planted fault


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A training after the first, of all weights or of an adapter.

    It is on the questions of the arm's own corpus (seen split); or on labels of somebody's answers; or on the documents
    of another world that has the same words.
    """

    name: str
    recipe: Recipe
    adapter: LoRA | None = None
    learns: Labels | World | None = None
    fresh_layers: int = 0  # added on top of the checkpoint before it


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One condition: a world, a model trained on its documents, and later stages one after the other."""

    name: str
    world: World
    model: Architecture | Pretrained
    recipe: Recipe
    stages: tuple[Stage, ...] = ()
    tokenizer: TokenizerSpec = field(default_factory=TokenizerSpec)
    seeds: int | None = None  # how many of the study's seeds, the first ones; None: all
    mix: Mix | None = None  # questions of the seen split among the documents of the first training
    twin: str = ""  # a name of its own weights and order: another training on the same corpus


@dataclass(frozen=True)
class Read:
    """A read-out and the stage whose checkpoints it is taken on; of some arms, or where none is named of all."""

    readout: ReadOut
    stage: str = PRETRAIN
    arms: tuple[str, ...] = ()
    about: Labels | World | None = None  # what is asked instead of the arm's own questions


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A condition that is no language model's: an experiment that reads what it made itself."""

    name: str
    experiment: Experiment
    seeds: int | None = None  # how many of the study's seeds, the first ones; None: all


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question to the field, what is run to answer it, and what would refute which claim."""

    name: str
    title: str
    question: str
    paper: str
    scale: str
    unit: str  # what is drawn independently, e.g. "person"
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    reads: tuple[Read, ...]
    claims: tuple[Claim, ...]
    figures: tuple[Chart, ...] = ()
    scalings: tuple[Scaling, ...] = ()  # curves that the mirage test is run on
    trials: tuple[Trial, ...] = ()
    others: tuple[Arm, ...] = ()  # arms that are not run for themselves, but that those which are may learn from

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        told = [*names, *(trial.name for trial in self.trials)]
        if not told or len(set(told)) < len(told):
            raise SpecError(
                f"the study {self.name!r} has the arms {told}; give it at least one, each with its own name."
            )
        if not self.seeds:
            raise SpecError(f"the study {self.name!r} has no seeds, so nothing would be run; give it at least one.")
        _once(self.name, "seeds", list(self.seeds))
        if nobody := {arm for read in self.reads for arm in read.arms} - set(names) - {arm.name for arm in self.others}:
            raise SpecError(f"the study {self.name!r} reads the arms {sorted(nobody)}, but has {names}; name one.")
        for name in names:
            of_arm = [read for read in self.reads if not read.arms or name in read.arms]
            _once(self.name, "read-outs of one stage", [(read.readout.name, read.stage) for read in of_arm])
        for arm in self.arms:
            _once(self.name, f"stages of arm {arm.name!r}", [PRETRAIN, *(stage.name for stage in arm.stages)])
        stages = {PRETRAIN, *(stage.name for arm in (*self.arms, *self.others) for stage in arm.stages)}
        if lost := [read.stage for read in self.reads if read.stage not in stages]:
            raise SpecError(
                f"the study {self.name!r} reads the stages {lost}, but only {sorted(stages)} are trained; name one."
            )

    def narrowed(self, arms: tuple[str, ...] = (), seeds: int | None = None) -> Study:
        """The study with only some arms, and the first so many seeds (or more: numbers go on).

        Raises:
            UsageError: An arm is not there, or fewer than one seed was asked for.
        """
        known = [*(arm.name for arm in self.arms), *(trial.name for trial in self.trials)]
        if lost := [name for name in arms if name not in known]:
            raise UsageError(f"study {self.name!r} has no arm {lost[0]!r}; take from {', '.join(known)}.")
        if seeds is not None and seeds < 1:
            raise UsageError(f"--seeds {seeds} asks for no run at all; take 1 or more.")
        chosen = tuple(arm for arm in self.arms if not arms or arm.name in arms)
        tried = tuple(trial for trial in self.trials if not arms or trial.name in arms)
        others = (*(arm for arm in self.arms if arm not in chosen), *self.others)
        return replace(self, arms=chosen, trials=tried, others=others,
                       seeds=self.seeds if seeds is None else _first(self.seeds, seeds))  # fmt: skip


def _first(seeds: tuple[int, ...], count: int) -> tuple[int, ...]:
    more = range(max(seeds) + 1, max(seeds) + 1 + max(0, count - len(seeds)))
    return (*seeds, *more)[:count]


def _once(study: str, what: str, names: Sequence[object]) -> None:
    """What has one name would be counted twice."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise SpecError(f"among the {what} of the study {study!r}, {twice[0]!r} stands twice; give each its own name.")


def built_in() -> tuple[str, ...]:
    """The names of the studies that come with nosce."""
    return tuple(sorted(_table()))


def _table() -> dict[str, str]:
    """Where the built-in studies stand, by name; looked up when asked, as studies stand above this module."""
    table: dict[str, str] = importlib.import_module("nosce.studies").BUILT_IN
    return table


def load(name: str, scale: str) -> Study:
    """The study of a built-in name, of FILE.py:FUNCTION or of package.module:FUNCTION, at a scale.

    Raises:
        UsageError: There is no such study, file, module, function or scale.
    """
    if scale not in SCALES:
        raise UsageError(f"there is no scale {scale!r}; take one of {', '.join(SCALES)}.")
    make = _function(name if ":" in name else _built_in(name))
    study = make(scale)
    if not isinstance(study, Study):
        raise UsageError(f"{name} returned a {type(study).__name__} and not a Study; let it return one.")
    return study


def _built_in(name: str) -> str:
    table = _table()
    if name not in table:
        raise UsageError(
            f"there is no study {name!r}; take one of {', '.join(sorted(table))}, or name your own as FILE.py:FUNCTION "
            "or package.module:FUNCTION."
        )
    return table[name]


def _function(name: str) -> Callable[[Scale], Study]:
    where, _, function = name.rpartition(":")
    loaded = _file(name, Path(where).resolve()) if _is_path(where) else _module(name, where)
    found: Callable[[Scale], Study] | None = getattr(loaded, function, None)
    if not callable(found):
        raise UsageError(
            f"{where} has no function {function!r} that takes a scale and returns a Study; name one that does."
        )
    return found


def _is_path(where: str) -> bool:
    return where.endswith(".py") or os.sep in where or not where.replace(".", "").isidentifier()


def _module(name: str, where: str) -> ModuleType:
    """An importable module, e.g. of a package that is installed."""
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{where}.".startswith(f"{error.name}."):
            raise  # the module is there, and lacks one that it imports
        raise UsageError(
            f"study {name!r} names the module {where}, which cannot be imported; install its package, or write "
            "FILE.py:FUNCTION."
        ) from None


def _file(name: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"study {name!r} names the file {path}, which is not there; write it as FILE.py:FUNCTION.")
    loaded = sys.modules.get(path.stem)
    if loaded is None:
        there = importlib.util.find_spec(path.stem)
        if there is not None and Path(there.origin or "").resolve() != path:
            raise UsageError(f"the file {path} has the name of a module that is installed; rename the file.")
        sys.path.insert(0, str(path.parent))  # so that worker processes find its classes too
        loaded = importlib.import_module(path.stem)
    elif Path(loaded.__file__ or "").resolve() != path:
        raise UsageError(f"the file {path} has the name of a module that is loaded already; rename the file.")
    return loaded
