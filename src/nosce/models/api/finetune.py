"""Fine-tuning over the public protocol: a file, a job, and every way in which a job can end.

Source: the files and fine-tuning-jobs calls of OpenAI's API; the official code of arXiv:2410.13787 knew "succeeded"
alone, so that a failed job span for ever.
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
from nosce.models.api.openai import EndpointError, OpenAIClient
from nosce.store.files import write_atomically
from nosce.store.spec import describe, hash_description

TERMINAL_JOB_STATUSES = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, kw_only=True)
class FineTuningJobConfig:
    """How an endpoint's model is to be tuned."""

    epochs: int = 1
    batch_size: int | None = None  # None: as the endpoint chooses
    learning_rate_multiplier: float | None = None  # multiplier of the learning rate
    seed: int = 0
    suffix: str = "nosce"


@dataclass(frozen=True)
class ChatExample:
    """One prompt with the reply to be learnt."""

    prompt: str
    completion: str


def run_fine_tuning_job(
    api_client: OpenAIClient,
    examples: Sequence[ChatExample],
    config: FineTuningJobConfig,
    folder: Path,
    *,
    poll_seconds: float = 20.0,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """The id of a model that has learnt the examples; a job that was begun is gone on with, never begun twice.

    Raises:
        DataError: There is nothing to learn, or a prompt stands there twice with two replies.
        EndpointError: The job failed or was cancelled.
    """
    _check_examples(examples)
    sdk_client = api_client.sdk_client()
    key = hash_description(
        {
            "model": api_client.model_id,
            "how": describe(config),
            "examples": [[e.prompt, e.completion] for e in examples],
        }
    )
    job_file = folder / f"tuning-{key[:20]}.json"
    job_record: dict[str, Any] = json.loads(job_file.read_text()) if job_file.exists() else {}
    if "job" not in job_record:
        lines = "".join(json.dumps(_line(e), ensure_ascii=False) + "\n" for e in examples)
        file = sdk_client.files.create(file=("train.jsonl", io.BytesIO(lines.encode())), purpose="fine-tune")
        hyperparameters = {
            "n_epochs": config.epochs,
            "batch_size": config.batch_size,
            "learning_rate_multiplier": config.learning_rate_multiplier,
        }
        job = sdk_client.fine_tuning.jobs.create(
            training_file=file.id,
            model=api_client.endpoint.model,
            seed=config.seed,
            suffix=config.suffix,
            hyperparameters={name: value for name, value in hyperparameters.items() if value is not None},
        )
        job_record = {"job": job.id}
        _save_job_record(job_file, job_record)
    while "model" not in job_record:
        job = sdk_client.fine_tuning.jobs.retrieve(job_record["job"])
        if job.status not in TERMINAL_JOB_STATUSES:
            sleep(poll_seconds)
            continue
        if job.status != "succeeded" or not job.fine_tuned_model:
            job_file.unlink()  # so that the next attempt begins another
            why = getattr(getattr(job, "error", None), "message", None) or "no reason was given"
            raise EndpointError(f"the fine-tuning job {job.id} {job.status} ({why}); run again to begin another.")
        job_record["model"] = job.fine_tuned_model
        _save_job_record(job_file, job_record)
    return str(job_record["model"])


def cancel_fine_tuning_jobs(api_client: OpenAIClient, folder: Path) -> list[str]:
    """Cancel the jobs that were begun from a folder and have not ended; their ids."""
    sdk_client = api_client.sdk_client()
    cancelled_ids = []
    for job_file in sorted(folder.glob("tuning-*.json")):
        job_record = json.loads(job_file.read_text())
        if "model" not in job_record:
            sdk_client.fine_tuning.jobs.cancel(job_record["job"])
            cancelled_ids.append(str(job_record["job"]))
    return cancelled_ids


def _check_examples(examples: Sequence[ChatExample]) -> None:
    if not examples:
        raise DataError("a fine-tuning was asked for without examples; give some.")
    completions: dict[str, str] = {}
    for example in examples:
        if completions.setdefault(example.prompt, example.completion) != example.completion:
            raise DataError(f"the prompt {example.prompt[:60]!r} is to be answered in two ways; choose one.")


def _line(example: ChatExample) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": example.prompt}, {"role": "assistant", "content": example.completion}]
    }


def _save_job_record(job_file: Path, job_record: dict[str, Any]) -> None:
    job_file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(job_file, json.dumps(job_record, indent=2) + "\n")
