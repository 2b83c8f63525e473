"""Named randomness: a seed is a place in a tree of names, and each random draw uses a place of its own.

The names are hashed and never added, so a new consumer of randomness changes no other random numbers. With root + index
as seeds, the roots 42 and 43 would share all items but one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Seed:
    """A place in the tree of randomness.

    Args:
        root: The number of the tree, e.g. the training seed.
        path: The names from the root to the place.

    >>> (Seed(0) / "person" / 17).numpy().integers(10) == (Seed(0) / "person" / 17).numpy().integers(10)
    True
    """

    root: int
    path: tuple[str, ...] = ()

    def __truediv__(self, name: str | int) -> Seed:
        """The place with this name below this one."""
        return Seed(self.root, (*self.path, str(name)))

    def __str__(self) -> str:
        return "/".join((str(self.root), *self.path))

    def digest(self) -> bytes:
        """32 bytes that depend on the root and the names alone."""
        return hashlib.sha256(repr((self.root, self.path)).encode()).digest()

    def numpy(self) -> np.random.Generator:
        """A fresh random generator of this place; two calls return equal generators."""
        return np.random.default_rng(int.from_bytes(self.digest()[:16], "big"))

    def integer(self) -> int:
        """An integer below 2**63 of this place, to seed generators other than numpy's."""
        return int.from_bytes(self.digest()[16:24], "big") >> 1
