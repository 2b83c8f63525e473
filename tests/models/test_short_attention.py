"""Attention of short sequences by plain products: that of torch, and its gradients, to bfloat16's digits."""

import pytest
import torch
from torch.nn import functional

from nosce.models.architecture import Architecture, build_model
from nosce.models.number_format import bfloat16_copy
from nosce.models.short_attention import short_attention
from nosce.models.varlen import varlen_site_states
from nosce.seeds import Seed

SHAPE = (3, 2, 21, 16)


def distance(found, expected):
    """The relative distance of two tensors."""
    return ((found.float() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("scaling", [None, 0.5])
def test_values_and_gradients_are_those_of_torch(scaling):
    """Outputs and the three gradients differ by less than one in a hundred from float32 on the same rounded inputs."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(SHAPE, generator=generator).bfloat16() for _ in range(4)]
    narrow, wide = (
        [x.to(dtype, copy=True).requires_grad_() for x in drawn[:3]] for dtype in (torch.bfloat16, torch.float32)
    )
    found = short_attention(*narrow, scaling)
    expected = functional.scaled_dot_product_attention(*wide, is_causal=True, scale=scaling)
    found.backward(drawn[3])
    expected.backward(drawn[3].float())
    assert found.dtype == torch.bfloat16
    assert distance(found, expected) < 0.01
    for ours, theirs in zip(narrow, wide, strict=True):
        assert distance(ours.grad, theirs.grad) < 0.01


def test_nobody_sees_what_comes_later():
    """A change of the last position changes no other output."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(SHAPE, generator=generator).bfloat16() for _ in range(3))
    changed = [x.clone() for x in (key, value)]
    for x in changed:
        x[:, :, -1] += 1
    before, after = short_attention(query, key, value, None), short_attention(query, *changed, None)
    assert torch.equal(before[:, :, :-1], after[:, :, :-1])
    assert not torch.equal(before[:, :, -1], after[:, :, -1])


@pytest.mark.parametrize("family", ["gpt-neox", "opt", "llama", "gpt2", "codegen"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("site", ["residual.1", "final"])
def test_states_of_embeddings_are_those_of_each_text_alone(family, precision, site):
    """Texts of several lengths in one pass: each text's states and the gradient of its embeddings, as alone."""
    shape = Architecture(family=family, layers=2, width=32, heads=4, max_positions=64)
    net = build_model(shape, vocab_size=40, eos_id=0, pad_id=None, seed=Seed(0)).eval().requires_grad_(False)
    lengths, tolerance = [9, 9, 5, 2], 1e-5
    embeddings, direction = torch.randn(2, sum(lengths), 32, generator=torch.Generator().manual_seed(0))
    computing = net
    if precision == "bfloat16":
        computing, tolerance = bfloat16_copy(net), 0.03
    together = embeddings.to(computing.dtype, copy=True).requires_grad_()
    with varlen_site_states(computing, site) as states_at_site:
        found = states_at_site(together, torch.tensor(lengths).numpy())
    (found.float() * direction).sum().backward()
    start = 0
    for length in lengths:
        alone = embeddings[start : start + length].clone().requires_grad_()
        states = net.base_model(inputs_embeds=alone[None], use_cache=False, output_hidden_states=True)
        expected = (states.last_hidden_state if site == "final" else states.hidden_states[1])[0]
        (expected * direction[start : start + length]).sum().backward()
        assert distance(found[start : start + length].detach(), expected.detach()) < tolerance
        assert distance(together.grad[start : start + length], alone.grad) < 3 * tolerance
        start += length
