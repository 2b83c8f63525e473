"""The configurations of the built-in studies: one for a scale, or all scales of a study side by side."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table

from nosce.errors import UsageError
from nosce.models.architecture import Architecture, Pretrained
from nosce.store.text import literal
from nosce.studies import BUILT_IN, CONFIGS, MODEL_CONFIGS
from nosce.studies.settings import apply_settings, settable_fields
from nosce.study import SCALES, Scale
from nosce.train.config import LoRA

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")

MAX_LISTED_VALUES, MAX_TEXT = 8, 60  # a longer tuple shows how many values it has, the first and the last
FIELD_WIDTH, MIN_VALUE_WIDTH, MAX_VALUE_WIDTH = 30, 11, 18  # characters of a column
SAME_AS_LEFT = "="
NOT_SETTABLE = "*"
CAPTION = f"{SAME_AS_LEFT} as in the column to the left; {NOT_SETTABLE} not changed by --set."


def config_for_scale(
    study: str,
    configs: Mapping[Scale, Callable[[], Config]],
    scale: str,
    settings: Sequence[str] = (),
    *,
    other_scales: tuple[Scale, ...] = (),
    note: str = "",
) -> Config:
    """The configuration of a study at a scale.

    Args:
        study: The study's name, for the message.
        configs: A function for each scale, which returns the configuration.
        scale: The scale that the user named.
        settings: Fields that the user changes, each `key=value`.
        other_scales: Scales of the study that have a configuration of another kind, for the message.
        note: What else the message says.

    Raises:
        UsageError: The study has no such scale, or the configuration no such field.
    """
    for known_scale, make in configs.items():
        if known_scale == scale:
            return apply_settings(make(), settings, study=study)
    *first_scales, last_scale = (known for known in SCALES if known in (*configs, *other_scales))
    raise UsageError(f"{study} has no scale {scale!r}; take {', '.join(first_scales)} or {last_scale}{note}.")


@dataclass(frozen=True)
class ConfigRow:
    """One field of a study's configuration at every scale.

    Args:
        field: The field's name; `world.people` is the field `people` of the field `world`.
        phrase: What the field means, with its unit, from the docstring of its class.
        values: The field's value at each scale, as text.
        is_settable: Whether `--set` changes it.
    """

    field: str
    phrase: str
    values: tuple[str, ...]
    is_settable: bool = True


def takes_model(name: str) -> bool:
    """Whether a built-in study has a configuration for `--model`."""
    return name in MODEL_CONFIGS


def config_scales(name: str, *, with_model: bool = False) -> tuple[Scale, ...]:
    """The scales at which a built-in study has a configuration.

    Args:
        name: The study's name.
        with_model: Of the study on models of one's own.

    Raises:
        UsageError: There is no built-in study of this name, or none on models.
    """
    return tuple(_configs_of(name, with_model=with_model))


def config_rows(name: str, *, with_model: bool = False) -> list[ConfigRow]:
    """The fields of a built-in study's configuration, all scales side by side.

    A field inside world, architecture, training or probe is left out where every scale has its default; those are
    `other_config_rows`.

    Raises:
        UsageError: There is no built-in study of this name, or none on models.
    """
    configs = [make() for make in _configs_of(name, with_model=with_model).values()]
    settable = {path for config in configs for path in settable_fields(config)}
    return [replace(row, is_settable=row.field in settable) for row in _rows("", configs)]


def other_config_rows(name: str, *, with_model: bool = False) -> list[ConfigRow]:
    """The fields that `--set` changes and that are not among `config_rows`.

    Raises:
        UsageError: There is no built-in study of this name, or none on models.
    """
    configs = [make() for make in _configs_of(name, with_model=with_model).values()]
    listed = {row.field for row in config_rows(name, with_model=with_model)}
    paths = dict.fromkeys(path for config in configs for path in settable_fields(config) if path not in listed)
    return [_row_of_path(path, configs) for path in paths]


def config_text(name: str, width: int = 120) -> Group:
    """What `--set` changes of a built-in study, for the terminal: without a model, and with one where it takes one.

    Args:
        name: The study's name.
        width: Characters of a line.

    Raises:
        UsageError: There is no built-in study of this name.
    """
    parts: list[Table | Padding] = []
    for with_model in (False, True) if takes_model(name) else (False,):
        parts.append(config_table(name, width, with_model=with_model))
        others = [_with_default(row) for row in other_config_rows(name, with_model=with_model)]
        if others:
            parts.append(Padding(literal(f"--set changes these too: {', '.join(others)}."), (0, 1, 1, 1)))
    return Group(*parts)


def config_json(name: str) -> list[dict[str, object]]:
    """Every field of a built-in study's configurations, with its value by scale.

    Raises:
        UsageError: There is no built-in study of this name.
    """
    entries: list[dict[str, object]] = []
    for with_model in (False, True) if takes_model(name) else (False,):
        scales = config_scales(name, with_model=with_model)
        rows = (*config_rows(name, with_model=with_model), *other_config_rows(name, with_model=with_model))
        for row in rows:
            values = dict(zip(scales, row.values, strict=True))
            flags = {"with_model": with_model, "is_settable": row.is_settable}
            entries.append({"field": row.field, "phrase": row.phrase, "values": values, **flags})
    return entries


def config_table(name: str, width: int = 120, *, with_model: bool = False) -> Table:
    """The table of `config_rows` for the terminal: fields with their meaning, and one column a scale.

    Args:
        name: The study's name.
        width: Characters of a line.
        with_model: Of the study on models of one's own.

    Raises:
        UsageError: There is no built-in study of this name, or none on models.
    """
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold", caption=CAPTION, caption_justify="left"
    )
    scales = config_scales(name, with_model=with_model)
    value_width = max(MIN_VALUE_WIDTH, min(MAX_VALUE_WIDTH, (width - FIELD_WIDTH) // len(scales) - 1))
    field_width = max(MIN_VALUE_WIDTH, width - 2 - len(scales) * (value_width + 1))
    heading = f"{name} --model MODEL" if with_model else f"{name}, by field"
    table.add_column(heading, width=field_width, overflow="fold")
    for scale in scales:
        table.add_column(scale, width=value_width, overflow="fold")
    for row in config_rows(name, with_model=with_model):
        mark = "" if row.is_settable else f" {NOT_SETTABLE}"
        phrase = [Padding(literal(row.phrase), (0, 0, 0, 2))] if row.phrase else []  # all of its lines are indented
        field = Group(f"[bold]{literal(row.field)}[/bold]{mark}", *phrase)
        table.add_row(field, *(literal(value) for value in _mark_repeats(row.values)))
    return table


def field_phrases(config_class: type) -> dict[str, str]:
    """What each field of a class means: the section `Args:` or `Attributes:` of its docstring and of its bases'."""
    phrases: dict[str, str] = {}
    for base in reversed(config_class.__mro__):
        if is_dataclass(base):
            phrases |= _docstring_phrases(inspect.getdoc(base) or "")
    return phrases


def _configs_of(name: str, *, with_model: bool = False) -> Mapping[Scale, Callable[[], object]]:
    if name not in CONFIGS:
        raise UsageError(f"there is no built-in study {name!r}; take one of {', '.join(sorted(BUILT_IN))}.")
    if with_model and not takes_model(name):
        raise UsageError(f"{name} takes no --model; take one of {', '.join(sorted(MODEL_CONFIGS))}.")
    module, _, variable = (MODEL_CONFIGS if with_model else CONFIGS)[name].partition(":")
    configs: Mapping[Scale, Callable[[], object]] = getattr(importlib.import_module(module), variable)
    return configs


def _docstring_phrases(docstring: str) -> dict[str, str]:
    section = re.search(r"^(?:Args|Attributes):\n((?:[ ]{4}.*\n?|\n)+)", docstring, re.MULTILINE)
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section[1], re.MULTILINE) if section else []
    return {name: " ".join(phrase.split()) for name, phrase in entries}


def _rows(prefix: str, configs: list[object]) -> Iterator[ConfigRow]:
    """The rows of equal dataclasses, nested ones unfolded."""
    config_class = type(configs[0])
    phrases = field_phrases(config_class)
    for one in _fields(config_class):
        values = [getattr(config, one.name) for config in configs]
        if _is_nested(values):
            yield from _rows(f"{prefix}{one.name}.", values)
        elif not (prefix and all(_has_default(one, value) for value in values)):
            phrase = phrases.get(one.name, "")
            yield ConfigRow(
                f"{prefix}{one.name}", _first_sentence(phrase) if prefix else phrase, tuple(_as_text(v) for v in values)
            )


def _row_of_path(path: str, configs: list[object]) -> ConfigRow:
    """The row of one field by its path."""
    *outer, name = path.split(".")
    values, phrase = [], ""
    for config in configs:
        owner: object = config
        for part in outer:
            owner = None if owner is None else getattr(owner, part)
        values.append("-" if owner is None else _as_text(getattr(owner, name)))
        phrase = phrase or field_phrases(type(owner)).get(name, "")
    return ConfigRow(path, _first_sentence(phrase), tuple(values))


def _with_default(row: ConfigRow) -> str:
    """The field, and its value if every scale has the same."""
    return f"{row.field} ({row.values[0]})" if len(set(row.values)) == 1 else row.field


def _fields(config_class: type) -> tuple[Field[object], ...]:
    return fields(config_class) if is_dataclass(config_class) else ()


def _is_nested(values: list[object]) -> bool:
    """Are the values dataclasses of one kind that need a row for each field?"""
    kinds = {type(value) for value in values}
    return len(kinds) == 1 and is_dataclass(values[0]) and not isinstance(values[0], Architecture | Pretrained | LoRA)


def _has_default(one: Field[object], value: object) -> bool:
    """Has the field its default, or the one step of a training whose steps follow from other fields?"""
    return (one.default is not MISSING and value == one.default) or (one.name == "steps" and value == 1)


def _first_sentence(phrase: str) -> str:
    return re.split(r"(?<=[a-z)\d])\. (?=[A-Z0-9\"])|; ", phrase)[0].rstrip(".")


def _mark_repeats(values: tuple[str, ...]) -> list[str]:
    return [SAME_AS_LEFT if index and value == values[index - 1] else value for index, value in enumerate(values)]


def _as_text(value: object) -> str:
    """A value as short as it can be shown."""
    if value is None or value in ((), {}, ""):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Architecture):
        return _architecture_as_text(value)
    if isinstance(value, LoRA):
        return _lora_as_text(value)
    if isinstance(value, Mapping):
        texts = [f"{name}: {_as_text(part)}" for name, part in value.items()]
        return (
            "; ".join(texts) if len(texts) <= MAX_LISTED_VALUES else f"{len(texts)} values: {texts[0]} ... {texts[-1]}"
        )
    if isinstance(value, tuple):
        return _tuple_as_text(value)
    return _dataclass_as_text(value) if is_dataclass(value) and type(value).__str__ is object.__str__ else str(value)


def _architecture_as_text(value: Architecture) -> str:
    family = f"{value.family}, blocks in sequence" if value.sequential_blocks else value.family
    return f"{value.layers}x{value.width}, {value.heads} heads, {value.max_positions:,} positions, {family}"


def _lora_as_text(value: LoRA) -> str:
    alpha = "" if value.alpha == LoRA().alpha else f", alpha {value.alpha:g}"
    parts = ", query and value apart" if value.query_value_apart else ""
    return f"LoRA rank {value.rank}, embedding rank {value.embedding_rank}{alpha}{parts}"


def _tuple_as_text(values: tuple[object, ...]) -> str:
    texts = [f"({_as_text(value)})" if isinstance(value, tuple) else _as_text(value) for value in values]
    if sum(map(len, texts)) > 2 * MAX_TEXT:
        texts = [text if len(text) <= MAX_TEXT // 2 else f"{text[: MAX_TEXT // 2]}..." for text in texts]
    if len(values) > MAX_LISTED_VALUES or sum(map(len, texts)) > 2 * MAX_TEXT:
        return f"{len(values)} values: {texts[0]} ... {texts[-1]}"
    return ", ".join(texts)


def _dataclass_as_text(value: object) -> str:
    """The fields that differ from their defaults."""
    shown = ((one.name, getattr(value, one.name)) for one in _fields(type(value)))
    defaults = {one.name: one.default for one in _fields(type(value))}
    return ", ".join(f"{name} {_as_text(part)}" for name, part in shown if part != defaults[name])
