"""Randomness has names: a seed is a place in a tree, and every draw says where it stands.

Adding a consumer of randomness moves nobody else's numbers, because names are hashed and
never added: with root + index, roots 42 and 43 would share all but one item.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Seed:
    """A place in the tree of randomness: a root number and the names that lead here.

    >>> (Seed(0) / "person" / 17).numpy().integers(10) == (Seed(0) / "person" / 17).numpy().integers(10)
    True
    """

    root: int
    path: tuple[str, ...] = ()

    def __truediv__(self, name: str | int) -> Seed:
        """The place below this one that `name` leads to."""
        return Seed(self.root, (*self.path, str(name)))

    def __str__(self) -> str:
        return "/".join((str(self.root), *self.path))

    def digest(self) -> bytes:
        """32 bytes that depend on nothing but the root and the names."""
        return hashlib.sha256(repr((self.root, self.path)).encode()).digest()

    def numpy(self) -> np.random.Generator:
        """A fresh generator of this place; two calls give two equal generators."""
        return np.random.default_rng(int.from_bytes(self.digest()[:16], "big"))

    def integer(self) -> int:
        """A number below 2**63 of this place, for generators that are not numpy's."""
        return int.from_bytes(self.digest()[16:24], "big") >> 1
