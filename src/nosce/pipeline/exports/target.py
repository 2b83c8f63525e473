"""What is exported: one checkpoint of one training, with its corpus and the evaluations that asked it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from nosce.data.corpus import Corpus
from nosce.errors import NosceError, UsageError
from nosce.pipeline.command_lines import in_store
from nosce.pipeline.plan import Plan, StudyRequest
from nosce.pipeline.plan_choice import match_name
from nosce.pipeline.step import Step
from nosce.pipeline.study_loading import load_study
from nosce.records import read_table
from nosce.store.store import StepRecord, Store
from nosce.study import PRETRAIN, Study


@dataclass(frozen=True, kw_only=True)
class ExportTarget:
    """A checkpoint in the store.

    Attributes:
        store: The store.
        plan: The plan of the arm.
        arm: Name of the arm.
        seed: Training seed.
        stage: "pretrain" or the name of a later stage.
        step: The training.
        checkpoint_step: Optimizer steps of the checkpoint within its stage.
        checkpoint_folder: The checkpoint.
    """

    store: Store
    plan: Plan
    arm: str
    seed: int
    stage: str
    step: Step
    checkpoint_step: int
    checkpoint_folder: Path

    @property
    def study(self) -> Study:
        """The study, narrowed to the arm."""
        return self.plan.study

    @property
    def label(self) -> str:
        """Name for people, e.g. "single, seed 0, finetune, step 400"."""
        return f"{self.arm}, seed {self.seed}, {self.stage}, step {self.checkpoint_step}"

    @property
    def step_record(self) -> StepRecord:
        """The record of the training."""
        return self.store.step_record(self.step.name)

    @property
    def training_folder(self) -> Path:
        """The folder of the training."""
        return self.store.folder(self.step.name)

    @property
    def corpus(self) -> Corpus:
        """The texts of the training."""
        return Corpus(self.store.verified(self.step.inputs["corpus"].name))

    def evaluation_steps(self) -> Iterator[Step]:
        """The finished evaluations of this training, each once."""
        from nosce.pipeline.steps.estimates import EstimatesSpec

        spec, found = self.plan.estimates.spec, dict[str, Step]()
        assert isinstance(spec, EstimatesSpec)
        for source in spec.sources:
            step = self.plan.estimates.inputs[source.input]
            if (source.seed, source.stage) == (self.seed, self.stage) and "training" in step.inputs:
                found[step.name] = step
        return (step for step in found.values() if self.store.has(step.name))

    def readings(self, step: Step) -> pl.DataFrame:
        """What an evaluation read in this checkpoint."""
        table = read_table(self.store.verified(step.name) / "readings.parquet")
        return table.filter(pl.col("step") == self.checkpoint_step)


def find_target(
    store: Store, request: StudyRequest, arm: str, seed: int | None, stage: str | None, checkpoint_step: int | None
) -> ExportTarget:
    """The checkpoint that is meant.

    Args:
        store: The store.
        request: The study and its scale.
        arm: Name of the arm. Capitals, spaces and hyphens of this name and of the stage's need not be right.
        seed: Training seed; None: the study's first.
        stage: "pretrain" or the name of a later stage; None: the last.
        checkpoint_step: Optimizer steps of the checkpoint within its stage; None: the last one.

    Raises:
        UsageError: The study has no such arm, seed, stage or checkpoint, or the arm is not trained yet.
    """
    from nosce.pipeline.steps.training import list_checkpoints

    study = load_study(request.study, request.scale, request.variant)
    arm = match_name(arm, study.condition_names, f"study {study.name!r} has no arm")
    request = replace(request, arms=(arm,))
    plan = request.plan()
    key = _training_key(plan, request, arm, seed, stage)
    step, label = plan.training_steps[key], f"{arm}, seed {key[1]}, {key[2]}"
    if not store.has(step.name):
        command = in_store(request.command, store)
        raise UsageError(f"{label} is not trained in {store.root}; run `{command}` first.")
    checkpoints = list_checkpoints(store.verified(step.name))
    chosen = max(checkpoints) if checkpoint_step is None else checkpoint_step
    if chosen not in checkpoints:
        raise UsageError(f"{label} has no checkpoint of step {chosen}; take one of {', '.join(map(str, checkpoints))}.")
    return ExportTarget(
        store=store,
        plan=plan,
        arm=arm,
        seed=key[1],
        stage=key[2],
        step=step,
        checkpoint_step=chosen,
        checkpoint_folder=checkpoints[chosen],
    )


def _training_key(
    plan: Plan, request: StudyRequest, arm: str, seed: int | None, stage: str | None
) -> tuple[str, int, str]:
    """The arm, seed and stage of a training of the plan."""
    if not plan.study.arms:
        raise UsageError(f"{arm} of {request.study} is an experiment and trains no language model; name an arm.")
    stages = [PRETRAIN, *(one.name for one in plan.study.arms[0].stages)]
    chosen_stage = stages[-1] if stage is None else match_name(stage, stages, f"{arm} of {request.study} has no stage")
    chosen_seed = plan.study.seeds[0] if seed is None else seed
    if (arm, chosen_seed, chosen_stage) not in plan.training_steps:
        seeds = [str(a_seed) for name, a_seed, a_stage in plan.training_steps if (name, a_stage) == (arm, chosen_stage)]
        raise UsageError(
            f"{arm} of {request.study} at scale {request.scale} has no seed {chosen_seed}; take one of "
            f"{', '.join(seeds)}."
        )
    return arm, chosen_seed, chosen_stage


def check_folder(folder: Path) -> None:
    """Refuse a folder in which something would be overwritten.

    Raises:
        UsageError: The path is a file, or a folder that holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder, and nothing is overwritten; name another.")


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Write texts into a folder, by their paths in it.

    Raises:
        NosceError: The disk refuses.
    """
    try:
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise NosceError(f"{folder} could not be written ({error.strerror}); name another folder.") from error
