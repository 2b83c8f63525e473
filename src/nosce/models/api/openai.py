"""A client of any endpoint with OpenAI's protocol, which respects rate limits and a budget.

The key is read from the environment when it is needed, and is in no field, file, log or message. Replies are kept by
`nosce.models.api.cache`, so an interrupted run sends no request twice.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nosce.errors import NosceError, SpecError, UsageError
from nosce.models.api.base import ChatRequest, ChatResponse, FinishReason
from nosce.models.api.cache import ResponseCache
from nosce.seeds import Seed

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletion

RETRIED_STATUS_CODES = (408, 409, 425, 429)  # and everything from 500 on
MAX_WAIT_SECONDS = 60.0  # seconds between two attempts
CHARACTERS_PER_TOKEN = 3.0  # a low estimate, for the cost of a request before the endpoint has counted its tokens


class EndpointError(NosceError):
    """An endpoint did not reply, or the budget allows no further request; all replies so far are kept."""


@dataclass(frozen=True, kw_only=True)
class EndpointConfig:
    """A model at an endpoint, with its limits and prices; the key is not part of it.

    Args:
        model: The endpoint's name of the model.
        base_url: Address of the endpoint. None: OpenAI's.
        api_key_variable: The environment variable that holds the key; the default is that of OpenAI's client.
        max_concurrency: Requests that are sent at the same time; 8 stays below the usual rate limits.
        requests_per_minute: Most requests per minute. None: no limit.
        timeout: Seconds until a request counts as failed; a minute is enough for short replies.
        max_retries: Further attempts of a failed request. 6 attempts with doubling pauses take about a minute.
        input_price_per_million: Price of a million prompt tokens. 0: free, e.g. an endpoint of one's own.
        output_price_per_million: Price of a million reply tokens, in the same currency.
        max_cost: Most that all requests may cost, in the currency of the prices. None: no limit.
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

    def __post_init__(self) -> None:
        if not self.model or self.max_concurrency < 1 or self.timeout <= 0 or self.max_retries < 0:
            raise SpecError(
                f"an EndpointConfig of model {self.model!r} with {self.max_concurrency} requests at once, "
                f"{self.timeout} s and {self.max_retries} retries cannot be asked; name a model, and take at least one "
                "request and some time."
            )
        paid = all(0 <= price < math.inf for price in (self.input_price_per_million, self.output_price_per_million))
        if (self.requests_per_minute is not None and self.requests_per_minute < 1) or not paid:
            raise SpecError("an EndpointConfig needs one request a minute or more, and prices of 0 or more.")

    @classmethod
    def from_environment(cls, model: str) -> EndpointConfig:
        """A model at the address `NOSCE_URL`, at the prices `NOSCE_PRICE_IN` and `NOSCE_PRICE_OUT` (default: 0).

        Raises:
            UsageError: A price is not a number.
        """
        raw_prices = [os.environ.get(f"NOSCE_PRICE_{way}", "0") for way in ("IN", "OUT")]
        try:
            price_in, price_out = (float(one) for one in raw_prices)
        except ValueError:
            raise UsageError(
                f"NOSCE_PRICE_IN and NOSCE_PRICE_OUT are {raw_prices}; give numbers, or leave them out."
            ) from None
        return cls(
            model=model,
            base_url=os.environ.get("NOSCE_URL"),
            input_price_per_million=price_in,
            output_price_per_million=price_out,
        )


@dataclass(eq=False)
class Budget:
    """The money that all requests of a run share, to one endpoint or several.

    Args:
        max_cost: Most that may be spent. None: the limit of each `EndpointConfig`.
        spent: Cost of the finished requests.
        reserved: Highest possible cost of the requests that are under way.
        lock: Guards the two sums.
    """

    max_cost: float | None = None
    spent: float = 0.0
    reserved: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(eq=False)
class OpenAIClient:
    """A chat model at an endpoint.

    Args:
        endpoint: The endpoint and its model.
        cache: Where replies are kept as soon as they come, so that an interrupt loses none that was paid for.
        budget: The money that requests may spend.
        sleep: Waits so many seconds; tests replace it.
        clock: The current time in seconds; tests replace it.
    """

    endpoint: EndpointConfig
    cache: ResponseCache | None = None
    budget: Budget = field(default_factory=Budget)
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    request_count: int = field(default=0, init=False)  # requests that were sent, failed ones too
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _next_send_time: float = field(default=0.0, init=False)  # no request is sent before this time
    _client: openai.OpenAI | None = field(default=None, init=False)
    _stopped: threading.Event = field(default_factory=threading.Event, init=False)

    @property
    def spent(self) -> float:
        """The cost of all requests on the budget, in the currency of the prices."""
        return self.budget.spent

    @property
    def model_id(self) -> str:
        """Address and model: the same name at another address may be another model."""
        return f"{self.endpoint.base_url or 'openai'} {self.endpoint.model}"

    def complete(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, ChatResponse]]:
        """Yield replies as they come. When a request fails for good, the requests under way are finished first.

        Raises:
            EndpointError: A request failed for good, or the budget would be exceeded.
            UsageError: The environment has no key, the client library is missing, or a limit is set without a price.
        """
        self._check_prices()
        self.sdk_client()
        failed: BaseException | None = None
        queue = iter(enumerate(requests))
        with ThreadPoolExecutor(self.endpoint.max_concurrency) as pool:
            running: dict[Future[ChatResponse], int] = {}
            try:
                while True:
                    while failed is None and len(running) < self.endpoint.max_concurrency:
                        if (entry := next(queue, None)) is None:
                            break
                        running[pool.submit(self.complete_one, entry[1])] = entry[0]
                    if not running:
                        break
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        index = running.pop(future)
                        if (error := future.exception()) is None:
                            yield index, future.result()
                        else:
                            failed = failed or error
            finally:
                self._stopped.set()  # threads that wait for another attempt give up
                for future in running:
                    future.cancel()
        self._stopped.clear()
        if failed is not None:
            raise failed

    def complete_one(self, request: ChatRequest) -> ChatResponse:
        """One reply, with further attempts after failures.

        Raises:
            EndpointError: The request failed for good.
        """
        e = self.endpoint
        failure = ""
        for attempt in range(e.max_retries + 1):
            if attempt:
                self._back_off(request, attempt)
            reserved = self._reserve(request)
            raw = None
            try:
                raw = self.sdk_client().chat.completions.create(**_request_body(e, request))
            except Exception as error:
                failure, pause = self._classify_failure(error)
                if pause is not None:
                    with self._lock:
                        self._next_send_time = max(self._next_send_time, self.clock() + min(pause, MAX_WAIT_SECONDS))
                continue
            finally:
                self._settle(raw, reserved)
            response = _parse_response(raw, request)
            if response.finish_reason != "invalid" or attempt == e.max_retries:
                if self.cache is not None:
                    self.cache.add(request.cache_key(self.model_id), response)
                return response
            failure = "no choice was returned"
        raise EndpointError(
            f"{e.model} did not answer after {e.max_retries + 1} attempts (the last: {failure}); what it had answered "
            "is kept, and the same command goes on."
        )

    @property
    def _cost_limit(self) -> float | None:
        """The most that may be spent."""
        return self.endpoint.max_cost if self.budget.max_cost is None else self.budget.max_cost

    def _check_prices(self) -> None:
        """Refuse a limit without prices: no cost would ever be counted."""
        e = self.endpoint
        if self._cost_limit is not None and not (e.input_price_per_million or e.output_price_per_million):
            raise UsageError(
                f"at most {self._cost_limit:g} may be spent on {e.model}, but no price is known, so nothing would ever "
                "be counted; say its prices (NOSCE_PRICE_IN and NOSCE_PRICE_OUT), or leave the limit out."
            )

    def sdk_client(self) -> openai.OpenAI:
        """The client of the library openai, made once.

        Raises:
            UsageError: The environment has no key, or the library is not installed.
        """
        with self._lock:
            if self._client is None:
                try:
                    import openai
                except ImportError:
                    raise UsageError("an endpoint needs the library openai; pip install 'nosce[api]'.") from None
                self._client = openai.OpenAI(
                    api_key=read_api_key(self.endpoint.api_key_variable),
                    base_url=self.endpoint.base_url,
                    max_retries=0,
                    timeout=self.endpoint.timeout,
                )
            return self._client

    def _reserve(self, request: ChatRequest) -> float:
        """Wait until a request may be sent, count it, and reserve its highest possible cost.

        Raises:
            EndpointError: The request could exceed the budget.
        """
        e, limit = self.endpoint, self._cost_limit
        characters = sum(len(text) for _, text in request.messages)
        worst_cost = (
            characters / CHARACTERS_PER_TOKEN * e.input_price_per_million
            + request.max_new_tokens * e.output_price_per_million
        ) / 1e6
        with self.budget.lock:
            if limit is not None and self.budget.spent + self.budget.reserved + worst_cost > limit:
                raise EndpointError(
                    f"{self.spent:.4f} of {limit:g} are spent, and the next request may cost {worst_cost:.4f}; what "
                    "was answered is kept, so raise the limit to go on."
                )
            self.budget.reserved += worst_cost
        with self._lock:
            now = self.clock()
            pause = max(0.0, self._next_send_time - now)
            if e.requests_per_minute is not None:
                self._next_send_time = max(self._next_send_time, now) + 60.0 / e.requests_per_minute
            self.request_count += 1
        if pause:
            self.sleep(pause)
        return worst_cost

    def _back_off(self, request: ChatRequest, attempt: int) -> None:
        """Wait, twice as long after each attempt and with jitter.

        Raises:
            EndpointError: Another request has failed for good meanwhile.
        """
        if self._stopped.is_set():
            raise EndpointError("stopped, since another request failed.")
        jitter = (Seed(0) / request.cache_key(self.model_id) / attempt).numpy().random()
        self.sleep(min(MAX_WAIT_SECONDS, 2.0 ** (attempt - 1)) * (0.5 + jitter / 2))

    def _classify_failure(self, error: Exception) -> tuple[str, float | None]:
        """The reason of a failure without the key, and how many seconds the endpoint asks to wait.

        Raises:
            EndpointError: A further attempt would fail too.
        """
        import openai

        if isinstance(error, openai.APIStatusError):
            code = error.status_code
            message = self._without_key(_error_message(error))
            if code in RETRIED_STATUS_CODES or code >= 500:
                return f"status {code}: {message}", _retry_after(error)
            if code in (401, 403):
                raise EndpointError(
                    f"{self.endpoint.model} refused the key in ${self.endpoint.api_key_variable} (status {code}); set "
                    "another."
                ) from None
            raise EndpointError(
                f"{self.endpoint.model} refused what was asked (status {code}: {message}); change it."
            ) from None
        if isinstance(error, openai.APITimeoutError):
            return f"nothing within {self.endpoint.timeout:g} s", None
        if isinstance(error, openai.APIConnectionError):
            return "no connection", None
        if isinstance(error, openai.APIError | ValueError):
            return f"no JSON of the protocol ({type(error).__name__})", None
        raise error

    def _settle(self, raw: ChatCompletion | None, reserved: float) -> None:
        """Replace the reserved cost by the counted one, or by itself where the endpoint counts no tokens."""
        prompt_tokens, completion_tokens = _token_usage(raw)
        cost = (
            prompt_tokens * self.endpoint.input_price_per_million
            + completion_tokens * self.endpoint.output_price_per_million
        ) / 1e6
        with self.budget.lock:
            self.budget.reserved -= reserved
            self.budget.spent += cost if raw is None or prompt_tokens or completion_tokens else reserved

    def _without_key(self, text: str) -> str:
        held = os.environ.get(self.endpoint.api_key_variable, "")
        return text.replace(held, "[key]") if held else text


def read_api_key(variable: str) -> str:
    """The key in an environment variable.

    Raises:
        UsageError: The variable is not set.
    """
    api_key = os.environ.get(variable, "")
    if not api_key:
        raise UsageError(
            f"an endpoint's key was looked for in ${variable}, which is not set; export it, and nowhere else."
        )
    return api_key


def _request_body(endpoint: EndpointConfig, request: ChatRequest) -> dict[str, Any]:  # arguments of openai
    logprob_options = {"logprobs": True, "top_logprobs": request.top_logprobs} if request.top_logprobs else {}
    # The sample's index is its seed; an endpoint without seeds ignores it.
    seed_option = {"seed": request.sample_index} if request.temperature else {}
    return {
        "model": endpoint.model,
        "messages": [{"role": role, "content": text} for role, text in request.messages],
        "temperature": request.temperature,
        "max_tokens": request.max_new_tokens,
        **logprob_options,
        **seed_option,
    }


# Endpoints other than OpenAI's may leave fields out, so the parsing looks each field up.
def _parse_response(raw: ChatCompletion, request: ChatRequest) -> ChatResponse:
    """The reply in the endpoint's answer; an answer without choices is invalid."""
    choices = getattr(raw, "choices", None) or []
    prompt_tokens, completion_tokens = _token_usage(raw)
    if not choices:
        return ChatResponse(
            text="", finish_reason="invalid", prompt_tokens=prompt_tokens, completion_tokens=completion_tokens
        )
    choice = choices[0]
    refused = getattr(choice.message, "refusal", None) or choice.finish_reason == "content_filter"
    finish: FinishReason = "refused" if refused else "length" if choice.finish_reason == "length" else "stop"
    text = choice.message.content or getattr(choice.message, "refusal", None) or ""
    content = getattr(getattr(choice, "logprobs", None), "content", None) or []
    first = (
        tuple((t.token, float(t.logprob)) for t in content[0].top_logprobs) if content and request.top_logprobs else ()
    )
    logprob = float(sum(t.logprob for t in content)) if content else None
    return ChatResponse(
        text=text,
        finish_reason=finish,
        logprob=logprob,
        first_token_logprobs=first,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )


def _token_usage(raw: ChatCompletion | None) -> tuple[int, int]:
    """Prompt and reply tokens as the endpoint counts them; 0 where it does not."""
    usage = getattr(raw, "usage", None)
    return getattr(usage, "prompt_tokens", 0) or 0, getattr(usage, "completion_tokens", 0) or 0


def _error_message(error: openai.APIStatusError) -> str:
    """The first line of the endpoint's error message."""
    return str(getattr(error, "message", "") or error).split("\n", 1)[0][:200]


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds that the endpoint asks to wait; None where it does not say."""
    try:
        return max(0.0, float(error.response.headers["retry-after"]))
    except (AttributeError, KeyError, ValueError):
        return None
