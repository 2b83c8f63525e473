"""What a world of behaviours owes whoever asks about them: prompts, what can be asked of an answer, and how.

What a model answers is known only when it has answered, so that such a world has no targets: it says what a question
about an answer reads like, and what is true of a given answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from nosce.errors import SpecError
from nosce.records import Split
from nosce.seeds import Seed


@dataclass(frozen=True, slots=True)
class BehaviourPrompt:
    """Something to be answered, and what can be asked of whatever the answer is."""

    id: str
    task: str
    string: str  # what varies: prompts of one string are one unit, in one split
    text: str
    split: Split
    property_names: tuple[str, ...]  # names of properties


class BehaviourWorld(ABC):
    """A world whose truth is what a model does."""

    @abstractmethod
    def prompts(self, seed: Seed) -> Sequence[BehaviourPrompt]:
        """All prompts; equal for worlds that are to be compared."""

    @abstractmethod
    def hypothetical_question(self, prompt: BehaviourPrompt, property_name: str, model_name: str | None = None) -> str:
        """The question about the answer to a prompt: one's own, or where somebody is named, theirs."""

    @abstractmethod
    def given_answer_question(self, answer: str, property_name: str) -> str:
        """The same question about an answer that is there to be read."""

    @abstractmethod
    def is_first_token_property(self, property_name: str) -> bool:
        """Does the first token of an answer tell the property?"""

    @abstractmethod
    def property_value(self, property_name: str, answer: str, seed: Seed) -> str | None:
        """What is true of an answer; None where the property is not defined of it."""

    @abstractmethod
    def is_valid_answer(self, answer: str, prompt: BehaviourPrompt) -> bool:
        """Is it an answer to the prompt at all?"""

    @abstractmethod
    def labels(self, property_name: str, prompt: BehaviourPrompt) -> Sequence[str]:
        """All that a reply about this may be, where that is a closed list; else nothing."""


def check_disjoint_strings(prompts: Sequence[BehaviourPrompt]) -> None:
    """Raise unless every string is in one split: otherwise what was learnt of it could be told again.

    Raises:
        SpecError: One is in two, or two prompts have one id.
    """
    split_of_string: dict[str, Split] = {}
    for prompt in prompts:
        if split_of_string.setdefault(prompt.string, prompt.split) != prompt.split:
            raise SpecError(
                f"the string {prompt.string!r} is in two splits, {split_of_string[prompt.string]} and {prompt.split}."
            )
    if len({prompt.id for prompt in prompts}) < len(prompts):
        raise SpecError("two prompts have one id; number them.")
