"""A model at an endpoint, as plain data: its address, its limits and its prices. The key is no part of it."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from nosce.errors import SpecError, UsageError
from nosce.models.api.base import ChatRequest
from nosce.models.api.budget import check_max_cost
from nosce.models.api.redaction import Redactor
from nosce.store.files import JsonObject
from nosce.store.spec import LATER

OPENAI_URL = "https://api.openai.com/v1"
TokenLimitName = Literal["max_tokens", "max_completion_tokens"]
TOKEN_LIMIT_NAMES: tuple[TokenLimitName, ...] = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, kw_only=True)
class EndpointConfig:
    """A model at an endpoint, with its limits and prices; the key is not part of it.

    Args:
        model: The endpoint's name of the model.
        base_url: Address of the endpoint, without a user name, a password or a query. None: OpenAI's.
        api_key_variable: The environment variable that holds the key; the default is that of OpenAI's client.
        max_concurrency: Requests that are sent at the same time; 8 stays below the usual rate limits.
        requests_per_minute: Most requests per minute. None: no limit.
        timeout: Seconds until a request counts as failed, from the connection to the last byte of the reply; a minute
            is enough for short replies.
        max_retries: Further attempts of a failed request. 6 attempts with doubling pauses take about a minute.
        input_price_per_million: Price of a million prompt tokens. 0: free, e.g. an endpoint of one's own.
        output_price_per_million: Price of a million reply tokens, in the same currency.
        max_cost: Most that all requests to this endpoint may cost, in the currency of the prices. None: no limit but
            that of the run.
        token_limit_name: The field of the request that holds the most tokens of a reply. OpenAI's reasoning models
            refuse "max_tokens" and want "max_completion_tokens", which counts their thoughts too.
        sends_temperature: Whether the request has a temperature. Reasoning models refuse it, and draw every reply at a
            temperature of their own. A reply to a request without a temperature is kept apart from one with it.
        is_free: Whether it is known to cost nothing, so that a limit needs no price.
        account: Name under which costs are counted against `max_cost`, so that models that a fine-tuning job makes
            share the limit of the model they come from. Empty: the model's own.
    """

    model: str
    base_url: str | None = None
    api_key_variable: str = "OPENAI_API_KEY"
    max_concurrency: int = 8
    requests_per_minute: int | None = None
    timeout: float = 60.0
    max_retries: int = 6
    input_price_per_million: float = 0.0
    output_price_per_million: float = 0.0
    max_cost: float | None = None
    token_limit_name: TokenLimitName = field(default="max_tokens", metadata=LATER)
    sends_temperature: bool = field(default=True, metadata=LATER)
    is_free: bool = field(default=False, metadata=LATER)
    account: str = field(default="", metadata=LATER)

    def __post_init__(self) -> None:
        is_waiting = math.isfinite(self.timeout) and self.timeout > 0
        if not self.model or self.max_concurrency < 1 or not is_waiting or self.max_retries < 0:
            raise SpecError(
                f"an EndpointConfig of model {self.model!r} with {self.max_concurrency} requests at once, "
                f"{self.timeout} s and {self.max_retries} retries cannot be asked; name a model, and take at least one "
                "request and some time."
            )
        paid = all(0 <= price < math.inf for price in (self.input_price_per_million, self.output_price_per_million))
        if (self.requests_per_minute is not None and self.requests_per_minute < 1) or not paid:
            raise SpecError("an EndpointConfig needs one request a minute or more, and prices of 0 or more.")
        if self.token_limit_name not in TOKEN_LIMIT_NAMES:
            raise SpecError(
                f"EndpointConfig.token_limit_name is {self.token_limit_name!r}; take {' or '.join(TOKEN_LIMIT_NAMES)}."
            )
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.api_key_variable):
            raise SpecError(
                "EndpointConfig.api_key_variable is no name of an environment variable (it is not shown, since it may "
                "be a key); name the variable that holds the key."
            )
        check_max_cost(self.max_cost, "EndpointConfig.max_cost")
        if self.base_url is not None:
            _check_url(self.base_url)

    @classmethod
    def from_environment(cls, model: str) -> EndpointConfig:
        """A model at the address `NOSCE_URL`, else `OPENAI_BASE_URL`, else OpenAI's.

        Prices are `NOSCE_PRICE_IN` and `NOSCE_PRICE_OUT` (default: 0). `NOSCE_TOKEN_LIMIT` is the `token_limit_name`;
        `NOSCE_TEMPERATURE=no` sends no temperature.

        Raises:
            UsageError: A price is not a number, or a value is none of those that are known.
            SpecError: The address or a price is not allowed.
        """
        raw_prices = [os.environ.get(f"NOSCE_PRICE_{way}", "0") for way in ("IN", "OUT")]
        try:
            price_in, price_out = (float(one) for one in raw_prices)
        except ValueError:
            raise UsageError(
                f"NOSCE_PRICE_IN and NOSCE_PRICE_OUT are {raw_prices}; give numbers, or leave them out."
            ) from None
        limit_name = next(
            (n for n in TOKEN_LIMIT_NAMES if n == os.environ.get("NOSCE_TOKEN_LIMIT", "max_tokens")), None
        )
        if limit_name is None:
            raise UsageError(
                f"NOSCE_TOKEN_LIMIT is {os.environ['NOSCE_TOKEN_LIMIT']!r}; take {' or '.join(TOKEN_LIMIT_NAMES)}."
            )
        return cls(
            model=model,
            base_url=os.environ.get("NOSCE_URL") or os.environ.get("OPENAI_BASE_URL") or None,
            input_price_per_million=price_in,
            output_price_per_million=price_out,
            token_limit_name=limit_name,
            sends_temperature=yes_or_no("NOSCE_TEMPERATURE"),
        )

    @property
    def payee(self) -> str:
        """The name under which costs are counted."""
        return self.account or self.model_id

    @property
    def model_id(self) -> str:
        """Address and model, since the same name at another address may be another model.

        What the request says otherwise than by default is added. Replies were paid for under the rest of this name, so
        it must not change.
        """
        limit = "" if self.token_limit_name == "max_tokens" else f" {self.token_limit_name}"
        temperature = "" if self.sends_temperature else " without temperature"
        return f"{self.base_url or 'openai'} {self.model}{limit}{temperature}"

    def url(self, path: str) -> str:
        """The address of a route, e.g. "/chat/completions"."""
        return (self.base_url or OPENAI_URL).rstrip("/") + path

    def read_api_key(self) -> str:
        """The key in the environment.

        Raises:
            UsageError: The variable is not set, its value cannot be sent, or the whole value is part of the address or
                of the model's name.
        """
        key = os.environ.get(self.api_key_variable, "")
        if not key:
            raise UsageError(
                f"an endpoint's key was looked for in ${self.api_key_variable}, which is not set; export it, and "
                "nowhere else."
            )
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise UsageError(
                f"the key in ${self.api_key_variable} has a blank or another character that no header can hold; "
                "export it without."
            )
        if Redactor(key).is_in(f"{self.base_url or ''} {self.model}", part_length=len(key)):
            raise UsageError(
                f"the key in ${self.api_key_variable} is also part of the endpoint's address or of the model's name, "
                "which are stored; leave it out there."
            )
        return key

    def chat_body(self, request: ChatRequest) -> JsonObject:
        """The body of a chat request.

        The sample's index is its seed; an endpoint without seeds ignores it.
        """
        body: JsonObject = {
            "model": self.model,
            "messages": [{"role": role, "content": text} for role, text in request.messages],
            self.token_limit_name: request.max_new_tokens,
        }
        if self.sends_temperature:
            body["temperature"] = request.temperature
        if request.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
        if request.temperature:
            body["seed"] = request.sample_index
        return body

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """The cost of so many tokens, in the currency of the prices."""
        return (prompt_tokens * self.input_price_per_million + completion_tokens * self.output_price_per_million) / 1e6


def yes_or_no(variable: str) -> bool:
    """An environment variable that is "yes" or "no"; yes where it is not set.

    Raises:
        UsageError: It is something else.
    """
    value = os.environ.get(variable) or "yes"
    if value not in ("yes", "no"):
        raise UsageError(f"{variable} is {value!r}; take yes or no.")
    return value == "yes"


def _check_url(url: str) -> None:
    """Refuse an address that cannot be asked, or that holds secrets, which would be stored with the study's plan.

    The address is not shown, since it may hold a password.

    Raises:
        SpecError: The address is not allowed.
    """
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_address = False
    if not is_address or not url.isprintable() or " " in url or "\\" in url:
        raise SpecError(
            "the endpoint's address is none that begins with http:// or https:// and names a host (it is not shown, "
            "since it may hold a password); give one like https://host/v1."
        )
    if "@" in parts.netloc or parts.query or parts.fragment or "?" in url or "#" in url:
        raise SpecError(
            f"the endpoint's address at {parts.hostname} has a user name, a password or a query in it, and addresses "
            "are stored; leave them out, and put the key into its environment variable."
        )
