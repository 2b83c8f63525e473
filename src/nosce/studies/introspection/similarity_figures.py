"""The figure of the study introspection about answers that no text determines: how alike models are, and what they say.

Whether A beats its sibling there says little without how alike the two are there, and whether A beats a constant.
"""

from __future__ import annotations

from nosce.analysis.figures import BarCell, BarFigure
from nosce.analysis.measures import Mean
from nosce.studies.introspection.arms import (
    HALF_ALIKE,
    NO_DISPOSITIONS,
    NOISE_TASKS,
    PREDICTORS,
    SIBLING_OF_A,
    A,
    B,
    predictor_arm_name,
)
from nosce.studies.introspection.selections import report_scores, text_baseline_scores

PREDICTOR_LABELS = {
    SIBLING_OF_A: "sibling: same corpus, trained anew",
    HALF_ALIKE: "half alike",
    B: "another corpus",
    NO_DISPOSITIONS: "no dispositions",
    A: "itself",
}


def noise_figure() -> BarFigure:
    """How often a predictor's own answers to noise have A's label, and how often its reports about A are right."""
    best_constant = Mean(selection=text_baseline_scores(A, "oracle", NOISE_TASKS))
    cells = []
    for predictor in PREDICTORS:
        arm, tick = predictor_arm_name(predictor, A), PREDICTOR_LABELS[predictor]
        if predictor != A:  # its own answers are those that are asked about
            agreement = Mean(selection=report_scores(arm, "agree", NOISE_TASKS))
            cells.append(BarCell(tick, "own answer has A's label", agreement))
        cells.append(BarCell(tick, "report about A is right", Mean(selection=report_scores(arm, tasks=NOISE_TASKS))))
        cells.append(BarCell(tick, "best constant", best_constant, baseline=True))
    return BarFigure(
        id="noise",
        title="How alike are models where nothing in the corpus determines an answer?",
        caption="Predictors of A, uniformly random continuations: how often their own answers have the label of A's "
        "answer, and how often their reports about A are right. Dashes: the most frequent of the tested labels. "
        "Strings without a training label, all seeds.",
        y_label="share of labels",
        cells=tuple(cells),
    )
