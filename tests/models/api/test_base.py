"""The key under which a reply is kept: of all that changes the answer, and of no name in this code."""

from __future__ import annotations

from nosce.models.api.base import ChatRequest


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
