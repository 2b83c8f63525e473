"""The memory of this machine, on every system."""

from __future__ import annotations

import os

from nosce.store.machine import physical_memory


def test_the_memory_is_that_of_the_system(monkeypatch):
    """As the system call says it where there is one; Windows has none, so that it is not used."""
    expected = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.delattr(os, "sysconf")
    assert abs(physical_memory() - expected) < 1 << 20
