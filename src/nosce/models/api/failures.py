"""How a request to an endpoint fails: for good, or so that another attempt may succeed."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from nosce.errors import NosceError
from nosce.models.api.endpoint import EndpointConfig
from nosce.models.api.exchange import HttpReply
from nosce.models.api.protocol import error_message
from nosce.models.api.redaction import Redactor

#: A conflict, too early, too many requests, unavailable: the endpoint did not begin what was asked.
NOTHING_DONE_STATUS_CODES = (409, 425, 429, 503)
RETRIED_STATUS_CODES = (408, *NOTHING_DONE_STATUS_CODES)  # and everything from 500 on
NOT_IMPLEMENTED = 501


class EndpointError(NosceError):
    """An endpoint did not reply, or the budget allows no further request; all replies so far are kept."""


class MaybeDoneError(EndpointError):
    """An endpoint may or may not have done what must not be done twice, e.g. started a fine-tuning job."""


class RefusedRouteError(EndpointError):
    """An endpoint has no such route, e.g. because it has no fine-tuning jobs.

    Args:
        message: The sentence.
        reason: Status and message of the endpoint, without the key.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class AttemptError(Exception):
    """An attempt failed, and another may not.

    Args:
        reason: What happened, without the key.
        pause: Seconds that the endpoint asks to wait; None where it does not say.
        may_be_done: Whether the endpoint may have done, and may bill, what was asked.
    """

    def __init__(self, reason: str, pause: float | None = None, *, may_be_done: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.pause, self.may_be_done = reason, pause, may_be_done


def status_failure(endpoint: EndpointConfig, reply: HttpReply, redactor: Redactor) -> AttemptError | EndpointError:
    """What a status other than success means, without the key."""
    code, name = reply.status, endpoint.model
    said = redactor.message(error_message(reply)) or "without a reason"
    if code in RETRIED_STATUS_CODES or (code >= 500 and code != NOT_IMPLEMENTED):
        # A gateway that gave up waiting (e.g. 504) does not know what the server behind it has done, and will bill.
        may_be_done = code not in NOTHING_DONE_STATUS_CODES
        return AttemptError(f"status {code}: {said}", _retry_after(reply), may_be_done=may_be_done)
    if code in (401, 403):
        return EndpointError(f"{name} refused the key in ${endpoint.api_key_variable} (status {code}); set another.")
    if code < 400:
        return EndpointError(
            f"{name} was looked for at an address that sends to another (status {code}), where the key is not sent; "
            "give the address that it sends to."
        )
    sentence = f"{name} refused what was asked (status {code}: {said}); {_remedy(said)}."
    if code in (404, 405, NOT_IMPLEMENTED):
        return RefusedRouteError(sentence, f"status {code}: {said}")
    return EndpointError(sentence)


def _remedy(said: str) -> str:
    """What to do about a refusal, e.g. of a field that reasoning models refuse."""
    if "max_completion_tokens" in said or "max_tokens" in said:
        return "set NOSCE_TOKEN_LIMIT=max_completion_tokens, or EndpointConfig.token_limit_name"
    if "temperature" in said:
        return "set NOSCE_TEMPERATURE=no, or EndpointConfig.sends_temperature=False"
    return "change it"


def _retry_after(reply: HttpReply) -> float | None:
    """Seconds that the endpoint asks to wait, as a number or as a date; None where it does not say."""
    text = reply.headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return None if math.isnan(seconds) else max(0.0, seconds)
