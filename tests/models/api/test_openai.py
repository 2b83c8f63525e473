"""Endpoints: every way of failing, nothing asked twice, nothing spent beyond the limit, and the key nowhere."""

from __future__ import annotations

import base64
import json
import logging

import pytest

from nosce.errors import SpecError, UsageError
from nosce.models.api.base import ChatRequest, ChatResponse, complete_all
from nosce.models.api.cache import CachedChatModel, ReplayChatModel, ResponseCache
from nosce.models.api.endpoint import EndpointConfig
from nosce.models.api.failures import EndpointError
from nosce.models.api.finetune import ChatExample, FineTuningJobConfig, run_fine_tuning_job
from nosce.models.api.openai import OpenAIClient
from nosce.pipeline.context import StepContext
from nosce.seeds import Seed
from nosce.studies.introspection.subjects import RemoteSubject
from nosce.studies.replies import RunResources

pytest.importorskip("httpx2")
KEY = "sk-very-secret-0123456789"


def asker(server, **more) -> OpenAIClient:
    """One that does not sleep for long."""
    return OpenAIClient(
        EndpointConfig(model="m", base_url=server.url, **{"timeout": 5.0, **more}), sleep=lambda seconds: None
    )


def test_prompts_are_answered_in_order_and_counted(server):
    """Text, finish, log-probabilities and usage; the request says what was asked and no more."""
    found = complete_all(
        asker(server, input_price_per_million=1.0, output_price_per_million=2.0),
        [ChatRequest.from_user(f"p{n}", top_logprobs=2) for n in range(20)],
    )
    assert [r.text for r in found] == [f"echo p{n}" for n in range(20)]
    assert found[0] == ChatResponse(
        text="echo p0",
        finish_reason="stop",
        logprob=-0.25,
        prompt_tokens=10,
        completion_tokens=5,
        first_token_logprobs=(("echo", -0.25), (" True", -2.0)),
    )
    body = server.bodies[0]
    assert (body["temperature"], body["max_tokens"], body["top_logprobs"]) == (0.0, 32, 2)
    assert "seed" not in body
    mass, unseen = found[0].label_probabilities(["true", "false"])
    assert mass["true"] == pytest.approx(0.1353, abs=1e-4)
    assert mass["false"] == 0
    assert unseen == pytest.approx(1 - 0.1353, abs=1e-4)


@pytest.mark.parametrize("way", ["429", "500", "503", "slow", "truncated", "empty", "drop"])
def test_what_fails_once_or_twice_is_asked_again(server, way):
    """And then answered; other prompts are asked once."""
    server.fails = {"bad": [way, way]}
    one = asker(server, timeout=0.3 if way == "slow" else 5.0)
    found = complete_all(one, [ChatRequest.from_user(text) for text in ("good", "bad", "fine")])
    assert [r.text for r in found] == ["echo good", "echo bad", "echo fine"]
    assert server.asked == {"good": 1, "bad": 3, "fine": 1}
    assert one.request_count == 5


def test_what_fails_for_good_is_said_and_costs_nothing_that_was_answered(server, tmp_path):
    """One sentence without the key; the same again asks only what is missing."""
    server.fails = {"bad": ["500"] * 3}
    asks = [ChatRequest.from_user(text) for text in ("a", "b", "bad", "c")]
    known = ResponseCache(tmp_path / "replies.jsonl")
    with pytest.raises(EndpointError, match="did not answer after 3 attempts") as error:
        complete_all(CachedChatModel(asker(server, max_retries=2, max_concurrency=1), known), asks)
    assert KEY not in str(error.value)
    assert server.asked == {"a": 1, "b": 1, "bad": 3}
    again = complete_all(CachedChatModel(asker(server, max_retries=2), ResponseCache(tmp_path / "replies.jsonl")), asks)
    assert [r.text for r in again] == ["echo a", "echo b", "echo bad", "echo c"]
    assert server.asked == {"a": 1, "b": 1, "bad": 4, "c": 1}


@pytest.mark.parametrize(("way", "said"), [("400", "status 400"), ("401", "refused the key in \\$OPENAI_API_KEY")])
def test_what_cannot_be_mended_is_not_asked_again(server, way, said):
    """A wrong request and a wrong key."""
    server.fails = {"bad": [way] * 9}
    with pytest.raises(EndpointError, match=said) as error:
        complete_all(asker(server), [ChatRequest.from_user("bad")])
    assert server.asked["bad"] == 1
    assert KEY not in str(error.value)


def test_refusals_and_cuts_are_outcomes(server):
    """None of them is an error, and none is a wrong answer by accident."""
    server.fails = {"r": ["refusal"], "l": ["length"]}
    found = complete_all(asker(server, max_retries=1), [ChatRequest.from_user(text) for text in "rl"])
    assert [r.finish_reason for r in found] == ["refused", "length"]
    assert found[0].text == "I will not."


def test_silence_is_no_outcome(server, tmp_path):
    """It is said in a sentence and kept nowhere, so that the same again is asked again."""
    server.fails = {"e": ["empty"] * 2}
    for _ in range(2):
        known = ResponseCache(tmp_path / "r.jsonl")
        one = asker(server, max_retries=0)
        one.cache = known
        with pytest.raises(EndpointError, match="no choices"):
            complete_all(CachedChatModel(one, known), [ChatRequest.from_user("e")])
        assert len(known) == 0
    found = complete_all(CachedChatModel(asker(server), known), [ChatRequest.from_user("e")])
    assert found[0].text == "echo e"
    assert server.asked["e"] == 3


def test_what_earlier_versions_kept_is_asked_again_where_it_is_no_answer(server, tmp_path):
    """Also lines that are no reply: too deep, not finite, or of the wrong type."""
    one, path = asker(server), tmp_path / "r.jsonl"
    key = ChatRequest.from_user("p").cache_key(one.model_id)
    whole = ChatResponse(text="", finish_reason="stop").as_json()
    for change in ({"finish": "invalid"}, {"log_probability": float("nan")}, {"text": ["a"]}, {"first": [["a", None]]}):
        path.write_text(json.dumps({"key": key, "reply": whole | change}) + "\n" + "[" * 100_000 + "\n")
        known = ResponseCache(path)
        assert len(known) == 0
        assert complete_all(CachedChatModel(one, known), [ChatRequest.from_user("p")])[0].text == "echo p"


def test_a_first_run_writes_each_reply_once(server, tmp_path):
    """The client and its cache share one file; an empty cache is a cache too."""
    job = StepContext(folder=tmp_path / "step")
    who = RemoteSubject(endpoint=EndpointConfig(model="m", base_url=server.url))
    complete_all(who.chat_model(RunResources.of_run(job, Seed(0))), [ChatRequest.from_user(text) for text in "abc"])
    lines = [
        line
        for file in (tmp_path / "step" / "replies").glob("*.jsonl")
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    assert len(lines) == 3


def test_half_a_surrogate_pair_is_not_asked():
    """UTF-8 cannot write it, neither to the endpoint nor to the cache."""
    with pytest.raises(SpecError, match="surrogate"):
        ChatRequest.from_user("a\ud800")


def test_an_interrupted_run_asks_nothing_twice(server, tmp_path):
    """Whoever stops listening loses no reply that was under way."""
    asks = [ChatRequest.from_user(f"p{n}") for n in range(40)]
    known = ResponseCache(tmp_path / "r.jsonl")
    one = asker(server, max_concurrency=4)
    one.cache = known
    listening = CachedChatModel(one, known).complete(asks)
    for _ in range(7):
        next(listening)
    listening.close()
    before = dict(server.asked)
    assert len(before) < 40
    assert len(ResponseCache(tmp_path / "r.jsonl")) == len(before)
    two = asker(server)
    two.cache = ResponseCache(tmp_path / "r.jsonl")
    found = complete_all(CachedChatModel(two, two.cache), asks)
    assert [r.text for r in found] == [f"echo p{n}" for n in range(40)]
    assert set(server.asked.values()) == {1}
    replayed = ReplayChatModel(two.model_id, ResponseCache(tmp_path / "r.jsonl"))
    assert complete_all(replayed, asks) == found


def test_samples_are_draws_of_their_own(server, tmp_path):
    """Five draws are five requests with five seeds; the same draw is one."""
    known = ResponseCache(tmp_path / "r.jsonl")
    asks = [ChatRequest.from_user("p", temperature=1.0, sample_index=n) for n in (0, 1, 2, 3, 4, 4)]
    complete_all(CachedChatModel(asker(server), known), asks)
    assert server.asked["p"] == 5
    assert sorted(body["seed"] for body in server.bodies) == [0, 1, 2, 3, 4]


def test_no_more_is_spent_than_may_be(server, tmp_path):
    """Even with many requests under way; raising the limit goes on."""
    asks = [
        ChatRequest.from_user(f"p{n:02} and as many letters as this", max_new_tokens=5) for n in range(30)
    ]  # ten tokens, or so
    known = ResponseCache(tmp_path / "r.jsonl")
    prices = {"input_price_per_million": 100_000.0, "output_price_per_million": 200_000.0}  # 2 a reply
    one = asker(server, max_cost=11.0, **prices)
    with pytest.raises(EndpointError, match="raise the limit"):
        complete_all(CachedChatModel(one, known), asks)
    assert 0 < one.spent <= 11
    assert one.spent == pytest.approx(2 * len(known))
    answered = len(known)
    two = asker(server, max_cost=100.0, **prices)
    assert len(complete_all(CachedChatModel(two, known), asks)) == 30
    assert two.request_count == 30 - answered


def test_a_limit_without_a_price_is_refused_before_anything_is_asked(server):
    """It would limit nothing; of two prices one is enough."""
    one = asker(server, max_cost=5.0)
    with pytest.raises(UsageError, match="NOSCE_PRICE_IN"):
        complete_all(one, [ChatRequest.from_user("p")])
    assert one.request_count == 0
    assert (
        len(complete_all(asker(server, max_cost=5.0, output_price_per_million=1.0), [ChatRequest.from_user("p")])) == 1
    )


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 2}, 5.0),
        ({"prompt_tokens": 30, "completion_tokens": 20}, 50.0),  # more than seemed possible is counted as it is
        ({"prompt_tokens": 3, "completion_tokens": 0}, 22.0),
        (None, 22.0),
        ("x", 22.0),
        ({}, 22.0),
        ({"prompt_tokens": 0, "completion_tokens": 0}, 22.0),
        ({"prompt_tokens": 0.5, "completion_tokens": 0.5}, 22.0),
        ({"prompt_tokens": "3", "completion_tokens": "2"}, 22.0),
        ({"prompt_tokens": True, "completion_tokens": True}, 22.0),
        ({"prompt_tokens": -3, "completion_tokens": -2}, 22.0),
        ({"prompt_tokens": float("nan"), "completion_tokens": float("inf")}, 22.0),
        ({"prompt_tokens": 10**400, "completion_tokens": 2}, 22.0),
        ({"prompt_tokens": 3}, 22.0),
        ({"prompt_tokens": 100, "completion_tokens": -1}, 105.0),  # what is known, and the most of the rest
    ],
)
def test_what_an_endpoint_does_not_count_is_charged_as_dearly_as_it_can_be(server, usage, cost):
    """A token for every byte, 16 for the message, and all tokens that were allowed."""
    server.usage = usage
    one = asker(server, input_price_per_million=1e6, output_price_per_million=1e6)
    complete_all(one, [ChatRequest.from_user("p", max_new_tokens=5)])
    assert (one.spent, one.budget.reserved) == (cost, 0.0)


@pytest.mark.parametrize(
    ("usage", "known"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 2}, (3, 2)),
        ({"prompt_tokens": 3}, (3, None)),
        ({"completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, (None, None)),
        (None, (None, None)),
    ],
)
def test_a_number_of_tokens_that_is_not_said_is_unknown(server, tmp_path, usage, known):
    """It is not zero, in the cache neither; the cost is the highest possible one all the same."""
    server.usage = usage
    one = asker(server, input_price_per_million=1e6, output_price_per_million=1e6)
    one.cache = ResponseCache(tmp_path / "r.jsonl")
    asks = [ChatRequest.from_user("p", max_new_tokens=5)]
    replies = complete_all(one, asks)
    replies += complete_all(ReplayChatModel(one.model_id, ResponseCache(tmp_path / "r.jsonl")), asks)
    assert [(reply.prompt_tokens, reply.completion_tokens) for reply in replies] == [known] * 2
    assert one.spent == (5.0 if None not in known else 22.0)


@pytest.mark.parametrize(
    ("way", "cost"),
    [
        *((status, 0) for status in ("400", "401", "404", "409", "425", "429", "501", "503")),
        *((status, 22) for status in ("408", "500", "502", "504", "520", "524", "529")),
        ("truncated", 22),
        ("drop", 22),
        ("slow", 22),
        ("empty", 15),
    ],
)
def test_a_failed_request_costs_what_the_endpoint_may_bill(server, way, cost):
    """Nothing if it refused, all that was possible if it may have written a reply, what it counted if it says so."""
    server.fails = {"p": [way]}
    one = asker(
        server,
        input_price_per_million=1e6,
        output_price_per_million=1e6,
        max_retries=0,
        timeout=0.4 if way == "slow" else 5.0,
    )
    with pytest.raises(EndpointError):
        complete_all(one, [ChatRequest.from_user("p", max_new_tokens=5)])
    assert (one.spent, one.budget.reserved) == (cost, 0.0)


def test_replies_that_were_lost_keep_to_the_limit(server):
    """Each time-out of a gateway may be billed, so that further attempts stop at the limit."""
    server.fails = {"p": ["504"] * 9}
    one = asker(server, max_cost=50.0, input_price_per_million=1e6, output_price_per_million=1e6)
    with pytest.raises(EndpointError, match="raise the limit"):
        complete_all(one, [ChatRequest.from_user("p", max_new_tokens=5)])
    assert (one.spent, server.asked["p"]) == (44.0, 2)


@pytest.mark.parametrize("key", ["sk-no-key-required", "sk-not-a-secret-at-all"])
def test_a_reply_with_words_of_a_dummy_key_is_an_answer(server, monkeypatch, tmp_path, key):
    """Servers of one's own want any key, and ordinary words are in it; the whole key is still found."""
    monkeypatch.setenv("OPENAI_API_KEY", key)
    words = "a licence is required; no key is required, and not a secret; no-key-required"
    assert complete_all(asker(server), [ChatRequest.from_user(words)])[0].text == f"echo {words}"
    for echo in (key, key[:16], key.upper(), base64.b64encode(f"u:{key}".encode()).decode(), key.encode().hex()):
        one = asker(server)
        one.cache = ResponseCache(tmp_path / "r.jsonl")
        with pytest.raises(EndpointError, match="sent the key back"):
            complete_all(one, [ChatRequest.from_user(f"say {echo} now")])
    assert not (tmp_path / "r.jsonl").exists()


def test_a_client_whose_replies_nobody_waits_for_can_be_used_again(server, tmp_path):
    """Requests that are retried later, and other routes, are not stopped by an iterator that was closed."""
    one = asker(server, max_concurrency=1)
    replies = one.complete([ChatRequest.from_user(text) for text in "ab"])
    next(replies)
    replies.close()
    server.fails = {"c": ["503"]}
    assert complete_all(one, [ChatRequest.from_user("c")])[0].text == "echo c"
    replies = one.complete([ChatRequest.from_user(text) for text in "de"])
    next(replies)
    replies.close()
    server.job_statuses = [503]
    made = run_fine_tuning_job(
        one, [ChatExample("p", "r")], FineTuningJobConfig(), tmp_path, sleep=lambda seconds: None
    )
    assert made == "ft:m:nosce"


def test_an_iterator_that_was_closed_stops_no_other(server):
    """Two may be read in turn; each gives up only its own requests."""
    one = asker(server, max_concurrency=1)
    server.fails = {"d": ["503"]}
    first, second = (one.complete([ChatRequest.from_user(text) for text in texts]) for texts in ("ab", "cd"))
    next(first)
    assert next(second)[1].text == "echo c"
    first.close()
    assert next(second)[1].text == "echo d"


def test_no_text_has_more_tokens_than_were_reserved_for_it(server):
    """Three characters of Chinese may be nine tokens."""
    one = asker(server, max_cost=20.0, input_price_per_million=1e6)
    with pytest.raises(EndpointError, match="may cost 25"):
        complete_all(one, [ChatRequest.from_user("\u6c34\u706b\u571f")])
    assert not server.asked


def test_requests_keep_to_the_rate(server):
    """Sixty a minute is one a second, as a clock of our own has it."""
    slept: list[float] = []
    one = OpenAIClient(
        EndpointConfig(model="m", base_url=server.url, requests_per_minute=60, max_concurrency=1),
        sleep=slept.append,
        clock=lambda: 0.0,
    )
    complete_all(one, [ChatRequest.from_user(f"p{n}") for n in range(4)])
    assert slept == [1.0, 2.0, 3.0]


def test_the_key_is_in_no_file_and_no_log(server, tmp_path, caplog):
    """Neither where replies are kept nor where a job is noted; only the request has it."""
    caplog.set_level(logging.DEBUG)
    server.fails = {"bad": ["429", "500"]}
    one = asker(server)
    one.cache = ResponseCache(tmp_path / "store" / "r.jsonl")
    complete_all(CachedChatModel(one, one.cache), [ChatRequest.from_user("bad"), ChatRequest.from_user("good")])
    run_fine_tuning_job(
        one, [ChatExample("p", "r")], FineTuningJobConfig(), tmp_path / "store", sleep=lambda seconds: None
    )
    assert server.keys == {f"Bearer {KEY}"}
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert KEY not in repr(one)
    assert KEY not in "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("nosce"))


def test_without_a_key_nothing_is_asked(server, monkeypatch):
    """The user's mistake, in one sentence."""
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UsageError, match=r"\$OPENAI_API_KEY, which is not set"):
        complete_all(asker(server), [ChatRequest.from_user("p")])
    assert not server.asked


def test_a_line_cut_short_is_asked_again(server, tmp_path):
    """What a dying process left half written is no reply, and does not spoil the next one."""
    path = tmp_path / "r.jsonl"
    complete_all(
        CachedChatModel(asker(server), ResponseCache(path)), [ChatRequest.from_user("a"), ChatRequest.from_user("b")]
    )
    path.write_bytes(path.read_bytes()[:-20])
    complete_all(
        CachedChatModel(asker(server), ResponseCache(path)), [ChatRequest.from_user("a"), ChatRequest.from_user("b")]
    )
    assert sum(server.asked.values()) == 3
    assert len(ResponseCache(path)) == 2


def test_what_cannot_be_asked_is_refused():
    """In a sentence."""
    for make in (
        lambda: ChatRequest(messages=()),
        lambda: ChatRequest.from_user("p", top_logprobs=21),
        lambda: ChatRequest.from_user("p", temperature=-1.0),
        lambda: EndpointConfig(model=""),
        lambda: EndpointConfig(model="m", requests_per_minute=0),
        lambda: EndpointConfig(model="m", output_price_per_million=float("nan")),
    ):
        with pytest.raises(SpecError):
            make()


def test_an_endpoint_is_read_from_the_environment_and_a_price_that_is_no_number_is_said(monkeypatch):
    """Where and at which prices; unsaid, OpenAI's own at none."""
    for name in ("NOSCE_URL", "NOSCE_PRICE_IN", "NOSCE_PRICE_OUT"):
        monkeypatch.delenv(name, raising=False)
    assert EndpointConfig.from_environment("m") == EndpointConfig(model="m")
    monkeypatch.setenv("NOSCE_URL", "http://localhost:1/v1")
    monkeypatch.setenv("NOSCE_PRICE_IN", "0.15")
    assert EndpointConfig.from_environment("m") == EndpointConfig(
        model="m", base_url="http://localhost:1/v1", input_price_per_million=0.15
    )
    monkeypatch.setenv("NOSCE_PRICE_OUT", "sixty cents")
    with pytest.raises(UsageError, match=r"NOSCE_PRICE_OUT are \['0.15', 'sixty cents'\]; give numbers"):
        EndpointConfig.from_environment("m")


def test_a_redirect_is_not_followed(server):
    """The key would be sent to whoever it names."""
    server.fails = {"p": ["redirect"]}
    with pytest.raises(EndpointError, match=r"sends to another \(status 307\)"):
        complete_all(asker(server), [ChatRequest.from_user("p")])
    assert server.asked == {"p": 1}


def test_a_reasoning_model_is_asked_without_what_it_refuses(server):
    """The refusal says which variable to set; then the same model answers."""
    server.fails = {"p": ["no max_tokens"]}
    with pytest.raises(EndpointError, match="NOSCE_TOKEN_LIMIT=max_completion_tokens"):
        complete_all(asker(server), [ChatRequest.from_user("p")])
    other = asker(server, token_limit_name="max_completion_tokens", sends_temperature=False)
    assert complete_all(other, [ChatRequest.from_user("p")])[0].text == "echo p"
    assert "temperature" not in server.bodies[-1]
    assert server.bodies[-1]["max_completion_tokens"] == 32
