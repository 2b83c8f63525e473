"""OpenAI's chat protocol: the body of a request, and what of an endpoint's reply is an answer.

A reply is an answer only if it is a whole chat completion whose choice ended by itself, at its length, or in a refusal.
Everything else is none: it is not kept, and the request is sent again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

from nosce.models.api.base import ChatRequest, ChatResponse, FinishReason
from nosce.models.api.exchange import HttpReply
from nosce.store.files import JsonObject

#: The words of OpenAI (also of Azure, vLLM, SGLang and Ollama), and those of servers with words of their own.
#: A word for a reply that did not end, e.g. vLLM's "abort" and "error", or Ollama's "load", is in no line.
FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",  # Together
    "eos_token": "stop",  # text-generation-inference
    "stop_sequence": "stop",  # text-generation-inference, Anthropic
    "end_turn": "stop",  # Anthropic
    "length": "length",
    "max_tokens": "length",  # Anthropic
    "model_length": "length",  # Mistral: the end of the context
    "model_context_window_exceeded": "length",  # Anthropic
    "content_filter": "refused",
    "refusal": "refused",  # Anthropic
}
THOUGHTS = ("reasoning_content", "reasoning")  # fields of a message beside its content
THOUGHT_PARTS = ("thinking", "reasoning")  # parts of a content that are not the answer
MOST_TOKENS = 10**9  # a larger number is no count of tokens
ROUNDING = 1e-3  # by which a log-probability of a probability near 1 may exceed 0


class NotAnAnswerError(Exception):
    """A reply is no answer; the message says what it is instead, and may quote the endpoint."""


def parse_object(reply: HttpReply) -> JsonObject:
    """The JSON object in a reply.

    Raises:
        NotAnAnswerError: The reply is something else.
    """
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise NotAnAnswerError(f"{kind} in place of JSON")
    try:
        found = json.loads(reply.body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise NotAnAnswerError("no whole JSON") from None
    if not isinstance(found, dict):
        raise NotAnAnswerError("JSON that is no object")
    return found


def error_message(reply: HttpReply) -> str:
    """What an endpoint says of an error, uncut; empty where it says nothing that can be read."""
    text = reply.body.decode("utf-8", "replace")
    try:
        return _message_in(json.loads(text))
    except (ValueError, RecursionError):
        return "" if "<" in text[:200] else text


def _message_in(found: object) -> str:
    """The message of an error object; empty where it has none."""
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(name):
            found = found[name]
    return found if isinstance(found, str) else ""


def parse_chat_completion(found: JsonObject, request: ChatRequest) -> ChatResponse:
    """The answer in a chat completion.

    Raises:
        NotAnAnswerError: It has none.
    """
    if found.get("error") is not None:
        raise NotAnAnswerError(f"an error: {_message_in(found) or 'without a reason'}")
    choice = _only_choice(found.get("choices"))
    message = choice.get("message")
    if not isinstance(message, dict):
        raise NotAnAnswerError("a choice without a message")
    finish = choice.get("finish_reason")
    if not isinstance(finish, str) or finish not in FINISH_REASONS:
        raise NotAnAnswerError(f"the finish reason {finish!r:.60}")
    finish_reason = FINISH_REASONS[finish]
    text, refusal = _text_and_refusal(message)
    if message.get("tool_calls") or message.get("function_call"):
        raise NotAnAnswerError("tool calls")
    if refusal:
        finish_reason = "refused"
    if finish_reason == "stop" and (text is None or (not text and any(message.get(name) for name in THOUGHTS))):
        raise NotAnAnswerError("a message without an answer")
    logprob, first = _logprobs(choice.get("logprobs"), request.top_logprobs)
    prompt_tokens, completion_tokens = token_usage(found)
    return ChatResponse(
        text=_without_surrogates(text or refusal or ""),
        finish_reason=finish_reason,
        logprob=logprob,
        first_token_logprobs=first,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )


def token_usage(found: JsonObject) -> tuple[int | None, int | None]:
    """Prompt and reply tokens as the endpoint counts them; None where it does not, or where they are no counts."""
    usage = found.get("usage")
    if not isinstance(usage, dict):
        return None, None
    return _token_count(usage.get("prompt_tokens")), _token_count(usage.get("completion_tokens"))


def _token_count(value: object) -> int | None:
    """A count; 0 is none, since a reply has at least the token that ends it."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_TOKENS
    return int(value) if is_count and isinstance(value, int) else None


def _only_choice(choices: object) -> JsonObject:
    """The choice with the index 0: one was asked for, and an endpoint that sends more numbers them."""
    if not isinstance(choices, list) or not choices or not all(isinstance(one, dict) for one in choices):
        raise NotAnAnswerError("no choices")
    if len(choices) == 1:
        only: JsonObject = choices[0]
        return only
    first = [one for one in choices if one.get("index") == 0 and not isinstance(one.get("index"), bool)]
    if len(first) != 1:
        raise NotAnAnswerError(f"{len(choices)} choices, of which {len(first)} have the index 0")
    chosen: JsonObject = first[0]
    return chosen


def _text_and_refusal(message: JsonObject) -> tuple[str | None, str | None]:
    """The text of a message, whose content may be a list of parts, and the text of its refusal."""
    content, refusal = message.get("content"), message.get("refusal")
    if refusal is not None and not isinstance(refusal, str):
        raise NotAnAnswerError("a refusal that is no text")
    if content is None or isinstance(content, str):
        return content, refusal or None
    if not isinstance(content, list):
        raise NotAnAnswerError("a content that is no text")
    texts: list[str] = []
    refusals = [refusal] if refusal else []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in THOUGHT_PARTS:
            continue
        if kind not in ("text", "refusal") or not isinstance(part.get(kind), str):
            raise NotAnAnswerError("a content with a part that is no text")
        (texts if kind == "text" else refusals).append(part[kind])
    return "".join(texts) if texts else None, "".join(refusals) or None


def _logprobs(found: object, top_logprobs: int) -> tuple[float | None, tuple[tuple[str, float], ...]]:
    """The log-probability of the reply, and the alternatives of its first token; what is unknown is left out.

    A token of a reply cannot have the probability 0, so -Infinity is unknown too.
    """
    content = found.get("content") if isinstance(found, dict) else None
    if not isinstance(content, list) or not content or not all(isinstance(token, dict) for token in content):
        return None, ()
    values = [_logprob(token.get("logprob")) for token in content]
    known = [value for value in values if value is not None]
    total = math.fsum(known) if len(known) == len(values) else None
    alternatives = content[0].get("top_logprobs")
    if not top_logprobs or not isinstance(alternatives, list):
        return total, ()
    first = []
    for one in alternatives:
        token, value = (one.get("token"), _logprob(one.get("logprob"))) if isinstance(one, dict) else (None, None)
        if isinstance(token, str) and value is not None:
            first.append((_without_surrogates(token), value))
    return total, tuple(first)


def _logprob(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not isinstance(value, int | float) or not -1e9 < value <= ROUNDING:
        return None
    return min(0.0, float(value))


def _without_surrogates(text: str) -> str:
    """A text that UTF-8 can write: U+FFFD in place of each half of a pair that lacks the other."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)
