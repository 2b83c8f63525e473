"""What a thing is made of, as plain JSON: the same words for hashing, for storing and for explaining.

A spec is a frozen dataclass of plain values and other specs. Its description names the class and
every field, defaults included, so that a raised default is a new key and never a silent reuse.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from nosce.errors import SpecError
from nosce.seeds import Seed

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


def describe(thing: Any) -> Json:
    """The resolved description of a spec, in JSON.

    Raises:
        SpecError: It holds something with no fixed bytes, such as a function, a set or a NaN.
    """
    if isinstance(thing, Seed):
        if any("/" in name for name in thing.path):
            raise SpecError(f"the seed {thing} has a slash inside a name, so it reads like another; leave it out.")
        return str(thing)
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        kind = type(thing)
        fields = {f.name: describe(getattr(thing, f.name)) for f in dataclasses.fields(thing) if f.compare}
        return {"type": f"{kind.__module__}:{kind.__qualname__}", **fields}
    if isinstance(thing, Mapping):
        return {str(name): describe(value) for name, value in thing.items()}
    if isinstance(thing, tuple | list):
        return [describe(value) for value in thing]
    if thing is None or isinstance(thing, bool | int | str) or (isinstance(thing, float) and math.isfinite(thing)):
        return thing
    raise SpecError(
        f"a spec holds {thing!r} of type {type(thing).__name__}, which has no fixed bytes to hash; "
        "use numbers, strings, tuples and frozen dataclasses."
    )


def canonical(description: Json) -> str:
    """The one way to write a description down."""
    return json.dumps(description, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(description: Json) -> str:
    """Hash of a description, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(description).encode()).hexdigest()


def leaves(description: Json, path: str = "") -> dict[str, Json]:
    """Every plain value of a description by its path, e.g. `world.people`."""
    if isinstance(description, dict) and description:
        pairs = [(f"{path}.{name}" if path else name, value) for name, value in description.items()]
    elif isinstance(description, list) and description:
        pairs = [(f"{path}[{place}]", value) for place, value in enumerate(description)]
    else:
        return {path: description}
    return {leaf: value for name, inner in pairs for leaf, value in leaves(inner, name).items()}


def differences(one: Json, other: Json) -> list[tuple[str, Json, Json]]:
    """The paths at which two descriptions differ, with both values; None stands for a path that one lacks too.

    Values are compared as they are hashed: 1, 1.0 and True are three.
    """
    a, b = leaves(one), leaves(other)
    written_a, written_b = ({path: canonical(value) for path, value in side.items()} for side in (a, b))
    return [(p, a.get(p), b.get(p)) for p in sorted({*a, *b}) if written_a.get(p) != written_b.get(p)]
