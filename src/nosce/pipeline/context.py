"""The argument of a step function besides its spec and its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nosce.train.config import RuntimeConfig


def _ignore_progress(done: int, total: int, rate: float, loss: float) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """Where a step writes, how it uses the machine, how it reports progress, and what provenance it adds."""

    folder: Path  # the step's work folder; may hold what an interrupted run left
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    progress: Callable[[int, int, float, float], None] = _ignore_progress  # done, of, tokens per second, loss
    store_root: Path | None = None  # for what all steps of a store share, e.g. replies of endpoints
    extra_provenance: dict[str, object] = field(default_factory=dict)  # goes into provenance.json, e.g. the precision
