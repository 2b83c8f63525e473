"""A client of any endpoint with OpenAI's protocol, which respects rate limits and a budget.

The key is read from the environment when it is needed, and is in no field, file, log or message. Replies are kept by
`nosce.models.api.cache`, so an interrupted run sends no request twice.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TypeVar

from nosce.errors import UsageError
from nosce.models.api.base import ChatRequest, ChatResponse
from nosce.models.api.budget import Budget, Reservation
from nosce.models.api.cache import ResponseCache
from nosce.models.api.endpoint import EndpointConfig
from nosce.models.api.exchange import ExchangeError, HttpRequest, exchange
from nosce.models.api.failures import AttemptError, EndpointError, MaybeDoneError, status_failure
from nosce.models.api.protocol import (
    NotAnAnswerError,
    parse_chat_completion,
    parse_object,
    token_usage,
)
from nosce.models.api.redaction import REPLY_PART_LENGTH, Redactor
from nosce.seeds import Seed
from nosce.store.files import JsonObject
from nosce.store.spec import Json

MAX_WAIT_SECONDS = 60.0  # seconds between two attempts
TOKENS_PER_MESSAGE = 16  # more than the tokens around a message in known chat templates

T = TypeVar("T")


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

    @property
    def spent(self) -> float:
        """The cost of all requests on the budget, in the currency of the prices."""
        return self.budget.spent

    @property
    def model_id(self) -> str:
        """The name of the model and of how it is asked, under which replies are kept."""
        return self.endpoint.model_id

    def complete(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, ChatResponse]]:
        """Yield replies as they come. When a request fails for good, the requests under way are finished first.

        Raises:
            EndpointError: A request failed for good, or the budget would be exceeded.
            UsageError: The environment has no key, the client library is missing, or a limit is set without a price.
        """
        if not requests:
            return
        self._check_prices()
        self.endpoint.read_api_key()
        failed: BaseException | None = None
        queue, stopped = iter(enumerate(requests)), threading.Event()
        with ThreadPoolExecutor(self.endpoint.max_concurrency) as pool:
            running: dict[Future[ChatResponse], int] = {}
            try:
                while True:
                    while failed is None and len(running) < self.endpoint.max_concurrency:
                        if (entry := next(queue, None)) is None:
                            break
                        running[pool.submit(self.complete_one, entry[1], stopped)] = entry[0]
                    if not running:
                        break
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        index = running.pop(future)
                        if (error := future.exception()) is None:
                            yield index, future.result()
                        else:
                            failed = failed or error
            finally:
                stopped.set()  # threads that wait for another attempt give up
                for future in running:
                    future.cancel()
        if failed is not None:
            raise failed

    def complete_one(self, request: ChatRequest, stopped: threading.Event | None = None) -> ChatResponse:
        """One reply, with further attempts after failures; it is in the cache before it is returned.

        Args:
            request: The request.
            stopped: Once set, no further attempt is made. None: it is never set.

        Raises:
            EndpointError: The request failed for good.
        """
        key = request.cache_key(self.model_id)
        response = self._with_retries(lambda: self._ask(request), key, stopped)
        if self.cache is not None:
            self.cache.add(key, response)
        return response

    def call(
        self,
        method: str,
        path: str,
        parse: Callable[[JsonObject], T],
        *,
        body: Mapping[str, Json] | None = None,
        upload: tuple[str, bytes] | None = None,
        is_repeatable: bool = True,
    ) -> T:
        """What `parse` reads in the reply of another route, e.g. of fine-tuning jobs.

        Args:
            method: "GET" or "POST".
            path: The route, e.g. "/files".
            parse: Reads the JSON object; raises NotAnAnswerError where it is not what was asked for.
            body: The JSON body.
            upload: The content type and the bytes of another body.
            is_repeatable: Whether the call may be repeated when the endpoint may have done what was asked.

        Raises:
            RefusedRouteError: The endpoint has no such route.
            MaybeDoneError: The call is not repeatable, and may have been done.
            EndpointError: The call failed for good.
        """

        def attempt() -> T:
            try:
                found = self._send(method, path, body=body, upload=upload)
                return self._parsed(parse, found)
            except AttemptError as error:
                if error.may_be_done and not is_repeatable:
                    raise MaybeDoneError(
                        f"{method} {path} of {self.endpoint.model} may or may not have been done (it ended with "
                        f"{error.reason}); run again to look for it in the endpoint's own list."
                    ) from None
                raise

        return self._with_retries(attempt, f"{method} {path}")

    def _with_retries(self, attempt: Callable[[], T], name: str, stopped: threading.Event | None = None) -> T:
        """The result of the first attempt that does not fail.

        Raises:
            EndpointError: All attempts failed, one failed for good, or another request did.
        """
        e, reason = self.endpoint, ""
        for number in range(e.max_retries + 1):
            if number:
                if stopped is not None and stopped.is_set():
                    raise EndpointError("stopped, since another request failed.")
                self._back_off(name, number)
            try:
                return attempt()
            except AttemptError as error:
                reason = error.reason
                if error.pause is not None:
                    with self._lock:
                        pause = min(error.pause, MAX_WAIT_SECONDS)
                        self._next_send_time = max(self._next_send_time, self.clock() + pause)
        raise EndpointError(
            f"{e.model} did not answer after {e.max_retries + 1} attempts (the last: {reason}); what it had answered "
            "is kept, and the same command goes on."
        )

    def _ask(self, request: ChatRequest) -> ChatResponse:
        """One attempt at a chat request, with what it costs."""
        reservation = self._reserve(request)
        cost = reservation.cost  # what is not known to be cheaper counts in full
        try:
            body = self.endpoint.chat_body(request)
            try:
                found = self._send("POST", "/chat/completions", body=body)
            except AttemptError as error:
                cost = reservation.cost if error.may_be_done else 0.0
                raise
            except EndpointError:
                cost = 0.0
                raise
            cost = self._counted_cost(found, request, reservation)
            return self._parsed(lambda data: parse_chat_completion(data, request), found)
        finally:
            self.budget.settle(reservation, cost)

    def _parsed(self, parse: Callable[[JsonObject], T], found: JsonObject) -> T:
        """What is read in a reply, unless the key is in it.

        Raises:
            AttemptError: The reply is not what was asked for.
            EndpointError: The key is in it.
        """
        redactor = self.redactor()
        try:
            parsed = parse(found)
        except NotAnAnswerError as error:
            raise AttemptError(redactor.message(str(error))) from None
        is_secret = len(redactor.key) >= REPLY_PART_LENGTH  # a shorter key may be a word of the reply
        if is_secret and redactor.is_in(str(parsed), part_length=REPLY_PART_LENGTH):
            raise EndpointError(
                f"{self.endpoint.model} sent the key back in its reply, which is therefore not kept; ask another "
                "endpoint, and set another key."
            )
        return parsed

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Json] | None = None,
        upload: tuple[str, bytes] | None = None,
    ) -> JsonObject:
        """The JSON object of one reply.

        Raises:
            AttemptError: A further attempt may succeed.
            EndpointError: A further attempt would fail too.
        """
        headers = {"authorization": f"Bearer {self.endpoint.read_api_key()}", "accept": "application/json"}
        for name, variable in (("openai-organization", "OPENAI_ORG_ID"), ("openai-project", "OPENAI_PROJECT_ID")):
            headers |= {name: os.environ[variable]} if os.environ.get(variable) else {}
        content = b""
        if body is not None:
            headers["content-type"], content = "application/json", json.dumps(body, allow_nan=False).encode()
        elif upload is not None:
            headers["content-type"], content = upload
        request = HttpRequest(method=method, url=self.endpoint.url(path), headers=headers, body=content)
        try:
            reply = exchange(request, self.endpoint.timeout)
        except ExchangeError as error:
            raise AttemptError(error.reason, may_be_done=error.may_be_billed) from None
        if not 200 <= reply.status < 300:
            raise status_failure(self.endpoint, reply, self.redactor())
        try:
            return parse_object(reply)
        except NotAnAnswerError as error:
            raise AttemptError(self.redactor().message(str(error))) from None

    def _check_prices(self) -> None:
        """Refuse a limit without prices: no cost would ever be counted."""
        e = self.endpoint
        limits = [limit for limit in (self.budget.max_cost, e.max_cost) if limit is not None]
        if limits and not (e.input_price_per_million or e.output_price_per_million or e.is_free):
            raise UsageError(
                f"at most {min(limits):g} may be spent on {e.model}, but no price is known, so nothing would ever "
                "be counted; say its prices (NOSCE_PRICE_IN and NOSCE_PRICE_OUT, or price_in=, price_out= or free=yes "
                "behind it in --model), or leave the limit out."
            )

    def _reserve(self, request: ChatRequest) -> Reservation:
        """Reserve the highest possible cost of a request, count it, and wait until it may be sent.

        Raises:
            EndpointError: The request could exceed the budget.
        """
        e = self.endpoint
        worst_cost = e.cost(most_prompt_tokens(request), request.max_new_tokens)
        reservation = self.budget.reserve(
            worst_cost, self.budget.max_cost, payee=e.payee, payee_limit=None if e.is_free else e.max_cost
        )
        if reservation is None:
            raise EndpointError(self._limit_reached(worst_cost))
        with self._lock:
            now = self.clock()
            pause = max(0.0, self._next_send_time - now)
            if e.requests_per_minute is not None:
                self._next_send_time = max(self._next_send_time, now) + 60.0 / e.requests_per_minute
            self.request_count += 1
        if pause:
            self.sleep(pause)
        return reservation

    def _limit_reached(self, worst_cost: float) -> str:
        """What to say of a request that may cost more than is left: of the endpoint's own limit, or of the run's."""
        limit, own_limit = self.budget.max_cost, self.endpoint.max_cost
        spent_on = self.budget.spent_on(self.endpoint.payee)
        ending = f"the next request may cost {worst_cost:.4f}; what was answered is kept, so raise the limit"
        if limit is None or (own_limit is not None and spent_on + worst_cost > own_limit):
            return (
                f"{spent_on:.4f} of {own_limit:g} are spent on {self.endpoint.model} or reserved for it, earlier "
                f"commands of the run included; {ending} of this model to go on."
            )
        return (
            f"{self.budget.spent_by_all:.4f} of {limit:g} are spent, earlier commands of the run included, and "
            f"{self.budget.reserved:.4f} are reserved; {ending} to go on."
        )

    def _counted_cost(self, found: JsonObject, request: ChatRequest, reservation: Reservation) -> float:
        """The cost of the tokens that the endpoint counts; where a count is missing or odd, the highest possible one.

        Where one of the two is odd the other may be too, so that no less than the reserved cost is counted.
        """
        prompt_tokens, completion_tokens = token_usage(found)
        if prompt_tokens is not None and completion_tokens is not None:
            return self.endpoint.cost(prompt_tokens, completion_tokens)
        most_prompt = most_prompt_tokens(request) if prompt_tokens is None else prompt_tokens
        most_completion = request.max_new_tokens if completion_tokens is None else completion_tokens
        return max(reservation.cost, self.endpoint.cost(most_prompt, most_completion))

    def _back_off(self, name: str, attempt: int) -> None:
        """Wait, twice as long after each attempt and with jitter."""
        jitter = (Seed(0) / name.replace("/", " ") / attempt).numpy().random()
        self.sleep(min(MAX_WAIT_SECONDS, 2.0 ** (attempt - 1)) * (0.5 + jitter / 2))

    def redactor(self) -> Redactor:
        """Finds the key in what the endpoint sends."""
        return Redactor(os.environ.get(self.endpoint.api_key_variable, ""))


def most_prompt_tokens(request: ChatRequest) -> int:
    """No tokenizer has more tokens than a text has bytes, and no known chat template adds more to a message."""
    return sum(len(text.encode()) + TOKENS_PER_MESSAGE for _, text in request.messages)
