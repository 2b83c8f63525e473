"""The figures of the study emergence: the same outputs by several metrics, along sizes, tokens, loss and digits."""

from __future__ import annotations

from nosce.analysis.emergence.measures import ForecastFigure
from nosce.analysis.figures import Figure, LineFigure, LinePoint, TrainingCurveFigure
from nosce.analysis.measures import Mean
from nosce.analysis.selection import Selection
from nosce.analysis.training_curves import TrainingCurve
from nosce.studies.emergence.selections import (
    EDIT_DISTANCE,
    LOG_LIKELIHOOD,
    NUMBER_DISTANCE,
    LengthRuns,
    SizeLadder,
    TransferRuns,
    VisionLadder,
    length_attribute,
    problem_scores,
    readable_numbers,
)

METRIC_LABELS = {
    "exact": "exact match",
    EDIT_DISTANCE: "edit distance (tokens)",
    LOG_LIKELIHOOD: "log-likelihood (nats)",
}
SIZE_LABELS = {**METRIC_LABELS, NUMBER_DISTANCE: "distance of the number (0 to 1)"}


def emergence_figures(
    ladders: tuple[SizeLadder, ...],
    vision_ladders: tuple[VisionLadder, ...],
    lengths: LengthRuns | None = None,
    transfer: TransferRuns | None = None,
) -> tuple[Figure, ...]:
    """All figures of the study; those about lengths and transfer where such arms are trained."""
    return (
        _sizes_figure(ladders),
        *(_training_figure(ladder) for ladder in ladders),
        *(_loss_figure(ladder) for ladder in ladders),
        *(_digits_figure(ladder) for ladder in ladders),
        ForecastFigure(
            id="foretold",
            title="Could the rise have been predicted?",
            caption="Exact match of each size, predicted from all smaller sizes: from exact match alone, through the "
            "log-likelihood, or as equal to the size before. Bars: 95 % prediction intervals.",
            x_label="weights",
            y_label="exact match",
            scaling_curves=tuple(ladder.curve_by_size() for ladder in ladders),
        ),
        *(_vision_figure(one) for one in vision_ladders),
        *([_length_figure(lengths)] if lengths else []),
        *([_transfer_figure(transfer)] if transfer else []),
    )


def _sizes_figure(ladders: tuple[SizeLadder, ...]) -> LineFigure:
    points = []
    for metric, label in SIZE_LABELS.items():
        for ladder in ladders:
            for size, arm in (*ladder.points, *ladder.untested_points):
                scores = Mean(selection=problem_scores(arm, metric))
                points.append(LinePoint(size, ladder.name, scores, panel=label))
    for ladder in ladders:
        for size, arm in (*ladder.points, *ladder.untested_points):
            share = Mean(selection=readable_numbers(arm))
            points.append(LinePoint(size, ladder.name, share, panel="replies that hold a number (share)"))
    max_tested_size = max(ladder.points[-1][0] for ladder in ladders)
    untested_note = (
        f" Beyond {max_tested_size:,.0f} weights: one seed, not tested."
        if any(one.untested_points for one in ladders)
        else ""
    )
    return LineFigure(
        id="sizes",
        title="The same outputs by four metrics",
        caption="Problems that no training showed, in either order; means over seeds and problems. The distance of a "
        f"number leaves out replies that hold none, whose share stands in the last panel.{untested_note}",
        x_label="weights",
        y_label="",
        points=tuple(points),
        unit="number",
        y_scales="own",
    )


def _length_figure(runs: LengthRuns) -> LineFigure:
    points = []
    for metric in ("exact", EDIT_DISTANCE):
        for _, arm in runs.arms:
            for digits in runs.answer_lengths:
                scores = Mean(selection=problem_scores(arm, metric, attributes=length_attribute(digits)))
                points.append(LinePoint(float(digits), _shape_label(arm), scores, panel=METRIC_LABELS[metric]))
    return LineFigure(
        id="lengths",
        title="Exact match and edit distance by the length of the answer",
        caption="Products of a factor of two to five digits with one of one digit, unpadded and learnt together. If "
        "each digit is right with the same probability, exact match falls geometrically and edit distance rises "
        "linearly.",
        x_label="digits of the answer",
        y_label="",
        points=tuple(points),
        unit="number",
        x_scale="linear",
        y_scales="own",
    )


def _transfer_figure(runs: TransferRuns) -> LineFigure:
    points = []
    for size, arm in runs.ladder.points:
        for label, attributes in (("mean of both", ()), ("sums", ("+",)), ("products", ("*",))):
            scores = Mean(selection=problem_scores(arm, attributes=attributes))
            points.append(LinePoint(size, label, scores))
    for size, arm in runs.alone:
        points.append(LinePoint(size, "products learnt alone", Mean(selection=problem_scores(arm))))
    return LineFigure(
        id="together",
        title="Two tasks learnt together",
        caption="Exact match by size, of sums and products of the same numbers, each seen as often as the products "
        "that are learnt alone.",
        x_label="weights",
        y_label="exact match",
        points=tuple(points),
    )


def _training_figure(ladder: SizeLadder) -> TrainingCurveFigure:
    return TrainingCurveFigure(
        id=f"{ladder.name}-training",
        title=f"{ladder.name.capitalize()} along training",
        caption="Each size at twelve checkpoints, evenly spaced in the logarithm of tokens.",
        x_label="tokens seen",
        y_label="",
        panels=tuple((label, _training_curves(ladder, metric)) for metric, label in METRIC_LABELS.items()),
        x_per_step=ladder.tokens_per_step,
        unit="number",
        x_scale="log",
        y_scales="own",
    )


def _training_curves(ladder: SizeLadder, metric: str) -> tuple[tuple[str, TrainingCurve], ...]:
    """The scores of each size over training."""
    selections = {_shape_label(arm): problem_scores(arm, metric, "every") for _, arm in ladder.points}
    return tuple((label, TrainingCurve(selection=selection)) for label, selection in selections.items())


def _loss_figure(ladder: SizeLadder) -> LineFigure:
    points = []
    for _, arm in ladder.points:
        for step in ladder.checkpoint_steps:
            log_likelihood = Mean(selection=problem_scores(arm, LOG_LIKELIHOOD, step))
            exact_match = Mean(selection=problem_scores(arm, "exact", step))
            points.append(LinePoint(log_likelihood, _shape_label(arm), exact_match))
    return LineFigure(
        id=f"{ladder.name}-loss",
        title=f"{ladder.name.capitalize()}, exact match against loss",
        caption="Every size at every checkpoint. If exact match depended on loss alone, all points would lie on "
        "one curve.",
        x_label="log-likelihood of an answer (nats)",
        y_label="exact match",
        points=tuple(points),
        x_scale="linear",
    )


def _digits_figure(ladder: SizeLadder) -> LineFigure:
    points = []
    for metric, panel in (("place", "this digit is right"), ("first", "all digits up to it are")):
        for _, arm in ladder.points:
            for digit in range(1, ladder.answer_digits + 1):
                accuracy = Mean(selection=problem_scores(arm, f"{metric} {digit}"))
                points.append(LinePoint(float(digit), _shape_label(arm), accuracy, panel=panel))
    return LineFigure(
        id=f"{ladder.name}-places",
        title=f"{ladder.name.capitalize()}, digit by digit",
        caption="After training; digits in the order in which they are written, the last digit of the number first.",
        x_label="digit",
        y_label="share",
        points=tuple(points),
        x_scale="linear",
    )


def _vision_figure(vision_ladder: VisionLadder) -> LineFigure:
    sharp, smooth, _, x_label = vision_ladder.metrics
    metrics = {
        "reconstruction": (*(f"within {limit:g}" for limit in vision_ladder.error_thresholds), "squared_error"),
        "classes": ("right", "all 3", "all 10", "nats"),
        "sequences": ("right", "all 3", "all 5", "nats 5"),
    }[vision_ladder.kind]
    points = []
    for metric in metrics:
        label = metric.replace("_", " ")
        panel = label if metric == smooth or "nats" in metric else "share"
        for size, arm in vision_ladder.points:
            scores = Mean(selection=_vision_scores(vision_ladder.kind, arm, metric))
            points.append(LinePoint(size, label, scores, panel=panel))
    return LineFigure(
        id=vision_ladder.kind,
        title=f"{vision_ladder.kind.capitalize()}: {sharp}, and the scores behind it",
        caption=f"{_images_caption(vision_ladder)}; means over seeds.",
        x_label=x_label,
        y_label="",
        points=tuple(points),
        unit="number",
        y_scales="own",
    )


def _images_caption(vision_ladder: VisionLadder) -> str:
    if vision_ladder.images:
        return f"{vision_ladder.images}, its own test images held out"
    return "Digits that come with scikit-learn, 500 of them held out"


def _vision_scores(kind: str, arm: str, metric: str) -> Selection:
    quantity = "nats" if "nats" in metric else "error" if "error" in metric else "share"
    return Selection(evaluation=kind, metric=metric, arm=arm, quantity=quantity)


def _shape_label(arm: str) -> str:
    """The shape alone."""
    return arm.rpartition(" ")[2]
