"""The requests of introspection in words: answers, reports, reports on quoted answers, and samples of them.

Every model is asked once and then forgotten, so that only one model's weights are in memory at a time. Its replies are
held as `ModelReplies`, from which every comparison is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.data.worlds.behaviours.text_behaviours import TextBehaviours
from nosce.errors import SpecError
from nosce.models.api.base import ChatModel, ChatRequest, ChatResponse
from nosce.seeds import Seed
from nosce.store.spec import LATER
from nosce.studies.introspection.prompted_scoring import ReplyScorer
from nosce.studies.replies import ReplyProgress

MAX_ANSWER_DRAWS = 99
MAX_GIVEN_QUESTIONS = 100  # questions that quote the answer: how well a model reports an answer that it can read
Case = tuple[str, str]  # the id of a prompt, and a property of its answer


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """How much is asked.

    Args:
        max_answer_tokens: Most tokens of an answer.
        max_report_tokens: Most tokens of a report.
        n_samples: Samples of an answer, and of a report, at temperature 1; 0 samples nothing.
        n_sampled_prompts: Prompts of the unseen split whose answers are sampled.
        n_answer_draws: Draws of each answer at temperature 0, of a model that does not always give the same one. The
            most frequent one counts; where all of several draws differ, none does.
    """

    max_answer_tokens: int = 24
    max_report_tokens: int = 8
    n_samples: int = 0
    n_sampled_prompts: int = 30
    n_answer_draws: int = field(default=1, metadata=LATER)

    def __post_init__(self) -> None:
        if not 1 <= self.n_answer_draws <= MAX_ANSWER_DRAWS:
            raise SpecError(
                f"n_answer_draws={self.n_answer_draws} draws of an answer cannot be asked for; take 1 to "
                f"{MAX_ANSWER_DRAWS}."
            )

    def draws_of(self, *, is_deterministic: bool) -> int:
        """Draws of each answer of a model."""
        return 1 if is_deterministic else self.n_answer_draws


@dataclass(frozen=True, kw_only=True)
class ModelReplies:
    """What one model replied.

    Args:
        name: The model's name (`prompted_names`).
        answers: Prompt id -> the likeliest answer.
        reports: The likeliest report in each case of the unseen split.
        given: The reports on quoted answers, each with its case and its label; None where they were not asked for.
        sampled_answers: Prompt id -> sampled answers.
        sampled_reports: Sampled reports in each case of the sampled prompts.
    """

    name: str
    answers: Mapping[str, ChatResponse] = field(default_factory=dict)
    reports: Mapping[Case, ChatResponse] = field(default_factory=dict)
    given: Sequence[tuple[Case, str, ChatResponse]] | None = None
    sampled_answers: Mapping[str, Sequence[ChatResponse]] = field(default_factory=dict)
    sampled_reports: Mapping[Case, Sequence[ChatResponse]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Quotation:
    """An answer that a question quotes, and its label; "" where it has none."""

    text: str
    label: str
    is_models_own: bool


@dataclass(frozen=True, eq=False)
class AskedPrompts:
    """The prompts that models are asked about, and how much is asked.

    Args:
        world: The prompts, and the properties of their answers.
        prompts: The prompts of this seed.
        limits: How much is asked.
        seed: For the order of what is sampled.
    """

    world: TextBehaviours
    prompts: Sequence[BehaviourPrompt]
    limits: RequestLimits
    seed: Seed

    @cached_property
    def prompt_by_id(self) -> dict[str, BehaviourPrompt]:
        """The prompts by their ids."""
        return {prompt.id: prompt for prompt in self.prompts}

    @cached_property
    def seen_prompts(self) -> list[BehaviourPrompt]:
        """The prompts of the seen split, labels of which are taught."""
        return [prompt for prompt in self.prompts if prompt.split == "seen"]

    @cached_property
    def unseen_prompts(self) -> list[BehaviourPrompt]:
        """The prompts of the unseen split: no model was taught a label of their answers."""
        return [prompt for prompt in self.prompts if prompt.split == "unseen"]

    @cached_property
    def unseen_cases(self) -> list[Case]:
        """Every property of every prompt of the unseen split."""
        return [(prompt.id, name) for prompt in self.unseen_prompts for name in prompt.property_names]

    @cached_property
    def sampled_prompts(self) -> list[BehaviourPrompt]:
        """The prompts of the unseen split whose answers are sampled; empty without samples."""
        n_prompts = self.limits.n_sampled_prompts if self.limits.n_samples else 0
        order = (self.seed / "drawn").numpy().permutation(len(self.unseen_prompts))[:n_prompts]
        return [self.unseen_prompts[place] for place in order.tolist()]


@dataclass(frozen=True, eq=False)
class Questioner(AskedPrompts):
    """Asks models about prompts, and counts how many replies are still to come.

    Args:
        progress: The count of replies.
        expected: Part of the protocol -> number of its requests that are still to come; see `expect`.
    """

    progress: ReplyProgress
    expected: dict[str, int] = field(default_factory=dict)

    @cached_property
    def scorer(self) -> ReplyScorer:
        """What replies count as."""
        return ReplyScorer(self.world, self.seed)

    def label(self, case: Case, answers: Mapping[str, ChatResponse]) -> str | None:
        """The label of an answer; None where it has none."""
        return self.scorer.label(self.prompt_by_id[case[0]], case[1], answers[case[0]])

    def expect(self, part: str, n_requests: int) -> None:
        """A part of the protocol will make so many requests; 0: it will not happen."""
        self.progress.expect(n_requests - self.expected.pop(part, 0))
        if n_requests:
            self.expected[part] = n_requests

    def expect_nothing_of(self, names: Sequence[str]) -> None:
        """No more requests will be made of these models, nor of what follows from them."""
        for part in list(self.expected):
            if any(part.startswith(f"{name} ") for name in names):
                self.expect(part, 0)

    def ask(self, part: str, model: ChatModel, requests: Sequence[ChatRequest]) -> list[ChatResponse]:
        """The replies in the order of the requests, which are a part of the protocol."""
        self.expect(part, len(requests))
        self.expected.pop(part, None)
        return self.progress.complete(model, requests)

    def ask_answers(
        self,
        name: str,
        model: ChatModel,
        prompts: Sequence[BehaviourPrompt],
        *,
        top_logprobs: int = 0,
        sample_index: int = 0,
    ) -> dict[str, ChatResponse]:
        """The likeliest answer to each prompt, by the prompt's id.

        Alternatives of the first token are requested where the prompt wants a letter or a digit.
        """
        part = f"{name} answers" if sample_index == 0 else f"{name} answers again"
        replies = self.ask(part, model, self._answer_requests(prompts, top_logprobs, sample_index))
        return {prompt.id: reply for prompt, reply in zip(prompts, replies, strict=True)}

    def ask_draws(
        self, name: str, model: ChatModel, prompts: Sequence[BehaviourPrompt], n_draws: int, *, top_logprobs: int = 0
    ) -> list[dict[str, ChatResponse]]:
        """So many draws of the likeliest answers, each as `ask_answers` gives them."""
        requests = [one for n in range(n_draws) for one in self._answer_requests(prompts, top_logprobs, n)]
        replies = iter(self.ask(f"{name} answers", model, requests))
        return [{prompt.id: next(replies) for prompt in prompts} for _ in range(n_draws)]

    def _answer_requests(
        self, prompts: Sequence[BehaviourPrompt], top_logprobs: int, sample_index: int
    ) -> list[ChatRequest]:
        requests = []
        for prompt in prompts:
            alternatives = top_logprobs if self.world.closed_answers(prompt) else 0
            requests.append(self.answer_request(prompt, top_logprobs=alternatives, sample_index=sample_index))
        return requests

    def ask_reports(self, name: str, model: ChatModel, *, top_logprobs: int = 0) -> dict[Case, ChatResponse]:
        """The likeliest report in each case of the unseen split."""
        requests = [self.report_request(case, top_logprobs=top_logprobs) for case in self.unseen_cases]
        return dict(zip(self.unseen_cases, self.ask(f"{name} reports", model, requests), strict=True))

    def ask_given(
        self, name: str, model: ChatModel, answers: Mapping[str, ChatResponse]
    ) -> list[tuple[Case, str, ChatResponse]]:
        """Reports on answers that the question quotes, in random cases of the unseen split.

        Cases whose answer has a label come first, and then others with a random answer, so that the skill of models is
        known also where the quoted model's answers are invalid.
        """
        order = (self.seed / "given").numpy().permutation(len(self.unseen_cases)).tolist()
        quoted = [(self.unseen_cases[place], self._quoted_answer(self.unseen_cases[place], answers)) for place in order]
        labelled = [(case, quotation) for case, quotation in quoted if quotation.label]
        by_question: dict[str, tuple[Case, str]] = {}  # a letter may be quoted twice, and is asked about once
        for case, quotation in sorted(labelled, key=lambda pair: not pair[1].is_models_own):
            by_question.setdefault(self.world.given_answer_question(quotation.text, case[1]), (case, quotation.label))
        questions = list(by_question)[:MAX_GIVEN_QUESTIONS]
        limit = self.limits.max_report_tokens
        requests = [ChatRequest.from_user(question, max_new_tokens=limit) for question in questions]
        replies = self.ask(f"{name} given", model, requests)
        return [(*by_question[question], reply) for question, reply in zip(questions, replies, strict=True)]

    def _quoted_answer(self, case: Case, answers: Mapping[str, ChatResponse]) -> _Quotation:
        """The answer of the quoted model, or a random one where this has no label."""
        if (label := self.label(case, answers)) is not None:
            return _Quotation(answers[case[0]].text, label, is_models_own=True)
        prompt = self.prompt_by_id[case[0]]
        answer = ChatResponse(text=self.world.random_answer(prompt, self.seed / "quoted"), finish_reason="stop")
        return _Quotation(answer.text, self.scorer.label(prompt, case[1], answer) or "", is_models_own=False)

    def sample_answers(self, name: str, model: ChatModel) -> dict[str, list[ChatResponse]]:
        """Samples of the answers to some prompts of the unseen split; empty without samples."""
        draws = [(prompt, index) for prompt in self.sampled_prompts for index in range(self.limits.n_samples)]
        requests = [self.answer_request(prompt, temperature=1.0, sample_index=index) for prompt, index in draws]
        samples: dict[str, list[ChatResponse]] = {}
        for (prompt, _), reply in zip(draws, self.ask(f"{name} sampled answers", model, requests), strict=True):
            samples.setdefault(prompt.id, []).append(reply)
        return samples

    def sample_reports(self, name: str, model: ChatModel) -> dict[Case, list[ChatResponse]]:
        """Samples of the reports about the same prompts; empty without samples."""
        cases = [(prompt.id, one) for prompt in self.sampled_prompts for one in prompt.property_names]
        draws = [(case, index) for case in cases for index in range(self.limits.n_samples)]
        requests = [self.report_request(case, temperature=1.0, sample_index=index) for case, index in draws]
        samples: dict[Case, list[ChatResponse]] = {}
        for (case, _), reply in zip(draws, self.ask(f"{name} sampled reports", model, requests), strict=True):
            samples.setdefault(case, []).append(reply)
        return samples

    def answer_request(
        self, prompt: BehaviourPrompt, *, temperature: float = 0.0, top_logprobs: int = 0, sample_index: int = 0
    ) -> ChatRequest:
        """The request for an answer."""
        return ChatRequest.from_user(
            prompt.text,
            temperature=temperature,
            max_new_tokens=self.limits.max_answer_tokens,
            top_logprobs=top_logprobs,
            sample_index=sample_index,
        )

    def report_request(
        self, case: Case, *, temperature: float = 0.0, top_logprobs: int = 0, sample_index: int = 0
    ) -> ChatRequest:
        """The request for a report."""
        prompt_id, property_name = case
        return ChatRequest.from_user(
            self.world.hypothetical_question(self.prompt_by_id[prompt_id], property_name),
            temperature=temperature,
            max_new_tokens=self.limits.max_report_tokens,
            top_logprobs=top_logprobs,
            sample_index=sample_index,
        )
