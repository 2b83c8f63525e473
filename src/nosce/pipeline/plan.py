"""A plan: the study unrolled into steps, each named by the hash of all that changes its result.

Arms that share a corpus, a checkpoint or an evaluation share its step, because equal specs have equal
names. Nothing here imports torch: planning takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nosce.analysis.looks import LookDesign
from nosce.models.sources import parse_models
from nosce.pipeline.command_lines import command_line
from nosce.pipeline.plan_builder import PlanBuilder
from nosce.pipeline.seed_choice import seeds_text
from nosce.pipeline.step import Step
from nosce.pipeline.study_loading import load_study
from nosce.study import Study, StudyVariant


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All steps of a study.

    Args:
        study: The study.
        upstream_steps: Every step but the last, each after its inputs.
        estimates: The last step, which gathers the readings and judges the claims.
        training_steps: The training steps by arm, seed and stage.
        whole_study: The study before it was narrowed to some of its arms or seeds; None: it is as it was written.
        kept_steps: Names of finished steps of exploratory seeds, which are used as they are, stale or not.
    """

    study: Study
    upstream_steps: tuple[Step, ...]
    estimates: Step
    training_steps: Mapping[tuple[str, int, str], Step] = field(default_factory=dict)
    whole_study: Study | None = None
    kept_steps: frozenset[str] = frozenset()

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """Every step, in an order in which they can be made."""
        return (*self.upstream_steps, self.estimates)


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """What was requested on the command line: enough to build the same plan again.

    Args:
        study: The study's built-in name, FILE.py:FUNCTION or package.module:FUNCTION.
        scale: Name of the scale.
        n_seeds: Number of training seeds; None: as many as the study has.
        seeds: The training seeds themselves, e.g. (10, 11, 12); (): as `n_seeds` says.
        arms: Names of the arms; empty: all.
        models: Models that a built-in study starts from, separated by commas; empty: fresh weights.
        settings: Fields of a built-in study's configuration, each `key=value`.
    """

    study: str
    scale: str
    n_seeds: int | None = None
    seeds: tuple[int, ...] = ()
    arms: tuple[str, ...] = ()
    models: str = ""
    settings: tuple[str, ...] = ()

    def plan(self) -> Plan:
        """The plan of the study, narrowed to the requested arms and seeds."""
        from nosce.pipeline.study_checks import check_references

        study = load_study(self.study, self.scale, self.variant)
        check_references(study)
        part = study.subset(self.arms, self.n_seeds, self.seeds)
        # Seeds of which the study has not all are no part of its own; they are a study of these seeds.
        is_part = not self.seeds or {*self.seeds} <= {*study.seeds}
        return replace(build_plan(part), whole_study=study if is_part else replace(study, seeds=part.seeds))

    @property
    def variant(self) -> StudyVariant:
        """The models and settings of the request.

        Raises:
            UsageError: A model is not there.
            SpecError: A folder holds no model.
        """
        models = parse_models(self.models) if self.models else ()
        return StudyVariant(models=models, settings=self.settings)

    @property
    def command(self) -> str:
        """The command that runs the plan, as a shell takes it; it names no store."""
        return command_line(*self.words)

    @property
    def words(self) -> list[str]:
        """The words of the command behind `nosce`."""
        words = ["run", self.study, "--scale", self.scale]
        words += ["--model", self.models] if self.models else []
        words += [word for setting in self.settings for word in ("--set", setting)]
        words += ["--seeds", seeds_text(self.seeds)] if self.seeds else []
        words += ["--seeds", str(self.n_seeds)] if self.n_seeds and not self.seeds else []
        words += ["--arms", ",".join(self.arms)] if self.arms else []
        return words


def build_plan(
    study: Study,
    *,
    parts: Sequence[Study] = (),
    looks: LookDesign | None = None,
    seen: tuple[Study, Collection[str]] | None = None,
) -> Plan:
    """The plan of a study: corpora, leakage checks, trainings, evaluations, and the estimates at the end.

    Args:
        study: The study, whose claims are judged and whose figures are drawn.
        parts: Arms, seeds and evaluations of the study that are run; (): all of it.
        looks: How claims are judged at looks; None: once.
        seen: The part of exploratory seeds, of which nothing is made, and the names of steps that are finished.

    Raises:
        SpecError: An arm learns from the answers of an arm that does not exist, or from its own later answers.
    """
    builder = PlanBuilder(study)
    for part in parts or (study,):
        builder.add_part(part)
    made = frozenset(builder.steps_by_name)
    if seen is not None:
        found = PlanBuilder(seen[0])
        found.add_part(seen[0])
        builder.take_finished(found, seen[1])
    return Plan(
        study=study,
        upstream_steps=tuple(builder.steps_by_name.values()),
        estimates=_estimates_step(study, builder, looks),
        training_steps=builder.training_steps,
        kept_steps=frozenset(builder.steps_by_name) - made,
    )


def _estimates_step(study: Study, builder: PlanBuilder, looks: LookDesign | None) -> Step:
    """The last step, which gathers the readings that were planned."""
    from nosce.pipeline.steps.estimates import EstimatesSpec, ReadingSource

    inputs: dict[str, Step] = {}
    sources = []
    for readings_step in builder.readings_steps:
        role = f"evaluation/{readings_step.arm}/{readings_step.seed}/{readings_step.step.name}"
        inputs[role] = readings_step.step
        sources.append(
            ReadingSource(input=role, arm=readings_step.arm, seed=readings_step.seed, stage=readings_step.stage)
        )
    for (arm_name, seed), step in builder.exposure_steps.items():
        inputs[f"exposure/{arm_name}/{seed}"] = step
    for index, step in enumerate(dict.fromkeys(builder.leakage_steps)):
        inputs[f"leakage/{index}"] = step
    spec = EstimatesSpec(
        study=study.name,
        scale=study.scale,
        unit=study.unit,
        arms=tuple(a.name for a in study.arms),
        sources=tuple(sources),
        claims=study.claims,
        figures=study.figures,
        scaling_curves=study.scaling_curves,
        conclusion=study.conclusion,
        exploratory_seeds=study.seen_seeds,
        looks=looks,
    )
    return Step(kind="estimates", spec=spec, inputs=inputs, label="claims and figures")
