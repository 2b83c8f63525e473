"""Tasks of introspection in the files of a folder: the released data of the paper, multiple choice, or one's own.

    FOLDER/train_colours.jsonl      strings of which labels are taught
    FOLDER/val_colours.jsonl        strings of the same task of which none is; also `test_`, `validation_`
    FOLDER/val_animals.jsonl        a held-out task, since it has no file of training strings
    FOLDER/colours.json             its prompt, and what else the strings do not say (`TaskSettings`)

The split may also be a folder (`train/colours.jsonl`), and the task one (`colours/train.parquet`). Files are .jsonl,
.csv or .parquet; `nosce.data.worlds.behaviours.task_rows` has the shapes of their rows. Without a file of validation
strings, a share of a task's strings is left untaught. Everything is checked before any model is asked.

Source: Binder et al. 2024 (arXiv:2410.13787), section 2.2 (tasks); the layouts are those of its released code and data.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import polars as pl

from nosce.data.worlds.behaviours.task_rows import Row, TaskRow, TaskSettings, task_row
from nosce.errors import SpecError
from nosce.records import count_rows, read_table
from nosce.store.table_text import csv_header, repeated_name, utf8_content

DATA_SUFFIXES = (".jsonl", ".csv", ".parquet")
TRAINING_SPLITS, UNTAUGHT_SPLITS = ("train",), ("val", "valid", "validation", "test")
SPLIT_NAME = re.compile(rf"({'|'.join((*TRAINING_SPLITS, *UNTAUGHT_SPLITS))})(?:[_-](.+))?")
SHARD_NAME = re.compile(r"\d+-of-\d+")
TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
ANSWER_KINDS = ("", "text", "digit", "letter")
MIN_STRINGS = 4  # of each split of a task; with fewer there is nothing to learn or to judge by
MAX_BYTES = 2**30  # of a file
MAX_ROWS = 1_000_000  # of a Parquet file, in which a few bytes can stand for billions of equal rows
READ_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError, csv.Error)


@dataclass(frozen=True, kw_only=True)
class FolderTask:
    """A task of a folder.

    Args:
        name: Its name.
        settings: What the folder says of it.
        training: The strings of which labels may be taught.
        untaught: The strings of which none is. Empty: a share of the others is left untaught.
    """

    name: str
    settings: TaskSettings
    training: tuple[TaskRow, ...]
    untaught: tuple[TaskRow, ...]

    @property
    def rows(self) -> tuple[TaskRow, ...]:
        """All strings."""
        return (*self.training, *self.untaught)

    @property
    def properties(self) -> tuple[str, ...]:
        """The properties of its answers."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.properties))


def task_folder_digest(folder: Path) -> str:
    """SHA-256 of the names and contents of the files that are read.

    Raises:
        SpecError: There is no such folder, or no file of a task in it.
    """
    digest = hashlib.sha256()
    data_files, settings_files = _files(folder)
    for file in (*data_files, *settings_files):
        digest.update(json.dumps([str(file.relative_to(folder)), file.stat().st_size]).encode())
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def read_task_folder(folder: Path, digest: str) -> Mapping[str, FolderTask]:
    """The tasks of a folder by their names, read once a process for equal contents.

    Raises:
        SpecError: What is wrong with a file, in one sentence; or the files have changed since the digest was taken.
    """
    if task_folder_digest(folder) != digest:
        raise SpecError(f"the files in {folder} have changed since the study was planned; plan again.")
    return _read_tasks(folder, digest)


@lru_cache(maxsize=4)
def _read_tasks(folder: Path, digest: str) -> Mapping[str, FolderTask]:
    data_files, settings_files = _files(folder)
    settings = {file.stem: _read_settings(file) for file in settings_files}
    strings: dict[str, dict[str, TaskRow]] = {}
    first_seen: dict[str, tuple[bool, str]] = {}  # of every string, whichever task it is of
    training: set[tuple[str, str]] = set()
    for file in data_files:
        is_training, file_task = _split_and_task(file, folder)
        for where, fields_of_row in _rows(file):
            row = task_row(fields_of_row, where, file_task, settings)
            _check_task_name(row.task, where)
            key = _same_string(row.string)
            first_training, first_where = first_seen.setdefault(key, (is_training, where))
            if first_training != is_training:
                raise SpecError(
                    f"{where} has the string {row.string!r:.60}, which {first_where} has in the other split, so that "
                    "it could be answered from memory; take it out of one."
                )
            task_strings = strings.setdefault(row.task, {})
            task_strings[key] = _merged(task_strings[key], row) if key in task_strings else row
            if is_training:
                training.add((row.task, key))
    if unknown := next((name for name in settings if name not in strings), None):
        raise SpecError(
            f"{folder / unknown}.json describes a task of which there is no string; the tasks are "
            f"{', '.join(strings) or 'none'}."
        )
    tasks = {}
    for name, rows in sorted(strings.items()):
        taught = tuple(row for key, row in rows.items() if (name, key) in training)
        untaught = tuple(row for key, row in rows.items() if (name, key) not in training)
        known = settings.get(name, TaskSettings())
        tasks[name] = FolderTask(name=name, settings=known, training=taught, untaught=untaught)
    _check_tasks(folder, tasks)
    return tasks


def _check_tasks(folder: Path, tasks: Mapping[str, FolderTask]) -> None:
    for task in tasks.values():
        for rows, split in ((task.training, "training"), (task.untaught, "validation")):
            if 0 < len(rows) < MIN_STRINGS:
                raise SpecError(
                    f"the task {task.name} in {folder} has {len(rows)} {split} strings; give {MIN_STRINGS} or more."
                )
    if not any(task.training for task in tasks.values()) or all(task.training for task in tasks.values()):
        raise SpecError(
            f"the tasks in {folder} are {', '.join(tasks)}; give one or more with training strings, and one or more "
            "without, whose labels are never taught."
        )


def _merged(known: TaskRow, row: TaskRow) -> TaskRow:
    """Two rows of one string: of two properties, or of one twice.

    Raises:
        SpecError: They say different things of it.
    """
    pairs = (
        (_same_string(known.text), _same_string(row.text)),
        (known.options, row.options),
        (known.stance, row.stance),
        (known.correct, row.correct),
    )
    if any(one and other and one != other for one, other in pairs):
        raise SpecError(f"{row.where} and {known.where} have one string, {row.string!r:.60}, and differ; keep one.")
    return replace(
        known,
        properties=tuple(dict.fromkeys((*known.properties, *row.properties))),
        options=known.options or row.options,
        stance=known.stance or row.stance,
        correct=known.correct or row.correct,
    )


def _same_string(string: str) -> str:
    """What two strings have in common that differ in nothing but blanks and the form of their signs."""
    return " ".join(unicodedata.normalize("NFC", string).split())


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of strings, and those of settings."""
    if not folder.is_dir():
        raise SpecError(f"{folder} is no folder of tasks; name one with files such as train_TASK.jsonl.")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_hidden(path, folder)]
    data_files = [path for path in files if path.suffix.lower() in DATA_SUFFIXES]
    if not data_files:
        raise SpecError(f"{folder} holds no file of a task; put train_TASK.jsonl (or .csv, .parquet) there.")
    return data_files, [path for path in files if path.suffix.lower() == ".json"]


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _split_and_task(file: Path, folder: Path) -> tuple[bool, str]:
    """Whether the strings of a file may be taught, and the name of their task."""
    parents = [part for part in file.relative_to(folder).parts[:-1]]
    named = SPLIT_NAME.fullmatch(file.stem)
    if named:
        task = named[2] or ""
        if not task or SHARD_NAME.fullmatch(task):
            task = parents[-1] if parents else folder.resolve().name
        return named[1] in TRAINING_SPLITS, task
    if parents and parents[-1] in (*TRAINING_SPLITS, *UNTAUGHT_SPLITS):
        return parents[-1] in TRAINING_SPLITS, file.stem
    raise SpecError(
        f"{file} does not say whether its strings may be taught; call it train_{file.stem} or val_{file.stem}, or put "
        "it into a folder train or val."
    )


def _check_task_name(task: str, where: str) -> None:
    if not TASK_NAME.fullmatch(task):
        raise SpecError(
            f"{where} is of the task {task!r:.60}; a task is named by letters, digits, _, - and ., 60 at most."
        )


def _rows(file: Path) -> Iterator[tuple[str, Row]]:
    """Each row of a file, and what a message calls it."""
    try:
        match file.suffix.lower():
            case ".jsonl":
                yield from _json_rows(file)
            case ".csv":
                yield from _csv_rows(file)
            case _:
                if (n_rows := count_rows(file)) > MAX_ROWS:
                    raise ValueError(f"it has {n_rows:,} rows, and {MAX_ROWS:,} are the most")
                table = read_table(file, "parquet")
                for number, row in enumerate(table.iter_rows(named=True), 1):
                    yield f"row {number} of {file}", row
    except READ_ERRORS as error:
        reason = "it is no UTF-8; save it as UTF-8" if isinstance(error, UnicodeError) else str(error).split("\n")[0]
        raise SpecError(f"{file} cannot be read ({reason:.200}); look at the file.") from None


def _json_rows(file: Path) -> Iterator[tuple[str, Row]]:
    text = utf8_content(file, MAX_BYTES).decode()
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"line {number} of {file}"
            try:
                row = json.loads(line, object_pairs_hook=_object)
            except (ValueError, RecursionError) as error:
                raise SpecError(f"{where} is no JSON ({error!s:.100}); mend it.") from None
            if not isinstance(row, dict):
                raise SpecError(f"{where} is no object with fields; mend it.")
            yield where, row


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if (repeated := repeated_name([name for name, _ in pairs])) is not None:
        raise ValueError(f"it has {repeated!r:.60} twice")
    return dict(pairs)


def _csv_rows(file: Path) -> Iterator[tuple[str, Row]]:
    content = utf8_content(file, MAX_BYTES)
    separator, _ = csv_header(content)
    reader = csv.reader(io.StringIO(content.decode(), newline=""), delimiter=separator, strict=True)
    names = next(reader, [])
    if (repeated := repeated_name(names)) is not None:
        raise ValueError(f"it has the column {repeated!r:.60} twice, so rename one")
    for number, cells in enumerate(reader, 1):
        if cells:
            if len(cells) != len(names):
                raise ValueError(f"row {number} has {len(cells)} cells, and the header {len(names)}")
            yield f"row {number} of {file}", dict(zip(names, cells, strict=True))


def _read_settings(file: Path) -> TaskSettings:
    """The settings of a task.

    Raises:
        SpecError: The file has something else.
    """
    try:
        values = json.loads(utf8_content(file, MAX_BYTES).decode(), object_pairs_hook=_object)
    except (OSError, ValueError, RecursionError) as error:
        raise SpecError(f"{file} is no JSON ({error!s:.100}); mend it.") from None
    kinds = {one.name: one.default for one in fields(TaskSettings)}
    if not isinstance(values, dict) or set(values) - set(kinds):
        found = ", ".join(repr(name)[:40] for name in values) if isinstance(values, dict) else "no object"
        raise SpecError(f"{file} has {found}; a task's file has {', '.join(kinds)}.")
    for name, value in values.items():
        if isinstance(kinds[name], tuple):
            is_known = isinstance(value, list) and all(isinstance(one, str) and one.strip() for one in value)
            values[name] = tuple(value) if is_known else value
        else:
            is_known = isinstance(value, str)
        if not is_known:
            expected = "a list of texts" if isinstance(kinds[name], tuple) else "a text"
            raise SpecError(f"{file} has {value!r:.60} as {name}, where {expected} should be; mend it.")
    settings = TaskSettings(**values)
    if settings.answers not in ANSWER_KINDS:
        raise SpecError(f"{file} has answers {settings.answers!r:.60}; take text, digit or letter.")
    return settings
