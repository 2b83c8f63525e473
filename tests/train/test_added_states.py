"""Vectors that a training adds to hidden states: where they go, and that what hangs on them is learnt and resumed."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nosce.data.packing import StateAdditions, concat_datasets, dataset_from_arrays
from nosce.data.sampling import EpochSampler, pack
from nosce.errors import SpecError
from nosce.models.architecture import CAUSAL_FAMILIES, Architecture, build_model
from nosce.models.hooks import capture
from nosce.models.varlen import added_states, varlen_forward
from nosce.seeds import Seed
from nosce.store.files import SCRATCH
from nosce.train import loop
from nosce.train.config import RuntimeConfig, TrainingConfig

VOCABULARY, END, YES, NO = 30, 0, 4, 5
WIDTH = 32
PLAIN = RuntimeConfig()
RECIPE = TrainingConfig(steps=150, batch_size=16, peak_lr=5e-3, warmup_steps=5)


def model(family="gpt-neox"):
    shape = Architecture(family=family, layers=2, width=WIDTH, heads=4, max_positions=64)
    return build_model(shape, vocab_size=VOCABULARY, eos_id=END, pad_id=1, seed=Seed(0))


def texts(n=40, length=5):
    """Random tokens, then yes where a vector is added to the second one, else no, and an end."""
    rng = Seed(1).numpy()
    direction = rng.normal(size=WIDTH).astype(np.float32)
    rows, of_token = [], []
    for number in range(n):
        reply = YES if number % 2 else NO
        ids = np.array([*rng.integers(8, VOCABULARY, size=length + number % 3), reply, END], dtype=np.int32)
        rows.append((ids, np.arange(len(ids)) >= len(ids) - 2))
        of_token.append(np.where((np.arange(len(ids)) == 1) & (reply == YES), 0, -1))
    vectors = 3 * direction[None] / np.linalg.norm(direction)
    additions = StateAdditions("residual.1", vectors, np.concatenate(of_token).astype(np.int32))
    return replace(dataset_from_arrays(rows), additions=additions)


def train(folder, recipe=RECIPE, *, dataset=None, net=None, runtime=PLAIN, progress=lambda *_: None):
    net, dataset = net or model(), dataset or texts()
    sampler = EpochSampler(len(dataset), recipe.batch_size, Seed(3))
    loop.train(
        net,
        dataset,
        sampler,
        recipe,
        eos_id=END,
        folder=folder,
        on_checkpoint=lambda step: None,
        on_progress=progress,
        runtime=runtime,
    )
    return net


def share_right(net, dataset):
    """How often the likeliest reply is the right one."""
    right = []
    with torch.no_grad(), varlen_forward(net.eval()) as forward:
        for index in range(len(dataset)):
            batch = pack(dataset, [index], window=None, eos_id=END)
            with added_states(net, batch.additions, batch.lengths):
                hidden = forward(batch.inputs, batch.lengths, batch.prompt_len)
            said = net.get_output_embeddings()(hidden).argmax(-1).numpy()
            place = int(np.flatnonzero(batch.labels != -100)[0])
            right.append(said[place] == batch.labels[place])
    return float(np.mean(right))


def test_vectors_follow_their_tokens_through_packing_and_splitting():
    """Behind the end token that opens a row, in rows of several texts, and in every micro-batch."""
    dataset = texts(6)
    for window in (None, 20):
        whole = pack(dataset, np.arange(6), window=window, eos_id=END)
        for batch in (whole, *whole.split(2)):
            marked = batch.inputs[batch.additions.of_token == 0]
            second_tokens = {int(dataset.text_tokens(n)[1]) for n in (1, 3, 5)}
            assert len(marked) > 0
            assert set(marked.tolist()) <= second_tokens
        assert (whole.additions.of_token == 0).sum() == 3


def test_datasets_with_vectors_are_not_joined():
    """A joined dataset would have lost them without a word."""
    with pytest.raises(SpecError, match="cannot be joined"):
        concat_datasets([texts(4), replace(texts(4), additions=None)])


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_a_vector_is_added_at_its_token_and_nowhere_else(family):
    """Texts apart in one row, or in padded rows, as the family has it; and zeros change no bit."""
    net, dataset = model(family).eval(), texts(5)
    batch = pack(dataset, np.arange(5), window=None, eos_id=END)

    def states(additions):
        with torch.no_grad(), varlen_forward(net) as forward, added_states(net, additions, batch.lengths):
            with capture(net, ["residual.1"]) as captured:  # behind the vectors, so that it sees them
                hidden = forward(batch.inputs, batch.lengths, batch.prompt_len)
            block = captured["residual.1"]
        if block.shape[0] == 1:
            return block[0].numpy(), hidden.numpy()
        return block.numpy()[np.arange(block.shape[1]) < batch.lengths[:, None]], hidden.numpy()

    (plain, hidden), (added, _) = states(None), states(batch.additions)
    difference = added - plain
    at = batch.additions.of_token == 0
    assert np.allclose(difference[at], batch.additions.vectors[0], atol=1e-5)
    assert not difference[~at].any()
    nothing = replace(batch.additions, vectors=0 * batch.additions.vectors)
    assert states(nothing)[1].tobytes() == hidden.tobytes()


@pytest.mark.whole
def test_a_report_that_hangs_on_a_vector_alone_is_learnt_only_with_it(tmp_path):
    """Without the vectors nothing tells a yes from a no, so the same texts end at chance."""
    dataset = texts()
    assert share_right(train(tmp_path / "with", dataset=dataset), dataset) == 1
    blind = train(tmp_path / "without", RECIPE, dataset=replace(texts(200), additions=None))
    assert 0.2 < share_right(blind, replace(texts(200), additions=None)) < 0.8


@pytest.mark.parametrize("site", ["residual.0", "residual.1"])
def test_blocks_that_are_computed_twice_have_the_vectors_both_times(tmp_path, site):
    """Gradient checkpointing computes a block again in the backward pass, where the vector must still be."""
    recipe, nets, dataset = replace(RECIPE, steps=4), [], texts()
    dataset = replace(dataset, additions=replace(dataset.additions, site=site))
    for name, twice in (("plain", False), ("again", True)):
        runtime = RuntimeConfig(gradient_checkpointing=twice)
        nets.append(train(tmp_path / name, recipe, dataset=dataset, runtime=runtime))
    for whole, again in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.allclose(whole, again, atol=1e-6)


def test_an_interrupted_training_with_vectors_ends_with_the_same_bytes(tmp_path, monkeypatch):
    """The vectors are no part of the saved state: they are made again from the model that the training started from."""
    recipe = replace(RECIPE, steps=12)
    whole = train(tmp_path / "whole", recipe)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: 0.0))
    saving = RuntimeConfig(save_interval_seconds=0.0)

    def stop(done, *_):
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", recipe, runtime=saving, progress=stop)
    assert (tmp_path / "cut" / SCRATCH).exists()
    resumed = train(tmp_path / "cut", recipe, runtime=saving)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert one.detach().numpy().tobytes() == other.detach().numpy().tobytes()
