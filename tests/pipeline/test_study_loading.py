"""Loading a study by its name or its file: what cannot be loaded is one sentence."""

from __future__ import annotations

import sys

import pytest

from nosce.errors import UsageError
from nosce.pipeline.study_loading import load_study


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("1 / 0", r"FILE, line 1, raised ZeroDivisionError: division by zero\."),
        ("x = (", r"FILE, line 1, raised SyntaxError"),
        ("import sys\nsys.exit(3)", r"FILE, line 2, raised sys.exit\(3\)"),
        ("raise SystemExit", r"FILE, line 1, raised sys.exit"),
        ("import nowhere_at_all", r"FILE, line 1, raised ModuleNotFoundError"),
        ("def study(scale):\n    return scale.x", r"FILE, line 2, raised AttributeError"),
        ("def study():\n    pass", r"raised TypeError"),
        ("def study(scale):\n    return study(scale)", r"FILE, line 2, raised RecursionError"),
        ("def study(scale):\n    return 7", r"returned a int and not a Study"),
        ("study = 7", r"has no function 'study'"),
        ("from nosce import Study\ndef study(scale):\n    return Study()", r"FILE, line 3, raised TypeError"),
        ("raise ValueError('a\\nb \\x1b[31m')", r"FILE, line 1, raised ValueError: a b"),
        ("\0", r"raised (SyntaxError|ValueError)"),
    ],
)
def test_a_study_file_that_breaks_is_told_with_file_and_line(tmp_path, monkeypatch, code, told):
    """One sentence, whatever the file does while it is imported or called."""
    file = tmp_path / f"broken{abs(hash(code))}.py"
    file.write_text(code)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(UsageError, match=told.replace("FILE", str(file))) as refused:
        load_study(f"{file}:study", "smoke")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", [":f", "f:", ".x:f", "a..b:f", "x.y.py:f", "1:f", " :f", "a b:f", "../:f", "nosce:f"])
def test_a_name_that_is_no_file_and_no_module_is_the_users_mistake(tmp_path, monkeypatch, name):
    """Whatever stands before the colon."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.y.py").touch()
    with pytest.raises(UsageError):
        load_study(name, "smoke")
