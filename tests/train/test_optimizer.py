"""Each weight has the optimizer it should have, all follow one schedule, and what is remembered can be put back."""

import re

import numpy as np
import pytest
import torch

from nosce.data.sampling import Batch
from nosce.models import lora as adapters
from nosce.models.architecture import CAUSAL_FAMILIES, Architecture, build_model
from nosce.models.varlen import varlen_forward
from nosce.seeds import Seed
from nosce.train.config import TrainingConfig
from nosce.train.loss import summed_cross_entropy
from nosce.train.optimizer import Optimizer, block_matrix_names

VOCABULARY = 40
INNER = {
    "gpt-neox": r"gpt_neox\.layers\.[01]\.(attention\.(query_key_value|dense)|mlp\.dense_(h_to_4h|4h_to_h))\.weight",
    "gpt2": r"transformer\.h\.[01]\.(attn\.c_(attn|proj)|mlp\.c_(fc|proj))\.weight",
    "opt": r"model\.decoder\.layers\.[01]\.(self_attn\.(q|k|v|out)_proj|fc[12])\.weight",
    "llama": r"model\.layers\.[01]\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)\.weight",
    "codegen": r"transformer\.h\.[01]\.(attn\.(qkv|out)_proj|mlp\.fc_(in|out))\.weight",
}
MATRICES = {"gpt-neox": 8, "gpt2": 8, "opt": 12, "llama": 14, "codegen": 8}  # of two layers
BATCH = Batch(np.arange(3, 23), np.arange(4, 24), np.array([8, 7, 5]))

EVERY = pytest.mark.parametrize("family", CAUSAL_FAMILIES)
BOTH = pytest.mark.parametrize("kind", ["adamw", "muon"])


def model(family="gpt-neox", tied=True):
    shape = Architecture(family=family, layers=2, width=32, heads=4, max_positions=64, tie_embeddings=tied)
    return build_model(shape, vocab_size=VOCABULARY, eos_id=0, pad_id=1, seed=Seed(0))


def recipe(kind="adamw", **more):
    return TrainingConfig(**({"steps": 100, "batch_size": 3, "optimizer": kind, "warmup_steps": 5} | more))


def started(kind, family="gpt-neox", net=None, **more):
    """A model's weights by name, and their optimizer."""
    net = model(family) if net is None else net
    named = {n: p for n, p in net.named_parameters() if p.requires_grad}
    return net, named, Optimizer(named, recipe(kind, **more), block_matrix_names(net))


def take(net, optimizer, step):
    with varlen_forward(net) as forward:
        (summed_cross_entropy(net, forward, BATCH) / BATCH.n_loss_tokens).backward()
    optimizer.step(step)


def moved(named, optimizer, step, gradient):
    """How far each weight moves in a step with a given gradient, the first that this optimizer takes."""
    before = {name: p.detach().clone() for name, p in named.items()}
    for parameter in named.values():
        parameter.grad = gradient(parameter)
    optimizer.step(step)
    return {name: p.detach() - before[name] for name, p in named.items()}


def drawn(parameter):
    return torch.from_numpy(Seed(parameter.numel()).numpy().normal(size=tuple(parameter.shape))).float()


@EVERY
@pytest.mark.parametrize("tied", [True, False])
def test_inner_matrices_are_those_of_the_blocks(family, tied):
    """Attention's and the MLP's weights of every layer; no embedding, head, norm or bias."""
    found = block_matrix_names(model(family, tied))

    assert len(found) == MATRICES[family]
    assert all(re.fullmatch(INNER[family], name) for name in found)


@EVERY
@pytest.mark.parametrize("tied", [True, False])
def test_muon_gets_the_inner_matrices_and_adamw_everything_else(family, tied):
    """By what is remembered of each weight after a step: one momentum, or the two of AdamW."""
    net, named, optimizer = started("muon", net=model(family, tied))
    take(net, optimizer, 0)
    remembered = {name: set(optimizer.moments(p)) for name, p in named.items()}
    muon = {name for name, what in remembered.items() if what == {"momentum_buffer"}}

    assert muon == block_matrix_names(net)
    assert all(remembered[name] == {"step", "exp_avg", "exp_avg_sq"} for name in named if name not in muon)


@EVERY
def test_adamw_gets_every_weight_by_default(family):
    """A recipe that says nothing of Muon does not use it, whatever matrices there are."""
    net, named, optimizer = started("adamw", family)
    take(net, optimizer, 0)

    assert all(set(optimizer.moments(p)) == {"step", "exp_avg", "exp_avg_sq"} for p in named.values())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
@pytest.mark.filterwarnings("ignore:Model (has|with) `tie_word_embeddings=True`")
@EVERY
def test_adapters_of_an_embedding_are_no_inner_matrices(family):
    """What is added to an embedding is an embedding's, and stays with AdamW."""
    net = adapters.add_lora(model(family), 4, 6, 2.0, Seed(1)).get_base_model()

    assert not [name for name in block_matrix_names(net) if "lora_embedding" in name]


@BOTH
@pytest.mark.parametrize("step", [0, 3, 4, 50, 99])
def test_every_weight_follows_one_schedule(kind, step):
    """In warm-up, at the peak and on the way down a first step is as long as the schedule's share of the peak's."""
    _, named, optimizer = started(kind)
    _, others, another = started(kind)
    at_peak = moved(others, another, 5, drawn)
    here = moved(named, optimizer, step, drawn)

    assert recipe().lr_multiplier(5) == 1
    for name in named:
        expected = at_peak[name] * recipe().lr_multiplier(step)
        torch.testing.assert_close(here[name], expected, atol=at_peak[name].abs().max() * 1e-3, rtol=0, msg=name)


@pytest.mark.parametrize(("rate", "matrices"), [("peak_lr", False), ("muon_lr", True)])
def test_each_optimizer_has_its_own_rate(rate, matrices):
    """Twice the peak moves twice as far what its optimizer has, and nothing else any further."""
    net, named, optimizer = started("muon", weight_decay=0.0)
    _, others, another = started("muon", weight_decay=0.0, **{rate: 2 * getattr(recipe(), rate)})
    once, twice = moved(named, optimizer, 5, drawn), moved(others, another, 5, drawn)
    for name in named:
        further = (twice[name].norm() / once[name].norm()).item()
        assert further == pytest.approx(2 if (name in block_matrix_names(net)) == matrices else 1, rel=1e-3), name


def test_muon_steps_equally_far_in_every_direction():
    """However lopsided a gradient is, a matrix moves by about its learning rate along each of its directions."""
    _, named, optimizer = started("muon", weight_decay=0.0)
    name = "gpt_neox.layers.0.attention.dense.weight"

    def lopsided(parameter):
        return drawn(parameter) * torch.logspace(0, -1, parameter.shape[-1])

    stretched = torch.linalg.svdvals(lopsided(named[name]))
    lengths = torch.linalg.svdvals(moved(named, optimizer, 5, lopsided)[name]) / recipe().muon_lr

    assert stretched[0] / stretched[-2] > 10
    assert 0.5 < lengths[-2] < lengths[0] < 1.5


@BOTH
def test_weights_decay_in_matrices_alone(kind):
    """Without a gradient matrices shrink by the rate of their optimizer times the decay; all others stay."""
    net, named, optimizer = started(kind, weight_decay=0.5, peak_lr=1e-2, muon_lr=4e-2)
    inner = block_matrix_names(net) if kind == "muon" else ()
    before = {name: p.detach().clone() for name, p in named.items()}
    moved(named, optimizer, 5, torch.zeros_like)
    for name, weight in named.items():
        rate = (4e-2 if name in inner else 1e-2) if weight.ndim == 2 else 0.0
        torch.testing.assert_close(weight.detach(), before[name] * (1 - 0.5 * rate), atol=1e-8, rtol=1e-6, msg=name)


@BOTH
@pytest.mark.parametrize("family", ["gpt-neox", "gpt2"])
def test_what_was_remembered_can_be_put_back(kind, family):
    """With the moments of one optimizer another takes, to the bit, the step that the first would have taken."""
    net, named, optimizer = started(kind, family)
    for step in range(3):
        take(net, optimizer, step)
    other, others, another = started(kind, family)
    with torch.no_grad():
        for name, weight in named.items():
            others[name].copy_(weight)
            another.load_moments(others[name], {what: m.clone() for what, m in optimizer.moments(weight).items()})
    take(net, optimizer, 3)
    take(other, another, 3)

    assert all(torch.equal(named[name], others[name]) for name in named)
    for name in named:
        one, two = optimizer.moments(named[name]), another.moments(others[name])
        assert one.keys() == two.keys()
        assert all(torch.equal(one[what], two[what]) for what in one)


@BOTH
def test_nothing_is_remembered_before_the_first_step(kind):
    """A fresh optimizer has no moments, so that a run saved at step 0 says so."""
    _, named, optimizer = started(kind)

    assert all(optimizer.moments(p) == {} for p in named.values())


@BOTH
def test_a_step_drops_the_gradients_it_took(kind):
    """Nothing is left that the next step could add to."""
    net, named, optimizer = started(kind)
    take(net, optimizer, 0)

    assert all(p.grad is None for p in named.values())


def test_a_weight_that_no_optimizer_was_given_has_no_moments_to_ask_for():
    """Asking for a stranger is a mistake and not an empty answer."""
    _, _, optimizer = started("muon")
    with pytest.raises(KeyError, match="no optimizer"):
        optimizer.moments(torch.nn.Parameter(torch.zeros(2)))
