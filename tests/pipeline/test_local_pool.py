"""Worker processes mind their parent's orders alone, and none outlives the pool."""

import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from nosce.data.tokenizer import TokenizerSpec
from nosce.pipeline import local_pool as workers
from nosce.pipeline.devices import DeviceRequest, assign_devices
from nosce.pipeline.local_pool import LocalPool
from nosce.pipeline.step import Step
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.steps.experiment import ExperimentStepSpec
from nosce.seeds import Seed
from nosce.store.store import Store
from nosce.train.config import RuntimeConfig


@pytest.fixture
def pool(tmp_path):
    """A pool of one worker on a fresh store."""
    pool = LocalPool(Store.open(tmp_path / "store"), 1, RuntimeConfig())
    yield pool
    for child in multiprocessing.active_children():
        child.kill()
        child.join()


def corpus(world, seed=0):
    spec = CorpusSpec(world=world, seed=Seed(seed), tokenizer=TokenizerSpec())
    return Step(kind="corpus", spec=spec, label=f"corpus {seed}")


def ended(pool, seconds=60.0, meanwhile=lambda: None):
    """The event with which the step in hand ends."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        for event in pool.events(0.01):
            if event.kind != "progress":
                return event
        meanwhile()
    raise AssertionError("the worker said nothing")


def test_a_worker_does_not_mind_an_interrupt_that_is_meant_for_its_parent(pool, dozen):
    """Ctrl-C reaches every process of a terminal; what it means the parent decides, from a worker's first moment."""
    pool.submit(corpus(dozen), rerun_stale=False)
    (worker,) = [one.process for one in pool._workers]

    def interrupt():
        if worker.is_alive():
            os.kill(worker.pid, signal.SIGINT)

    event = ended(pool, meanwhile=interrupt)
    assert event.kind == "made", event
    pool.close()


def test_no_worker_outlives_its_pool(pool, dozen):
    """Closing ends a worker that waits for work and one that has work in hand."""
    step = corpus(dozen)
    pool.submit(step, rerun_stale=False)
    assert ended(pool).kind == "made"
    assert pool.free_slots == 1
    (worker,) = [one.process for one in pool._workers]
    pool.submit(corpus(dozen, 1), rerun_stale=False)
    pool.close()

    assert not worker.is_alive()
    assert worker not in multiprocessing.active_children()
    assert pool.store.has(step.name)


def test_a_worker_that_dies_at_work_fails_its_step_and_the_pool_goes_on(pool, dozen):
    """The step that a killed worker had in hand is told as failed; the next step gets a new worker."""
    pool.submit(corpus(dozen), rerun_stale=False)
    (worker,) = [one.process for one in pool._workers]
    worker.kill()
    event = ended(pool)
    pool.submit(corpus(dozen, 1), rerun_stale=False)

    assert event.kind == "failed"
    assert "ended by SIGKILL" in event.detail
    assert ended(pool).kind == "made"
    pool.close()


def test_a_worker_that_dies_while_it_waits_is_replaced(pool, dozen):
    """An idle worker that the system ended costs nothing but a new start."""
    pool.submit(corpus(dozen), rerun_stale=False)
    assert ended(pool).kind == "made"
    (worker,) = [one.process for one in pool._workers]
    worker.kill()
    worker.join()
    pool.submit(corpus(dozen, 1), rerun_stale=False)

    assert ended(pool).kind == "made"
    pool.close()


def threads_of(connection):
    """How many threads the libraries of this process compute with."""
    import numpy
    import polars
    from threadpoolctl import threadpool_info

    numpy.ones((2, 2)) @ numpy.ones((2, 2))
    connection.send([polars.thread_pool_size(), *(found["num_threads"] for found in threadpool_info())])


def test_libraries_in_a_worker_compute_with_the_threads_it_was_given(monkeypatch):
    """Also those that look for the number when they are imported; and the parent keeps its own."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("POLARS_MAX_THREADS", "7")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=threads_of, args=(theirs,))
    with workers._worker_environment(1):
        process.start()
    theirs.close()
    assert ours.poll(60)
    assert set(ours.recv()) == {1}
    process.join()
    assert "OMP_NUM_THREADS" not in os.environ
    assert os.environ["POLARS_MAX_THREADS"] == "7"


@pytest.fixture
def report_step(monkeypatch):
    """A step that reports where it runs."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "fixtures"))
    from device_reports import DeviceReport

    def step(number, seconds=0.5):
        experiment = DeviceReport(name=f"report-{number}", seconds=seconds)
        return Step(kind="experiment", spec=ExperimentStepSpec(experiment=experiment, seed=Seed(0)))

    return step


def report(store, step):
    return json.loads((store.folder(step.name) / "report.json").read_text())


@pytest.mark.slow
def test_every_worker_has_its_gpu_before_torch_is_imported(tmp_path, report_step):
    """Two GPUs with two workers each are seen by two workers each; torch in a worker calls its GPU `cuda`."""
    store = Store.open(tmp_path / "store")
    request = DeviceRequest(per_gpu=2)
    devices = assign_devices(request, ("GPU-a", "GPU-b"), 8)
    pool = LocalPool(store, devices.n_workers, RuntimeConfig(device=devices.device), devices.visible_gpus)
    steps = [report_step(number, seconds=15.0) for number in range(4)]
    for step in steps:
        pool.submit(step, rerun_stale=False)
    assert pool.free_slots == 0
    assert [ended(pool).kind for _ in steps] == ["made"] * 4
    reports = [report(store, step) for step in steps]
    assert Counter(r["gpus"] for r in reports) == {"GPU-a": 2, "GPU-b": 2}
    assert {r["device"] for r in reports} == {"cuda"}
    assert len({r["pid"] for r in reports}) == 4
    pool.close()


@pytest.mark.whole
def test_a_worker_takes_the_gpu_of_the_one_it_replaces(tmp_path, report_step):
    """Of two workers the first dies; the new one does not join the second on its GPU."""
    store = Store.open(tmp_path / "store")
    pool = LocalPool(store, 2, RuntimeConfig(device="cuda"), ("GPU-a", "GPU-b"))
    first, second, third = (report_step(number, seconds) for number, seconds in enumerate((60.0, 20.0, 0.0)))
    pool.submit(first, rerun_stale=False)
    pool.submit(second, rerun_stale=False)
    pool._workers[0].process.kill()
    assert ended(pool).kind == "failed"
    pool.submit(third, rerun_stale=False)
    while (event := ended(pool)).step_name != third.name:
        assert event.kind == "made"
    assert report(store, third)["gpus"] == "GPU-a"
    pool.close()
