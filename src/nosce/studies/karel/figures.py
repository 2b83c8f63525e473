"""The figures of the study karel: phases of training, probes, other meanings, edits."""

from __future__ import annotations

from dataclasses import replace

from nosce.analysis.figures import BarCell, BarFigure, Figure, TrainingCurveFigure
from nosce.analysis.headroom import NormalizedContrast
from nosce.analysis.measures import Mean
from nosce.analysis.selection import Selection
from nosce.analysis.training_curves import TrainingCurve
from nosce.evals.probing.program_states import BEHIND_BLOCK
from nosce.studies.karel.config import KarelConfig
from nosce.studies.karel.selections import (
    ACCURACY_CURVE,
    ALTERNATIVE_SEMANTICS,
    DISTINCT_PROGRAMS_CURVE,
    LOOPS_ARM,
    MOST_COMMON_PROGRAM_CURVE,
    ORIGINAL_ARM,
    PERPLEXITY_CURVE,
    PROBE_FEATURES,
    PROBE_OFFSETS,
    RANDOM_ARM,
    program_scores,
    semantic_content_curve,
    state_probe_scores,
)


def karel_figures(config: KarelConfig) -> tuple[Figure, ...]:
    """All figures of the study: training, probes, other meanings, edits, and program lengths."""
    return (
        *_training_figures(config),
        *_probe_figures(config.sites),
        *_semantics_figures(config.sites),
        *_length_figures(config.world.asked_lengths[1], config.seeds),
        *((_loops_figure(),) if config.loops_arm else ()),
    )


def _training_figures(config: KarelConfig) -> tuple[TrainingCurveFigure, ...]:
    x_label, x_per_step = "records seen", config.records_per_step
    fresh = TrainingCurve(selection=program_scores(arm=RANDOM_ARM, step="every"))
    return (
        TrainingCurveFigure(
            id="phases",
            title="Babbling, syntax, semantics",
            caption="Greedy programs under the grammar for unseen specifications: right on the pairs shown, right on "
            "hidden pairs too, equal to the author's, and the share that gets the most frequent program. "
            "Intervals over "
            "specifications and seeds; for the most frequent program the range over seeds.",
            y_label="share of specifications",
            panels=(
                (
                    "",
                    (
                        ("right", ACCURACY_CURVE),
                        ("right on hidden pairs too", TrainingCurve(selection=program_scores("strict", step="every"))),
                        ("the author's", TrainingCurve(selection=program_scores("reference", step="every"))),
                        ("the most frequent program", MOST_COMMON_PROGRAM_CURVE),
                        *((("right, from random weights", fresh),) if config.random_control else ()),
                    ),
                ),
            ),
            x_label=x_label,
            x_per_step=x_per_step,
        ),
        TrainingCurveFigure(
            id="diversity",
            title="How many different programs the model writes",
            caption="Different programs among the replies; bands are the range over seeds.",
            y_label="different programs",
            unit="number",
            panels=(("", (("different programs", DISTINCT_PROGRAMS_CURVE),)),),
            x_label=x_label,
            x_per_step=x_per_step,
        ),
        TrainingCurveFigure(
            id="perplexity",
            title="How surprising the authors' programs are to the model",
            caption="Perplexity a token of the reference programs, given their specifications; bands are the range "
            "over seeds.",
            y_label="perplexity",
            unit="number",
            panels=(("", (("perplexity", PERPLEXITY_CURVE),)),),
            x_label=x_label,
            x_per_step=x_per_step,
        ),
        TrainingCurveFigure(
            id="content",
            title="Semantic content over training",
            caption="Accuracy of a probe with one hidden layer above the best constant on the same programs; left on "
            "the programs that each checkpoint writes, right on one fixed set for all. Bands are the range over seeds.",
            y_label="above the constant",
            panels=(
                ("its own programs", _content_curves("along")),
                ("fixed programs", _content_curves("fixed")),
            ),
            x_label=x_label,
            x_per_step=x_per_step,
        ),
    )


def _content_curves(evaluation: str) -> tuple[tuple[str, TrainingCurve], ...]:
    """Semantic content of each feature, in the state after the operation being predicted and one operation further."""
    curves = []
    for feature in ("position", "front"):
        for offset in (0, 1):
            curves.append((f"{feature} {offset:+d}", semantic_content_curve(feature, offset, evaluation)))
    return tuple(curves)


def _probe_figures(sites: tuple[str, ...]) -> tuple[BarFigure, ...]:
    return (
        BarFigure(
            id="floors",
            title="What probes read with and without the model",
            caption="Test accuracy at the end of training; dashes are the best constant. Baselines give the same "
            "probe the start with the bag of operations, or the whole surface (board, counts, the operation "
            "predicted).",
            y_label="accuracy",
            cells=tuple(cell for feature, _ in PROBE_FEATURES for cell in _baseline_cells(feature)),
        ),
        BarFigure(
            id="probes",
            title="Probes by depth and offset",
            caption="Test accuracy on the model's own programs, by hidden layers of the probe; dashes are the best "
            "constant. Offset 0 is the state behind the operation being predicted. These probes learn from fewer "
            "programs than those that are compared with baselines.",
            y_label="accuracy",
            cells=tuple(cell for feature, _ in PROBE_FEATURES for cell in _grid_cells(feature)),
        ),
        BarFigure(
            id="layers",
            title="Probes by layer",
            caption="Test accuracy of a probe with one hidden layer on what each block adds up to, and on what the "
            "last norm leaves; dashes are the best constant. These probes too learn from fewer programs.",
            y_label="accuracy",
            cells=tuple(cell for feature, _ in PROBE_FEATURES for cell in _layer_cells(feature, sites)),
        ),
    )


def _semantics_figures(sites: tuple[str, ...]) -> tuple[BarFigure, ...]:
    return (
        BarFigure(
            id="intervention",
            title="The same hidden states, other meanings",
            caption="What share of the room above each meaning's own best constant a probe gains, for the trained and "
            "the untrained network, on position in the state behind the operation being predicted.",
            y_label="share of the room",
            cells=_intervention_cells(),
        ),
        BarFigure(
            id="edits",
            title="Does the model use the state?",
            caption="Share of pairs whose next word, after an edit of one hidden state, is right for the donor's state "
            "and wrong for the host's and for the control's. Swap: the donor's state; other (the control): the same "
            "words for a specification under which they need another next word; gradient: moved until probes read the "
            "donor's state; random: moved as far. Dashes: unedited.",
            y_label="next word right",
            cells=_edit_cells(sites[1:]),
        ),
    )


def _length_figures(max_length: int, seeds: tuple[int, ...]) -> tuple[BarFigure, ...]:
    return (
        BarFigure(
            id="length",
            title="How long the model's programs are, beside the authors'",
            caption="Mean operations of the programs for unseen specifications. Intervals are BCa over specifications "
            "with 9,999 samples, of each model alone, as in the paper.",
            y_label="operations",
            unit="number",
            cells=_mean_length_cells(seeds),
        ),
        BarFigure(
            id="lengths",
            title="Accuracy by the length of the author's program",
            caption="Right programs for unseen specifications, by how many operations their author's program has.",
            y_label="share right",
            cells=tuple(_accuracy_cell(length) for length in range(1, max_length + 1)),
        ),
    )


def _intervention_cells() -> tuple[BarCell, ...]:
    cells = []
    for meaning in ("original", *ALTERNATIVE_SEMANTICS):
        constant = state_probe_scores("position", 0, "constant", meaning)
        for group, source in (("trained", "mean/1"), ("untrained", "untrained/1")):
            score = state_probe_scores("position", 0, source, meaning)
            cells.append(BarCell(meaning, group, NormalizedContrast(terms=((1.0, score, constant),))))
    return tuple(cells)


def _mean_length_cells(seeds: tuple[int, ...]) -> tuple[BarCell, ...]:
    cells = []
    for seed in seeds:
        for group, metric in (("the model's", "length"), ("the authors'", "author")):
            cells.append(BarCell(f"seed {seed}", group, Mean(selection=program_scores(metric), seed=seed)))
    return tuple(cells)


def _accuracy_cell(length: int) -> BarCell:
    """Accuracy on the specifications whose author's program has so many operations."""
    selection = replace(program_scores(), attributes=(f"length {length}",))
    return BarCell(str(length), "right", Mean(selection=selection))


def _loops_figure() -> BarFigure:
    features = (feature for feature, _ in PROBE_FEATURES)
    return BarFigure(
        id="loops",
        title="States behind a loop or branch",
        caption="Test accuracy at the end of training, in the arm whose programs have loops and branches, on the state "
        "that the next operation leads to; dashes are the best constant there. A state is that of the program as it is "
        "written so far, with its open blocks closed. The bag and the surface count all words that stand before.",
        y_label="accuracy",
        cells=tuple(cell for name in features for cell in _baseline_cells(name, (0,), LOOPS_ARM, f" {BEHIND_BLOCK}")),
    )


def _baseline_cells(
    feature: str, offsets: tuple[int, ...] = (0, 1), arm: str = ORIGINAL_ARM, suffix: str = ""
) -> list[BarCell]:
    cells = []
    for offset in offsets:
        for group, source in (
            ("trained", "mean/1"),
            ("untrained", "untrained/1"),
            ("start and bag", "bag/1"),
            ("whole surface", "surface/1"),
        ):
            mean = Mean(selection=state_probe_scores(feature, offset, source, arm=arm, suffix=suffix))
            cells.append(BarCell(f"{offset:+d}", group, mean, panel=feature))
        constant = Mean(selection=state_probe_scores(feature, offset, "constant", arm=arm, suffix=suffix))
        cells.append(BarCell(f"{offset:+d}", "best constant", constant, panel=feature, baseline=True))
    return cells


def _edit_cells(sites: tuple[str, ...]) -> tuple[BarCell, ...]:
    cells = []
    for site in sites:
        for kind in ("swap", "other", "gradient", "random"):
            cells.append(
                BarCell(
                    site, kind, Mean(selection=Selection(evaluation="edits", metric=f"{kind}/{site}", arm=ORIGINAL_ARM))
                )
            )
        unedited = Mean(selection=Selection(evaluation="edits", metric="unedited", arm=ORIGINAL_ARM))
        cells.append(BarCell(site, "no edit", unedited, baseline=True))
    return tuple(cells)


def _layer_cells(feature: str, sites: tuple[str, ...]) -> list[BarCell]:
    cells = []
    for site in sites:
        for offset in (0, 1):
            measure = Mean(selection=state_probe_scores(feature, offset, f"{site}/1", evaluation="layers"))
            cells.append(BarCell(site, f"{offset:+d}", measure, panel=feature))
        constant = Mean(selection=state_probe_scores(feature, 0, "constant", evaluation="layers"))
        cells.append(BarCell(site, "best constant at +0", constant, panel=feature, baseline=True))
    return cells


def _grid_cells(feature: str) -> list[BarCell]:
    cells = []
    for offset in PROBE_OFFSETS:
        for depth, group in enumerate(("linear", "one hidden layer", "two hidden layers")):
            measure = Mean(selection=state_probe_scores(feature, offset, f"mean/{depth}", evaluation="grid"))
            cells.append(BarCell(f"{offset:+d}", group, measure, panel=feature))
        constant = Mean(selection=state_probe_scores(feature, offset, "constant", evaluation="grid"))
        cells.append(BarCell(f"{offset:+d}", "best constant", constant, panel=feature, baseline=True))
    return cells
