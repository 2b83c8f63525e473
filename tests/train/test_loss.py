"""The loss of the counted tokens alone is the loss one would have got from all logits."""

import pytest
import torch

from nosce.models.families import FAMILIES, Architecture, build
from nosce.seeds import Seed
from nosce.text.batches import IGNORED
from nosce.train.loss import counted_logits, next_token_nats

VOCABULARY, ROWS, WIDTH = 30, 3, 10


def model(family):
    return build(Architecture(family=family, layers=2, width=32, heads=2, positions=64), vocabulary=VOCABULARY, end=0,
                 pad=1, seed=Seed(0))  # fmt: skip


@pytest.fixture
def batch():
    """Inputs, and labels of which some are ignored: one row wholly, one from place 6 on."""
    rng = Seed(0).numpy()
    inputs = torch.from_numpy(rng.integers(3, VOCABULARY, size=(ROWS, WIDTH)))
    labels = torch.from_numpy(rng.integers(3, VOCABULARY, size=(ROWS, WIDTH)))
    labels[0] = IGNORED
    labels[1, 6:] = IGNORED
    labels[2, ::2] = IGNORED
    return inputs, labels


@pytest.mark.parametrize("family", FAMILIES)
def test_counted_logits_are_the_models_own_at_those_places(family, batch):
    """What skips the other places gives what the whole forward pass gives there, for every family."""
    net, (inputs, labels) = model(family), batch
    counted = labels != IGNORED
    with torch.no_grad():
        few, all_ = counted_logits(net, inputs, counted), net(input_ids=inputs).logits

    assert few.shape == (counted.sum(), VOCABULARY)
    torch.testing.assert_close(few, all_[counted], atol=1e-5, rtol=1e-5)


def test_the_loss_is_the_mean_over_counted_tokens(batch):
    """By hand, from the logarithm of each label's probability."""
    net, (inputs, labels) = model("gpt-neox"), batch
    with torch.no_grad():
        nats = next_token_nats(net, inputs, labels)
        log = net(input_ids=inputs).logits.double().log_softmax(-1)
    by_hand = [-log[r, t, labels[r, t]] for r in range(ROWS) for t in range(WIDTH) if labels[r, t] != IGNORED]

    assert nats.item() == pytest.approx(torch.stack(by_hand).mean().item(), rel=1e-5)


def test_ignored_places_carry_no_gradient(batch):
    """No gradient reaches an input that only ignored places look at, and some reaches every other."""
    net, (inputs, labels) = model("gpt-neox"), batch
    held = []

    def hold(_module, _given, embedded):
        embedded.retain_grad()
        held.append(embedded)

    net.get_input_embeddings().register_forward_hook(hold)
    next_token_nats(net, inputs, labels).backward()
    reached = held[0].grad.abs().sum(-1)

    assert not reached[0].any()
    assert not reached[1, 6:].any()
    assert reached[1, :6].all()
    assert reached[2].all()


def test_the_token_of_an_ignored_place_can_be_any(batch):
    """What stands in a row after its last counted label changes neither loss nor gradient."""
    inputs, labels = batch
    found = []
    for token in (4, 5):
        net, changed = model("gpt-neox"), inputs.clone()
        changed[1, 6:] = token
        changed[0] = token
        nats = next_token_nats(net, changed, labels)
        nats.backward()
        found.append((nats.item(), net.gpt_neox.layers[0].attention.query_key_value.weight.grad))

    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    torch.testing.assert_close(found[0][1], found[1][1], atol=1e-7, rtol=1e-4)
