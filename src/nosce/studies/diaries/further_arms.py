"""Arms beyond the paper's grid: equal steps, longer entries, further questions, and a start from general text.

Each differs in one thing from the reference arm, which is the scattered arm of the first family's largest size at the
reference number of diarists; the larger number of diarists is of an encoder-decoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nosce.data.worlds.base import World
from nosce.data.worlds.biographies.world import Biographies
from nosce.data.worlds.diaries import Diaries
from nosce.data.worlds.shared_words import WithWords
from nosce.data.worlds.text_folder import TextFolder
from nosce.errors import SpecError
from nosce.models.architecture import Architecture
from nosce.studies.diaries.arms import SCATTERED, SETUPS, grid_arm, grid_arm_name, setup_world, trained_arm
from nosce.studies.diaries.config import DiariesConfig
from nosce.study import Arm, Stage

WITHOUT_ENTRIES, SKIPPED_NUMBERS, NUMBER_ASKED = "people without entries", "skipped numbers", "number asked"
FURTHER_QUESTIONS = (WITHOUT_ENTRIES, SKIPPED_NUMBERS, NUMBER_ASKED)
FRESH_START, TEXT_FIRST = "fresh start", "text first"  # from random weights, or from weights that learnt general text
DIARIES_STAGE = "diaries"  # the stage of the arm `text first` that trains on diaries
PEOPLE_PER_PERSON_WITHOUT = 4  # diarists for each person without entries
GAP_SHARE = 0.5  # of the diarists with two entries or more skip a number
TEXT_BATCH = 64  # biographies of a step; a biography has ten times as many tokens as an entry
#: Values of the general text: few, since each is a token that the diaries do not need.
TEXT_WORLD = Biographies(
    augmentation="multi5+permute",
    name_pool_sizes=(64, 64, 64),
    years=40,
    cities=40,
    universities=40,
    majors=40,
    companies=40,
)


def equal_steps_name(family: str, model_size: str, diarists: int, setup: str) -> str:
    """The name of an arm that takes as many steps as that of the most diarists; it may be that arm itself."""
    return f"{grid_arm_name(family, model_size, diarists, setup)} at equal steps"


def entry_length_name(n_facts: int) -> str:
    """The name of the arm whose entries all have so many facts."""
    return f"entries of {n_facts} {'fact' if n_facts == 1 else 'facts'}"


def further_arms(config: DiariesConfig) -> tuple[Arm, ...]:
    """All arms beyond the grid."""
    return (
        *_equal_steps_arms(config),
        *_larger_encoder_decoder_arms(config),
        *_entry_length_arms(config),
        *_further_question_arms(config),
        *_start_arms(config),
    )


def equal_steps(config: DiariesConfig) -> int:
    """The steps of the scattered arm of the most diarists, which all arms at equal steps take."""
    family, _, largest = config.primary_ladder
    return grid_arm(config, family, largest, config.diarist_counts[-1], SCATTERED).training.steps


def _equal_steps_arms(config: DiariesConfig) -> Iterator[Arm]:
    """The largest size, but for the arm that gives the steps."""
    if not config.equal_steps:
        return
    family, _, largest = config.primary_ladder
    for setup in SETUPS:
        for count in equal_steps_counts(config, setup):
            if (count, setup) != (config.diarist_counts[-1], SCATTERED):
                name = equal_steps_name(family, largest, count, setup)
                yield _with_steps(grid_arm(config, family, largest, count, setup), name, equal_steps(config))


def equal_steps_counts(config: DiariesConfig, setup: str) -> tuple[int, ...]:
    """Numbers of diarists at equal steps: all when scattered; the fewest and the most when merged, which is twice as
    many tokens a step.
    """
    counts = config.diarist_counts
    return counts if setup == SCATTERED else tuple(dict.fromkeys((counts[0], counts[-1])))


def _with_steps(arm: Arm, name: str, steps: int) -> Arm:
    return replace(arm, name=name, training=replace(arm.training, steps=steps))


def _larger_encoder_decoder_arms(config: DiariesConfig) -> Iterator[Arm]:
    """More diarists for the largest encoder-decoder, and fewer diarists in as many steps."""
    count, reference = config.encoder_decoder_diarists, config.reference_diarists
    for family in config.trained_encoder_decoders if count else ():
        size = config.sizes_by_family[family][-1]
        more = replace(grid_arm(config, family, size, count, SCATTERED), n_seeds=None)
        if (size, count) not in config.trained_cells(family):
            yield more
        if not config.encoder_decoder_equal_steps:
            continue
        name = equal_steps_name(family, size, reference, SCATTERED)
        yield _with_steps(grid_arm(config, family, size, reference, SCATTERED), name, more.training.steps)


def _reference_arm(config: DiariesConfig, name: str, world: Diaries) -> Arm:
    """An arm like the reference arm, on another world."""
    family, _, largest = config.primary_ladder
    return trained_arm(config, name, family, largest, world)


def _reference_world(config: DiariesConfig) -> Diaries:
    return setup_world(config, config.reference_diarists, SCATTERED)


def _entry_length_arms(config: DiariesConfig) -> Iterator[Arm]:
    for n_facts in config.entry_lengths:
        world = replace(_reference_world(config), attributes=(n_facts, n_facts))
        yield _reference_arm(config, entry_length_name(n_facts), world)


def _further_question_arms(config: DiariesConfig) -> Iterator[Arm]:
    """People of whom nothing is written, numbers that are skipped, and the question for the number of entries."""
    if not config.further_questions:
        return
    world = _reference_world(config)
    without = world.n_diarists // PEOPLE_PER_PERSON_WITHOUT
    yield _reference_arm(config, WITHOUT_ENTRIES, replace(world, people_without_entries=without))
    yield _reference_arm(config, SKIPPED_NUMBERS, replace(world, gap_share=GAP_SHARE))
    yield _reference_arm(config, NUMBER_ASKED, replace(world, ask_entry_count=True))


def text_world(config: DiariesConfig) -> World:
    """The general text: biographies, or the texts of a folder.

    Raises:
        SpecError: The folder holds no text.
    """
    if config.text_folder:
        return TextFolder.from_folder(config.text_folder)
    return replace(TEXT_WORLD, people=config.text_people)


def _start_arms(config: DiariesConfig) -> Iterator[Arm]:
    """The reference arm with a larger vocabulary: from random weights, and after general text.

    Raises:
        SpecError: The first family's largest size is a folder, which is pretrained already.
    """
    if not config.text_steps:
        return
    diaries, text = _reference_world(config), text_world(config)
    fresh = _reference_arm(config, FRESH_START, diaries)
    if not isinstance(fresh.model, Architecture):
        raise SpecError(f"text_steps={config.text_steps} trains a model on text first that is pretrained; take 0.")
    world = WithWords(world=diaries, other_worlds=(text,))
    yield replace(fresh, world=world)
    first = replace(config.training, steps=config.text_steps, batch_size=TEXT_BATCH, checkpoint_fractions=(1.0,))
    stage = Stage(name=DIARIES_STAGE, training=fresh.training, data=world, qa_mixture=fresh.qa_mixture)
    yield replace(
        fresh,
        name=TEXT_FIRST,
        world=WithWords(world=text, other_worlds=(diaries,)),
        training=first,
        qa_mixture=None,
        stages=(stage,),
    )


def diaries_of(arm: Arm) -> Diaries:
    """The diaries that an arm is asked about."""
    world: object = arm.stages[-1].data if arm.name == TEXT_FIRST else arm.world
    world = world.world if isinstance(world, WithWords) else world
    assert isinstance(world, Diaries)
    return world
