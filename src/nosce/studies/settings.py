"""`--set key=value`: fields of a study's configuration that the command line changes."""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from nosce.errors import SpecError, UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ConfigT = TypeVar("ConfigT", bound="DataclassInstance")

NOTHING = "none"
TRUTHS = {"true": True, "yes": True, "false": False, "no": False}
SETTABLE = (int, float, str, bool)
MAX_LISTED = 12
SHORT_OPTIONS = ("lora", "chat", "replay")  # of the command line, for fields that several studies have


def apply_settings(config: ConfigT, settings: Sequence[str], *, study: str) -> ConfigT:
    """The configuration with the fields that the settings name.

    Args:
        config: The configuration, a frozen dataclass with others inside it.
        settings: Each `key=value`. A key is the path of a field, e.g. `world.people`, or the end of a path that no
            other field shares, e.g. `people`. Values of a tuple stand between commas; `none` is None.
        study: The study's name, for messages, e.g. "karel" or "karel --model".

    Raises:
        UsageError: A setting names no field or several, has a value of another type, or stands twice.
        SpecError: The configuration refuses the value.
    """
    paths = dict(_settable_fields(config))
    chosen: dict[str, str] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise UsageError(f"--set {setting!r} has no value; write --set key=value.")
        path = _find_path(key.strip(), paths, study)
        if path in chosen:
            raise UsageError(f"--set gives {path} twice, {chosen[path]!r} and {text!r}; give it once.")
        chosen[path] = text.strip()
    for path, text in chosen.items():
        value = _parse(text, paths[path], path)
        try:
            config = _with_field(config, path.split("."), value)
        except SpecError as error:
            raise SpecError(f"--set {path}={text} was refused: {error}") from None
    return config


def names_field(config: object, key: str) -> bool:
    """Is a key of `--set` the path of a field, or the end of one path or several?"""
    return any(path == key.strip() or path.endswith(f".{key.strip()}") for path in settable_fields(config))


def settable_fields(config: object) -> list[str]:
    """The paths of all fields that `--set` can change."""
    return [path for path, _ in _settable_fields(config)]


def _settable_fields(
    config: object, prefix: str = ""
) -> Iterator[tuple[str, Any]]:  # annotations, as `typing` has them
    """Path and annotation of each field with a plain value; fields of dataclasses are unfolded."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _settable_fields(value, f"{prefix}{field.name}.")
        elif _is_settable(hints[field.name]) and not (field.name == "steps" and value == 1):  # follows from others
            yield f"{prefix}{field.name}", hints[field.name]


def _is_settable(annotation: Any) -> bool:  # as `typing` has annotations
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return all(one is types.NoneType or _is_settable(one) for one in arguments)
    if origin is tuple:
        return all(one is Ellipsis or _is_settable(one) for one in arguments)
    return origin is Literal or annotation in SETTABLE


def _find_path(key: str, paths: Iterable[str], study: str) -> str:
    """The path that a key means."""
    if key in paths:
        return key
    matching = [path for path in paths if path.endswith(f".{key}")]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UsageError(f"--set {key}=... could mean {', '.join(matching[:MAX_LISTED])}; write one of them.")
    if key in SHORT_OPTIONS:
        raise UsageError(f"--{key} means nothing to {study}, whose configuration has no such field; leave it out.")
    ends = {path.rpartition(".")[2] for path in paths}
    close = difflib.get_close_matches(key, [*paths, *sorted(ends)], n=3) or list(paths)[:MAX_LISTED]
    raise UsageError(
        f"--set {key}=... names no field of {study}'s configuration; take e.g. {', '.join(close)} "
        f"(`nosce list {study.partition(' ')[0]}` has them all)."
    )


def _parse(text: str, annotation: Any, path: str) -> object:  # as `typing` has annotations
    """The value of a text for a field of this type.

    Raises:
        UsageError: The text is no value of this type.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        if text.lower() == NOTHING and types.NoneType in arguments:
            return None
        return _parse(text, next(one for one in arguments if one is not types.NoneType), path)
    if origin is tuple:
        return _parse_tuple([part.strip() for part in text.split(",") if part.strip()], arguments, path)
    if origin is Literal:
        for choice in arguments:
            if str(choice) == text:
                return choice
        raise UsageError(f"--set {path}={text} is none of {', '.join(map(str, arguments))}; take one.")
    return _parse_plain(text, annotation, path)


# Annotations, as `typing` has them.
def _parse_tuple(parts: list[str], arguments: tuple[Any, ...], path: str) -> tuple[object, ...]:
    """The values of a tuple of any length, or of one with a type for each place."""
    kinds = arguments if Ellipsis not in arguments else (arguments[0],) * len(parts)
    if len(parts) != len(kinds):
        raise UsageError(f"--set {path}={','.join(parts)} gives {len(parts)} values; give {len(kinds)} between commas.")
    return tuple(_parse(part, kind, path) for part, kind in zip(parts, kinds, strict=True))


def _parse_plain(text: str, kind: type, path: str) -> object:
    number = text.replace("_", "")
    if kind is bool and text.lower() in TRUTHS:
        return TRUTHS[text.lower()]
    if kind is int and re.fullmatch(r"[+-]?\d{1,18}", number):
        return int(number)
    if kind is float and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", number):
        return float(number)
    if kind is str:
        return text
    words = {int: "a whole number", float: "a number", bool: "yes or no"}
    raise UsageError(f"--set {path}={text} is not {words[kind]}; give one.")


def _with_field(config: ConfigT, names: list[str], value: object) -> ConfigT:
    first, *rest = names
    inner: DataclassInstance = getattr(config, first)
    return dataclasses.replace(config, **{first: _with_field(inner, rest, value) if rest else value})
