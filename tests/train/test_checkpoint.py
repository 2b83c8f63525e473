"""Checkpoints are plain Hugging Face folders that tell when a byte has changed."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from nosce.data.sampling import Batch
from nosce.errors import DamagedError
from nosce.models.architecture import CAUSAL_FAMILIES, Architecture, build_model
from nosce.models.varlen import varlen_forward
from nosce.seeds import Seed
from nosce.train import checkpoint
from nosce.train.config import TrainingConfig
from nosce.train.loss import summed_cross_entropy
from nosce.train.optimizer import Optimizer, block_matrix_names

IDS = torch.tensor([[0, 5, 6, 7, 8, 9, 10, 11]])
BATCH = Batch(IDS[0, :-1].numpy(), IDS[0, 1:].numpy(), np.array([7]))


def model(corpus, family="gpt-neox", seed=0):
    shape = Architecture(family=family, layers=2, width=32, heads=4, max_positions=64)
    return build_model(
        shape, vocab_size=corpus.tokenizer.get_vocab_size(), eos_id=corpus.eos_id, pad_id=1, seed=Seed(seed)
    ).eval()


@torch.no_grad()
def logits(net):
    return net.eval()(input_ids=IDS).logits


def kept(corpus, folder, **wanted):
    net = model(corpus, **wanted)
    checkpoint.save_checkpoint(net, corpus.tokenizer_folder, folder)
    return net


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_transformers_loads_a_checkpoint_by_itself(corpus, tmp_path, family):
    """The library's own calls read weights and tokenizer; logits and tokens are those we trained with."""
    net = kept(corpus, tmp_path / "kept", family=family)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "kept")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "kept")
    prompt = corpus.questions[0].prompt

    assert torch.equal(logits(theirs), logits(net))
    assert torch.equal(logits(read := checkpoint.load_checkpoint(tmp_path / "kept")), logits(net))
    assert read.config._attn_implementation == net.config._attn_implementation
    assert tokenizer(prompt, add_special_tokens=False).input_ids == corpus.tokenizer.encode(prompt).ids
    assert tokenizer.eos_token_id == corpus.eos_id


def test_nothing_is_pickled(corpus, tmp_path):
    """A checkpoint and a state hold JSON and safetensors, and not one file that could run code."""
    net = kept(corpus, tmp_path / "kept")
    named = dict(net.named_parameters())
    checkpoint.save_training_state(
        tmp_path / "scratch", 3, named, Optimizer(named, TrainingConfig(steps=1, batch_size=1))
    )

    assert {p.suffix for p in tmp_path.rglob("*") if p.is_file()} == {".json", ".safetensors"}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_flipped_byte_is_seen_on_load(corpus, tmp_path, name):
    """One changed bit in any file is told with the file's name, and nothing is loaded."""
    kept(corpus, tmp_path / "kept")
    file = tmp_path / "kept" / name
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(whole)

    with pytest.raises(DamagedError, match=name):
        checkpoint.load_checkpoint(tmp_path / "kept")


@pytest.mark.parametrize("harm", ["truncated", "missing", "added", "no manifest", "half a manifest"])
def test_a_folder_that_is_not_what_was_written_is_not_loaded(corpus, tmp_path, harm):
    """Files cut short, lost or slipped in are told, as is a manifest that cannot be read."""
    kept(corpus, tmp_path / "kept")
    weights, manifest = (tmp_path / "kept" / name for name in ("model.safetensors", "manifest.json"))
    match harm:
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:-1])
        case "missing":
            weights.unlink()
        case "added":
            (tmp_path / "kept" / "more.bin").write_bytes(b"x")
        case "no manifest":
            manifest.unlink()
        case "half a manifest":
            manifest.write_text(manifest.read_text(encoding="utf-8")[:40])

    with pytest.raises(DamagedError):
        checkpoint.load_checkpoint(tmp_path / "kept")


def test_the_manifest_names_every_file_with_its_checksum(corpus, tmp_path):
    """Whoever has no nosce can check a checkpoint with sha256sum."""
    import hashlib

    kept(corpus, tmp_path / "kept")
    manifest = json.loads((tmp_path / "kept" / "manifest.json").read_text(encoding="utf-8"))
    files = {p.name: p.read_bytes() for p in (tmp_path / "kept").iterdir() if p.name != "manifest.json"}

    assert manifest == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def test_keeping_again_replaces_what_a_killed_run_left(corpus, tmp_path):
    """Half a checkpoint beside, or a whole one in place, is replaced by the new one."""
    kept(corpus, tmp_path / "kept", seed=1)
    half = tmp_path / "kept.new"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half of it")
    net = kept(corpus, tmp_path / "kept", seed=2)

    assert torch.equal(logits(checkpoint.load_checkpoint(tmp_path / "kept")), logits(net))
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_state_gives_back_weights_moments_and_the_step(corpus, tmp_path, optimizer):
    """One step further from a restored state is, to the bit, one step further from where it was saved."""

    def taken(net, optimizer, step):
        with varlen_forward(net) as forward:
            summed_cross_entropy(net, forward, BATCH).backward()
        optimizer.step(step)

    def started(seed):
        net = model(corpus, seed=seed)
        named = dict(net.named_parameters())
        recipe = TrainingConfig(steps=10, batch_size=1, peak_lr=1e-2, optimizer=optimizer)
        return net, named, Optimizer(named, recipe, block_matrix_names(net))

    net, named, first = started(0)
    for number in range(3):
        taken(net, first, number)
    losses = [torch.tensor(2.5), torch.tensor(2.25)]
    checkpoint.save_training_state(tmp_path, 3, named, first, losses)
    saved = {name: p.detach().clone() for name, p in named.items()}
    taken(net, first, 3)
    other, others, another = started(1)
    step, pending_losses = checkpoint.restore_training_state(tmp_path, others, another)
    restored = {name: p.detach().clone() for name, p in others.items()}
    taken(other, another, 3)

    assert (step, pending_losses) == (3, losses)
    assert all(torch.equal(saved[name], restored[name]) for name in saved)
    assert all(torch.equal(named[name], others[name]) for name in named)
    assert not any(torch.equal(named[name], saved[name]) for name in named if named[name].ndim == 2)


def test_a_state_of_another_model_counts_as_none(corpus, tmp_path):
    """A state with other weights' names is left alone, and the model as it was."""
    net, other = model(corpus), model(corpus, family="gpt2")
    named, others = dict(net.named_parameters()), dict(other.named_parameters())
    recipe = TrainingConfig(steps=1, batch_size=1)
    checkpoint.save_training_state(tmp_path, 5, named, Optimizer(named, recipe))
    before = {name: p.detach().clone() for name, p in others.items()}

    assert checkpoint.restore_training_state(tmp_path, others, Optimizer(others, recipe)) == (0, [])
    assert all(torch.equal(before[name], others[name]) for name in others)
