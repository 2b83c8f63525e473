"""The protocol of introspection for models that are prompted in words: answers, labels, teaching, reports.

    answers     everybody's likeliest answer to every prompt, before and after being taught; the first once more where
                an endpoint's may differ from one time to the next
    labels      properties of the answers that the one asked about gave before, to strings of the seen split
    teaching    itself, and others, are taught the same labels
    reports     of strings that nobody was taught anything of, against the answers that are given now

Source: Binder et al. 2024 (arXiv:2410.13787), section 3 and appendix A.1.6: an invalid answer leaves every
condition, an invalid report is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import polars as pl

from nosce.data.worlds.behaviours.base import BehaviourPrompt, check_disjoint_strings
from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.errors import DataError
from nosce.evals.base import Experiment, ExperimentContext
from nosce.evals.self_report import ReportMetadata
from nosce.evals.text_baselines import TextBaselines
from nosce.models.api.base import ChatModel, ChatRequest, ChatResponse
from nosce.models.api.finetune import ChatExample
from nosce.pipeline.context import StepContext
from nosce.records import Question, Reading, to_table
from nosce.seeds import Seed
from nosce.studies.introspection.subjects import RunResources, Subject

CALIBRATION_RANKS = 3
BEFORE_REPORTS, SELF_REPORTS, SELF_ON_BASE_REPORTS, CROSS_REPORTS, ANSWER_READINGS, GIVEN_ANSWER_REPORTS = (
    "before",
    "self",
    "self on base",
    "cross",
    "answers",
    "able",
)
MAX_GIVEN_QUESTIONS = 100  # questions about given answers, which tell what everybody could do if they knew the answer


@dataclass(frozen=True, kw_only=True)
class PromptedIntrospection(Experiment):
    """A model that is asked about, and other models that are taught as many of its labels.

    Readings have the readouts `before`, `self`, `self on base`, `cross <n>` and `cross <n> on itself` with the metrics
    `right`, and of every question asked `object invalid`, `report invalid`, `both invalid`; `answers` with `valid` and
    `again` (the same once more); `able <n>` (properties of given answers); `observers`. Where answers are drawn, `drawn
    <k>` and `report <k>` of the k-th most frequent value, as `nosce.analysis.calibration` wants them. Of a subject that
    cannot be taught there are `before`, `answers`, and the `observers` and samples of its answers before.
    """

    world: NaturalTextBehaviours
    subject: Subject
    other_subjects: tuple[Subject, ...] = ()
    max_answer_tokens: int = 24  # of an answer at most
    max_report_tokens: int = 8  # tokens of a report at most
    max_labels: int | None = None  # to be taught; None: all
    repeat_answers: bool = False  # ask for every answer twice
    n_samples: int = 0  # of an answer at temperature 1
    n_sampled_prompts: int = 30  # prompts of which answers are drawn
    keeps_partial_results: ClassVar[bool] = True
    name: str = "looking"

    def run(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """Nothing: this wants a job, so that what is paid for is kept.

        Raises:
            DataError: Always.
        """
        raise DataError(
            "prompted introspection keeps the replies it pays for, so only a run of a study can do it; use `nosce run`."
        )

    def run_with_context(self, seed: Seed, context: ExperimentContext) -> Iterator[pl.DataFrame]:
        """Tables of readings, each as soon as it is known.

        Raises:
            SpecError: A string is in two splits.
            DataError: No answer can be taught.
        """
        assert isinstance(context, StepContext)  # the pipeline has no other
        resources = RunResources.of_run(context, seed / "asked")
        prompts = self.world.prompts(seed / "world")
        check_disjoint_strings(prompts)
        protocol_run = _ProtocolRun(self, prompts, seed, resources)
        yield from protocol_run.tables()
        context.extra_provenance["spent"] = round(resources.budget.spent, 6)


@dataclass(frozen=True, eq=False)
class _ProtocolRun:
    config: PromptedIntrospection
    prompts: Sequence[BehaviourPrompt]
    seed: Seed
    resources: RunResources

    def tables(self) -> Iterator[pl.DataFrame]:
        base_model = self.config.subject.chat_model(self.resources)
        base_answers = self.complete_prompts(base_model)
        yield self.validity_table(base_answers, "before")
        if self.config.repeat_answers:
            yield self.agreement_table(base_answers, self.complete_prompts(base_model, sample_index=1))
        questions = self.build_questions(base_answers)
        training_questions = self.choose_training_questions(questions)
        examples = [ChatExample(q.prompt, q.target) for q in training_questions]
        if not examples:
            raise DataError("no answer to a string of the seen split has a label, so that there is nothing to teach.")
        yield self.reports_table(base_model, base_answers, BEFORE_REPORTS)
        if (finetuned := self.config.subject.finetune(examples, self.resources)) is None:
            yield self.text_baselines_table(training_questions, questions)
            yield self.calibration_table(base_model, self.sample_answers(base_model), BEFORE_REPORTS)
            return
        finetuned_model = finetuned.chat_model(self.resources)
        current_answers = self.complete_prompts(finetuned_model)
        yield self.validity_table(current_answers, "after")
        yield self.reports_table(finetuned_model, current_answers, SELF_REPORTS)
        yield self.reports_table(finetuned_model, base_answers, SELF_ON_BASE_REPORTS)
        yield self.given_answers_table(finetuned_model, base_answers, "self")
        yield self.text_baselines_table(training_questions, self.build_questions(current_answers))
        sampled_answers = self.sample_answers(finetuned_model)
        yield self.calibration_table(finetuned_model, sampled_answers, SELF_REPORTS)
        yield self.calibration_table(base_model, sampled_answers, BEFORE_REPORTS)
        for index, other_subject in enumerate(self.config.other_subjects, 1):
            if (taught := other_subject.finetune(examples, self.resources)) is None:
                continue
            predictor = taught.chat_model(self.resources)
            yield self.reports_table(predictor, current_answers, f"{CROSS_REPORTS} {index}")
            yield self.reports_table(predictor, self.complete_prompts(predictor), f"{CROSS_REPORTS} {index} on itself")
            yield self.given_answers_table(predictor, base_answers, f"{CROSS_REPORTS} {index}")
            yield self.calibration_table(predictor, sampled_answers, f"{CROSS_REPORTS} {index}")

    def complete_prompts(self, model: ChatModel, sample_index: int = 0) -> dict[str, ChatResponse]:
        """The likeliest answer to every prompt."""
        requests = [
            ChatRequest.from_user(p.text, max_new_tokens=self.config.max_answer_tokens, sample_index=sample_index)
            for p in self.prompts
        ]
        return {p.id: reply for p, reply in zip(self.prompts, self.complete_requests(model, requests), strict=True)}

    def complete_requests(self, model: ChatModel, requests: Sequence[ChatRequest]) -> list[ChatResponse]:
        """All replies, telling how far they are and what they have cost."""
        responses: dict[int, ChatResponse] = {}
        for index, reply in model.complete(requests):
            responses[index] = reply
            self.resources.context.progress(len(responses), len(requests), 0.0, self.resources.budget.spent)
        return [responses[index] for index in range(len(requests))]

    def is_valid_answer(self, prompt: BehaviourPrompt, reply: ChatResponse) -> bool:
        return reply.finish_reason in ("stop", "length") and self.config.world.is_valid_answer(reply.text, prompt)

    def label(self, prompt: BehaviourPrompt, property_name: str, reply: ChatResponse) -> str | None:
        """The property of an answer; None for an invalid answer, a missing property, or one with blanks around it.

        Blanks around a reply are not read, so that a character that is one could never be reported.
        """
        if not self.is_valid_answer(prompt, reply):
            return None
        value = self.config.world.property_value(property_name, reply.text, self.seed)
        return value if value and value == value.strip() else None

    def build_questions(self, answers: Mapping[str, ChatResponse]) -> list[Question]:
        """Every question that has an answer."""
        questions = []
        for prompt in self.prompts:
            for property_name in prompt.property_names:
                if (label := self.label(prompt, property_name, answers[prompt.id])) is None:
                    continue
                metadata = ReportMetadata(
                    labels=tuple(self.config.world.labels(property_name, prompt)), object_prompt=prompt.text
                )
                questions.append(
                    Question(
                        f"{prompt.id}/{property_name}",
                        prompt.string,
                        _attribute(prompt, property_name),
                        self.config.world.hypothetical_question(prompt, property_name),
                        label,
                        prompt.split,
                        metadata=metadata.json_line,
                    )
                )
        return questions

    def choose_training_questions(self, questions: Sequence[Question]) -> list[Question]:
        """The questions whose labels are taught, in random order."""
        seen = [q for q in questions if q.split == "seen"]
        order = (self.seed / "taught").numpy().permutation(len(seen))
        return [seen[place] for place in order[: self.config.max_labels].tolist()]

    def validity_table(self, answers: Mapping[str, ChatResponse], when: str) -> pl.DataFrame:
        rows = [
            self.reading_row(
                ANSWER_READINGS, p, when, "valid", float(self.is_valid_answer(p, answers[p.id])), answers[p.id].text
            )
            for p in self.prompts
        ]
        return _to_frame(rows)

    def agreement_table(
        self, first_answers: Mapping[str, ChatResponse], second_answers: Mapping[str, ChatResponse]
    ) -> pl.DataFrame:
        """How often a second request gives the same answer: no report can be right more often in the long run."""
        return _to_frame(
            [
                self.reading_row(
                    ANSWER_READINGS, p, "before", "again", float(first_answers[p.id].text == second_answers[p.id].text)
                )
                for p in self.prompts
            ]
        )

    def reports_table(self, model: ChatModel, answers: Mapping[str, ChatResponse], evaluation: str) -> pl.DataFrame:
        """Reports on strings of the unseen split, against these answers."""
        cases = [(p, property_name) for p in self.prompts if p.split == "unseen" for property_name in p.property_names]
        requests = [
            ChatRequest.from_user(
                self.config.world.hypothetical_question(p, property_name),
                max_new_tokens=self.config.max_report_tokens,
                top_logprobs=0,
            )
            for p, property_name in cases
        ]
        rows = []
        for (prompt, property_name), report in zip(cases, self.complete_requests(model, requests), strict=True):
            answer = answers[prompt.id]
            label = self.label(prompt, property_name, answer)
            is_valid_report = report.finish_reason != "refused" and self.config.world.is_legal_report(
                property_name, report.text
            )
            is_valid_answer = self.is_valid_answer(prompt, answer)
            rows += self.invalid_rows(evaluation, prompt, property_name, is_valid_answer, is_valid_report)
            if label is not None:
                right = _is_match(report.text, label)
                outcome = _report_outcome(report, is_right=right, is_valid=is_valid_report)
                rows.append(
                    self.reading_row(
                        evaluation, prompt, property_name, "right", float(right), report.text, label, outcome
                    )
                )
        return _to_frame(rows)

    def invalid_rows(
        self, evaluation: str, prompt: BehaviourPrompt, property_name: str, is_valid_answer: bool, is_valid_report: bool
    ) -> list[dict[str, object]]:
        """Whether the answer, the report or both are invalid."""
        invalid_by_metric = {
            "object invalid": not is_valid_answer,
            "report invalid": not is_valid_report,
            "both invalid": not is_valid_answer and not is_valid_report,
        }
        return [
            self.reading_row(evaluation, prompt, property_name, metric, float(is_invalid))
            for metric, is_invalid in invalid_by_metric.items()
        ]

    def given_answers_table(
        self, model: ChatModel, answers: Mapping[str, ChatResponse], predictor: str
    ) -> pl.DataFrame:
        """Properties of given answers: what every predictor could do if it knew the answer."""
        cases = [
            (p, property_name, label)
            for p in self.prompts
            if p.split == "unseen"
            for property_name in p.property_names
            if (label := self.label(p, property_name, answers[p.id])) is not None
        ]
        order = (self.seed / "given").numpy().permutation(len(cases))[:MAX_GIVEN_QUESTIONS]
        chosen = [cases[place] for place in order.tolist()]
        requests = [
            ChatRequest.from_user(
                self.config.world.given_answer_question(answers[p.id].text, property_name),
                max_new_tokens=self.config.max_report_tokens,
            )
            for p, property_name, _ in chosen
        ]
        rows = []
        for (prompt, property_name, label), report in zip(chosen, self.complete_requests(model, requests), strict=True):
            right = _is_match(report.text, label)
            rows.append(
                self.reading_row(
                    f"{GIVEN_ANSWER_REPORTS} {predictor}",
                    prompt,
                    property_name,
                    "right",
                    float(right),
                    report.text,
                    label,
                    "right" if right else "wrong",
                )
            )
        return _to_frame(rows)

    def text_baselines_table(
        self, training_questions: Sequence[Question], test_questions: Sequence[Question]
    ) -> pl.DataFrame:
        """Predictions from the same labels without a model."""
        marked_questions = [
            replace(
                q, id=f"taught/{q.id}", metadata=replace(ReportMetadata.from_question(q), is_training=True).json_line
            )
            for q in training_questions
        ]
        corpus: Any = _QuestionSet([*(q for q in test_questions if q.split == "unseen"), *marked_questions])
        return to_table(list(TextBaselines().evaluate(None, corpus, self.seed)), Reading)

    def sample_answers(self, model: ChatModel) -> dict[str, list[ChatResponse]]:
        """Samples of the answers to some prompts of the unseen split; empty without samples."""
        unseen = [p for p in self.prompts if p.split == "unseen"]
        order = (
            (self.seed / "drawn")
            .numpy()
            .permutation(len(unseen))[: self.config.n_sampled_prompts if self.config.n_samples else 0]
        )
        requests = [
            (
                unseen[place].id,
                ChatRequest.from_user(
                    unseen[place].text, max_new_tokens=self.config.max_answer_tokens, temperature=1.0, sample_index=n
                ),
            )
            for place in order.tolist()
            for n in range(self.config.n_samples)
        ]
        samples: dict[str, list[ChatResponse]] = {}
        for (prompt_id, _), reply in zip(
            requests, self.complete_requests(model, [ask for _, ask in requests]), strict=True
        ):
            samples.setdefault(prompt_id, []).append(reply)
        return samples

    def calibration_table(
        self, model: ChatModel, sampled_answers: Mapping[str, list[ChatResponse]], evaluation: str
    ) -> pl.DataFrame:
        """Frequencies of values among sampled answers, beside those among as many sampled reports."""
        by_id = {p.id: p for p in self.prompts}
        cases = [
            (by_id[name], property_name, replies)
            for name, replies in sampled_answers.items()
            for property_name in by_id[name].property_names
        ]
        requests = [
            ChatRequest.from_user(
                self.config.world.hypothetical_question(p, property_name),
                max_new_tokens=self.config.max_report_tokens,
                temperature=1.0,
                sample_index=n,
            )
            for p, property_name, _ in cases
            for n in range(self.config.n_samples)
        ]
        reports = self.complete_requests(model, requests)
        rows = []
        for index, (prompt, property_name, replies) in enumerate(cases):
            values = Counter(v for r in replies if (v := self.label(prompt, property_name, r)) is not None)
            case_reports = reports[index * self.config.n_samples : (index + 1) * self.config.n_samples]
            ranked = sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))
            for rank, (value, count) in enumerate(ranked[:CALIBRATION_RANKS], 1):
                share = sum(_is_match(one.text, value) for one in case_reports) / len(case_reports)
                rows.append(
                    self.reading_row(evaluation, prompt, property_name, f"drawn {rank}", count / values.total())
                )
                rows.append(self.reading_row(evaluation, prompt, property_name, f"report {rank}", share))
        return _to_frame(rows)

    def reading_row(
        self,
        evaluation: str,
        prompt: BehaviourPrompt,
        property_name: str,
        metric: str,
        value: float,
        answer: str | None = None,
        target: str | None = None,
        outcome: str | None = None,
    ) -> dict[str, object]:
        """A reading without what is filled in later."""
        return {
            "evaluation": evaluation,
            "split": prompt.split,
            "item": f"{prompt.id}/{property_name}",
            "entity": prompt.string,
            "attribute": _attribute(prompt, property_name),
            "metric": metric,
            "value": value,
            "answer": answer,
            "target": target,
            "outcome": outcome,
        }


@dataclass(frozen=True, eq=False)
class _QuestionSet:
    """The part of a corpus that the text baselines read."""

    questions: list[Question]


def _attribute(prompt: BehaviourPrompt, property_name: str) -> str:
    """Task and property; of a stance without the letter, which differs from prompt to prompt."""
    return f"{prompt.task}/{'stance' if property_name.startswith('stance') else property_name}"


def _report_outcome(report: ChatResponse, *, is_right: bool, is_valid: bool) -> str:
    if is_right:
        return "right"
    if is_valid:
        return "wrong"
    return "refused" if report.finish_reason == "refused" else "invalid"


def _is_match(report: str, label: str) -> bool:
    """Equal but for whitespace around, and for yes and no in large letters."""
    stripped_report, stripped_label = report.strip(), label.strip()
    return (
        stripped_report.lower() == stripped_label
        if stripped_label in ("true", "false", "even", "odd")
        else stripped_report == stripped_label
    )


def _to_frame(rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    schema = {
        "evaluation": pl.String,
        "split": pl.String,
        "item": pl.String,
        "entity": pl.String,
        "attribute": pl.String,
        "metric": pl.String,
        "value": pl.Float64,
        "answer": pl.String,
        "target": pl.String,
        "outcome": pl.String,
    }
    return pl.DataFrame(list(rows), schema=schema)
