"""What this machine has, and the word of a user that it need not suffice."""

from __future__ import annotations

import os

ANY_SIZE = "NOSCE_ANY_SIZE"  # 1 in the environment: nothing is refused for its size


def physical_memory() -> int:
    """The bytes of memory that this machine has, used or free."""
    import psutil

    return int(psutil.virtual_memory().total)


def any_size_allowed() -> bool:
    """Does the environment say that no size is refused, e.g. for a cluster of larger machines?"""
    return os.environ.get(ANY_SIZE) == "1"
