"""What must hold of an arm before a claim about it is judged, and what a blind guess is worth."""

from __future__ import annotations

from nosce.analysis.claims import Precondition
from nosce.analysis.measures import ComplementShare, Mean
from nosce.studies.diaries.config import DiariesConfig
from nosce.studies.diaries.selections import SEEN_RECITATION, document_recall, recitation_scores

#: Share of the trained questions that must be answered before the claims about other questions are judged.
MIN_SEEN_ACCURACY = 0.9
MIN_ROOM = 0.1  # by which a share must lie below 1, so that another share can lie above it


def learned_preconditions(*arms: str) -> tuple[Precondition, ...]:
    """The model answers trained questions, and its replies can be counted.

    A claim about a trend over sizes or numbers requires this of the last arm alone: a small model that does not even
    learn its trained questions, as the paper says of its smallest, is part of the trend.
    """
    preconditions = []
    for arm in arms:
        preconditions += [answered_precondition(arm), readable_precondition(arm)]
    return tuple(preconditions)


def answered_precondition(arm: str) -> Precondition:
    """The model answers the questions that it was trained on."""
    answered = Mean(selection=recitation_scores(arm, evaluation=SEEN_RECITATION))
    return Precondition(
        text=f"trained questions answered by {arm}", measure=answered, above=MIN_SEEN_ACCURACY, by_interval=True
    )


def readable_precondition(arm: str) -> Precondition:
    """The model's replies to other questions have entries that can be counted."""
    readable = Mean(selection=recitation_scores(arm, "readable"))
    return Precondition(text=f"replies readable by {arm}", measure=readable, above=MIN_SEEN_ACCURACY, by_interval=True)


def room_precondition(arm: str, metric: str) -> Precondition:
    """A share of an arm lies so far below 1 that it can differ from a larger one."""
    room = ComplementShare(selection=recitation_scores(arm, metric))
    return Precondition(text=f"room above the {metric} of {arm}", measure=room, above=MIN_ROOM, by_interval=True)


def memorised_precondition(config: DiariesConfig, arm: str) -> Precondition:
    """The model recalls the values in its documents at the end of its first training."""
    recalled = Mean(selection=document_recall(config, arm))
    return Precondition(
        text=f"values in documents recalled by {arm}", measure=recalled, above=MIN_SEEN_ACCURACY, by_interval=True
    )


def count_chance(config: DiariesConfig) -> float:
    """How often a blind guess of the number of entries is right."""
    low, high = config.world.entries
    return 1 / (high - low + 1)
