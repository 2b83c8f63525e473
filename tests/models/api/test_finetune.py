"""Fine-tuning jobs at endpoints: however a job ends, it is never started twice where it may be paid for."""

from __future__ import annotations

import base64
import json

import pytest

from nosce.errors import StoreError
from nosce.models.api.endpoint import EndpointConfig
from nosce.models.api.failures import EndpointError
from nosce.models.api.finetune import ChatExample, FineTuningJobConfig, run_fine_tuning_job
from nosce.models.api.openai import OpenAIClient

pytest.importorskip("httpx2")
KEY = "sk-very-secret-0123456789"


def asker(server) -> OpenAIClient:
    """One that does not sleep."""
    return OpenAIClient(EndpointConfig(model="m", base_url=server.url, timeout=5.0), sleep=lambda seconds: None)


def tuned(server, folder) -> str:
    """The model that was tuned on one example."""
    return run_fine_tuning_job(
        asker(server), [ChatExample("p", "r")], FineTuningJobConfig(), folder, sleep=lambda seconds: None
    )


def noted(folder) -> dict[str, str]:
    """What the one note about a job says."""
    (note,) = folder.glob("tuning-*.json")
    return json.loads(note.read_text(encoding="utf-8"))


def test_a_model_is_tuned_and_a_job_is_never_begun_twice(server, tmp_path):
    """Interrupted while it waits, the next run goes on with the same job; the file has the examples."""

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    examples = [ChatExample("p1", "r1"), ChatExample("p2", "r2")]
    with pytest.raises(KeyboardInterrupt):
        run_fine_tuning_job(
            asker(server), examples, FineTuningJobConfig(learning_rate_multiplier=2.0), tmp_path, sleep=stop
        )
    assert (
        run_fine_tuning_job(
            asker(server), examples, FineTuningJobConfig(learning_rate_multiplier=2.0), tmp_path, sleep=lambda s: None
        )
        == "ft:m:nosce"
    )
    assert (
        run_fine_tuning_job(
            asker(server), examples, FineTuningJobConfig(learning_rate_multiplier=2.0), tmp_path, sleep=stop
        )
        == "ft:m:nosce"
    )
    assert server.begun == 1
    assert b'"content": "r2"' in server.files[0]
    assert server.bodies[-1]["hyperparameters"] == {"n_epochs": 1, "learning_rate_multiplier": 2.0}


@pytest.mark.parametrize("end", ["failed", "cancelled", "canceled"])
def test_a_job_that_ends_badly_is_said(server, tmp_path, end):
    """And the next attempt begins another."""
    server.jobs = ["running", end]
    with pytest.raises(EndpointError, match=f"{end} .*run again to start another"):
        run_fine_tuning_job(
            asker(server), [ChatExample("p", "r")], FineTuningJobConfig(), tmp_path, sleep=lambda s: None
        )
    server.jobs = ["succeeded"]
    assert (
        run_fine_tuning_job(
            asker(server), [ChatExample("p", "r")], FineTuningJobConfig(), tmp_path, sleep=lambda s: None
        )
        == "ft:m:nosce"
    )
    assert server.begun == 2


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'{"id": 7}', b'{"object": "list", "data": []}', b""])
def test_a_job_without_an_id_is_not_begun(server, tmp_path, body):
    """It may have been begun all the same, so that it is not asked for twice."""
    server.job_body = body
    with pytest.raises(EndpointError, match="may or may not have been done"):
        run_fine_tuning_job(asker(server), [ChatExample("p", "r")], FineTuningJobConfig(), tmp_path)
    assert server.begun == 1
    assert noted(tmp_path) == {"file": "file-1"}  # the next run looks for its job


def test_a_job_that_is_looked_at_in_vain_is_looked_at_again(server, tmp_path):
    """A bad reply is no end of a job; a damaged note is said."""
    server.jobs = ["500", "nonsense", "succeeded"]
    assert run_fine_tuning_job(asker(server), [ChatExample("p", "r")], FineTuningJobConfig(), tmp_path) == "ft:m:nosce"
    (note,) = tmp_path.glob("tuning-*.json")
    note.write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        run_fine_tuning_job(asker(server), [ChatExample("p", "r")], FineTuningJobConfig(), tmp_path)
    assert server.begun == 1


@pytest.mark.parametrize("echo", [KEY, f"Bearer {KEY}", base64.b64encode(f"u:{KEY}".encode()).decode(), KEY[:20]])
def test_a_server_without_files_that_echoes_the_key_is_said_without_it(server, tmp_path, echo):
    server.files_status, server.files_echo = 404, echo
    with pytest.raises(EndpointError, match=r"has no fine-tuning jobs \(status 404") as error:
        run_fine_tuning_job(asker(server), [ChatExample("p", "r")], FineTuningJobConfig(), tmp_path)
    assert echo not in str(error.value)
    assert "--set teach=no" in str(error.value)


@pytest.mark.parametrize("status", [408, 500, 502, 504, 520, 524, 529])
def test_a_job_that_may_have_been_started_is_not_started_again(server, tmp_path, status):
    """A gateway's time-out does not say that the endpoint did nothing; two jobs would be paid for."""
    server.job_statuses = [status]
    with pytest.raises(EndpointError, match=f"may or may not have been done .*status {status}"):
        tuned(server, tmp_path)
    assert server.begun == 1
    assert noted(tmp_path) == {"file": "file-1"}


def begun_job(number: int, file: str, status: str = "running") -> dict[str, str]:
    """A job as an endpoint lists it."""
    return {"id": f"ftjob-{number}", "training_file": file, "status": status}


def test_a_job_whose_start_nobody_heard_of_is_found_in_the_list(server, tmp_path):
    """The process died, or a gateway did, after the endpoint had begun: the job is paid for once."""
    server.job_statuses, server.jobs = [504], ["succeeded"]
    with pytest.raises(EndpointError, match="run again to look for it in the endpoint's own list"):
        tuned(server, tmp_path)
    server.page_size = 2
    server.listed = [begun_job(9, "another"), {"id": "odd"}, begun_job(3, "file-1", "failed"), begun_job(2, "file-1")]
    assert tuned(server, tmp_path) == "ft:m:nosce"
    assert (server.begun, len(server.files)) == (1, 1)
    assert noted(tmp_path) == {"job": "ftjob-2", "model": "ft:m:nosce"}


@pytest.mark.parametrize("listed", [[], [begun_job(9, "another")], [begun_job(3, "file-1", "cancelled")]])
def test_a_job_that_is_in_no_list_is_started(server, tmp_path, listed):
    """The process died before the endpoint heard of the job, or the job failed meanwhile."""
    server.job_statuses, server.jobs = [504], ["succeeded"]
    with pytest.raises(EndpointError):
        tuned(server, tmp_path)
    server.listed = listed
    assert tuned(server, tmp_path) == "ft:m:nosce"
    assert server.begun == 2


def test_a_job_that_may_have_been_started_by_a_server_without_a_list_is_for_a_person(server, tmp_path):
    """One sentence names the file, and the note that is to be written or deleted."""
    server.job_statuses, server.jobs, server.listed = [504], ["succeeded"], None
    with pytest.raises(EndpointError):
        tuned(server, tmp_path)
    with pytest.raises(EndpointError, match=r"job of m with the file file-1 may have been .* 404: no list"):
        tuned(server, tmp_path)
    assert server.begun == 1
    (note,) = tmp_path.glob("tuning-*.json")
    note.write_text('{"job": "ftjob-1"}', encoding="utf-8")
    assert tuned(server, tmp_path) == "ft:m:nosce"
    assert server.begun == 1


@pytest.mark.parametrize("status", [400, 404, 501])
def test_a_job_that_was_refused_leaves_no_note(server, tmp_path, status):
    """It was not started, and the next run has nothing to look for."""
    server.job_statuses = [status]
    with pytest.raises(EndpointError):
        tuned(server, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("status", [409, 425, 429, 503])
def test_a_job_that_was_not_started_is_started_again(server, tmp_path, status):
    """The endpoint says that it did nothing yet."""
    server.job_statuses = [status]
    assert tuned(server, tmp_path) == "ft:m:nosce"
    assert server.begun == 2


@pytest.mark.parametrize("unnamed", ["succeeded without a model", "succeeded with an empty name"])
def test_a_job_without_the_name_of_its_model_is_kept(server, tmp_path, unnamed):
    """It was paid for: it is looked at a few more times, then it is said, and the next run looks at it again."""
    server.jobs = ["running", unnamed, unnamed, "succeeded"]
    assert tuned(server, tmp_path / "late") == "ft:m:nosce"
    server.jobs = [unnamed]
    for _ in range(2):
        with pytest.raises(EndpointError, match=r"job ftjob-1 has succeeded, but .* run again to look at it again"):
            tuned(server, tmp_path)
        (note,) = tmp_path.glob("tuning-*.json")
        assert json.loads(note.read_text(encoding="utf-8")) == {"job": "ftjob-1"}
    server.jobs = ["succeeded"]
    assert tuned(server, tmp_path) == "ft:m:nosce"
    assert server.begun == 2  # one in each folder
