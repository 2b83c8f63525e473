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

from nosce.models.families import Pretrained
from nosce.seeds import Seed
from nosce.spec import Json, describe, digest
from nosce.steps.job import Job
from nosce.study import PRETRAIN, Arm, Study, Trial
from nosce.train.recipe import Recipe

EXPERIMENT = "experiment"  # the kind of a trial's step, and the stage its readings are of
Make = Callable[[Any, Mapping[str, Path], Job], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One piece of work: its kind (a module of `nosce.steps`), its spec, and the steps it reads from."""

    kind: str
    spec: Any
    inputs: Mapping[str, Step] = field(default_factory=dict)
    what: str = ""  # for people; no part of the key

    @property
    def module(self) -> str:
        """The module that makes steps of this kind."""
        return f"nosce.steps.{self.kind}"

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
    """The plan of a study: corpora, guards, trainings, readings, and the estimates at the end."""
    from nosce.steps.estimates import EstimatesSpec, Label

    known: dict[str, Step] = {}

    def one(step: Step) -> Step:
        return known.setdefault(step.name, step)

    places: list[Place] = []
    ledgers: dict[tuple[str, int], Step] = {}
    guards: list[Step] = []
    for number, seed in enumerate(study.seeds):
        for arm in study.arms:
            if arm.seeds is None or number < arm.seeds:
                _arm(study, arm, seed, one, places, ledgers, guards)
        for trial in study.trials:
            if trial.seeds is None or number < trial.seeds:
                places.append(_tried(trial, seed, one))
    inputs: dict[str, Step] = {}
    labels = []
    for place in places:
        role = f"reading/{place.arm}/{place.seed}/{place.step.name}"
        inputs[role] = place.step
        labels.append(Label(input=role, arm=place.arm, seed=place.seed, stage=place.stage))
    for (arm_name, seed), step in ledgers.items():
        inputs[f"ledger/{arm_name}/{seed}"] = step
    for number, step in enumerate(dict.fromkeys(guards)):
        inputs[f"guards/{number}"] = step
    spec = EstimatesSpec(study=study.name, scale=study.scale, unit=study.unit, arms=tuple(a.name for a in study.arms),
                         labels=tuple(labels), claims=study.claims, figures=study.figures,
                         scalings=study.scalings)  # fmt: skip
    last = Step(kind="estimates", spec=spec, inputs=inputs, what="claims and figures")
    return Plan(study=study, steps=tuple(known.values()), last=last)


def _arm(
    study: Study,
    arm: Arm,
    seed: int,
    one: Callable[[Step], Step],
    places: list[Place],
    ledgers: dict[tuple[str, int], Step],
    guards: list[Step],
) -> None:
    """The steps of one arm and seed.

    Facts, weights and orders have names of their own under the seed, so that arms of one seed tell of
    the same people and start from the same weights.
    """
    from nosce.steps.corpus import CorpusSpec
    from nosce.steps.guards import GuardsSpec
    from nosce.steps.ledger import LedgerSpec
    from nosce.steps.reading import ReadingSpec
    from nosce.steps.training import TrainingSpec

    root = Seed(seed)
    label = f"{arm.name}, seed {seed}"
    tokenizer = arm.model if isinstance(arm.model, Pretrained) else arm.tokenizer
    corpus = one(
        Step(kind="corpus", what=label, spec=CorpusSpec(world=arm.world, seed=root / "world", tokenizer=tokenizer))
    )
    training_seed = root / PRETRAIN
    told, order_seed = _documents_alone(arm, training_seed / "order")
    guard = one(Step(kind="guards", what=label, inputs={"corpus": corpus},
                     spec=GuardsSpec(world=arm.world, world_seed=root / "world", recipe=told,
                                     order_seed=order_seed)))  # fmt: skip
    guards.append(guard)
    spec = TrainingSpec(model=arm.model, on=arm.mix or "documents", recipe=arm.recipe, adapter=None, seed=training_seed)
    # The guards are an input of the training: what does not pass is not trained on.
    stages = {PRETRAIN: one(Step(kind="training", what=f"{label}, {PRETRAIN}", spec=spec,
                                 inputs={"corpus": corpus, "guards": guard}))}  # fmt: skip
    before = stages[PRETRAIN]
    for stage in arm.stages:
        spec = TrainingSpec(
            model=None, on="questions", recipe=stage.recipe, adapter=stage.adapter, seed=root / stage.name
        )
        before = stages[stage.name] = one(Step(kind="training", what=f"{label}, {stage.name}", spec=spec,
                                               inputs={"corpus": corpus, "start": before}))  # fmt: skip
    ledgers[arm.name, seed] = one(
        Step(
            kind="ledger",
            what=label,
            inputs={"corpus": corpus},
            spec=LedgerSpec(recipe=told, order_seed=order_seed),
        )
    )
    for read in study.reads:
        if read.stage not in stages or (read.arms and arm.name not in read.arms):
            continue
        inputs = {"corpus": corpus, **({"training": stages[read.stage]} if read.readout.needs_model else {})}
        reading = one(Step(kind="reading", what=f"{label}, {read.readout.name} after {read.stage}", inputs=inputs,
                           spec=ReadingSpec(readout=read.readout, seed=root / "reading")))  # fmt: skip
        places.append(Place(arm=arm.name, seed=seed, stage=read.stage, step=reading))


def _tried(trial: Trial, seed: int, one: Callable[[Step], Step]) -> Place:
    """The one step of a trial and seed; trials of one seed have the same randomness where they ask for the same."""
    from nosce.steps.experiment import ExperimentSpec

    spec = ExperimentSpec(experiment=trial.experiment, seed=Seed(seed) / EXPERIMENT)
    step = one(Step(kind=EXPERIMENT, what=f"{trial.name}, seed {seed}", spec=spec))
    return Place(arm=trial.name, seed=seed, stage=EXPERIMENT, step=step)


def _documents_alone(arm: Arm, seed: Seed) -> tuple[Recipe, Seed]:
    """The recipe and the order by which an arm's documents are met, one a step where questions stand among them."""
    if arm.mix is None:
        return arm.recipe, seed
    from nosce.text.batches import seconds_met

    steps, batch = arm.recipe.steps, arm.recipe.batch
    documents = steps * batch - seconds_met(steps * batch, arm.mix.questions, arm.mix.joined(steps) * batch)
    return replace(arm.recipe, steps=documents, batch=1, accumulate=1), seed / "first"
