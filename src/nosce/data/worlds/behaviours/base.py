"""The interface of behaviour worlds: prompts, questions about a model's own answers, and the truth about an answer.

A model's answer is unknown until the model has answered, so a behaviour world has no targets. It gives the question
about an answer, and computes the correct reply from a given answer.

One prompt of `nosce.data.worlds.behaviours.natural_text`, a hypothetical question about its answer, and the same
question about a given answer:

    Go on with this list, five more words and nothing else: coral azure yellow cream olive
    You were asked earlier: "Go on with ..." Which character of the answer is the second? ...
    Somebody was asked a question, and the answer was: "teal navy" Which character of the answer is the second? ...
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
    """A prompt, and the properties that questions may ask of its answer.

    Args:
        id: Name of the prompt, unique within its world.
        task: The task that the prompt belongs to, e.g. "colours".
        string: The variable part of the prompt. Prompts with one string are one unit, in one split.
        text: The prompt as the model gets it.
        split: "seen" prompts may be trained on, "unseen" prompts only evaluate.
        property_names: Names of the properties that questions may ask about.
    """

    id: str
    task: str
    string: str
    text: str
    split: Split
    property_names: tuple[str, ...]


class BehaviourWorld(ABC):
    """A world whose facts are a model's answers."""

    @abstractmethod
    def prompts(self, seed: Seed) -> Sequence[BehaviourPrompt]:
        """All prompts. Worlds that are to be compared give equal prompts."""

    @abstractmethod
    def hypothetical_question(self, prompt: BehaviourPrompt, property_name: str, model_name: str | None = None) -> str:
        """The question about the model's own answer to a prompt, or about the answer of the model `model_name`."""

    @abstractmethod
    def given_answer_question(self, answer: str, property_name: str) -> str:
        """The same question about an answer that the question itself quotes."""

    @abstractmethod
    def is_first_token_property(self, property_name: str) -> bool:
        """Whether the first token of an answer determines the property."""

    @abstractmethod
    def property_value(self, property_name: str, answer: str, seed: Seed) -> str | None:
        """The value of a property for an answer; None where the property is undefined."""

    @abstractmethod
    def is_valid_answer(self, answer: str, prompt: BehaviourPrompt) -> bool:
        """Whether the answer has the form that the prompt asks for."""

    @abstractmethod
    def labels(self, property_name: str, prompt: BehaviourPrompt) -> Sequence[str]:
        """All possible replies to a question about a property, where they form a closed list; otherwise empty."""


def check_disjoint_strings(prompts: Sequence[BehaviourPrompt]) -> None:
    """Raise an error unless every string is in one split, because a repeated string could be answered from memory.

    Raises:
        SpecError: A string is in two splits, or two prompts have one id.
    """
    split_of_string: dict[str, Split] = {}
    for prompt in prompts:
        if split_of_string.setdefault(prompt.string, prompt.split) != prompt.split:
            raise SpecError(
                f"the string {prompt.string!r} is in two splits, {split_of_string[prompt.string]} and {prompt.split}; "
                "choose the split by string."
            )
    if len({prompt.id for prompt in prompts}) < len(prompts):
        raise SpecError("two prompts have one id; number the prompts.")
