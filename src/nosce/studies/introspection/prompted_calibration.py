"""How near reports lie to the probabilities of the answers: by sampled replies, and by the probability of the label.

A label's probability in a report is that of the report's first token, where the folder or the endpoint gives it: a
token that begins one label alone counts for this label. A label's probability among the answers is its share among
sampled answers, or, where the prompt wants a letter or a digit, the probability of the answers that have it.

Source: Binder et al. 2024 (arXiv:2410.13787), section 3.3 (samples); its released code has first-token probabilities,
which the paper does not use. The Brier score is a proper score; a report's probability of no label counts in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.models.api.base import ChatResponse
from nosce.studies.introspection.prompted_names import drawn_name, exact_name, likely_name
from nosce.studies.introspection.prompted_requests import Case, ModelReplies, Questioner
from nosce.studies.introspection.prompted_scoring import is_report_match, report_attribute, scored_frame, scored_row

CALIBRATION_RANKS = 3
NO_LABEL = ""  # what a report says that names no label


def calibration_tables(questioner: Questioner, predictor: ModelReplies, target: ModelReplies) -> Iterator[pl.DataFrame]:
    """The predictor's probabilities beside the target's: `drawn`, `likely` and `exact`, as far as they are known."""
    labels = _labels_by_attribute(questioner, target)
    drawn_rows, likely_rows, exact_rows = [], [], []
    for (prompt_id, property_name), report in predictor.reports.items():
        case, prompt = (prompt_id, property_name), questioner.prompt_by_id[prompt_id]
        drawn = _drawn_labels(questioner, case, target)
        samples = predictor.sampled_reports.get(case, ())
        if drawn and samples:
            shares = sampled_report_shares(samples, drawn)
            drawn_rows += distribution_rows(
                drawn_name(predictor.name, target.name), prompt, property_name, "drawn", drawn, shares
            )
        if not report.first_token_logprobs:
            continue
        known = labels.get(report_attribute(prompt, property_name), set())
        if drawn:
            probabilities = label_probabilities(report, sorted(known | drawn.keys()))
            likely_rows += distribution_rows(
                likely_name(predictor.name, target.name), prompt, property_name, "drawn", drawn, probabilities
            )
        if exact := _exact_labels(questioner, case, target):
            probabilities = label_probabilities(report, sorted(known | exact.keys()))
            exact_rows += distribution_rows(
                exact_name(predictor.name, target.name), prompt, property_name, "answer", exact, probabilities
            )
    yield from (scored_frame(rows) for rows in (drawn_rows, likely_rows, exact_rows) if rows)


def distribution_rows(
    evaluation: str,
    prompt: BehaviourPrompt,
    property_name: str,
    source: str,
    answers: Mapping[str, float],
    reports: Mapping[str, float],
) -> list[dict[str, object]]:
    """The most probable labels among answers with their probability in reports, and the Brier score of all labels.

    Args:
        evaluation: Name of the evaluation.
        prompt: The prompt.
        property_name: The property.
        source: "drawn" for shares among sampled answers, "answer" for probabilities.
        answers: Label -> probability among answers.
        reports: Label -> probability in reports; what is missing to 1 belongs to no label.
    """
    ranked = sorted(answers.items(), key=lambda pair: (-pair[1], pair[0]))
    rows = []
    for rank, (label, probability) in enumerate(ranked[:CALIBRATION_RANKS], 1):
        for metric, value in ((f"{source} {rank}", probability), (f"report {rank}", reports.get(label, 0.0))):
            rows.append(scored_row(evaluation, prompt, property_name, metric, value, target=label))
    known = dict.fromkeys((*answers, *reports))  # in order: a set of strings has another one in every process
    missing = max(0.0, 1.0 - sum(reports.values()))
    brier = sum((answers.get(label, 0.0) - reports.get(label, 0.0)) ** 2 for label in known) + missing**2
    rows.append(scored_row(evaluation, prompt, property_name, "brier", brier, target=ranked[0][0]))
    return rows


def sampled_report_shares(reports: Sequence[ChatResponse], labels: Mapping[str, float]) -> dict[str, float]:
    """The share of sampled reports that name each label; a report that names another counts as that, stripped."""
    counts: Counter[str] = Counter()
    for report in reports:
        counts[next((label for label in labels if is_report_match(report.text, label)), report.text.strip())] += 1
    return {label: count / len(reports) for label, count in counts.items() if label != NO_LABEL}


def label_probabilities(report: ChatResponse, labels: Sequence[str]) -> dict[str, float]:
    """The probability of each label in a report, by its first token."""
    probabilities, _ = report.label_probabilities(labels)
    return {label: min(1.0, value) for label, value in probabilities.items() if value}


def _labels_by_attribute(questioner: Questioner, target: ModelReplies) -> dict[str, set[str]]:
    """The labels that a report about a property may name: those of a closed list, or those of the target's answers."""
    labels: dict[str, set[str]] = {}
    for case in questioner.unseen_cases:
        prompt = questioner.prompt_by_id[case[0]]
        found = labels.setdefault(report_attribute(prompt, case[1]), set())
        if closed := questioner.world.labels(case[1], prompt):
            found.update(closed)
        elif (label := questioner.label(case, target.answers)) is not None:
            found.add(label)
    return labels


def _drawn_labels(questioner: Questioner, case: Case, target: ModelReplies) -> dict[str, float]:
    """The share of each label among the sampled answers that have one; empty without samples."""
    prompt = questioner.prompt_by_id[case[0]]
    found = [questioner.scorer.label(prompt, case[1], answer) for answer in target.sampled_answers.get(case[0], ())]
    counts = Counter(label for label in found if label is not None)
    return {label: count / counts.total() for label, count in counts.items()}


def _exact_labels(questioner: Questioner, case: Case, target: ModelReplies) -> dict[str, float]:
    """The probability of each label under the target's answer, where one token is a valid answer; else empty."""
    prompt = questioner.prompt_by_id[case[0]]
    answer, valid_answers = target.answers[case[0]], questioner.world.closed_answers(prompt)
    if not answer.first_token_logprobs or not questioner.scorer.is_valid_answer(prompt, answer):
        return {}
    if not valid_answers:
        return {}
    probabilities, _ = answer.label_probabilities(valid_answers)
    labels: dict[str, float] = {}
    for text, probability in probabilities.items():
        label = questioner.scorer.label(prompt, case[1], ChatResponse(text=text, finish_reason="stop"))
        if label is not None and probability:
            labels[label] = labels.get(label, 0.0) + probability
    total = sum(labels.values())
    return {label: probability / total for label, probability in labels.items()}
