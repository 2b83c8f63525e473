"""How many requests each part of the protocol of introspection in words makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nosce.studies.introspection.prompted_names import changed_name, taught_name, tested_name
from nosce.studies.introspection.prompted_requests import MAX_GIVEN_QUESTIONS, AskedPrompts
from nosce.studies.introspection.prompted_teaching import LabelTeaching
from nosce.studies.introspection.subjects import Subject


def expected_parts(
    asked: AskedPrompts, subjects: Mapping[str, Subject], targets: Sequence[str], teaching: LabelTeaching
) -> dict[str, int]:
    """The number of requests of each part, if every target takes all its rounds.

    Args:
        asked: The prompts, and how much is asked.
        subjects: The subjects by their letters.
        targets: The letters of the subjects that are taught labels of their own answers.
        teaching: How labels are taught.
    """
    n_prompts, n_unseen = len(asked.prompts), len(asked.unseen_prompts)
    parts: dict[str, int] = {}
    draws: dict[str, int] = {}
    for letter, subject in subjects.items():
        draws[letter] = asked.limits.draws_of(is_deterministic=subject.is_deterministic)
    for letter, subject in subjects.items():
        parts |= {f"{letter} answers": n_prompts * draws[letter]} | _rest_parts(asked, letter)
        if not subject.is_deterministic and draws[letter] == 1:
            parts[f"{letter} answers again"] = n_prompts
    for letter in targets:
        name = taught_name(letter, letter)
        for number in range(1, teaching.max_rounds + 1):
            parts[f"{name} round {number} answers"] = n_prompts * draws[letter]
        parts |= _rest_parts(asked, name)
        for other in (other for other, subject in subjects.items() if other != letter and subject.is_teachable):
            name = taught_name(other, letter)
            parts |= {f"{name} answers": n_unseen * draws[other]} | _rest_parts(asked, name)
    for letter in subjects:
        n_samples = asked.limits.n_samples * len(asked.sampled_prompts)
        parts[f"{tested_name(letter, targets)} sampled answers"] = n_samples
    if teaching.change and "A" in targets:
        for letter in (letter for letter, subject in subjects.items() if subject.is_teachable):
            name = changed_name(taught_name(letter, "A"))
            parts |= {f"{name} answers": n_unseen * draws["A"]} if letter == "A" else {}
            parts[f"{name} reports"] = len(asked.unseen_cases)
    return parts


def _rest_parts(asked: AskedPrompts, name: str) -> dict[str, int]:
    """The reports of a model, those on quoted answers, and the samples of its reports."""
    n_reports = len(asked.unseen_cases)
    n_sampled = asked.limits.n_samples * sum(len(p.property_names) for p in asked.sampled_prompts)
    given = min(MAX_GIVEN_QUESTIONS, n_reports)
    return {f"{name} reports": n_reports, f"{name} given": given, f"{name} sampled reports": n_sampled}
