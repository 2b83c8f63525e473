"""What a step function is given besides its spec and its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nosce.train.config import RuntimeConfig


def _ignore_progress(done: int, total: int, rate: float, loss: float) -> None:
    """Nobody is watching."""


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """Where a step writes, on what machine, whom it tells how far it is, and what it wants remembered."""

    folder: Path  # the step's work folder; may hold what an interrupted run left
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    progress: Callable[[int, int, float, float], None] = _ignore_progress  # done, of, tokens per second, loss
    machine_file: Path | None = None  # a file of what was found out about this machine, shared by all steps of a store
    extra_provenance: dict[str, object] = field(default_factory=dict)  # goes into provenance.json, e.g. the precision
