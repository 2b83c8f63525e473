"""Ray makes the same steps by the same functions, so it makes the same bytes."""

import importlib.util
from pathlib import Path

import pytest

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
    done = nosce("run", little("one_arm"), "--scale", "smoke", "--ray", "local", "--store", tmp_path / "ray")
    assert done.returncode == 0, done.stderr
    made = bytes_of(tmp_path / "ray")
    assert made
    assert made == bytes_of(little_store)
