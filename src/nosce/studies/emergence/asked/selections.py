"""The readings and curves of the study emergence on models of one's own."""

from __future__ import annotations

from nosce.analysis.answer_numbers import NumberScore
from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec
from nosce.analysis.selection import Selection
from nosce.analysis.stats.ranges import NON_POSITIVE
from nosce.studies.emergence.asked.problems import ArithmeticTask, WordProblems
from nosce.studies.emergence.asked.sizes import AskedLadder
from nosce.studies.emergence.selections import EDIT_DISTANCE, LOG_LIKELIHOOD, NUMBER_DISTANCE

ASKED_QUANTITIES = {EDIT_DISTANCE: "characters", LOG_LIKELIHOOD: "nats", NUMBER_DISTANCE: NUMBER_DISTANCE}


def asked_scores(
    task: ArithmeticTask, model: str | None, attributes: tuple[str, ...] = (), metric: str = "exact"
) -> Selection:
    """What became of a model's problems of a task; a number's distance is taken from the replies of exact match."""
    quantity = ASKED_QUANTITIES.get(metric, "share")
    limits = NON_POSITIVE if metric == LOG_LIKELIHOOD else None
    is_distance = metric == NUMBER_DISTANCE
    return Selection(
        evaluation=task,
        metric="exact" if is_distance else metric,
        arm=model,
        attributes=attributes,
        quantity=quantity,
        limits=limits,
        rescore=NumberScore(kind="distance") if is_distance else None,
    )


def asked_curves(problems: WordProblems, ladder: AskedLadder) -> tuple[ScalingCurveSpec, ...]:
    """The curves of the mirage test of all tasks."""
    return tuple(curve for task in problems.tasks for curve in task_curves(problems, ladder, task))


def task_curves(problems: WordProblems, ladder: AskedLadder, task: ArithmeticTask) -> tuple[ScalingCurveSpec, ...]:
    """The curves of the mirage test of a task: its problems with the longest operands; none for too few sizes."""
    if not ladder.is_tested:
        return ()
    metrics = [EDIT_DISTANCE] if ladder.without_likelihood else [LOG_LIKELIHOOD, EDIT_DISTANCE]
    return tuple(_curve(problems, ladder, task, metric) for metric in metrics)


def _curve(problems: WordProblems, ladder: AskedLadder, task: ArithmeticTask, metric: str) -> ScalingCurveSpec:
    label = {LOG_LIKELIHOOD: "log-likelihood", EDIT_DISTANCE: "edit distance"}[metric]
    attributes = problems.hardest_attributes(task)
    digits = max(problems.digits_of(task))
    return ScalingCurveSpec(
        id=f"{task}-{label}".replace(" ", "-"),
        title=f"{task.capitalize()} of {digits} digits, exact match beside {label}",
        x_label=ladder.size_label,
        points=ladder.points,
        sharp=asked_scores(task, None, attributes),
        continuous=(asked_scores(task, None, attributes, metric),),
        lower_is_better=metric == EDIT_DISTANCE,
        log_likelihood=metric == LOG_LIKELIHOOD,
    )
