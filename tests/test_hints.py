"""Every command and option that nosce names in a hint is one that it has, and a whole command can be given as it is."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import typer

import nosce as package
from nosce.cli import app
from nosce.errors import UsageError
from nosce.pipeline.command_lines import command_line, in_store
from nosce.pipeline.export import find_study
from nosce.pipeline.exports.target import find_target
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.results import RunResults
from nosce.store.store import Store

SOURCE = Path(package.__file__).parent
ROOT_COMMAND = typer.main.get_command(app)
COMMANDS = ROOT_COMMAND.commands  # type: ignore[attr-defined]
OPTIONS = {option for command in COMMANDS.values() for parameter in command.params for option in parameter.opts}
VALUE = "1"  # stands for what a message fills in: a name, a path and a number at once


def parsed(words: list[str]) -> dict[str, object]:
    """What a command makes of its words; raises where it would refuse them. Older typers leave a path as text."""
    assert words[0] == "nosce"
    options = COMMANDS[words[1]].make_context(words[1], words[2:]).params
    return options | ({"store": Path(str(options["store"]))} if options.get("store") else {})


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """Line and text of all strings of a module but its docstrings; what is filled in is a `VALUE`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    within = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            within.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else VALUE for part in node.values]
            within.update(map(id, node.values))
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in within:
            yield node.lineno, node.value


def faults(text: str) -> Iterator[str]:
    """The commands and options of a text that nosce lacks. A command by itself is a name, with more it is complete."""
    for quoted in re.findall(r"`([^`]*)`", text):
        words = shlex.split(re.sub(r"^(\w+=\S+ )+", "", quoted))
        if words[:1] != ["nosce"]:
            if not quoted.startswith("--"):  # of another program
                text = text.replace(f"`{quoted}`", "")
            continue
        if len(words) == 2:
            if words[1] not in COMMANDS:
                yield quoted
            continue
        try:
            parsed(words)
        except Exception as error:
            yield f"{quoted}: {error}"
    if " " in text:  # else it is a word of a command of another program, or where an option is declared
        yield from (option for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text) if option not in OPTIONS)


def test_every_command_and_option_of_a_message_exists():
    found, n_commands = [], 0
    for file in sorted(SOURCE.rglob("*.py")):
        for line, text in texts(file):
            n_commands += text.count("`nosce ")
            found += [f"{file.relative_to(SOURCE)}:{line}: {fault}" for fault in faults(text)]
    assert not found
    assert n_commands >= 6  # the strings are seen


def test_every_example_of_a_help_text_and_of_a_module_can_be_given():
    """The last sentence of a command's help, and lines of a module's docstring that begin with a command."""
    examples = [command.help.partition("Example: ")[2] for command in COMMANDS.values()]
    for file in sorted(SOURCE.rglob("*.py")):
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        examples += re.findall(rf"^(?:\w+=\S+ )*(nosce (?:{'|'.join(COMMANDS)})\b.*)$", docstring, re.MULTILINE)
    assert len(examples) >= len(COMMANDS) + 2
    for example in examples:
        assert parsed(shlex.split(example))


def test_a_wrong_hint_would_be_seen():
    for text in (
        "`nosce look`",
        "`nosce run --rerun-stale`",
        "`nosce show x --arm y`",
        "use --scales",
        "`nosce plan 1 2`",
    ):
        assert list(faults(text)), text
    for text in (
        "`nosce plan`",
        "`nosce run 'a b.py:f' --seeds 1`",
        "`N=1 nosce list`",
        "use --scale",
        "--query-gpu=x",
    ):
        assert not list(faults(text)), text


NAMES = ["biographies_adamw", "my study.py:one arm", "/a b/c'd.py:study", "pa ckage.module:f", "$HOME/x.py:study"]


@pytest.mark.parametrize("name", NAMES)
def test_a_command_with_spaces_is_quoted_and_comes_back(name, tmp_path):
    """Names of files, arms and folders as a shell takes them apart."""
    request = StudyRequest(study=name, scale="smoke", n_seeds=2, arms=("A by B", "single+permute1: 16 people"))
    there = Store.open(tmp_path / "a b")
    for command in (request.command, in_store(request.command, there)):
        options = parsed(shlex.split(command))
        assert (options["study"], options["scale"], options["seeds"]) == (name, "smoke", "2")
        assert options["arms"] == "A by B,single+permute1: 16 people"
    assert options["store"] == there.root


def test_a_store_is_named_unless_the_command_finds_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOSCE_STORE", raising=False)
    default, other = Store.open(".nosce"), Store.open(tmp_path / "other")
    assert command_line("list", store=default) == "nosce list"
    assert command_line("list", store=other) == f"nosce list --store {other.root}"
    monkeypatch.setenv("NOSCE_STORE", str(other.root))
    assert command_line("list", store=other) == "nosce list"
    assert command_line("list", store=default) == f"nosce list --store {default.root}"


def hint(text: str) -> dict[str, object]:
    """The one command of a message, taken apart."""
    (command,) = re.findall(r"`(nosce [^`]*)`", text)
    return parsed(shlex.split(command))


def test_hints_about_a_store_lead_to_it(little_store, tmp_path):
    """What is not there, not finished, stale or not trained, of a study whose name has spaces."""
    store = Store.open(little_store)
    (record,) = PlanRecord.load_finished(store)
    spaced = replace(record, study="a study", requested_as="my studies.py:f", arms=("x y",), study_arms=("x y", "z"))
    shown = parsed(shlex.split(spaced.show_command(store)))
    assert (shown["study"], shown["arms"], shown["store"]) == ("a study", "x y", store.root)
    with pytest.raises(UsageError) as nothing:
        PlanRecord.find_finished(store, "my other.py:f", "paper")
    assert hint(str(nothing.value))["study"] == "my other.py:f"
    assert hint(str(nothing.value))["store"] == store.root
    rerun = parsed(shlex.split(RunResults.load(store, record).rerun_command))
    assert (rerun["study"], rerun["rerun_stale"], rerun["store"]) == (record.requested_as, True, store.root)
    empty = Store.open(tmp_path / "an empty one")
    with pytest.raises(UsageError) as untrained:
        find_target(empty, find_study(empty, record.requested_as, "smoke"), "only", None, None, None)
    assert hint(str(untrained.value))["store"] == empty.root
    record.save(empty)
    with pytest.raises(UsageError) as unfinished:
        PlanRecord.find_finished(empty, "little", None)
    assert hint(str(unfinished.value))["study"] == record.requested_as
    assert hint(str(unfinished.value))["store"] == empty.root


def test_a_run_that_fails_names_the_command_that_goes_on(nosce, tmp_path, little):
    """In a folder with a space, and with a store of its own."""
    folder = tmp_path / "my studies"
    folder.mkdir()
    (folder / "little studies.py").write_text(Path(little("x").rpartition(":")[0]).read_text(encoding="utf-8"))
    name = f"{folder / 'little studies.py'}:broken"
    ended = nosce.here("run", name, "--scale", "smoke", "--store", folder / "store")
    assert ended.returncode == 1
    assert hint(ended.stderr.splitlines()[-1])["study"] == name
    assert hint(ended.stderr.splitlines()[-1])["store"] == folder / "store"


def test_export_takes_what_show_prints(nosce, little_store, tmp_path):
    """The study by the name it was shown under, arm and stage in any capitals, and the scale that was run last."""
    ended = nosce.here("export", "little", "Only", tmp_path / "model", "--stage", "Fine-tune", "--store", little_store)
    assert ended.returncode == 0, ended.stderr
    assert "only, seed 0, finetune" in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")


def test_export_finds_seeds_that_were_added(little_store, tmp_path):
    """A plan of more seeds than the study's own has trainings of them."""
    store = Store.open(tmp_path / "store")
    (record,) = PlanRecord.load_finished(Store(little_store))
    request = StudyRequest(study=record.requested_as, scale="smoke", n_seeds=3)
    PlanRecord.of(request, request.plan()).save(store)
    found = find_study(store, "little", None)
    assert found == request
    with pytest.raises(UsageError, match="only, seed 2, finetune is not trained"):
        find_target(store, found, "only", 2, None, None)
    with pytest.raises(UsageError, match=r"has no seed 3; take one of 0, 1, 2\."):
        find_target(store, found, "only", 3, None, None)
