"""The figures of the study biographies on its further arms: probes of all rows, minorities, sizes, hidden values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nosce.analysis.figures import BarCell, BarFigure
from nosce.analysis.measures import Mean
from nosce.analysis.selection import Selection
from nosce.studies.biographies.arms import (
    HIDING_ARMS,
    WRITTEN_ARM,
    celebrities_arm_name,
    minority_arm_name,
    replay_arm_name,
    sized_arm_name,
)
from nosce.studies.biographies.config import SINGLE, SINGLE_PERMUTE1, TWO_AUGMENTATIONS, BiographiesConfig
from nosce.studies.biographies.evals import COUPLES_P_PROBE
from nosce.studies.biographies.selections import (
    NON_DATE_ATTRIBUTES,
    SECOND_ATTRIBUTES,
    couples_p_probe_accuracy,
    extraction_accuracy,
    hidden_recall_accuracy,
    majority_accuracy,
    p_probe_accuracy,
    p_probe_majority_accuracy,
    recall_accuracy,
)

CAPTION = "People of whom no question was ever trained. Intervals over people and training seeds."


def further_biographies_figures(config: BiographiesConfig) -> Iterator[BarFigure]:
    """The figures on the arms that the scale has."""
    if config.reads_states:
        yield _figure(
            "p-probe-rows",
            "What can be read at the first place of a text, row by row?",
            f"First tokens of the five later values, by P-probing right before the first value. {CAPTION}",
            _row_cells(config),
        )
    if config.coupled_augmentations:
        yield _figure(
            "couples",
            "Is a value read behind its partner?",
            "The second value of each pair of neighbouring sentences: before any value, and behind one value, its "
            f"partner's or another one. {CAPTION}",
            _couple_cells(config),
        )
    if config.celebrity_pairs or config.replay:
        yield _figure(
            "minorities",
            "Celebrities and general text beside people with one text",
            f"Exact answers about the people with one text, after fine-tuning on questions about others. {CAPTION}",
            _minority_cells(config),
        )
    if config.sizes:
        yield _figure(
            "sizes",
            "Does size help?",
            f"One wording and five shuffled ones, read by models of several sizes. {CAPTION}",
            _size_cells(config),
        )
    if config.hides_values:
        yield _figure(
            "hiding",
            "Is one wording extractable when its values are also learnt without those before them?",
            "Copies of the texts hide the values before a value, or as many other words; five values without the birth "
            f"date, which no value precedes. {CAPTION}",
            _hiding_cells(),
        )
    if config.written:
        yield _figure("written", "Texts that a language model wrote", CAPTION, _written_cells())


def _figure(id: str, title: str, caption: str, cells: Iterator[BarCell]) -> BarFigure:
    return BarFigure(id=id, title=title, caption=caption, y_label="accuracy", cells=tuple(cells), kind="bars")


def _cell(tick: str, group: str, selection: Selection, *, panel: str = "", baseline: bool = False) -> BarCell:
    return BarCell(tick, group, Mean(selection=selection), panel=panel, baseline=baseline)


def _row_cells(config: BiographiesConfig) -> Iterator[BarCell]:
    for row in config.augmentations:
        yield _cell(row, "read before the first value", p_probe_accuracy(row))
        yield _cell(row, "most frequent class", p_probe_majority_accuracy(row), baseline=True)


def _couple_cells(config: BiographiesConfig) -> Iterator[BarCell]:
    for row in config.coupled_augmentations:
        none = replace(p_probe_accuracy(row), evaluation=COUPLES_P_PROBE, attributes=SECOND_ATTRIBUTES)
        yield _cell(row, "before any value", none)
        yield _cell(row, "behind another value", couples_p_probe_accuracy(row, "other"))
        yield _cell(row, "behind its partner", couples_p_probe_accuracy(row, "partner"))


def _minority_cells(config: BiographiesConfig) -> Iterator[BarCell]:
    for texts in (SINGLE_PERMUTE1, *config.celebrity_pairs):
        alone = minority_arm_name(texts)
        yield _cell(alone, "alone", extraction_accuracy(alone))
        if config.n_celebrities:
            yield _cell(alone, "with celebrities", extraction_accuracy(celebrities_arm_name(texts)))
        if config.replay:
            yield _cell(alone, "with general text", extraction_accuracy(replay_arm_name(texts)))
        yield _cell(alone, "majority guess", majority_accuracy(alone), baseline=True)


def _size_cells(config: BiographiesConfig) -> Iterator[BarCell]:
    own_size = f"{config.architecture.layers}x{config.architecture.width}"
    for row in TWO_AUGMENTATIONS:
        for size, arm in ((own_size, row), *((size, sized_arm_name(row, size)) for size in config.sizes)):
            yield _cell(size, "recalled in the texts", recall_accuracy(arm), panel=row)
            yield _cell(size, "asked about unseen people", extraction_accuracy(arm), panel=row)
            yield _cell(size, "majority guess", majority_accuracy(arm), panel=row, baseline=True)


def _hiding_cells() -> Iterator[BarCell]:
    for arm in (SINGLE, *HIDING_ARMS):
        yield _cell(arm, "recalled in the texts", recall_accuracy(arm))
        yield _cell(arm, "recalled without the values before", hidden_recall_accuracy(arm))
        yield _cell(arm, "asked about unseen people", extraction_accuracy(arm, NON_DATE_ATTRIBUTES))
        majority = replace(majority_accuracy(arm), attributes=NON_DATE_ATTRIBUTES)
        yield _cell(arm, "majority guess", majority, baseline=True)


def _written_cells() -> Iterator[BarCell]:
    yield _cell(WRITTEN_ARM, "recalled in the texts", recall_accuracy(WRITTEN_ARM))
    yield _cell(WRITTEN_ARM, "asked about unseen people", extraction_accuracy(WRITTEN_ARM))
    yield _cell(WRITTEN_ARM, "majority guess", majority_accuracy(WRITTEN_ARM), baseline=True)
