"""Fine-tuning over OpenAI's protocol: a file, a job, and every way in which a job can end.

The calls are those of OpenAI's API for files and fine-tuning jobs. The released code of arXiv:2410.13787 knew the
status "succeeded" alone, so it waited for a failed job forever.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from nosce.errors import DataError, StoreError
from nosce.models.api.failures import EndpointError, MaybeDoneError, RefusedRouteError
from nosce.models.api.openai import OpenAIClient
from nosce.models.api.protocol import NotAnAnswerError
from nosce.store.files import JsonObject, write_atomically
from nosce.store.spec import Json, describe, hash_description

JobRecord = dict[str, str]  # "file" once the examples are uploaded, then "job", and "model" once it has succeeded

JOBS_ROUTE = "/fine_tuning/jobs"
FAILED_JOB_STATUSES = ("failed", "cancelled", "canceled")  # OpenAI's words, and a spelling of Azure
JOBS_PER_PAGE = 100  # of the endpoint's list of jobs, the newest first
MAX_JOB_PAGES = 50
MAX_UNNAMED_POLLS = 10  # of a job that has succeeded without the name of its model; 3 minutes at the default pace


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
        ends: Whether the reply ends there. False: it was cut, and its end is not to be learnt.
    """

    prompt: str
    completion: str
    ends: bool = True

    @property
    def key(self) -> list[Json]:
        """The example as a key names it."""
        return [self.prompt, self.completion, *([] if self.ends else ["cut"])]


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

    A process may die between the start of a job and the endpoint's word of it. So the id of the uploaded file is kept
    before the job is started, and the next run looks for a job of this file in the endpoint's list.

    Args:
        api_client: The endpoint and its model.
        examples: The training examples.
        config: The job's configuration.
        folder: Gets a file with the ids of the examples, the job and the model, from which an interrupted run resumes.
        poll_seconds: Seconds between two requests for the job's status.
        sleep: Waits so many seconds; tests replace it.

    Raises:
        DataError: There are no examples, or a prompt has two different completions.
        EndpointError: The job failed or was cancelled, or may have been started and is in no list, or the endpoint does
            not name the model of a job that succeeded.
    """
    _check_examples(examples)
    key = hash_description(
        {
            "model": api_client.model_id,
            "how": describe(config),
            "examples": [example.key for example in examples],
        }
    )
    job_file = folder / f"tuning-{key[:20]}.json"
    job_record = _load_job_record(job_file) if job_file.exists() else {}
    if "job" not in job_record:
        job_id = _find_job(api_client, job_record, job_file) or _start_job(api_client, examples, config, job_file)
        job_record = {"job": job_id}
        _save_job_record(job_file, job_record)
    if "model" not in job_record:
        job_record["model"] = _wait_for_model(api_client, job_record["job"], job_file, wait=lambda: sleep(poll_seconds))
        _save_job_record(job_file, job_record)
    return job_record["model"]


def _wait_for_model(api_client: OpenAIClient, job_id: str, job_file: Path, *, wait: Callable[[], None]) -> str:
    """The name of the model that a job makes.

    Raises:
        EndpointError: The job failed or was cancelled, so that its file is deleted; or it succeeded, and its model has
            no name, so that its file is kept: the job is paid for.
    """
    unnamed_polls = 0
    while True:
        job = api_client.call("GET", _job_route(job_id), _parse_job)
        if job.status in FAILED_JOB_STATUSES:
            job_file.unlink()  # so that the next attempt starts another job
            raise EndpointError(
                f"the fine-tuning job {job_id} {job.status} ({api_client.redactor().message(job.reason)}); run again "
                "to start another."
            )
        if job.status == "succeeded":
            if job.model:
                return job.model
            unnamed_polls += 1
            if unnamed_polls > MAX_UNNAMED_POLLS:
                raise EndpointError(
                    f"the fine-tuning job {job_id} has succeeded, but the endpoint does not name its model; the job is "
                    f"kept in {job_file}, so run again to look at it again, or look at the endpoint's own list."
                )
        wait()


def _find_job(api_client: OpenAIClient, job_record: JobRecord, job_file: Path) -> str | None:
    """The id of the job that an earlier run may have started; None where there is none that did not fail.

    Raises:
        EndpointError: The endpoint gives no list of its jobs.
    """
    if "file" not in job_record:
        return None
    after = ""
    try:
        for _ in range(MAX_JOB_PAGES):
            route = f"{JOBS_ROUTE}?limit={JOBS_PER_PAGE}{after}"
            page = api_client.call("GET", route, _parse_job_page)
            for job in page.jobs:
                if job.file == job_record["file"] and job.status not in FAILED_JOB_STATUSES:
                    return job.id
            if not page.has_more or not page.jobs:
                return None
            after = f"&after={quote(page.jobs[-1].id, safe='')}"
        reason = f"its list is longer than {MAX_JOB_PAGES * JOBS_PER_PAGE:,} jobs"
    except EndpointError as error:
        reason = error.reason if isinstance(error, RefusedRouteError) else str(error)
    raise EndpointError(
        f"a fine-tuning job of {api_client.endpoint.model} with the file {job_record['file']} may have been started by "
        f"an earlier run, and the endpoint does not say whether it was ({reason}); look at its own list, then write "
        f'{{"job": "ITS-ID"}} into {job_file}, or delete this file to start the job.'
    )


def _start_job(
    api_client: OpenAIClient, examples: Sequence[ChatExample], config: FineTuningJobConfig, job_file: Path
) -> str:
    """Upload the examples, keep the file's id, start a job, and return the job's id.

    Raises:
        EndpointError: The endpoint has no fine-tuning jobs, refused this one, or may have started it without saying so.
    """
    hyperparameters: dict[str, Json] = {"n_epochs": config.epochs}
    if config.batch_size is not None:
        hyperparameters["batch_size"] = config.batch_size
    if config.learning_rate_multiplier is not None:
        hyperparameters["learning_rate_multiplier"] = config.learning_rate_multiplier
    try:
        file_id = api_client.call("POST", "/files", _parse_id, upload=_upload(examples))
        body: dict[str, Json] = {
            "training_file": file_id,
            "model": api_client.endpoint.model,
            "seed": config.seed,
            "suffix": config.suffix,
            "hyperparameters": hyperparameters,
        }
        _save_job_record(job_file, {"file": file_id})
        return api_client.call("POST", JOBS_ROUTE, _parse_id, body=body, is_repeatable=False)
    except MaybeDoneError:
        raise  # the next run looks for the job
    except RefusedRouteError as error:
        job_file.unlink(missing_ok=True)
        raise EndpointError(
            f"the endpoint of {api_client.endpoint.model} has no fine-tuning jobs ({error.reason}); what needs none "
            "was asked and is kept, and jobs=no behind it in --model, or --set teach=no, reports that alone."
        ) from None
    except EndpointError:
        job_file.unlink(missing_ok=True)  # no job was started
        raise


@dataclass(frozen=True)
class _Job:
    status: str
    model: str | None
    reason: str


def _parse_id(found: JsonObject) -> str:
    if not isinstance(found.get("id"), str) or not found["id"]:
        raise NotAnAnswerError("a reply without an id")
    return str(found["id"])


def _parse_job(found: JsonObject) -> _Job:
    """The state of a job. A job has an error that is null, or one with a message."""
    status, model, error = (found.get(name) for name in ("status", "fine_tuned_model", "error"))
    if not isinstance(status, str) or not (model is None or isinstance(model, str)):
        raise NotAnAnswerError("a reply that is no fine-tuning job")
    message = error.get("message") if isinstance(error, dict) else None
    return _Job(status, model, message if isinstance(message, str) and message else "no reason was given")


@dataclass(frozen=True)
class _ListedJob:
    id: str
    file: str
    status: str


@dataclass(frozen=True)
class _JobPage:
    jobs: tuple[_ListedJob, ...]
    has_more: bool


def _parse_job_page(found: JsonObject) -> _JobPage:
    """A page of the list of jobs. Jobs of other kinds, which lack one of the three, are none of ours."""
    entries = found.get("data")
    if not isinstance(entries, list):
        raise NotAnAnswerError("a reply that is no list of fine-tuning jobs")
    jobs = []
    for entry in entries:
        values = [entry.get(name) for name in ("id", "training_file", "status")] if isinstance(entry, dict) else []
        if values and all(isinstance(value, str) and value for value in values):
            jobs.append(_ListedJob(*map(str, values)))
    return _JobPage(tuple(jobs), found.get("has_more") is True)


def _job_route(job_id: str) -> str:
    return f"{JOBS_ROUTE}/{quote(job_id, safe='')}"


def _upload(examples: Sequence[ChatExample]) -> tuple[str, bytes]:
    """The content type and the bytes of the form with the examples; its boundary is none of their lines."""
    lines = "".join(json.dumps(_line(e)) + "\n" for e in examples)
    boundary = f"nosce-{hash_description(lines)[:40]}"
    fields = (
        ('form-data; name="purpose"', "fine-tune"),
        ('form-data; name="file"; filename="train.jsonl"\r\nContent-Type: application/octet-stream', lines),
    )
    parts = [f"--{boundary}\r\nContent-Disposition: {head}\r\n\r\n{text}\r\n" for head, text in fields]
    return f"multipart/form-data; boundary={boundary}", ("".join(parts) + f"--{boundary}--\r\n").encode()


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


def _load_job_record(job_file: Path) -> JobRecord:
    """The ids of a job and its model.

    Raises:
        StoreError: The file is damaged.
    """
    try:
        found = json.loads(job_file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise StoreError(f"{job_file}, which names a fine-tuning job, cannot be read; mend it, or delete it.")
    return found


def _save_job_record(job_file: Path, job_record: JobRecord) -> None:
    job_file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(job_file, json.dumps(job_record, indent=2) + "\n")
