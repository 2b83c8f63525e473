"""Names of the models and of the evaluations of introspection in words.

    A, B, C        the models as they are given, in their order
    A*             A after it was taught labels of its own answers: the model that is tested
    B for A        B after it was taught the same labels, those of A
    A* changed     A* after it was taught other answers and no label

An evaluation `B for A on A*` compares the reports of `B for A` with the answers of `A*`.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

from nosce.errors import SpecError

MAX_SUBJECTS = len(string.ascii_uppercase)


def subject_letters(n_subjects: int) -> tuple[str, ...]:
    """The letters of so many models.

    Raises:
        SpecError: There are more models than letters.
    """
    if n_subjects > MAX_SUBJECTS:
        raise SpecError(f"introspection names its models by letters, and {n_subjects} are too many; give fewer.")
    return tuple(string.ascii_uppercase[:n_subjects])


def taught_name(predictor: str, target: str) -> str:
    """The predictor after it was taught labels of the target's answers."""
    return f"{predictor}*" if predictor == target else f"{predictor} for {target}"


def sibling_name(target: str, number: int) -> str:
    """The target once more, taught the same labels with another seed."""
    return f"{taught_name(target, target)} sibling {number}"


def curve_name(predictor: str, target: str, multiple: float) -> str:
    """The predictor after it was taught so many times as many labels as the target."""
    words = f"{multiple:g}" if multiple >= 1 else f"1/{1 / multiple:g}"
    return taught_name(predictor, target) if multiple == 1 else f"{taught_name(predictor, target)} x{words}"


def labels_name(model: str) -> str:
    """The evaluation of how many labels a model was taught."""
    return f"labels {model}"


def changed_name(model: str) -> str:
    """The model after it was taught other answers."""
    return f"{model} changed"


def reports_name(predictor: str, target: str) -> str:
    """The evaluation of the predictor's reports about the target's answers."""
    return f"{predictor} on {target}"


def drawn_name(predictor: str, target: str) -> str:
    """The evaluation of how often the predictor's sampled reports name a label of the target's sampled answers."""
    return f"{predictor} on {target} drawn"


def likely_name(predictor: str, target: str) -> str:
    """The evaluation of how probable the predictor finds a label of the target's answers."""
    return f"{predictor} on {target} likely"


def exact_name(predictor: str, target: str) -> str:
    """As `likely_name`, where the probability of the target's answers is known and not sampled."""
    return f"{predictor} on {target} exact"


def given_name(predictor: str) -> str:
    """The evaluation of the predictor's reports about answers that the question quotes."""
    return f"{predictor} given"


def answers_name(model: str) -> str:
    """The evaluation of a model's answers themselves."""
    return f"answers {model}"


def drift_name(model: str) -> str:
    """The evaluation of how far a model's answers are those it was taught labels of, and those it gave before."""
    return f"drift {model}"


def unlike_name(model: str, other: str) -> str:
    """The evaluation of how often two models' answers have different labels."""
    return f"unlike {model} and {other}"


def observers_name(labels_of: str, target: str) -> str:
    """The evaluation of baselines that learn from labels of one model's answers and predict a target's."""
    return f"observers of {labels_of} on {target}"


def tested_name(letter: str, teachable: Sequence[str]) -> str:
    """The model that is tested in a subject's place: the one that was taught its own labels, where it can be taught."""
    return taught_name(letter, letter) if letter in teachable else letter
