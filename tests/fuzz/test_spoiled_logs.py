"""Spoiled results of evaluation tools and spoiled tables: every one is read or refused in a sentence."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from nosce.analysis.emergence.audit import audit_tasks
from nosce.analysis.emergence.readers.base import ColumnChoice
from nosce.analysis.emergence.readers.find import read_tasks
from nosce.errors import NosceError
from nosce.seeds import Seed

TABLES = Path(__file__).parents[1] / "data" / "tables"
ODD = (None, True, -1, 0, 1e400, "", "N/A", "\x1b[31m", [], {}, [[]], {"a": []}, "9" * 400, "<script>", "1,5", "-0.5")
CHOICES = (
    ColumnChoice(),
    ColumnChoice(n="500", chance="0.25"),
    ColumnChoice(sharp="acc", continuous="loglikelihood"),
    ColumnChoice(task="sums_mc", continuous="brier_score"),
    ColumnChoice(sharp="exact_match", continuous="target_logprob", percent=True),
)
CASES = int(os.environ.get("NOSCE_FUZZ_CASES", "60"))  # more in a night


def places(value: object, path: tuple = ()) -> Iterator[tuple]:
    """Every place in JSON."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from places(part, (*path, key))


def spoiled(value, rng):
    """JSON with one to three places taken away or given another value."""
    for _ in range(rng.integers(1, 4)):
        every = list(places(value))
        if not every:
            return value
        *way, last = every[rng.integers(len(every))]
        parent = value
        for key in way:
            parent = parent[key]
        if rng.random() < 0.4:
            del parent[last]
        else:
            parent[last] = ODD[rng.integers(len(ODD))]
    return value


def spoil_file(path: Path, rng) -> None:
    """Another value in JSON or in a line of it, or other bytes."""
    content = path.read_bytes()
    if path.suffix in (".json", ".jsonl") and rng.random() < 0.85:
        lines = content.decode().splitlines() if path.suffix == ".jsonl" else [content.decode()]
        number = rng.integers(len(lines))
        lines[number] = json.dumps(spoiled(json.loads(lines[number]), rng))
        path.write_text("\n".join(lines))
        return
    place = int(rng.integers(max(1, len(content))))
    junk = bytes(rng.integers(0, 256, 4).tolist())
    ways = (content[:place], content[:place] + junk + content[place + 4 :], b"", content + junk)
    path.write_bytes(ways[rng.integers(len(ways))])


def outcome_of(path: Path, choice: ColumnChoice) -> str:
    """What became of it; anything but ours is raised."""
    try:
        tasks = read_tasks(path, choice)
        audit_tasks(tasks[:1], resamples=100)
    except NosceError as refused:
        sentence = str(refused)
    else:
        return "read"
    assert "\n" not in sentence
    assert not re.search("[\x00-\x08\x1b]", repr(sentence))
    assert len(sentence) < 900, sentence
    return "refused"


@pytest.mark.whole
@pytest.mark.parametrize("name", ["lm_eval", "helm", "leaderboard", "bigbench", "inspect"])
def test_no_spoiled_log_ends_in_a_traceback(tmp_path, name):
    """Of real files with a few places changed."""
    found = []
    for case in range(CASES // 2 if name == "lm_eval" else CASES):
        rng = (Seed(28) / name / case).numpy()
        folder = tmp_path / f"{case}"
        shutil.copytree(TABLES / name, folder)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        for number in rng.permutation(len(files))[: rng.integers(1, 3)]:
            spoil_file(files[number], rng)
        found.append(outcome_of(folder, CHOICES[rng.integers(len(CHOICES))]))
        shutil.rmtree(folder)
    assert "refused" in found


@pytest.mark.whole
def test_no_spoiled_table_ends_in_a_traceback(tmp_path):
    """Of the tables in all layouts, with a few bytes changed and options that may not fit."""
    tables = sorted(path for path in TABLES.iterdir() if path.is_file() and path.suffix not in (".py", ".md"))
    found = []
    for case in range(4 * CASES):
        rng = (Seed(28) / "tables" / case).numpy()
        source = tables[rng.integers(len(tables))]
        path = tmp_path / source.name
        path.write_bytes(source.read_bytes())
        if rng.random() < 0.8:
            spoil_file(path, rng)
        found.append(outcome_of(path, CHOICES[rng.integers(len(CHOICES))]))
        path.unlink()
    assert {"read", "refused"} == set(found)


@pytest.mark.parametrize("odd", [repr(value) for value in ODD if isinstance(value, str | float | int | None)])
def test_a_column_of_odd_values_is_read_or_refused(tmp_path, odd):
    """In each role in turn."""
    for column in ("params", "acc", "n", "logprob", "seed", "item", "chance", "task", "model"):
        values = {"params": [1e6, 1e7, 1e8, 1e9, 1e10], "acc": [0.1, 0.2, 0.3, 0.4, 0.9], "n": [50] * 5}
        values |= {column: [odd] * 5}
        pl.DataFrame(values, strict=False).write_csv(tmp_path / "t.csv")
        assert outcome_of(tmp_path / "t.csv", ColumnChoice()) in ("read", "refused")
