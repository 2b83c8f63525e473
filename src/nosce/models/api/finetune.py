"""Fine-tuning over the public protocol: a file, a job, and every way in which a job can end.

Source: the files and fine-tuning-jobs calls of OpenAI's API; the official code of arXiv:2410.13787 knew "succeeded"
alone, so that a failed job span for ever (the sheet, section 6.3).
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nosce.errors import DataError
from nosce.models.api.openai import Asker, EndpointError
from nosce.store.files import write_atomically
from nosce.store.spec import describe, digest

ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How an endpoint's model is to be tuned."""

    epochs: int = 1
    batch: int | None = None  # None: as the endpoint chooses
    rate: float | None = None  # multiplier of the learning rate
    seed: int = 0
    suffix: str = "nosce"


@dataclass(frozen=True)
class Example:
    """One prompt with the reply to be learnt."""

    prompt: str
    reply: str


def tuned(
    asker: Asker,
    examples: Sequence[Example],
    how: Tuning,
    folder: Path,
    *,
    every: float = 20.0,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """The id of a model that has learnt the examples; a job that was begun is gone on with, never begun twice.

    Raises:
        DataError: There is nothing to learn, or a prompt stands there twice with two replies.
        EndpointError: The job failed or was cancelled.
    """
    _checked(examples)
    client = asker.client()
    key = digest({"model": asker.answerer, "how": describe(how), "examples": [[e.prompt, e.reply] for e in examples]})
    note = folder / f"tuning-{key[:20]}.json"
    told: dict[str, Any] = json.loads(note.read_text()) if note.exists() else {}
    if "job" not in told:
        lines = "".join(json.dumps(_line(e), ensure_ascii=False) + "\n" for e in examples)
        file = client.files.create(file=("train.jsonl", io.BytesIO(lines.encode())), purpose="fine-tune")
        chosen = {"n_epochs": how.epochs, "batch_size": how.batch, "learning_rate_multiplier": how.rate}
        job = client.fine_tuning.jobs.create(
            training_file=file.id, model=asker.endpoint.model, seed=how.seed, suffix=how.suffix,
            hyperparameters={name: value for name, value in chosen.items() if value is not None},
        )  # fmt: skip
        told = {"job": job.id}
        _kept(note, told)
    while "model" not in told:
        job = client.fine_tuning.jobs.retrieve(told["job"])
        if job.status not in ENDED:
            sleep(every)
            continue
        if job.status != "succeeded" or not job.fine_tuned_model:
            note.unlink()  # so that the next attempt begins another
            why = getattr(getattr(job, "error", None), "message", None) or "no reason was given"
            raise EndpointError(f"the fine-tuning job {job.id} {job.status} ({why}); run again to begin another.")
        told["model"] = job.fine_tuned_model
        _kept(note, told)
    return str(told["model"])


def cancelled(asker: Asker, folder: Path) -> list[str]:
    """Cancel the jobs that were begun from a folder and have not ended; their ids."""
    client = asker.client()
    found = []
    for note in sorted(folder.glob("tuning-*.json")):
        told = json.loads(note.read_text())
        if "model" not in told:
            client.fine_tuning.jobs.cancel(told["job"])
            found.append(str(told["job"]))
    return found


def _checked(examples: Sequence[Example]) -> None:
    if not examples:
        raise DataError("a fine-tuning was asked for without examples; give some.")
    known: dict[str, str] = {}
    for one in examples:
        if known.setdefault(one.prompt, one.reply) != one.reply:
            raise DataError(f"the prompt {one.prompt[:60]!r} is to be answered in two ways; choose one.")


def _line(example: Example) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": example.prompt}, {"role": "assistant", "content": example.reply}]}


def _kept(note: Path, told: dict[str, Any]) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(note, json.dumps(told, indent=2) + "\n")
