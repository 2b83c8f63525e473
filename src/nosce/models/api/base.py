"""What is asked, what is answered, and who answers.

A reply is an outcome, whatever became of it: it ended, it was cut, it was refused, or nothing usable came. All that
changes an answer is part of what is asked, the number of the sample too, so that two draws are never one.

The released code of arXiv:2410.13787 had a cache without the sample's number, which turned five draws into one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from nosce.errors import SpecError
from nosce.store.spec import Json, hash_description

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "refused", "invalid"]


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """One prompt, and how it is to be answered."""

    messages: tuple[tuple[Role, str], ...]
    temperature: float = 0.0
    max_new_tokens: int = 32  # of the reply, at most
    top_logprobs: int = 0  # alternatives of the first token wanted with their log-probabilities
    sample_index: int = 0  # which draw of the same

    def __post_init__(self) -> None:
        if not self.messages or self.max_new_tokens < 1 or not 0 <= self.top_logprobs <= 20 or self.sample_index < 0:
            raise SpecError(
                f"a ChatRequest of {len(self.messages)} messages for {self.max_new_tokens} tokens, {self.top_logprobs} "
                f"alternatives and sample {self.sample_index} cannot be answered; take a message, a token, 0 to 20 "
                "alternatives and samples from 0."
            )
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise SpecError(
                f"ChatRequest.temperature={self.temperature} is none; take 0 for the likeliest reply, or more."
            )

    @classmethod
    def from_user(cls, text: str, **options: float | int) -> ChatRequest:
        """A single turn of the user's."""
        return cls(messages=(("user", text),), **options)  # type: ignore[arg-type]

    def cache_key(self, model_id: str) -> str:
        """The name under which the reply of one who answers is kept.

        Its words are fixed, and are neither this class's name nor its fields': replies were paid for under these keys
        (and local draws seeded by them), so a field that is renamed or a class that moves must not change one.
        """
        request: dict[str, Json] = {
            "type": "nosce.sampling.contract:Ask",
            "messages": [[role, text] for role, text in self.messages],
            "temperature": self.temperature,
            "tokens": self.max_new_tokens,
            "top": self.top_logprobs,
            "sample": self.sample_index,
        }
        return hash_description({"answerer": model_id, "ask": request})


@dataclass(frozen=True, kw_only=True)
class ChatResponse:
    """What came back."""

    text: str
    finish_reason: FinishReason
    logprob: float | None = None  # of the reply, natural; where it was told
    first_token_logprobs: tuple[tuple[str, float], ...] = ()  # the first token's alternatives and log-probabilities
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def label_probabilities(self, labels: Sequence[str]) -> tuple[dict[str, float], float]:
        """The probability of each label by its first token, and what is known of none.

        All spellings of a token count (with a space before it, large or small); one that begins several labels counts
        for none of them, so that the second number is a bound on what each may lack.
        """
        probabilities = dict.fromkeys(labels, 0.0)
        known_mass = 0.0
        for token, log_probability in self.first_token_logprobs:
            prefix = token.strip().lower()
            matching = [label for label in labels if prefix and label.lower().startswith(prefix)]
            exact = [label for label in matching if label.lower() == prefix]
            if len(exact) == 1 or len(matching) == 1:
                probabilities[(exact or matching)[0]] += math.exp(log_probability)
                known_mass += math.exp(log_probability)
        return probabilities, max(0.0, 1.0 - known_mass)

    def as_json(self) -> dict[str, Json]:
        """The reply for a line of a file."""
        first: list[Json] = [[token, log_probability] for token, log_probability in self.first_token_logprobs]
        return {
            "text": self.text,
            "finish": self.finish_reason,
            "log_probability": self.logprob,
            "first": first,
            "prompt_tokens": self.prompt_tokens,
            "reply_tokens": self.completion_tokens,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, object]) -> ChatResponse:
        """The reply of such a line.

        Raises:
            KeyError, TypeError, ValueError: It is none.
        """
        first = tuple((str(token), float(value)) for token, value in record["first"])  # type: ignore[attr-defined]
        logprob = record["log_probability"]
        finish = record["finish"]
        if finish not in ("stop", "length", "refused", "invalid"):
            raise ValueError(finish)
        return cls(
            text=str(record["text"]),
            finish_reason=finish,
            first_token_logprobs=first,
            logprob=None if logprob is None else float(logprob),  # type: ignore[arg-type]
            prompt_tokens=int(record["prompt_tokens"]),  # type: ignore[call-overload]
            completion_tokens=int(record["reply_tokens"]),  # type: ignore[call-overload]
        )


class ChatModel(Protocol):
    """Whoever answers."""

    @property
    def model_id(self) -> str:
        """A name that changes where answers may change: a model's id, or the hash of its weights."""
        ...

    def complete(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, ChatResponse]]:
        """The place of each request with its reply, in any order, each as soon as it is there."""
        ...


def complete_all(model: ChatModel, requests: Sequence[ChatRequest]) -> list[ChatResponse]:
    """Every reply, in order."""
    responses: dict[int, ChatResponse] = dict(model.complete(requests))
    return [responses[place] for place in range(len(requests))]
