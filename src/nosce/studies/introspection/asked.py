"""The study introspection on models of one's own: `nosce run introspection --model SELF,OTHER`.

The first model is the subject, and the others predict it. Each is a folder or is behind an endpoint. A folder alone is
held against itself after it has learnt other answers.

Source: Binder et al. 2024 (arXiv:2410.13787), appendix A.1, for the fine-tuning of Llama (rank 32, batch 16) and of GPT
(one round, batch 20, twice the usual rate). The learning rate of folders is this study's own, since the paper chose its
own for 70 B weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nosce.data.worlds.behaviours.folder_text import FolderTextBehaviours
from nosce.data.worlds.behaviours.natural_text import PROPERTIES_BY_TASK, NaturalTextBehaviours
from nosce.data.worlds.behaviours.text_behaviours import TextBehaviours
from nosce.errors import SpecError
from nosce.models.api.finetune import FineTuningJobConfig
from nosce.models.architecture import Pretrained
from nosce.models.folder import read_config
from nosce.models.lora import LORA_TARGET_MODULES
from nosce.models.sources import ModelSource
from nosce.studies.configs import config_for_scale
from nosce.studies.introspection.injected_asked import with_injected_states
from nosce.studies.introspection.injected_states import ChatInjectionConfig
from nosce.studies.introspection.injected_words import concept_words
from nosce.studies.introspection.prompted import PromptedIntrospection
from nosce.studies.introspection.prompted_needs import ClaimNeeds
from nosce.studies.introspection.prompted_outsiders import OutsiderTeaching
from nosce.studies.introspection.prompted_requests import RequestLimits
from nosce.studies.introspection.prompted_self import SelfKnowledge
from nosce.studies.introspection.prompted_study import prompted_introspection_study
from nosce.studies.introspection.prompted_teaching import LabelTeaching
from nosce.studies.introspection.quoted_texts import QuotedTextLesson, QuotedTexts
from nosce.studies.introspection.subjects import FinetunedSubject, LocalSubject, RemoteSubject, Subject
from nosce.studies.models import low_rank_update
from nosce.study import Scale, Study
from nosce.train.config import Dtype, TrainingConfig

#: The tasks of the run that is shown in results/; `NaturalTextBehaviours` has two more, with four options each.
MEASURED_TASKS = ("colours", "towns", "numbers", "power", "hero", "animals", "things", "openings", "haste")
#: Sizes by what they cost, the cheapest first, from which `--budget` takes the largest that fits.
BUDGET_LADDER: tuple[tuple[str, ...], ...] = (
    ("strings_per_task=8", "max_rounds=1"),
    *((f"strings_per_task={n}",) for n in (8, 16, 40, 100, 400)),
)
ENDPOINT_JOB = FineTuningJobConfig(epochs=1, batch_size=20, learning_rate_multiplier=2.0)


@dataclass(frozen=True, kw_only=True)
class PromptedIntrospectionConfig:
    """What the study asks models in words, and how it teaches them.

    Args:
        seeds: Seeds; each has its own strings, order of labels and samples.
        world: The prompts, and the properties of their answers.
        task_folder: A folder of tasks to ask in place of the built-in ones; its files are in `docs/introspection.md`.
        folder_tasks: Names of its tasks; empty: all.
        limits: How much is asked: tokens and samples.
        labels: How labels are taught: rounds, replay.
        quoted_texts: A lesson of a folder before anything is asked: to report properties of texts that it can read.
        needs: What must hold before a claim is judged.
        knowledge: What is asked of self-knowledge beyond answers; `self_knowledge=yes` switches it on.
        both_ways: Teach labels of every model's answers. No: those of the first alone.
        outsiders: Outsiders that are taught besides the other models.
        lora: Rank of the low-rank update that teaches a folder; 0 trains all weights.
        all_weights_lr: Peak learning rate in place of `training.peak_lr` where all weights are trained.
        epochs: How often teaching shows a folder each label.
        training: The training of a folder; its steps follow from `epochs`.
        dtype: Number format of a folder's weights while it replies. "auto": bfloat16 where the device multiplies it.
        generation_batch_size: Replies of a folder that are generated side by side.
        injected: Inject concepts into the states of models in folders, and ask whether and which.
        concepts: File with the concepts' words, one a line. Empty: a list of nouns.
        injection: How concepts are injected, and how reports of them are taught.
        teach: Teach models behind endpoints, by a fine-tuning job. No: ask all that needs none.
        job: The fine-tuning job of an endpoint.
    """

    seeds: tuple[int, ...] = (0,)
    world: NaturalTextBehaviours
    task_folder: str = ""
    folder_tasks: tuple[str, ...] = ()
    limits: RequestLimits = field(default_factory=RequestLimits)
    labels: LabelTeaching = field(default_factory=LabelTeaching)
    quoted_texts: QuotedTexts = field(default_factory=QuotedTexts)
    needs: ClaimNeeds = field(default_factory=ClaimNeeds)
    knowledge: SelfKnowledge = field(default_factory=SelfKnowledge)
    both_ways: bool = True
    outsiders: OutsiderTeaching = field(default_factory=OutsiderTeaching)
    lora: int = 32
    all_weights_lr: float = 1e-4
    epochs: int = 3
    training: TrainingConfig
    dtype: Dtype = "auto"
    generation_batch_size: int = 16
    injected: bool = False
    concepts: str = ""
    injection: ChatInjectionConfig = field(default_factory=ChatInjectionConfig)
    teach: bool = True
    job: FineTuningJobConfig = ENDPOINT_JOB


def study(scale: Scale, models: tuple[ModelSource, ...], settings: Sequence[str] = ()) -> Study:
    """The study of the first model, with the others as its predictors, at a scale.

    Raises:
        UsageError: There is no such scale or field.
        SpecError: A folder's model cannot be asked or taught.
    """
    config = config_for_scale("introspection --model", PROMPTED_INTROSPECTION_CONFIGS, scale, settings)
    world = _world(config)
    lesson = QuotedTextLesson(world=world, config=config.quoted_texts) if config.quoted_texts.n_texts else None
    first, *others = [_subject(source, config, lesson) for source in models]
    experiment = PromptedIntrospection(
        world=world,
        subject=first,
        other_subjects=_other_subjects(first, others, world),
        limits=config.limits,
        teaching=config.labels,
        both_ways=config.both_ways,
        outsiders=config.outsiders,
        knowledge=config.knowledge,
    )
    asked = prompted_introspection_study(experiment, scale=scale, seeds=config.seeds, needs=config.needs)
    if config.injected:
        subjects, words = experiment.subject_by_letter, concept_words(config.concepts)
        asked = with_injected_states(asked, subjects, words, config.injection)
    if lesson is not None:
        asked = replace(asked, notes=(*asked.notes, lesson.note))
    return replace(asked, name="introspection")


def _world(config: PromptedIntrospectionConfig) -> TextBehaviours:
    """The built-in tasks, or those of a folder.

    Raises:
        SpecError: What is wrong with the folder.
    """
    if not config.task_folder:
        if config.folder_tasks:
            raise SpecError("folder_tasks names tasks of a folder, and no folder is given; add --set task_folder=.")
        return config.world
    return FolderTextBehaviours.from_folder(
        config.task_folder,
        tasks=config.folder_tasks,
        strings_per_task=config.world.strings_per_task,
        unseen_share=config.world.unseen_share,
        past_framing=config.world.past_framing,
    )


def _subject(
    source: ModelSource, config: PromptedIntrospectionConfig, lesson: QuotedTextLesson | None
) -> LocalSubject | RemoteSubject:
    """The model as the protocol asks and teaches it. Endpoints have no lesson.

    Raises:
        SpecError: It cannot be asked or taught.
    """
    from nosce.models.api.local import check_chat_folder

    if not isinstance(source.model, Pretrained):
        tuning = config.job if config.teach and source.has_jobs else None
        return RemoteSubject(endpoint=source.model, tuning=tuning, top_logprobs=source.top_logprobs)
    folder = Path(source.model.folder)
    check_chat_folder(folder)
    if lesson is not None:
        lesson.check_folder(folder)
    family = str(read_config(folder).get("model_type"))
    if config.lora and family not in LORA_TARGET_MODULES:
        known = ", ".join(LORA_TARGET_MODULES)
        raise SpecError(
            f"the {family} model in {folder} cannot be taught by low-rank updates; take a model of {known}, or train "
            "all weights with --lora 0."
        )
    return LocalSubject(
        model=source.model,
        training=config.training if config.lora else replace(config.training, peak_lr=config.all_weights_lr),
        adapter=low_rank_update(config.lora),
        epochs=config.epochs,
        generation_batch_size=config.generation_batch_size,
        dtype=config.dtype,
        lesson=lesson,
    )


def _other_subjects(
    first: LocalSubject | RemoteSubject,
    others: Sequence[LocalSubject | RemoteSubject],
    world: TextBehaviours,
) -> tuple[Subject, ...]:
    """The other models. A folder alone has itself, taught other answers."""
    if isinstance(first, LocalSubject) and not others:
        return (FinetunedSubject(base=first, world=world, dispositions="B"),)
    return tuple(others)


def _laptop_config() -> PromptedIntrospectionConfig:
    """40 strings a task: a model of 135 M weights within an hour on two cores."""
    return PromptedIntrospectionConfig(
        world=NaturalTextBehaviours(strings_per_task=40, tasks=MEASURED_TASKS),
        training=TrainingConfig(steps=1, batch_size=16, peak_lr=5e-4, weight_decay=0.0, dtype="auto"),
    )


def _smoke_config() -> PromptedIntrospectionConfig:
    """Every part of the protocol, without a result."""
    config = _laptop_config()
    return replace(
        config,
        world=replace(config.world, strings_per_task=4),
        limits=replace(config.limits, n_samples=2),
        labels=replace(config.labels, max_rounds=2, change=True),
        injection=replace(config.injection, strengths=(1.0, 2.0), exchanges_per_concept=1, n_reports=16),
    )


def _gpu_config() -> PromptedIntrospectionConfig:
    """400 strings a task, and samples."""
    config = _laptop_config()
    return replace(
        config,
        world=replace(config.world, strings_per_task=400),
        limits=replace(config.limits, n_samples=20, n_sampled_prompts=200),
        labels=replace(config.labels, change=True),
        knowledge=replace(config.knowledge, self_knowledge=True, n_self_strings=200, n_self_given=50),
    )


def _paper_config() -> PromptedIntrospectionConfig:
    """30,000 labels of 32 pairs of task and property, 28 pairs tested (appendices A.1.1 and A.2.3)."""
    config = _gpu_config()
    return replace(
        config,
        # 70 % of the strings of a training task are taught: a thousand for each pair, less those without a label.
        world=replace(config.world, strings_per_task=1_430, tasks=tuple(PROPERTIES_BY_TASK)),
        limits=replace(config.limits, n_sampled_prompts=1_000, n_answer_draws=5),
        labels=replace(config.labels, max_labels=30_000, max_changes=1_000),
        outsiders=OutsiderTeaching(label_curve=True),  # appendix A.2.7
        knowledge=replace(config.knowledge, n_self_strings=500, n_self_draws=10),
    )


PROMPTED_INTROSPECTION_CONFIGS: Mapping[Scale, Callable[[], PromptedIntrospectionConfig]] = {
    "smoke": _smoke_config,
    "laptop": _laptop_config,
    "gpu": _gpu_config,
    "paper": _paper_config,
}
