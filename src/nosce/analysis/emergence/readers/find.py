"""Which reader a file or folder has, by what lies in it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from nosce.analysis.emergence.bigbench import is_bigbench_file
from nosce.analysis.emergence.readers.any_table import read_any_table
from nosce.analysis.emergence.readers.base import ColumnChoice, TaskScores, load_json_file
from nosce.analysis.emergence.readers.bigbench_curves import read_bigbench_curves
from nosce.analysis.emergence.readers.helm import read_helm
from nosce.analysis.emergence.readers.inspect_logs import is_inspect_log, read_inspect
from nosce.analysis.emergence.readers.leaderboard import is_details_file, read_leaderboard
from nosce.analysis.emergence.readers.lm_eval import is_lm_eval_result, read_lm_eval
from nosce.analysis.emergence.table_file import ENDINGS, read_table_file
from nosce.errors import DataError, UsageError

MAX_FILES = 100_000  # of a folder that is searched


def read_tasks(path: Path, choice: ColumnChoice) -> list[TaskScores]:
    """The scores of each task of a table, a log, or a folder of logs.

    Raises:
        UsageError: Nothing that can be read is there, something is wrong with it, or something is open; one sentence.
    """
    try:
        return _read_folder(path, choice) if path.is_dir() else _read_file(path, choice)
    except DataError as error:  # the table is the user's
        text = str(error)
        raise UsageError(text if str(path) in text else f"{path}: {text}") from None


def _read_file(path: Path, choice: ColumnChoice) -> list[TaskScores]:
    source = str(path)
    if path.suffix == ".eval" and path.is_file():
        return read_inspect([path], source, choice)
    if is_bigbench_results(path):
        return read_bigbench_curves(path, source, choice)
    if path.name == "stats.json" and (path.parent / "run_spec.json").is_file():
        return read_helm([path.parent], source, choice)
    if is_details_file(path):
        return read_leaderboard([path], path.parent, source, choice)
    if path.suffix == ".json" and path.is_file():
        content = load_json_file(path)
        if is_lm_eval_result(content):
            return read_lm_eval([path], source, choice)
        if is_inspect_log(content):
            return read_inspect([path], source, choice)
    return read_any_table(read_table_file(path), source, choice)


def _read_folder(folder: Path, choice: ColumnChoice) -> list[TaskScores]:
    """The logs of a folder, all of one tool."""
    source = str(folder)
    files = list(_files(folder))
    results = [file for file in files if file.name.startswith("results") and file.suffix == ".json"]
    details = [file for file in files if is_details_file(file)]
    if details:  # lighteval writes results_*.json too
        return read_leaderboard(details, folder, source, choice)
    if any(is_lm_eval_result(load_json_file(file)) for file in results):
        return read_lm_eval(results, source, choice)
    if runs := [file.parent for file in files if file.name == "stats.json"]:
        return read_helm(runs, source, choice)
    logs = [file for file in files if file.suffix == ".eval"]
    logs += [file for file in files if file.suffix == ".json" and is_inspect_log(load_json_file(file))]
    if logs:
        return read_inspect(logs, source, choice)
    if any(file.name.startswith("scores_") and file.suffix == ".json" for file in files):
        return read_bigbench_curves(folder, source, choice)
    tables = [file for file in files if file.suffix.lower() in ENDINGS]
    if tables:
        raise UsageError(f"{folder} holds {len(tables)} tables and no logs; name the tables, e.g. {tables[0]}.")
    raise UsageError(
        f"{folder} holds no results of lm-evaluation-harness, inspect_ai, HELM, BIG-bench or lighteval; name a folder "
        "that does, or a table."
    )


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder; links to folders are not followed."""
    count = 0
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            count += 1
            if count > MAX_FILES:
                raise UsageError(f"{folder} holds more than {MAX_FILES:,} files; name the folder of the results.")
            yield Path(where) / name


def is_bigbench_results(path: Path) -> bool:
    """Is it a file or lines of BIG-bench's own results, or a folder of `scores_*.json`, and no table of outcomes?"""
    if path.is_dir():
        return next(path.rglob("scores_*.json"), None) is not None
    if not path.is_file() or ".json" not in "".join(path.suffixes[-2:]):
        return False
    try:
        return is_bigbench_file(path)
    except (OSError, ValueError, EOFError, RecursionError, zlib.error):
        return False
