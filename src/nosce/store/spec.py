"""The description of a spec as plain JSON, for hashing, storing and explaining.

A spec is a frozen dataclass of plain values and other specs. Its description names the class and all fields with their
defaults, so changing a default gives a new key and never reuses an old result. The description does not contain the
class's module, so moving a class to another module changes no key.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from nosce.errors import SpecError
from nosce.seeds import Seed

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

#: Metadata of a field that was added after results had been stored: `field(default=..., metadata=LATER)`. While the
#: field has its default it is left out of the description, so that the keys of those results stay as they were.
LATER: Mapping[str, bool] = {"later": True}


def describe(obj: object) -> Json:
    """The resolved description of a spec, in JSON.

    Raises:
        SpecError: The spec holds something without a fixed JSON form, such as a function, a set or a NaN.
    """
    if isinstance(obj, Seed):
        if any("/" in name for name in obj.path):
            raise SpecError(f"the seed {obj} has a slash inside a name, so it reads like another; leave it out.")
        return str(obj)
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        fields = {field.name: describe(getattr(obj, field.name)) for field in _described_fields(obj)}
        return {"type": spec_name(type(obj)), **fields}
    if isinstance(obj, Mapping):
        return {str(name): describe(value) for name, value in obj.items()}
    if isinstance(obj, tuple | list):
        return [describe(value) for value in obj]
    if obj is None or isinstance(obj, bool | int | str) or (isinstance(obj, float) and math.isfinite(obj)):
        return obj
    raise SpecError(
        f"a spec holds {obj!r} of type {type(obj).__name__}, which has no fixed bytes to hash; "
        "use numbers, strings, tuples and frozen dataclasses."
    )


def spec_name(kind: type) -> str:
    """The name of a class in descriptions, and so in the keys of steps.

    A class of nosce has its qualified name, which is unique within the package (a test checks it), or the `spec_name`
    that it declares, e.g. its old name after a renaming. Any other class has its module and qualified name, since two
    users may each have a class `Village`.
    """
    declared = vars(kind).get("spec_name")
    if isinstance(declared, str):
        return declared
    ours = kind.__module__.partition(".")[0] == __name__.partition(".")[0]
    return kind.__qualname__ if ours else f"{kind.__module__}:{kind.__qualname__}"


def spec_classes(obj: object) -> Iterator[type]:
    """The classes of a spec and of all specs inside it, possibly with repeats."""
    if isinstance(obj, Seed):  # a seed is described as text, without its class
        return
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        yield type(obj)
        for field in dataclasses.fields(obj):
            if field.compare:
                yield from spec_classes(getattr(obj, field.name))
    elif isinstance(obj, Mapping):
        for value in obj.values():
            yield from spec_classes(value)
    elif isinstance(obj, tuple | list):
        for value in obj:
            yield from spec_classes(value)


# `Field[Any]` is what `dataclasses.fields` returns.
def _described_fields(obj: DataclassInstance) -> list[dataclasses.Field[Any]]:
    """The hashed fields: all that are compared, without `LATER` fields that have their default."""
    return [f for f in _compared_fields(type(obj)) if not (f.metadata.get("later") and _is_default(obj, f))]


@lru_cache(maxsize=1_024)  # `Field[Any]` again
def _compared_fields(kind: type[DataclassInstance]) -> tuple[dataclasses.Field[Any], ...]:
    return tuple(f for f in dataclasses.fields(kind) if f.compare)


def _is_default(obj: DataclassInstance, field: dataclasses.Field[Any]) -> bool:  # as `dataclasses.fields` has it
    if field.default_factory is not dataclasses.MISSING:
        return bool(getattr(obj, field.name) == field.default_factory())
    return bool(getattr(obj, field.name) == field.default)


def canonical_json(description: Json) -> str:
    """The canonical JSON text of a description."""
    return json.dumps(description, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def hash_description(description: Json) -> str:
    """Hash of a description, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(description).encode()).hexdigest()


def flatten_description(description: Json, path: str = "") -> dict[str, Json]:
    """All plain values of a description by their paths, e.g. `world.people`."""
    if isinstance(description, dict) and description:
        pairs = [(f"{path}.{name}" if path else name, value) for name, value in description.items()]
    elif isinstance(description, list) and description:
        pairs = [(f"{path}[{place}]", value) for place, value in enumerate(description)]
    else:
        return {path: description}
    return {leaf: value for name, inner in pairs for leaf, value in flatten_description(inner, name).items()}


def diff_descriptions(left: Json, right: Json) -> list[tuple[str, Json, Json]]:
    """The paths at which two descriptions differ, with both values; None also stands for a missing path.

    Values are compared as they are hashed: 1, 1.0 and True are three.
    """
    a, b = flatten_description(left), flatten_description(right)
    written_a, written_b = ({path: canonical_json(value) for path, value in side.items()} for side in (a, b))
    return [(p, a.get(p), b.get(p)) for p in sorted({*a, *b}) if written_a.get(p) != written_b.get(p)]
