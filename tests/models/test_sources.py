"""What `--model` names: endpoints with settings of their own, and what is refused in one sentence."""

from __future__ import annotations

import pytest

from nosce.errors import SpecError, UsageError
from nosce.models.sources import parse_models

URL = "https://host/v1#big"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Prices for all endpoints, which settings override."""
    monkeypatch.setenv("NOSCE_PRICE_IN", "5")
    monkeypatch.setenv("NOSCE_PRICE_OUT", "6")


def test_settings_belong_to_the_endpoint_before_them():
    """The second one has what the environment says."""
    settings = "key=OTHER_KEY,price_in=0.15,price_out=.6,max_cost=2,requests_per_minute=60,at_once=3,timeout=9"
    settings += ",token_limit=max_completion_tokens,temperature=no,jobs=no,logprobs=20"
    first, second = parse_models(f"{URL}=7B,{settings}, https://other/v1#small")
    endpoint = first.model
    assert (endpoint.api_key_variable, endpoint.input_price_per_million, endpoint.output_price_per_million) == (
        "OTHER_KEY",
        0.15,
        0.6,
    )
    assert (endpoint.max_cost, endpoint.requests_per_minute, endpoint.max_concurrency, endpoint.timeout) == (
        2,
        60,
        3,
        9,
    )
    assert (endpoint.token_limit_name, endpoint.sends_temperature) == ("max_completion_tokens", False)
    assert (first.size, first.has_jobs, first.top_logprobs) == (7e9, False, 20)
    assert (second.model.api_key_variable, second.model.input_price_per_million) == ("OPENAI_API_KEY", 5)
    assert (second.model.max_cost, second.has_jobs, second.top_logprobs) == (None, True, 0)


def test_one_model_at_two_addresses_has_two_names():
    """The same name at one address is one model, and is refused."""
    one, other = parse_models("https://here/v1#m,https://there:8000/v1#m,free=yes")
    assert (one.name, other.name) == ("here m", "there:8000 m")
    assert (one.model.is_free, other.model.is_free) == (False, True)
    with pytest.raises(UsageError, match="twice"):
        parse_models("https://here/v1#m,https://here/v1#m")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{URL},kye=OTHER", "has kye=, which is no folder and no setting"),
        (f"key=OTHER,{URL}", "stands behind an endpoint"),
        (f"{URL},price_in=1,price_in=2", "twice"),
        (f"{URL},price_in=cheap", "no number"),
        (f"{URL},price_in=-1", "no number"),
        (f"{URL},at_once=2.5", "no whole number"),
        (f"{URL},logprobs=21", "0 to 20"),
        (f"{URL},jobs=maybe", "yes or no"),
        (f"{URL},token_limit=few", "max_completion_tokens"),
    ],
)
def test_a_setting_that_is_none_is_refused(text, reason):
    with pytest.raises(UsageError, match=reason):
        parse_models(text)


def test_what_may_be_a_key_is_not_shown():
    """The name of a variable is wanted, and who writes the key itself does not find it in the message."""
    with pytest.raises(SpecError) as refused:
        parse_models(f"{URL},key=sk-very-secret")
    assert "secret" not in str(refused.value)
