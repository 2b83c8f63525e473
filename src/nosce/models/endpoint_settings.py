"""Settings of one endpoint among several, as `--model` has them behind its address: `,key=OTHER_KEY,price_in=0.15`.

key                   environment variable that holds the key
price_in, price_out   price of a million tokens of prompts and of replies
free                  yes: it costs nothing, so that a limit needs no price
max_cost              most that may be spent on this endpoint
requests_per_minute   most requests a minute
at_once               requests that are sent at the same time
timeout               seconds until a request counts as failed
token_limit           field of a request that holds the most tokens of a reply
temperature           no: requests have no temperature
jobs                  no: it has no fine-tuning jobs
logprobs              number of alternatives of the first token that it gives with their probabilities
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from nosce.errors import UsageError
from nosce.models.api.endpoint import TOKEN_LIMIT_NAMES, EndpointConfig

ENDPOINT_FIELDS = {
    "key": "api_key_variable",
    "price_in": "input_price_per_million",
    "price_out": "output_price_per_million",
    "free": "is_free",
    "max_cost": "max_cost",
    "requests_per_minute": "requests_per_minute",
    "at_once": "max_concurrency",
    "timeout": "timeout",
    "token_limit": "token_limit_name",
    "temperature": "sends_temperature",
}
SETTING_NAMES = (*ENDPOINT_FIELDS, "jobs", "logprobs")
MAX_ENDPOINT_LOGPROBS = 20  # the limit of OpenAI's protocol


def parse_endpoint_setting(text: str) -> tuple[str, str] | None:
    """The name and the value of a setting; None where the text is none, but a model.

    Raises:
        UsageError: It looks like a setting, and there is none of this name.
    """
    match = re.fullmatch(r"([A-Za-z_]\w*)=(.*)", text, re.DOTALL)
    if match is None or Path(match[1]).is_dir():
        return None
    if match[1] not in SETTING_NAMES:
        raise UsageError(
            f"--model has {match[1]}=, which is no folder and no setting of an endpoint; take "
            f"{', '.join(SETTING_NAMES)}."
        )
    return match[1], match[2].strip()


def with_endpoint_setting(endpoint: EndpointConfig, name: str, value: str) -> EndpointConfig:
    """The endpoint with one of `ENDPOINT_FIELDS` changed.

    Raises:
        UsageError: The value is none for this setting.
        SpecError: The endpoint refuses it.
    """
    parsed: object
    match name:
        case "key":
            parsed = value
        case "free" | "temperature":
            parsed = parse_yes_or_no(name, value)
        case "token_limit":
            if value not in TOKEN_LIMIT_NAMES:
                raise UsageError(f"--model has token_limit={value}; take {' or '.join(TOKEN_LIMIT_NAMES)}.")
            parsed = value
        case "requests_per_minute" | "at_once":
            parsed = _parse_count(name, value)
        case _:
            if not re.fullmatch(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", value):
                raise UsageError(f"--model has {name}={value}, which is no number of 0 or more; give one.")
            parsed = float(value)
    return replace(endpoint, **{ENDPOINT_FIELDS[name]: parsed})  # type: ignore[arg-type]  # of the type of the field


def parse_yes_or_no(name: str, value: str) -> bool:
    """Whether a value is yes.

    Raises:
        UsageError: It is neither yes nor no.
    """
    if value not in ("yes", "no"):
        raise UsageError(f"--model has {name}={value}; take yes or no.")
    return value == "yes"


def parse_top_logprobs(value: str) -> int:
    """A number of alternatives.

    Raises:
        UsageError: It is no number from 0 to 20.
    """
    number = _parse_count("logprobs", value)
    if number > MAX_ENDPOINT_LOGPROBS:
        raise UsageError(f"--model has logprobs={value}; take 0 to {MAX_ENDPOINT_LOGPROBS}.")
    return number


def _parse_count(name: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value):
        raise UsageError(f"--model has {name}={value}, which is no whole number; give one.")
    return int(value)
