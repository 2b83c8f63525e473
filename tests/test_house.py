"""Rules of the house that neither ruff nor mypy checks: short functions and comprehensions, few `Any`, plain words."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(ROOT.glob("src/nosce/**/*.py"))
}
DOCS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/**/*.md"))
}
MAX_COMPREHENSION_LINES = 2
MAX_CODE_LINES = 40  # of a function
MAX_ANY = 80  # of the word, in all sources
LISTS_OF_STATEMENTS = re.compile(r"src/nosce/studies/\w+/(claims|figures)\.py")  # a long function there is a long list
COMPREHENSION = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def syntax_tree(source: str) -> ast.Module:
    """The syntax tree of a source."""
    return ast.parse(source)


def long_comprehensions(source: str) -> list[int]:
    """The first line of every comprehension over more lines than it may have."""
    comprehensions = [node for node in ast.walk(syntax_tree(source)) if isinstance(node, COMPREHENSION)]
    return [node.lineno for node in comprehensions if node.end_lineno - node.lineno >= MAX_COMPREHENSION_LINES]


def long_functions(source: str) -> list[tuple[str, int]]:
    """The name of every function with more lines of code than it may have, and how many it has."""
    functions = [node for node in ast.walk(syntax_tree(source)) if isinstance(node, FUNCTION)]
    lengths = [(function.name, count_code_lines(function, source)) for function in functions]
    return [(name, length) for name, length in lengths if length > MAX_CODE_LINES]


def count_code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, source: str) -> int:
    """The number of a function's lines without docstrings, comments and blank lines."""
    docstring_lines: set[int] = set()
    for node in ast.walk(function):
        if isinstance(node, FUNCTION | ast.ClassDef) and ast.get_docstring(node) is not None:
            docstring_lines |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = source.splitlines()
    numbers = set(range(function.lineno, function.end_lineno + 1)) - docstring_lines
    stripped = [lines[number - 1].strip() for number in numbers]
    return sum(bool(line) and not line.startswith("#") for line in stripped)


def comments_by_line(source: str) -> dict[int, str]:
    """The comments of a source by their line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def unexplained_any(source: str) -> list[int]:
    """The lines that name `Any` without a comment on the library whose values these are, there or on the line above."""
    lines = {node.lineno for node in ast.walk(syntax_tree(source)) if isinstance(node, ast.Name) and node.id == "Any"}
    comments = comments_by_line(source)
    return [line for line in sorted(lines) if line not in comments and line - 1 not in comments]


def test_no_comprehension_is_longer_than_two_lines():
    """A longer one is a loop, or hides a function that has no name yet."""
    found = {path: long_comprehensions(source) for path, source in SOURCES.items()}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_no_function_is_longer_than_forty_lines_of_code():
    """Claims and figures of a study are lists, which are read item by item."""
    checked = {path: source for path, source in SOURCES.items() if not LISTS_OF_STATEMENTS.fullmatch(path)}
    found = {path: long_functions(source) for path, source in checked.items()}
    assert {path: names for path, names in found.items() if names} == {}


def test_any_is_rare_and_explained():
    """`Any` stands where a library gives values without a type, and a comment names the library."""
    assert sum(len(re.findall(r"\bAny\b", source)) for source in SOURCES.values()) <= MAX_ANY
    found = {path: unexplained_any(source) for path, source in SOURCES.items()}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_the_formatter_formats_all_code():
    """No line is kept from `ruff format`."""
    tests = {path.name: path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("tests/**/*.py"))}
    found = {path: "\n".join(comments_by_line(source).values()) for path, source in (SOURCES | tests).items()}
    assert [path for path, comments in found.items() if "fmt: skip" in comments] == []


def test_no_text_cites_a_page_that_no_reader_has():
    """A reason stands in place or cites a paper's section; "the sheet" is neither."""
    texts = SOURCES | DOCS
    assert [path for path, text in texts.items() if re.search(r"\bthe sheet\b", text, re.IGNORECASE)] == []


def test_the_rules_find_what_breaks_them():
    """Each check finds a planted fault, and counts neither docstrings nor comments nor blank lines as code."""
    assert long_comprehensions("a = [\n    b\n    for b in c\n]\n") == [1]
    assert long_comprehensions("a = [b\n     for b in c]\n") == []
    body = "".join(f"    a = {number}\n" for number in range(39))
    function = f'def f():\n    """One.\n\n    Two.\n    """\n\n    # Why.\n{body}'
    assert long_functions(function) == []
    assert long_functions(f"{function}    b = 1\n") == [("f", 41)]
    assert unexplained_any("def f(a: Any): ...\n") == [1]
    assert unexplained_any("# as json types it\ndef f(a: Any): ...\n") == []
