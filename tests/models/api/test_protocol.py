"""What of a chat completion is an answer: the finish reasons of the servers that speak the protocol."""

from __future__ import annotations

import pytest

from nosce.models.api.base import ChatRequest
from nosce.models.api.protocol import NotAnAnswerError, parse_chat_completion

ASK = ChatRequest.from_user("p")


def completion(reason: object, content: str | None = "Blue.") -> dict[str, object]:
    message = {"role": "assistant", "content": content}
    return {"choices": [{"index": 0, "message": message, "finish_reason": reason}]}


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        ("stop", "stop"),
        ("eos", "stop"),  # Together
        ("eos_token", "stop"),  # text-generation-inference
        ("stop_sequence", "stop"),  # text-generation-inference, Anthropic
        ("end_turn", "stop"),  # Anthropic
        ("length", "length"),
        ("max_tokens", "length"),  # Anthropic
        ("model_length", "length"),  # Mistral
        ("model_context_window_exceeded", "length"),  # Anthropic
        ("content_filter", "refused"),  # OpenAI, Azure
        ("refusal", "refused"),  # Anthropic
    ],
)
def test_a_finish_reason_is_read_in_the_words_of_its_server(reason, meaning):
    assert parse_chat_completion(completion(reason), ASK).finish_reason == meaning
    if meaning != "stop":
        assert parse_chat_completion(completion(reason, None), ASK).text == ""


@pytest.mark.parametrize(
    "reason",
    [
        "abort",  # vLLM, SGLang
        "error",  # vLLM, Mistral
        "repetition",  # vLLM
        "load",  # Ollama
        "unload",  # Ollama
        "pause_turn",  # Anthropic
        "tool_use",  # Anthropic
        "tool_calls",
        "insufficient_system_resource",  # DeepSeek
        "STOP",
        "",
        None,
    ],
)
def test_a_reply_that_did_not_end_is_no_answer(reason):
    """The request is sent again; a reason that is not known is not guessed."""
    with pytest.raises(NotAnAnswerError, match="finish reason"):
        parse_chat_completion(completion(reason), ASK)


def test_a_number_of_tokens_that_is_not_said_is_unknown():
    found = parse_chat_completion(completion("stop"), ASK)
    assert (found.prompt_tokens, found.completion_tokens) == (None, None)
