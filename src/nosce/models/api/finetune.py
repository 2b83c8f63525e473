"""Fine-tuning over OpenAI's protocol: a file, a job, and every way in which a job can end.

The calls are those of OpenAI's API for files and fine-tuning jobs. The released code of arXiv:2410.13787 knew the
status "succeeded" alone, so it waited for a failed job forever.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nosce.errors import DataError
from nosce.models.api.openai import EndpointError, OpenAIClient
from nosce.store.files import write_atomically
from nosce.store.spec import Json, describe, hash_description

if TYPE_CHECKING:
    from openai.types.fine_tuning.job_create_params import Hyperparameters

JobRecord = dict[str, str]  # "job" and, once it has succeeded, "model"

TERMINAL_JOB_STATUSES = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, kw_only=True)
class FineTuningJobConfig:
    """The configuration of an endpoint's fine-tuning job.

    Args:
        epochs: Passes over the examples; 1, so that no example is learnt by heart.
        batch_size: Examples per optimizer step. None: the endpoint chooses.
        learning_rate_multiplier: Factor on the endpoint's learning rate. None: the endpoint chooses.
        seed: Seed of the job.
        suffix: Part of the new model's name.
    """

    epochs: int = 1
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    seed: int = 0
    suffix: str = "nosce"


@dataclass(frozen=True)
class ChatExample:
    """A training example of a fine-tuning job.

    Args:
        prompt: The user's message.
        completion: The reply to be learnt.
    """

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
    """Fine-tune a model on examples and return the new model's id; a started job is resumed and never started twice.

    Args:
        api_client: The endpoint and its model.
        examples: The training examples.
        config: The job's configuration.
        folder: Gets a file with the ids of job and model, from which an interrupted run resumes.
        poll_seconds: Seconds between two requests for the job's status.
        sleep: Waits so many seconds; tests replace it.

    Raises:
        DataError: There are no examples, or a prompt has two different completions.
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
    job_record: JobRecord = json.loads(job_file.read_text()) if job_file.exists() else {}
    if "job" not in job_record:
        job_record = {"job": _start_job(api_client, examples, config)}
        _save_job_record(job_file, job_record)
    while "model" not in job_record:
        job = sdk_client.fine_tuning.jobs.retrieve(job_record["job"])
        if job.status not in TERMINAL_JOB_STATUSES:
            sleep(poll_seconds)
            continue
        if job.status != "succeeded" or not job.fine_tuned_model:
            job_file.unlink()  # so that the next attempt starts another job
            # An endpoint other than OpenAI's may leave `error` out, so the field is looked up.
            why = getattr(getattr(job, "error", None), "message", None) or "no reason was given"
            raise EndpointError(f"the fine-tuning job {job.id} {job.status} ({why}); run again to start another.")
        job_record["model"] = job.fine_tuned_model
        _save_job_record(job_file, job_record)
    return job_record["model"]


def _start_job(api_client: OpenAIClient, examples: Sequence[ChatExample], config: FineTuningJobConfig) -> str:
    """Upload the examples, start a job, and return the job's id."""
    sdk_client = api_client.sdk_client()
    lines = "".join(json.dumps(_line(e), ensure_ascii=False) + "\n" for e in examples)
    file = sdk_client.files.create(file=("train.jsonl", io.BytesIO(lines.encode())), purpose="fine-tune")
    hyperparameters: Hyperparameters = {"n_epochs": config.epochs}
    if config.batch_size is not None:
        hyperparameters["batch_size"] = config.batch_size
    if config.learning_rate_multiplier is not None:
        hyperparameters["learning_rate_multiplier"] = config.learning_rate_multiplier
    job = sdk_client.fine_tuning.jobs.create(
        training_file=file.id,
        model=api_client.endpoint.model,
        seed=config.seed,
        suffix=config.suffix,
        hyperparameters=hyperparameters,
    )
    return job.id


def cancel_fine_tuning_jobs(api_client: OpenAIClient, folder: Path) -> list[str]:
    """Cancel the unfinished jobs that were started from a folder, and return their ids."""
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
        raise DataError("a fine-tuning job was requested without examples; give some.")
    completions: dict[str, str] = {}
    for example in examples:
        if completions.setdefault(example.prompt, example.completion) != example.completion:
            raise DataError(f"the prompt {example.prompt[:60]!r} has two different completions; keep one.")


def _line(example: ChatExample) -> dict[str, Json]:
    return {
        "messages": [{"role": "user", "content": example.prompt}, {"role": "assistant", "content": example.completion}]
    }


def _save_job_record(job_file: Path, job_record: JobRecord) -> None:
    job_file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(job_file, json.dumps(job_record, indent=2) + "\n")
