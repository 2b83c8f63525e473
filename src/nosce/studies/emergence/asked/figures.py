"""The figures of the study emergence on models of one's own: accuracy by length of the target, and scores by size."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.emergence.measures import ForecastFigure
from nosce.analysis.figures import Figure, LineFigure, LinePoint
from nosce.analysis.measures import Mean
from nosce.studies.emergence.asked.problems import WordProblems
from nosce.studies.emergence.asked.selections import asked_scores, task_curves
from nosce.studies.emergence.asked.sizes import AskedLadder
from nosce.studies.emergence.selections import EDIT_DISTANCE, LOG_LIKELIHOOD, NUMBER_DISTANCE

ASKED_METRIC_LABELS = {
    "exact": "exact match",
    "digits": "digits in their places",
    EDIT_DISTANCE: "edit distance (characters)",
    LOG_LIKELIHOOD: "log-likelihood (nats)",
    NUMBER_DISTANCE: "distance of the number (0 to 1)",
}


def asked_figures(problems: WordProblems, ladder: AskedLadder) -> Iterator[Figure]:
    """All figures; those by size are of a ladder alone."""
    yield _length_figure(problems, ladder, "exact")
    yield _length_figure(problems, ladder, "digits")
    yield _length_figure(problems, ladder, NUMBER_DISTANCE)
    if ladder.points:
        yield _sizes_figure(problems, ladder)
    if ladder.is_tested:
        yield ForecastFigure(
            id="foretold",
            title="Could the rise have been predicted?",
            caption="Exact match of each size, predicted from all smaller sizes. Bars: 95 % prediction intervals.",
            x_label=ladder.size_label,
            y_label="exact match",
            scaling_curves=tuple(task_curves(problems, ladder, task)[0] for task in problems.tasks),
        )


def _length_figure(problems: WordProblems, ladder: AskedLadder, metric: str) -> Figure:
    points = []
    for task in problems.tasks:
        for name in ladder.names:
            for length in problems.target_lengths(task):
                attributes = problems.attributes_by_length(task, length)
                scores = Mean(selection=asked_scores(task, name, attributes, metric))
                points.append(LinePoint(float(length), name, scores, panel=task))
    label, is_distance = ASKED_METRIC_LABELS[metric], metric == NUMBER_DISTANCE
    return LineFigure(
        id=f"lengths-{metric.replace(' ', '-')}",
        title=f"{label.capitalize()} by length of the target",
        caption=f"Problems asked in words behind {problems.shots} examples, none of which is asked; greedy replies. "
        f"Intervals over problems.{' A reply whose first line does not hold one number is left out.' * is_distance}",
        x_label="digits of the target",
        y_label=label,
        points=tuple(points),
        x_scale="linear",
    )


def _sizes_figure(problems: WordProblems, ladder: AskedLadder) -> Figure:
    points = []
    for metric, label in ASKED_METRIC_LABELS.items():
        for task in problems.tasks:
            group = f"{task}, {max(problems.digits_of(task))} digits"
            for size, name in ladder.points:
                if metric == LOG_LIKELIHOOD and name in ladder.without_likelihood:
                    continue
                scores = Mean(selection=asked_scores(task, name, problems.hardest_attributes(task), metric))
                points.append(LinePoint(size, group, scores, panel=label))
    caption = "The same replies; problems with the longest operands. Edit distances and digits are of characters; "
    caption += "the distance of a number leaves out replies whose first line does not hold one."
    return LineFigure(
        id="sizes",
        title="The same replies by several metrics",
        caption=f"{caption} {ladder.left_out}".strip(),
        x_label=ladder.size_label,
        y_label="",
        points=tuple(points),
        unit="number",
        y_scales="own",
    )
