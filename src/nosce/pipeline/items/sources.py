"""Where the readings of an item come from: the evaluation behind each, its kind, and the corpus that it asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from nosce.errors import NosceError
from nosce.pipeline.items.item import ItemKind
from nosce.pipeline.plan import StudyRequest
from nosce.seeds import Seed

if TYPE_CHECKING:
    from nosce.pipeline.plan_record import PlanRecord
    from nosce.pipeline.step import Step
    from nosce.store.spec import Json

PROBES = frozenset({"ProgramStateProbe", "PositionProbe", "NameProbe", "LabelProbe"})
#: By the evaluation: the metrics that are 1 where an answer followed the state that was put in, and the metric that is
#: 1 where the answer was so without it.
PATCHES: Mapping[str, tuple[str, str]] = {
    "NamePatching": (r"/follows/", ""),
    "AnswerPatching": (r"^follows/", "unswapped"),
    "CountPatching": (r"^(last|whole)/donor/", "unpatched"),
    "StateEditing": (r"^(swap|gradient)/", "unedited"),
}
#: Evaluations that show a question's prompt as it is in the corpus.
ASKS_QUESTIONS = frozenset(
    {"QAEval", "GenerationEval", "ItemScores", "SelfReportEval", "MajorityBaseline", "ConstantBaseline"}
)
#: Evaluations that show a document up to the value that is asked for.
READS_DOCUMENTS = frozenset({"RecallEval", "FrequencyBaseline"})


@dataclass(frozen=True, kw_only=True)
class EvaluationSource:
    """The evaluation behind some readings, as the plan's record describes it.

    Args:
        step: Name of the step.
        arm: Name of the arm or experiment.
        seed: The training seed.
        stage: Name of the stage.
        name: Name of the evaluation in the readings; "" for an experiment, which chooses its names itself.
        type: Name of the evaluation's class.
        corpus: Name of the corpus's step; None for an experiment.
        uses_model: Does a model answer?
        gives_answer: Is the model's own answer put into the prompt?
    """

    step: str
    arm: str
    seed: int
    stage: str
    name: str
    type: str
    corpus: str | None
    uses_model: bool
    gives_answer: bool = False

    @property
    def kind(self) -> ItemKind:
        """What the evaluation does."""
        if self.type in PROBES:
            return "probe"
        if self.type in PATCHES:
            return "patch"
        return "asked" if self.uses_model else "baseline"

    def follows(self, metric: str) -> bool:
        """Is the metric 1 where the answer followed a state that was put in?"""
        return self.type in PATCHES and re.search(PATCHES[self.type][0], metric) is not None


@dataclass(frozen=True, kw_only=True)
class LedgerSource:
    """An exposure ledger.

    Args:
        step: Name of its step.
        arms: The arms that it is about.
        seed: Their training seed.
        corpus: Name of the corpus's step.
        batch_size: Texts of an optimizer step.
        steps: Optimizer steps.
        sampler_seed: The seed of the texts' order.
    """

    step: str
    arms: tuple[str, ...]
    seed: int
    corpus: str
    batch_size: int
    steps: int
    sampler_seed: Seed


@dataclass(frozen=True)
class ItemSources:
    """All evaluations and ledgers of a plan.

    Args:
        plan: The plan's record.
    """

    plan: PlanRecord

    @cached_property
    def evaluations(self) -> tuple[EvaluationSource, ...]:
        """The evaluations, in the order of the readings."""
        return tuple(self._evaluations())

    def _evaluations(self) -> Iterator[EvaluationSource]:
        estimates = self.plan.steps[self.plan.estimates].description
        inputs, spec = _object(estimates.get("inputs")), _object(estimates.get("spec"))
        sources = spec.get("sources")
        for source in map(_object, sources if isinstance(sources, list) else []):
            step = str(inputs.get(str(source["input"]), ""))
            if step not in self.plan.steps:
                continue
            step_inputs = _object(self.plan.steps[step].description.get("inputs"))
            step_spec = _object(self.plan.steps[step].description.get("spec"))
            evaluation = _object(step_spec.get("evaluation") or step_spec.get("experiment"))
            is_experiment = "experiment" in step_spec
            yield EvaluationSource(
                step=step,
                arm=str(source["arm"]),
                seed=int(str(source["seed"])),
                stage=str(source["stage"]),
                name="" if is_experiment else str(evaluation.get("name", "")),
                type=str(evaluation.get("type", "")),
                corpus=None if is_experiment else str(step_inputs["corpus"]),
                uses_model=is_experiment or "training" in step_inputs,
                gives_answer=evaluation.get("given_answer") is True,
            )

    @cached_property
    def ledgers(self) -> tuple[LedgerSource, ...]:
        """The exposure ledgers, each once."""
        arms: dict[tuple[str, int], list[str]] = {}
        for role, step in _object(self.plan.steps[self.plan.estimates].description.get("inputs")).items():
            if role.startswith("exposure/"):
                arm, seed = role.removeprefix("exposure/").rsplit("/", 1)
                arms.setdefault((str(step), int(seed)), []).append(arm)
        return tuple(self._ledger(step, seed, tuple(names)) for (step, seed), names in arms.items())

    def _ledger(self, step: str, seed: int, arms: tuple[str, ...]) -> LedgerSource:
        description = self.plan.steps[step].description
        spec = _object(description.get("spec"))
        training = _object(spec.get("training"))
        root, *path = str(spec["sampler_seed"]).split("/")
        return LedgerSource(
            step=step,
            arms=arms,
            seed=seed,
            corpus=str(_object(description.get("inputs"))["corpus"]),
            batch_size=int(str(training["batch_size"])),
            steps=int(str(training["steps"])),
            sampler_seed=Seed(int(root), tuple(path)),
        )

    @cached_property
    def live_steps(self) -> Mapping[str, Step]:
        """The steps of the study as its code makes them today, by name; empty where its file is gone.

        A step has the name of a recorded one only if all that its result hangs on is equal.
        """
        plan = self.plan
        request = StudyRequest(
            study=plan.requested_as,
            scale=plan.scale,
            seeds=plan.seeds,
            arms=plan.arms if plan.arms != plan.study_arms else (),
            models=plan.models,
            settings=plan.settings,
        )
        try:
            today = request.plan()
        except NosceError:
            return {}
        return {step.name: step for step in today.upstream_steps}


def _object(value: Json) -> dict[str, Json]:
    """A part of a description that is an object; {} where it is none."""
    return value if isinstance(value, dict) else {}
