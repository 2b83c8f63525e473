"""What is asked, what is answered, and who answers.

A reply is an outcome, whatever became of it: it ended, it was cut, it was refused, or nothing usable came. All that
changes an answer is part of what is asked, the number of the sample too, so that two draws are never one.

Source: the sheet for arXiv:2410.13787, sections 6.3, 7.3 and 8.6 (a cache without the sample's number turned five draws
into one).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from nosce.errors import SpecError
from nosce.store.spec import Json, describe, digest

Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length", "refused", "invalid"]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One prompt, and how it is to be answered."""

    messages: tuple[tuple[Role, str], ...]
    temperature: float = 0.0
    tokens: int = 32  # of the reply, at most
    top: int = 0  # alternatives of the first token wanted with their log-probabilities
    sample: int = 0  # which draw of the same

    def __post_init__(self) -> None:
        if not self.messages or self.tokens < 1 or not 0 <= self.top <= 20 or self.sample < 0:
            raise SpecError(
                f"an Ask of {len(self.messages)} messages for {self.tokens} tokens, {self.top} alternatives and sample "
                f"{self.sample} cannot be answered; take a message, a token, 0 to 20 alternatives and samples from 0."
            )
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise SpecError(f"Ask.temperature={self.temperature} is none; take 0 for the likeliest reply, or more.")

    @classmethod
    def user(cls, text: str, **more: float | int) -> Ask:
        """A single turn of the user's."""
        return cls(messages=(("user", text),), **more)  # type: ignore[arg-type]

    def key(self, answerer: str) -> str:
        """The name under which the reply of one who answers is kept."""
        return digest({"answerer": answerer, "ask": describe(self)})


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back."""

    text: str
    finish: Finish
    log_probability: float | None = None  # of the reply, natural; where it was told
    first: tuple[tuple[str, float], ...] = ()  # alternatives of the first token with their log-probabilities
    prompt_tokens: int = 0
    reply_tokens: int = 0

    def mass(self, labels: Sequence[str]) -> tuple[dict[str, float], float]:
        """The probability of each label by its first token, and what is known of none.

        All spellings of a token count (with a space before it, large or small); one that begins several labels counts
        for none of them, so that the second number is a bound on what each may lack.
        """
        found = dict.fromkeys(labels, 0.0)
        seen = 0.0
        for token, log_probability in self.first:
            spelt = token.strip().lower()
            fits = [label for label in labels if spelt and label.lower().startswith(spelt)]
            exact = [label for label in fits if label.lower() == spelt]
            if len(exact) == 1 or len(fits) == 1:
                found[(exact or fits)[0]] += math.exp(log_probability)
                seen += math.exp(log_probability)
        return found, max(0.0, 1.0 - seen)

    def as_json(self) -> dict[str, Json]:
        """The reply for a line of a file."""
        first: list[Json] = [[token, log_probability] for token, log_probability in self.first]
        return {"text": self.text, "finish": self.finish, "log_probability": self.log_probability, "first": first,
                "prompt_tokens": self.prompt_tokens, "reply_tokens": self.reply_tokens}  # fmt: skip

    @classmethod
    def of_json(cls, told: Mapping[str, object]) -> Reply:
        """The reply of such a line.

        Raises:
            KeyError, TypeError, ValueError: It is none.
        """
        first = tuple((str(token), float(value)) for token, value in told["first"])  # type: ignore[attr-defined]
        logs = told["log_probability"]
        finish = told["finish"]
        if finish not in ("stop", "length", "refused", "invalid"):
            raise ValueError(finish)
        return cls(text=str(told["text"]), finish=finish, first=first,
                   log_probability=None if logs is None else float(logs),  # type: ignore[arg-type]
                   prompt_tokens=int(told["prompt_tokens"]),  # type: ignore[call-overload]
                   reply_tokens=int(told["reply_tokens"]))  # type: ignore[call-overload]  # fmt: skip


class Sampler(Protocol):
    """Whoever answers."""

    @property
    def answerer(self) -> str:
        """A name that changes where answers may change: a model's id, or the hash of its weights."""
        ...

    def replies(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Reply]]:
        """The place of each ask with its reply, in any order, each as soon as it is there."""
        ...


def all_replies(sampler: Sampler, asks: Sequence[Ask]) -> list[Reply]:
    """Every reply, in order."""
    found: dict[int, Reply] = dict(sampler.replies(asks))
    return [found[place] for place in range(len(asks))]
