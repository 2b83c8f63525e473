"""The readings of introspection in words: what models replied, compared with each other.

Source: Binder et al. 2024 (arXiv:2410.13787), appendix A.1.6: an invalid answer leaves every condition, an invalid
report is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import polars as pl

from nosce.data.worlds.behaviours.rules import RULE_NAMES
from nosce.evals.self_report import ReportMetadata
from nosce.evals.text_baselines import TextBaselines
from nosce.models.api.base import ChatResponse
from nosce.records import Question, Reading, to_table
from nosce.studies.introspection.prompted_names import (
    answers_name,
    drift_name,
    given_name,
    observers_name,
    reports_name,
    unlike_name,
)
from nosce.studies.introspection.prompted_requests import Case, ModelReplies, Questioner
from nosce.studies.introspection.prompted_scoring import (
    invalid_rows,
    is_report_match,
    report_attribute,
    report_outcome,
    scored_frame,
    scored_row,
)

Row = dict[str, object]


@dataclass(frozen=True, eq=False)
class ReadingTables:
    """Makes tables of readings from replies.

    Args:
        questioner: The prompts, and what replies count as.
    """

    questioner: Questioner

    def reports(self, predictor: ModelReplies, target: ModelReplies, *, counts_invalid: bool) -> pl.DataFrame:
        """The predictor's reports against the target's answers, and how many are invalid where that is asked for."""
        evaluation, rows = reports_name(predictor.name, target.name), []
        for case, report in predictor.reports.items():
            if counts_invalid:
                rows += self._invalid_rows(evaluation, case, target.answers[case[0]], report)
            label = self.questioner.label(case, target.answers)
            if label is not None:
                rows.append(self._report_row(evaluation, case, "right", report, label))
        return scored_frame(rows)

    def given(self, predictor: ModelReplies) -> pl.DataFrame:
        """Reports on answers that the question quotes: how well the predictor reports an answer that it can read."""
        evaluation = given_name(predictor.name)
        cases = predictor.given or ()
        return scored_frame([self._report_row(evaluation, case, "right", reply, label) for case, label, reply in cases])

    def validity(self, model: ModelReplies) -> pl.DataFrame:
        """Whether each answer is valid."""
        rows = []
        for prompt_id, answer in model.answers.items():
            prompt = self.questioner.prompt_by_id[prompt_id]
            is_valid = self.questioner.scorer.is_valid_answer(prompt, answer)
            rows.append(scored_row(answers_name(model.name), prompt, "all", "valid", float(is_valid), answer.text))
        return scored_frame(rows)

    def again(self, model: ModelReplies, second_answers: Mapping[str, ChatResponse]) -> pl.DataFrame:
        """Whether a second request gives the same answer; their share bounds how often a report can be right."""
        rows = []
        for prompt_id, second in second_answers.items():
            is_same = model.answers[prompt_id].text == second.text
            prompt = self.questioner.prompt_by_id[prompt_id]
            rows.append(scored_row(answers_name(model.name), prompt, "all", "again", float(is_same)))
        return scored_frame(rows)

    def drift(self, name: str, metric: str, labels: Mapping[Case, str | None], after: ModelReplies) -> pl.DataFrame:
        """Whether a label is that of the answer after teaching; a label that came or went is another one."""
        rows = []
        for case, before in labels.items():
            now = self.questioner.label(case, after.answers)
            if before is not None or now is not None:
                rows.append(self._row(drift_name(name), case, metric, float(before == now), now, before))
        return scored_frame(rows)

    def unlike(self, model: ModelReplies, other: ModelReplies) -> pl.DataFrame:
        """Whether two models' answers to strings of the unseen split have different labels."""
        rows = []
        for case in self.questioner.unseen_cases:
            label, other_label = (self.questioner.label(case, one.answers) for one in (model, other))
            if label is not None or other_label is not None:
                differs = float(label != other_label)
                rows.append(
                    self._row(unlike_name(model.name, other.name), case, "differs", differs, other_label, label)
                )
        return scored_frame(rows)

    def changed(self, predictor: ModelReplies, before: ModelReplies, after: ModelReplies) -> pl.DataFrame:
        """Reports against the labels before and after a change of behaviour, where the two differ.

        Args:
            predictor: The reports, after the change.
            before: The target's answers before the change.
            after: The target's answers after it.
        """
        evaluation, rows = predictor.name, []
        for case, report in predictor.reports.items():
            old, new = (self.questioner.label(case, one.answers) for one in (before, after))
            rows += self._invalid_rows(evaluation, case, after.answers[case[0]], report)
            if old is not None and new is not None:
                rows.append(self._row(evaluation, case, "differs", float(old != new)))
                if old != new:
                    rows.append(self._report_row(evaluation, case, "new", report, new))
                    rows.append(self._report_row(evaluation, case, "old", report, old))
        return scored_frame(rows)

    def observers(self, labels: Mapping[Case, str], labels_of: str, target: ModelReplies) -> Iterator[pl.DataFrame]:
        """Predictions of a target's answers without a model: learnt from labels, or by a rule.

        Args:
            labels: The labels that the baselines learn from.
            labels_of: Name of the model whose labels these are.
            target: The answers that are predicted.
        """
        tested: dict[Case, str] = {}
        for case in self.questioner.unseen_cases:
            if (label := self.questioner.label(case, target.answers)) is not None:
                tested[case] = label
        evaluation = observers_name(labels_of, target.name)
        if labels:
            training = [_as_training_question(self._question(case, label)) for case, label in labels.items()]
            questions = [self._question(case, label) for case, label in tested.items()] + training
            yield to_table(list(TextBaselines(name=evaluation).evaluate_questions(questions)), Reading)
        rows = []
        for case, label in tested.items():
            prompt = self.questioner.prompt_by_id[case[0]]
            for rule, answer in self.questioner.world.rule_answers(prompt).items():
                predicted = self.questioner.scorer.label(
                    prompt, case[1], ChatResponse(text=answer, finish_reason="stop")
                )
                rows.append(self._row(evaluation, case, f"rule {rule}", float(predicted == label), predicted, label))
        yield scored_frame(rows)

    def _question(self, case: Case, label: str) -> Question:
        prompt, property_name = self.questioner.prompt_by_id[case[0]], case[1]
        labels = tuple(self.questioner.world.labels(property_name, prompt))
        return Question(
            id=f"{prompt.id}/{property_name}",
            entity=prompt.string,
            attribute=report_attribute(prompt, property_name),
            prompt=self.questioner.world.hypothetical_question(prompt, property_name),
            target=label,
            split=prompt.split,
            metadata=ReportMetadata(labels=labels, object_prompt=prompt.text).json_line,
        )

    def _row(
        self,
        evaluation: str,
        case: Case,
        metric: str,
        value: float,
        answer: str | None = None,
        target: str | None = None,
    ) -> Row:
        return scored_row(evaluation, self.questioner.prompt_by_id[case[0]], case[1], metric, value, answer, target)

    def _report_row(self, evaluation: str, case: Case, metric: str, report: ChatResponse, label: str) -> Row:
        is_valid = self.questioner.scorer.is_valid_report(case[1], report)
        right = is_valid and is_report_match(report.text, label)
        outcome = report_outcome(report, is_right=right, is_valid=is_valid)
        return self._row(evaluation, case, metric, float(right), report.text, label) | {"outcome": outcome}

    def _invalid_rows(self, evaluation: str, case: Case, answer: ChatResponse, report: ChatResponse) -> list[Row]:
        scorer, prompt = self.questioner.scorer, self.questioner.prompt_by_id[case[0]]
        return invalid_rows(
            evaluation,
            prompt,
            case[1],
            is_valid_answer=scorer.is_valid_answer(prompt, answer),
            is_valid_report=scorer.is_valid_report(case[1], report),
        )


def rule_metrics() -> tuple[str, ...]:
    """The metrics of the predictions by a rule."""
    return tuple(f"rule {rule}" for rule in RULE_NAMES)


def _as_training_question(question: Question) -> Question:
    """The question as the text baselines take a training question: marked, and with an id of its own."""
    metadata = replace(ReportMetadata.from_question(question), is_training=True)
    return replace(question, id=f"taught/{question.id}", metadata=metadata.json_line)
