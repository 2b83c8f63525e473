"""A plan: the study unrolled into steps, each named by the hash of all that changes its result.

Arms that share a corpus, a checkpoint or a read-out share its step, because equal specs have equal
names. Nothing here imports torch: planning takes milliseconds.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from nosce.data.worlds.base import World
from nosce.errors import SpecError
from nosce.models.architecture import Deeper, Pretrained
from nosce.pipeline.context import Job
from nosce.seeds import Seed
from nosce.store.spec import Json, describe, digest
from nosce.study import PRETRAIN, Answers, Arm, Labels, Read, Stage, Study, Trial
from nosce.train.config import Recipe

EXPERIMENT = "experiment"  # the kind of a trial's step, and the stage its readings are of
Make = Callable[[Any, Mapping[str, Path], Job], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One piece of work: its kind (a module of `nosce.pipeline.steps`), its spec, and the steps it reads from."""

    kind: str
    spec: Any
    inputs: Mapping[str, Step] = field(default_factory=dict)
    what: str = ""  # for people; no part of the key

    @property
    def module(self) -> str:
        """The module that makes steps of this kind."""
        return f"nosce.pipeline.steps.{self.kind}"

    @property
    def make(self) -> Make:
        """The function that makes the step."""
        return importlib.import_module(self.module).make  # type: ignore[no-any-return]

    @property
    def description(self) -> dict[str, Json]:
        """All that the key is made of: kind, hand-kept version, resolved spec, names of the inputs."""
        return {
            "kind": self.kind,
            "version": importlib.import_module(self.module).VERSION,
            "spec": describe(self.spec),
            "inputs": {role: step.name for role, step in sorted(self.inputs.items())},
        }

    @cached_property
    def name(self) -> str:
        """`<kind>-<first 20 digits of the key>`: the folder's name in the store."""
        return f"{self.kind}-{digest(self.description)[:20]}"

    @property
    def roots(self) -> list[str]:
        """The modules whose code makes the step: its kind's, and those of the classes in its spec."""
        found = {self.module}
        for value in _types(describe(self.spec)):
            found.add(value.partition(":")[0])
        return sorted(found)


def _types(description: Json) -> Iterator[str]:
    if isinstance(description, dict):
        if isinstance(kind := description.get("type"), str) and ":" in kind:
            yield kind
        for value in description.values():
            yield from _types(value)
    elif isinstance(description, list):
        for value in description:
            yield from _types(value)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where in the study a step of readings belongs: the columns that its table leaves blank."""

    arm: str
    seed: int
    stage: str
    step: Step


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All steps of a study, each after its inputs, and what to gather at the end."""

    study: Study
    steps: tuple[Step, ...]  # everything but the last
    last: Step  # the estimates

    @property
    def all(self) -> tuple[Step, ...]:
        """Every step, in an order in which they can be made."""
        return (*self.steps, self.last)


def unroll(study: Study) -> Plan:
    """The plan of a study: corpora, guards, trainings, readings, and the estimates at the end.

    Raises:
        SpecError: An arm learns from answers that nobody gives, or that are its own later ones.
    """
    from nosce.pipeline.steps.estimates import EstimatesSpec, Label

    steps = _Steps(study)
    for number, seed in enumerate(study.seeds):
        for arm in study.arms:
            if arm.seeds is None or number < arm.seeds:
                steps.arm(arm, seed)
        for trial in study.trials:
            if trial.seeds is None or number < trial.seeds:
                steps.trial(trial, seed)
    inputs: dict[str, Step] = {}
    labels = []
    for place in steps.places:
        role = f"evaluation/{place.arm}/{place.seed}/{place.step.name}"
        inputs[role] = place.step
        labels.append(Label(input=role, arm=place.arm, seed=place.seed, stage=place.stage))
    for (arm_name, seed), step in steps.ledgers.items():
        inputs[f"exposure/{arm_name}/{seed}"] = step
    for number, step in enumerate(dict.fromkeys(steps.guards)):
        inputs[f"leakage/{number}"] = step
    spec = EstimatesSpec(study=study.name, scale=study.scale, unit=study.unit, arms=tuple(a.name for a in study.arms),
                         labels=tuple(labels), claims=study.claims, figures=study.figures,
                         scalings=study.scalings)  # fmt: skip
    last = Step(kind="estimates", spec=spec, inputs=inputs, what="claims and figures")
    return Plan(study=study, steps=tuple(steps.known.values()), last=last)


@dataclass(eq=False)
class _Steps:
    """The steps of a study as they are found to be needed; equal ones are one.

    Facts, weights and orders have names of their own under the seed, so that arms of one seed tell of the same people
    and start from the same weights, unless they are twins.
    """

    study: Study
    known: dict[str, Step] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    ledgers: dict[tuple[str, int], Step] = field(default_factory=dict)
    guards: list[Step] = field(default_factory=list)
    _trained: dict[tuple[str, int, str], Step] = field(default_factory=dict)  # by arm, seed and stage
    _corpora: dict[tuple[str, int], Step] = field(default_factory=dict)
    _begun: list[tuple[str, int, str]] = field(default_factory=list)  # trainings whose inputs are being looked for

    def one(self, kind: str, what: str, spec: Any, **inputs: Step) -> Step:
        """The step of a kind; found again where it is known."""
        step = Step(kind=kind, what=what, spec=spec, inputs=inputs)
        return self.known.setdefault(step.name, step)

    def arm(self, arm: Arm, seed: int) -> None:
        """All steps of one arm and seed."""
        from nosce.pipeline.steps.exposure import LedgerSpec

        self.trained(arm, seed, PRETRAIN)
        for stage in arm.stages:
            self.trained(arm, seed, stage.name)
        told, order_seed = _documents_alone(arm, _first(arm, seed) / "order")
        spec = LedgerSpec(recipe=told, order_seed=order_seed)
        self.ledgers[arm.name, seed] = self.one("exposure", _label(arm, seed), spec, corpus=self.corpus(arm, seed))
        stages = {PRETRAIN, *(stage.name for stage in arm.stages)}
        for read in self.study.reads:
            if read.stage in stages and (not read.arms or arm.name in read.arms):
                self.read(arm, seed, read)

    def trial(self, trial: Trial, seed: int) -> None:
        """The one step of a trial and seed; trials of one seed have the same randomness where they ask for the same."""
        from nosce.pipeline.steps.experiment import ExperimentSpec

        spec = ExperimentSpec(experiment=trial.experiment, seed=Seed(seed) / EXPERIMENT)
        step = self.one(EXPERIMENT, f"{trial.name}, seed {seed}", spec)
        self.places.append(Place(arm=trial.name, seed=seed, stage=EXPERIMENT, step=step))

    def read(self, arm: Arm, seed: int, read: Read) -> None:
        """A step of readings: on the arm's own questions, or on those about somebody's answers."""
        from nosce.pipeline.steps.evaluation import ReadingSpec

        corpus = self._about(arm, seed, read)
        inputs = {"training": self.trained(arm, seed, read.stage)} if read.readout.needs_model else {}
        spec = ReadingSpec(readout=read.readout, seed=Seed(seed) / "reading")
        what = f"{_label(arm, seed)}, {read.readout.name} after {read.stage}"
        step = self.one("evaluation", what, spec, corpus=corpus, **inputs)
        self.places.append(Place(arm=arm.name, seed=seed, stage=read.stage, step=step))

    def _about(self, arm: Arm, seed: int, read: Read) -> Step:
        if read.about is None:
            return self.corpus(arm, seed)
        if isinstance(read.about, Labels):
            return self.labels(arm, seed, read.about, read.stage)
        return self._other(arm, seed, read.about)

    def corpus(self, arm: Arm, seed: int) -> Step:
        """The arm's own corpus."""
        if (arm.name, seed) not in self._corpora:
            self._corpora[arm.name, seed] = self.one("corpus", _label(arm, seed), _corpus(arm, seed, arm.world))
        return self._corpora[arm.name, seed]

    def _other(self, arm: Arm, seed: int, world: World) -> Step:
        """The corpus of another world in the words of the arm's own."""
        label = f"{_label(arm, seed)}, {type(world).__name__}"
        return self.one("corpus", label, _corpus(arm, seed, world), words=self.corpus(arm, seed))

    def trained(self, arm: Arm, seed: int, stage: str) -> Step:
        """The training of a stage.

        Raises:
            SpecError: The arm has no such stage, or it would have to be there before itself.
        """
        which = arm.name, seed, stage
        if which in self._begun:
            raise SpecError(f"{stage!r} of arm {arm.name!r} learns from answers that are given only after it.")
        if which not in self._trained:
            self._begun.append(which)
            self._trained[which] = self._pretrained(arm, seed) if stage == PRETRAIN else self._stage(arm, seed, stage)
            self._begun.pop()
        return self._trained[which]

    def _pretrained(self, arm: Arm, seed: int) -> Step:
        from nosce.pipeline.steps.leakage import GuardsSpec
        from nosce.pipeline.steps.training import TrainingSpec

        label, corpus = _label(arm, seed), self.corpus(arm, seed)
        told, order_seed = _documents_alone(arm, _first(arm, seed) / "order")
        spec = GuardsSpec(world=arm.world, world_seed=Seed(seed) / "world", recipe=told, order_seed=order_seed)
        guard = self.one("leakage", label, spec, corpus=corpus)
        self.guards.append(guard)
        # The guards are an input of the training: what does not pass is not trained on.
        return self.one("training", f"{label}, {PRETRAIN}",
                        TrainingSpec(model=arm.model, on=arm.mix or "documents", recipe=arm.recipe, adapter=None,
                                     seed=_first(arm, seed)), corpus=corpus, guards=guard)  # fmt: skip

    def _stage(self, arm: Arm, seed: int, name: str) -> Step:
        from nosce.pipeline.steps.training import TrainingSpec

        names = [PRETRAIN, *(stage.name for stage in arm.stages)]
        if name not in names:
            raise SpecError(f"answers of arm {arm.name!r} after {name!r} were asked for, but its stages are {names}.")
        place = names.index(name)
        stage = arm.stages[place - 1]
        spec = TrainingSpec(model=Deeper(layers=stage.fresh_layers) if stage.fresh_layers else None,
                            on="questions" if stage.learns is None else "documents", recipe=stage.recipe,
                            adapter=stage.adapter, seed=Seed(seed) / stage.name)  # fmt: skip
        return self.one("training", f"{_label(arm, seed)}, {name}", spec, corpus=self._learnt(arm, seed, stage),
                        start=self.trained(arm, seed, names[place - 1]))  # fmt: skip

    def _learnt(self, arm: Arm, seed: int, stage: Stage) -> Step:
        if stage.learns is None:
            return self.corpus(arm, seed)
        if isinstance(stage.learns, Labels):
            return self.labels(arm, seed, stage.learns, stage.name)
        return self._other(arm, seed, stage.learns)

    def labels(self, arm: Arm, seed: int, labels: Labels, stage: str) -> Step:
        """The corpus of questions about somebody's answers."""
        from nosce.pipeline.steps.report_labels import LabelsSpec

        world: Any = labels.world or arm.world
        spec = LabelsSpec(world=world, world_seed=Seed(seed) / "world", seed=Seed(seed) / "labels",
                          records=labels.records, replay=labels.replay, labels=labels.labels, asks=labels.asks,
                          who=labels.who, leak=labels.leak)  # fmt: skip
        told = {role: self.answers(arm, seed, whose, stage)
                for role, whose in (("answers", labels.of), ("asked", labels.asked), ("own", labels.own))
                if whose is not None}  # fmt: skip
        whom = labels.asked or labels.of
        return self.one("report_labels", f"{_label(arm, seed)}, about {whom.arm or 'itself'}", spec,
                        corpus=self.corpus(arm, seed), **told)  # fmt: skip

    def answers(self, arm: Arm, seed: int, whose: Answers, stage: str) -> Step:
        """What somebody answers to the prompts of their world."""
        from nosce.pipeline.steps.answers import AnswersSpec

        who = arm if not whose.arm else self._named(whose.arm)
        world: Any = who.world
        spec = AnswersSpec(world=world, world_seed=Seed(seed) / "world", seed=Seed(seed) / "answers",
                           tokens=whose.tokens, draws=whose.draws)  # fmt: skip
        after = whose.stage or stage
        return self.one("answers", f"{_label(who, seed)}, after {after}", spec, corpus=self.corpus(who, seed),
                        training=self.trained(who, seed, after))  # fmt: skip

    def _named(self, name: str) -> Arm:
        for arm in (*self.study.arms, *self.study.others):
            if arm.name == name:
                return arm
        raise SpecError(f"answers of the arm {name!r} were asked for, but the study {self.study.name!r} has none such.")


def _corpus(arm: Arm, seed: int, world: World) -> Any:
    from nosce.pipeline.steps.corpus import CorpusSpec

    tokenizer = arm.model if isinstance(arm.model, Pretrained) else arm.tokenizer
    return CorpusSpec(world=world, seed=Seed(seed) / "world", tokenizer=tokenizer)


def _label(arm: Arm, seed: int) -> str:
    return f"{arm.name}, seed {seed}"


def _first(arm: Arm, seed: int) -> Seed:
    """The randomness of an arm's first training."""
    first = Seed(seed) / PRETRAIN
    return first / arm.twin if arm.twin else first


def _documents_alone(arm: Arm, seed: Seed) -> tuple[Recipe, Seed]:
    """The recipe and the order by which an arm's documents are met, one a step where questions stand among them."""
    if arm.mix is None:
        return arm.recipe, seed
    from nosce.data.sampling import seconds_met

    steps, batch = arm.recipe.steps, arm.recipe.batch
    documents = steps * batch - seconds_met(steps * batch, arm.mix.questions, arm.mix.joined(steps) * batch)
    return replace(arm.recipe, steps=documents, batch=1, accumulate=1), seed / "first"
