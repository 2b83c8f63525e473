"""Any endpoint that speaks OpenAI's protocol, asked with care for its limits and for the bill.

The key is read from the environment when it is needed, and is in no field, file, log or message. What was answered is
kept by `nosce.models.api.cache`, so that a run that was interrupted asks nothing twice.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from nosce.errors import NosceError, SpecError, UsageError
from nosce.models.api.base import Ask, Finish, Reply
from nosce.models.api.cache import Replies
from nosce.seeds import Seed

RETRIED = (408, 409, 425, 429)  # and everything from 500 on
LONGEST_WAIT = 60.0  # seconds between two attempts
CHARACTERS = 3.0  # of a token, as is guessed before the endpoint has counted


class EndpointError(NosceError):
    """An endpoint did not answer, or must not be asked any more; what it had answered is kept."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where, whom, how fast and how much: plain data, without the key."""

    model: str
    url: str | None = None  # None: OpenAI's own
    key: str = "OPENAI_API_KEY"  # the environment's variable that holds it
    concurrency: int = 8
    per_minute: int | None = None  # requests
    timeout: float = 60.0  # seconds of one request
    retries: int = 6
    price_in: float = 0.0  # of a million tokens, in the currency of `max_cost`
    price_out: float = 0.0
    max_cost: float | None = None

    def __post_init__(self) -> None:
        if not self.model or self.concurrency < 1 or self.timeout <= 0 or self.retries < 0:
            raise SpecError(
                f"an Endpoint of model {self.model!r} with {self.concurrency} requests at once, {self.timeout} s and "
                f"{self.retries} retries cannot be asked; name a model, and take at least one request and some time."
            )
        paid = all(0 <= price < math.inf for price in (self.price_in, self.price_out))
        if (self.per_minute is not None and self.per_minute < 1) or not paid:
            raise SpecError("an Endpoint needs one request a minute or more, and prices of 0 or more.")

    @classmethod
    def of_environment(cls, model: str) -> Endpoint:
        """A model where `NOSCE_URL` says, at the prices of `NOSCE_PRICE_IN` and `NOSCE_PRICE_OUT`; unsaid, they are 0.

        Raises:
            UsageError: A price is no number.
        """
        told = [os.environ.get(f"NOSCE_PRICE_{way}", "0") for way in ("IN", "OUT")]
        try:
            price_in, price_out = (float(one) for one in told)
        except ValueError:
            raise UsageError(
                f"NOSCE_PRICE_IN and NOSCE_PRICE_OUT are {told}; give numbers, or leave them out."
            ) from None
        return cls(model=model, url=os.environ.get("NOSCE_URL"), price_in=price_in, price_out=price_out)


@dataclass(eq=False)
class Purse:
    """What all requests of a run are paid from, to one endpoint or several."""

    most: float | None = None  # None: as each endpoint's `max_cost` says
    spent: float = 0.0
    aside: float = 0.0  # what requests under way may cost
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(eq=False)
class Asker:
    """An endpoint being asked; a sampler."""

    endpoint: Endpoint
    known: Replies | None = None  # where replies are kept at once, so that an interrupt loses none that was paid for
    purse: Purse = field(default_factory=Purse)
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    requests: int = field(default=0, init=False)  # that were sent, failed ones too
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _next: float = field(default=0.0, init=False)  # before which nothing may be sent
    _client: Any = field(default=None, init=False)
    _stopped: threading.Event = field(default_factory=threading.Event, init=False)

    @property
    def spent(self) -> float:
        """What the purse has been charged, in the currency of the prices."""
        return self.purse.spent

    @property
    def answerer(self) -> str:
        """Model and address: the same name elsewhere may be another model."""
        return f"{self.endpoint.url or 'openai'} {self.endpoint.model}"

    def replies(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Reply]]:
        """Replies as they come; at the first that cannot be had, what is under way is waited for and given first.

        Raises:
            EndpointError: An ask failed for good, or the bill would be exceeded.
            UsageError: The environment has no key, the library is not installed, or a limit is set without a price.
        """
        self._payable()
        self.client()
        failed: BaseException | None = None
        waiting = iter(enumerate(asks))
        with ThreadPoolExecutor(self.endpoint.concurrency) as pool:
            running: dict[Future[Reply], int] = {}
            try:
                while True:
                    while failed is None and len(running) < self.endpoint.concurrency:
                        if (one := next(waiting, None)) is None:
                            break
                        running[pool.submit(self.reply, one[1])] = one[0]
                    if not running:
                        break
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        place = running.pop(future)
                        if (error := future.exception()) is None:
                            yield place, future.result()
                        else:
                            failed = failed or error
            finally:
                self._stopped.set()  # threads that wait for another attempt give up
                for future in running:
                    future.cancel()
        self._stopped.clear()
        if failed is not None:
            raise failed

    def reply(self, ask: Ask) -> Reply:
        """One reply, however many attempts it takes.

        Raises:
            EndpointError: It cannot be had.
        """
        e = self.endpoint
        why = ""
        for attempt in range(e.retries + 1):
            if attempt:
                self._wait(ask, attempt)
            most = self._turn(ask)
            raw = None
            try:
                raw = self.client().chat.completions.create(**_request(e, ask))
            except Exception as error:
                why, pause = self._failure(error)
                if pause is not None:
                    with self._lock:
                        self._next = max(self._next, self.clock() + min(pause, LONGEST_WAIT))
                continue
            finally:
                self._bill(raw, most)
            reply = _reply(raw, ask)
            if reply.finish != "invalid" or attempt == e.retries:
                if self.known is not None:
                    self.known.add(ask.key(self.answerer), reply)
                return reply
            why = "no choice was returned"
        raise EndpointError(
            f"{e.model} did not answer after {e.retries + 1} attempts (the last: {why}); what it had answered is kept, "
            "and the same command goes on."
        )

    @property
    def _limit(self) -> float | None:
        """What may be spent at most."""
        return self.endpoint.max_cost if self.purse.most is None else self.purse.most

    def _payable(self) -> None:
        """A limit on what nothing is charged for would limit nothing."""
        e = self.endpoint
        if self._limit is not None and not (e.price_in or e.price_out):
            raise UsageError(
                f"at most {self._limit:g} may be spent on {e.model}, but no price is known, so nothing would ever be "
                "counted; say its prices (NOSCE_PRICE_IN and NOSCE_PRICE_OUT), or leave the limit out."
            )

    def client(self) -> Any:
        """The library's client, made once.

        Raises:
            UsageError: The environment has no key, or the library is not installed.
        """
        with self._lock:
            if self._client is None:
                try:
                    import openai
                except ImportError:
                    raise UsageError("an endpoint needs the library openai; pip install 'nosce[api]'.") from None
                self._client = openai.OpenAI(api_key=secret(self.endpoint.key), base_url=self.endpoint.url,
                                             max_retries=0, timeout=self.endpoint.timeout)  # fmt: skip
            return self._client

    def _turn(self, ask: Ask) -> float:
        """Wait until a request may be sent, and count it; what it may cost at most is set aside.

        Raises:
            EndpointError: It might cost more than may be spent.
        """
        e, limit = self.endpoint, self._limit
        letters = sum(len(text) for _, text in ask.messages)
        most = (letters / CHARACTERS * e.price_in + ask.tokens * e.price_out) / 1e6
        with self.purse.lock:
            if limit is not None and self.purse.spent + self.purse.aside + most > limit:
                raise EndpointError(
                    f"{self.spent:.4f} of {limit:g} are spent, and the next request may cost {most:.4f}; what was "
                    "answered is kept, so raise the limit to go on."
                )
            self.purse.aside += most
        with self._lock:
            now = self.clock()
            pause = max(0.0, self._next - now)
            if e.per_minute is not None:
                self._next = max(self._next, now) + 60.0 / e.per_minute
            self.requests += 1
        if pause:
            self.sleep(pause)
        return most

    def _wait(self, ask: Ask, attempt: int) -> None:
        """Longer from attempt to attempt, and not all at once.

        Raises:
            EndpointError: Another ask has failed for good meanwhile.
        """
        if self._stopped.is_set():
            raise EndpointError("stopped, since another request failed.")
        jitter = (Seed(0) / ask.key(self.answerer) / attempt).numpy().random()
        self.sleep(min(LONGEST_WAIT, 2.0 ** (attempt - 1)) * (0.5 + jitter / 2))

    def _failure(self, error: Exception) -> tuple[str, float | None]:
        """Why, in words without the key, and how long the endpoint wants to be left alone.

        Raises:
            EndpointError: There is no use in asking again.
        """
        import openai

        if isinstance(error, openai.APIStatusError):
            code = error.status_code
            told = self._without_key(_told(error))
            if code in RETRIED or code >= 500:
                return f"status {code}: {told}", _pause(error)
            if code in (401, 403):
                raise EndpointError(
                    f"{self.endpoint.model} refused the key in ${self.endpoint.key} (status {code}); set another."
                ) from None
            raise EndpointError(
                f"{self.endpoint.model} refused what was asked (status {code}: {told}); change it."
            ) from None
        if isinstance(error, openai.APITimeoutError):
            return f"nothing within {self.endpoint.timeout:g} s", None
        if isinstance(error, openai.APIConnectionError):
            return "no connection", None
        if isinstance(error, openai.APIError | ValueError):
            return f"no JSON of the protocol ({type(error).__name__})", None
        raise error

    def _bill(self, raw: Any, aside: float) -> None:
        """What was set aside is given back, and what was counted is spent; all of it where nothing was counted."""
        read, written = _counted(raw)
        counted = (read * self.endpoint.price_in + written * self.endpoint.price_out) / 1e6
        with self.purse.lock:
            self.purse.aside -= aside
            self.purse.spent += counted if raw is None or read or written else aside

    def _without_key(self, text: str) -> str:
        held = os.environ.get(self.endpoint.key, "")
        return text.replace(held, "[key]") if held else text


def secret(variable: str) -> str:
    """The key that the environment holds.

    Raises:
        UsageError: It holds none.
    """
    held = os.environ.get(variable, "")
    if not held:
        raise UsageError(
            f"an endpoint's key was looked for in ${variable}, which is not set; export it, and nowhere else."
        )
    return held


def _request(endpoint: Endpoint, ask: Ask) -> dict[str, Any]:
    more = {"logprobs": True, "top_logprobs": ask.top} if ask.top else {}
    # A draw's number is its seed, where the endpoint has such a thing.
    drawn = {"seed": ask.sample} if ask.temperature else {}
    return {"model": endpoint.model, "messages": [{"role": role, "content": text} for role, text in ask.messages],
            "temperature": ask.temperature, "max_tokens": ask.tokens, **more, **drawn}  # fmt: skip


def _reply(raw: Any, ask: Ask) -> Reply:
    """What the protocol's answer says; without a choice or a text it is invalid."""
    choices = getattr(raw, "choices", None) or []
    read, written = _counted(raw)
    if not choices:
        return Reply(text="", finish="invalid", prompt_tokens=read, reply_tokens=written)
    one = choices[0]
    refused = getattr(one.message, "refusal", None) or one.finish_reason == "content_filter"
    finish: Finish = "refused" if refused else "length" if one.finish_reason == "length" else "stop"
    text = one.message.content or getattr(one.message, "refusal", None) or ""
    content = getattr(getattr(one, "logprobs", None), "content", None) or []
    first = tuple((t.token, float(t.logprob)) for t in content[0].top_logprobs) if content and ask.top else ()
    logs = float(sum(t.logprob for t in content)) if content else None
    return Reply(text=text, finish=finish, log_probability=logs, first=first, prompt_tokens=read,
                 reply_tokens=written)  # fmt: skip


def _counted(raw: Any) -> tuple[int, int]:
    """Tokens read and written, as the endpoint counted them; 0 where it did not."""
    usage = getattr(raw, "usage", None)
    return getattr(usage, "prompt_tokens", 0) or 0, getattr(usage, "completion_tokens", 0) or 0


def _told(error: Any) -> str:
    """The first line of what the endpoint said."""
    return str(getattr(error, "message", "") or error).split("\n", 1)[0][:200]


def _pause(error: Any) -> float | None:
    """Seconds that the endpoint asks to be left alone."""
    try:
        return max(0.0, float(error.response.headers["retry-after"]))
    except (AttributeError, KeyError, ValueError):
        return None
