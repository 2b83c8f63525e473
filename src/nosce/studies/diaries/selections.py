"""The readings that the claims and figures of the study diaries select, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from nosce.analysis.jackknife import Auc
from nosce.analysis.selection import Selection
from nosce.analysis.stats.ranges import UNBOUNDED
from nosce.data.worlds.diaries.templates import DIARY_ATTRIBUTES
from nosce.data.worlds.diaries.world import ENTRY_COUNT_ATTRIBUTE, ENTRY_NUMBER_ATTRIBUTE, recall_attribute
from nosce.studies.diaries.arms import MERGED, QUESTIONS_STAGE, SCATTERED, TWO_PHASES, grid_arm_name
from nosce.studies.diaries.config import DiariesConfig
from nosce.studies.diaries.further_arms import DIARIES_STAGE, TEXT_FIRST, equal_steps_counts, equal_steps_name
from nosce.study import PRETRAIN

RECITATION = "written"  # the evaluation of questions that were never trained on, of both halves of these people
SEEN_RECITATION = "trained"  # the evaluation of questions that were trained on
DOCUMENT_RECALL = "documents"  # numbers and values inside documents, given all the text before them
TEXT_RECALL = "text"  # values inside the general text that one arm reads before the diaries
#: What the number in a document's title costs the model, and a predictor that does not know the name.
HEADER_RECALL, HEADER_FREQUENCIES = "titles", "frequencies"
UNSEEN_DIARISTS_CAPTION = "of people who were never asked about"
ENTRY_METRICS = ("recalled", "off")  # numbers of entries; all other metrics of recitation are shares
#: The stage that is read of an arm, where it is not the first.
_STAGES = {TWO_PHASES: QUESTIONS_STAGE, TEXT_FIRST: DIARIES_STAGE}


def reading_stage(arm: str) -> str:
    """The stage of an arm after which it is asked for diaries."""
    return _STAGES.get(arm, PRETRAIN)


def recitation_scores(
    arm: str, metric: str = "exact", evaluation: str = RECITATION, step: Literal["last", "every"] = "last"
) -> Selection:
    """How well an arm recites diaries: whole diaries, their number of entries, their contents, or their faults."""
    quantity = "entries" if metric in ENTRY_METRICS else "share"
    limits = UNBOUNDED if metric == "off" else None  # the number of titles too many, which may be negative
    return Selection(
        evaluation=evaluation,
        metric=metric,
        arm=arm,
        stage=reading_stage(arm),
        step=step,
        quantity=quantity,
        limits=limits,
    )


def recitation_by_entries(arm: str, n_entries: int) -> Selection:
    """How often an arm recites a diary of `n_entries` entries whole."""
    return replace(recitation_scores(arm), attributes=(recall_attribute(n_entries),))


def recitation_of(config: DiariesConfig, arm: str, metric: str = "exact") -> Selection:
    """How well an arm recites the diaries of people with entries, where it is asked other questions too."""
    low, high = config.world.entries
    attributes = tuple(recall_attribute(n) for n in range(low, high + 1))
    return replace(recitation_scores(arm, metric), attributes=attributes)


def told_number(arm: str, metric: str = "exact") -> Selection:
    """The answers to the question for the number of entries."""
    return replace(recitation_scores(arm, metric), attributes=(ENTRY_COUNT_ATTRIBUTE,))


def document_recall(config: DiariesConfig, arm: str, stage: str = PRETRAIN) -> Selection:
    """How often values inside documents are recalled at the end of a stage."""
    attributes = DIARY_ATTRIBUTES[: config.world.n_attributes]
    return Selection(evaluation=DOCUMENT_RECALL, arm=arm, attributes=attributes, stage=stage)


def stop_scores(arm: str, metric: str, evaluation: str = "stops") -> Selection:
    """The stop decisions behind true entries, or with `evaluation="retold"` behind entries with other contents."""
    quantity = "nats" if metric in ("stops", "content") else "share"
    return Selection(evaluation=evaluation, metric=metric, arm=arm, stage=PRETRAIN, quantity=quantity)


def stop_auc(arm: str) -> Auc:
    """How well an arm's stop probability separates last entries from others; a half is chance."""
    return Auc(positives=stop_scores(arm, "stop/last"), negatives=stop_scores(arm, "stop/before"))


def header_nats(arm: str, metric: str = "nats", evaluation: str = HEADER_RECALL) -> Selection:
    """What the number of the entry in a document's title costs an arm, in nats."""
    stage = PRETRAIN if evaluation == HEADER_RECALL else None
    return Selection(
        evaluation=evaluation,
        metric=metric,
        arm=arm,
        attributes=(ENTRY_NUMBER_ATTRIBUTE,),
        stage=stage,
        quantity="nats",
    )


def count_probe_scores(arm: str, metric: str) -> Selection:
    """Whether a probe reads the number of entries."""
    return Selection(evaluation="counted", metric=metric, arm=arm, stage=PRETRAIN)


def patched_stop_scores(arm: str, metric: str) -> Selection:
    """Whether the model stops where the donor's list ends."""
    return Selection(evaluation="patched", metric=metric, arm=arm, stage=PRETRAIN)


def reference_arm(config: DiariesConfig, setup: str = SCATTERED, family: str | None = None) -> str:
    """The arm of the largest size at the middle number of diarists."""
    family = family or config.families[0]
    return grid_arm_name(family, config.sizes_by_family[family][-1], config.reference_diarists, setup)


def arms_by_diarists(
    config: DiariesConfig, model_size: str, setup: str = SCATTERED, family: str | None = None
) -> list[tuple[int, str]]:
    """Numbers of diarists, and the arms of one size."""
    family = family or config.families[0]
    return [(count, grid_arm_name(family, model_size, count, setup)) for count in config.diarist_counts]


def equal_steps_arms(config: DiariesConfig, setup: str) -> list[tuple[int, str]]:
    """Numbers of diarists, and the arms of the largest size that all take the steps of the most diarists."""
    family, _, largest = config.primary_ladder
    arms = []
    for count in equal_steps_counts(config, setup):
        is_source = (count, setup) == (config.diarist_counts[-1], SCATTERED)  # the arm whose steps the others take
        name = grid_arm_name if is_source else equal_steps_name
        arms.append((count, name(family, largest, count, setup)))
    return arms


def smallest_size_arms(config: DiariesConfig) -> list[tuple[int, str]]:
    """Numbers of diarists, and the arms of the smallest size."""
    counts = dict.fromkeys((*config.diarist_counts, *config.extra_diarist_counts))
    family, smallest, _ = config.primary_ladder
    return [(count, grid_arm_name(family, smallest, count, SCATTERED)) for count in sorted(counts)]


def arms_by_size(config: DiariesConfig, setup: str = SCATTERED, family: str | None = None) -> list[tuple[str, str]]:
    """Sizes, and the arms at the middle number of diarists."""
    family = family or config.families[0]
    sizes, count = config.sizes_by_family[family], config.reference_diarists
    return [(model_size, grid_arm_name(family, model_size, count, setup)) for model_size in sizes]


def merged_scattered_pairs(config: DiariesConfig) -> list[tuple[str, str]]:
    """Every cell of the first family: the merged and the scattered arm."""
    family, pairs = config.families[0], []
    for model_size, count in config.trained_cells(family):
        merged, scattered = (grid_arm_name(family, model_size, count, setup) for setup in (MERGED, SCATTERED))
        pairs.append((merged, scattered))
    return pairs
