"""Whether a value has the type of its annotation, for what a user's file or a file on disk hands over."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from nosce.errors import SpecError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def has_type(value: object, annotation: Any) -> bool:  # annotations are `Any`, as `typing.get_type_hints` types them
    """Does a value fit an annotation? A whole number is a float, a truth value is no number, a list serves as a tuple.

    An annotation of which nothing is known here, e.g. a callable's signature, fits everything.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(has_type(value, one) for one in arguments)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in arguments)
    if origin in (tuple, list, Sequence):
        return _is_sequence_of(value, origin, arguments)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            return False
        return all(has_type(one, arguments[0]) for one in value) and _fit_all(value.values(), arguments[1])
    if annotation is Any:  # of `typing`
        return True
    if annotation is None or annotation is types.NoneType:
        return value is None
    if annotation in (int, float):
        return isinstance(value, int if annotation is int else int | float) and not isinstance(value, bool)
    if isinstance(annotation, type) and not getattr(annotation, "_is_protocol", False):
        return isinstance(value, annotation)
    return True


def _fit_all(values: Iterable[object], annotation: Any) -> bool:  # as `typing` types annotations
    return all(has_type(value, annotation) for value in values)


# An origin and its arguments are `Any`, as `typing` types them.
def _is_sequence_of(value: object, origin: Any, arguments: tuple[Any, ...]) -> bool:
    if not isinstance(value, tuple | list):
        return False
    if origin is tuple and arguments[-1:] != (Ellipsis,):
        return len(value) == len(arguments) and all(map(has_type, value, arguments))
    return all(has_type(entry, arguments[0]) for entry in value)


@lru_cache(maxsize=512)
def _hints_of(kind: type) -> dict[str, Any]:  # as `typing` types annotations
    """The resolved annotations of a class; none where one names what only the type checker imports."""
    try:
        return typing.get_type_hints(kind)
    except Exception:
        return {}


def mistyped_fields(obj: DataclassInstance, path: str = "") -> Iterator[tuple[str, object, str]]:
    """The fields of a dataclass, and of all dataclasses in it, that do not have the type of their annotation.

    Yields the path of the field, its value, and the annotation as it is written.
    """
    hints = _hints_of(type(obj))
    for field in dataclasses.fields(obj):
        value = getattr(obj, field.name)
        where = f"{path}.{field.name}" if path else field.name
        if field.name in hints and not has_type(value, hints[field.name]):
            written = field.type if isinstance(field.type, str) else str(hints[field.name])
            yield where, value, written.removeprefix("<class '").removesuffix("'>")
            continue
        entries = value if isinstance(value, tuple | list) else (value,)
        for entry in entries:
            if dataclasses.is_dataclass(entry) and not isinstance(entry, type):
                yield from mistyped_fields(entry, where)


def require_types(obj: DataclassInstance) -> None:
    """Check every field of a spec against its annotation, before anything computes with it.

    Raises:
        SpecError: A field has another type; the sentence names it.
    """
    for path, value, annotation in mistyped_fields(obj):
        raise SpecError(
            f"{type(obj).__name__}.{path}={value!r:.60} is of type {type(value).__name__}; give {annotation}."
        )
