"""The argument of a step function besides its spec and its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nosce.train.config import RuntimeConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProgress:
    """How far a step is.

    Args:
        done: Number of finished items, those found in a cache among them.
        total: Number of items in all; None: not known.
        unit: Name of the items in the plural, e.g. "replies".
        cached: Number of items that were found in a cache, and not made now.
        tokens_per_second: Tokens that a loss counts, a second of a training; None where nothing is trained.
        loss: Mean loss of a training since the last report, in nats a token; None where nothing is trained.
        spent: Cost of requests to endpoints so far, in the currency of their prices; None where nothing is paid.
    """

    done: int
    total: int | None
    unit: str
    cached: int = 0
    tokens_per_second: float | None = None
    loss: float | None = None
    spent: float | None = None


def _ignore_progress(report: StepProgress) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """Where a step writes, how it uses the machine, how it reports progress, and what provenance it adds."""

    folder: Path  # the step's work folder; may hold what an interrupted run left
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    progress: Callable[[StepProgress], None] = _ignore_progress
    store_root: Path | None = None  # for what all steps of a store share, e.g. replies of endpoints
    extra_provenance: dict[str, object] = field(default_factory=dict)  # goes into provenance.json, e.g. the precision

    def training_progress(self, done: int, total: int, tokens_per_second: float, loss: float) -> None:
        """Report the progress of a training, in optimizer steps."""
        self.progress(
            StepProgress(done=done, total=total, unit="steps", tokens_per_second=tokens_per_second, loss=loss)
        )
