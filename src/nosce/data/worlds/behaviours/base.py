"""What a world of behaviours owes whoever asks about them: prompts, what can be asked of an answer, and how.

What a model answers is known only when it has answered, so that such a world has no targets: it says what a question
about an answer reads like, and what is true of a given answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from nosce.errors import SpecError
from nosce.records import Split
from nosce.seeds import Seed


@dataclass(frozen=True, slots=True)
class Prompt:
    """Something to be answered, and what can be asked of whatever the answer is."""

    id: str
    task: str
    string: str  # what varies: prompts of one string are one unit, in one split
    text: str
    split: Split
    asks: tuple[str, ...]  # names of properties


class Behaviours(Protocol):
    """A world whose truth is what a model does."""

    def prompts(self, seed: Seed) -> Sequence[Prompt]:
        """All prompts; equal for worlds that are to be compared."""
        ...

    def hypothetical(self, prompt: Prompt, asked: str, who: str | None = None) -> str:
        """The question about the answer to a prompt: one's own, or where somebody is named, theirs."""
        ...

    def given(self, answer: str, asked: str) -> str:
        """The same question about an answer that is there to be read."""
        ...

    def told_by_first(self, asked: str) -> bool:
        """Does the first token of an answer tell the property?"""
        ...

    def value(self, asked: str, answer: str, seed: Seed) -> str | None:
        """What is true of an answer; None where the property is not defined of it."""
        ...

    def valid(self, answer: str, prompt: Prompt) -> bool:
        """Is it an answer to the prompt at all?"""
        ...

    def labels(self, asked: str, prompt: Prompt) -> Sequence[str]:
        """All that a reply about this may be, where that is a closed list; else nothing."""
        ...


def apart(prompts: Sequence[Prompt]) -> None:
    """Raise unless every string is in one split: otherwise what was learnt of it could be told again.

    Raises:
        SpecError: One is in two, or two prompts have one id.
    """
    known: dict[str, Split] = {}
    for prompt in prompts:
        if known.setdefault(prompt.string, prompt.split) != prompt.split:
            raise SpecError(
                f"the string {prompt.string!r} is in two splits, {known[prompt.string]} and {prompt.split}."
            )
    if len({prompt.id for prompt in prompts}) < len(prompts):
        raise SpecError("two prompts have one id; number them.")
