"""Kill it anywhere: the same command goes on, and what it ends with is what it would have ended with."""

import json
import os
import shutil
import signal
import time

import pytest

from nosce.train.config import RuntimeConfig


def data(store):
    """Every byte that steps have made: weights, tokens, tables and metrics, all but when and where they were made."""
    return {
        path.relative_to(store): path.read_bytes()
        for path in sorted((store / "steps").rglob("*"))
        if path.is_file() and path.name not in ("provenance.json", "manifest.json")
    }


def killed(process, happened, seconds=240.0):
    """Send SIGKILL to the command and all its workers as soon as something has happened."""
    limit = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, f"it ended too early: {process.communicate()}"
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def step(store, what):
    """The name of the planned step that does this, e.g. `recall after pretrain`."""
    for plan in (store / "plans").glob("*.json"):
        for name, planned in json.loads(plan.read_text(encoding="utf-8"))["steps"].items():
            if planned["label"].endswith(what):
                return name
    return "not planned yet"


@pytest.mark.whole
def test_a_study_killed_in_training_and_in_evaluation_ends_with_the_same_bytes(nosce, little, tmp_path, monkeypatch):
    """Killed with -9 in the middle of training and again in the middle of reading, then run again.

    Weights, metrics and readings are those of a run that nobody disturbed, byte for byte.
    """
    words = ("run", little("long"), "--scale", "smoke", "--workers", "1", "--store")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    monkeypatch.setattr(RuntimeConfig.__init__, "__kwdefaults__", dict(RuntimeConfig.__init__.__kwdefaults__))
    undisturbed = nosce.here(*words, whole)

    def killed_in(what, begun):
        """The name of a step in whose middle the command was killed."""
        for _ in range(10):
            killed(nosce.start(*words, parts), lambda: any(parts.glob(begun)))
            name = step(parts, what)
            if not (parts / "steps" / name).exists():
                break
            shutil.rmtree(parts / "steps" / name)  # on a busy machine it was done before it was killed
        assert (parts / "work" / name).is_dir()
        assert not (parts / "steps" / name).exists()
        return name

    training = killed_in("only, seed 0, pretrain", "work/training-*/scratch/state.safetensors")
    killed_in("recall after pretrain", f"work/{step(parts, 'recall after pretrain')}")
    assert (parts / "steps" / training).is_dir()

    ended = nosce(*words, parts)
    assert (ended.returncode, undisturbed.returncode) == (0, 0), ended.stderr + undisturbed.stderr
    assert data(parts) == data(whole)
    assert {path.suffix for path in data(whole)} >= {".safetensors", ".parquet", ".jsonl"}
    assert not any((parts / "work").iterdir())
    assert ended.stdout.partition("claims\n")[2] == undisturbed.stdout.partition("claims\n")[2]
