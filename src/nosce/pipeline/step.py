"""A step of a plan: what it makes from which other steps, and the name that says so."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from nosce.pipeline.context import StepContext
from nosce.store.spec import Json, describe, hash_description, spec_classes

EXPERIMENT = "experiment"  # the kind of an experiment's step, and the stage in its readings
StepFunction = Callable[[object, Mapping[str, Path], StepContext], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One piece of work.

    Args:
        kind: Name of the module of `nosce.pipeline.steps` that does the work.
        spec: The settings of the work, a frozen dataclass of that module.
        inputs: The steps whose results the work reads, by their role.
        label: The step's purpose for people; no part of the key.
    """

    kind: str
    spec: object
    inputs: Mapping[str, Step] = field(default_factory=dict)
    label: str = ""

    @property
    def module(self) -> str:
        """The module that makes steps of this kind."""
        return f"nosce.pipeline.steps.{self.kind}"

    @property
    def make(self) -> StepFunction:
        """The function that makes the step."""
        make: StepFunction = importlib.import_module(self.module).make
        return make

    @cached_property
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
        return f"{self.kind}-{hash_description(self.description)[:20]}"

    @property
    def source_modules(self) -> list[str]:
        """The modules whose code makes the step: its kind's, and those of the classes in its spec."""
        return sorted({self.module, *(kind.__module__ for kind in spec_classes(self.spec))})


@dataclass(frozen=True, kw_only=True)
class ReadingsStep:
    """A step of readings with the columns that its table leaves blank.

    Args:
        arm: Name of the arm or experiment.
        seed: Training seed.
        stage: Name of the stage.
        step: The step.
    """

    arm: str
    seed: int
    stage: str
    step: Step
