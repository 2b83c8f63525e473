"""Ray makes the same steps by the same functions, so it makes the same bytes."""

import importlib.util
import json
import time
from pathlib import Path

import pytest

from nosce.errors import UsageError
from nosce.pipeline.devices import DeviceRequest
from nosce.pipeline.ray_pool import RayPool
from nosce.pipeline.step import Step
from nosce.pipeline.steps.experiment import ExperimentStepSpec
from nosce.seeds import Seed
from nosce.store.store import Store
from nosce.train.config import RuntimeConfig

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="until the extra `ray` is installed"),
]


def bytes_of(store: Path) -> dict[str, bytes]:
    """Weights and readings of a store, by place."""
    files = [*store.glob("steps/*/**/*.safetensors"), *store.glob("steps/*/readings.parquet")]
    return {str(file.relative_to(store)): file.read_bytes() for file in files}


def test_a_ray_cluster_makes_what_local_workers_make(nosce, little, little_store, tmp_path):
    """A one-arm study on a local Ray cluster ends with the weights and readings of local processes."""
    done = nosce.anew("run", little("one_arm"), "--scale", "smoke", "--ray", "local", "--store", tmp_path / "ray")
    assert done.returncode == 0, done.stderr
    made = bytes_of(tmp_path / "ray")
    assert made
    assert made == bytes_of(little_store)


@pytest.fixture(scope="module")
def cluster():
    """Two nodes on this machine, each of which claims two GPUs and four cores."""
    from ray.cluster_utils import Cluster

    size = {"num_cpus": 4, "num_gpus": 2, "object_store_memory": 80 * 2**20, "memory": 8 * 2**30}
    cluster = Cluster(initialize_head=True, head_node_args=size)
    cluster.add_node(**size)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def reports(monkeypatch):
    """The module of the steps that report where they run, where the workers find it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "fixtures"))
    import device_reports

    return device_reports


def ended(pool, number, seconds=400):
    limit, events = time.monotonic() + seconds, []
    while len(events) < number:
        assert time.monotonic() < limit
        events += pool.events(0.5)
    return events


def report_step(reports, number, seconds=2.0):
    experiment = reports.DeviceReport(name=f"report-{number}", seconds=seconds)
    return Step(kind="experiment", spec=ExperimentStepSpec(experiment=experiment, seed=Seed(0)))


@pytest.mark.parametrize("per_gpu", [1, 3])
def test_eight_tasks_on_four_gpus_and_none_beyond_its_share(cluster, reports, tmp_path, per_gpu):
    """Each task sees one GPU of its node, and no GPU has more than `per_gpu` tasks at once."""
    store = Store.open(tmp_path / "store")
    pool = RayPool(cluster.address, store, RuntimeConfig(), DeviceRequest(per_gpu=per_gpu))
    steps = [report_step(reports, number) for number in range(8)]
    try:
        for step in steps:
            pool.submit(step, rerun_stale=False)
        events = ended(pool, 8)
        assert [(event.kind, event.detail) for event in events] == [("made", None)] * 8
    finally:
        pool.close()
    made = [json.loads((store.folder(step.name) / "report.json").read_text()) for step in steps]
    assert {report["gpus"] for report in made} == {"0", "1"}
    assert {report["device"] for report in made} == {"cuda"}
    assert {report["workspace"] for report in made} == {":4096:8"}  # without it torch refuses products on a GPU
    most = reports.most_at_once(made)
    assert max(most.values()) <= per_gpu
    assert per_gpu > 1 or len(most) == 4


def test_on_the_cpu_no_task_asks_for_a_gpu(cluster, reports, tmp_path):
    """`--device cpu` computes on the CPU of the nodes and sees none of their GPUs."""
    store = Store.open(tmp_path / "store")
    pool = RayPool(cluster.address, store, RuntimeConfig(), DeviceRequest(device="cpu"))
    step = report_step(reports, 0, 0.0)
    try:
        pool.submit(step, rerun_stale=False)
        assert ended(pool, 1)[0].kind == "made"
    finally:
        pool.close()
    made = json.loads((store.folder(step.name) / "report.json").read_text())
    assert (made["gpus"], made["device"]) == ("", "cpu")


def test_what_no_node_has_fails_at_once_and_a_store_of_its_own_is_seen(cluster, reports, tmp_path, monkeypatch):
    """A task that asks for too much would wait for ever; a node without the shared disk would make a store."""
    store = Store.open(tmp_path / "store")
    pool = RayPool(cluster.address, store, RuntimeConfig(threads=5), DeviceRequest())
    try:
        pool.submit(report_step(reports, 0), rerun_stale=False)
        (event,) = ended(pool, 1)
        assert (event.kind, "no node of the cluster has as much" in event.detail) == ("failed", True)
    finally:
        pool.close()
    pool = RayPool(cluster.address, store, RuntimeConfig(), DeviceRequest())
    try:
        pool.store = Store.open(tmp_path / "another disk")
        pool.submit(report_step(reports, 0), rerun_stale=False)
        (event,) = ended(pool, 1)
        assert (event.kind, "does not see the store" in event.detail) == ("failed", True)
    finally:
        pool.close()


def test_a_device_of_one_machine_is_refused(cluster, tmp_path):
    """Which GPU a task gets is Ray's business."""
    with pytest.raises(UsageError, match="names a device of one machine"):
        RayPool(cluster.address, Store.open(tmp_path / "store"), RuntimeConfig(), DeviceRequest(device="cuda:1"))


def test_an_address_where_nobody_listens_is_refused_at_once(tmp_path):
    """Ray itself would go on asking for five minutes."""
    started = time.monotonic()
    with pytest.raises(UsageError, match=r"no Ray cluster answers at '127\.0\.0\.1:9'"):
        RayPool("127.0.0.1:9", Store.open(tmp_path / "store"), RuntimeConfig(), DeviceRequest())
    assert time.monotonic() - started < 60
