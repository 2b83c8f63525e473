"""What every reader gives, and what the user may have said about the columns."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import polars as pl

from nosce.errors import UsageError
from nosce.store.files import JsonObject
from nosce.store.table_text import utf8_content

FRAME = "the table"  # what sentences call a table that is no file
MAX_FILE_BYTES = 2**31  # of a result file, or of what it unpacks to
_MODEL_SIZE = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)(k|m|b|t)(?![a-z0-9])", re.IGNORECASE)
_UNCLEAR_SIZE = re.compile(r"\d_\d+(?:\.\d+)?[mbt](?![a-z0-9])", re.IGNORECASE)
_MIXTURE_SIZE = re.compile(r"\d+x\d+(?:\.\d+)?[mb]", re.IGNORECASE)
_CONTEXT_LENGTHS = frozenset(2.0**power for power in range(11))  # in thousands of tokens
_MAGNITUDES = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}


@dataclass(frozen=True, kw_only=True)
class ColumnChoice:
    """Which columns or scores the user named, and what the numbers mean; None where a reader has to find out.

    Args:
        size: The column of the size.
        sharp: The column or metric of the sharp score.
        continuous: The column or metric of the continuous score; "none" for none.
        item: The column that names the item.
        seed: The column that names the training seed.
        n: The column of the number of items, or that number.
        chance: The column of the score of guessing, or that score.
        task: The one task that is read.
        model_sizes: Model -> its size, for tools that do not note it.
        percent: Whether the sharp score is in percent.
        decimal: The sign before decimals, where a table leaves it open.
        log_likelihood: Whether the continuous score is the natural log of the whole target's probability.
        lower_is_better: Whether smaller continuous scores are better.
    """

    size: str | None = None
    sharp: str | None = None
    continuous: str | None = None
    item: str | None = None
    seed: str | None = None
    n: str | None = None
    chance: str | None = None
    task: str | None = None
    model_sizes: Mapping[str, float] = field(default_factory=dict)
    percent: bool = False
    decimal: Literal["comma", "point"] | None = None
    log_likelihood: bool = False
    lower_is_better: bool = False

    def command(self, source: str, *more: str) -> str:
        """The command that reads the source with what was said already and with `more`; of a frame, the call."""
        options: list[tuple[str, object]] = []
        for name in (f.name for f in fields(self) if f.name != "model_sizes"):
            value = self.said(name)
            option = "--" + name.replace("_", "-")
            if value and option not in more:
                options.append((option, value))
        options += [("--size", f"{model}={size:g}") for model, size in self.model_sizes.items()]
        values = [*more, True] if len(more) % 2 else list(more)  # a flag has no value
        options += [(str(values[index]), values[index + 1]) for index in range(0, len(values), 2)]
        if source == FRAME:
            return f"`nosce.audit(table, {', '.join(_argument(option, value) for option, value in options)})`"
        words = ["nosce", "audit", source]
        for option, value in options:
            words += [option] if value is True else [option, str(value)]
        return f"`{shlex.join(words)}`"

    def said(self, name: str) -> object:
        """What the user said of a field, e.g. of the role "sharp"."""
        return self.__dict__[name]


def _argument(option: str, value: object) -> str:
    """An option of the command line as an argument of `nosce.audit`."""
    name = option.removeprefix("--").replace("-", "_")
    if name == "size" and isinstance(value, str) and "=" in value:
        model, _, size = value.rpartition("=")
        return f"model_sizes={{{model!r}: {size!r}}}"
    number = json_number(value) if isinstance(value, str) and name in ("n", "chance") else None
    return f"{name}={value!r}" if number is None else f"{name}={number:g}"


@dataclass(frozen=True, eq=False, kw_only=True)
class TaskScores:
    """The scores of one task over size, in the columns that `parse_outcomes` takes.

    Args:
        source: Name of the file or folder.
        task: Name of the task; "" where the source has only one and does not name it.
        table: One row an item, or one row a size and series.
        names: Column of the table -> its name in the source, for sentences.
        log_likelihood: Whether the continuous score is the natural log of the whole target's probability.
        lower_is_better: Whether smaller continuous scores are better.
        notes: What was left out, taken together or cannot be known, each a sentence.
    """

    source: str
    task: str = ""
    table: pl.DataFrame
    names: Mapping[str, str]
    log_likelihood: bool = False
    lower_is_better: bool = False
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The task, or else the source."""
        return self.task or self.source

    @property
    def columns_text(self) -> str:
        """Which columns were read as what, e.g. "size = `params`, sharp = `accuracy` of 500"."""
        said = []
        for role in ("size", "sharp", "continuous", "item", "seed", "chance"):
            if role not in self.names:
                continue
            text = f"{role} = `{self.names[role]}`"
            if role == "sharp":
                text += f" of {self.items_text}"
            if role == "continuous" and self.lower_is_better:
                text += " (lower is better)"
            said.append(text)
        return ", ".join(said)

    @property
    def items_text(self) -> str:
        """The number of items, e.g. "500 items" or "480 to 500 items"."""
        if "asked" in self.table.columns:
            low, high = (int(bound) for bound in (_least(self.table["asked"]), _most(self.table["asked"])))
            return f"{high:,} items" if low == high else f"{low:,} to {high:,} items"
        return f"{self.table['item'].n_unique():,} items" if "item" in self.table.columns else "unnamed items"


def _least(column: pl.Series) -> float:
    values = column.cast(pl.Float64, strict=False).drop_nulls().drop_nans()
    return float(values.to_numpy().min()) if len(values) else 0.0


def _most(column: pl.Series) -> float:
    values = column.cast(pl.Float64, strict=False).drop_nulls().drop_nans()
    return float(values.to_numpy().max()) if len(values) else 0.0


def load_json_file(path: Path) -> object:
    """What a JSON file holds; a key that stands twice in an object is refused.

    Raises:
        UsageError: It cannot be read, or holds no JSON.
    """
    try:
        return json.loads(utf8_content(path, MAX_FILE_BYTES), object_pairs_hook=unrepeated_object)
    except RecursionError:
        reason = "it is nested too deeply"
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:
        reason = str(error).split("\n", 1)[0][:200]
    raise UsageError(f"{path} cannot be read as JSON ({reason}); look at the file.")


def unrepeated_object(pairs: Sequence[tuple[str, object]]) -> JsonObject:
    """A JSON object whose keys differ; `json` would take the last of equal keys and say nothing."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"it has the key {twice[:60]!r} twice in one object; name which one is meant")
    return found


def json_object(value: object) -> JsonObject:
    """The value where it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def json_list(value: object) -> list[object]:
    """The value where it is a JSON list, else an empty one."""
    return value if isinstance(value, list) else []


def json_number(value: object) -> float | None:
    """A finite number, also one that JSON spells as text; None for everything else."""
    if isinstance(value, bool):
        return float(value)
    if not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def size_in_name(name: str) -> float | None:
    """The one size that a model's name holds, e.g. 4.1e8 of `pythia-410m`; None where it has none or several.

    `1_6b` may be 1.6 billion or a first version of 6 billion; thousands that are a power of two, as in `4k`, are the
    length of a context. These are no sizes.
    """
    if _MIXTURE_SIZE.search(name) or _UNCLEAR_SIZE.search(name):
        return None
    found = _MODEL_SIZE.findall(name.replace("_", "-"))
    found = [(float(number), unit.lower()) for number, unit in found]
    sizes = {number * _MAGNITUDES[unit] for number, unit in found if unit != "k" or number not in _CONTEXT_LENGTHS}
    return sizes.pop() if len(sizes) == 1 else None


def size_of_model(name: str, noted: float | None, choice: ColumnChoice, source: str) -> float:
    """The size of a model: as the user says, as the tool notes, or as its name has it.

    Raises:
        UsageError: None of them.
    """
    for given, size in choice.model_sizes.items():
        if given in (name, name.rpartition("/")[2]):
            return size
    found = noted if noted is not None and noted > 0 else size_in_name(name)
    if found is None:
        command = choice.command(source, "--size", f"{name}=1.3B")
        raise UsageError(
            f"the size of the model {name!r} stands neither in its file nor in its name; say it: {command}."
        )
    return found
