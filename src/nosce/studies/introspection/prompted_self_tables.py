"""The readings of what models know about themselves: reports against behaviour, constants, and given transcripts.

Source: Binder et al. 2024 (arXiv:2410.13787), section 3.2, for the best constant, and appendix A.1.6: an invalid report
is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import polars as pl

from nosce.data.worlds.behaviours.self_knowledge import NO_ADVANTAGE_TASKS, SELF_TASKS, SelfQuestion
from nosce.models.api.base import ChatResponse
from nosce.studies.introspection.prompted_scoring import report_outcome, scored_frame
from nosce.studies.introspection.prompted_self import (
    self_given_name,
    self_reports_name,
    self_truth_name,
    self_unlike_name,
)

TaskRow = dict[str, object]
ALL_SELF_TASKS = (*SELF_TASKS, *NO_ADVANTAGE_TASKS)
Labelled = Sequence[tuple[SelfQuestion, str | None]]


def report_table(predictor: str, target: str, truths: Labelled, reports: Mapping[str, ChatResponse]) -> pl.DataFrame:
    """Whether a predictor's reports are right, where the truth about the target is known and the report was asked for.

    A model's invalid reports about itself are counted on all questions, known or not.
    """
    rows = []
    for question, label in truths:
        if (report := reports.get(question.id)) is None:
            continue
        evaluation, reported = self_reports_name(predictor, target, question.task), _reported_label(question, report)
        if predictor == target:
            rows.append(_task_row(evaluation, question, "report invalid", float(reported is None)))
        if label is not None:
            rows.append(_report_row(evaluation, question, "right", report, label))
    return scored_frame(rows)


def reader_table(predictor: str, target: str, truths: Labelled, replies: Mapping[str, ChatResponse]) -> pl.DataFrame:
    """As `report_table`, of a predictor that was asked about the target and not about itself."""
    rows = []
    for question, label in truths:
        evaluation, reply = self_reports_name(predictor, target, question.task), replies[question.id]
        invalid = float(_reported_label(question, reply) is None)
        rows.append(_task_row(evaluation, question, "report invalid", invalid))
        if label is not None:
            rows.append(_report_row(evaluation, question, "right", reply, label))
    return scored_frame(rows)


def truth_table(target: str, truths: Labelled) -> pl.DataFrame:
    """Whether the truth about a target is known, and whether the most frequent truth of its kind has it."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for question, label in truths:
        if label is not None:
            counts.setdefault((question.task, question.attribute), Counter())[label] += 1
    rows = []
    for question, label in truths:
        evaluation = self_truth_name(target, question.task)
        rows.append(_task_row(evaluation, question, "known", float(label is not None)) | {"target": label})
        if label is not None:
            found = counts[question.task, question.attribute]
            constant = min(found, key=lambda one: (-found[one], one))
            row = _task_row(evaluation, question, "constant", float(constant == label))
            rows.append(row | {"answer": constant, "target": label})
    return scored_frame(rows)


def given_table(predictor: str, asked: Sequence[tuple[SelfQuestion, str, ChatResponse]]) -> pl.DataFrame:
    """Whether a predictor is right about given transcripts."""
    rows = []
    for question, label, reply in asked:
        rows.append(_report_row(self_given_name(predictor, question.task), question, "right", reply, label))
    return scored_frame(rows)


def unlike_table(model: str, other: str, truths: Labelled, other_truths: Mapping[str, str | None]) -> pl.DataFrame:
    """Whether the behaviour of two models differs, where both are known and asked about alike."""
    rows = []
    for question, label in truths:
        other_label = other_truths.get(question.id)
        if label is not None and other_label is not None:
            evaluation = self_unlike_name(model, other, question.task)
            row = _task_row(evaluation, question, "differs", float(label != other_label))
            rows.append(row | {"answer": other_label, "target": label})
    return scored_frame(rows)


def texts_unlike_table(model: str, other: str, questions: Sequence[tuple[SelfQuestion, bool]]) -> pl.DataFrame:
    """Whether two models' texts differ."""
    rows = []
    for question, differs in questions:
        rows.append(_task_row(self_unlike_name(model, other, question.task), question, "differs", float(differs)))
    return scored_frame(rows)


def both_table(evaluation: str, asked: Sequence[tuple[SelfQuestion, str, ChatResponse]]) -> pl.DataFrame:
    """Whether two models are right about the same two texts: two rows a question."""
    return scored_frame([_report_row(evaluation, question, "right", reply, label) for question, label, reply in asked])


def _reported_label(question: SelfQuestion, report: ChatResponse) -> str | None:
    return None if report.finish_reason == "refused" else question.reported_label(report.text)


def _report_row(evaluation: str, question: SelfQuestion, metric: str, report: ChatResponse, label: str) -> TaskRow:
    reported = _reported_label(question, report)
    outcome = report_outcome(report, is_right=reported == label, is_valid=reported is not None)
    row = _task_row(evaluation, question, metric, float(reported == label))
    return row | {"answer": report.text, "target": label, "outcome": outcome}


def _task_row(evaluation: str, question: SelfQuestion, metric: str, value: float) -> TaskRow:
    """A reading without the columns that the pipeline fills. All questions are about strings that no label is of."""
    return {
        "evaluation": evaluation,
        "split": "unseen",
        "item": question.id,
        "entity": question.string,
        "attribute": f"{question.task}/{question.attribute}",
        "metric": metric,
        "value": value,
        "answer": None,
        "target": None,
        "outcome": None,
    }
