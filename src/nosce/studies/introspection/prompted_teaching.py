"""What introspection in words teaches: labels of current answers, and beside them what keeps a model as it is.

Teaching a model labels changes what it answers. Its answers are therefore collected again, and the model as it was
given is taught labels of these, until the labels that a model was taught are those of its own answers. All predictors
of a model are taught the same labels, and each of them its own answers before teaching, as replay.

Source: Binder et al. 2024 (arXiv:2410.13787), section 3.1, for teaching labels; rounds and replay are this study's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.errors import DataError, SpecError
from nosce.models.api.base import ChatResponse
from nosce.models.api.finetune import ChatExample
from nosce.seeds import Seed
from nosce.store.spec import LATER
from nosce.studies.introspection.prompted_requests import Case, Questioner


@dataclass(frozen=True, kw_only=True)
class LabelTeaching:
    """How labels are taught.

    Args:
        max_labels: Most labels that are taught. None: all.
        max_rounds: How often a model is taught labels of its current answers, at most. 1: those of its first answers
            alone, as in the paper.
        stable_share: Share of the taught labels that are those of the answers after teaching, from which on no
            further round follows.
        replay_share: Share of the examples that are the predictor's own answers before teaching; 0, as in the paper,
            lets them drift.
        given_per_label: Examples a label that quote an answer and ask for its property. They teach the skill and
            nothing about a model. 0, as in the paper: none.
        change: Teach the first model and its predictors other answers afterwards, and ask again (section 3.4).
        change_to: Letter of the model whose answers these are, as it was given, e.g. "C". Empty: random answers.
        max_changes: Most answers that the change teaches; the paper's 1,000, since more ended the skill to report
            (appendix A.3.1). None: those to all prompts of the seen split.
    """

    max_labels: int | None = None
    max_rounds: int = 3
    stable_share: float = 0.9
    replay_share: float = 0.5
    given_per_label: float = 0.0
    change: bool = False
    change_to: str = field(default="", metadata=LATER)
    max_changes: int | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        if (
            self.max_rounds < 1
            or not 0 <= self.replay_share < 1
            or not 0 < self.stable_share <= 1
            or not 0 <= self.given_per_label <= 100
            or any(limit is not None and limit < 1 for limit in (self.max_labels, self.max_changes))
        ):
            raise SpecError(
                f"labels cannot be taught in {self.max_rounds} rounds until {self.stable_share:g} are stable, with "
                f"replay_share={self.replay_share:g}, given_per_label={self.given_per_label:g}, max_labels="
                f"{self.max_labels} and max_changes={self.max_changes}; take 1 round, 1 label and 1 change or more, "
                "stable_share above 0, replay_share below 1."
            )


@dataclass(frozen=True, eq=False)
class ExampleMaker:
    """Makes the examples that models are taught.

    Args:
        config: How labels are taught.
        questioner: The prompts, and what replies count as.
        seed: For orders and quoted answers.
    """

    config: LabelTeaching
    questioner: Questioner
    seed: Seed

    @cached_property
    def seen_cases(self) -> list[Case]:
        """Every property of every prompt of the seen split, in random order."""
        cases = [(prompt.id, name) for prompt in self.questioner.seen_prompts for name in prompt.property_names]
        return [cases[place] for place in (self.seed / "taught").numpy().permutation(len(cases)).tolist()]

    def labels(self, answers: Mapping[str, ChatResponse]) -> dict[Case, str]:
        """The labels of answers that are taught, at most `max_labels`."""
        found: dict[Case, str] = {}
        for case in self.seen_cases:
            if len(found) == self.config.max_labels:
                break
            if (label := self.questioner.label(case, answers)) is not None:
                found[case] = label
        return found

    def examples(self, labels: Mapping[Case, str], own_answers: Mapping[str, ChatResponse]) -> list[ChatExample]:
        """The labels, with the predictor's own answers before teaching as replay, in random order."""
        world, prompt_by_id = self.questioner.world, self.questioner.prompt_by_id
        examples = []
        for (prompt_id, property_name), label in labels.items():
            question = world.hypothetical_question(prompt_by_id[prompt_id], property_name)
            examples.append(ChatExample(question, label))
        n_labels = len(examples)
        examples += self._given_examples(round(self.config.given_per_label * n_labels))
        share = self.config.replay_share
        examples += self._replay(own_answers, round(share / (1 - share) * len(examples)))
        order = (self.seed / "examples").numpy().permutation(len(examples)).tolist()
        return [examples[place] for place in order]

    def _replay(self, own_answers: Mapping[str, ChatResponse], n_examples: int) -> list[ChatExample]:
        """The answers to prompts of the seen split, repeated until they are enough; none if there is no text."""
        kept = _shown(self.questioner.seen_prompts, own_answers)
        return _repeated(kept, n_examples, self.seed / "replay")

    def _given_examples(self, n_examples: int) -> list[ChatExample]:
        """Questions that quote random answers: they say nothing about any model's answers."""
        completion_by_question: dict[str, str] = {}  # one question has one reply, whichever prompt it comes from
        for prompt_id, property_name in self.seen_cases:
            prompt = self.questioner.prompt_by_id[prompt_id]
            answer = self.questioner.world.random_answer(prompt, self.seed / "quoted")
            label = self.questioner.world.property_value(property_name, answer, self.seed)
            if label and label == label.strip():
                question = self.questioner.world.given_answer_question(answer, property_name)
                completion_by_question.setdefault(question, label)
        kept = [ChatExample(question, label) for question, label in completion_by_question.items()]
        return _repeated(kept, n_examples, self.seed / "quoted order")

    def other_answers(self, answers: Mapping[str, ChatResponse] | None = None) -> list[ChatExample]:
        """Answers to the prompts of the seen split that teach another behaviour, at most `max_changes`.

        Args:
            answers: Those of another model, by the prompt's id; those without a text are left out. None: random ones,
                as a model with other dispositions would give them.

        Raises:
            DataError: None of the other model's answers has a text.
        """
        prompts, limit = self.questioner.seen_prompts, self.config.max_changes
        if limit is not None and limit < len(prompts):
            order = (self.seed / "changes").numpy().permutation(len(prompts))[:limit]
            prompts = [prompts[place] for place in sorted(order.tolist())]
        if answers is None:
            return [ChatExample(p.text, self.questioner.world.random_answer(p, self.seed / "change")) for p in prompts]
        examples = _shown(prompts, answers)
        if not examples:
            raise DataError(
                f"the change is to teach the answers of {self.config.change_to}, but none of them has a text; take "
                "another model, or none for random answers."
            )
        return examples


def _shown(prompts: Sequence[BehaviourPrompt], answers: Mapping[str, ChatResponse]) -> list[ChatExample]:
    """The answers that have a text and are no refusals, each behind its prompt."""
    texts = [(prompt, answers[prompt.id]) for prompt in prompts if prompt.id in answers]
    shown = [(p, a) for p, a in texts if a.text.strip() and a.finish_reason != "refused"]
    return [ChatExample(p.text, a.text, ends=a.finish_reason != "length") for p, a in shown]


def _repeated(examples: Sequence[ChatExample], n_examples: int, seed: Seed) -> list[ChatExample]:
    """So many of the examples: each once before any is there twice."""
    if not examples:
        return []
    order = seed.numpy().permutation(len(examples)).tolist()
    return [examples[order[n % len(order)]] for n in range(n_examples)]
