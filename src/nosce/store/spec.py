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


def describe(obj: Any) -> Json:
    """The resolved description of a spec, in JSON.

    Raises:
        SpecError: It holds something with no fixed bytes, such as a function, a set or a NaN.
    """
    if isinstance(obj, Seed):
        if any("/" in name for name in obj.path):
            raise SpecError(f"the seed {obj} has a slash inside a name, so it reads like another; leave it out.")
        return str(obj)
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        kind = type(obj)
        fields = {f.name: describe(getattr(obj, f.name)) for f in dataclasses.fields(obj) if f.compare}
        return {"type": f"{kind.__module__}:{kind.__qualname__}", **fields}
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


def canonical_json(description: Json) -> str:
    """The one way to write a description down."""
    return json.dumps(description, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def hash_description(description: Json) -> str:
    """Hash of a description, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(description).encode()).hexdigest()


def flatten_description(description: Json, path: str = "") -> dict[str, Json]:
    """Every plain value of a description by its path, e.g. `world.people`."""
    if isinstance(description, dict) and description:
        pairs = [(f"{path}.{name}" if path else name, value) for name, value in description.items()]
    elif isinstance(description, list) and description:
        pairs = [(f"{path}[{place}]", value) for place, value in enumerate(description)]
    else:
        return {path: description}
    return {leaf: value for name, inner in pairs for leaf, value in flatten_description(inner, name).items()}


def diff_descriptions(left: Json, right: Json) -> list[tuple[str, Json, Json]]:
    """The paths at which two descriptions differ, with both values; None stands for a path that one lacks too.

    Values are compared as they are hashed: 1, 1.0 and True are three.
    """
    a, b = flatten_description(left), flatten_description(right)
    written_a, written_b = ({path: canonical_json(value) for path, value in side.items()} for side in (a, b))
    return [(p, a.get(p), b.get(p)) for p in sorted({*a, *b}) if written_a.get(p) != written_b.get(p)]
