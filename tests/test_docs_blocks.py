"""Every block of code of the README and docs/ is accounted for: run, read by the program it is for, or listed here."""

from __future__ import annotations

import ast
import csv
import importlib.util
import inspect
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer.main

import nosce
from nosce.cli import app
from nosce.pipeline.plan_record import PlanRecord

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = typer.main.get_command(app).commands
TARGETS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
#: Blocks of Python that no test runs as they stand, by page and beginning, with the reason.
NOT_RUN = {
    ("docs/readings.md", "import pandas as pd"): "pandas is no dependency",
    ("docs/exports.md", "from transformer_lens"): "a slow test of the exports runs it where TransformerLens is",
}
#: Languages whose blocks nothing runs.
NOT_RUN_LANGUAGES = {
    "text": "what a program says, or a file of the reader's words",
    "sql": "DuckDB is no dependency",
    "r": "R is no dependency",
}
WRAPPERS = {"exec", "srun"}

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


@dataclass(frozen=True)
class Block:
    """A block of code of a page: its language, "" where it is indented, and its lines without the indentation."""

    page: str
    language: str
    text: str


def blocks_of(path: Path) -> Iterator[Block]:
    """Fenced blocks, in lists too, and those that are indented by four behind a blank line."""
    name = path.relative_to(ROOT).as_posix()
    lines = path.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        if fence := re.fullmatch(r"( *)```(.*)", lines[at]):
            end = next(i for i in range(at + 1, len(lines)) if lines[i].strip() == "```")
            yield Block(
                name, fence[2].strip() or "no language", "\n".join(x[len(fence[1]) :] for x in lines[at + 1 : end])
            )
            at = end + 1
        elif lines[at].startswith("    ") and not lines[at - 1].strip():
            end = next((i for i in range(at, len(lines)) if not lines[i].startswith("    ")), len(lines))
            yield Block(name, "", "\n".join(line[4:] for line in lines[at:end]))
            at = end
        else:
            at += 1


BLOCKS = [block for path in PAGES for block in blocks_of(path)]


def test_blocks_are_found_where_pages_have_them(tmp_path, monkeypatch):
    """The search itself: fenced, fenced within a list, indented; a list's continuation is no block."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "p.md").write_text("a\n\n    nosce list\n\n- b\n    c\n\n  ```bash\n  x\n  ```\n\n```\ny\n```\n")
    found = [(block.language, block.text) for block in blocks_of(tmp_path / "p.md")]
    assert found == [("", "nosce list"), ("bash", "x"), ("no language", "y")]


def read_shell_line(line: str) -> None:
    """Hold one command against the program that it is for; nothing is run."""
    for part in re.split(r"&&|\|", line):
        words = shlex.split(part, comments=True)
        while words and ("=" in words[0] or words[0] in WRAPPERS):
            words.pop(0)
        if words:
            READERS[words[0]](words[1:])


def read_nosce(words: list[str]) -> None:
    """The command exists, and so do its options, with values of their types."""
    assert words[0] in COMMANDS, f"`nosce {words[0]}` is no command"
    if rest := [word for word in words[1:] if word != "--help"]:
        COMMANDS[words[0]].make_context(words[0], rest)


def read_make(words: list[str]) -> None:
    """The Makefile has the target."""
    assert [word for word in words if "=" not in word and word not in TARGETS] == []


def read_pip(words: list[str]) -> None:
    """Extras and files exist, and torch is the pinned one."""
    assert words[0] == "install"
    for word in words[1:]:
        if extras := re.search(r"\[(.+)\]", word):
            assert set(extras[1].split(",")) <= set(PROJECT["optional-dependencies"]), word
        if word.startswith("torch"):
            assert word in PINS, word
        if word.endswith(".txt"):
            assert (ROOT / word).exists(), word


def read_export(words: list[str]) -> None:
    """nosce looks at the variable."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert words == [] or [word for word in words if word.partition("=")[0] not in source] == []


READERS = {
    "nosce": read_nosce,
    "make": read_make,
    "pip": read_pip,
    "uv": lambda words: read_pip(words[1:]),
    "export": read_export,
    "cd": lambda words: None,
    "lm_eval": lambda words: None,  # slow tests of the exports call these tools where they are installed
    "inspect": lambda words: None,
    "ray": lambda words: None,  # tests/test_docs.py lets Ray's own command line read them
}


def is_excerpt(block: Block) -> bool:
    """Whether an example holds the block; tests/test_docs.py asks it of every block of the pages on examples."""
    examples = (ROOT / "docs" / "examples").glob("*.py")
    return any(block.text in path.read_text(encoding="utf-8") for path in examples)


@page
def test_every_block_is_accounted_for(page):
    """A block is run below, read by the program that it is for, an excerpt of a file that is run, or listed above."""
    for block in blocks_of(page):
        beginnings = [start for name, start in [*RUN, *NOT_RUN] if name == block.page]
        if block.language in ("", "bash"):
            for line in block.text.splitlines():
                read_shell_line(line)
        elif block.language == "python":
            known = is_excerpt(block) or any(block.text.startswith(start) for start in beginnings)
            assert known, f"{block.page} has Python that no test runs:\n{block.text}"
        elif block.language == "toml":
            assert tomllib.loads(block.text)
        elif block.language == "csv":  # tests/studies/test_own_facts.py runs it
            assert len({len(row) for row in csv.reader(block.text.splitlines())}) == 1
        else:
            assert block.language in NOT_RUN_LANGUAGES, f"{block.page}: a block in {block.language}"


@pytest.mark.parametrize(
    "line",
    [
        "nosce rum x",
        "nosce run x --no-such",
        "make nothing",
        "pip install 'nosce[nothing]'",
        "export NO_SUCH=1",
        "rm -r x",
    ],
)
def test_a_wrong_command_is_seen(line):
    """The readers refuse what is not there."""
    with pytest.raises(Exception, match=r".*"):
        read_shell_line(line)


def test_what_is_listed_stands_in_its_page():
    """The lists of blocks that are run, and of those that are not, name no block that has gone."""
    for name, start in [*RUN, *NOT_RUN]:
        assert [b for b in BLOCKS if b.page == name and b.text.startswith(start)], f"{name} has no block {start!r}"


def run_on_a_frame(code: str, smoke_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's columns and its verdict, on a power law."""
    sizes = np.geomspace(1e6, 1e9, 8).repeat(200)
    rng = np.random.default_rng(0)
    nll = 30 * np.tile(np.exp(rng.normal(0, 0.2, 200)), 8) * (sizes / 1e7) ** -1.2
    right = (rng.random(len(sizes)) < np.exp(-nll)).astype(float)
    columns = {"params": sizes, "item": np.tile(np.arange(200), 8), "acc": right, "nll": nll}
    names = {"frame": pl.DataFrame(columns)}
    exec(code, names)
    assert names["found"].verdict == "metric"


def run_on_a_finished_study(code: str, smoke_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words are those that `nosce.run` takes, and the results have what is printed."""
    store = nosce.Store.open(smoke_store)
    results = nosce.RunResults.load(store, PlanRecord.find_finished(store, "biographies_adamw", "smoke"))
    signature = inspect.signature(nosce.run)

    def run(*args: object, **kwargs: object) -> nosce.RunResults:
        signature.bind(*args, **kwargs)
        return results

    monkeypatch.setattr(nosce, "run", run)
    exec(code, {"__name__": "__main__"})


def run_beside_the_example(code: str, smoke_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the names of the example that the page is about."""
    spec = importlib.util.spec_from_file_location("own_world_of_a_page", ROOT / "docs" / "examples" / "own_world.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    exec(code, vars(module))


def run_in_the_folder_of_estimates(code: str, smoke_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the page says that the table lies."""
    store = nosce.Store.open(smoke_store)
    monkeypatch.chdir(store.folder(PlanRecord.find_finished(store, "biographies_adamw", "smoke").estimates))
    exec(code, {})


def run_in_the_repository(code: str, smoke_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are those of a checkout."""
    monkeypatch.chdir(ROOT)
    exec(code, {})


def open_the_smoke_study(code: str, smoke_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's store and study replaced by finished ones."""
    code = code.replace('".nosce"', repr(str(smoke_store))).replace('"biographies"', '"biographies_adamw"')
    names: dict[str, object] = {}
    exec(code, names)
    assert names["path"].exists()


#: How the blocks of Python that are no excerpts are run, by page and beginning.
RUN = {
    ("docs/audit.md", "import nosce"): run_on_a_frame,
    ("docs/your-model.md", "import nosce"): run_on_a_finished_study,
    ("docs/own-world.md", "from nosce import Seed"): run_beside_the_example,
    ("docs/readings.md", "from nosce import Store"): open_the_smoke_study,
    ("docs/readings.md", "import polars as pl\n\nlast"): run_in_the_folder_of_estimates,
    ("docs/readings.md", "import polars as pl\nfrom pathlib"): run_in_the_repository,
}


@pytest.mark.parametrize("key", RUN, ids=lambda key: f"{key[0]}: {key[1].splitlines()[0]}")
def test_python_of_pages_runs(key, smoke_store, monkeypatch):
    """Each block with what its page says is around it."""
    name, start = key
    [block] = [b for b in BLOCKS if b.page == name and b.text.startswith(start)]
    RUN[key](block.text, smoke_store, monkeypatch)


def test_a_block_that_is_not_run_is_python():
    """At least its syntax is right."""
    for name, start in NOT_RUN:
        [block] = [b for b in BLOCKS if b.page == name and b.text.startswith(start)]
        assert ast.parse(block.text)


def run_notebook(name: str, folder: Path, **variables: str) -> str:
    """Run the cells as a script in an empty folder; what they print."""
    path = ROOT / "docs" / "notebooks" / name
    env = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "src")}
    words = [sys.executable, "-W", "error", str(path)]
    ended = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=env | variables)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_notebook_that_audits_a_table_runs(tmp_path):
    """The truth is planted, and the verdict is the one that the notebook speaks of."""
    told = run_notebook("audit_a_table.py", tmp_path)
    assert "The jump is the metric's: acc jumps, logprob does not." in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.whole
def test_the_notebook_that_opens_a_run_runs(tmp_path, smoke_store):
    """It reads a finished study at scale smoke, and makes nothing."""
    before = sorted(path.name for path in (smoke_store / "steps").iterdir())
    told = run_notebook("open_a_run.py", tmp_path, NOSCE_STORE=str(smoke_store))
    assert "138,432 weights" in told
    assert sorted(path.name for path in (smoke_store / "steps").iterdir()) == before


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "notebooks").glob("*.py")), ids=lambda path: path.stem)
def test_a_notebook_is_cells(path):
    """Jupytext's percent format: a header, and then cells of text, every line of which is a comment, or of code."""
    header, *cells = re.split(r"^# %%", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert header.startswith("# ---\n# jupyter:")
    assert "format_name: percent" in header
    assert len(cells) >= 4
    for cell in cells:
        kind, _, text = cell.partition("\n")
        assert kind in ("", " [markdown]")
        assert kind == "" or all(line.startswith("#") for line in text.strip().splitlines())
