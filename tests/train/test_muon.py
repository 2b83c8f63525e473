"""Our Muon is torch's in bfloat16 to the bit, and the plain iteration in float32 up to rounding."""

import pytest
import torch

from nosce.train.muon import COEFFICIENTS, ITERATIONS, Muon, orthogonalize

SHAPES = [(8, 24), (24, 8), (16, 16), (8, 24), (5, 6), (64, 16)]  # wide, tall, square, one twice, one a column over
RATES = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.95}


def matrices(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def with_gradients(parameters, step):
    generator = torch.Generator().manual_seed(100 + step)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def plain_float32(matrix):
    """Newton and Schulz's iteration as Jordan et al. write it, one matrix, in float64."""
    a, b, c = COEFFICIENTS
    x = (matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix).double()
    x = x / x.norm()
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if matrix.shape[0] > matrix.shape[1] else x


def test_in_bfloat16_it_is_the_optimizer_of_torch():
    ours, theirs = matrices(), matrices()
    mine = Muon(ours, precision=torch.bfloat16, **RATES)
    reference = torch.optim.Muon(theirs, **RATES)
    for step in range(4):
        with_gradients(ours, step)
        with_gradients(theirs, step)
        mine.step()
        reference.step()

    assert all(torch.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(ours, theirs, strict=True))


def test_float32_steps_are_those_of_torch_with_its_iteration_in_float32(monkeypatch):
    """Momentum, decay and the rate of tall matrices are torch's; only its iteration is replaced by the exact one."""
    module = __import__("torch.optim._muon", fromlist=["_"])
    monkeypatch.setattr(module, "_zeropower_via_newtonschulz", lambda grad, *_: plain_float32(grad).float())
    ours, theirs = matrices(), matrices()
    mine, reference = Muon(ours, **RATES), torch.optim.Muon(theirs, **RATES)
    for step in range(4):
        with_gradients(ours, step)
        with_gradients(theirs, step)
        mine.step()
        reference.step()

    assert all(torch.allclose(a, b, rtol=0, atol=2e-6) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("shape", [(128, 512), (512, 128), (64, 96), (64, 64), (100, 101)])
def test_float32_iterations_equal_the_exact_ones(shape):
    stack = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    exact = torch.stack([plain_float32(matrix) for matrix in stack])

    assert torch.allclose(orthogonalize(stack).double(), exact, rtol=0, atol=3e-5)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_singular_values_end_near_one_whatever_they_were(precision):
    left, right = (torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(s)))[0] for s in (1, 2))
    matrix = (left * torch.logspace(0, -1.5, 32)) @ right

    values = torch.linalg.svdvals(orthogonalize(matrix[None], precision)[0])

    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_stack_is_its_matrices_alone():
    stack = torch.randn(4, 24, 64, generator=torch.Generator().manual_seed(3))
    alone = torch.cat([orthogonalize(matrix[None]) for matrix in stack])

    assert torch.allclose(orthogonalize(stack), alone, rtol=0, atol=1e-6)


def test_more_matrices_than_a_product_holds_go_in_groups(monkeypatch):
    whole, grouped = matrices(), matrices()
    for parameters in (whole, grouped):
        with_gradients(parameters, 0)
    Muon(whole, **RATES).step()
    monkeypatch.setattr("nosce.train.muon.MAX_STACKED_NUMBERS", 8 * 24)
    Muon(grouped, **RATES).step()

    assert all(torch.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(whole, grouped, strict=True))


def test_a_gradient_of_zeros_leaves_numbers_and_none_leaves_the_weight():
    parameters = matrices()
    before = [p.detach().clone() for p in parameters]
    parameters[0].grad = torch.zeros_like(parameters[0])
    Muon(parameters, lr=0.02, weight_decay=0.0, momentum=0.95).step()

    assert all(torch.equal(a, b) for a, b in zip(parameters, before, strict=True))
