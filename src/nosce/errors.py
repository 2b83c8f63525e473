"""The exceptions of nosce. Each message is one sentence: the request, the problem, and what to do.

NosceError            base class; the command line prints its sentence without a traceback
├── SpecError         a study, world, model or training is impossible as specified     exit 2
├── UsageError        a name or path on the command line does not exist                exit 2
├── DataError         the data do not allow the analysis                               exit 1
├── LeakageError      a leakage check failed before training                           exit 1
├── RunError          a step of a study failed; the others are kept             exit 1
├── TrainingError     training cannot continue, e.g. the loss is not finite            exit 1
├── Interrupted       the user stopped the command; the sentence says what is kept    exit 130
└── StoreError        the disk refused, or a folder of the store is not valid          exit 1
    ├── DamagedError  a file differs from its checksum
    └── LeasedError   another process makes the same step
"""

from __future__ import annotations


class NosceError(Exception):
    """Base class of all exceptions that nosce raises; `exit_code` is the command line's exit status."""

    exit_code = 1


class SpecError(NosceError):
    """A study, world, model or training is impossible as specified."""

    exit_code = 2


class UsageError(NosceError):
    """A name, option or path on the command line does not exist."""

    exit_code = 2


class DataError(NosceError):
    """The data do not allow the analysis: they are too few, not paired or not finite."""


class LeakageError(NosceError):
    """A leakage check failed; no model was trained on the data."""


class RunError(NosceError):
    """A step of a study failed; what was finished is kept."""


class TrainingError(NosceError):
    """Training cannot continue with a meaningful result."""


class Interrupted(NosceError):
    """The user stopped the command."""

    exit_code = 130


class StoreError(NosceError):
    """The disk refused, or a folder of the store is not valid."""


class DamagedError(StoreError):
    """A file differs from its checksum."""


class LeasedError(StoreError):
    """Another process makes the same step."""
