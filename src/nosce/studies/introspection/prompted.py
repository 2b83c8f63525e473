"""The protocol of introspection for models that are prompted in words: answers, labels, teaching, reports.

    answers     the likeliest answer of every model to every prompt, before and after fine-tuning; the subject's first
                answers are requested twice where an endpoint may answer differently the second time
    labels      properties of the subject's answers before fine-tuning, to strings of the seen split
    teaching    the subject and the other models are fine-tuned on the same labels
    reports     about strings of the unseen split, compared with the subject's answers after fine-tuning

Source: Binder et al. 2024 (arXiv:2410.13787), section 3 and appendix A.1.6: an invalid answer leaves every
condition, an invalid report is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

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
from nosce.studies.introspection.part_sizes import PartSizes
from nosce.studies.introspection.prompted_prices import hypothetical_questions, timed_replies
from nosce.studies.introspection.prompted_scoring import (
    ReplyScorer,
    calibration_rows,
    invalid_rows,
    is_report_match,
    report_attribute,
    report_outcome,
    scored_frame,
    scored_row,
)
from nosce.studies.introspection.subjects import Subject
from nosce.studies.replies import ReplyProgress, RunResources

BEFORE_REPORTS, SELF_REPORTS, SELF_ON_BASE_REPORTS, CROSS_REPORTS, ANSWER_READINGS, GIVEN_ANSWER_REPORTS = (
    "before",
    "self",
    "self on base",
    "cross",
    "answers",
    "able",
)
MAX_GIVEN_QUESTIONS = 100  # questions that quote the answer: how well a model reports an answer that it can read


@dataclass(frozen=True, kw_only=True)
class PromptedIntrospection(Experiment):
    """The subject reports its own answers, and other models that were taught the same labels report them too.

    The readings have these evaluations, where n counts the other subjects from 1:

        before, self, cross <n>             reports before fine-tuning, by the subject, and by another model
        self on base, cross <n> on itself   reports against the subject's first answers, and against the model's own
        answers                             `valid`, and `again`: whether a second request gives the same answer
        able self, able cross <n>           properties of answers that the question quotes
        observers                           baselines that learn from the same labels without a model

    Reports have the metric `right`, and for every question `object invalid`, `report invalid` and `both invalid`. Where
    answers are sampled, `drawn <k>` and `report <k>` are the shares of the k-th most frequent label among the sampled
    answers and reports, which `nosce.analysis.calibration` reads. A subject that cannot be fine-tuned has only
    `before`, `answers`, `observers`, and the samples of its answers.

    Args:
        world: The prompts and the properties of their answers.
        subject: The model whose answers are reported.
        other_subjects: The models that are taught the subject's labels.
        max_answer_tokens: Most tokens of an answer.
        max_report_tokens: Most tokens of a report.
        max_labels: Most labels that are taught; None teaches all.
        repeat_answers: Request every answer of the subject before fine-tuning twice.
        n_samples: Samples of an answer, and of a report, at temperature 1; 0 samples nothing.
        n_sampled_prompts: Prompts of the unseen split whose answers are sampled.
    """

    world: NaturalTextBehaviours
    subject: Subject
    other_subjects: tuple[Subject, ...] = ()
    max_answer_tokens: int = 24
    max_report_tokens: int = 8
    max_labels: int | None = None
    repeat_answers: bool = False
    n_samples: int = 0
    n_sampled_prompts: int = 30
    keeps_partial_results: ClassVar[bool] = True
    reports_progress: ClassVar[bool] = True
    name: str = "looking"

    def run(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """Refuses: only a step of a run keeps the replies that were paid for.

        Raises:
            DataError: Always.
        """
        raise DataError(
            "prompted introspection keeps the replies it pays for, so only a run of a study can do it; use `nosce run`."
        )

    def item_prompts(self, seed: Seed) -> dict[str, str]:
        """The hypothetical question of each report."""
        return hypothetical_questions(self.world, seed)

    def timing_subset(self) -> tuple[Experiment, float] | None:
        """A few replies of the subject; None where a model is not in a folder."""
        return timed_replies(self.world, self.subject, self.other_subjects)

    def run_with_context(self, seed: Seed, context: ExperimentContext) -> Iterator[pl.DataFrame]:
        """Tables of readings, each as soon as its replies are complete.

        Raises:
            SpecError: A string is in two splits.
        """
        assert isinstance(context, StepContext)  # the pipeline has no other
        resources = RunResources.of_run(context, seed / "asked")
        prompts = self.world.prompts(seed / "world")
        check_disjoint_strings(prompts)
        protocol_run = _ProtocolRun(self, prompts, seed, resources)
        yield from protocol_run.tables()
        protocol_run.progress.finish()
        context.extra_provenance["spent"] = round(resources.budget.spent, 6)


@dataclass(frozen=True, eq=False)
class _ProtocolRun:
    config: PromptedIntrospection
    prompts: Sequence[BehaviourPrompt]
    seed: Seed
    resources: RunResources

    @cached_property
    def scorer(self) -> ReplyScorer:
        return ReplyScorer(self.config.world, self.seed)

    @cached_property
    def part_sizes(self) -> PartSizes:
        """How many requests each part of the protocol makes."""
        n_reports = sum(len(p.property_names) for p in self.unseen_prompts)
        n_samples = self.config.n_samples
        return PartSizes(
            answers=len(self.prompts),
            reports=n_reports,
            given=min(MAX_GIVEN_QUESTIONS, n_reports),
            sampled_answers=n_samples * len(self.sampled_prompts),
            sampled_reports=n_samples * sum(len(p.property_names) for p in self.sampled_prompts),
        )

    @cached_property
    def progress(self) -> ReplyProgress:
        """The count of replies; the whole protocol is expected until a model cannot be taught."""
        before = self.part_sizes.before_teaching(repeat_answers=self.config.repeat_answers)
        return ReplyProgress(self.resources, before + self.part_sizes.after_teaching(len(self.config.other_subjects)))

    @cached_property
    def sampled_prompts(self) -> list[BehaviourPrompt]:
        """The prompts of the unseen split whose answers are sampled; empty without samples."""
        n_prompts = self.config.n_sampled_prompts if self.config.n_samples else 0
        order = (self.seed / "drawn").numpy().permutation(len(self.unseen_prompts))[:n_prompts]
        return [self.unseen_prompts[place] for place in order.tolist()]

    @cached_property
    def unseen_prompts(self) -> list[BehaviourPrompt]:
        """The prompts of the unseen split: no model was taught a label of their answers."""
        return [p for p in self.prompts if p.split == "unseen"]

    def tables(self) -> Iterator[pl.DataFrame]:
        base_model = self.config.subject.chat_model(self.resources)
        base_answers = self.complete_prompts(base_model)
        yield self.validity_table(base_answers, "before")
        if self.config.repeat_answers:
            yield self.agreement_table(base_answers, self.complete_prompts(base_model, sample_index=1))
        questions = self.build_questions(base_answers)
        training_questions = self.choose_training_questions(questions)
        examples = [ChatExample(q.prompt, q.target) for q in training_questions]
        yield self.reports_table(base_model, base_answers, BEFORE_REPORTS)
        if not examples:  # no answer has the form that was asked for: nothing can be taught, and no claim is judged
            self.progress.finish()
            return
        if (finetuned := self.config.subject.finetune(examples, self.resources)) is None:
            after = self.part_sizes.after_teaching(len(self.config.other_subjects))
            self.progress.expect(self.part_sizes.without_teaching() - after)
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
                self.progress.expect(self.part_sizes.after_teaching(0) - self.part_sizes.after_teaching(1))
                continue
            predictor = taught.chat_model(self.resources)
            yield self.reports_table(predictor, current_answers, f"{CROSS_REPORTS} {index}")
            yield self.reports_table(predictor, self.complete_prompts(predictor), f"{CROSS_REPORTS} {index} on itself")
            yield self.given_answers_table(predictor, base_answers, f"{CROSS_REPORTS} {index}")
            yield self.calibration_table(predictor, sampled_answers, f"{CROSS_REPORTS} {index}")

    def answer_request(
        self, prompt: BehaviourPrompt, *, temperature: float = 0.0, sample_index: int = 0
    ) -> ChatRequest:
        return ChatRequest.from_user(
            prompt.text,
            temperature=temperature,
            max_new_tokens=self.config.max_answer_tokens,
            sample_index=sample_index,
        )

    def report_request(
        self, prompt: BehaviourPrompt, property_name: str, *, temperature: float = 0.0, sample_index: int = 0
    ) -> ChatRequest:
        return ChatRequest.from_user(
            self.config.world.hypothetical_question(prompt, property_name),
            temperature=temperature,
            max_new_tokens=self.config.max_report_tokens,
            sample_index=sample_index,
        )

    def complete_prompts(self, model: ChatModel, sample_index: int = 0) -> dict[str, ChatResponse]:
        """The likeliest answer to every prompt."""
        requests = [self.answer_request(p, sample_index=sample_index) for p in self.prompts]
        return {p.id: reply for p, reply in zip(self.prompts, self.complete_requests(model, requests), strict=True)}

    def complete_requests(self, model: ChatModel, requests: Sequence[ChatRequest]) -> list[ChatResponse]:
        """The replies in the order of the requests, with reports of progress and of the money spent."""
        return self.progress.complete(model, requests)

    def build_questions(self, answers: Mapping[str, ChatResponse]) -> list[Question]:
        """The questions whose answer has a label."""
        questions = []
        for prompt in self.prompts:
            for property_name in prompt.property_names:
                label = self.scorer.label(prompt, property_name, answers[prompt.id])
                if label is not None:
                    questions.append(self.build_question(prompt, property_name, label))
        return questions

    def build_question(self, prompt: BehaviourPrompt, property_name: str, label: str) -> Question:
        labels = tuple(self.config.world.labels(property_name, prompt))
        return Question(
            id=f"{prompt.id}/{property_name}",
            entity=prompt.string,
            attribute=report_attribute(prompt, property_name),
            prompt=self.config.world.hypothetical_question(prompt, property_name),
            target=label,
            split=prompt.split,
            metadata=ReportMetadata(labels=labels, object_prompt=prompt.text).json_line,
        )

    def choose_training_questions(self, questions: Sequence[Question]) -> list[Question]:
        """The questions whose labels are taught, in random order."""
        seen = [q for q in questions if q.split == "seen"]
        order = (self.seed / "taught").numpy().permutation(len(seen))
        return [seen[place] for place in order[: self.config.max_labels].tolist()]

    def validity_table(self, answers: Mapping[str, ChatResponse], when: str) -> pl.DataFrame:
        """Whether each answer is valid."""
        rows = []
        for prompt in self.prompts:
            answer = answers[prompt.id]
            is_valid = self.scorer.is_valid_answer(prompt, answer)
            rows.append(scored_row(ANSWER_READINGS, prompt, when, "valid", float(is_valid), answer.text))
        return scored_frame(rows)

    def agreement_table(
        self, first_answers: Mapping[str, ChatResponse], second_answers: Mapping[str, ChatResponse]
    ) -> pl.DataFrame:
        """Whether a second request gives the same answer; their share bounds how often a report can be right."""
        rows = []
        for prompt in self.prompts:
            is_same = first_answers[prompt.id].text == second_answers[prompt.id].text
            rows.append(scored_row(ANSWER_READINGS, prompt, "before", "again", float(is_same)))
        return scored_frame(rows)

    def reports_table(self, model: ChatModel, answers: Mapping[str, ChatResponse], evaluation: str) -> pl.DataFrame:
        """A model's reports about strings of the unseen split, compared with the given answers."""
        cases = [(p, property_name) for p in self.unseen_prompts for property_name in p.property_names]
        requests = [self.report_request(p, property_name) for p, property_name in cases]
        rows = []
        for (prompt, property_name), report in zip(cases, self.complete_requests(model, requests), strict=True):
            answer = answers[prompt.id]
            is_valid_report = self.scorer.is_valid_report(property_name, report)
            is_valid_answer = self.scorer.is_valid_answer(prompt, answer)
            rows += invalid_rows(
                evaluation, prompt, property_name, is_valid_answer=is_valid_answer, is_valid_report=is_valid_report
            )
            label = self.scorer.label(prompt, property_name, answer)
            if label is not None:
                right = is_report_match(report.text, label)
                outcome = report_outcome(report, is_right=right, is_valid=is_valid_report)
                rows.append(
                    scored_row(evaluation, prompt, property_name, "right", float(right), report.text, label, outcome)
                )
        return scored_frame(rows)

    def given_answers_table(
        self, model: ChatModel, answers: Mapping[str, ChatResponse], predictor: str
    ) -> pl.DataFrame:
        """Reports about answers that the question quotes: how well the predictor reports an answer that it can read."""
        cases = self.choose_given_cases(answers)
        self.progress.expect(len(cases) - self.part_sizes.given)
        requests = [self.given_answer_request(answers[p.id], property_name) for p, property_name, _ in cases]
        evaluation = f"{GIVEN_ANSWER_REPORTS} {predictor}"
        rows = []
        for (prompt, property_name, label), report in zip(cases, self.complete_requests(model, requests), strict=True):
            right = is_report_match(report.text, label)
            outcome = "right" if right else "wrong"
            rows.append(
                scored_row(evaluation, prompt, property_name, "right", float(right), report.text, label, outcome)
            )
        return scored_frame(rows)

    def choose_given_cases(self, answers: Mapping[str, ChatResponse]) -> list[tuple[BehaviourPrompt, str, str]]:
        """Random prompts and properties of the unseen split whose answer has a label, each with this label."""
        cases = []
        for prompt in self.unseen_prompts:
            for property_name in prompt.property_names:
                label = self.scorer.label(prompt, property_name, answers[prompt.id])
                if label is not None:
                    cases.append((prompt, property_name, label))
        order = (self.seed / "given").numpy().permutation(len(cases))[:MAX_GIVEN_QUESTIONS]
        return [cases[index] for index in order.tolist()]

    def given_answer_request(self, answer: ChatResponse, property_name: str) -> ChatRequest:
        question = self.config.world.given_answer_question(answer.text, property_name)
        return ChatRequest.from_user(question, max_new_tokens=self.config.max_report_tokens)

    def text_baselines_table(
        self, training_questions: Sequence[Question], test_questions: Sequence[Question]
    ) -> pl.DataFrame:
        """Predictions from the same labels without a model."""
        questions = [q for q in test_questions if q.split == "unseen"]
        questions += [_as_training_question(q) for q in training_questions]
        return to_table(list(TextBaselines().evaluate_questions(questions)), Reading)

    def sample_answers(self, model: ChatModel) -> dict[str, list[ChatResponse]]:
        """Samples of the answers to some prompts of the unseen split; empty without samples."""
        cases = [(prompt, index) for prompt in self.sampled_prompts for index in range(self.config.n_samples)]
        requests = [self.answer_request(prompt, temperature=1.0, sample_index=index) for prompt, index in cases]
        samples: dict[str, list[ChatResponse]] = {}
        for (prompt, _), reply in zip(cases, self.complete_requests(model, requests), strict=True):
            samples.setdefault(prompt.id, []).append(reply)
        return samples

    def calibration_table(
        self, model: ChatModel, sampled_answers: Mapping[str, list[ChatResponse]], evaluation: str
    ) -> pl.DataFrame:
        """Frequencies of labels among sampled answers, beside those among as many sampled reports."""
        n_samples = self.config.n_samples
        by_id = {p.id: p for p in self.prompts}
        prompts = [by_id[prompt_id] for prompt_id in sampled_answers]
        cases = [(prompt, property_name) for prompt in prompts for property_name in prompt.property_names]
        requests = []
        for prompt, property_name in cases:
            for index in range(n_samples):
                requests.append(self.report_request(prompt, property_name, temperature=1.0, sample_index=index))
        reports = self.complete_requests(model, requests)
        rows = []
        for index, (prompt, property_name) in enumerate(cases):
            case_reports = reports[index * n_samples : (index + 1) * n_samples]
            labels = [self.scorer.label(prompt, property_name, answer) for answer in sampled_answers[prompt.id]]
            rows += calibration_rows(evaluation, prompt, property_name, labels, case_reports)
        return scored_frame(rows)


def _as_training_question(question: Question) -> Question:
    """The question as the text baselines take a training question: marked, and with an id of its own."""
    metadata = replace(ReportMetadata.from_question(question), is_training=True)
    return replace(question, id=f"taught/{question.id}", metadata=metadata.json_line)
