"""Several processes train what one trains, stop together, and leave nobody behind."""

import json
import multiprocessing
import os
import time
from types import SimpleNamespace

import numpy as np
import pytest

from nosce.data.packing import dataset_from_arrays
from nosce.data.sampling import EpochSampler
from nosce.errors import NosceError, SpecError, TrainingError, UsageError
from nosce.models.architecture import Architecture, build_model
from nosce.seeds import Seed
from nosce.train import checkpoint, loop
from nosce.train.config import RuntimeConfig, TrainingConfig
from nosce.train.parallel import ProcessGroup, run_processes

VOCABULARY, END = 30, 0
APART = TrainingConfig(steps=10, batch_size=3, peak_lr=5e-3, checkpoint_fractions=(0.6, 1.0))
ROWS = TrainingConfig(
    steps=10,
    batch_size=6,
    window=24,
    grad_accum_steps=2,
    peak_lr=5e-3,
    prompt_loss_weight=0.3,
    checkpoint_fractions=(0.6, 1.0),
)


def uneven():
    """Nine texts of 3 to 19 tokens, of which between none and all carry loss."""
    rng = Seed(1).numpy()
    return dataset_from_arrays(
        (np.append(rng.integers(4, VOCABULARY, size=2 + 2 * n), END).astype(np.int32), np.arange(3 + 2 * n) >= start)
        for n, start in enumerate([0, 2, 1, 9, 8, 0, 13, 1, 4])
    )


def train(folder, config, group=None, stop_at=None, send=lambda _: None, **runtime):
    """Train in a folder, and end with an error when the checkpoint after `stop_at` steps is due."""
    shape = Architecture(layers=2, width=32, heads=4, max_positions=64)
    model = build_model(shape, vocab_size=VOCABULARY, eos_id=END, pad_id=1, seed=Seed(0))

    def keep(step):
        if step == stop_at:
            raise NosceError("stopped")
        (folder / "none").mkdir(parents=True, exist_ok=True)
        checkpoint.save_checkpoint(model, folder / "none", folder / "checkpoints" / f"{step:07d}")

    texts = uneven()
    loop.train(
        model,
        texts,
        EpochSampler(len(texts), config.batch_size, Seed(0)),
        config,
        eos_id=END,
        folder=folder,
        on_checkpoint=keep,
        on_progress=lambda done, *_: send(("done", done)),
        runtime=RuntimeConfig(**runtime),
        group=group,
    )


def share(folder, config, stop_at, checkpointing, send):
    """What each process does; the clock stands still, so that every line of metrics is saved."""
    loop.time = SimpleNamespace(monotonic=lambda: 0.0)
    group = ProcessGroup.join("cpu")
    runtime = {"processes": group.size, "save_interval_seconds": 0.0, "gradient_checkpointing": checkpointing}
    train(folder, config, group, stop_at, send, **runtime)
    group.leave()


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def columns(folder, *names):
    return np.array([[line[name] for name in names] for line in metrics(folder)])


@pytest.mark.slow
@pytest.mark.parametrize("config", [APART, ROWS], ids=["apart", "rows"])
def test_two_processes_train_what_one_trains_also_when_resumed(tmp_path, config):
    """Losses and gradient norms agree to rounding; a stopped run of two ends with the bytes of one that was not."""
    heard = []
    run_processes(share, (tmp_path / "two", config, None, False), 2, heard.append)
    train(tmp_path / "one", config)
    both = [columns(tmp_path / name, "nats", "gradient_norm") for name in ("one", "two")]
    assert len(both[0]) == 10
    np.testing.assert_allclose(both[1], both[0], rtol=0, atol=1e-5)
    assert (columns(tmp_path / "one", "counted") == columns(tmp_path / "two", "counted")).all()
    assert heard == [("done", step) for step in range(1, 11)]

    with pytest.raises(NosceError, match="stopped"):
        run_processes(share, (tmp_path / "stopped", config, 6, True), 2, heard.append)
    again = []
    run_processes(share, (tmp_path / "stopped", config, None, False), 2, again.append)
    assert again == [("done", step) for step in range(6, 11)]
    for file in ("metrics.jsonl", "checkpoints/0000010/model.safetensors"):
        assert (tmp_path / "stopped" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert not multiprocessing.active_children()


def die(send):
    """The second process is killed while the first waits for it."""
    if os.environ["RANK"] == "1":
        os._exit(9)
    time.sleep(600)


@pytest.mark.whole
def test_one_that_dies_ends_them_all():
    """The others would wait for its gradients for ever."""
    started = time.monotonic()
    with pytest.raises(TrainingError, match=r"process 1 of 2 of the training ended without a word"):
        run_processes(die, (), 2, print)
    assert time.monotonic() - started < 60
    assert not multiprocessing.active_children()


def break_(send):
    """Something that is no user's mistake."""
    raise KeyError("of ours")


@pytest.mark.whole
def test_a_fault_of_ours_comes_with_its_traceback():
    """The step's error file then says where."""
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*in break_.*KeyError: 'of ours'"):
        run_processes(break_, (), 1, print)


def test_a_sharded_model_is_refused(monkeypatch):
    """accelerate's environment may ask for what the loop does not do."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UsageError, match="ACCELERATE_USE_FSDP asks accelerate for a sharded model"):
        ProcessGroup.join("cpu")


@pytest.mark.parametrize("number", [{"processes": 0}, {"threads": 0}])
def test_no_process_trains_nothing(number):
    """A runtime of nothing is refused when it is made."""
    with pytest.raises(SpecError, match="computes nothing"):
        RuntimeConfig(**number)
