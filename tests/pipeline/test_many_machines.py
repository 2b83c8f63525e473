"""Runs on several machines that share a store: every step is made once, waited for, and taken over from the dead.

A second machine is a process with another host's name, for which the kernel's locks do not exist: so is a machine
to others over NFS with local locks.
"""

import json
import os
import re
import signal
import time

import pytest

NODE = """
import errno, fcntl, os, socket

def refuse(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

socket.gethostname = lambda: "{host}"
fcntl.flock = refuse
import nosce.store.lease
nosce.store.lease.HEARTBEAT_SECONDS, nosce.store.lease.LOST_SECONDS = 0.3, {lost}
"""


@pytest.fixture
def node(tmp_path):
    """Makes the environment of a process of another machine; its workers inherit it."""

    def make(host, lost=180.0):
        folder = tmp_path / host
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(NODE.format(host=host, lost=lost))
        return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}

    return make


def made(text):
    """How many steps a run says that it has made."""
    return int(match[1]) if (match := re.search(r"(\d+) steps? made in", text)) else 0


@pytest.mark.whole
def test_two_machines_make_every_step_once_and_both_end_with_the_claims(nosce, little, tmp_path, node):
    """Neither has an error to tell; together they have made what one alone makes, and nothing was made twice."""
    store = tmp_path / "store"
    words = ("run", little("one_arm"), "--scale", "smoke", "--workers", "1", "--store", store)
    runs = [nosce.start(*words, **node(host)) for host in ("node1", "node2")]
    outputs = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert all("recalled" in stdout for stdout, _ in outputs)
    assert not any(stderr for _, stderr in outputs)
    steps = [path for path in (store / "steps").iterdir() if not path.name.startswith(".")]
    [plan] = (store / "plans").glob("*.json")
    assert {path.name for path in steps} == set(json.loads(plan.read_text(encoding="utf-8"))["steps"])
    assert sum(made(stdout) for stdout, _ in outputs) == len(steps)
    assert not (store / "replaced").exists()
    assert not (store / "damaged").exists()
    assert {path.suffix for path in (store / "leases").iterdir()} == {".lock"}


@pytest.mark.slow
def test_a_machine_that_dies_is_seen_to_be_silent_and_its_step_goes_on_elsewhere(nosce, little, tmp_path, node):
    """`nosce explain` names the maker, the waiting run says whom it waits for, and takes over when it is silent."""
    store = tmp_path / "store"
    words = ("run", little("long"), "--scale", "smoke", "--workers", "1", "--store", store)
    first = nosce.start(*words, **node("node1"))
    deadline = time.monotonic() + 120
    while not (states := list(store.glob("work/training-*/scratch/state.safetensors"))):
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    name = states[0].parts[-3]
    explained = nosce("explain", name, "--store", store).stdout
    assert re.match(rf"{name}: being made by node1:\d+ since .*; last sign of life \d+ s ago\.\n", explained)
    assert json.loads(nosce("explain", name, "--json", "--store", store).stdout)["maker"].startswith("being made by no")

    ended = nosce(*words, **node("node2", lost=3.0))
    assert ended.returncode == 0, ended.stderr
    assert re.search(rf"{name} is being made by node1:\d+ since .*; this run waits for it\.", ended.stdout)
    assert re.search(
        r"training: .* is taken over from node1:\d+ since .*; last sign of life [345] s ago\.", ended.stdout
    )
    assert not (store / "replaced").exists()
