"""The arms of the study introspection: models with dispositions, and predictors of whose answers.

Source: the design of the sheet for arXiv:2410.13787, section 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from nosce.data.worlds.behaviours.dispositions import ATTRIBUTES, FIRST, Dispositions
from nosce.evals.patching.answer import Swapped
from nosce.evals.probing.echoes import Echoes
from nosce.evals.qa import Questions
from nosce.evals.self_report import Reports, Unanswered
from nosce.evals.text_baselines import Observers
from nosce.models.architecture import Architecture
from nosce.seeds import Seed
from nosce.study import Answers, Arm, Labels, Read, Stage
from nosce.train.config import LoRA, Recipe

REPORT, CHANGE = "report", "change"  # stages
A, B, SIBLING, HALF, BLANK = "A", "B", "A'", "C", "N"
#: Who may predict A: itself, the same corpus trained anew, one that is half alike, another, one without dispositions.
LADDER = (A, SIBLING, HALF, B, BLANK)
TARGETS = (A, B)
ON_TARGET, ON_BASE, ALOUD, CHANGED, CONTROL = "reports", "on base", "aloud", "changed", "control"
TAUGHT = ("table", "rule", "choice", "shared")
TABLE, CHOICE, SHARED, HELD_OUT = ("table",), ("choice",), ("shared",), ("noise", "list")
ASKED = (*ATTRIBUTES, FIRST)
DEEPER = "2 layers more"
FILLERS, NO_SLOT, LORA, LEAK, ONE_LESS = DOSES = ("fillers", "no slot", "LoRA", "leak", "one left out")
LEFT_OUT = "second"  # the property that is not taught where one is left out
DRAWS = 20


def on(predictor: str, target: str, dose: str = "") -> str:
    """The name of the arm that was taught about somebody's answers."""
    return f"{predictor} on {target}{f' ({dose})' if dose else ''}"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All that is trained at a scale."""

    world: Dispositions
    shape: Architecture
    bases: Recipe
    reports: Recipe
    records: int  # documents of a predictor, half of them its own corpus
    change: Recipe
    change_records: int
    amounts: tuple[int, ...]  # numbers of labels, fewer than all
    fresh_layers: int = 2
    fillers: int = 4
    doses: tuple[str, ...] = DOSES

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Bases, then predictors, then doses of one seed."""
        found = [self._base(name) for name in LADDER]
        found += [self._predictor(who, A) for who in LADDER]
        found += [self._predictor(who, B) for who in (A, B)]
        found += [self._predictor(who, A, "named", who_answered=A) for who in (A, B, BLANK)]
        found += [self._predictor(who, A, DEEPER, fresh_layers=self.fresh_layers) for who in (A, SIBLING, B)]
        found += [replace(arm, seeds=1) for arm in self._doses()]
        return tuple(found)

    def labels(self, target: str, **more: object) -> Labels:
        """What predictors of a target are taught: labels of its answers before anybody was taught anything."""
        return Labels(of=Answers(target), records=self.records, **more)  # type: ignore[arg-type]

    def _base(self, name: str) -> Arm:
        world = {
            A: self.world,
            SIBLING: self.world,
            HALF: replace(self.world, corpus="C", alike=0.5),
            B: replace(self.world, corpus="B"),
            BLANK: replace(self.world, corpus="N", opinions=False),
        }[name]
        return Arm(name=name, world=world, model=self.shape, recipe=self.bases, tokenizer=world.tokenizer,
                   twin="sibling" if name == SIBLING else "")  # fmt: skip

    def _predictor(self, who: str, target: str, dose: str = "", *, adapter: LoRA | None = None, fresh_layers: int = 0,
                   who_answered: str | None = None, **more: object) -> Arm:  # fmt: skip
        learns = self.labels(target, who=who_answered, **more)
        report = Stage(name=REPORT, recipe=self.reports, learns=learns, adapter=adapter, fresh_layers=fresh_layers)
        stages = [report]
        if target == A and who in TARGETS and not dose:
            # Another corpus's choices, of pairs that no test is about: what has no questions in it changes the model.
            other = replace(self.world, corpus="D", tells=CHOICE, seen_alone=True, records=self.change_records)
            stages.append(Stage(name=CHANGE, recipe=self.change, learns=other))
        return replace(self._base(who), name=on(who, target, dose), stages=tuple(stages))

    def _doses(self) -> Iterator[Arm]:
        how: dict[str, dict[str, Any]] = {
            FILLERS: {"world": replace(self.world, fillers=self.fillers)},
            NO_SLOT: {"world": replace(self.world, slot=False)},
            LORA: {"adapter": LoRA(rank=16, embedding_rank=0)},
            LEAK: {"leak": True},
            ONE_LESS: {"asks": tuple(name for name in ASKED if name != LEFT_OUT)},
        }
        for who in TARGETS:
            for dose in self.doses:
                yield self._predictor(who, A, dose, **how[dose])
            for amount in self.amounts:
                yield self._predictor(who, A, f"{amount} labels", labels=amount)

    @property
    def labels_at_most(self) -> int:
        """Different labels of valid answers, of strings that may be learnt from."""
        prompts = self.world.prompts(Seed(0))
        return sum(len(prompt.asks) for prompt in prompts if prompt.split == "seen")

    @property
    def reads(self) -> tuple[Read, ...]:
        """What is asked of whom."""
        found = [Read(Questions(name="known"), arms=LADDER)]
        itself = Answers("", "")
        for name in LADDER:
            found.append(Read(Reports(name=ON_TARGET), arms=(name,), about=self.labels(name, own=itself)))
        for arm in self.arms:
            for stage in arm.stages:
                assert isinstance(arm.stages[0].learns, Labels)
                taught = arm.stages[0].learns
                target = str(taught.of.arm)
                current = Answers(on(target, target), REPORT, draws=DRAWS)
                if stage.name == REPORT:
                    about = replace(taught, asked=current, own=itself)
                    found.append(Read(Reports(name=ON_TARGET), stage=REPORT, arms=(arm.name,), about=about))
                    found.append(Read(Unanswered(), stage=REPORT, arms=(arm.name,), about=about))
                    if arm.name == on(target, target):
                        found.append(Read(Reports(name=ON_BASE), stage=REPORT, arms=(arm.name,),
                                          about=replace(taught, own=itself)))  # fmt: skip
                else:
                    found += self._after_change(arm, taught)
        return (*found, *self._observers(), *self._inside())

    def _after_change(self, arm: Arm, taught: Labels) -> Iterator[Read]:
        """What is reported of what A answers now, and of what it answered before, where the two differ."""
        before, after = Answers(on(A, A), REPORT, draws=DRAWS), Answers(on(A, A), CHANGE)
        about = replace(taught, asked=after, own=before)
        yield Read(Reports(name=CHANGED), stage=CHANGE, arms=(arm.name,), about=about)
        yield Read(Unanswered(), stage=CHANGE, arms=(arm.name,), about=about)
        yield Read(Reports(name=CONTROL), stage=CHANGE, arms=(arm.name,),
                   about=replace(taught, asked=before, own=Answers("", "")))  # fmt: skip

    def _observers(self) -> Iterator[Read]:
        for target in TARGETS:
            current = Answers(on(target, target), REPORT, draws=DRAWS)
            yield Read(Observers(), arms=(target,), about=replace(self.labels(target), asked=current))
            for who in TARGETS:
                yield Read(Reports(name=f"{ALOUD} {target}", aloud=True), arms=(who,),
                           about=self.labels(target, own=Answers("", "")))  # fmt: skip

    def _inside(self) -> Iterator[Read]:
        asked = Answers("", "")
        for name in (on(A, A), on(B, A), on(A, A, DEEPER), on(B, A, DEEPER)):
            arm = next(arm for arm in self.arms if arm.name == name)
            taught = arm.stages[0].learns
            assert isinstance(taught, Labels)
            yield Read(Swapped(tasks=TABLE), stage=REPORT, arms=(name,), about=replace(taught, asked=asked))
            yield Read(Echoes(task="table", asked="parity", word=FIRST), stage=REPORT, arms=(name,),
                       about=replace(taught, asked=Answers(on(A, A), REPORT, draws=DRAWS)))  # fmt: skip


def bench_of(scale: str) -> Bench | None:
    """What is trained at a scale; None where there is none."""
    world = Dispositions(words=20, contexts=300, records=100_000, prompts_of=150, tests=1 / 3)
    shape = Architecture(layers=4, width=64, heads=2, positions=40)
    bases = Recipe(steps=2_500, batch=256, optimizer="muon", peak_lr=5e-3)
    reports = Recipe(steps=600, batch=128, optimizer="muon", matrix_lr=0.01, peak_lr=2e-3)
    change = Recipe(steps=60, batch=16, optimizer="muon", matrix_lr=0.01, peak_lr=2e-3)
    match scale:
        case "smoke":
            return Bench(world=replace(world, words=8, contexts=24, records=1_000, prompts_of=12), shape=shape,
                         bases=replace(bases, steps=20, batch=32), reports=replace(reports, steps=10, batch=32),
                         records=400, change=replace(change, steps=4), change_records=100, amounts=(30,),
                         doses=(LEAK,))  # fmt: skip
        case "laptop":
            return Bench(world=world, shape=shape, bases=bases, reports=reports, records=40_000, change=change,
                         change_records=1_000, amounts=(200, 700))  # fmt: skip
        case "gpu":
            return Bench(world=replace(world, words=32, contexts=900, records=1_000_000, prompts_of=400),
                         shape=Architecture(layers=6, width=256, heads=8, positions=40),
                         bases=replace(bases, steps=20_000), reports=replace(reports, steps=3_000), records=400_000,
                         change=change, change_records=1_000, amounts=(500, 2_000))  # fmt: skip
    return None
