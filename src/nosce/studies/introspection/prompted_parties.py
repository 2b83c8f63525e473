"""Who takes part in introspection in words, and what claims about them need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nosce.analysis.claims import Precondition
from nosce.data.worlds.behaviours.natural_text import BUILT_IN_TASKS
from nosce.data.worlds.behaviours.text_behaviours import TextTasks
from nosce.studies.introspection.prompted_names import tested_name
from nosce.studies.introspection.prompted_needs import ClaimNeeds
from nosce.studies.introspection.prompted_self import SelfKnowledge


@dataclass(frozen=True, kw_only=True)
class PromptedParties:
    """Who takes part, as far as claims and figures depend on it.

    Args:
        letters: The letters of the subjects.
        teachable: Those of the subjects that can be taught.
        targets: Those of the subjects that are taught labels of their own answers.
        with_logprobs: Those of the subjects that give the probabilities of a first token.
        has_samples: Whether answers and reports are sampled.
        has_change: Whether the first subject is taught other answers afterwards.
        needs: What must hold before a claim is judged.
        tasks: The tasks of the world.
        knowledge: How much models are asked about themselves beyond their answers.
    """

    letters: Sequence[str]
    teachable: Sequence[str]
    targets: Sequence[str]
    with_logprobs: Sequence[str]
    has_samples: bool
    has_change: bool
    needs: ClaimNeeds
    tasks: TextTasks = BUILT_IN_TASKS
    knowledge: SelfKnowledge = field(default_factory=SelfKnowledge)

    def tested(self, letter: str) -> str:
        """The model that is tested in a subject's place."""
        return tested_name(letter, self.targets)

    def others(self, letter: str) -> list[str]:
        """The other subjects."""
        return [other for other in self.letters if other != letter]

    def taught_others(self, letter: str) -> list[str]:
        """The other subjects that are taught this one's labels."""
        return [other for other in self.others(letter) if letter in self.targets and other in self.teachable]

    def self_needs(self, letter: str) -> tuple[Precondition, ...]:
        """What every claim about the tested model's reports about itself needs."""
        tested = self.tested(letter)
        return (*self.needs.of_reports((tested, tested)), *self.needs.of_targets(tested))

    def rival_needs(self, letter: str, rival: str, other: str) -> tuple[Precondition, ...]:
        """What a comparison of the tested model with another one's reports about it needs.

        Args:
            letter: The target.
            rival: The other predictor.
            other: The subject that the other predictor comes from.
        """
        tested = self.tested(letter)
        rival_target = rival if rival in self.letters else tested
        unlike = self.needs.of_pairs((letter, other), (tested, rival))
        return (*self.self_needs(letter), *self.needs.of_reports((rival, rival_target)), *unlike)
