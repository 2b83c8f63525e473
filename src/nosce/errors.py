"""What can go wrong, as one tree; every message is one sentence: asked, found, what to do.

NosceError            anything of ours; the command line prints its sentence and no traceback
├── SpecError         a study, world, model or recipe asks for what cannot be      exit 2
├── UsageError        a name or path on the command line is not there              exit 2
├── DataError         the data cannot carry what was asked of them                 exit 1
├── GuardError        a guard of this field found a leak before training           exit 1
├── TrainingError     training cannot go on, e.g. the loss is not finite           exit 1
└── StoreError        the disk refused, or a folder is not what its name says      exit 1
    ├── DamagedError  a file differs from the checksum kept beside it
    └── LeasedError   another process is making this very step
"""

from __future__ import annotations


class NosceError(Exception):
    """Anything that nosce raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class SpecError(NosceError):
    """A study, world, model or recipe asks for something that cannot be."""

    exit_code = 2


class UsageError(NosceError):
    """A name, option or path given on the command line is not there."""

    exit_code = 2


class DataError(NosceError):
    """The data cannot carry what was asked of them (too few, not paired, not finite)."""


class LeakageError(NosceError):
    """A guard of this field found a leak; nothing was trained on the data."""


class TrainingError(NosceError):
    """Training cannot go on in a way that would mean anything."""


class StoreError(NosceError):
    """The disk refused, or a folder of the store is not what its name says."""


class DamagedError(StoreError):
    """A file differs from the checksum that was written with it."""


class LeasedError(StoreError):
    """Another process holds the lease of this step."""
