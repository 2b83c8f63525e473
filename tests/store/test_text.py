"""Names that may become files, and text that reaches a terminal without steering it."""

from __future__ import annotations

import json
import re

import pytest
from rich.console import Console

from nosce.store.text import LABEL_SIGNS, json_text, literal, name_fault, printable

HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "a\x00b",
    "a\rb",
    "\x9b31m",
    "\u202egpj.exe",
    "a\u2028b",
    "\ufeffa",
    "a\u200bb",
    "\ud800",
    "\x7f",
    "\x08\x08",
]


@pytest.mark.parametrize(
    "name", ["biographies", "multi5+permute", "v1.5", "95 %", "a_b-c", "x" * 100, "größe", "A", "0", "模型"]
)
def test_a_good_name_has_no_fault(name):
    """Letters of any script, digits, spaces and the few signs."""
    assert name_fault(name) is None
    assert name_fault(name, LABEL_SIGNS) is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "empty"),
        (".", "dot"),
        ("..", "dot"),
        (".hidden", "dot"),
        ("trailing.", "dot"),
        (" a", "space"),
        ("a ", "space"),
        ("a/b", "'/'"),
        ("../up", "'/'"),
        ("a\\b", "only letters"),
        ("a\nb", "only letters"),
        ("x" * 101, "100 characters"),
        ("模" * 80, "200 bytes"),
        ("*", "'\\*'"),
        ("t[1]", "'\\['"),
        ("~", "'~'"),
        ("a:b", "':'"),
        ("e\u0301", "NFC"),
        (7, "type int"),
        (None, "type NoneType"),
        *((hostile, "only letters") for hostile in HOSTILE),
    ],
)
def test_a_bad_name_has_its_fault_in_words(name, told):
    """Nothing that is a path, a pattern, hidden, steers a terminal, or looks like another name."""
    fault = name_fault(name)
    assert fault is not None
    assert re.search(told, fault)
    assert printable(fault) == fault


def test_a_label_may_hold_a_few_more_signs_but_no_slash():
    """Labels are never names of files."""
    for label in ("single: LoRA 8 (named)", "pass@1", "lr=1e-3", "d_model=64", "a→b", "हिन्दी"):
        assert name_fault(label, LABEL_SIGNS) is None
    assert name_fault("a/b", LABEL_SIGNS) is not None


@pytest.mark.parametrize("text", HOSTILE)
def test_control_characters_are_spelled_out(text):
    """On a terminal and in JSON, where they read back as what they were."""
    console = Console(force_terminal=True, color_system=None, width=200)
    with console.capture() as captured:
        console.print(literal(f"[bold]{text}[/bold]"), highlight=False)
    shown = captured.get()
    assert shown.startswith("[bold]")
    assert shown.rstrip("\n").isprintable()
    written = json_text({"x": [text]})
    assert all(line.isprintable() for line in written.splitlines())
    assert json.loads(written) == {"x": [text]}


def test_ordinary_text_stays_as_it_is():
    """Letters of all scripts, signs, tabs and line feeds."""
    text = "größer — 模型 ✓ 95 %\t\n"
    assert printable(text) == text
