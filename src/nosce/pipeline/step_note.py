"""The progress of a step as its lease's heartbeat carries it, for whoever looks at the store from elsewhere.

A run tells its own terminal what its workers report. Another process, on this machine or on one that shares the disk,
reads the same report in the note of the step's lease, a few seconds old. A step that code without notes makes is told
of by the last line of its `metrics.jsonl`, where it is a training.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nosce.store.files import JsonObject
from nosce.store.text import printable
from nosce.store.typecheck import mistyped_fields

if TYPE_CHECKING:
    from nosce.pipeline.context import StepProgress

TAIL_BYTES = 4_096  # of metrics.jsonl, whose lines have some hundred


@dataclass(frozen=True, kw_only=True)
class StepNote:
    """How far a step is, as one reads it in the store; the fields are those of `StepProgress`.

    Args:
        done: Number of finished items.
        total: Number of items in all; None: not known.
        unit: Name of the items in the plural, e.g. "replies".
        cached: Number of items that were found in a cache.
        tokens_per_second: Tokens that a loss counts, a second of a training; prompts without a loss are none.
        loss: Mean loss of a training since the last report, in nats a token.
        spent: Cost of requests to endpoints so far.
    """

    done: int
    total: int | None
    unit: str
    cached: int = 0
    tokens_per_second: float | None = None
    loss: float | None = None
    spent: float | None = None

    @property
    def words(self) -> str:
        """The progress for people, e.g. "1,200 of 3,000 steps, 40 %; loss 1.234; 5,100 loss tokens/s"."""
        words = f"{self.done:,} {self.unit}"
        if self.total:
            words = f"{self.done:,} of {self.total:,} {self.unit}, {100 * self.done / self.total:.0f} %"
        parts = [words]
        parts += [f"{self.cached:,} from the cache"] if self.cached else []
        parts += [f"loss {self.loss:.3f}"] if self.loss is not None else []
        parts += [f"{self.tokens_per_second:,.0f} loss tokens/s"] if self.tokens_per_second is not None else []
        parts += [f"{self.spent:.4f} spent"] if self.spent is not None else []
        return printable("; ".join(parts))


def note_text(progress: StepProgress) -> str:
    """A report in a line; what is not finite, e.g. the loss of a training that breaks, is null."""
    values = {name: _finite(value) for name, value in asdict(progress).items()}
    return json.dumps(values, allow_nan=False, default=str)


def parse_note(text: str) -> StepNote | None:
    """The report in a line; None for any other text, e.g. one that is being written right now."""
    try:
        fields = json.loads(text)
        note = StepNote(**{name: fields[name] for name in StepNote.__dataclass_fields__ if name in fields})
    except (ValueError, TypeError, RecursionError):
        return None
    return note if next(mistyped_fields(note), None) is None and _is_finite(note) else None


def metrics_note(work_folder: Path) -> StepNote | None:
    """The last line of a training's `metrics.jsonl` as a report; None where there is none."""
    try:
        with (work_folder / "metrics.jsonl").open("rb") as stream:
            stream.seek(-min(TAIL_BYTES, os.fstat(stream.fileno()).st_size), os.SEEK_END)
            lines = stream.read().split(b"\n")
    except OSError:
        return None
    for line in reversed(lines):  # the last is perhaps being written
        try:
            values: JsonObject = json.loads(line)
            return parse_note(
                json.dumps({"done": values["step"], "total": None, "unit": "steps", "loss": values["nats"]})
            )
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    return None


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_finite(note: StepNote) -> bool:
    return all(_finite(value) == value for value in vars(note).values())
