"""Endpoints as plain data: which addresses are refused, what is sent, and keys that stay as they were."""

from __future__ import annotations

import pytest

from nosce.errors import NosceError, SpecError, UsageError
from nosce.models.api.base import ChatRequest
from nosce.models.api.endpoint import EndpointConfig
from nosce.store.spec import describe, hash_description

KEY = "sk-very-secret-0123456789"


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2secret@host/v1",
        "https://hunter2secret@host/v1",
        "https://:hunter2secret@host/v1",
        "https://host/v1?api-key=hunter2secret",
        "https://host/v1#hunter2secret",
        "host/hunter2secret",
        "ftp://host/hunter2secret",
        "https:///hunter2secret",
        "https://host:hunter2secret/v1",
        "https://host/v1 hunter2secret",
        "https://host\\@hunter2secret/v1",
        "https://[hunter2secret/v1",
        "",
    ],
)
def test_an_address_that_may_hold_a_secret_is_refused_and_not_shown(url):
    """It would land in the plan, in the model's id and in messages."""
    with pytest.raises(SpecError, match="address") as error:
        EndpointConfig(model="m", base_url=url)
    assert "hunter2" not in str(error.value)


def test_a_key_in_place_of_a_variable_is_refused_and_not_shown():
    with pytest.raises(SpecError, match="api_key_variable") as error:
        EndpointConfig(model="m", api_key_variable=KEY)
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    "key", ["sk-secret with a blank", "sk-secret-line\nx: y", "sk-sécret-umlaut", "sk-secret-end\n"]
)
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(monkeypatch, key):
    """The library of HTTP would print it."""
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UsageError, match="no header can hold") as error:
        EndpointConfig(model="m").read_api_key()
    assert key[:9] not in str(error.value)


@pytest.mark.parametrize("field", [{"base_url": f"https://host/{KEY}/v1"}, {"model": KEY}])
def test_a_key_that_is_also_stored_is_refused(monkeypatch, field):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(UsageError, match="also part of") as error:
        EndpointConfig(**{"model": "m", **field}).read_api_key()
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("gpt-4o-mini-key", {"model": "gpt-4o-mini"}),
        ("localhost-key", {"base_url": "http://localhost:8000/v1"}),
        ("meta-llama/Llama-3.1-8B-Instruct-key", {"model": "meta-llama/Llama-3.1-8B-Instruct"}),
        ("EMPTY", {"model": "EMPTY"}),
    ],
)
def test_a_key_that_shares_words_with_what_is_stored_is_sent(monkeypatch, key, field):
    """Keys of servers of one's own are named after what they open; only a whole key would be stored."""
    monkeypatch.setenv("OPENAI_API_KEY", key)
    assert EndpointConfig(**{"model": "m", **field}).read_api_key() == key


@pytest.mark.parametrize("written", [KEY.upper(), KEY.encode().hex(), KEY.replace("-", "%2D")])
def test_a_key_that_is_stored_in_another_form_is_refused(monkeypatch, written):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(UsageError, match="also part of"):
        EndpointConfig(model="m", base_url=f"https://host/{written}/v1").read_api_key()


def test_keys_of_replies_and_descriptions_are_as_they_were():
    """Replies were paid for under them; the digits are of the version before the new fields."""
    paid = EndpointConfig(model="m", base_url="http://localhost:1/v1", input_price_per_million=0.15)
    ask = ChatRequest.from_user("p")
    assert hash_description(describe(paid))[:20] == "3aa1c583d146bb79dc37"
    assert ask.cache_key(paid.model_id)[:20] == "de27e907f929dd28a42e"
    assert ask.cache_key(EndpointConfig(model="m").model_id)[:20] == "5c261c8cc448acc04f77"


def test_what_a_reasoning_model_refuses_is_not_sent_and_kept_apart():
    ask = ChatRequest.from_user("p", max_new_tokens=7)
    usual = EndpointConfig(model="m")
    other = EndpointConfig(model="m", token_limit_name="max_completion_tokens", sends_temperature=False)
    assert usual.chat_body(ask) == {
        "model": "m",
        "messages": [{"role": "user", "content": "p"}],
        "max_tokens": 7,
        "temperature": 0.0,
    }
    assert other.chat_body(ask) == {
        "model": "m",
        "messages": [{"role": "user", "content": "p"}],
        "max_completion_tokens": 7,
    }
    assert len({usual.model_id, other.model_id, EndpointConfig(model="m", sends_temperature=False).model_id}) == 3
    with pytest.raises(SpecError, match="token_limit_name"):
        EndpointConfig(model="m", token_limit_name="tokens")  # type: ignore[arg-type]


def test_the_environment_names_address_and_fields(monkeypatch):
    """Also OPENAI_BASE_URL, as OpenAI's own client: at another address is another model."""
    for name in ("NOSCE_URL", "NOSCE_PRICE_IN", "NOSCE_PRICE_OUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:2/v1")
    monkeypatch.setenv("NOSCE_TOKEN_LIMIT", "max_completion_tokens")
    monkeypatch.setenv("NOSCE_TEMPERATURE", "no")
    assert EndpointConfig.from_environment("m") == EndpointConfig(
        model="m",
        base_url="http://localhost:2/v1",
        token_limit_name="max_completion_tokens",
        sends_temperature=False,
    )
    for name, value in (("NOSCE_TEMPERATURE", "0"), ("NOSCE_TOKEN_LIMIT", "many"), ("NOSCE_PRICE_IN", "nan")):
        with monkeypatch.context() as patched:
            patched.setenv(name, value)
            with pytest.raises(NosceError):
                EndpointConfig.from_environment("m")


@pytest.mark.parametrize("limit", [float("nan"), float("inf"), -1.0])
def test_limits_that_limit_nothing_are_refused(limit):
    with pytest.raises(SpecError, match="max_cost"):
        EndpointConfig(model="m", max_cost=limit)
    with pytest.raises(SpecError, match="cannot be asked"):
        EndpointConfig(model="m", timeout=limit)
