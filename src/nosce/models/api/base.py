"""Requests to chat models, their responses, and the protocol of a chat model.

A response has a finish reason: the reply ended, was cut, or was refused. Everything that changes a reply is part of its
request, the sample's index too. The released code of arXiv:2410.13787 had a cache without the
sample's index, which turned five samples into one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from nosce.errors import SpecError
from nosce.store.spec import Json, hash_description

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "refused"]


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """A prompt, with everything that changes its reply.

    Args:
        messages: The conversation, as pairs of role and text.
        temperature: Sampling temperature. 0: the most likely reply, so that results can be reproduced.
        max_new_tokens: Most tokens of the reply; 32 is enough for the short answers of the studies.
        top_logprobs: Number of alternatives of the first token whose log-probabilities are returned, 0 to 20, the
            limit of OpenAI's protocol.
        sample_index: Index of the sample among equal requests, from 0. It keeps samples apart in the cache.
    """

    messages: tuple[tuple[Role, str], ...]
    temperature: float = 0.0
    max_new_tokens: int = 32
    top_logprobs: int = 0
    sample_index: int = 0

    def __post_init__(self) -> None:
        if not self.messages or self.max_new_tokens < 1 or not 0 <= self.top_logprobs <= 20 or self.sample_index < 0:
            raise SpecError(
                f"a ChatRequest of {len(self.messages)} messages for {self.max_new_tokens} tokens, {self.top_logprobs} "
                f"alternatives and sample {self.sample_index} cannot be answered; take a message, a token, 0 to 20 "
                "alternatives and samples from 0."
            )
        if any("\ud800" <= character <= "\udfff" for _, text in self.messages for character in text):
            raise SpecError("a ChatRequest has half a surrogate pair in a message, which UTF-8 cannot write; mend it.")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise SpecError(
                f"ChatRequest.temperature={self.temperature} is negative or not finite; take 0 for the most likely "
                "reply, or more."
            )

    @classmethod
    def from_user(
        cls,
        text: str,
        *,
        temperature: float = 0.0,
        max_new_tokens: int = 32,
        top_logprobs: int = 0,
        sample_index: int = 0,
    ) -> ChatRequest:
        """A request with one message of the user."""
        return cls(
            messages=(("user", text),),
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            top_logprobs=top_logprobs,
            sample_index=sample_index,
        )

    def cache_key(self, model_id: str) -> str:
        """The key of a model's reply in the cache.

        The words that are hashed are fixed, and independent of the names of this class and its fields. Replies were
        paid for under these keys, and local samples were seeded by them, so renaming a field must not change a key.
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
    """A model's reply to a request.

    Args:
        text: The reply.
        finish_reason: "stop": the reply ended. "length": it was cut at `max_new_tokens`. "refused": the model or the
            endpoint refused.
        logprob: Natural log-probability of the reply; None where the endpoint does not return it.
        first_token_logprobs: Alternatives of the first token with their natural log-probabilities.
        prompt_tokens: Tokens of the prompt, as the model counts them; None where the endpoint does not say.
        completion_tokens: Tokens of the reply; None where the endpoint does not say.
    """

    text: str
    finish_reason: FinishReason
    logprob: float | None = None
    first_token_logprobs: tuple[tuple[str, float], ...] = ()
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def label_probabilities(self, labels: Sequence[str]) -> tuple[dict[str, float], float]:
        """The probability of each label, judged by its first token, and the probability that belongs to no label.

        All spellings of a token count, with a leading space and in upper or lower case. A token that begins several
        labels counts for none of them. No label lacks more probability than the second number.
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
        """The reply as a JSON object for one line of a file."""
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
    def from_json(cls, record: Mapping[str, Any]) -> ChatResponse:  # values as `json` types them
        """The reply that `as_json` wrote.

        Earlier versions wrote 0 for a number of tokens that the endpoint had not said. Such a number is unknown: no
        prompt has no tokens, and neither has a reply with a text.

        Raises:
            KeyError, TypeError, ValueError: The object is not such a reply.
        """
        first = tuple((str(token), _finite(value)) for token, value in record["first"])
        logprob = record["log_probability"]
        finish, text = record["finish"], record["text"]
        if finish not in ("stop", "length", "refused") or not isinstance(text, str):
            raise ValueError(finish)  # also "invalid", which earlier versions wrote where no usable reply came
        prompt_tokens = _known_count(record["prompt_tokens"]) or None
        completion_tokens = _known_count(record["reply_tokens"])
        return cls(
            text=text,
            finish_reason=finish,
            first_token_logprobs=first,
            logprob=None if logprob is None else _finite(logprob),
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens or (None if text or prompt_tokens is None else completion_tokens),
        )


def _known_count(value: Any) -> int | None:  # a value as `json` types it
    return None if value is None else int(value)


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)


class ChatModel(Protocol):
    """A model that replies to requests."""

    @property
    def model_id(self) -> str:
        """A name that differs between models whose replies may differ: an id, or the hash of the weights."""
        ...

    def complete(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, ChatResponse]]:
        """Yield the index of each request with its reply, in any order, as soon as the reply is there."""
        ...


def complete_all(model: ChatModel, requests: Sequence[ChatRequest]) -> list[ChatResponse]:
    """All replies, in the order of the requests."""
    responses: dict[int, ChatResponse] = dict(model.complete(requests))
    return [responses[index] for index in range(len(requests))]
