"""The loss of the counted tokens alone is the loss one would have got from all logits."""

import numpy as np
import pytest
import torch

from nosce.data.packing import dataset_from_arrays
from nosce.data.sampling import IGNORE_INDEX, Batch, pack
from nosce.models.architecture import CAUSAL_FAMILIES, Architecture, build_model
from nosce.models.varlen import varlen_forward
from nosce.seeds import Seed
from nosce.train.loss import loss_position_logits, summed_cross_entropy

VOCABULARY, LENGTHS = 30, (12, 10, 10, 7)


def model(family):
    return build_model(
        Architecture(family=family, layers=2, width=32, heads=4, max_positions=64),
        vocab_size=VOCABULARY,
        eos_id=0,
        pad_id=1,
        seed=Seed(0),
    )


def rows(flat):
    """What belongs to each stretch, from one row for all of them."""
    return np.split(flat, np.cumsum(LENGTHS)[:-1])


@pytest.fixture
def batch():
    """Inputs, and labels of which some are ignored: one stretch wholly, one from place 6 on, one every second."""
    rng = Seed(0).numpy()
    inputs, labels = (rng.integers(3, VOCABULARY, size=sum(LENGTHS)) for _ in range(2))
    first, second, third, _ = rows(labels)  # views
    first[:] = IGNORE_INDEX
    second[6:] = IGNORE_INDEX
    third[::2] = IGNORE_INDEX
    return Batch(inputs, labels, np.array(LENGTHS))


def whole_logits(net, batch):
    """All logits of the model's own forward pass, a stretch at a time."""
    with torch.no_grad():
        return torch.cat([net(input_ids=torch.from_numpy(row)[None]).logits[0] for row in rows(batch.inputs)])


def nats_of(net, batch):
    with varlen_forward(net) as forward:
        return summed_cross_entropy(net, forward, batch)


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
@pytest.mark.parametrize("all_counted", [False, True])
def test_counted_logits_are_the_models_own_at_those_places(family, batch, all_counted):
    """What skips the other places gives what the whole forward pass gives there, for every family."""
    net = model(family)
    if all_counted:
        batch = Batch(batch.inputs, np.where(batch.labels == IGNORE_INDEX, 5, batch.labels), batch.lengths)
    counted = batch.labels != IGNORE_INDEX
    with torch.no_grad(), varlen_forward(net) as forward:
        few = loss_position_logits(net, forward, batch)

    assert counted.all() == all_counted
    assert few.dtype == torch.float32
    assert few.shape == (counted.sum(), VOCABULARY)
    torch.testing.assert_close(few, whole_logits(net, batch)[torch.from_numpy(counted)], atol=1e-5, rtol=1e-5)


def test_the_loss_is_the_sum_over_counted_tokens(batch):
    """By hand, from the logarithm of each label's probability."""
    net = model("gpt-neox")
    log = whole_logits(net, batch).double().log_softmax(-1)
    by_hand = -sum(log[place, label].item() for place, label in enumerate(batch.labels) if label != IGNORE_INDEX)

    assert nats_of(net, batch).item() == pytest.approx(by_hand, rel=1e-5)


def weighed(given_weight, everything=False):
    """Seven texts, the first half of each given, packed with that weight; or with a loss on every token."""
    rng = Seed(2).numpy()
    drawn = [rng.integers(3, VOCABULARY, size=size) for size in (3, 9, 4, 12, 5, 5, 8)]
    texts = dataset_from_arrays((t.astype(np.int32), (np.arange(len(t)) >= len(t) // 2) | everything) for t in drawn)
    return pack(texts, np.arange(7), window=16, eos_id=0, prompt_loss_weight=given_weight)


def gradient(net, nats):
    net.zero_grad()
    nats.backward()
    return torch.cat([p.grad.flatten() for p in net.parameters()])


@pytest.mark.parametrize("family", ["gpt-neox", "codegen"])
def test_given_tokens_of_full_weight_count_like_all_others(family):
    """With weight 1 loss and gradient are those of a batch in which every token counts."""
    net = model(family)
    full, every = weighed(1.0), weighed(0.0, everything=True)
    one, other = (nats_of(net, batch) / batch.total_weight for batch in (full, every))

    assert full.total_weight == every.n_loss_tokens == every.total_weight
    assert one.item() == pytest.approx(other.item(), rel=1e-6)
    torch.testing.assert_close(gradient(net, one), gradient(net, other), atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.75])
def test_the_loss_is_the_weighted_mean(weight):
    """By hand: the nats of the answers, and `weight` times those of what is given, over as many tokens."""
    net, batch = model("gpt-neox"), weighed(weight)
    plain, every = weighed(0.0), weighed(0.0, everything=True)
    with torch.no_grad():
        rows = np.split(every.inputs, np.cumsum(every.lengths)[:-1])
        whole = torch.cat([net(input_ids=torch.from_numpy(row)[None]).logits[0] for row in rows])
    nats = -whole.double().log_softmax(-1)[np.arange(len(every.labels)), every.labels].numpy()
    answer = plain.labels != IGNORE_INDEX
    by_hand = (nats[answer].sum() + weight * nats[~answer].sum()) / (answer.sum() + weight * (~answer).sum())

    assert abs(nats[answer].mean() - nats[~answer].mean()) > 1e-3, "else any weight would do"
    assert (nats_of(net, batch) / batch.total_weight).item() == pytest.approx(by_hand, rel=1e-5)


def test_the_gradient_of_a_weighted_loss_is_the_sum_of_its_parts():
    """What the answers teach, and `weight` times what all that is given teaches."""
    net = model("gpt-neox")
    answers, full, some = (gradient(net, nats_of(net, weighed(weight))) for weight in (0.0, 1.0, 0.25))

    assert (full - answers).norm() > 0.1 * full.norm()
    torch.testing.assert_close(some, answers + 0.25 * (full - answers), atol=1e-5, rtol=1e-4)


def test_a_batch_of_which_nothing_counts_costs_nothing(batch):
    """No counted token, no nats and no gradient: a part of a step may be all prompt."""
    net = model("gpt-neox")
    nats = nats_of(net, Batch(batch.inputs, np.full_like(batch.labels, IGNORE_INDEX), batch.lengths))
    nats.backward()

    assert nats.item() == 0
    assert not any(p.grad.any() for p in net.parameters() if p.grad is not None)


def test_ignored_places_carry_no_gradient(batch):
    """No gradient reaches an input that only ignored places look at, and some reaches every other."""
    net = model("gpt-neox")
    held = []

    def hold(_module, _given, embedded):
        embedded.retain_grad()
        held.append(embedded)

    net.get_input_embeddings().register_forward_hook(hold)
    nats_of(net, batch).backward()
    first, second, third, fourth = rows(held[0].grad.abs().sum(-1)[0].numpy())

    assert not first.any()
    assert not second[6:].any()
    assert second[:6].all()
    assert third.all()
    assert fourth.all()


def test_the_token_of_an_ignored_place_can_be_any(batch):
    """What stands in a stretch after its last counted label changes neither loss nor gradient."""
    found = []
    for token in (4, 5):
        net, inputs = model("gpt-neox"), batch.inputs.copy()
        first, second, *_ = rows(inputs)
        second[6:] = token
        first[:] = token
        nats = nats_of(net, Batch(inputs, batch.labels, batch.lengths)) / batch.n_loss_tokens
        nats.backward()
        found.append((nats.item(), net.gpt_neox.layers[0].attention.query_key_value.weight.grad))

    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    torch.testing.assert_close(found[0][1], found[1][1], atol=1e-7, rtol=1e-4)
