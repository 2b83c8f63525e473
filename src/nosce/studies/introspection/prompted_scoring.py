"""How answers and reports in words are scored: labels of answers, validity, matches, and the rows of readings.

Source: Binder et al. 2024 (arXiv:2410.13787), appendix A.1.6, for what is valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.data.worlds.behaviours.text_behaviours import TextBehaviours, attribute_name
from nosce.evals.base import REPLY_SCHEMA
from nosce.models.api.base import ChatResponse
from nosce.seeds import Seed

CASELESS_LABELS = ("true", "false", "even", "odd")


@dataclass(frozen=True)
class ReplyScorer:
    """What a reply in words counts as, in a world of prompts."""

    world: TextBehaviours
    seed: Seed

    def is_valid_answer(self, prompt: BehaviourPrompt, answer: ChatResponse) -> bool:
        """Whether the answer has the requested form and was not refused."""
        return answer.finish_reason != "refused" and self.world.is_valid_answer(answer.text, prompt)

    def is_valid_report(self, property_name: str, report: ChatResponse) -> bool:
        """Whether the report has the requested form and was not refused."""
        return report.finish_reason != "refused" and self.world.is_legal_report(property_name, report.text)

    def label(self, prompt: BehaviourPrompt, property_name: str, answer: ChatResponse) -> str | None:
        """The property of an answer; None for an invalid answer, a missing property, or one with blanks around it.

        Reports are stripped of blanks before they are compared, so a report could never match a label with blanks.
        """
        if not self.is_valid_answer(prompt, answer):
            return None
        value = self.world.property_value(property_name, answer.text, self.seed)
        return value if value and value == value.strip() else None


def report_attribute(prompt: BehaviourPrompt, property_name: str) -> str:
    """Task and property; of an option without the letter, which differs from prompt to prompt."""
    return f"{prompt.task}/{attribute_name(property_name)}"


def report_outcome(report: ChatResponse, *, is_right: bool, is_valid: bool) -> str:
    """What became of a report: "right", "wrong", "refused" or "invalid"."""
    if is_right:
        return "right"
    if is_valid:
        return "wrong"
    return "refused" if report.finish_reason == "refused" else "invalid"


def is_report_match(report: str, label: str) -> bool:
    """Whether a report is the label. Whitespace around is ignored, and letter case for `CASELESS_LABELS`."""
    stripped_report, stripped_label = report.strip(), label.strip()
    if stripped_label in CASELESS_LABELS:
        stripped_report = stripped_report.lower()
    return stripped_report == stripped_label


def scored_row(
    evaluation: str,
    prompt: BehaviourPrompt,
    property_name: str,
    metric: str,
    value: float,
    answer: str | None = None,
    target: str | None = None,
    outcome: str | None = None,
) -> dict[str, object]:
    """A reading without the columns that the pipeline fills."""
    return {
        "evaluation": evaluation,
        "split": prompt.split,
        "item": f"{prompt.id}/{property_name}",
        "entity": prompt.string,
        "attribute": report_attribute(prompt, property_name),
        "metric": metric,
        "value": value,
        "answer": answer,
        "target": target,
        "outcome": outcome,
    }


def invalid_rows(
    evaluation: str, prompt: BehaviourPrompt, property_name: str, *, is_valid_answer: bool, is_valid_report: bool
) -> list[dict[str, object]]:
    """Whether the answer, the report or both are invalid."""
    invalid_by_metric = {
        "object invalid": not is_valid_answer,
        "report invalid": not is_valid_report,
        "both invalid": not is_valid_answer and not is_valid_report,
    }
    rows = []
    for metric, is_invalid in invalid_by_metric.items():
        rows.append(scored_row(evaluation, prompt, property_name, metric, float(is_invalid)))
    return rows


def scored_frame(rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """The rows as a table with the columns of `REPLY_SCHEMA`, without rows too."""
    return pl.DataFrame(list(rows), schema=REPLY_SCHEMA)
