"""The figures of the arms beyond the paper's grid: equal steps, two phases, what was never read, lengths and starts."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.figures import BarCell, BarFigure, Figure, LineFigure, LinePoint
from nosce.analysis.measures import Mean
from nosce.analysis.selection import Selection
from nosce.studies.diaries.arms import QUESTIONS_STAGE, SETUPS, TWO_PHASES
from nosce.studies.diaries.config import DiariesConfig
from nosce.studies.diaries.further_arms import (
    FRESH_START,
    NUMBER_ASKED,
    SKIPPED_NUMBERS,
    TEXT_FIRST,
    WITHOUT_ENTRIES,
)
from nosce.studies.diaries.further_claims import denial_scores, length_arms
from nosce.studies.diaries.preconditions import count_chance
from nosce.studies.diaries.selections import (
    SEEN_RECITATION,
    UNSEEN_DIARISTS_CAPTION,
    arms_by_diarists,
    document_recall,
    equal_steps_arms,
    recitation_of,
    recitation_scores,
    reference_arm,
    told_number,
)
from nosce.study import PRETRAIN

_METRICS = (("whole", "exact"), ("number of entries", "count"), ("content of entries", "content"))


def further_diaries_figures(config: DiariesConfig) -> Iterator[Figure]:
    """The figures whose arms are trained."""
    if config.equal_steps and len(config.diarist_counts) > 1:
        yield _equal_steps_figure(config)
    if config.ablations and config.has_primary_decoder:
        yield _phases_figure(config)
    if config.entry_lengths:
        yield _entry_length_figure(config)
    if config.further_questions:
        yield _never_read_figure(config)
    if config.text_steps:
        yield _starts_figure()


def _equal_steps_figure(config: DiariesConfig) -> LineFigure:
    largest = config.primary_ladder[2]
    points = []
    for setup in SETUPS:
        arms_by_panel = {
            "equal passes": arms_by_diarists(config, largest, setup),
            "equal steps": equal_steps_arms(config, setup),
        }
        for panel, arms in arms_by_panel.items():
            for count, arm in arms:
                points.append(LinePoint(float(count), setup, Mean(selection=recitation_scores(arm)), panel=panel))
    return LineFigure(
        id="equal-steps",
        title="More diarists, or more steps?",
        caption=f"Share of diaries {UNSEEN_DIARISTS_CAPTION} that are recalled whole, at the largest size. Left every "
        "training passes over its texts equally often, so that more diarists are more optimizer steps; right every "
        "training has as many steps as that of the most scattered diarists.",
        x_label="diarists",
        y_label="recalled whole",
        points=tuple(points),
    )


def _phases_figure(config: DiariesConfig) -> BarFigure:
    plain = reference_arm(config)
    cells = []
    for group, arm, stage in (
        ("one training", plain, PRETRAIN),
        ("two phases, after documents", TWO_PHASES, PRETRAIN),
        ("two phases, after questions", TWO_PHASES, QUESTIONS_STAGE),
    ):
        cells.append(BarCell("values in documents", group, Mean(selection=document_recall(config, arm, stage))))
        if (arm, stage) != (TWO_PHASES, PRETRAIN):  # whose model has read no question yet
            for tick, evaluation in (("trained questions", SEEN_RECITATION), ("other questions", "written")):
                cells.append(BarCell(tick, group, Mean(selection=recitation_scores(arm, evaluation=evaluation))))
    return BarFigure(
        id="phases",
        title="Two phases: not learnt, or forgotten?",
        caption="Share of the values in documents that are recalled, given all the text before them, and of diaries "
        "that are recalled whole: with documents and questions in one training, and at the end of each of two phases.",
        y_label="share",
        cells=tuple(cells),
    )


def _entry_length_figure(config: DiariesConfig) -> LineFigure:
    points = []
    for n_facts, arm in length_arms(config):
        for group, metric in _METRICS:
            points.append(LinePoint(float(n_facts), group, Mean(selection=recitation_scores(arm, metric))))
        trained = Mean(selection=recitation_scores(arm, evaluation=SEEN_RECITATION))
        points.append(LinePoint(float(n_facts), "whole, of trained questions", trained, baseline=True))
    return LineFigure(
        id="entry-lengths",
        title="Longer entries",
        caption=f"Scattered diaries {UNSEEN_DIARISTS_CAPTION}, by the facts of an entry, of which all entries of "
        f"an arm have equally many; the largest size at {config.reference_diarists:,} diarists.",
        x_label="facts of an entry",
        y_label="share",
        points=tuple(points),
    )


def _never_read_figure(config: DiariesConfig) -> BarFigure:
    """People without entries, skipped numbers and the number of entries, each beside what it is held against."""
    shown: tuple[tuple[str, str, Selection], ...] = (
        ('said to have written "nothing"', "no entries", denial_scores(config, of_people_with_entries=False)),
        ('said to have written "nothing"', "entries", denial_scores(config, of_people_with_entries=True)),
        ("number written", "skipped", recitation_scores(SKIPPED_NUMBERS, "number/skipped")),
        ("number written", "there", recitation_scores(SKIPPED_NUMBERS, "number/there")),
        ("recalled whole", "number skipped", recitation_scores(SKIPPED_NUMBERS, "exact/gap")),
        ("recalled whole", "none skipped", recitation_scores(SKIPPED_NUMBERS, "exact/no gap")),
        ("number of entries right", "told", told_number(NUMBER_ASKED)),
        ("number of entries right", "recited", recitation_of(config, NUMBER_ASKED, "count")),
    )
    return BarFigure(
        id="never-read",
        title="Does it know what it never read?",
        caption=f"Shares of replies about people {UNSEEN_DIARISTS_CAPTION.removeprefix('of people ')}. In "
        f"{WITHOUT_ENTRIES!r} a fifth of the people wrote nothing; in {SKIPPED_NUMBERS!r} half of the diaries skip a "
        f"number; in {NUMBER_ASKED!r} the number of entries is asked for too, which a blind guess gets right "
        f"{count_chance(config):.0%} of the time.",
        y_label="share",
        cells=tuple(BarCell(tick, "share", Mean(selection=one), panel) for panel, tick, one in shown),
    )


def _starts_figure() -> BarFigure:
    cells = []
    for group, arm in (("random weights", FRESH_START), ("general text first", TEXT_FIRST)):
        for tick, metric in _METRICS:
            cells.append(BarCell(tick, group, Mean(selection=recitation_scores(arm, metric))))
        trained = Mean(selection=recitation_scores(arm, evaluation=SEEN_RECITATION))
        cells.append(BarCell("whole, of trained questions", group, trained))
    return BarFigure(
        id="starts",
        title="From random weights, or after general text?",
        caption=f"Scattered diaries {UNSEEN_DIARISTS_CAPTION}, of one architecture and one tokenizer.",
        y_label="share",
        cells=tuple(cells),
    )
