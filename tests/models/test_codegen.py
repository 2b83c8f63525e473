"""Fused attention of CodeGen computes what transformers writes out, with less memory."""

import numpy as np
import pytest
import torch

from nosce.data.sampling import Batch
from nosce.models.architecture import Architecture, build_model
from nosce.models.codegen import fused_codegen_attention
from nosce.models.varlen import varlen_forward
from nosce.seeds import Seed
from nosce.train.loss import summed_cross_entropy

LENGTHS = np.array([19, 12, 3])


def loss_and_gradients(model):
    tokens = Seed(1).numpy().integers(4, 50, size=LENGTHS.sum())
    batch = Batch(tokens, np.roll(tokens, -1), LENGTHS)
    with varlen_forward(model) as forward:
        loss = summed_cross_entropy(model, forward, batch)
    return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


def test_loss_and_gradients_are_those_of_transformers():
    """In rows of different lengths; afterwards the model is as it was."""
    architecture = Architecture(family="codegen", layers=2, width=32, heads=4, max_positions=32)
    model = build_model(architecture, vocab_size=50, eos_id=0, pad_id=1, seed=Seed(0))
    written_out = loss_and_gradients(model)
    with fused_codegen_attention(model):
        fused = loss_and_gradients(model)
    for ours, theirs in zip(fused, written_out, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert all((a == b).all() for a, b in zip(loss_and_gradients(model), written_out, strict=True))


def test_a_left_padded_row_is_read_with_its_mask():
    """A mask of padding reaches the fused kernel too."""
    architecture = Architecture(family="codegen", layers=2, width=32, heads=4, max_positions=32)
    model = build_model(architecture, vocab_size=50, eos_id=0, pad_id=1, seed=Seed(0)).eval()
    tokens = torch.randint(4, 50, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(tokens)
    mask[1, :4] = 0
    with torch.no_grad():
        written_out = model(tokens, attention_mask=mask).logits
        with fused_codegen_attention(model):
            fused = model(tokens, attention_mask=mask).logits
    assert fused[:, 4:].tolist() == [
        [pytest.approx(row, abs=1e-5) for row in text] for text in written_out[:, 4:].tolist()
    ]
