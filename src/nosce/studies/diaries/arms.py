"""The arms of the study diaries: sizes and numbers of diarists by family, and arms that each test one thing.

Where the grid is no rectangle it is a cross: every size at one number of diarists, and the largest size at the fewest;
of the first family the largest and the smallest size at every number. Every arm makes equally many passes over its
documents, and over its questions: steps follow from the number of documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean

from nosce.data.round_trip import comes_back
from nosce.data.tokenizer import load_tokenizer
from nosce.data.worlds.diaries import Diaries
from nosce.models.architecture import Architecture, Pretrained
from nosce.studies.diaries.config import DiariesConfig
from nosce.study import Arm, Stage
from nosce.train.config import QAMixture

SCATTERED, MERGED = "scattered", "merged"  # a document an entry, or one a diarist
SETUPS = (SCATTERED, MERGED)
#: Arms beside the grid; each differs in one thing from the scattered arm of the largest size at the reference number.
HEADER_MASKED, HEADER_NUMBER_FIRST, TWO_PHASES = "header masked", "number first", "two phases"
#: The same of an encoder-decoder: its target repeats the title, and its encoder reads the title or the name alone.
HEADER_REPEATED, HEADER_NAME_ONLY = "header repeated", "header learnt"
QUESTIONS_STAGE = "questions"  # the second stage of the arm in two phases


def grid_arm_name(family: str, model_size: str, diarists: int, setup: str) -> str:
    """The name of an arm of the grid, such as `pythia 3x128 2048 merged`."""
    return f"{family} {model_size} {diarists} {setup}"


def random_arm_name(config: DiariesConfig, family: str) -> str:
    """The name of the arm that trains a family's smallest model from random weights."""
    return f"{family} {config.sizes_by_family[family][0]} from random weights"


def diaries_arms(config: DiariesConfig) -> tuple[Arm, ...]:
    """All arms, those of the first family first."""
    return (
        *_grid_arms(config),
        *_extra_world_arms(config),
        *_header_ablation_arms(config),
        *_encoder_header_arms(config),
        *(_random_weights_arm(config, family) for family in config.control_families),
    )


def _random_weights_arm(config: DiariesConfig, family: str) -> Arm:
    """The scattered arm of a family's smallest model, with the model's architecture alone."""
    smallest, count = config.sizes_by_family[family][0], config.reference_diarists
    pretrained = grid_arm(config, family, smallest, count, SCATTERED)
    assert isinstance(pretrained.model, Pretrained)  # a family without is no control family
    fresh = replace(pretrained.model, random_weights=True)
    return replace(pretrained, name=random_arm_name(config, family), model=fresh, adapter=None)


def _grid_arms(config: DiariesConfig) -> Iterator[Arm]:
    for family in config.families:
        for model_size, count in config.trained_cells(family):
            for setup in SETUPS:
                yield grid_arm(config, family, model_size, count, setup)
    family, smallest, _ = config.primary_ladder
    for count in config.extra_diarist_counts:
        yield grid_arm(config, family, smallest, count, SCATTERED)


def grid_arm(config: DiariesConfig, family: str, model_size: str, count: int, setup: str) -> Arm:
    """An arm of the grid: a family's size on so many diarists, scattered or merged."""
    name = grid_arm_name(family, model_size, count, setup)
    return trained_arm(config, name, family, model_size, setup_world(config, count, setup))


def setup_world(config: DiariesConfig, diarists: int, setup: str) -> Diaries:
    """The study's world with so many diarists, scattered or merged."""
    return replace(config.world, n_diarists=diarists, merge_entries=setup == MERGED)


def _extra_world_arms(config: DiariesConfig) -> Iterator[Arm]:
    """Two arms, scattered and merged, for each other shape of diaries."""
    family, _, largest = config.primary_ladder
    for name, world in config.extra_worlds.items():
        for setup in SETUPS:
            merged_or_not = replace(world, merge_entries=setup == MERGED)
            arm = trained_arm(config, f"{name} {setup}", family, largest, merged_or_not)
            yield replace(arm, n_seeds=config.n_secondary_seeds)


def _header_ablation_arms(config: DiariesConfig) -> Iterator[Arm]:
    """Arms that differ in one thing from the reference arm: the loss on titles, their order, or the schedule."""
    if not (config.has_title_arms and config.has_primary_decoder):
        return
    family, _, largest = config.primary_ladder
    world = setup_world(config, config.reference_diarists, SCATTERED)
    plain = trained_arm(config, "", family, largest, world)
    yield replace(plain, name=HEADER_MASKED, training=replace(plain.training, prompt_loss_weight=0.0))
    if not config.ablations:
        return
    yield trained_arm(config, HEADER_NUMBER_FIRST, family, largest, replace(world, header="number first"))
    yield _two_phases_arm(config, plain, world)


def _encoder_header_arms(config: DiariesConfig) -> Iterator[Arm]:
    """The same of an encoder-decoder, whose target has titles too."""
    world = setup_world(config, config.reference_diarists, SCATTERED)
    for encoder_decoder in config.trained_encoder_decoders if config.has_title_arms else ():
        size = config.sizes_by_family[encoder_decoder][-1]
        repeated = trained_arm(config, HEADER_REPEATED, encoder_decoder, size, replace(world, repeat_title=True))
        yield replace(repeated, n_seeds=None)
        name_only = trained_arm(config, HEADER_NAME_ONLY, encoder_decoder, size, replace(world, repeat_title="name"))
        yield replace(name_only, n_seeds=None)


def _two_phases_arm(config: DiariesConfig, plain: Arm, world: Diaries) -> Arm:
    """The arm that trains on all documents first and on the questions afterwards."""
    n_documents, n_questions = _n_texts(config, world)
    document_training = replace(plain.training, steps=_n_steps(config, n_documents))
    question_training = replace(plain.training, steps=_n_steps(config, n_questions))
    question_stage = Stage(name=QUESTIONS_STAGE, training=question_training)
    return replace(plain, name=TWO_PHASES, qa_mixture=None, training=document_training, stages=(question_stage,))


def _n_texts(config: DiariesConfig, world: Diaries) -> tuple[float, float]:
    """How many documents and how many questions a training reads, counting each pass."""
    documents_per_diarist = 1.0 if world.merge_entries else fmean(world.entries)
    n_documents = config.document_epochs * world.n_diarists * documents_per_diarist
    n_questions = config.question_epochs * world.n_people * (1 + world.ask_entry_count) * world.train_share
    return n_documents, n_questions


def _n_steps(config: DiariesConfig, n_texts: float) -> int:
    return max(1, round(n_texts / config.training.batch_size))


def _carried_world(world: Diaries, model: Architecture | Pretrained) -> Diaries:
    """The world in an encoding that the model's tokenizer gives back: T5's own, of the pretrained folder, has no lines.

    Raises:
        DataError: The model's folder has no tokenizer.
    """
    if isinstance(model, Pretrained) and world.encoding == "paper" and drops_line_breaks(Path(model.folder)):
        return replace(world, encoding="one line")
    return world


@cache
def drops_line_breaks(folder: Path) -> bool:
    """Does the tokenizer of a model's folder lose line breaks?

    Raises:
        DataError: The folder has no tokenizer.
    """
    return not comes_back(load_tokenizer(folder), "one\ntwo")


def trained_arm(config: DiariesConfig, name: str, family: str, model_size: str, world: Diaries) -> Arm:
    """An arm of a family's size on a world, trained for as many passes as every arm."""
    model = config.model(family, model_size)
    world = _carried_world(world, model)
    n_documents, n_questions = _n_texts(config, world)
    qa_fraction = n_questions / ((1 - config.qa_start_fraction) * (n_documents + n_questions))
    is_encoder_decoder = family in config.encoder_decoders
    training = replace(
        config.training,
        steps=_n_steps(config, n_documents + n_questions),
        peak_lr=config.peak_lrs.get(f"{family} {model_size}", config.training.peak_lr),
        prompt_loss_weight=0.0 if is_encoder_decoder else config.training.prompt_loss_weight,
    )
    is_largest = model_size == config.sizes_by_family[family][-1]
    if is_encoder_decoder:
        is_in_claims = is_largest and world.n_diarists == config.reference_diarists
    else:
        is_in_claims = family == "opt" and not world.merge_entries and world.n_diarists == config.compared_diarists
    has_all_seeds = family == config.families[0] or is_in_claims
    return Arm(
        name=name,
        world=world,
        model=model,
        training=training,
        adapter=config.adapter if isinstance(model, Pretrained) else None,
        tokenizer=world.tokenizer,
        qa_mixture=QAMixture(qa_fraction=round(qa_fraction, 4), start_fraction=config.qa_start_fraction),
        n_seeds=None if has_all_seeds else config.n_secondary_seeds,
    )
