"""The arms of the study biographies: rows of the paper's table, doses, mixtures, celebrities, fine-tunings and tasks.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), sections 2 to 7; tasks are those of arXiv:2309.14402.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nosce.data.worlds.base import World
from nosce.data.worlds.biographies.celebrities import Celebrities, FreeCelebrities
from nosce.data.worlds.biographies.hiding import Hidden, HidingBiographies
from nosce.data.worlds.biographies.manipulation import Manipulation, ManipulationTask
from nosce.data.worlds.biographies.prose import FreeBiographies, PrewrittenTexts, ProseGrammar
from nosce.data.worlds.biographies.world import Biographies
from nosce.data.worlds.text_folder import WithReplay
from nosce.errors import SpecError
from nosce.models.architecture import ENCODER_FAMILIES
from nosce.studies.biographies.config import (
    MULTI5_PERMUTE,
    SINGLE,
    SINGLE_PERMUTE1,
    TWO_AUGMENTATIONS,
    WITH_CELEBRITIES,
    BiographiesBaseConfig,
    BiographiesConfig,
    QuestionDose,
)
from nosce.studies.biographies.trainings import FinetuningVariant
from nosce.studies.models import with_replay
from nosce.study import Arm, Stage
from nosce.train.config import LoRA, QAMixture, TrainingConfig

FINETUNE_STAGE, TASK_STAGE = "finetune", "task"  # stages after pretraining
#: Arms by their dose: texts of a person in shuffled order, and the share of five texts whose order is shuffled.
ARMS_BY_WORDINGS = {
    1: SINGLE_PERMUTE1,
    2: "multi2+permute",
    3: "multi3+permute",
    5: MULTI5_PERMUTE,
    10: "multi10+permute",
}
HIDDEN_VALUES, HIDDEN_WORDS = f"{SINGLE} hiding values", f"{SINGLE} hiding words"
#: Arms that read one wording beside copies that hide something before a value.
HIDING_ARMS: dict[str, Hidden] = {HIDDEN_VALUES: "values", HIDDEN_WORDS: "words"}
WRITTEN_ARM = "written by a model"
ARMS_BY_SHUFFLED_SHARE = {0.0: "multi5", 0.4: "multi5+permute40%", 1.0: MULTI5_PERMUTE}


def arms_by_wordings(config: BiographiesConfig) -> dict[int, str]:
    """The arms of a scale by the texts of a person in shuffled order."""
    return {count: ARMS_BY_WORDINGS[count] for count in config.wording_counts}


def arms_by_shuffled_share(config: BiographiesConfig) -> dict[float, str]:
    """The arms of a scale by the share of five texts whose order is shuffled."""
    return {share: ARMS_BY_SHUFFLED_SHARE[share] for share in config.shuffled_shares}


def mixed_arm_name(augmentation: str, dose: QuestionDose | None = None) -> str:
    """The arm that reads a row's biographies and questions about half of its people from the first step."""
    return f"{augmentation} mixed" + (f" {dose}" if dose else "")


def bidirectional_arm_name(arm: str) -> str:
    """The arm of a model without causal mask."""
    return f"masked {arm}"


def task_arm_name(task: ManipulationTask, *, hints: bool = False) -> str:
    """The arm that is taught a task."""
    return f"{task} with hints" if hints else task


def finetuning_arm_name(arm: str, finetuning: str) -> str:
    """The arm of a row with another fine-tuning."""
    return f"{arm}: {finetuning}"


def prose_arm_name(entries: int, *, fullname: bool = False) -> str:
    """The arm that reads texts in free prose."""
    return f"prose {entries}" + ("+fullname" if fullname else "")


def minority_arm_name(texts: str) -> str:
    """The arm that reads a minority's texts alone, by their kind, one of `MINORITY_TEXTS` or `single+permute1`."""
    if texts not in ("prose", "prose+fullname"):
        return texts
    return prose_arm_name(1, fullname=texts != "prose")


def celebrities_arm_name(texts: str) -> str:
    """The arm that reads them among celebrities."""
    return f"{minority_arm_name(texts)} + CEL"


def replay_arm_name(texts: str) -> str:
    """The arm that reads them among pieces of general text."""
    return f"{minority_arm_name(texts)} + text"


def sized_arm_name(arm: str, size: str) -> str:
    """The arm of a model of another size."""
    return f"{arm} {size}"


def biographies_arms(config: BiographiesConfig) -> tuple[Arm, ...]:
    """All arms. Those that main claims rest on stand first and have all seeds; the others have fewer."""
    secondary_arms = (replace(arm, n_seeds=config.n_secondary_seeds) for arm in _secondary_arms(config))
    return (*_primary_arms(config), *secondary_arms)


def augmentation_arm(config: BiographiesBaseConfig, augmentation: str) -> Arm:
    """The arm of a row of the paper's table; in every row the model sees each person equally often."""
    world = replace(config.world, augmentation=augmentation)
    return Arm(
        name=augmentation,
        world=world,
        model=config.architecture,
        training=config.with_steps(config.pretraining, world.people),
        stages=(_finetuning_stage(config.finetuning, config.finetuning_adapter),),
        tokenizer=config.tokenizer,
    )


def _primary_arms(config: BiographiesConfig) -> Iterator[Arm]:
    for augmentation in config.augmentations:
        yield augmentation_arm(config, augmentation)
    for augmentation in config.mixed_augmentations:
        yield _mixed_arm(config, augmentation, config.qa_fraction)
    if config.n_celebrities:
        yield _celebrities_arm(config)
    for name, hidden in HIDING_ARMS.items() if config.hides_values else ():
        yield _hiding_arm(config, name, hidden)


def _secondary_arms(config: BiographiesConfig) -> Iterator[Arm]:
    for augmentation in dict.fromkeys(
        (*arms_by_wordings(config).values(), *arms_by_shuffled_share(config).values(), *config.coupled_augmentations)
    ):
        if augmentation not in config.augmentations:
            yield augmentation_arm(config, augmentation)
    for augmentation in config.dose_augmentations:
        for dose in config.question_doses:
            yield _mixed_arm(config, augmentation, dose.qa_fraction, dose)
    for name, variants in config.finetuning_grids:
        for variant in variants:
            yield _finetuning_variant_arm(config, name, variant)
    for entries in config.prose_entries:
        yield _prose_arm(config, entries)
    yield from _minority_arms(config)
    for size in config.sizes:
        yield from (_sized_arm(config, augmentation, size) for augmentation in TWO_AUGMENTATIONS)
    if config.written:
        yield _written_arm(config)
    yield from _bidirectional_arms(config)
    for task, hints in config.tasks:
        yield _task_arm(config, task, hints)


def _finetuning_stage(training: TrainingConfig, adapter: LoRA | None) -> Stage:
    return Stage(name=FINETUNE_STAGE, training=training, adapter=adapter)


def _mixed_arm(
    config: BiographiesConfig, augmentation: str, qa_fraction: float, dose: QuestionDose | None = None
) -> Arm:
    """Biographies with questions between them; twice the batch, to have fewer steps, unless the steps are given."""
    fractions = config.pretraining.checkpoint_fractions if dose else config.mixed_checkpoint_fractions
    training = replace(config.pretraining, checkpoint_fractions=fractions)
    exposures = dose.exposures if dose and dose.exposures is not None else config.mixed_exposures or config.exposures
    fraction_for_steps = config.qa_fraction if dose and dose.same_steps else qa_fraction
    n_texts = exposures / config.exposures * config.world.people / (1 - fraction_for_steps)
    if config.mixed_steps is None:
        training = config.with_steps(replace(training, batch_size=2 * training.batch_size), n_texts)
    else:
        batch_size = round(config.exposures * n_texts / config.mixed_steps)
        training = replace(training, steps=config.mixed_steps, batch_size=batch_size)
    return replace(
        augmentation_arm(config, augmentation),
        name=mixed_arm_name(augmentation, dose),
        training=training,
        stages=(),
        qa_mixture=QAMixture(qa_fraction=qa_fraction),
    )


def _celebrities_arm(config: BiographiesConfig, texts: str = SINGLE_PERMUTE1) -> Arm:
    """A minority with one text each among celebrities with five; the model sees every text equally often."""
    population = replace(config.world, people=config.n_minority + config.n_celebrities, augmentation=SINGLE_PERMUTE1)
    if texts in ("prose", "prose+fullname"):
        grammar = ProseGrammar(repeat_full_name=texts != "prose")
        world: World = FreeCelebrities(population=population, minority_size=config.n_minority, rewriter=grammar)
    else:
        population = replace(population, augmentation=texts)
        world = Celebrities(
            population=population, minority_size=config.n_minority, celebrity_augmentation=MULTI5_PERMUTE
        )
    return replace(
        augmentation_arm(config, SINGLE_PERMUTE1),
        name=celebrities_arm_name(texts),
        world=world,
        training=config.with_steps(config.pretraining, config.n_minority + 5 * config.n_celebrities),
    )


def _finetuning_variant_arm(config: BiographiesConfig, name: str, variant: FinetuningVariant) -> Arm:
    arm = _celebrities_arm(config) if name == WITH_CELEBRITIES else augmentation_arm(config, name)
    return replace(
        arm,
        name=finetuning_arm_name(name, variant.name),
        stages=(_finetuning_stage(variant.training, variant.adapter),),
    )


def _prose_arm(config: BiographiesConfig, entries: int, *, fullname: bool = False) -> Arm:
    grammar = ProseGrammar(repeat_full_name=fullname)
    world = FreeBiographies(population=config.world, entries_per_person=entries, rewriter=grammar)
    return replace(augmentation_arm(config, SINGLE), name=prose_arm_name(entries, fullname=fullname), world=world)


def _written_arm(config: BiographiesConfig) -> Arm:
    """The people of a file, who are the first of all, in the texts that a language model wrote about them."""
    texts = PrewrittenTexts.from_file(config.written)
    people, entries = texts.shape
    world = FreeBiographies(population=replace(config.world, people=people), entries_per_person=entries, rewriter=texts)
    training = config.with_steps(config.pretraining, people)
    return replace(augmentation_arm(config, SINGLE), name=WRITTEN_ARM, world=world, training=training)


def _hiding_arm(config: BiographiesConfig, name: str, hidden: Hidden) -> Arm:
    """One wording and its copies; the model sees each of them as often as a text of the row."""
    row = augmentation_arm(config, SINGLE)
    assert isinstance(row.world, Biographies)
    world = HidingBiographies(population=row.world, hidden=hidden)
    return replace(row, name=name, world=world, training=config.with_steps(config.pretraining, _n_documents(world)))


def _n_documents(world: HidingBiographies) -> int:
    return world.n_entities * world.documents_per_entity


def _sized_arm(config: BiographiesConfig, augmentation: str, size: str) -> Arm:
    """A row read by a model of another size."""
    row = augmentation_arm(config, augmentation)
    training = config.with_steps(config.pretraining, config.size_exposure_factor * config.world.people)
    return replace(row, name=sized_arm_name(augmentation, size), model=config.sized(size), training=training)


def _minority_arms(config: BiographiesConfig) -> Iterator[Arm]:
    """Each further kind of a minority's texts alone and among celebrities, and all kinds among general text."""
    known = {*config.augmentations, *arms_by_wordings(config).values(), *map(prose_arm_name, config.prose_entries)}
    for texts in config.celebrity_pairs:
        if minority_arm_name(texts) not in known:
            yield _minority_arm(config, texts)
        yield _celebrities_arm(config, texts)
    for texts in (SINGLE_PERMUTE1, *config.celebrity_pairs) if config.replay else ():
        yield _replay_arm(config, _minority_arm(config, texts), replay_arm_name(texts))


def _minority_arm(config: BiographiesConfig, texts: str) -> Arm:
    if texts in ("prose", "prose+fullname"):
        return _prose_arm(config, 1, fullname=texts != "prose")
    return augmentation_arm(config, texts)


def _replay_arm(config: BiographiesConfig, arm: Arm, name: str) -> Arm:
    """The arm among pieces of general text. The model sees every person as often, so it takes more steps.

    Raises:
        SpecError: The folder has fewer pieces than the share asks for: the model would see people more often.
    """
    world = with_replay(arm.world, config.replay, config.replay_share, config.world.people)
    assert isinstance(world, WithReplay)
    if (found := world.texts.count_pieces(world.n_pieces)) < world.n_pieces:
        raise SpecError(
            f"the folder {config.replay} holds {found:,} pieces of {world.texts.words_per_piece} words, and a share of "
            f"{config.replay_share:g} beside {config.world.people:,} biographies takes {world.n_pieces:,}; give more "
            "text."
        )
    n_texts = config.world.people / (1 - config.replay_share)
    return replace(arm, name=name, world=world, training=config.with_steps(config.pretraining, n_texts))


def _bidirectional_arms(config: BiographiesConfig) -> Iterator[Arm]:
    """Models without a causal mask, fine-tuned and mixed."""
    stage = _finetuning_stage(config.bidirectional_finetuning, config.finetuning_adapter)
    for augmentation in config.bidirectional_augmentations:
        arm = replace(augmentation_arm(config, augmentation), stages=(stage,))
        yield _without_causal_mask(config, arm, config.bidirectional_exposure_factor)
    for augmentation in config.bidirectional_mixed_augmentations:
        mixed_arms = [_mixed_arm(config, augmentation, config.bidirectional_qa_fraction)]
        mixed_arms += [_mixed_arm(config, augmentation, d.qa_fraction, d) for d in config.bidirectional_question_doses]
        for arm in mixed_arms:
            yield _without_causal_mask(config, arm, config.bidirectional_mixed_exposure_factor)


def _without_causal_mask(config: BiographiesConfig, arm: Arm, exposure_factor: float) -> Arm:
    """The same arm of a bidirectional model. It trains longer, since it predicts 15 % of the words at a time."""
    training = replace(
        arm.training,
        steps=round(exposure_factor * arm.training.steps),
        window=None,
        peak_lr=config.bidirectional_peak_lr or arm.training.peak_lr,
    )
    return replace(
        arm,
        name=bidirectional_arm_name(arm.name),
        model=replace(config.architecture, family=ENCODER_FAMILIES[0], sequential_blocks=False),
        tokenizer=replace(config.tokenizer, has_mask_token=True),
        training=training,
    )


def _task_arm(config: BiographiesConfig, task: ManipulationTask, hints: float) -> Arm:
    world = Manipulation(population=config.world, task=task, hint_share=hints)
    stage = Stage(name=TASK_STAGE, training=config.finetuning, adapter=config.finetuning_adapter, data=world)
    return replace(augmentation_arm(config, MULTI5_PERMUTE), name=task_arm_name(task, hints=hints > 0), stages=(stage,))
