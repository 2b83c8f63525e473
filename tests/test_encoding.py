"""Text is UTF-8 wherever it is read or written: no call leaves the encoding to the system."""

import ast
from pathlib import Path

import pytest
from tests.fixtures.every_case import check_every

ROOT = Path(__file__).parents[1]
SUBPROCESS = {"run", "Popen", "check_output"}


def without_encoding(code: str) -> list[int]:
    """Lines of the calls that read or write text in whatever encoding the system has."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if _is_text(call) and "encoding" not in _keywords(call)]


def _keywords(call: ast.Call) -> set[str | None]:
    return {keyword.arg for keyword in call.keywords}


def _is_text(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(attr="read_text" | "write_text"):
            return True
        case ast.Attribute(attr=attr) if attr in SUBPROCESS:
            return bool({"text", "universal_newlines"} & _keywords(call))
        case ast.Name(id="open"):
            modes = call.args[1:2]
        case ast.Attribute(attr="open", value=ast.Name(id="Store" | "os" | "webbrowser" | "Image")):
            return False
        case ast.Attribute(attr="open"):
            modes = call.args[:1]
        case ast.Attribute(attr="NamedTemporaryFile" | "TemporaryFile" | "fdopen" | "TextIOWrapper"):
            modes = call.args[:1] or [ast.Constant("w+b")]
        case _:
            return False
    modes += [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    return not any(isinstance(mode, ast.Constant) and "b" in str(mode.value) for mode in modes)


@pytest.mark.parametrize(
    ("code", "is_found"),
    [
        ("path.read_text()", True),
        ("path.write_text(text)", True),
        ("path.write_text(text, encoding='utf-8')", False),
        ("open(path)", True),
        ("open(path, 'w', newline='')", True),
        ("open(path, mode='rb')", False),
        ("path.open()", True),
        ("path.open('ab')", False),
        ("subprocess.run(words, text=True)", True),
        ("subprocess.run(words)", False),
    ],
)
def test_a_call_without_encoding_is_found(code, is_found):
    assert bool(without_encoding(code)) == is_found


def test_every_text_file_has_an_encoding():
    """Windows would take cp1252 else, in which an en dash is another character and most names are none."""

    def check(path):
        lines = without_encoding(path.read_text(encoding="utf-8"))
        assert lines == []

    check_every(check, sorted([*(ROOT / "src").rglob("*.py"), ROOT / "hatch_build.py"]))
