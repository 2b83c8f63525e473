"""What the command line prints: lines for people, and JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console, RenderableType

from nosce.store.text import json_text, literal


def print_line(text: str) -> None:
    """Print a line for people, without colour; the terminal wraps it."""
    Console().print(literal(text), soft_wrap=True, highlight=False)


def print_json(value: object) -> None:
    """Print machine-readable output."""
    sys.stdout.write(json_text(value) + "\n")


def print_parts(parts: Iterable[RenderableType], json_value: object) -> None:
    """Print JSON where there is some, else what people read."""
    if json_value is not None:
        print_json(json_value)
        return
    for part in parts:
        print_line(part) if isinstance(part, str) else Console().print(part)


def print_notice(sentence: str) -> None:
    """Print in a line on stderr what a person should know and a program does not read."""
    Console(stderr=True).print(literal(" ".join(sentence.splitlines())), soft_wrap=True, highlight=False)


def print_error(sentence: str) -> None:
    """Print what went wrong, in one line on stderr."""
    line = " ".join(f"nosce: {sentence}".splitlines())
    Console(stderr=True).print(literal(line), soft_wrap=True, highlight=False)
