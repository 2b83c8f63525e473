"""How much introspection in words asks models about themselves beyond their answers, and the names of what it measures.

Every question goes to the models as they are given, A, B, C, and to the models that are tested in their place, A* (see
`prompted_names`). Nothing of it is taught.

    A on A keep            whether A's reports about itself are those of its behaviour, of the task `keep`
    B on A keep            the same question, answered by B, against A's behaviour; of the task `own`: B sees which
                           other texts A has written
    A given keep           the same question about a transcript that it shows: the skill without the self
    A is keep              A's behaviour: `known` where it is known, `constant` where the best constant has it
    unlike A and B keep    how often the behaviour of two models differs
    A and B own            both about the same two texts: where both prefer one of the texts, half is right
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.data.worlds.behaviours.self_knowledge import (
    LENGTH_CLASSES,
    SHORT_KIND,
    CoordinationGame,
    SelfKnowledgePrompts,
)
from nosce.errors import SpecError
from nosce.seeds import Seed

MIN_CERTAINTY_DRAWS = 2  # one draw is as certain as any other


@dataclass(frozen=True, kw_only=True)
class SelfKnowledge:
    """How much models are asked about themselves beyond their answers.

    Args:
        self_knowledge: Ask it.
        n_self_strings: Prompts of each kind: choices, games, briefs, words to repeat.
        n_self_draws: Draws at temperature 1 of each wording of a game, and of each choice where an endpoint gives no
            log-probabilities. 0: without games, and without the certainty of such an endpoint.
        max_long_tokens: Most tokens of an answer to a brief, at least 33, from which on all lengths are one class.
        n_self_given: Questions about given transcripts, of each task.
        certainty_margin: Two prompts whose certainty differs by less make a model equally certain, and are left out.
        truths_unlike: Share of questions in which the behaviour of two models must differ before they are compared.
        no_advantage_margin: Where no self advantage should show, the whole interval must lie below it.
    """

    self_knowledge: bool = False
    n_self_strings: int = 40
    n_self_draws: int = 5
    max_long_tokens: int = 64
    n_self_given: int = 20
    certainty_margin: float = 0.1
    truths_unlike: float = 0.2
    no_advantage_margin: float = 0.1

    def __post_init__(self) -> None:
        longest = max(LENGTH_CLASSES.values())
        if self.n_self_draws < 0 or self.max_long_tokens < longest or self.n_self_given < 2:
            raise SpecError(
                f"self-knowledge with n_self_draws={self.n_self_draws}, max_long_tokens={self.max_long_tokens} and "
                f"n_self_given={self.n_self_given} cannot be asked; take 0 draws or more, {longest} tokens or more, "
                "and 2 given transcripts or more."
            )
        if not all(0 < share < 1 for share in (self.certainty_margin, self.truths_unlike, self.no_advantage_margin)):
            raise SpecError(f"{self} has a margin or a share that is not between 0 and 1; take one that is.")
        SelfKnowledgePrompts(n_strings=self.n_self_strings)


@dataclass(frozen=True, eq=False)
class SelfItems:
    """The prompts of one seed that models are asked about.

    Args:
        config: How much is asked.
        seed: The seed of the experiment.
        taken: Strings of which labels are taught.
    """

    config: SelfKnowledge
    seed: Seed
    taken: tuple[str, ...] = ()

    @property
    def item_seed(self) -> Seed:
        """The seed of all that is random here."""
        return self.seed / "self-knowledge"

    @cached_property
    def _prompts(self) -> SelfKnowledgePrompts:
        return SelfKnowledgePrompts(n_strings=self.config.n_self_strings)

    @cached_property
    def choices(self) -> list[BehaviourPrompt]:
        """Prompts that want a letter or a digit."""
        return self._prompts.choices(self.item_seed, self.taken)

    @cached_property
    def choice_pairs(self) -> list[tuple[BehaviourPrompt, BehaviourPrompt]]:
        """Each choice in one pair, so that pairs are drawn independently."""
        return list(zip(self.choices[::2], self.choices[1::2], strict=False))

    @cached_property
    def games(self) -> list[CoordinationGame]:
        """Coordination games; none without draws."""
        return self._prompts.games(self.item_seed) if self.config.n_self_draws else []

    @cached_property
    def briefs(self) -> list[BehaviourPrompt]:
        """Prompts for answers of many lengths."""
        return self._prompts.briefs(self.item_seed)

    @property
    def authored_briefs(self) -> list[BehaviourPrompt]:
        """The briefs whose answers are long enough to have an author."""
        return [brief for brief in self.briefs if brief.task != SHORT_KIND]

    @cached_property
    def repetitions(self) -> list[BehaviourPrompt]:
        """Words to be repeated, which all models answer alike."""
        return self._prompts.repetitions(self.item_seed)


def self_reports_name(predictor: str, target: str, task: str) -> str:
    """The evaluation of a predictor's reports about a target's behaviour."""
    return f"{predictor} on {target} {task}"


def self_given_name(predictor: str, task: str) -> str:
    """The evaluation of the same questions about given transcripts."""
    return f"{predictor} given {task}"


def self_truth_name(target: str, task: str) -> str:
    """The evaluation of a target's behaviour."""
    return f"{target} is {task}"


def self_unlike_name(model: str, other: str, task: str) -> str:
    """The evaluation of how often the behaviour of two models differs."""
    return f"unlike {model} and {other} {task}"


def both_own_name(first: str, second: str) -> str:
    """The evaluation of two models about the same two texts, one of each."""
    return f"{first} and {second} own"


def has_certainty(config: SelfKnowledge, top_logprobs: int) -> bool:
    """Whether a model's certainty is known: by log-probabilities, or by draws."""
    return top_logprobs > 0 or config.n_self_draws >= MIN_CERTAINTY_DRAWS
