"""A training whose model is split over two processes ends with what one process trains."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from nosce.data.packing import dataset_from_arrays
from nosce.data.sampling import EpochSampler
from nosce.errors import NosceError, SpecError, UsageError
from nosce.models.architecture import Architecture, build_model
from nosce.models.lora import add_lora, merge_lora
from nosce.pipeline.devices import DeviceRequest
from nosce.seeds import Seed
from nosce.train import checkpoint, loop
from nosce.train import optimizer as optimizers
from nosce.train.config import RuntimeConfig, TrainingConfig
from nosce.train.memory import training_memory
from nosce.train.parallel import ProcessGroup, run_processes
from nosce.train.sharding import ShardedWeights, block_modules, is_sharded, own_part

VOCABULARY, END = 31, 0  # odd numbers of rows, so that the shards are uneven
CONFIG = TrainingConfig(steps=10, batch_size=3, peak_lr=5e-3, checkpoint_fractions=(0.6, 1.0))
ROWS = replace(CONFIG, batch_size=6, window=24, grad_accum_steps=2, prompt_loss_weight=0.3)
MUON = replace(CONFIG, optimizer="muon", muon_lr=0.01)


def shape(family="gpt-neox"):
    return Architecture(family=family, layers=2, width=32, heads=4, max_positions=64)


def texts():
    """Nine texts of 3 to 19 tokens, of which between none and all carry loss."""
    rng = Seed(1).numpy()
    return dataset_from_arrays(
        (np.append(rng.integers(4, VOCABULARY, size=2 + 2 * n), END).astype(np.int32), np.arange(3 + 2 * n) >= start)
        for n, start in enumerate([0, 2, 1, 9, 8, 0, 13, 1, 4])
    )


def train(folder, config, family, precision="float32", *, lora=False, group=None, stop_at=None, **runtime):
    """Train in a folder, and end with an error when the checkpoint after `stop_at` steps is due."""
    torch.set_num_threads(1)
    optimizers.choose_precision = lambda *_, **__: "float32"  # Muon: rounding to bfloat16 would hide a fault
    model = build_model(shape(family), vocab_size=VOCABULARY, eos_id=END, pad_id=1, seed=Seed(0))
    peft_model = add_lora(model, 4, 4, 2.0, Seed(3)) if lora else None

    def keep(step):
        if step == stop_at:
            raise NosceError("stopped")
        (folder / "none").mkdir(parents=True, exist_ok=True)
        whole = model if peft_model is None else merge_lora(peft_model)
        checkpoint.save_checkpoint(whole, folder / "none", folder / "checkpoints" / f"{step:07d}")

    loop.train(
        model if peft_model is None else peft_model.get_base_model(),
        texts(),
        EpochSampler(9, config.batch_size, Seed(0)),
        config,
        eos_id=END,
        folder=folder,
        on_checkpoint=keep,
        runtime=RuntimeConfig(**runtime),
        precision=precision,
        group=group,
    )


def share(folder, config, family, options, stop_at, send):
    """What each process does; the clock stands still, so that every step is saved."""
    loop.time = SimpleNamespace(monotonic=lambda: 0.0)
    group = ProcessGroup.join("cpu")
    runtime = {"processes": group.size, "sharded": True, "save_interval_seconds": 0.0}
    train(folder, config, family, group=group, stop_at=stop_at, **options, **runtime)
    group.leave()


def columns(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return np.array([[line[name] for name in ("nats", "gradient_norm", "counted")] for line in lines])


def weights(folder):
    return load_file(folder / "checkpoints/0000010/model.safetensors")


CASES = {
    "rows": (ROWS, "gpt-neox", {}),
    "muon": (MUON, "gpt-neox", {}),
    "tied": (CONFIG, "gpt2", {}),
    "lora": (CONFIG, "gpt2", {"lora": True}),
    "recomputed": (CONFIG, "llama", {"gradient_checkpointing": True}),
    "codegen": (CONFIG, "codegen", {}),
}


@pytest.fixture
def muon_precision(monkeypatch):
    """Undoes what `train` sets in this process."""
    monkeypatch.setattr(optimizers, "choose_precision", optimizers.choose_precision)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_with_shards_train_what_one_trains_also_when_resumed(tmp_path, case, muon_precision):
    """Losses, norms and weights agree to rounding; a stopped run ends with the bytes of one that was not stopped."""
    config, family, options = CASES[case]
    train(tmp_path / "one", config, family, **options)
    run_processes(share, (tmp_path / "two", config, family, options, None), 2, print)
    one, two = columns(tmp_path / "one"), columns(tmp_path / "two")
    assert len(one) == 10
    np.testing.assert_allclose(two, one, rtol=0, atol=1e-5)
    assert weights(tmp_path / "one").keys() == weights(tmp_path / "two").keys()
    for name, weight in weights(tmp_path / "one").items():
        assert (weight - weights(tmp_path / "two")[name]).abs().max() < 1e-4, name
    AutoModelForCausalLM.from_pretrained(tmp_path / "two" / "checkpoints" / "0000010")

    with pytest.raises(NosceError, match="stopped"):
        run_processes(share, (tmp_path / "stopped", config, family, options, 6), 2, print)
    run_processes(share, (tmp_path / "stopped", config, family, options, None), 2, print)
    for file in ("metrics.jsonl", "checkpoints/0000010/model.safetensors"):
        assert (tmp_path / "stopped" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.slow
def test_in_bfloat16_the_weights_that_are_trained_stay_float32(tmp_path, muon_precision):
    """Rounding is that of bfloat16 in either run; updates far below its resolution arrive in both."""
    config = replace(CONFIG, peak_lr=1e-5)
    train(tmp_path / "one", config, "llama", "bfloat16")
    run_processes(share, (tmp_path / "two", config, "llama", {"precision": "bfloat16"}, None), 2, print)
    np.testing.assert_allclose(columns(tmp_path / "two"), columns(tmp_path / "one"), rtol=0.01)
    start = build_model(shape("llama"), vocab_size=VOCABULARY, eos_id=END, pad_id=1, seed=Seed(0)).state_dict()
    for name, weight in weights(tmp_path / "two").items():
        assert weight.dtype == torch.float32
        moved = (weight - start[name]).abs().max()
        assert 1e-6 < moved < 2e-4, name


def measure(folder, send):
    """The bytes that a process has of weights, gradients and moments, and the modules that gather weights."""
    from torch.distributed.fsdp import FSDPModule

    group = ProcessGroup.join("cpu")
    model = build_model(shape(), vocab_size=400, eos_id=END, pad_id=1, seed=Seed(0))
    sharded = ShardedWeights(model, "float32", group)
    parameters = list(sharded.trainable_parameters.values())
    assert all(map(is_sharded, parameters))
    optimizer = optimizers.Optimizer(sharded.trainable_parameters, CONFIG)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    held = [sum(own_part(t).nbytes for t in ts) for ts in (parameters, [p.grad for p in parameters])]
    optimizer.step(0)
    moments = [m for p in parameters for m in optimizer.moments(p).values() if m.ndim]
    held.append(sum(own_part(m).nbytes for m in moments))
    n_gathering = sum(isinstance(module, FSDPModule) for module in sharded._root.modules())
    send((group.rank, held, n_gathering))
    group.leave()


@pytest.mark.slow
def test_each_process_has_half_and_the_arithmetic_knows_it(tmp_path):
    """Weights, gradients and moments of two blocks and the rest, each gathered by itself."""
    heard = []
    run_processes(measure, (tmp_path,), 2, heard.append)
    size = {"mean_tokens": 16, "max_tokens": 16, "precision": "float32"}
    memory = training_memory(shape(), CONFIG, 400, shards=2, **size)
    whole = training_memory(shape(), CONFIG, 400, **size)
    assert len(heard) == 2
    for _, (held_weights, gradients, moments), n_gathering in heard:
        assert held_weights == pytest.approx(memory.weights, rel=0.05)
        assert gradients == pytest.approx(memory.gradients, rel=0.05)
        assert moments == pytest.approx(memory.optimizer, rel=0.05)
        assert n_gathering == 3
    assert memory.weights == whole.weights / 2
    assert (memory.activations, memory.logits) == (whole.activations, whole.logits)


def test_a_large_model_fits_where_a_part_of_it_fits():
    """Eight cards of 80 GB hold a training that one of them does not; the head start of bfloat16 is smaller."""
    model = Architecture(family="llama", layers=32, width=4096, heads=32)
    config = TrainingConfig(steps=1, batch_size=8, grad_accum_steps=8, window=2048)
    size = {"mean_tokens": 2048, "max_tokens": 2048, "precision": "bfloat16", "gradient_checkpointing": True}
    one, eight = (training_memory(model, config, 32_000, shards=n, **size) for n in (None, 8))
    assert one.total > 100e9 > 80e9 > 60e9 > eight.total
    assert one.gathered == 0 < eight.gathered < one.weights


@pytest.mark.parametrize("family", ["gpt-neox", "gpt2", "opt", "llama", "codegen", "t5", "modernbert"])
def test_the_blocks_of_every_family_are_found(family):
    """A model of two layers has two blocks; an encoder and a decoder have two each."""
    model = build_model(shape(family), vocab_size=VOCABULARY, eos_id=END, pad_id=1, seed=Seed(0), mask_id=2)
    blocks = block_modules(model)
    assert len(blocks) == (4 if family == "t5" else 2)
    tied = model.get_input_embeddings().weight
    assert not any(parameter is tied for block in blocks for parameter in block.parameters())


def test_one_process_is_no_group_to_split_a_model_over():
    with pytest.raises(SpecError, match="take two processes or more"):
        RuntimeConfig(sharded=True)
    with pytest.raises(UsageError, match="--shard splits a model over 1 process; take --processes 2 or more"):
        DeviceRequest(shard=True)


@pytest.mark.slow
def test_a_study_runs_sharded_and_says_so(nosce, little, tmp_path):
    """From the command to the claims; the provenance of a training tells how it was computed."""
    words = ("--scale", "smoke", "--store", tmp_path, "--processes", "2", "--shard", "--device", "cpu")
    ended = nosce.anew("run", little("one_arm"), *words)
    assert ended.returncode == 0, ended.stderr
    trainings = sorted(tmp_path.glob("steps/training-*/provenance.json"))
    assert len(trainings) == 2
    for path in trainings:
        provenance = json.loads(path.read_text(encoding="utf-8"))
        assert (provenance["sharded"], provenance["processes"]) == (True, 2)
