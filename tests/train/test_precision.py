"""In bfloat16 the weights that learn stay float32, nothing small is lost, and "auto" chooses once and for all."""

import numpy as np
import pytest
import torch

from nosce.data.sampling import Batch
from nosce.models import lora as adapters
from nosce.models.architecture import CAUSAL_FAMILIES, Architecture, build_model
from nosce.models.number_format import choose_precision
from nosce.models.varlen import varlen_forward
from nosce.seeds import Seed
from nosce.train import precision
from nosce.train.config import TrainingConfig
from nosce.train.loss import summed_cross_entropy
from nosce.train.optimizer import Optimizer
from nosce.train.precision import MasterWeights

VOCABULARY = 40
BATCH = Batch(np.arange(3, 23), np.arange(4, 24), np.array([8, 7, 5]))
EVERY = pytest.mark.parametrize("family", CAUSAL_FAMILIES)


def model(family="gpt-neox", tied=True):
    shape = Architecture(family=family, layers=2, width=32, heads=4, max_positions=64, tie_embeddings=tied)
    return build_model(shape, vocab_size=VOCABULARY, eos_id=0, pad_id=1, seed=Seed(0))


def backwards(twin):
    with varlen_forward(twin.compute_model) as forward:
        nats = summed_cross_entropy(twin.compute_model, forward, BATCH)
        (nats / BATCH.n_loss_tokens).backward()
    return nats.item()


def copies(parameters):
    return {name: p.detach().clone() for name, p in parameters}


@EVERY
def test_in_float32_there_is_no_twin(family):
    """The model that computes is the model that learns: no copy of it, and nothing to carry over."""
    net = model(family)
    twin = MasterWeights(net, "float32")
    backwards(twin)
    before = {name: p.grad.clone() for name, p in net.named_parameters()}
    twin.accumulate_gradients()
    twin.update_compute_weights()

    assert twin.compute_model is net
    assert all(torch.equal(p.grad, before[name]) for name, p in net.named_parameters())


@EVERY
def test_a_twin_is_rounded_and_its_weights_stay_whole(family):
    """What computes is bfloat16, what learns float32, and one is the other's rounding."""
    net = model(family)
    before = copies(net.named_parameters())
    twin = MasterWeights(net, "bfloat16")
    rounded = dict(twin.compute_model.named_parameters())

    assert twin.trainable_parameters.keys() == before.keys() == rounded.keys()
    for name, weight in net.named_parameters():
        assert twin.trainable_parameters[name] is weight
        assert weight.dtype == torch.float32
        assert torch.equal(weight, before[name])
        assert torch.equal(rounded[name], weight.bfloat16())


@EVERY
def test_gradients_arrive_in_float32_and_add_up(family):
    """The weights get the twin's gradients, those of several parts as a sum, and the twin keeps none."""
    net = model(family)
    twin = MasterWeights(net, "bfloat16")
    backwards(twin)
    theirs = {name: p.grad.float() for name, p in twin.compute_model.named_parameters()}
    twin.accumulate_gradients()
    once = {name: p.grad.clone() for name, p in net.named_parameters()}
    backwards(twin)
    twin.accumulate_gradients()
    exact = model(family)
    backwards(MasterWeights(exact, "float32"))
    true = torch.cat([p.grad.flatten() for p in exact.parameters()])

    assert all(p.grad is None for p in twin.compute_model.parameters())
    for name, weight in net.named_parameters():
        assert weight.grad.dtype == torch.float32
        assert torch.equal(once[name], theirs[name])
        assert torch.equal(weight.grad, 2 * once[name])
    assert (torch.cat([g.flatten() for g in once.values()]) - true).norm() < 0.1 * true.norm()


def test_a_sum_of_parts_keeps_what_bfloat16_would_round_away():
    """A hundred small gradients behind a large one all arrive: parts are added up in float32."""
    net = model()
    twin = MasterWeights(net, "bfloat16")
    weight, rounded = net.gpt_neox.final_layer_norm.bias, twin.compute_model.gpt_neox.final_layer_norm.bias
    for size in [1.0, *[2**-10] * 100]:
        rounded.grad = torch.full_like(rounded, size)
        twin.accumulate_gradients()

    assert torch.equal(weight.grad, torch.full((32,), 1 + 100 * 2**-10))


def test_updates_too_small_for_bfloat16_are_not_lost():
    """Steps of a thousandth of a weight's last digit in bfloat16 add up until the twin follows them."""
    net = model()
    twin = MasterWeights(net, "bfloat16")
    recipe = TrainingConfig(steps=1_000, batch_size=1, peak_lr=1e-5, warmup_steps=0, weight_decay=0.0)
    optimizer = Optimizer(twin.trainable_parameters, recipe)
    weight, rounded = net.gpt_neox.final_layer_norm.weight, twin.compute_model.gpt_neox.final_layer_norm.weight
    assert torch.equal(weight, torch.ones(32))
    held = []
    for step in range(300):
        rounded.grad = torch.ones_like(rounded)
        twin.accumulate_gradients()
        before = weight.detach().clone()
        optimizer.step(step)
        twin.update_compute_weights()
        assert torch.equal((before.bfloat16() - torch.tensor(1e-5).bfloat16()), before.bfloat16()), "it would be lost"
        held.append(rounded[0].item())

    assert weight[0].item() == pytest.approx(1 - 300e-5, abs=2e-4)
    assert held[0] == 1.0
    assert held[-1] == torch.tensor(weight[0].item()).bfloat16().item() < 1.0


@pytest.mark.parametrize("family", ["gpt-neox", "llama"])
def test_the_angles_of_positions_keep_their_digits(family):
    """Buffers are not weights: rotary frequencies are float32 in the twin as well, and the same."""
    net = model(family)
    twin = MasterWeights(net, "bfloat16").compute_model
    buffers = dict(net.named_buffers())

    assert any("inv_freq" in name for name in buffers)
    for name, buffer in twin.named_buffers():
        assert buffer.dtype == buffers[name].dtype
        assert torch.equal(buffer, buffers[name]), name


@EVERY
@pytest.mark.parametrize("tied", [True, False])
def test_tied_weights_stay_tied(family, tied):
    """Where input and output are one matrix they are one in the twin too, before a refresh and after."""
    net = model(family, tied)
    twin = MasterWeights(net, "bfloat16")
    for _ in range(2):
        ends = twin.compute_model.get_input_embeddings().weight, twin.compute_model.get_output_embeddings().weight
        assert (ends[0] is ends[1]) == tied
        with torch.no_grad():
            for weight in twin.trainable_parameters.values():
                weight.mul_(0.5)
        twin.update_compute_weights()

    rounded = dict(twin.compute_model.named_parameters())
    assert all(torch.equal(rounded[name], weight.bfloat16()) for name, weight in net.named_parameters())


@EVERY
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
@pytest.mark.filterwarnings("ignore:Model (has|with) `tie_word_embeddings=True`")
def test_with_adapters_only_they_learn(family):
    """Frozen weights are rounded for the twin and stay as they were; gradients reach the adapters and change them."""
    net = adapters.add_lora(model(family), 4, 6, 2.0, Seed(1)).get_base_model()
    before = copies(net.named_parameters())
    twin = MasterWeights(net, "bfloat16")
    optimizer = Optimizer(twin.trainable_parameters, TrainingConfig(steps=10, batch_size=1, peak_lr=1e-2))
    for step in range(3):
        backwards(twin)
        twin.accumulate_gradients()
        optimizer.step(step)
        twin.update_compute_weights()
    rounded = dict(twin.compute_model.named_parameters())

    assert twin.trainable_parameters
    assert all("lora_" in name for name in twin.trainable_parameters)
    for name, weight in net.named_parameters():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, before[name]) == (name not in twin.trainable_parameters), name
        assert torch.equal(rounded[name], weight.bfloat16())


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_what_was_asked_for_is_chosen(asked, device):
    """Whoever names a precision gets it, on any device."""
    assert choose_precision(asked, device=device) == asked


@pytest.mark.parametrize(
    ("amx", "avx512", "best"), [(0, 0, "float32"), (1, 0, "bfloat16"), (0, 1, "bfloat16"), (1, 1, "bfloat16")]
)
def test_on_a_processor_auto_is_bfloat16_where_it_has_instructions_for_it(amx, avx512, best, monkeypatch):
    """AMX or AVX-512 BF16 decide; no clock is read, so a busy machine chooses as an idle one."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: bool(amx))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bool(avx512))
    monkeypatch.setattr(precision.time, "perf_counter", None)

    assert choose_precision("auto", device="cpu") == best


@pytest.mark.parametrize(("able", "best"), [(True, "bfloat16"), (False, "float32")])
def test_on_an_accelerator_auto_asks_torch(able, best, monkeypatch):
    """There bfloat16 is chosen wherever the device has it."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: able)

    assert choose_precision("auto", device="cuda:0") == best
    assert choose_precision("auto", device="mps") == "float32"


def test_the_gain_is_a_ratio_of_times():
    """On whatever machine this runs, both precisions take some time: the ratio is positive and finite."""
    before = torch.get_rng_state()
    found = precision.bfloat16_speedup(32)

    assert 0 < found < 100
    assert torch.equal(torch.get_rng_state(), before)
