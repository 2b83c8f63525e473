"""The readings that the claims and figures of introspection in words select, by name."""

from __future__ import annotations

from nosce.analysis.measures import Contrast
from nosce.analysis.selection import Selection
from nosce.data.worlds.behaviours.natural_text import BUILT_IN_TASKS, HELD_OUT_TEXT_TASKS
from nosce.data.worlds.behaviours.text_behaviours import TextTasks
from nosce.studies.introspection.prompted_names import observers_name, reports_name

BASELINE_NAMES = ("constant", "nearest", "logistic")  # that learn from labels; the oracle sees the tested answers
TRAINED_TEXT_TASKS = BUILT_IN_TASKS.trained
BRIER = "squared distance"


def prompted_scores(
    evaluation: str,
    metric: str = "right",
    *,
    tasks: tuple[str, ...] | None = HELD_OUT_TEXT_TASKS,
    quantity: str = "share",
    catalogue: TextTasks = BUILT_IN_TASKS,
) -> Selection:
    """Readings about strings of the unseen split, of held-out tasks; `tasks=None`: of all tasks.

    For a world with other tasks `prompted_tasks.for_tasks` puts these in the place of the built-in ones.
    """
    attributes = () if tasks is None else catalogue.attributes(tasks)
    return Selection(evaluation=evaluation, metric=metric, attributes=attributes, split="unseen", quantity=quantity)


def prompted_reports(predictor: str, target: str, *, tasks: tuple[str, ...] | None = HELD_OUT_TEXT_TASKS) -> Selection:
    """Whether a predictor's reports about a target are right."""
    return prompted_scores(reports_name(predictor, target), tasks=tasks)


def observer_scores(labels_of: str, target: str, metric: str) -> Selection:
    """Whether a baseline without a model, or a rule, is right about a target."""
    return prompted_scores(observers_name(labels_of, target), metric)


def gain(a: Selection, b: Selection) -> Contrast:
    """By how much the mean of one selection exceeds that of another, on the strings that both have.

    Strings whose answer is invalid for one of two targets leave the comparison, as in the paper.
    """
    return Contrast(terms=((1.0, a), (-1.0, b)))


def prompted_crossed(first: tuple[str, str], second: tuple[str, str]) -> Contrast:
    """(A on A - B on A) - (A on B - B on B), which skill alone cannot raise.

    Args:
        first: A target, and the other model's predictor of it.
        second: The other model, and the target's predictor of it.
    """
    terms = []
    for target, predictor in (first, second):
        terms += [(1.0, prompted_reports(target, target)), (-1.0, prompted_reports(predictor, target))]
    return Contrast(terms=tuple(terms))
