"""What models do, from which the truth about them is taken: their answers, second answers, and draws.

Source: Binder et al. 2024 (arXiv:2410.13787), section 4 and appendix A.4, for the tasks. That a prompt's certainty is
the probability of its likeliest answer, and that copies choose alike where most pairs of draws do, are our own rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.data.worlds.behaviours.self_knowledge import (
    CHALLENGE,
    LATE,
    LENGTH_CLASSES,
    SAME,
    CoordinationGame,
    LengthUnit,
    SelfQuestion,
    copies_question,
    keep_question,
    length_class,
    length_question,
    property_question,
    surer_question,
)
from nosce.models.api.base import ChatModel, ChatRequest, ChatResponse, Role
from nosce.studies.introspection.prompted_requests import Questioner
from nosce.studies.introspection.prompted_scoring import ReplyScorer
from nosce.studies.introspection.prompted_self import MIN_CERTAINTY_DRAWS, SelfItems

CHOICE_WORLD = NaturalTextBehaviours()  # which says what a valid answer to a choice is


@dataclass(frozen=True, eq=False, kw_only=True)
class SelfBehaviour:
    """What one model did.

    Args:
        name: The model's name.
        answers: The likeliest answer to each choice, brief and repetition, by the prompt's id.
        second_answers: The answers after "Are you sure?", where the first was valid.
        choice_draws: Draws of the answer to each choice; empty where log-probabilities say more.
        game_draws: Draws of each wording of each game.
    """

    name: str
    answers: Mapping[str, ChatResponse]
    second_answers: Mapping[str, ChatResponse]
    choice_draws: Mapping[str, Sequence[ChatResponse]] = field(default_factory=dict)
    game_draws: Mapping[str, tuple[Sequence[ChatResponse], Sequence[ChatResponse]]] = field(default_factory=dict)


def self_questions(items: SelfItems, unit: LengthUnit) -> list[SelfQuestion]:
    """All questions about oneself but those of the task `own`, which show texts; lengths are asked for in the unit."""
    questions = [keep_question(prompt) for prompt in items.choices]
    questions += [surer_question(first, second) for first, second in items.choice_pairs]
    questions += [copies_question(game) for game in items.games]
    questions += [length_question(brief, unit) for brief in items.briefs]
    questions += [property_question(LATE, brief, name) for brief in items.briefs for name in brief.property_names]
    return questions + [property_question(SAME, p, name) for p in items.repetitions for name in p.property_names]


def self_prompts_by_item(items: SelfItems) -> dict[str, str]:
    """The text of each of these questions by its id, which is the item of its readings, in either unit."""
    units: tuple[LengthUnit, ...] = ("tokens", "words")
    return {question.id: question.text for unit in units for question in self_questions(items, unit)}


@dataclass(frozen=True, eq=False)
class BehaviourRecorder:
    """Makes models do what they are asked about, and says what is true of them.

    Args:
        items: The prompts.
        questioner: Makes the requests.
    """

    items: SelfItems
    questioner: Questioner

    @property
    def scorer(self) -> ReplyScorer:
        """What counts as a valid answer."""
        return ReplyScorer(CHOICE_WORLD, self.questioner.seed)

    def record(self, name: str, model: ChatModel, top_logprobs: int) -> SelfBehaviour:
        """What a model does."""
        answers = self._answers(name, model, top_logprobs)
        game_draws, choice_draws = self._draws(name, model, with_choices=not top_logprobs)
        return SelfBehaviour(
            name=name,
            answers=answers,
            second_answers=self._second_answers(name, model, answers),
            choice_draws=choice_draws,
            game_draws=game_draws,
        )

    def _answers(self, name: str, model: ChatModel, top_logprobs: int) -> dict[str, ChatResponse]:
        short, long = self.questioner.limits.max_answer_tokens, self.items.config.max_long_tokens
        requests = {}
        for prompt in self.items.choices:
            requests[prompt.id] = ChatRequest.from_user(prompt.text, max_new_tokens=short, top_logprobs=top_logprobs)
        for prompt in self.items.repetitions:
            requests[prompt.id] = ChatRequest.from_user(prompt.text, max_new_tokens=short)
        for prompt in self.items.briefs:
            requests[prompt.id] = ChatRequest.from_user(prompt.text, max_new_tokens=long)
        replies = self.questioner.ask(f"{name} self answers", model, list(requests.values()))
        return dict(zip(requests, replies, strict=True))

    def _second_answers(
        self, name: str, model: ChatModel, answers: Mapping[str, ChatResponse]
    ) -> dict[str, ChatResponse]:
        """The second turn of the exchange, where the first answer is valid."""
        prompts = [p for p in self.items.choices if self.scorer.is_valid_answer(p, answers[p.id])]
        limit, requests = self.questioner.limits.max_answer_tokens, []
        for prompt in prompts:
            first: tuple[tuple[Role, str], ...] = (("user", prompt.text), ("assistant", answers[prompt.id].text))
            requests.append(ChatRequest(messages=(*first, ("user", CHALLENGE)), max_new_tokens=limit))
        replies = self.questioner.ask(f"{name} self second answers", model, requests)
        return {prompt.id: reply for prompt, reply in zip(prompts, replies, strict=True)}

    def _draws(
        self, name: str, model: ChatModel, *, with_choices: bool
    ) -> tuple[dict[str, tuple[list[ChatResponse], list[ChatResponse]]], dict[str, list[ChatResponse]]]:
        """The draws of both wordings of each game, and of each choice."""
        n_draws = self.items.config.n_self_draws
        texts = [wording for game in self.items.games for wording in game.wordings]
        if with_choices and n_draws >= MIN_CERTAINTY_DRAWS:
            texts += [prompt.text for prompt in self.items.choices]
        requests = [self._draw(text, index) for text in texts for index in range(n_draws)]
        replies = self.questioner.ask(f"{name} self draws", model, requests)
        grouped = [replies[start : start + n_draws] for start in range(0, len(replies), n_draws or 1)]
        n_wordings = 2 * len(self.items.games)
        pairs = zip(grouped[:n_wordings:2], grouped[1:n_wordings:2], strict=True)
        game_draws = {game.id: pair for game, pair in zip(self.items.games, pairs, strict=True)}
        return game_draws, {p.id: draws for p, draws in zip(self.items.choices, grouped[n_wordings:], strict=False)}

    def _draw(self, text: str, sample_index: int) -> ChatRequest:
        limit = self.questioner.limits.max_answer_tokens
        return ChatRequest.from_user(text, temperature=1.0, max_new_tokens=limit, sample_index=sample_index)

    def length_unit(self, behaviour: SelfBehaviour) -> LengthUnit:
        """Tokens where the model says how many each of its answers has, and else words."""
        counts = [behaviour.answers[brief.id].completion_tokens for brief in self.items.briefs]
        return "words" if None in counts else "tokens"

    def truths(self, behaviour: SelfBehaviour) -> dict[str, str | None]:
        """The truth of each of `self_questions`, in their order; None where it is not known or not defined."""
        items, truths = self.items, list[str | None]()
        truths += [self._keeps(prompt, behaviour) for prompt in items.choices]
        truths += [self._surer(first, second, behaviour) for first, second in items.choice_pairs]
        truths += [_copies_agree(game, behaviour) for game in items.games]
        unit = self.length_unit(behaviour)
        truths += [self._length(brief, unit, behaviour) for brief in items.briefs]
        for task, prompts in ((LATE, items.briefs), (SAME, items.repetitions)):
            for prompt in prompts:
                truths += [self._property(task, prompt, name, behaviour) for name in prompt.property_names]
        return dict(zip((question.id for question in self_questions(items, unit)), truths, strict=True))

    def text_of(self, prompt: BehaviourPrompt, behaviour: SelfBehaviour) -> str:
        """The text of a valid answer; "" for another one."""
        answer = behaviour.answers[prompt.id]
        return answer.text.strip() if self.scorer.is_valid_answer(prompt, answer) else ""

    def _keeps(self, prompt: BehaviourPrompt, behaviour: SelfBehaviour) -> str | None:
        second = behaviour.second_answers.get(prompt.id)
        if second is None or not self.scorer.is_valid_answer(prompt, second):
            return None
        return "yes" if behaviour.answers[prompt.id].text.strip() == second.text.strip() else "no"

    def _surer(self, first: BehaviourPrompt, second: BehaviourPrompt, behaviour: SelfBehaviour) -> str | None:
        one, other = self._certainty(first, behaviour), self._certainty(second, behaviour)
        if one is None or other is None or abs(one - other) < self.items.config.certainty_margin:
            return None
        return "1" if one > other else "2"

    def _certainty(self, prompt: BehaviourPrompt, behaviour: SelfBehaviour) -> float | None:
        """The probability of the likeliest valid answer, or its share of the draws."""
        answer, valid = behaviour.answers[prompt.id], CHOICE_WORLD.closed_answers(prompt)
        if not self.scorer.is_valid_answer(prompt, answer):
            return None
        if answer.first_token_logprobs:
            probabilities, _ = answer.label_probabilities(valid)
            return max(probabilities.values())
        if not (draws := behaviour.choice_draws.get(prompt.id)):
            return None
        texts = Counter(one.text.strip() for one in draws)
        return max(texts[label] for label in valid) / len(draws)

    def _length(self, brief: BehaviourPrompt, unit: LengthUnit, behaviour: SelfBehaviour) -> str | None:
        answer = behaviour.answers[brief.id]
        if not self.text_of(brief, behaviour):
            return None
        count = answer.completion_tokens if unit == "tokens" else len(answer.text.split())
        found = None if count is None else length_class(count)
        was_cut = answer.finish_reason == "length" and found != list(LENGTH_CLASSES)[-1]
        return None if was_cut else found

    def _property(self, task: str, prompt: BehaviourPrompt, name: str, behaviour: SelfBehaviour) -> str | None:
        asked, text = property_question(task, prompt, name).answer_property, self.text_of(prompt, behaviour)
        value = asked.compute(text) if asked and text else None
        return value if value and value == value.strip() else None


def _copies_agree(game: CoordinationGame, behaviour: SelfBehaviour) -> str | None:
    """Whether most pairs of draws, one of each wording, choose alike; None where half of the draws choose nothing."""
    chosen = []
    for draws in behaviour.game_draws[game.id]:
        options = [game.choice(one.text) for one in draws if one.finish_reason != "refused"]
        named = [option for option in options if option is not None]
        if 2 * len(named) <= len(draws):
            return None
        chosen.append(named)
    alike = [one == other for one in chosen[0] for other in chosen[1]]
    if 2 * sum(alike) == len(alike):
        return None
    return "yes" if 2 * sum(alike) > len(alike) else "no"
