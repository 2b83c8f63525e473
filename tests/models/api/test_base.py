"""The key under which a reply is kept: of all that changes the answer, and of no name in this code."""

from __future__ import annotations

import typing

import pytest

from nosce.models.api.base import ChatRequest, ChatResponse, FinishReason


def test_the_key_of_a_reply_never_changes():
    """What was paid for under these keys must be found again, whatever the class and its fields are called by then."""
    request = ChatRequest(
        messages=(("system", "a"), ("user", "b")), temperature=1, max_new_tokens=5, top_logprobs=3, sample_index=7
    )
    assert (
        ChatRequest.from_user("é x").cache_key("openai m")
        == "1b44ec66cabd3df3f8bfb7ddb8f76c2bdddb1a0fd00b03cb35a5c29493097361"
    )
    assert request.cache_key("openai m") == "53351a84f0aa6faf195693577f69b55c261df5091bf50ca8b6a504bf67a024db"


def test_whatever_changes_the_answer_changes_the_key():
    """Who answers, each message, and every option, the sample's number too."""
    requests = [
        ChatRequest.from_user("p"),
        ChatRequest.from_user("q"),
        ChatRequest(messages=(("system", "p"),)),
        ChatRequest.from_user("p", temperature=1.0),
        ChatRequest.from_user("p", max_new_tokens=31),
        ChatRequest.from_user("p", top_logprobs=1),
        ChatRequest.from_user("p", sample_index=1),
    ]
    keys = [request.cache_key("m") for request in requests] + [requests[0].cache_key("n")]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("text", "kept", "known"),
    [
        ("a", (0, 0), (None, None)),
        ("", (0, 0), (None, None)),
        ("a", (7, 0), (7, None)),
        ("a", (0, 2), (None, 2)),
        ("", (7, 0), (7, 0)),  # a model on this machine may end at once
        ("a", (None, None), (None, None)),
    ],
)
def test_what_earlier_versions_kept_as_no_tokens_is_unknown(text, kept, known):
    """They wrote 0 where the endpoint had not said; no prompt has no tokens, nor has a reply with a text."""
    record = ChatResponse(text=text, finish_reason="stop").as_json()
    found = ChatResponse.from_json(record | {"prompt_tokens": kept[0], "reply_tokens": kept[1]})
    assert (found.prompt_tokens, found.completion_tokens) == known
    assert ChatResponse.from_json(found.as_json()) == found


def test_a_reply_that_was_none_is_no_reply():
    """Earlier versions kept such replies; each finish reason of today is read."""
    record = ChatResponse(text="a", finish_reason="stop").as_json()
    assert typing.get_args(FinishReason) == ("stop", "length", "refused")
    for reason in typing.get_args(FinishReason):
        assert ChatResponse.from_json(record | {"finish": reason}).finish_reason == reason
    for reason in ("invalid", "eos", None, ["stop"]):
        with pytest.raises((ValueError, TypeError)):
            ChatResponse.from_json(record | {"finish": reason})
